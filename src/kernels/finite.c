/* SPDX-License-Identifier: BSD-3-Clause
 *
 * kernels/finite.c: kernels that keep values which are not numbers away from queries that do not see them. */
#include "kernels/real.h"

#include <math.h>

static int finite(real x)
{
    return x >= -REAL_MAX && x <= REAL_MAX;
}

int KERNEL(is_finite)(int64_t n, const void *row)
{
    const real *x = row;
    int all = 1;
    for (int64_t j = 0; j < n; j++) all &= finite(x[j]);
    return all;
}

int KERNEL(gather_finite)(int64_t n, const void *from, int64_t stride, void *to, int64_t to_stride)
{
    const real *source = from;
    real *target = to;
    int all = 1;
    for (int64_t j = 0; j < n && stride == 1 && to_stride == 1; j++) { /* in vectors */
        const real x = source[j];
        all &= finite(x);
        target[j] = finite(x) ? x : 0;
    }
    if (stride == 1 && to_stride == 1) return all;
    for (int64_t j = 0; j < n; j++) {
        const real x = source[j * stride];
        all &= finite(x);
        target[j * to_stride] = finite(x) ? x : 0;
    }
    return all;
}

void KERNEL(add_not_finite)(int64_t n, const void *weight, const void *from, int64_t stride, void *to)
{
    const real w = *(const real *)weight, *source = from;
    real *target = to;
    for (int64_t j = 0; j < n; j++) {
        if (!finite(source[j * stride])) target[j] += w * source[j * stride];
    }
}

int KERNEL(is_unseen)(const void *weight)
{
    const real w = *(const real *)weight;
    return w == 0 && signbit(w);
}
