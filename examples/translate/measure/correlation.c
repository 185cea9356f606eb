/* SPDX-License-Identifier: BSD-3-Clause
 *
 * correlation.c: see correlation.h. */
#include "measure/correlation.h"

#include "refuse.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static int order(double a, double b)
{
    return (a > b) - (a < b);
}

double kendall_tau(const double *x, const double *y, size_t count)
{
    double balance = 0, differ_x = 0, differ_y = 0; /* whole numbers, exact below 2^53 */
    for (size_t i = 0; i < count; i++) {
        if (isnan(x[i]) || isnan(y[i])) return (double)NAN;
        for (size_t j = 0; j < i; j++) {
            const int by_x = order(x[i], x[j]), by_y = order(y[i], y[j]);
            balance += by_x * by_y;
            differ_x += by_x != 0;
            differ_y += by_y != 0;
        }
    }
    if (differ_x == 0 || differ_y == 0) return (double)NAN;
    return balance / sqrt(differ_x) / sqrt(differ_y);
}

double total_variation(const double *p, const double *q, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++) sum += fabs(p[i] - q[i]);
    return sum / 2;
}

/* a ln(a / middle), which is 0 at a = 0. */
static double divergence_term(double a, double middle)
{
    return a == 0 ? 0 : a * log(a / middle);
}

double jensen_shannon(const double *p, const double *q, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++) {
        const double middle = p[i] / 2 + q[i] / 2;
        sum += divergence_term(p[i], middle) + divergence_term(q[i], middle);
    }
    return sum < 0 ? 0 : sum / 2; /* rounding may leave it a little below 0 */
}

double entropy(const double *p, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++) sum -= divergence_term(p[i], 1);
    return sum;
}

double softmax_entropy(const double *scores, size_t count)
{
    double greatest = -INFINITY;
    for (size_t i = 0; i < count; i++) {
        if (isnan(scores[i])) return (double)NAN;
        if (scores[i] > greatest) greatest = scores[i];
    }
    if (isinf(greatest)) return (double)NAN;
    double sum = 0, weighted = 0;
    for (size_t i = 0; i < count; i++) {
        const double less = scores[i] - greatest, power = exp(less);
        sum += power;
        if (power > 0) weighted += power * less;
    }
    return log(sum) - weighted / sum;
}

static int compare(const void *a, const void *b)
{
    return order(*(const double *)a, *(const double *)b);
}

double quantile(const double *values, size_t count, double share)
{
    if (count == 0 || !(share >= 0 && share <= 1)) return (double)NAN;
    for (size_t i = 0; i < count; i++) {
        if (isnan(values[i])) return (double)NAN;
    }
    double *sorted = allocate(count, sizeof(double));
    memcpy(sorted, values, count * sizeof(double));
    qsort(sorted, count, sizeof(double), compare);
    const double place = share * (double)(count - 1), fraction = place - floor(place);
    const size_t at = (size_t)place;
    double result = sorted[at];
    if (fraction > 0) result = (1 - fraction) * sorted[at] + fraction * sorted[at + 1];
    free(sorted);
    return result;
}

double median(const double *values, size_t count)
{
    return quantile(values, count, 0.5);
}
