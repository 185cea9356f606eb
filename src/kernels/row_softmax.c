/* SPDX-License-Identifier: BSD-3-Clause
 *
 * kernels/row_softmax.c: the kernels that make weights of a row of scores: its maximum, powers of two, and what they
 * come to. */
#include "kernels/square.h"
#include "kernels/tiles.h"

float KERNEL(row_maximum)(int64_t n, const float *row)
{
    vec most = splat(-INFINITY);
    for (int64_t j = 0; j < n; j += WIDTH) most = greater_of(load_part(row + j, n - j, -INFINITY), most);
    return greatest_of(most);
}

float KERNEL(row_measure)(int64_t n, float unit, float reference, float *row, float *moment)
{
    const int far = reference > ATTN_I_FAR || reference < -ATTN_I_FAR; /* see tile_exponentials */
    const vec base = splat(far ? 0 : reference), taken = splat(far ? reference : 0), floor = base - splat(ATTN_I_ROOM),
              offset = power_offset(base);
    vec sums[2] = {splat(0), splat(0)};
    bits_vec powers = {0};
    for (int64_t j = 0; j < n; j += WIDTH) {
        const vec score = load_part(row + j, n - j, -INFINITY) * unit, left = score - taken;
        vec weight = power_above(left, floor, offset, &powers);
        weight = choose(score == splat(-INFINITY), splat(0), weight);
        weight = keep_nan(score, weight);
        sums[0] += weight;
        sums[1] += weight * (greater_of(floor, left) - base);
        store_part(weight, n - j, row + j);
    }
    *moment = sum_of(sums[1]);
    return sum_of(sums[0]);
}

float KERNEL(row_exponentials)(int64_t n, float unit, float reference, float *row)
{
    const int far = reference > ATTN_I_FAR || reference < -ATTN_I_FAR; /* see tile_exponentials */
    const vec base = splat(far ? 0 : reference), taken = splat(far ? reference : 0), floor = base - splat(ATTN_I_ROOM),
              offset = power_offset(base);
    vec sum = splat(0);
    bits_vec powers = {0};
    for (int64_t j = 0; j < n; j += WIDTH) {
        const vec score = load_part(row + j, n - j, -INFINITY) * unit;
        vec weight = power_above(score - taken, floor, offset, &powers);
        weight = choose(score == splat(-INFINITY), splat(0), weight);
        weight = keep_nan(score, weight);
        sum += weight;
        store_part(weight, n - j, row + j);
    }
    return sum_of(sum);
}
