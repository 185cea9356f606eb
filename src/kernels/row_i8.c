/* SPDX-License-Identifier: BSD-3-Clause
 *
 * kernels/row_i8.c: the kernels of few queries over keys and values of 8 bits, where the CPU multiplies pairs of
 * integers of 16 bits: queries and weights become integers of 15 bits and a sign, relative to the greatest of what is
 * added up together, and sums are whole numbers. What has no such integers goes by float32. */
#include "kernels/pairs.h"
#include "kernels/square.h"
#include "kernels/tiles.h"

#include <immintrin.h>

#define ATTN_I_FLOATS attn_i_avx512_f32_stored_i8 /* of the set that this belongs to */

enum { ELEMENT = 1, GREATEST = 32767 };

static ALWAYS_INLINE vec load_pairs(const void *from)
{
    return (vec)_mm512_cvtepi8_epi16(_mm256_loadu_si256((const __m256i *)from));
}

static ALWAYS_INLINE vec load_some(const void *from, int64_t n)
{
    return (vec)_mm512_cvtepi8_epi16(_mm256_maskz_loadu_epi8((__mmask32)((UINT32_C(1) << n) - 1), from));
}

static ALWAYS_INLINE vec multiply_pairs(vec sum, vec a, vec b)
{
    return (vec)_mm512_dpwssd_epi32((__m512i)sum, (__m512i)a, (__m512i)b);
}

/* The greatest magnitude of a row; NaN or infinite if some element is. */
static float magnitude_of(int64_t n, const float *row)
{
    bits_vec most = {0}; /* magnitudes are in order as whole numbers are */
    bits all[WIDTH], greatest = 0;
    for (int64_t j = 0; j < n; j += WIDTH) {
        const bits_vec x = (bits_vec)magnitude(load_part(row + j, n - j, 0));
        most = (bits_vec)_mm512_max_epu32((__m512i)most, (__m512i)x);
    }
    memcpy(all, &most, sizeof all);
    for (int l = 0; l < WIDTH; l++) greatest = all[l] > greatest ? all[l] : greatest;
    float found;
    memcpy(&found, &greatest, sizeof found);
    return found;
}

/* 1 if what a row becomes is finite, and what it is divided by, too. */
static int has_integers(int64_t n, attn_i_rows rows, int64_t count)
{
    const float least = 0x1p-100f, most = 0x1p100f;
    for (int64_t i = 0; i < count; i++) {
        const float found = magnitude_of(n, rows.data + i * rows.stride);
        if (found != 0 && !(found >= least && found <= most)) return 0;
    }
    return 1;
}

/* Of a part of a row that has less than any whole row, next to nothing is taken: a greater factor would be infinite. */
static float pair_row(int64_t n, const float *row, float *to)
{
    const float most = fmaxf(magnitude_of(n, row), 0x1p-110f), unit = most / GREATEST;
    const vec factor = splat(GREATEST / most);
    for (int64_t j = 0; j < n; j += 2 * WIDTH) {
        const __m512i low = _mm512_cvtps_epi32((__m512)(load_part(row + j, n - j, 0) * factor));
        const __m512i high = _mm512_cvtps_epi32((__m512)(load_part(row + j + WIDTH, n - j - WIDTH, 0) * factor));
        const __m256i first = _mm512_cvtsepi32_epi16(low), rest = _mm512_cvtsepi32_epi16(high);
        store((vec)_mm512_inserti64x4(_mm512_castsi256_si512(first), rest, 1), to + j / 2);
    }
    return unit;
}

static ALWAYS_INLINE vec floats_of(vec sums)
{
    return (vec)_mm512_cvtepi32_ps((__m512i)sums);
}

static ALWAYS_INLINE vec add_up(vec sums[WIDTH])
{
    return floats_of((vec)whole_sums_of((truth *)sums));
}

static ALWAYS_INLINE float add_up_one(vec sums)
{
    return (float)_mm512_reduce_add_epi32((__m512i)sums);
}

#include "kernels/row_pairs.h"

extern const attn_i_stored_kernels ATTN_I_FLOATS;

static void products(int64_t depth, attn_i_rows queries, int64_t rows, const attn_i_stored_rows *keys, int64_t count,
                     float *to, int64_t to_stride)
{
    if (has_integers(depth, queries, rows)) {
        row_products(depth, queries, rows, keys, count, to, to_stride);
    } else {
        ATTN_I_FLOATS.rows.products(depth, queries, rows, keys, count, to, to_stride);
    }
}

static void context(int64_t count, attn_i_rows weights, int64_t rows, const attn_i_stored_rows *values, int64_t dim,
                    float *to)
{
    if (has_integers(count, weights, rows)) {
        row_context(count, weights, rows, values, dim, to);
    } else {
        ATTN_I_FLOATS.rows.context(count, weights, rows, values, dim, to);
    }
}

const attn_i_row_kernels KERNEL(rows_i8) = {products, context, NULL};
