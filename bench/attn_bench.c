/* SPDX-License-Identifier: BSD-3-Clause
 *
 * attn_bench.c: how fast attn_forward is on this machine, case by case; `attn_bench --help` says what may be asked.
 * Each case and number of threads is measured by a process of its own, which is this program again: a BLAS takes its
 * number of threads from the environment and the CPUs it may use, once, while it is loaded. */
#define _GNU_SOURCE
#include "measure.h"
#include "output.h"

#include <errno.h>
#include <fnmatch.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const char usage[] =
    "usage: attn_bench [--json FILE] [--quick] [--case NAME] [--threads LIST] [--seconds S] [--list]\n"
    "  --json FILE     the results as a JSON list\n"
    "  --quick         without the -hot cases\n"
    "  --case NAME     these cases alone: a name or a pattern such as 'gpt2-*'\n"
    "  --threads LIST  numbers of threads, the fewest first; without it 1,2 (1 on a machine with one CPU)\n"
    "  --seconds S     for each case and number of threads; without it 1.7. Long cases take more\n"
    "  --list          names of cases only\n";

enum { MOST_COUNTS = 8 };

typedef struct options {
    const char *json, *pattern;
    double seconds;
    int quick, list, counts, threads[MOST_COUNTS];
} options;

static void refuse(const char *what)
{
    fprintf(stderr, "attn_bench: %s\n%s", what, usage);
    exit(2);
}

static void read_threads(const char *list, options *o)
{
    for (o->counts = 0; *list != '\0';) {
        char *end;
        const long count = strtol(list, &end, 10);
        if (end == list || count < 1 || count > 64 || o->counts == MOST_COUNTS || (*end != ',' && *end != '\0')) {
            refuse("--threads takes up to 8 numbers from 1 to 64, such as 1,2");
        }
        o->threads[o->counts++] = (int)count;
        list = end + (*end == ',');
    }
    if (o->counts == 0) refuse("--threads names none");
}

static void read_options(int argc, char **argv, options *o)
{
    const long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    *o = (options){.pattern = "*", .seconds = 1.7, .counts = cpus > 1 ? 2 : 1, .threads = {1, 2}};
    for (int i = 1; i < argc; i++) {
        const char *name = argv[i], *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (strcmp(name, "--help") == 0) {
            fputs(usage, stdout);
            exit(0);
        }
        if (strcmp(name, "--quick") == 0 || strcmp(name, "--list") == 0) {
            *(name[2] == 'q' ? &o->quick : &o->list) = 1;
            continue;
        }
        if (value == NULL) refuse("an option is unknown, or lacks its value");
        i++;
        if (strcmp(name, "--json") == 0) {
            o->json = value;
        } else if (strcmp(name, "--case") == 0) {
            o->pattern = value;
        } else if (strcmp(name, "--threads") == 0) {
            read_threads(value, o);
        } else if (strcmp(name, "--seconds") == 0) {
            char *end;
            o->seconds = strtod(value, &end);
            if (end == value || *end != '\0' || !(o->seconds >= 0)) refuse("--seconds takes a number");
        } else {
            refuse("an option is unknown");
        }
    }
}

/* ---------------------------------------------------------------------------------------------- workers */

/* Onto the last of the CPUs that the process may use: the first ones have the system's work. */
static void pin_to_one_cpu(void)
{
    cpu_set_t allowed, one;
    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) return;
    for (size_t cpu = CPU_SETSIZE; cpu-- > 0;) {
        if (!CPU_ISSET(cpu, &allowed)) continue;
        CPU_ZERO(&one);
        CPU_SET(cpu, &one);
        sched_setaffinity(0, sizeof one, &one);
        return;
    }
}

/* In the child: becomes a worker, which writes its result to the file descriptor. */
static void become_worker(const attn_bench_case *c, int threads, double seconds, int to)
{
    static const char *const variables[] = {"OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS",
                                            "BLIS_NUM_THREADS"};
    char count[16], time[32], name[sizeof c->name];
    snprintf(count, sizeof count, "%d", threads);
    snprintf(time, sizeof time, "%g", seconds);
    memcpy(name, c->name, sizeof name);
    for (size_t i = 0; i < sizeof variables / sizeof *variables; i++) setenv(variables[i], count, 1);
    setenv("OMP_WAIT_POLICY", "passive", 1);
    if (threads == 1) pin_to_one_cpu();
    if (dup2(to, STDOUT_FILENO) >= 0) {
        char program[] = "attn_bench", flag[] = "--worker";
        execv("/proc/self/exe", (char *[]){program, flag, name, count, time, NULL});
    }
    _exit(127);
}

static void measure_in_worker(const attn_bench_case *c, int threads, double seconds, attn_bench_result *result)
{
    int ends[2], status = 0;
    fflush(NULL);
    if (pipe(ends) != 0) refuse(strerror(errno));
    const pid_t child = fork();
    if (child == 0) {
        close(ends[0]);
        become_worker(c, threads, seconds, ends[1]);
    }
    close(ends[1]);
    size_t got = 0;
    for (ssize_t bytes = 1; bytes > 0 && got<sizeof *result; got += bytes> 0 ? (size_t)bytes : 0) {
        bytes = read(ends[0], (char *)result + got, sizeof *result - got);
    }
    close(ends[0]);
    if (child > 0) waitpid(child, &status, 0);
    if (got == sizeof *result) return;
    memset(result, 0, sizeof *result);
    result->threads = threads;
    snprintf(result->failure, sizeof result->failure, "the measuring process ended with status %d",
             WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
}

static int work(char **argv)
{
    static attn_bench_result result;
    const attn_bench_case *c = attn_bench_case_named(argv[2]);
    if (c == NULL) return 2;
    attn_bench_measure(c, (int)strtol(argv[3], NULL, 10), strtod(argv[4], NULL), &result);
    return fwrite(&result, sizeof result, 1, stdout) == 1 && fflush(stdout) == 0 ? 0 : 1;
}

/* -------------------------------------------------------------------------------------------------- main */

static int is_wanted(const attn_bench_case *c, const options *o)
{
    if (fnmatch(o->pattern, c->name, 0) != 0) return 0;
    return !o->quick || !(c->flags & ATTN_BENCH_HOT) || strcmp(o->pattern, c->name) == 0;
}

/* Prints what was measured; returns the number of failures. */
static int run_case(const attn_bench_case *c, const options *o, const attn_bench_machine *machine, FILE *json,
                    int is_first)
{
    static attn_bench_result results[MOST_COUNTS];
    int failures = 0;
    for (int t = 0; t < o->counts; t++) {
        attn_bench_result *r = &results[t];
        const attn_bench_result *first = &results[0];
        measure_in_worker(c, o->threads[t], o->seconds, r);
        failures += r->failure[0] != '\0';
        attn_bench_interval scaling = {0, 0, 0};
        if (t > 0 && r->rounds > 0 && first->rounds > 0) {
            scaling = attn_bench_ratio_apart(first->seconds, first->rounds, r->seconds, r->rounds);
        }
        attn_bench_print(c, r, scaling);
        if (json == NULL) continue;
        fputs(t == 0 && is_first ? "[\n" : ",\n", json);
        attn_bench_json(json, machine, c, r, scaling);
    }
    return failures;
}

int main(int argc, char **argv)
{
    if (argc == 5 && strcmp(argv[1], "--worker") == 0) return work(argv);
    options o;
    read_options(argc, argv, &o);
    const attn_bench_case *c;
    int failures = 0, found = 0, is_first = 1;
    for (size_t i = 0; (c = attn_bench_case_at(i)) != NULL; i++) {
        if (!is_wanted(c, &o)) continue;
        found++;
        if (o.list) puts(c->name);
    }
    if (found == 0) refuse("no case has that name; --list has the names");
    if (o.list) return 0;

    FILE *json = o.json == NULL ? NULL : fopen(o.json, "w");
    if (o.json != NULL && json == NULL) refuse(strerror(errno));
    attn_bench_machine machine;
    attn_bench_machine_describe(&machine);
    attn_bench_print_machine(&machine);
    attn_bench_print_heading();
    for (size_t i = 0; (c = attn_bench_case_at(i)) != NULL; i++) {
        if (!is_wanted(c, &o)) continue;
        failures += run_case(c, &o, &machine, json, is_first);
        is_first = 0;
    }
    if (json != NULL) {
        fputs("\n]\n", json);
        if (fclose(json) != 0) refuse(strerror(errno));
    }
    return failures > 0;
}
