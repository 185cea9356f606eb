/* SPDX-License-Identifier: BSD-3-Clause
 *
 * kernels/row_bf16.c: the kernels of few queries over keys and values of bfloat16, where the CPU multiplies pairs of
 * these: products are exact, weights are rounded. */
#include "kernels/pairs.h"
#include "kernels/square.h"
#include "kernels/tiles.h"

enum { ELEMENT = 2 };

static ALWAYS_INLINE vec load_pairs(const void *from)
{
    vec v;
    memcpy(&v, from, sizeof v);
    return v;
}

static ALWAYS_INLINE vec load_some(const void *from, int64_t n)
{
#if defined(__AVX512F__)
    return (vec)_mm512_maskz_loadu_epi16((__mmask32)((UINT32_C(1) << n) - 1), from);
#else
    char some[sizeof(vec)] = {0};
    memcpy(some, from, (size_t)(n * ELEMENT));
    return load_pairs(some);
#endif
}

static ALWAYS_INLINE vec multiply_pairs(vec sum, vec a, vec b)
{
    return add_pair_products(sum, a, b);
}

/* Rounded, if they are not bfloat16 already. */
static ALWAYS_INLINE vec pairs_at(const float *row, int64_t n)
{
    return neighbours_of(load_part(row, n, 0), load_part(row + WIDTH, n - WIDTH, 0));
}

static float pair_row(int64_t n, const float *row, float *to)
{
    for (int64_t j = 0; j < n; j += 2 * WIDTH) store(pairs_at(row + j, n - j), to + j / 2);
    return 1;
}

static ALWAYS_INLINE vec floats_of(vec sums)
{
    return sums;
}

static ALWAYS_INLINE vec add_up(vec sums[WIDTH])
{
    return sums_of(sums);
}

static ALWAYS_INLINE float add_up_one(vec sums)
{
    return sum_of(sums);
}

#include "kernels/row_pairs.h"

static float rounded_sum(int64_t n, const float *weights)
{
    const vec ones = pair_of(splat(1), splat(1));
    vec sum = splat(0);
    for (int64_t j = 0; j < n; j += ELEMENTS) sum = add_pair_products(sum, pairs_at(weights + j, n - j), ones);
    return sum_of(sum);
}

const attn_i_row_kernels KERNEL(rows_bf16) = {row_products, row_context, rounded_sum};
