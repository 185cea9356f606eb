/* SPDX-License-Identifier: BSD-3-Clause
 *
 * measure.c: rounds of measurements. A round has everything that is compared, once; every other round runs backwards,
 * so that a machine whose speed drifts drifts for all alike. */
#define _POSIX_C_SOURCE 200809L
#include "measure.h"

#include "limits.h"
#include "subject.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* A sample has as many calls as fill this time. Where they are many, or threads are, a quarter more come before it: the
 * caches, the threads, and the clock after a pause, are then those of a program that does only this. */
static const double sample_seconds = 0.004;

/* The threads of a BLAS spin after a product, OpenBLAS's for some 25 ms, on the CPU that the next sample needs. */
static const long settle_nanoseconds = 30000000;

/* What the GEMMs at their peak leave of an additive score that is as fast as it should be; see attn_bench_result. */
static const double additive_flops = 15;

enum { LEAST_ROUNDS = 3, PATIENCE = 8 /* times the seconds, for that many rounds */ };

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---------------------------------------------------------------------------------- memory, as it is used */

typedef struct counter {
    atomic_llong live, peak;
} counter;

static void *count_allocate(void *data, size_t bytes, size_t alignment)
{
    counter *count = data;
    void *memory = NULL;
    if (posix_memalign(&memory, alignment < sizeof(void *) ? sizeof(void *) : alignment, bytes) != 0) return NULL;
    const long long live = atomic_fetch_add(&count->live, (long long)bytes) + (long long)bytes;
    long long peak = atomic_load(&count->peak);
    while (live > peak && !atomic_compare_exchange_weak(&count->peak, &peak, live)) {
    }
    return memory;
}

static void count_release(void *data, void *pointer, size_t bytes)
{
    counter *count = data;
    atomic_fetch_sub(&count->live, (long long)bytes);
    free(pointer);
}

/* ------------------------------------------------------------------------------------------ what is timed */

enum { OURS, BLAS, BESIDE, CONTESTANTS };

typedef struct contest {
    const attn_bench_case *c;
    int threads;
    counter memory;
    attn_engine *engine[2]; /* OURS, BLAS */
    attn_bench_inputs inputs, inputs_beside;
    attn_bench_subject subject[CONTESTANTS];
    int64_t calls[CONTESTANTS]; /* in a sample; 0: does not take part */
    double seconds[CONTESTANTS][ATTN_BENCH_SAMPLES];
    double peak[ATTN_BENCH_SAMPLES], bandwidth[ATTN_BENCH_SAMPLES];
} contest;

static void must(attn_status status)
{
    if (status == ATTN_OK) return;
    fprintf(stderr, "attn_bench: %s\n", attn_last_error());
    exit(1);
}

static attn_status create(contest *k)
{
    static const attn_way ways[2] = {ATTN_WAY_AUTOMATIC, ATTN_WAY_BLAS};
    for (int e = OURS; e <= BLAS; e++) {
        attn_engine_options options = ATTN_ENGINE_OPTIONS_INIT;
        options.threads = k->threads;
        options.way = ways[e];
        options.allocate = count_allocate;
        options.release = count_release;
        options.allocator_data = &k->memory;
        const attn_status status = attn_engine_create(&options, &k->engine[e]);
        if (status != ATTN_OK) return status;
    }
    attn_bench_inputs_create(&k->inputs, k->c);
    attn_status status = attn_bench_subject_create(&k->subject[OURS], &k->inputs, k->engine[OURS]);
    if (status == ATTN_OK) status = attn_bench_subject_create(&k->subject[BLAS], &k->inputs, k->engine[BLAS]);
    if (status != ATTN_OK || k->c->beside[0] == '\0') return status;
    attn_bench_inputs_create(&k->inputs_beside, attn_bench_case_named(k->c->beside));
    return attn_bench_subject_create(&k->subject[BESIDE], &k->inputs_beside, k->engine[OURS]);
}

/* Finds how many calls make a sample. The first call of all may start threads, and says no more than whether one call
 * is long enough; ours is also watched for the memory that it takes when it is given no workspace. */
static attn_status warm_up(contest *k, int64_t *extra_bytes)
{
    double longest = 0;
    for (int s = 0; s < CONTESTANTS; s++) {
        if (s == BESIDE && k->c->beside[0] == '\0') continue;
        k->calls[s] = 1;
        if (longest > 0.5) continue; /* so is the rest, and what is cold about a first call does not show */
        const long long before = atomic_load(&k->memory.live);
        atomic_store(&k->memory.peak, before);
        double start = now(), passed = 0;
        attn_status status = attn_bench_call(&k->subject[s], s == OURS);
        longest = now() - start;
        if (s == OURS) *extra_bytes = atomic_load(&k->memory.peak) - before;
        if (status == ATTN_OK && longest < 10 * sample_seconds) {
            start = now();
            for (k->calls[s] = 0; passed < sample_seconds && status == ATTN_OK; k->calls[s]++) {
                status = attn_bench_call(&k->subject[s], false);
                passed = now() - start;
            }
        }
        if (status != ATTN_OK) return status;
    }
    return ATTN_OK;
}

/* All CPUs idle, then all awake: what was measured before must not show. */
static void settle(const contest *k)
{
    if (k->threads == 1) return;
    nanosleep(&(struct timespec){.tv_nsec = settle_nanoseconds}, NULL);
    attn_bench_fma_peak(k->threads, 0.002);
}

static double sample(contest *k, int s)
{
    settle(k);
    if (k->calls[s] > 1 || k->threads > 1) { /* and the threads are awake */
        for (int64_t i = 0; i <= k->calls[s] / 4; i++) must(attn_bench_call(&k->subject[s], false));
    }
    const double start = now();
    for (int64_t i = 0; i < k->calls[s]; i++) must(attn_bench_call(&k->subject[s], false));
    const double seconds = (now() - start) / (double)k->calls[s];
    return seconds;
}

static void measure_limits(contest *k, int round)
{
    const attn_bench_case *c = k->c;
    if (c->unit == ATTN_BENCH_BANDWIDTH) {
        const size_t bytes = c->flags & ATTN_BENCH_COLD ? attn_bench_cold_bytes() : (size_t)attn_bench_footprint(c);
        k->bandwidth[round] = attn_bench_stream_read(k->threads, bytes, 0.02);
    }
    if (c->unit == ATTN_BENCH_GFLOPS || c->hidden > 0) k->peak[round] = attn_bench_fma_peak(k->threads, 0.004);
}

static int run_rounds(contest *k, double seconds)
{
    static const int order[] = {OURS, BESIDE, CONTESTANTS, BLAS};
    enum { STEPS = sizeof order / sizeof *order };
    const double start = now();
    int round = 0;
    for (double passed = 0; round < ATTN_BENCH_SAMPLES; passed = now() - start) {
        if (passed >= (round < LEAST_ROUNDS ? PATIENCE * seconds : seconds) && round > 0) break;
        for (int step = 0; step < STEPS; step++) {
            const int s = order[round % 2 == 0 ? step : STEPS - 1 - step];
            if (s == CONTESTANTS) {
                measure_limits(k, round);
            } else if (k->calls[s] > 0) {
                k->seconds[s][round] = sample(k, s);
            }
        }
        round++;
    }
    return round;
}

/* ------------------------------------------------------------------------------------------- what it says */

/* Value, limit and fraction of one round. */
static void judge(const contest *k, int round, double *value, double *limit, double *fraction)
{
    const attn_bench_case *c = k->c;
    const double seconds = k->seconds[OURS][round];
    *limit = *fraction = 0;
    switch (c->unit) {
    case ATTN_BENCH_GFLOPS:
        *value = attn_bench_flops(c) / seconds * 1e-9;
        *limit = k->peak[round];
        *fraction = *value / *limit;
        break;
    case ATTN_BENCH_BANDWIDTH:
        *value = attn_bench_bytes(c) / seconds * 1e-9;
        *limit = k->bandwidth[round];
        *fraction = *value / *limit;
        break;
    case ATTN_BENCH_PEAK_FLOPS:
        *value = seconds * k->peak[round] * 1e9 / attn_bench_elements(c);
        if (c->flags & ATTN_BENCH_TRAIN) break; /* no goal was set */
        *limit = additive_flops + attn_bench_projection_flops(c) / attn_bench_elements(c);
        *fraction = *limit / *value;
        break;
    case ATTN_BENCH_NANOSECONDS:
        *value = seconds * 1e9;
        break;
    case ATTN_BENCH_MICROSECONDS:
        *value = seconds * 1e6;
        break;
    }
}

static void conclude(const contest *k, attn_bench_result *r)
{
    double value[ATTN_BENCH_SAMPLES], limit[ATTN_BENCH_SAMPLES], fraction[ATTN_BENCH_SAMPLES];
    for (int i = 0; i < r->rounds; i++) judge(k, i, &value[i], &limit[i], &fraction[i]);
    memcpy(r->seconds, k->seconds[OURS], sizeof r->seconds);
    r->milliseconds = attn_bench_median(r->seconds, r->rounds) * 1e3;
    r->value = attn_bench_median(value, r->rounds);
    r->limit = attn_bench_median(limit, r->rounds);
    r->limit_fraction = attn_bench_median(fraction, r->rounds);
    r->blas = attn_bench_ratio(k->seconds[BLAS], k->seconds[OURS], r->rounds);
    if (k->calls[BESIDE] > 0) {
        const double part = k->c->beside_part;
        r->beside = attn_bench_ratio(k->seconds[OURS], k->seconds[BESIDE], r->rounds);
        r->beside = (attn_bench_interval){r->beside.median / part, r->beside.low / part, r->beside.high / part};
    }
    if (k->c->hidden > 0) {
        r->ns_per_element = r->milliseconds * 1e6 / attn_bench_elements(k->c);
        r->peak_flops_per_element = r->ns_per_element * attn_bench_median(k->peak, r->rounds);
    }
}

void attn_bench_measure(const attn_bench_case *c, int threads, double seconds, attn_bench_result *result)
{
    static contest k; /* its arrays are large; a process measures once */
    memset(result, 0, sizeof *result);
    result->threads = threads;
    k.c = c;
    k.threads = threads;
    attn_status status = create(&k);
    if (status == ATTN_OK) status = warm_up(&k, &result->extra_bytes);
    if (status != ATTN_OK) {
        snprintf(result->failure, sizeof result->failure, "%s", attn_last_error());
        return;
    }
    result->rounds = run_rounds(&k, seconds);
    conclude(&k, result);
}
