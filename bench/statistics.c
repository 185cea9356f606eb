/* SPDX-License-Identifier: BSD-3-Clause
 *
 * statistics.c: medians and bootstrap intervals. The generator has a fixed seed: the same samples give the same
 * interval. */
#include "statistics.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { RESAMPLES = 2000 };

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* At a fraction of the way through the samples, between two of them if need be. Sorts them. */
static double quantile(double *samples, int count, double fraction)
{
    qsort(samples, (size_t)count, sizeof *samples, ascending);
    const double at = fraction * (count - 1);
    const int below = (int)at;
    const int above = below + 1 < count ? below + 1 : below;
    return samples[below] + (at - below) * (samples[above] - samples[below]);
}

double attn_bench_median(const double *samples, int count)
{
    double copy[ATTN_BENCH_SAMPLES];
    memcpy(copy, samples, (size_t)count * sizeof *samples);
    return quantile(copy, count, 0.5);
}

/* The median of as many samples, each drawn from all of them. */
static double median_of_some(const double *samples, int count, uint64_t *random)
{
    double drawn[ATTN_BENCH_SAMPLES];
    for (int i = 0; i < count; i++) {
        *random = *random * 6364136223846793005u + 1442695040888963407u;
        drawn[i] = samples[(*random >> 33) % (uint64_t)count];
    }
    return quantile(drawn, count, 0.5);
}

static attn_bench_interval between(double median, double *resamples)
{
    attn_bench_interval interval = {.median = median};
    interval.low = quantile(resamples, RESAMPLES, 0.025);
    interval.high = quantile(resamples, RESAMPLES, 0.975);
    return interval;
}

attn_bench_interval attn_bench_ratio(const double *over, const double *under, int count)
{
    double ratios[ATTN_BENCH_SAMPLES], resamples[RESAMPLES];
    uint64_t random = 1;
    for (int i = 0; i < count; i++) ratios[i] = over[i] / under[i];
    for (int r = 0; r < RESAMPLES; r++) resamples[r] = median_of_some(ratios, count, &random);
    return between(attn_bench_median(ratios, count), resamples);
}

attn_bench_interval attn_bench_ratio_apart(const double *over, int overs, const double *under, int unders)
{
    double resamples[RESAMPLES];
    uint64_t random = 1;
    for (int r = 0; r < RESAMPLES; r++) {
        resamples[r] = median_of_some(over, overs, &random) / median_of_some(under, unders, &random);
    }
    return between(attn_bench_median(over, overs) / attn_bench_median(under, unders), resamples);
}
