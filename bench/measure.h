/* SPDX-License-Identifier: BSD-3-Clause
 *
 * measure.h: one case on one number of threads, measured in this process. */
#ifndef ATTN_BENCH_MEASURE_H
#define ATTN_BENCH_MEASURE_H

#include "cases.h"
#include "statistics.h"

/* Plain data: a worker process writes it to its standard output. */
typedef struct attn_bench_result {
    char failure[200]; /* what the library said, or "" */
    int threads, rounds;
    double seconds[ATTN_BENCH_SAMPLES];            /* of a call, one for each round */
    double milliseconds;                           /* their median */
    double value, limit, limit_fraction;           /* in the case's unit; limits are 0 where there is none */
    double ns_per_element, peak_flops_per_element; /* additive scores; else 0 */
    attn_bench_interval blas;                      /* time of the BLAS way / time of ours */
    attn_bench_interval beside; /* our time / the same part of the time of the case beside it; 0 without one */
    int64_t extra_bytes;
} attn_bench_result;

/* Rounds until the seconds are over; at least three, unless these take eight times as long. The process must be pinned
 * already if it is to be. */
void attn_bench_measure(const attn_bench_case *c, int threads, double seconds, attn_bench_result *result);

#endif
