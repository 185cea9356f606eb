/* SPDX-License-Identifier: BSD-3-Clause
 *
 * kernels/modify.c: kernels of the modifiers, each over one row of scores; and the gradient of tanh. */
#include "kernels/elementary.h"

#include <math.h>

/* Narrowed without becoming infinite, which 0 times it would make NaN of. */
static real narrowed(double x)
{
    return x > REAL_MAX ? REAL_MAX : x < -REAL_MAX ? -REAL_MAX : (real)x;
}

void KERNEL(scale)(int64_t n, double factor, void *row)
{
    real *x = row, f = narrowed(factor);
    for (int64_t j = 0; j < n; j++) x[j] *= f;
}

void KERNEL(softcap)(int64_t n, double cap, void *row)
{
    real *x = row;
    const vec c = splat(cap < REAL_MIN ? REAL_MIN : narrowed(cap)); /* it is divided by */
    for (int64_t j = 0; j < n; j += WIDTH) store_part(c * vec_tanh(load_part(x + j, n - j, 0) / c), n - j, x + j);
}

/* In factors, of which the first is exact where tanh is near 1. */
void KERNEL(tanh_gradient)(int64_t n, const void *tanh, const void *change, void *to)
{
    const real *t = tanh, *c = change;
    real *x = to;
    for (int64_t j = 0; j < n; j++) x[j] = c[j] * ((1 - t[j]) * (1 + t[j]));
}

void KERNEL(add_bias)(int64_t n, const void *bias, int64_t stride, void *row)
{
    const real *b = bias;
    real *x = row;
    if (stride == 1) {
        for (int64_t j = 0; j < n; j++) x[j] += b[j];
    } else {
        for (int64_t j = 0; j < n; j++) x[j] += b[j * stride];
    }
}

void KERNEL(add_alibi)(int64_t n, const void *slope, int64_t distance, void *row)
{
    const real s = *(const real *)slope;
    real *x = row;
    for (int64_t j = 0; j < n; j++) {
        int64_t d = distance + j;
        x[j] -= s * (real)(d < 0 ? -d : d);
    }
}

void KERNEL(hide)(int64_t n, const uint8_t *mask, int64_t stride, void *row)
{
    real *x = row;
    for (int64_t j = 0; j < n; j++) x[j] = mask[j * stride] ? x[j] : (real)-INFINITY;
}
