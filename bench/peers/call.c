/* SPDX-License-Identifier: BSD-3-Clause
 *
 * call.c: makes calls that are shorter than Python's, and times them. With bench/limits.c a shared object that
 * measure.py loads. */
#define _POSIX_C_SOURCE 199309L
#include <stdint.h>
#include <time.h>

double attn_bench_call(int (*call)(void *, void *), void *first, void *second, int64_t times);

struct tensor { /* attn_tensor, whose layout is frozen */
    void *data;
    int32_t dtype, ndim;
    int64_t shape[4], stride[4];
};
int attn_bench_tokens(int (*append)(void *, struct tensor *, struct tensor *, void *), int (*forward)(void *, void *),
                      void *memory, void *mechanism, struct tensor *keys, struct tensor *values, void **args,
                      int64_t count);

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

/* Decodes: key and value number i join the memory, and the call number i is made. Returns the first status that is not
 * 0, else 0. */
int attn_bench_tokens(int (*append)(void *, struct tensor *, struct tensor *, void *), int (*forward)(void *, void *),
                      void *memory, void *mechanism, struct tensor *keys, struct tensor *values, void **args,
                      int64_t count)
{
    int status = 0;
    for (int64_t i = 0; i < count && status == 0; i++) {
        status = append(memory, &keys[i], &values[i], 0);
        if (status == 0) status = forward(mechanism, args[i]);
    }
    return status;
}
