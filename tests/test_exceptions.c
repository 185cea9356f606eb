/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test_exceptions.c: no call raises an invalid operation, an overflow or a division by zero on ordinary numbers, on the
 * caller's thread or on a worker: a program that traps them lives on.
 */
#define _GNU_SOURCE
#include <fenv.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "every_call.h"

#if defined(__GLIBC__) && defined(__x86_64__)

enum { TRAPPED = FE_INVALID | FE_OVERFLOW | FE_DIVBYZERO };

static const char *volatile call; /* the one at hand */

static void trapped(int signal, siginfo_t *what, void *context)
{
    (void)signal, (void)context;
    const int code = what->si_code;
    fprintf(stderr, "%s raises %s\n", call,
            code == FPE_FLTINV   ? "an invalid operation"
            : code == FPE_FLTOVF ? "an overflow"
                                 : "a division by zero");
    _exit(1);
}

static void trap(const char *name)
{
    call = name;
    feclearexcept(FE_ALL_EXCEPT);
    feenableexcept(TRAPPED);
}

static void let_go(const char *name)
{
    (void)name;
    fedisableexcept(TRAPPED);
    assert_int_equal(fetestexcept(TRAPPED), 0);
}

/* Memory that holds what would be noticed if it were computed with: signalling NaNs. */
static void *allocate(void *data, size_t bytes, size_t alignment)
{
    static const uint32_t noticed = 0x7fa07fa0;
    void *memory = NULL;
    (void)data;
    if (posix_memalign(&memory, alignment, bytes + sizeof noticed) != 0) return NULL;
    for (size_t i = 0; i < bytes; i += sizeof noticed) memcpy((char *)memory + i, &noticed, sizeof noticed);
    return memory;
}

static void release(void *data, void *pointer, size_t bytes)
{
    (void)data, (void)bytes;
    free(pointer);
}

static void run_on(int threads)
{
    const struct every_call around = {trap, let_go};
    const struct sigaction action = {.sa_sigaction = trapped, .sa_flags = SA_SIGINFO};
    attn_engine_options options = ATTN_ENGINE_OPTIONS_INIT;
    options.threads = threads;
    options.allocate = allocate;
    options.release = release;
    MUST(attn_engine_create(&options, &engine));
    sigaction(SIGFPE, &action, NULL);
    every_call_run(&around);
    attn_engine_destroy(engine);
}

static void no_call_raises_an_exception_on_the_callers_thread(void **state)
{
    (void)state;
    run_on(1);
}

static void no_call_raises_an_exception_on_a_worker(void **state)
{
    (void)state;
    run_on(2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(no_call_raises_an_exception_on_the_callers_thread),
                                       cmocka_unit_test(no_call_raises_an_exception_on_a_worker)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#else /* what traps is the system's and the CPU's own */

int main(void)
{
    return 77;
}

#endif
