/* SPDX-License-Identifier: BSD-3-Clause
 *
 * correlation.h: what "Attention is not Explanation" (Jain and Wallace 2019, section 4) compares weights and outputs
 * by. Distributions are non-negative and sum to 1; logarithms are natural. What is not defined is NaN, as is what NaN
 * goes into. */
#ifndef TRANSLATE_CORRELATION_H
#define TRANSLATE_CORRELATION_H

#include <stddef.h>

/* Kendall's rank correlation with ties, tau-b (Kendall 1945), -1 to 1:
 *
 *     (concordant - discordant) / sqrt((pairs - ties in x) (pairs - ties in y)),    pairs = count (count - 1) / 2
 *
 * NaN where x or y is the same everywhere. It looks at every pair: for the tokens of a sentence, not for millions. */
double kendall_tau(const double *x, const double *y, size_t count);

/* Half the sum of |p - q|: 0 to 1. Jain and Wallace's measure of how far the output moves. */
double total_variation(const double *p, const double *q, size_t count);

/* KL(p || m) / 2 + KL(q || m) / 2 with m = (p + q) / 2 (Lin 1991): 0 to ln 2. */
double jensen_shannon(const double *p, const double *q, size_t count);

/* - sum of p ln p: 0 (all on one) to ln count (all alike). */
double entropy(const double *p, size_t count);

/* The entropy of softmax(scores), from the scores: ln sum(exp(s)) - sum(softmax(s) s). A score may be -inf (masked);
 * NaN where all are. */
double softmax_entropy(const double *scores, size_t count);

/* The value below which this share of the values lies, 0 to 1, between two values linearly (Hyndman and Fan 1996,
 * definition 7, as NumPy's); NaN of no values. The values are left as they are. */
double quantile(const double *values, size_t count, double share);
double median(const double *values, size_t count);

#endif
