/* SPDX-License-Identifier: BSD-3-Clause
 *
 * kernels/rows.c: kernels that take one row against a few others: what local attention is made of. Rows are contiguous,
 * those of a matrix `stride` elements apart. */
#include "kernels/vector.h"

#include <math.h>

void KERNEL(dots)(int64_t depth, const void *row, int64_t n, const void *rows, int64_t stride, void *to)
{
    const real *x = row;
    for (int64_t j = 0; j < n; j++) {
        const real *y = (const real *)rows + j * stride;
        lane_sums sums = {{{0}}};
        for (int64_t d = 0; d < depth; d += LANES) {
            for (int64_t k = 0, at = d; k < VECTORS && at < depth; k++, at += WIDTH) {
                sums.part[k] += load_part(x + at, depth - at, 0) * load_part(y + at, depth - at, 0);
            }
        }
        ((real *)to)[j] = sum_lanes(sums);
    }
}

static int is_unseen(real weight)
{
    return weight == 0 && signbit(weight);
}

void KERNEL(add_rows)(int64_t n, const void *weights, const void *rows, int64_t stride, int64_t depth, void *to)
{
    const real *w = weights;
    real *sum = to;
    for (int64_t j = 0; j < n; j++) {
        const real *x = (const real *)rows + j * stride;
        if (is_unseen(w[j])) continue;
        for (int64_t d = 0; d < depth; d += WIDTH) {
            const int64_t rest = depth - d;
            store_part(load_part(sum + d, rest, 0) + w[j] * load_part(x + d, rest, 0), rest, sum + d);
        }
    }
}

void KERNEL(add_outer)(int64_t n, const void *weights, const void *row, int64_t depth, void *to, int64_t stride)
{
    const real *w = weights, *x = row;
    for (int64_t j = 0; j < n; j++) {
        real *sum = (real *)to + j * stride;
        if (is_unseen(w[j])) continue;
        for (int64_t d = 0; d < depth; d += WIDTH) {
            const int64_t rest = depth - d;
            store_part(load_part(sum + d, rest, 0) + w[j] * load_part(x + d, rest, 0), rest, sum + d);
        }
    }
}

void KERNEL(multiply)(int64_t n, const void *factor, void *row)
{
    const real *f = factor;
    real *x = row;
    for (int64_t j = 0; j < n; j++) x[j] *= f[j];
}
