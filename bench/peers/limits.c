/* SPDX-License-Identifier: BSD-3-Clause
 *
 * limits.c: what the machine can do at most: multiply-adds out of registers, and reading memory in a stream. A shared
 * object that the peers' benchmark loads; measured in every round, because a machine's clock and neighbours change. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

double attn_bench_fma_peak(int threads, double seconds);                  /* GFLOP/s of all threads together */
double attn_bench_stream_read(int threads, size_t bytes, double seconds); /* GB/s of all threads together */
/* Seconds that one call takes, of so many in a row; -1 if one fails. */
double attn_bench_call(int (*call)(void *, void *), void *first, void *second, int64_t times);

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* A burst is short beside any deadline and long beside a look at the clock. 12 chains hide a latency of 4 at 2 a cycle
 * with room to spare, and fit 16 registers with the two operands. */
enum { CHAINS = 12, BURST = 4096, MOST_THREADS = 1024 };

#define KERNELS(name, bytes, attributes)                                                                               \
    typedef float name##_floats __attribute__((vector_size(bytes)));                                                   \
    typedef uint64_t name##_words __attribute__((vector_size(bytes)));                                                 \
    attributes static double name##_multiply_add(float x, float y)                                                     \
    {                                                                                                                  \
        name##_floats chain[CHAINS], factor = (name##_floats){0} + x, term = (name##_floats){0} + y;                   \
        for (int c = 0; c < CHAINS; c++) chain[c] = term + (float)c;                                                   \
        for (int i = 0; i < BURST; i++) {                                                                              \
            _Pragma("GCC unroll 12") for (int c = 0; c < CHAINS; c++) chain[c] = chain[c] * factor + term;             \
        }                                                                                                              \
        for (int c = 1; c < CHAINS; c++) chain[0] += chain[c];                                                         \
        volatile float keep = chain[0][0];                                                                             \
        (void)keep;                                                                                                    \
        return 0.5 * CHAINS * BURST * (bytes); /* two operations on each float */                                      \
    }                                                                                                                  \
    attributes static uint64_t name##_read(const char *data, size_t size)                                              \
    {                                                                                                                  \
        name##_words sum[8] = {{0}};                                                                                   \
        for (size_t i = 0; i + 8 * (bytes) <= size; i += 8 * (bytes)) {                                                \
            _Pragma("GCC unroll 8") for (int c = 0; c < 8; c++) sum[c] ^=                                              \
                *(const name##_words *)(const void *)(data + i + c * (bytes));                                         \
        }                                                                                                              \
        for (int c = 1; c < 8; c++) sum[0] ^= sum[c];                                                                  \
        return sum[0][0];                                                                                              \
    }

KERNELS(portable, 16, )
#if defined(__x86_64__)
KERNELS(avx2, 32, __attribute__((target("avx2,fma"))))
KERNELS(avx512, 64, __attribute__((target("avx512f,prefer-vector-width=512"))))
#endif

typedef struct kernels {
    double (*multiply_add)(float x, float y);
    uint64_t (*read)(const char *data, size_t size);
} kernels;

static kernels widest(void)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f")) return (kernels){avx512_multiply_add, avx512_read};
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return (kernels){avx2_multiply_add, avx2_read};
#endif
    return (kernels){portable_multiply_add, portable_read};
}

typedef struct worker {
    pthread_t thread;
    pthread_barrier_t *start;
    const char *data; /* NULL: multiply and add */
    size_t size;
    double seconds, rate; /* rate: flops or bytes a second */
} worker;

static void *work(void *argument)
{
    worker *w = argument;
    const kernels k = widest();
    volatile float x = 0.999F, y = 0.001F;
    volatile uint64_t keep;
    double done = 0, elapsed;
    pthread_barrier_wait(w->start);
    const double start = now();
    do {
        if (w->data == NULL) {
            done += k.multiply_add(x, y);
        } else {
            keep = k.read(w->data, w->size);
            done += (double)w->size;
        }
        elapsed = now() - start;
    } while (elapsed < w->seconds);
    (void)keep;
    w->rate = done / elapsed;
    return NULL;
}

static double run(int threads, const char *data, size_t bytes, double seconds)
{
    static worker workers[MOST_THREADS];
    pthread_barrier_t start;
    if (threads < 1 || threads > MOST_THREADS) return 0;
    pthread_barrier_init(&start, NULL, (unsigned)threads);
    const size_t part = bytes / (size_t)threads / 512 * 512;
    for (int i = 0; i < threads; i++) {
        workers[i] = (worker){
            .start = &start, .data = data != NULL ? data + (size_t)i * part : NULL, .size = part, .seconds = seconds};
        if (i > 0 && pthread_create(&workers[i].thread, NULL, work, &workers[i]) != 0) abort();
    }
    work(&workers[0]);
    double rate = workers[0].rate;
    for (int i = 1; i < threads; i++) {
        pthread_join(workers[i].thread, NULL);
        rate += workers[i].rate;
    }
    pthread_barrier_destroy(&start);
    return rate * 1e-9;
}

double attn_bench_fma_peak(int threads, double seconds)
{
    return run(threads, NULL, 0, seconds);
}

double attn_bench_stream_read(int threads, size_t bytes, double seconds)
{
    static char *buffer;
    static size_t room;
    if (room < bytes) {
        const size_t huge = (size_t)2 << 20;
        free(buffer);
        room = (bytes + huge - 1) / huge * huge;
        buffer = aligned_alloc(huge, room);
        if (buffer == NULL) {
            room = 0;
            return 0;
        }
        madvise(buffer, room, MADV_HUGEPAGE); /* as NumPy does for large arrays */
        memset(buffer, 1, room);
    }
    return run(threads, buffer, bytes, seconds);
}

double attn_bench_call(int (*call)(void *, void *), void *first, void *second, int64_t times)
{
    const double start = now();
    for (int64_t i = 0; i < times; i++) {
        if (call(first, second) != 0) return -1;
    }
    return (now() - start) / (double)times;
}
