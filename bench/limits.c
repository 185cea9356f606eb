/* SPDX-License-Identifier: BSD-3-Clause
 *
 * limits.c: the two limits of attention on a CPU: multiply-adds per second, and bytes read per second. All threads
 * start each slice of the measurement together and its time is that of the last, so that no thread is measured while
 * another one rests. */
#define _GNU_SOURCE
#include "limits.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum {
    MANY_CHAINS = 16, /* of 32 registers. A multiply-add takes 4 cycles or 5, and two or four start in each */
    FEW_CHAINS = 12,  /* of 16 registers, two of which hold the factors */
    STREAMS = 2,      /* runs of memory that are read at once; more, or prefetching, was no faster */
    BLOCK = 64        /* floats: the most that one step of a stream reads */
};

#if defined(__x86_64__)
#include <immintrin.h>

#define LOOP(name)   avx512_##name
#define TARGET       __attribute__((target("avx512f")))
#define BYTES        64
#define CHAINS       MANY_CHAINS
#define FMA(a, b, c) _mm512_fmadd_ps(a, b, c)
#include "limits_loops.h"

#define LOOP(name)   avx2_##name
#define TARGET       __attribute__((target("avx2,fma")))
#define BYTES        32
#define CHAINS       FEW_CHAINS
#define FMA(a, b, c) _mm256_fmadd_ps(a, b, c)
#include "limits_loops.h"
#endif

#define LOOP(name) plain_##name
#define TARGET
#define BYTES 16
#if defined(__aarch64__)
#include <arm_neon.h>
enum { PLAIN_CHAINS = MANY_CHAINS };
#define FMA(a, b, c) vfmaq_f32(c, a, b)
#else
enum { PLAIN_CHAINS = FEW_CHAINS };
#define FMA(a, b, c) ((a) * (b) + (c))
#endif
#define CHAINS PLAIN_CHAINS
#include "limits_loops.h"

typedef struct loops {
    const char *name;
    float (*multiply_add)(int64_t repeats, float factor);
    float (*sum)(const float *from, size_t count);
    int chains, width; /* of vectors, floats in each */
} loops;

static const loops *best_loops(void)
{
#if defined(__aarch64__)
    static const loops plain = {"neon", plain_multiply_add, plain_sum, PLAIN_CHAINS, 4};
#else
    static const loops plain = {"plain", plain_multiply_add, plain_sum, PLAIN_CHAINS, 4};
#endif
#if defined(__x86_64__)
    static const loops avx512 = {"avx512", avx512_multiply_add, avx512_sum, MANY_CHAINS, 16};
    static const loops avx2 = {"avx2", avx2_multiply_add, avx2_sum, FEW_CHAINS, 8};
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f")) return &avx512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return &avx2;
#endif
    return &plain;
}

const char *attn_bench_limits_set(void)
{
    return best_loops()->name;
}

size_t attn_bench_last_cache(void)
{
    /* Not sysconf, which multiplies where a virtual machine hides how many cores share a cache. */
    for (int index = 4; index >= 2; index--) {
        char path[80];
        snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu0/cache/index%d/size", index);
        FILE *file = fopen(path, "r");
        if (file == NULL) continue;
        char text[32] = "";
        const size_t length = fread(text, 1, sizeof text - 1, file);
        fclose(file);
        char *unit = text;
        const unsigned long long number = strtoull(text, &unit, 10);
        if (length > 0 && number > 0) return (size_t)number << (*unit == 'K' ? 10 : *unit == 'M' ? 20 : 0);
    }
    return (size_t)32 << 20;
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* -------------------------------------------------------------------------- slices, on several threads */

enum { MOST_THREADS = 64 };

typedef struct slice_times {
    double start, end;
} slice_times;

typedef struct slices {
    int threads;
    double seconds;
    void (*work)(const struct slices *team, int thread); /* one slice */
    const float *buffer;                                 /* of stream reading */
    size_t run;                                          /* floats in one of its streams */
    int64_t repeats;                                     /* of the loop, in a slice */
    slice_times times[MOST_THREADS];
    double fastest; /* slice, in seconds */
    atomic_int arrived, round, stop;
} slices;

typedef struct member {
    slices *team;
    int index;
    pthread_t thread;
} member;

static volatile float sink; /* where results go, so that they are computed */

/* Waits for the whole team. It spins: a sleeper would start late. */
static void meet(slices *team)
{
    const int round = atomic_load(&team->round);
    if (atomic_fetch_add(&team->arrived, 1) + 1 == team->threads) {
        atomic_store(&team->arrived, 0);
        atomic_store(&team->round, round + 1);
    } else {
        for (int spins = 0; atomic_load(&team->round) == round; spins++) {
            if (spins > 10000) sched_yield();
        }
    }
}

/* The CPU number index of those that the process may use, if it may use so many. */
static void pin(int index)
{
    cpu_set_t allowed, one;
    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0 || CPU_COUNT(&allowed) <= index) return;
    for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET(cpu, &allowed) || index-- > 0) continue;
        CPU_ZERO(&one);
        CPU_SET(cpu, &one);
        sched_setaffinity(0, sizeof one, &one);
        return;
    }
}

static void *run_member(void *data)
{
    const member *m = data;
    slices *team = m->team;
    pin(m->index);
    const double begin = now();
    for (int slice = 0;; slice++) {
        meet(team);
        if (atomic_load(&team->stop)) return NULL;
        team->times[m->index].start = now();
        team->work(team, m->index);
        team->times[m->index].end = now();
        meet(team);
        if (m->index > 0) continue;
        slice_times all = team->times[0];
        for (int t = 1; t < team->threads; t++) {
            if (team->times[t].start < all.start) all.start = team->times[t].start;
            if (team->times[t].end > all.end) all.end = team->times[t].end;
        }
        if (slice == 0 || all.end - all.start < team->fastest) team->fastest = all.end - all.start;
        if (all.end - begin >= team->seconds) atomic_store(&team->stop, 1);
    }
}

/* The time of the fastest slice. */
static double fastest_slice(slices *team)
{
    member members[MOST_THREADS];
    for (int t = 0; t < team->threads; t++) {
        members[t] = (member){.team = team, .index = t};
        if (pthread_create(&members[t].thread, NULL, run_member, &members[t]) != 0) {
            fprintf(stderr, "attn_bench: no thread for measuring a limit\n");
            exit(1);
        }
    }
    for (int t = 0; t < team->threads; t++) pthread_join(members[t].thread, NULL);
    return team->fastest;
}

static int clamp_threads(int threads)
{
    return threads < 1 ? 1 : threads > MOST_THREADS ? MOST_THREADS : threads;
}

/* ------------------------------------------------------------------------------------------ the limits */

static void multiply_add_slice(const slices *team, int thread)
{
    (void)thread;
    sink = best_loops()->multiply_add(team->repeats, 0.999f);
}

double attn_bench_fma_peak(int threads, double seconds)
{
    static const int64_t repeats = 100000; /* of 12 chains or more, two in a cycle: some tenths of a millisecond */
    slices team = {
        .threads = clamp_threads(threads), .seconds = seconds, .work = multiply_add_slice, .repeats = repeats};
    const double flops = 2.0 * best_loops()->chains * best_loops()->width * (double)repeats * team.threads;
    return flops / fastest_slice(&team) * 1e-9;
}

static void sum_slice(const slices *team, int thread)
{
    const float *part = team->buffer + (size_t)thread * STREAMS * team->run;
    for (int64_t r = 0; r < team->repeats; r++) sink = best_loops()->sum(part, team->run);
}

double attn_bench_stream_read(int threads, size_t bytes, double seconds)
{
    static float *buffer = NULL;
    static size_t room = 0;
    slices team = {.threads = clamp_threads(threads), .seconds = seconds, .work = sum_slice};
    const size_t floats = bytes / sizeof(float), parts = (size_t)team.threads * STREAMS;
    team.run = floats / parts / BLOCK * BLOCK;
    if (team.run == 0) team.run = BLOCK;
    const size_t read = team.run * parts;
    if (read > room) {
        free(buffer);
        room = read;
        buffer = aligned_alloc(4096, (room * sizeof *buffer + 4095) / 4096 * 4096);
        if (buffer == NULL) {
            fprintf(stderr, "attn_bench: no memory for %zu bytes to read\n", bytes);
            exit(1);
        }
        for (size_t i = 0; i < room; i++) buffer[i] = 1;
    }
    team.buffer = buffer;
    const double read_bytes = (double)read * sizeof *buffer;
    team.repeats = (int64_t)(64e6 / read_bytes) + 1; /* a slice takes a millisecond or so */
    return read_bytes * (double)team.repeats / fastest_slice(&team) * 1e-9;
}
