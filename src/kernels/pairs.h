/* SPDX-License-Identifier: BSD-3-Clause
 *
 * kernels/pairs.h: pairs of bfloat16, each of them 32 bits of a vector, the first in the low half: what a CPU
 * multiplies where it has an instruction for it. HAS_PAIRS says whether this set of kernels has. */
#ifndef ATTN_I_KERNELS_PAIRS_H
#define ATTN_I_KERNELS_PAIRS_H

#include "kernels/tile_math.h"

#if defined(__AVX512BF16__)
#include <immintrin.h>
enum { HAS_PAIRS = 1 };
#elif defined(__ARM_FEATURE_BF16_VECTOR_ARITHMETIC)
#include <arm_neon.h>
enum { HAS_PAIRS = 1 };
#else
enum { HAS_PAIRS = 0 };
#endif

/* sum + a.first b.first + a.second b.second, in each lane. */
static ALWAYS_INLINE vec add_pair_products(vec sum, vec a, vec b)
{
#if defined(__AVX512BF16__)
    return (vec)_mm512_dpbf16_ps((__m512)sum, (__m512bh)a, (__m512bh)b);
#elif defined(__ARM_FEATURE_BF16_VECTOR_ARITHMETIC)
    return (vec)vbfdotq_f32((float32x4_t)sum, (bfloat16x8_t)a, (bfloat16x8_t)b);
#else
    (void)a, (void)b;
    return sum;
#endif
}

/* The pair that lies there, or what lies there and 0, in all lanes. */
static ALWAYS_INLINE vec spread_pair(const void *a)
{
    signed_bits pair;
    memcpy(&pair, a, sizeof pair);
    return (vec)((truth){0} + pair);
}

static ALWAYS_INLINE vec spread_last(const void *a)
{
    uint16_t one;
    memcpy(&one, a, sizeof one);
    return (vec)((bits_vec){0} + (bits)one);
}

/* Both rounded to bfloat16, to the nearest, of two to the even one. */
static ALWAYS_INLINE vec pair_of(vec first, vec second)
{
#if defined(__AVX512BF16__)
    const __m512i order = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6,
                                           21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    return (vec)_mm512_permutexvar_epi16(order, (__m512i)_mm512_cvtne2ps_pbh((__m512)second, (__m512)first));
#elif defined(__ARM_FEATURE_BF16_VECTOR_ARITHMETIC)
    const bfloat16x8_t low = vcvtq_low_bf16_f32((float32x4_t)first);
    const bfloat16x8_t high = vcvtq_low_bf16_f32((float32x4_t)second);
    return (vec)vzip1q_u16((uint16x8_t)low, (uint16x8_t)high);
#else
    (void)second;
    return first;
#endif
}

/* Rounded likewise: pairs of neighbours, of first and then of second. */
static ALWAYS_INLINE vec neighbours_of(vec first, vec second)
{
#if defined(__AVX512BF16__)
    return (vec)_mm512_cvtne2ps_pbh((__m512)second, (__m512)first);
#elif defined(__ARM_FEATURE_BF16_VECTOR_ARITHMETIC)
    return (vec)vcvtq_high_bf16_f32(vcvtq_low_bf16_f32((float32x4_t)first), (float32x4_t)second);
#else
    (void)second;
    return first;
#endif
}

/* Two runs of 2 WIDTH bfloat16, interleaved: pairs of one from each, the first WIDTH of them and the rest. */
static ALWAYS_INLINE void zip(vec a, vec b, vec *low, vec *high)
{
#if defined(__AVX512F__)
    const __m512i first = _mm512_set_epi16(47, 15, 46, 14, 45, 13, 44, 12, 43, 11, 42, 10, 41, 9, 40, 8, 39, 7, 38, 6,
                                           37, 5, 36, 4, 35, 3, 34, 2, 33, 1, 32, 0);
    const __m512i rest = _mm512_add_epi16(first, _mm512_set1_epi16(16));
    *low = (vec)_mm512_permutex2var_epi16((__m512i)a, first, (__m512i)b);
    *high = (vec)_mm512_permutex2var_epi16((__m512i)a, rest, (__m512i)b);
#elif defined(__ARM_FEATURE_BF16_VECTOR_ARITHMETIC)
    *low = (vec)vzip1q_u16((uint16x8_t)a, (uint16x8_t)b);
    *high = (vec)vzip2q_u16((uint16x8_t)a, (uint16x8_t)b);
#else
    *low = a, *high = b;
#endif
}

#endif
