/* SPDX-License-Identifier: BSD-3-Clause
 *
 * kernels/half.h: float16 and bfloat16, one number at a time, to and from float32. Subnormal numbers are numbers like
 * others, whatever the thread's floating-point mode says. */
#ifndef ATTN_I_KERNELS_HALF_H
#define ATTN_I_KERNELS_HALF_H

#include <stdint.h>
#include <string.h>
#if defined(__F16C__)
#include <immintrin.h>
#endif

static inline uint32_t bits_of(float x)
{
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}

static inline float float_of(uint32_t u)
{
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}

#define SIGN_BIT      UINT32_C(0x80000000)
#define INFINITE_BITS UINT32_C(0x7F800000)

static inline float from_bf16(uint16_t h)
{
    return float_of((uint32_t)h << 16);
}

static inline uint16_t to_bf16(float x)
{
    const uint32_t u = bits_of(x), rounded = (u + 0x7FFF + (u >> 16 & 1)) >> 16, quiet = u >> 16 | 0x40;
    return (uint16_t)((u & ~SIGN_BIT) > INFINITE_BITS ? quiet : (u & ~SIGN_BIT) == 0 ? 0 : rounded);
}

#if defined(__F16C__)

static inline float from_f16(uint16_t h)
{
    return _cvtsh_ss(h);
}

static inline uint16_t to_f16(float x)
{
    return _cvtss_sh(x + 0, _MM_FROUND_TO_NEAREST_INT);
}

#elif defined(__aarch64__)

static inline float from_f16(uint16_t h)
{
    __fp16 x;
    memcpy(&x, &h, sizeof x);
    return (float)x;
}

static inline uint16_t to_f16(float x)
{
    const __fp16 rounded = (__fp16)(x + 0);
    uint16_t h;
    memcpy(&h, &rounded, sizeof h);
    return h;
}

#else

static inline float from_f16(uint16_t h)
{
    enum { SHIFT = 13, BIAS = (127 - 15) << 23 };
    const uint32_t magnitude = h & 0x7FFF, moved = (magnitude << SHIFT) + BIAS;
    const uint32_t whole = magnitude >= 0x7C00 ? moved + BIAS : moved; /* infinite, or no number */
    const uint32_t u = magnitude < 0x400 ? bits_of((float)magnitude * 0x1p-24f) : whole;
    return float_of((uint32_t)(h & 0x8000) << 16 | u);
}

static inline uint16_t to_f16(float x)
{
    enum { SHIFT = 13, BIAS = (127 - 15) << 23 };
    const uint32_t u = bits_of(x), magnitude = u & ~SIGN_BIT;
    /* The last digit of a subnormal result is the last of a float about 1/2: adding that rounds. */
    const uint32_t subnormal = bits_of(float_of(magnitude) + 0.5f) - bits_of(0.5f);
    const uint32_t normal = (magnitude - BIAS + 0xFFF + (magnitude >> SHIFT & 1)) >> SHIFT;
    uint32_t h = magnitude < (BIAS + (UINT32_C(1) << 23)) ? subnormal : normal;
    if (magnitude >= bits_of(65520.0f)) h = 0x7C00;
    if (magnitude > INFINITE_BITS) h = 0x7E00;
    return (uint16_t)(magnitude == 0 ? 0 : h | (u >> 16 & 0x8000));
}

#endif
#endif
