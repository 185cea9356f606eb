/* SPDX-License-Identifier: BSD-3-Clause
 *
 * runtime/size.h: arithmetic on sizes. What is checked returns 0 and leaves *result alone when the value cannot be
 * held.
 */
#ifndef ATTN_I_RUNTIME_SIZE_H
#define ATTN_I_RUNTIME_SIZE_H

#include <stddef.h>
#include <stdint.h>

static inline int attn_i_multiply(int64_t a, int64_t b, int64_t *result)
{
    int64_t product;
    if (__builtin_mul_overflow(a, b, &product)) return 0;
    *result = product;
    return 1;
}

static inline int attn_i_add(int64_t a, int64_t b, int64_t *result)
{
    int64_t sum;
    if (__builtin_add_overflow(a, b, &sum)) return 0;
    *result = sum;
    return 1;
}

/* The product, or the sum, of two numbers that are not negative, or the greatest there is: an estimate of work, or what
 * is only compared. */
static inline int64_t attn_i_multiply_most(int64_t a, int64_t b)
{
    int64_t product = INT64_MAX;
    attn_i_multiply(a, b, &product);
    return product;
}

static inline int64_t attn_i_add_most(int64_t a, int64_t b)
{
    int64_t sum = INT64_MAX;
    attn_i_add(a, b, &sum);
    return sum;
}

static inline int64_t attn_i_min(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static inline int64_t attn_i_max(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static inline int64_t attn_i_clamp(int64_t x, int64_t low, int64_t high)
{
    return attn_i_max(low, attn_i_min(x, high));
}

/* a / b and a % b of numbers that are not negative. What is asked of every row and pass divides by 1, or divides 0,
 * more often than not, and a division takes as long as what it is wanted for. */
static inline int64_t attn_i_quotient(int64_t a, int64_t b)
{
    return b == 1 ? a : a < b ? 0 : a / b;
}

static inline int64_t attn_i_remainder(int64_t a, int64_t b)
{
    return b == 1 ? 0 : a < b ? a : a % b;
}

static inline int64_t attn_i_divide_up(int64_t a, int64_t b)
{
    return a / b + (a % b != 0);
}

#endif
