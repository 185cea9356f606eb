/* SPDX-License-Identifier: BSD-3-Clause
 *
 * kernels/stored_vector.h: elements of a stored type as a vector of float32, in registers. */
#ifndef ATTN_I_KERNELS_STORED_VECTOR_H
#define ATTN_I_KERNELS_STORED_VECTOR_H

#include "kernels/half.h"
#include "kernels/tile_math.h"

#if defined(__aarch64__)
#include <arm_neon.h>
#endif

/* A constant where these are inlined, so that no branch is left. */
typedef enum stored_type { STORED_F32, STORED_F16, STORED_BF16, STORED_I8 } stored_type;

static ALWAYS_INLINE int64_t stored_size(stored_type type)
{
    return type == STORED_F32 ? 4 : type == STORED_I8 ? 1 : 2;
}

/* What compilers make of conversions of whole vectors, where there is an instruction for it, is many. */
static ALWAYS_INLINE vec widen_f16(const void *from)
{
#if defined(__AVX512F__)
    return (vec)_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)from));
#elif defined(__F16C__)
    return (vec)_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)from));
#elif defined(__aarch64__)
    float16x4_t h;
    memcpy(&h, from, sizeof h);
    return (vec)vcvt_f32_f16(h);
#else
    float lanes[WIDTH];
    uint16_t h[WIDTH];
    memcpy(h, from, sizeof h);
    for (int l = 0; l < WIDTH; l++) lanes[l] = from_f16(h[l]);
    return load(lanes);
#endif
}

static ALWAYS_INLINE vec widen_bf16(const void *from)
{
#if defined(__AVX512F__)
    return (vec)_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)from)), 16);
#elif defined(__AVX2__)
    return (vec)_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)from)), 16);
#elif defined(__SSE2__)
    return (vec)_mm_unpacklo_epi16(_mm_setzero_si128(), _mm_loadl_epi64((const __m128i *)from));
#elif defined(__aarch64__)
    uint16x4_t h;
    memcpy(&h, from, sizeof h);
    return (vec)vshll_n_u16(h, 16);
#else
    float lanes[WIDTH];
    uint16_t h[WIDTH];
    memcpy(h, from, sizeof h);
    for (int l = 0; l < WIDTH; l++) lanes[l] = from_bf16(h[l]);
    return load(lanes);
#endif
}

static ALWAYS_INLINE vec widen_i8(const void *from)
{
#if defined(__AVX512F__)
    return (vec)_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)from)));
#elif defined(__AVX2__)
    return (vec)_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)from)));
#else
    float lanes[WIDTH];
    int8_t i[WIDTH];
    memcpy(i, from, sizeof i);
    for (int l = 0; l < WIDTH; l++) lanes[l] = (float)i[l];
    return load(lanes);
#endif
}

/* WIDTH elements from this one on. */
static ALWAYS_INLINE vec load_stored(stored_type type, const void *from)
{
    if (type == STORED_F32) return load((const float *)from);
    if (type == STORED_F16) return widen_f16(from);
    if (type == STORED_BF16) return widen_bf16(from);
    return widen_i8(from);
}

/* The first n of them; lanes past them hold 0. */
static ALWAYS_INLINE vec load_stored_part(stored_type type, const void *from, int64_t n)
{
    if (type == STORED_F32) return load_part((const float *)from, n, 0);
#if defined(__AVX512F__)
    const __mmask16 part = (__mmask16)(n < WIDTH ? (1U << n) - 1 : 0xFFFF);
    if (type == STORED_I8) {
        return (vec)_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_maskz_loadu_epi8(part, from)));
    }
    const __m256i halves = _mm256_maskz_loadu_epi16(part, from);
    if (type == STORED_F16) return (vec)_mm512_cvtph_ps(halves);
    return (vec)_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16);
#else
    char some[WIDTH * 2] = {0};
    memcpy(some, from, (size_t)((n < WIDTH ? n : WIDTH) * stored_size(type)));
    return load_stored(type, some);
#endif
}

#endif
