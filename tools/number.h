/* SPDX-License-Identifier: BSD-3-Clause
 *
 * number.h: the types of numbers that are computed with: float16, bfloat16, float32 and float64.
 */
#ifndef ATTN_TOOLS_NUMBER_H
#define ATTN_TOOLS_NUMBER_H

#include <attn/attn.h>
#include <stdbool.h>
#include <stdint.h>

/* How sentences name them. */
#define NUMBER_TYPES "f2, f4, f8 or bfloat16"

bool number_is_real(attn_dtype dtype);

/* The type of what stands beside queries, keys, values, bias and context of a type: weights, scores, log-sum-exp and
 * stats. What has 16 bits is computed with in ATTN_F32. */
attn_dtype number_beside(attn_dtype dtype);

/* Element `at` of such data. */
double number_read(attn_dtype dtype, const void *data, int64_t at);

/* Rounded to the nearest, of two to the even one. */
void number_write(attn_dtype dtype, void *data, int64_t at, double number);

#endif
