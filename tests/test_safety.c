/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test_safety.c: what a call may not do to its process: read or write past a buffer (each lies against a page that
 * nobody may touch), mix up callers, survive a fork badly, change the floating-point mode, take signals that are not
 * its own, or leave threads behind.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <fenv.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "safety.h"

#ifndef __has_feature
#define __has_feature(feature) 0
#endif
#if defined(__SANITIZE_THREAD__) || __has_feature(thread_sanitizer)
#define UNDER_TSAN 1
#else
#define UNDER_TSAN 0
#endif

/* ------------------------------------------------------------------------------------------------- bounds */

static void nothing_past_a_buffer_is_touched_and_inputs_are_only_read(void **state)
{
    static const struct sizes all[] = {{1, 1, 1, 1, 1, 1, 1},    {1, 2, 1, 3, 17, 3, 1},   {2, 2, 2, 17, 3, 17, 3},
                                       {1, 4, 2, 17, 33, 5, 17}, {1, 1, 1, 1, 65, 17, 16}, {2, 2, 1, 70, 71, 9, 7}};
    attn_engine *own = engine_of(2);
    (void)state;
    for (int k = 0; k < 6 * KINDS * LAYOUTS * PLACES * 2; k++) {
        const struct sizes *n = &all[k / (KINDS * LAYOUTS * PLACES * 2)];
        const enum kind kind = (enum kind)(k / (LAYOUTS * PLACES * 2) % KINDS);
        const enum layout layout = (enum layout)(k / (PLACES * 2) % LAYOUTS);
        struct problem p;
        problem_create(&p, own, kind, k % 2 ? ATTN_F64 : ATTN_F32, n, layout, (enum place)(k / 2 % PLACES));
        MUST(attn_forward(p.mechanism, &p.args));
        for (int i = 0; i < p.count; i++) assert_true(i < p.inputs || surroundings_intact(&p.blocks[i]));
        problem_destroy(&p);
    }
    attn_engine_destroy(own);
}

/* ------------------------------------------------------------------------------------------------ callers */

enum { MOST_CALLERS = 8 };

struct caller {
    struct problem own;
    const attn_mechanism *mechanism;
    const struct problem *expected;
    int calls, wrong;
    pthread_t thread;
};

static void *call_repeatedly(void *data)
{
    struct caller *c = data;
    for (int i = 0; i < c->calls; i++) {
        forget_outputs(&c->own);
        if (attn_forward(c->mechanism, &c->own.args) != ATTN_OK || !same_outputs(&c->own, c->expected)) c->wrong++;
    }
    return NULL;
}

/* `callers` threads, all with one mechanism, or every other one with an engine and a mechanism apart. */
static void run_callers(enum kind kind, int callers, bool two_engines)
{
    attn_engine *one = engine_of(1), *engines[2] = {engine_of(3), engine_of(4)};
    struct problem expected, shared;
    struct caller *all = must_allocate((size_t)callers * sizeof *all);
    problem_create(&expected, one, kind, ATTN_F32, &large, DENSE, AT_END);
    problem_create(&shared, engines[0], kind, ATTN_F32, &large, DENSE, AT_END);
    MUST(attn_forward(expected.mechanism, &expected.args));
    for (int i = 0; i < callers; i++) {
        all[i] = (struct caller){.expected = &expected, .calls = UNDER_TSAN || few_cases() ? 4 : 12};
        problem_create(&all[i].own, engines[i % 2], kind, ATTN_F32, &large, DENSE, AT_END);
        all[i].mechanism = two_engines && i % 2 == 1 ? all[i].own.mechanism : shared.mechanism;
    }
    for (int i = 0; i < callers; i++) pthread_create(&all[i].thread, NULL, call_repeatedly, &all[i]);
    for (int i = 0; i < callers; i++) pthread_join(all[i].thread, NULL);
    for (int i = 0; i < callers; i++) {
        assert_int_equal(all[i].wrong, 0);
        problem_destroy(&all[i].own);
    }
    problem_destroy(&shared);
    problem_destroy(&expected);
    attn_engine_destroy(engines[0]);
    attn_engine_destroy(engines[1]);
    attn_engine_destroy(one);
    free(all);
}

static void callers_that_share_a_mechanism_get_what_one_would(void **state)
{
    (void)state;
    for (enum kind kind = 0; kind < KINDS; kind++) run_callers(kind, 2, false);
    run_callers(ADDITIVE, MOST_CALLERS, false);
    run_callers(GENERAL, MOST_CALLERS, false);
}

static void engines_do_not_know_of_each_other(void **state)
{
    (void)state;
    run_callers(ADDITIVE, 2, true);
    run_callers(SCALED_DOT, MOST_CALLERS, true);
}

/* Half of the items on another thread, and backwards. */
struct half {
    int64_t count;
    attn_task_fn task;
    void *task_data;
};

static void *run_half(void *data)
{
    const struct half *h = data;
    for (int64_t i = h->count - 1; i >= 0; i -= 2) h->task(h->task_data, i);
    return NULL;
}

static void execute(void *data, int64_t count, attn_task_fn task, void *task_data)
{
    struct half other = {count - 1, task, task_data}, own = {count, task, task_data};
    pthread_t thread;
    *(int64_t *)data += count;
    pthread_create(&thread, NULL, run_half, &other);
    run_half(&own);
    pthread_join(thread, NULL);
}

static void an_executor_may_run_items_anywhere_in_any_order(void **state)
{
    attn_engine_options options = ATTN_ENGINE_OPTIONS_INIT;
    attn_engine *one = engine_of(1), *own;
    int64_t items;
    (void)state;
    options.execute = execute;
    options.executor_data = &items;
    MUST(attn_engine_create(&options, &own));
    for (enum kind kind = 0; kind < KINDS; kind++) {
        struct problem p, expected;
        items = 0;
        problem_create(&expected, one, kind, ATTN_F64, &large, REVERSED, AT_END);
        problem_create(&p, own, kind, ATTN_F64, &large, REVERSED, AT_END);
        MUST(attn_forward(expected.mechanism, &expected.args));
        MUST(attn_forward(p.mechanism, &p.args));
        assert_true(same_outputs(&p, &expected));
        assert_true(items > 1);
        problem_destroy(&p);
        problem_destroy(&expected);
    }
    attn_engine_destroy(own);
    attn_engine_destroy(one);
}

/* -------------------------------------------------------------------------------------------- the process */

/* A child computes with what it inherited, and so does its child. */
static bool child_computes(struct problem *p, const struct problem *expected, attn_engine *own, int generations)
{
    int status = -1;
    const pid_t child = fork();
    if (child == 0) {
        alarm(20);
        for (int i = 0; i < 2; i++) {
            forget_outputs(p);
            if (attn_forward(p->mechanism, &p->args) != ATTN_OK || !same_outputs(p, expected)) _exit(2);
        }
        if (generations > 1 && !child_computes(p, expected, own, generations - 1)) _exit(3);
        attn_mechanism_destroy(p->mechanism);
        attn_engine_destroy(own);
        _exit(0);
    }
    if (waitpid(child, &status, 0) != child || status != 0) fprintf(stderr, "a child ended with %#x\n", status);
    return status == 0;
}

static atomic_int go_on;

static void *call_until_told(void *data)
{
    struct problem *p = data;
    while (atomic_load(&go_on)) {
        if (attn_forward(p->mechanism, &p->args) != ATTN_OK) abort();
    }
    return NULL;
}

static void a_forked_child_computes_and_exits(void **state)
{
    const char *threading = getenv("ATTN_EXPECT_THREADING");
    if (threading != NULL && strcmp(threading, "openmp") == 0) skip(); /* libgomp hangs in a child, whoever asks it */
    if (UNDER_TSAN) skip();
    if (emulated()) skip(); /* QEMU itself fails in the child of a process that has threads */
    attn_engine *one = engine_of(1), *own = engine_of(4);
    (void)state;
    alarm(60); /* the parent may not hang either */
    for (int k = 0; k < 2; k++) {
        const enum kind kind = k == 0 ? ADDITIVE : SCALED_DOT;
        struct problem p, expected, other;
        pthread_t thread;
        problem_create(&expected, one, kind, ATTN_F32, &large, DENSE, AT_END);
        problem_create(&p, own, kind, ATTN_F32, &large, DENSE, AT_END);
        problem_create(&other, own, kind, ATTN_F32, &large, DENSE, AT_END);
        MUST(attn_forward(expected.mechanism, &expected.args));
        assert_true(child_computes(&p, &expected, own, 1)); /* at first before the threads exist */
        MUST(attn_forward(p.mechanism, &p.args));
        assert_true(child_computes(&p, &expected, own, 2));
        atomic_store(&go_on, 1);
        pthread_create(&thread, NULL, call_until_told, &other);
        bool fine = true;
        for (int i = 0; fine && i < 20; i++) fine = child_computes(&p, &expected, own, 1);
        atomic_store(&go_on, 0);
        pthread_join(thread, NULL);
        assert_true(fine);
        forget_outputs(&p);
        MUST(attn_forward(p.mechanism, &p.args));
        assert_true(same_outputs(&p, &expected));
        problem_destroy(&other);
        problem_destroy(&p);
        problem_destroy(&expected);
    }
    alarm(0);
    attn_engine_destroy(own);
    attn_engine_destroy(one);
}

/* The mode: rounding, and on x86 and ARM whether subnormal numbers are taken for zero. Flags that results raise are no
 * mode. */
#if defined(__x86_64__)
#include <xmmintrin.h>
enum { FLUSH_TO_ZERO = 0x8040, FLAGS = 0x3F };
static unsigned mode(void)
{
    return _mm_getcsr() & ~(unsigned)FLAGS;
}
static void flush_to_zero(bool on)
{
    _mm_setcsr(on ? mode() | FLUSH_TO_ZERO : mode() & ~(unsigned)FLUSH_TO_ZERO);
}
#elif defined(__aarch64__)
enum { FLUSH_TO_ZERO = 1 << 24 };
static unsigned mode(void)
{
    uint64_t fpcr;
    __asm__ volatile("mrs %0, fpcr" : "=r"(fpcr));
    return (unsigned)fpcr;
}
static void flush_to_zero(bool on)
{
    const uint64_t fpcr = on ? mode() | FLUSH_TO_ZERO : mode() & ~(unsigned)FLUSH_TO_ZERO;
    __asm__ volatile("msr fpcr, %0" : : "r"(fpcr));
}
#else
static unsigned mode(void)
{
    return (unsigned)fegetround();
}
static void flush_to_zero(bool on)
{
    (void)on;
}
#endif

static void the_floating_point_mode_is_left_as_it_was(void **state)
{
    attn_engine *own = engine_of(3);
    (void)state;
    for (int k = 0; k < 4 * KINDS; k++) {
        struct problem p;
        problem_create(&p, own, (enum kind)(k / 4), k % 2 ? ATTN_F64 : ATTN_F32, &large, REVERSED, AT_END);
        flush_to_zero(k % 4 < 2);
        fesetround(k % 4 < 2 ? FE_UPWARD : FE_TONEAREST);
        const unsigned before = mode();
        const attn_status status = attn_forward(p.mechanism, &p.args);
        const unsigned after = mode();
        fesetround(FE_TONEAREST);
        flush_to_zero(false);
        MUST(status);
        assert_int_equal(after, before);
        problem_destroy(&p);
    }
    attn_engine_destroy(own);
}

/* The engine's threads compute in the mode of the call, not in that of the call that started them. */
static void results_depend_on_the_callers_mode_alone(void **state)
{
    attn_engine *one = engine_of(1);
    (void)state;
    for (int k = 0; k < 2; k++) {
        attn_engine *own = engine_of(4);
        struct problem p, expected;
        problem_create(&expected, one, DOT, ATTN_F32, &large, DENSE, AT_END);
        problem_create(&p, own, DOT, ATTN_F32, &large, DENSE, AT_END);
        MUST(attn_mechanism_set_temperature(expected.mechanism, 0.05)); /* many weights are subnormal */
        MUST(attn_mechanism_set_temperature(p.mechanism, 0.05));
        flush_to_zero(k == 0);
        MUST(attn_forward(p.mechanism, &p.args));
        flush_to_zero(k == 1);
        const attn_status status = attn_forward(expected.mechanism, &expected.args);
        int different = 0;
        for (int i = 0; i < 50; i++) {
            forget_outputs(&p);
            if (attn_forward(p.mechanism, &p.args) != ATTN_OK || !same_outputs(&p, &expected)) different++;
        }
        flush_to_zero(false);
        MUST(status);
        assert_int_equal(different, 0);
        problem_destroy(&p);
        problem_destroy(&expected);
        attn_engine_destroy(own);
    }
    attn_engine_destroy(one);
}

/* The ids of this process' threads, in no order. */
enum { MOST_TASKS = 256 };

static int list_tasks(long tasks[MOST_TASKS])
{
    int count = 0;
    DIR *directory = opendir("/proc/self/task");
    if (directory == NULL) skip();
    for (struct dirent *entry; count < MOST_TASKS && (entry = readdir(directory)) != NULL;) {
        if (entry->d_name[0] != '.') tasks[count++] = strtol(entry->d_name, NULL, 10);
    }
    closedir(directory);
    return count;
}

static unsigned long long blocked_signals(long task)
{
    char path[64], line[256];
    unsigned long long blocked = 0;
    snprintf(path, sizeof path, "/proc/self/task/%ld/status", task);
    FILE *file = fopen(path, "r");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, "SigBlk:", 7) == 0) blocked = strtoull(line + 7, NULL, 16);
    }
    if (file != NULL) fclose(file);
    return blocked;
}

static void threads_start_when_needed_take_no_signals_and_end_with_the_engine(void **state)
{
    static const int signals[] = {SIGHUP, SIGINT, SIGTERM, SIGALRM, SIGUSR1, SIGUSR2, SIGCHLD, SIGPROF};
    enum { THREADS = 5 };
    long before[MOST_TASKS], during[MOST_TASKS], after[MOST_TASKS];
    attn_engine *one = engine_of(1), *own = engine_of(THREADS);
    struct problem p, warm;
    sigset_t mask;
    (void)state;
    problem_create(&warm, one, ADDITIVE, ATTN_F32, &large, DENSE, AT_END);
    MUST(attn_forward(warm.mechanism, &warm.args)); /* the BLAS has its threads now */
    problem_create(&p, own, ADDITIVE, ATTN_F32, &large, DENSE, AT_END);
    const int count = list_tasks(before);
    MUST(attn_forward(p.mechanism, &p.args));
    usleep(50000); /* a thread begins with all signals blocked, whatever its mask will be */
    const int more = list_tasks(during);
    assert_int_equal(more, count + THREADS - 1);
    for (int i = 0; i < more; i++) {
        bool old = false;
        for (int j = 0; j < count; j++) old = old || before[j] == during[i];
        for (int j = 0; !old && j < 8; j++) assert_true(blocked_signals(during[i]) >> (signals[j] - 1) & 1);
    }
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    for (int j = 0; j < 8; j++) assert_false(sigismember(&mask, signals[j]));
    problem_destroy(&p);
    attn_engine_destroy(own);
    for (int i = 0; i < 1000 && list_tasks(after) != count; i++) usleep(1000); /* joined, if not yet reaped */
    assert_int_equal(list_tasks(after), count);
    problem_destroy(&warm);
    attn_engine_destroy(one);
}

int main(int argc, char **argv)
{
    (void)argc;
    if (UNDER_TSAN && getenv("OPENBLAS_NUM_THREADS") == NULL) { /* it does not see how OpenBLAS' own threads meet */
        setenv("OPENBLAS_NUM_THREADS", "1", 1);
        execv("/proc/self/exe", argv);
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_past_a_buffer_is_touched_and_inputs_are_only_read),
        cmocka_unit_test(callers_that_share_a_mechanism_get_what_one_would),
        cmocka_unit_test(engines_do_not_know_of_each_other),
        cmocka_unit_test(an_executor_may_run_items_anywhere_in_any_order),
        cmocka_unit_test(a_forked_child_computes_and_exits),
        cmocka_unit_test(the_floating_point_mode_is_left_as_it_was),
        cmocka_unit_test(results_depend_on_the_callers_mode_alone),
        cmocka_unit_test(threads_start_when_needed_take_no_signals_and_end_with_the_engine),
    };
    return cmocka_run_group_tests_name("safety", tests, NULL, NULL);
}
