/* SPDX-License-Identifier: BSD-3-Clause
 *
 * kernels/elementary.h: exp and tanh of a vector, without branches, each within 2 units in the last place. Their
 * polynomials are Chebyshev fits, good to a sixth of such a unit or better. */
#ifndef ATTN_I_KERNELS_ELEMENTARY_H
#define ATTN_I_KERNELS_ELEMENTARY_H

#include "kernels/vector.h"

/* What the formulas below need to know of the type. EXP_HIGH + EXP_LOW = ln 2, and a whole number times EXP_HIGH is
 * exact. ROUND has its last bit at 1: adding it to a number leaves the nearest whole number in the low bits. */
#if ATTN_I_BITS == 32
#define LOG2_E    0x1.715476p+0f
#define EXP_HIGH  0x1.63p-1f
#define EXP_LOW   -0x1.bd0106p-13f
#define EXP_MOST  88.8f
#define EXP_LEAST -104.0f
#define ROUND     0x1.8p23f
enum { FRACTION_BITS = 23, EXPONENT_BIAS = 127 };
#define ROUND_BITS 0x4B400000u
#define TANH_SMALL 0.62f
#define TANH_MOST  10.0f /* from here on it is 1 */
static const real exp_terms[] = {1.392655043e-3f, 8.363472722e-3f, 4.16665524e-2f, 1.666657522e-1f, 0.5f};
static const real tanh_terms[] = {-5.992961254e-3f, 2.092414818e-2f, -5.383514126e-2f, 1.333266348e-1f,
                                  -3.333332786e-1f};
#else
#define LOG2_E     0x1.71547652b82fep+0
#define EXP_HIGH   0x1.62e42fefap-1
#define EXP_LOW    0x1.cf79abc9e3b3ap-40
#define EXP_MOST   709.9
#define EXP_LEAST  -746.0
#define ROUND      0x1.8p52
enum { FRACTION_BITS = 52, EXPONENT_BIAS = 1023 };
#define ROUND_BITS 0x4338000000000000u
#define TANH_SMALL 0.62
#define TANH_MOST  20.0
static const real exp_terms[] = {2.51004241570050668e-8, 2.76201387197339956e-7, 2.75572683786841929e-6,
                                 2.48015211902177277e-5, 1.98412698631059687e-4, 1.38888889172817933e-3,
                                 8.33333333333005135e-3, 4.16666666666239915e-2, 1.66666666666666675e-1,
                                 5.00000000000000103e-1};
static const real tanh_terms[] = {6.39726895980274455e-6,  -3.10190847711407629e-5, 9.24087332624255714e-5,
                                  -2.37508925536387485e-4, 5.89635190639660655e-4,  -1.45577032839257512e-3,
                                  3.59212110151037638e-3,  -8.863235051668624e-3,   2.18694885166294468e-2,
                                  -5.3968253967840971e-2,  1.33333333333329904e-1,  -3.33333333333333329e-1};
#endif

enum { HALVING = 1 << (FRACTION_BITS / 2) }; /* even, and more than any exponent */

/* By Horner's rule, the highest power first. */
static inline vec polynomial(const real *terms, int count, vec x)
{
    vec p = splat(terms[0]);
    for (int i = 1; i < count; i++) p = p * x + splat(terms[i]);
    return p;
}

#define POLYNOMIAL(terms, x) polynomial(terms, (int)(sizeof(terms) / sizeof *(terms)), x)

static inline vec power_of_two(bits_vec n)
{
    return (vec)((n + (bits)EXPONENT_BIAS) << FRACTION_BITS);
}

/* exp(x) = 2^n exp(r), n the whole number nearest to x / ln 2, r = x - n ln 2 in two steps (Cody and Waite), exp(r) = 1
 * + r + r^2 P(r), for EXP_LEAST <= x <= EXP_MOST. NaN stays NaN. */
static inline vec exp_between(vec x)
{
    const vec shifted = x * LOG2_E + ROUND;
    const vec n = shifted - ROUND;
    const vec r = (x - n * EXP_HIGH) - n * EXP_LOW;
    const vec p = POLYNOMIAL(exp_terms, r) * (r * r) + r + 1;
    /* 2^n in two factors: n may be past what one can hold, where the result is subnormal or overflows. The detour makes
     * a shift of a number below 0 out of one of a number above. */
    const bits_vec whole = (bits_vec)shifted - (bits)ROUND_BITS;
    const bits_vec half = ((whole + (bits)HALVING) >> 1) - (bits)(HALVING / 2);
    return p * power_of_two(half) * power_of_two(whole - half);
}

/* exp(x), 0 and infinity past the ends. */
static inline vec vec_exp(vec x)
{
    x = choose(x > splat(EXP_MOST), splat(EXP_MOST), x);
    x = choose(x < splat(EXP_LEAST), splat(EXP_LEAST), x);
    return exp_between(x);
}

/* For a = |x|, up to where it is 1, so that nothing overflows: a + a^3 Q(a^2) near 0, elsewhere 1 - 2 / (exp(2 a) + 1);
 * with the sign of x. */
static inline vec vec_tanh(vec x)
{
    const bits_vec sign = (bits_vec)x & ((bits)1 << (ATTN_I_BITS - 1));
    vec magnitude = (vec)((bits_vec)x ^ sign);
    magnitude = choose(magnitude > splat(TANH_MOST), splat(TANH_MOST), magnitude);
    const vec square = magnitude * magnitude;
    const vec small = magnitude + magnitude * (square * POLYNOMIAL(tanh_terms, square));
    const vec large = 1 - 2 / (exp_between(2 * magnitude) + 1);
    return (vec)((bits_vec)choose(magnitude < splat(TANH_SMALL), small, large) | sign);
}

#endif
