/* SPDX-License-Identifier: BSD-3-Clause
 *
 * tensor.h: the little that attn run does with numbers itself: parts of tensors, and sums.
 */
#ifndef ATTN_TOOLS_TENSOR_H
#define ATTN_TOOLS_TENSOR_H

#include <attn/attn.h>
#include <stdint.h>

/* Fails, naming the file, unless it holds what is computed with. */
void tensor_check_real(const attn_tensor *tensor, const char *file);

int64_t tensor_last_dimension(const attn_tensor *tensor);

/* The same elements as a view of a higher rank: leading dimensions of 1 are added. */
attn_tensor tensor_raised(const attn_tensor *tensor, int32_t rank);

/* A view of count places of a dimension, from the first on. */
attn_tensor tensor_part(const attn_tensor *tensor, int32_t dimension, int64_t first, int64_t count);

/* Sets every element of a tensor of a type that is computed with. */
void tensor_fill(const attn_tensor *tensor, double number);

/* to += from; both of one shape, of one type that is computed with, in any strides. The sum is rounded. */
void tensor_add(const attn_tensor *from, const attn_tensor *to);

#endif
