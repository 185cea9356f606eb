/* SPDX-License-Identifier: BSD-3-Clause
 *
 * context.c: kernels for contexts whose unseen values are not numbers. A matrix product would carry 0 times infinity
 * into them; such rows are found afterwards, by not being finite, and summed again here. */
#include "kernels/real.h"

#include <math.h>

int KERNEL(is_finite)(int64_t n, const void *row)
{
    const real *x = row;
    int finite = 1;
    for (int64_t j = 0; j < n; j++) finite &= fabs((double)x[j]) <= (double)REAL_MAX;
    return finite;
}

void KERNEL(seen_context)(int64_t n, const void *weights, int64_t dims, const void *values, int64_t row_stride,
                          int64_t column_stride, void *context)
{
    const real *w = weights;
    real *c = context;
    for (int64_t d = 0; d < dims; d++) c[d] = 0;
    for (int64_t j = 0; j < n; j++) {
        if (w[j] == 0 && signbit(w[j])) continue;
        const real *value = (const real *)values + j * row_stride;
        for (int64_t d = 0; d < dims; d++) c[d] += w[j] * value[d * column_stride];
    }
}
