/* SPDX-License-Identifier: BSD-3-Clause
 *
 * kernels/tile_math.h: what the kernels of tiles have in common: loops that must be unrolled, and powers of two. */
#ifndef ATTN_I_KERNELS_TILE_MATH_H
#define ATTN_I_KERNELS_TILE_MATH_H

#include "kernels/elementary.h"
#include "kernels/tile.h"

#include <math.h>
#if defined(__SSE2__)
#include <immintrin.h>
#endif

#define ALWAYS_INLINE inline __attribute__((always_inline))

/* Unrolls a loop of constant length, so that arrays indexed by it live in registers. Not where every access is checked
 * by a sanitizer: Clang then works for minutes on one file, and there are no registers to win. */
#if defined(ATTN_I_SANITIZED)
#define UNROLL
#define NOT_UNROLLED
#elif defined(__clang__)
#define UNROLL       _Pragma("clang loop unroll(full)")
#define NOT_UNROLLED _Pragma("clang loop unroll(disable)")
#else
#define UNROLL       _Pragma("GCC unroll 32")
#define NOT_UNROLLED _Pragma("GCC unroll 1")
#endif

/* Keeps the compiler from loading the vector anew for each use of it, and from moving the use of one before another. */
#if defined(__aarch64__)
#define IN_REGISTER(v) __asm__ volatile("" : "+w"(v))
#elif defined(__AVX512F__)
#define IN_REGISTER(v) __asm__ volatile("" : "+v"(v))
#elif defined(__SSE2__)
#define IN_REGISTER(v) __asm__ volatile("" : "+x"(v))
#else
#define IN_REGISTER(v) (void)(v)
#endif

/* Keeps the compiler from having a register for every sum of this pointer and something else. */
#define OPAQUE(pointer) __asm__("" : "+r"(pointer))

/* a > b ? a : b, hence b where either is no number. */
static ALWAYS_INLINE vec greater_of(vec a, vec b)
{
#if defined(__AVX512F__)
    return (vec)_mm512_max_ps((__m512)a, (__m512)b);
#elif defined(__AVX__)
    return (vec)_mm256_max_ps((__m256)a, (__m256)b);
#elif defined(__SSE2__)
    return (vec)_mm_max_ps((__m128)a, (__m128)b);
#else
    return choose(a > b, a, b);
#endif
}

static ALWAYS_INLINE vec magnitude(vec x)
{
    return (vec)((bits_vec)x & ~((bits)1 << (ATTN_I_BITS - 1)));
}

/* score where it is no number, else weight. */
static ALWAYS_INLINE vec keep_nan(vec score, vec weight)
{
    return choose(score == score, weight, score); /* NOLINT(misc-redundant-expression) */
}

/* 2^x = 2^n 2^r with n the nearest whole number: 2^r by a polynomial (a weighted least-squares fit brought to equal
 * ripple; relative error 9.4e-8), 2^n by adding n to its exponent. x + offset has n, moved by the reference and by
 * ROOM, in its lowest bits when offset is power_offset(reference): 0 to 2 ROOM - 1. The polynomial is 2^ROOM too small.
 */
static const float power_terms[] = {0x1.5bd97cp-74f, 0x1.3ce8b2p-71f, 0x1.c6b6dap-69f,
                                    0x1.ebf9c2p-67f, 0x1.62e42ap-65f, 0x1p-64f};

static ALWAYS_INLINE vec power_offset(vec reference)
{
    return splat(ROUND + ATTN_I_ROOM) - reference;
}

/* 2^(x - reference) for x not below floor, which is reference - ROOM; *powers collects the bits of x + offset. NaN and
 * what is ROOM above the reference give bits that powers_fit finds, and no meaningful value. */
static ALWAYS_INLINE vec power_above(vec x, vec floor, vec offset, bits_vec *powers)
{
    x = greater_of(floor, x);
    const vec shifted = x + offset;
    const vec r = x - (shifted - offset);
    vec p = splat(power_terms[0]);
    UNROLL for (int i = 1; i < 6; i++) p = p * r + splat(power_terms[i]);
    *powers |= (bits_vec)shifted;
    return (vec)((bits_vec)p + ((bits_vec)shifted << FRACTION_BITS));
}

static inline int powers_fit(bits_vec powers)
{
    bits lanes[WIDTH], all = 0;
    memcpy(lanes, &powers, sizeof lanes);
    for (int l = 0; l < WIDTH; l++) all |= lanes[l];
    return (all & ~(bits)(2 * ATTN_I_ROOM - 1)) == ROUND_BITS;
}

/* Where the lanes do not see the key. */
static ALWAYS_INLINE truth unseen_by(const attn_i_lanes *state, int64_t lane, int32_t key)
{
    truth first, end, at = (truth){0} + key;
    memcpy(&first, state->first_key + lane, sizeof first);
    memcpy(&end, state->end_key + lane, sizeof end);
    return (at < first) | (at >= end);
}

#endif
