/* SPDX-License-Identifier: BSD-3-Clause
 *
 * kernels/vector.h: a row in pieces, in the compiler's vector extension. A vector has the width of the instruction
 * set's registers; a sum over a row is kept in LANES parts, several vectors where registers are short, so that it is
 * cut the same way on every instruction set. */
#ifndef ATTN_I_KERNELS_VECTOR_H
#define ATTN_I_KERNELS_VECTOR_H

#include "kernels/real.h"

#include <string.h>
#if defined(__AVX512F__)
#include <immintrin.h>
#endif

#if defined(__AVX512F__)
enum { VECTOR_BYTES = 64 };
#elif defined(__AVX2__)
enum { VECTOR_BYTES = 32 };
#else
enum { VECTOR_BYTES = 16 };
#endif

enum { LANES = 64 / (int)sizeof(real), WIDTH = VECTOR_BYTES / (int)sizeof(real), VECTORS = LANES / WIDTH };

#if ATTN_I_BITS == 32
typedef uint32_t bits;
typedef int32_t signed_bits;
#else
typedef uint64_t bits;
typedef int64_t signed_bits;
#endif
typedef real vec __attribute__((vector_size(VECTOR_BYTES)));
typedef bits bits_vec __attribute__((vector_size(VECTOR_BYTES)));
typedef signed_bits truth __attribute__((vector_size(VECTOR_BYTES))); /* of a comparison: -1 or 0 */

static inline vec splat(real x)
{
    return x - (vec){0};
}

static inline vec load(const real *from)
{
    vec v;
    memcpy(&v, from, sizeof v);
    return v;
}

static inline void store(vec v, real *to)
{
    memcpy(to, &v, sizeof v);
}

#if defined(__AVX512F__)
static inline uint32_t part_mask(int64_t n)
{
    return n < 1 ? 0 : (1U << n) - 1;
}
#endif

/* The first n elements, none if n < 1, all if n >= WIDTH; lanes past them hold rest. */
static inline vec load_part(const real *from, int64_t n, real rest)
{
    if (n >= WIDTH) return load(from);
#if defined(__AVX512F__) && ATTN_I_BITS == 32
    return (vec)_mm512_mask_loadu_ps((__m512)splat(rest), (__mmask16)part_mask(n), from);
#elif defined(__AVX512F__)
    return (vec)_mm512_mask_loadu_pd((__m512d)splat(rest), (__mmask8)part_mask(n), from);
#else
    real lanes[WIDTH];
    for (int l = 0; l < WIDTH; l++) lanes[l] = l < n ? from[l] : rest;
    return load(lanes);
#endif
}

static inline void store_part(vec v, int64_t n, real *to)
{
    if (n >= WIDTH) {
        store(v, to);
        return;
    }
#if defined(__AVX512F__) && ATTN_I_BITS == 32
    _mm512_mask_storeu_ps(to, (__mmask16)part_mask(n), (__m512)v);
#elif defined(__AVX512F__)
    _mm512_mask_storeu_pd(to, (__mmask8)part_mask(n), (__m512d)v);
#else
    real lanes[WIDTH];
    store(v, lanes);
    for (int64_t l = 0; l < n; l++) to[l] = lanes[l];
#endif
}

/* a where the truth is true, else b. */
static inline vec choose(truth t, vec a, vec b)
{
    return (vec)(((bits_vec)t & (bits_vec)a) | (~(bits_vec)t & (bits_vec)b));
}

/* LANES partial sums. Vector k of them takes elements k WIDTH .. of each LANES of a row. */
typedef struct lane_sums {
    vec part[VECTORS];
} lane_sums;

/* Their sum, by halves. */
static inline real sum_lanes(lane_sums sums)
{
    real lanes[LANES];
    memcpy(lanes, &sums, sizeof lanes);
    for (int step = LANES / 2; step > 0; step /= 2) {
        for (int l = 0; l < step; l++) lanes[l] += lanes[l + step];
    }
    return lanes[0];
}

#endif
