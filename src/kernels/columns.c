/* SPDX-License-Identifier: BSD-3-Clause
 *
 * kernels/columns.c: kernels that take a softmax down the columns of a matrix of scores, a row at a time: each element
 * has the maximum, sum and mean of its column beside it. */
#include "kernels/elementary.h"

#include <math.h>

void KERNEL(column_maximum)(int64_t n, const void *row, void *most)
{
    const real *x = row;
    real *m = most;
    for (int64_t j = 0; j < n; j++) m[j] = x[j] > m[j] ? x[j] : m[j];
}

void KERNEL(column_exponentials)(int64_t n, const void *reference, void *row, void *sum)
{
    const real *r = reference;
    real *x = row, *s = sum;
    for (int64_t j = 0; j < n; j += WIDTH) {
        const vec score = load_part(x + j, n - j, 0);
        const vec p = vec_exp(score - load_part(r + j, n - j, 0));
        const vec weight = choose(score == splat((real)-INFINITY), splat(0), p);
        store_part(weight, n - j, x + j);
        if (s != NULL) store_part(load_part(s + j, n - j, 0) + weight, n - j, s + j);
    }
}

void KERNEL(column_gradient)(int64_t n, const void *mean, const void *weights, const void *row, void *to)
{
    const real *m = mean, *w = weights, *x = row;
    real *d = to;
    for (int64_t j = 0; j < n; j++) d[j] += w[j] == 0 ? 0 : w[j] * (x[j] - m[j]);
}
