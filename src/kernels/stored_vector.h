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

typedef uint16_t stored_16 __attribute__((vector_size(WIDTH * 2)));
typedef int8_t stored_8 __attribute__((vector_size(WIDTH)));

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

/* WIDTH elements from this one on. */
static ALWAYS_INLINE vec load_stored(stored_type type, const void *from)
{
    if (type == STORED_F32) return load((const float *)from);
    if (type == STORED_F16) return widen_f16(from);
    if (type == STORED_BF16) {
        stored_16 h;
        memcpy(&h, from, sizeof h);
        return (vec)(__builtin_convertvector(h, bits_vec) << 16);
    }
    stored_8 i;
    memcpy(&i, from, sizeof i);
    return __builtin_convertvector(i, vec);
}

/* The first n of them; lanes past them hold 0. */
static ALWAYS_INLINE vec load_stored_part(stored_type type, const void *from, int64_t n)
{
    if (type == STORED_F32) return load_part((const float *)from, n, 0);
    char some[WIDTH * 2] = {0};
    memcpy(some, from, (size_t)((n < WIDTH ? n : WIDTH) * stored_size(type)));
    return load_stored(type, some);
}

#endif
