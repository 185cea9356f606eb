/* SPDX-License-Identifier: BSD-3-Clause
 *
 * statistics.h: what many noisy samples say. */
#ifndef ATTN_BENCH_STATISTICS_H
#define ATTN_BENCH_STATISTICS_H

/* A median and its 95 % interval by the bootstrap. */
typedef struct attn_bench_interval {
    double median, low, high;
} attn_bench_interval;

/* Of 1 to ATTN_BENCH_SAMPLES numbers; the order of the samples does not matter, and they stay as they are. */
enum { ATTN_BENCH_SAMPLES = 101 };
double attn_bench_median(const double *samples, int count);

/* Of over[i] / under[i]: measurements of one round belong together. */
attn_bench_interval attn_bench_ratio(const double *over, const double *under, int count);

/* Of median(over) / median(under), where rounds do not belong together. */
attn_bench_interval attn_bench_ratio_apart(const double *over, int overs, const double *under, int unders);

#endif
