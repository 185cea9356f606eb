/* SPDX-License-Identifier: BSD-3-Clause
 *
 * number.c: numbers of 16 bits by their fields: a sign, an exponent, and the fraction behind the point.
 */
#include "number.h"

#include <math.h>

typedef struct fields {
    int fraction;       /* bits */
    int least_exponent; /* of a number whose first bit is not written down */
} fields;

static const fields of_f16 = {10, -14}, of_bf16 = {7, -126};

enum { SIGN = 0x8000, SIZE = 0x7fff };

static double widen(fields f, uint16_t bits)
{
    int whole = 1 << f.fraction, fraction = bits & (whole - 1), exponent = (bits & SIZE) >> f.fraction;
    double size = exponent == SIZE >> f.fraction ? (fraction == 0 ? INFINITY : NAN)
                  : exponent == 0                ? ldexp(fraction, f.least_exponent - f.fraction)
                                  : ldexp(whole + fraction, f.least_exponent - f.fraction + exponent - 1);
    return (bits & SIGN) != 0 ? -size : size;
}

static uint16_t narrow(fields f, double number)
{
    int sign = signbit(number) ? SIGN : 0, infinite = SIZE >> f.fraction << f.fraction;
    double size = fabs(number);
    if (isnan(size)) return (uint16_t)(sign | SIZE);
    if (isinf(size)) return (uint16_t)(sign | infinite);
    int exponent = size > 0 && ilogb(size) > f.least_exponent ? ilogb(size) : f.least_exponent;
    double units = nearbyint(ldexp(size, f.fraction - exponent)); /* below 2 << fraction, or just that */
    int bits = ((exponent - f.least_exponent) << f.fraction) + (int)units;
    return (uint16_t)(sign | (bits < infinite ? bits : infinite));
}

bool number_is_real(attn_dtype dtype)
{
    return dtype == ATTN_F16 || dtype == ATTN_BF16 || dtype == ATTN_F32 || dtype == ATTN_F64;
}

attn_dtype number_beside(attn_dtype dtype)
{
    return dtype == ATTN_F16 || dtype == ATTN_BF16 ? ATTN_F32 : dtype;
}

double number_read(attn_dtype dtype, const void *data, int64_t at)
{
    switch (dtype) {
    case ATTN_F16:
        return widen(of_f16, ((const uint16_t *)data)[at]);
    case ATTN_BF16:
        return widen(of_bf16, ((const uint16_t *)data)[at]);
    case ATTN_F32:
        return (double)((const float *)data)[at];
    default:
        return ((const double *)data)[at];
    }
}

void number_write(attn_dtype dtype, void *data, int64_t at, double number)
{
    switch (dtype) {
    case ATTN_F16:
        ((uint16_t *)data)[at] = narrow(of_f16, number);
        break;
    case ATTN_BF16:
        ((uint16_t *)data)[at] = narrow(of_bf16, number);
        break;
    case ATTN_F32:
        ((float *)data)[at] = (float)number;
        break;
    default:
        ((double *)data)[at] = number;
        break;
    }
}
