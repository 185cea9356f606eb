/* SPDX-License-Identifier: BSD-3-Clause
 *
 * output.c: prints results. */
#define _DEFAULT_SOURCE
#include "output.h"

#include "limits.h"
#include "subject.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const char *const units[] = {
    [ATTN_BENCH_GFLOPS] = "GFLOP/s", [ATTN_BENCH_BANDWIDTH] = "GB/s",  [ATTN_BENCH_PEAK_FLOPS] = "flops/element",
    [ATTN_BENCH_NANOSECONDS] = "ns", [ATTN_BENCH_MICROSECONDS] = "us",
};

/* The string or number of a key in a section of the engine's JSON, as it stands there; enough for what is asked here.
 */
static void member(const char *json, const char *section, const char *key, char *to, size_t room)
{
    char wanted[64];
    const char *at = strstr(json, section);
    snprintf(wanted, sizeof wanted, "\"%s\":", key);
    at = at == NULL ? NULL : strstr(at, wanted);
    to[0] = '\0';
    if (at == NULL) return;
    at += strlen(wanted);
    const size_t length = *at == '"' ? strcspn(at + 1, "\"") : strcspn(at, ",}");
    snprintf(to, room, "%.*s", (int)length, *at == '"' ? at + 1 : at);
}

void attn_bench_machine_describe(attn_bench_machine *machine)
{
    static char json[8192];
    size_t bytes = sizeof json;
    attn_engine *engine = NULL;
    if (attn_engine_create(NULL, &engine) != ATTN_OK || attn_engine_describe(engine, json, &bytes) != ATTN_OK) {
        fprintf(stderr, "attn_bench: %s\n", attn_last_error());
        exit(1);
    }
    attn_engine_destroy(engine);
    char library[40], version[40], core[40], threading[20];
    member(json, "", "version", machine->version, sizeof machine->version);
    member(json, "", "way", machine->way, sizeof machine->way);
    member(json, "", "kernels", machine->kernels, sizeof machine->kernels);
    member(json, "\"cpu\"", "model", machine->cpu, sizeof machine->cpu);
    member(json, "\"blas\"", "library", library, sizeof library);
    member(json, "\"blas\"", "version", version, sizeof version);
    member(json, "\"blas\"", "core", core, sizeof core);
    member(json, "\"blas\"", "threading", threading, sizeof threading);
    member(json, "\"blas\"", "advice", machine->advice, sizeof machine->advice);
    /* OpenBLAS's version begins with its name. */
    const bool named = strncmp(version, library, strlen(library)) == 0;
    snprintf(machine->blas, sizeof machine->blas, "%s%s%s, core %s, threading %s", named ? "" : library,
             named ? "" : " ", version, core, threading);
}

void attn_bench_print_machine(const attn_bench_machine *machine)
{
    static const char *const variables[] = {"OPENBLAS_CORETYPE", "ATTN_WAY", "ATTN_KERNELS"};
    printf("libattn %s, way %s, kernels %s; float32 where a case names no other type\n", machine->version, machine->way,
           machine->kernels);
    printf("CPU     %s; last cache %zu MB\n", machine->cpu, attn_bench_last_cache() >> 20);
    printf("BLAS    %s\n", machine->blas);
    if (machine->advice[0] != '\0') printf("        %s\n", machine->advice);
    printf("limits  loops of %s; cold cases rotate through %zu MB\n", attn_bench_limits_set(),
           attn_bench_cold_bytes() >> 20);
    double load = 0;
    if (getloadavg(&load, 1) == 1 && load > 0.5) {
        printf("        this machine is busy, with a load of %.1f: figures on several threads suffer most\n", load);
    }
    for (size_t i = 0; i < sizeof variables / sizeof *variables; i++) {
        const char *value = getenv(variables[i]);
        if (value != NULL) printf("        the environment has %s=%s\n", variables[i], value);
    }
}

void attn_bench_print_heading(void)
{
    printf(
        "\nvs BLAS way: its time / ours. Scaling: speed / that on the fewest threads. In brackets: 95 %% intervals.\n");
    printf("\n%-33s %3s %13s %22s %9s %22s %20s %9s\n", "case", "thr", "time", "result", "of limit", "vs BLAS way",
           "scaling", "memory");
}

static void print_interval(attn_bench_interval interval, int width)
{
    char text[64] = "-";
    if (interval.median > 0) {
        snprintf(text, sizeof text, "%.2f [%.2f, %.2f]", interval.median, interval.low, interval.high);
    }
    printf(" %*s", width, text);
}

static void print_time(double milliseconds)
{
    if (milliseconds >= 1) {
        printf(" %10.3f ms", milliseconds);
    } else if (milliseconds >= 1e-3) {
        printf(" %10.3f us", milliseconds * 1e3);
    } else {
        printf(" %10.1f ns", milliseconds * 1e6);
    }
}

void attn_bench_print(const attn_bench_case *c, const attn_bench_result *r, attn_bench_interval scaling)
{
    char fraction[16] = "-", memory[16];
    printf("%-33s %3d", c->name, r->threads);
    if (r->failure[0] != '\0') {
        printf("  %s\n", r->failure);
        return;
    }
    if (r->limit > 0) snprintf(fraction, sizeof fraction, "%.1f %%", 100 * r->limit_fraction);
    if (r->extra_bytes >= 1 << 20) {
        snprintf(memory, sizeof memory, "%.1f MB", (double)r->extra_bytes / (1 << 20));
    } else {
        snprintf(memory, sizeof memory, "%.1f KB", (double)r->extra_bytes / (1 << 10));
    }
    print_time(r->milliseconds);
    printf(" %8.1f %-13s %9s", r->value, units[c->unit], fraction);
    print_interval(r->blas, 22);
    print_interval(scaling, 20);
    printf(" %9s", memory);
    if (c->hidden > 0) printf("  %.3f ns, %.1f peak flops an element", r->ns_per_element, r->peak_flops_per_element);
    if (r->beside.median > 0) {
        printf("  %.3f [%.3f, %.3f] of ", r->beside.median, r->beside.low, r->beside.high);
        if (c->beside_part < 1) printf("%g x ", c->beside_part);
        printf("%s", c->beside);
    }
    printf("\n");
    fflush(stdout);
}

/* A number, or null where there is none. */
static void put_number(FILE *file, const char *name, double number)
{
    if (number > 0) {
        fprintf(file, ", \"%s\": %.6g", name, number);
    } else {
        fprintf(file, ", \"%s\": null", name);
    }
}

static void put_interval(FILE *file, const char *name, attn_bench_interval interval)
{
    char key[64];
    put_number(file, name, interval.median);
    snprintf(key, sizeof key, "%s_low", name);
    put_number(file, key, interval.low);
    snprintf(key, sizeof key, "%s_high", name);
    put_number(file, key, interval.high);
}

/* The engine's words are printable ASCII; quotes in them are the only thing to mind. */
static void put_string(FILE *file, const char *name, const char *string)
{
    fprintf(file, ", \"%s\": \"", name);
    for (; *string != '\0'; string++) {
        if (*string == '"' || *string == '\\') fputc('\\', file);
        fputc(*string, file);
    }
    fputc('"', file);
}

void attn_bench_json(FILE *file, const attn_bench_machine *machine, const attn_bench_case *c,
                     const attn_bench_result *r, attn_bench_interval scaling)
{
    fprintf(file, "{\"case\": \"%s\", \"threads\": %d", c->name, r->threads);
    put_string(file, "dtype", attn_bench_dtype_name(c));
    if (r->failure[0] != '\0') put_string(file, "failure", r->failure);
    put_number(file, "milliseconds", r->milliseconds);
    put_number(file, "value", r->value);
    put_string(file, "unit", units[c->unit]);
    put_number(file, "limit", r->limit);
    put_number(file, "limit_fraction", r->limit_fraction);
    put_interval(file, "ratio_to_blas_way", r->blas);
    put_interval(file, "scaling", scaling);
    fprintf(file, ", \"extra_bytes\": %" PRId64 ", \"rounds\": %d", r->extra_bytes, r->rounds);
    put_number(file, "ns_per_element", r->ns_per_element);
    put_number(file, "peak_flops_per_element", r->peak_flops_per_element);
    if (c->beside[0] != '\0') {
        put_string(file, "beside", c->beside);
        put_number(file, "beside_part", c->beside_part);
        put_interval(file, "beside_ratio", r->beside);
    }
    put_string(file, "version", machine->version);
    put_string(file, "way", machine->way);
    put_string(file, "kernels", machine->kernels);
    put_string(file, "cpu", machine->cpu);
    put_string(file, "blas", machine->blas);
    fprintf(file, "}");
}
