/* SPDX-License-Identifier: BSD-3-Clause
 *
 * elementary.h: exp and tanh of one real, without branches in float32 so that loops over them become vector code.
 * Both are within 2 ulp there; in float64 they are the C library's. */
#ifndef ATTN_I_ELEMENTARY_H
#define ATTN_I_ELEMENTARY_H

#include "kernels/real.h"

#include <math.h>

#if ATTN_I_BITS == 32
#include <string.h>

/* 2^n for -126 <= n <= 127. */
static inline float power_of_two(uint32_t n)
{
    uint32_t bits = (n + 127u) << 23;
    float power;
    memcpy(&power, &bits, sizeof power);
    return power;
}

/* exp(x) = 2^n exp(r), n the integer nearest to x / ln 2, |r| <= ln 2 / 2 in two steps (Cody and Waite), exp(r) by a
 * minimax polynomial of degree 6 (relative error 1.2e-8). Exactly 0 and infinity past the ends; NaN stays NaN. */
static inline float real_exp(float x)
{
    const float round = 0x1.8p23f; /* adding it leaves the nearest integer in the low bits */
    x = x > 88.8f ? 88.8f : x;
    x = x < -104.0f ? -104.0f : x;
    float t = x * 0x1.715476p+0f + round;
    float n = t - round;
    uint32_t bits;
    memcpy(&bits, &t, sizeof bits);
    float r = (x - n * 0x1.63p-1f) - n * -0x1.bd0106p-13f;
    float p = 1.392655043e-3f;
    p = p * r + 8.363472722e-3f;
    p = p * r + 4.16665524e-2f;
    p = p * r + 1.666657522e-1f;
    p = p * r + 0.5f;
    p = p * (r * r) + r;
    /* Twice half of 2^n: n may be past what one power holds, where the result is subnormal or overflows. `bits` is n
     * above a multiple of 2^22; shifting it that far up and arithmetically down again leaves n. */
    uint32_t n32 = bits - 0x4B400000u;
    uint32_t half = ((n32 + 0x1000u) >> 1) - 0x800u;
    return (p + 1.0f) * power_of_two(half) * power_of_two(n32 - half);
}

/* Near 0 by an odd minimax polynomial (degree 11, relative error 2.2e-8), elsewhere 1 - 2 / (exp(2 |x|) + 1). */
static inline float real_tanh(float x)
{
    float magnitude = fabsf(x), square = x * x;
    float q = -5.992961254e-3f;
    q = q * square + 2.092414818e-2f;
    q = q * square + -5.383514126e-2f;
    q = q * square + 1.333266348e-1f;
    q = q * square + -3.333332786e-1f;
    float small = x + x * (square * q);
    float large = 1.0f - 2.0f / (real_exp(2.0f * magnitude) + 1.0f);
    return magnitude < 0.62f ? small : copysignf(large, x);
}

#else

static inline double real_exp(double x)
{
    return exp(x);
}

static inline double real_tanh(double x)
{
    return tanh(x);
}

#endif
#endif
