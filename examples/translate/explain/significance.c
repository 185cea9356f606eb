/* SPDX-License-Identifier: BSD-3-Clause
 *
 * significance.c: see significance.h. */
#include "explain/significance.h"

#include <math.h>

/* What ties take away: for groups of t equal numbers the sums of t (t - 1), t (t - 1) (t - 2), t (t - 1) (2 t + 5). */
typedef struct ties {
    double pairs, triples, variance;
} ties;

static ties ties_of(const double *x, size_t count)
{
    ties sums = {0, 0, 0};
    for (size_t i = 0; i < count; i++) { /* every member brings its share of the group's term */
        double t = 0;
        for (size_t j = 0; j < count; j++) t += x[j] == x[i];
        sums.pairs += t - 1;
        sums.triples += (t - 1) * (t - 2);
        sums.variance += (t - 1) * (2 * t + 5);
    }
    return sums;
}

double kendall_chance(const double *x, const double *y, size_t count)
{
    double balance = 0;
    for (size_t i = 0; i < count; i++) {
        if (isnan(x[i]) || isnan(y[i])) return (double)NAN;
        for (size_t j = 0; j < i; j++) balance += ((x[i] > x[j]) - (x[i] < x[j])) * ((y[i] > y[j]) - (y[i] < y[j]));
    }
    const double n = (double)count, pairs = n * (n - 1);
    const ties of_x = ties_of(x, count), of_y = ties_of(y, count);
    if (count < 3 || of_x.pairs == pairs || of_y.pairs == pairs) return (double)NAN;
    const double variance = (pairs * (2 * n + 5) - of_x.variance - of_y.variance) / 18 +
                            of_x.pairs * of_y.pairs / (2 * pairs) + of_x.triples * of_y.triples / (9 * pairs * (n - 2));
    return erfc(fabs(balance) / sqrt(2 * variance));
}
