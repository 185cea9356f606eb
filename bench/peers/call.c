/* SPDX-License-Identifier: BSD-3-Clause
 *
 * call.c: times calls that are shorter than Python's. With bench/limits.c a shared object that measure.py loads. */
#define _POSIX_C_SOURCE 199309L
#include <stdint.h>
#include <time.h>

double attn_bench_call(int (*call)(void *, void *), void *first, void *second, int64_t times);

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Seconds that one call takes, of so many in a row; -1 if one fails. */
double attn_bench_call(int (*call)(void *, void *), void *first, void *second, int64_t times)
{
    const double start = now();
    for (int64_t i = 0; i < times; i++) {
        if (call(first, second) != 0) return -1;
    }
    return (now() - start) / (double)times;
}
