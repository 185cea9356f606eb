/* SPDX-License-Identifier: BSD-3-Clause
 *
 * spoil_tensor.h: tensors that every call must refuse.
 */
#ifndef ATTN_TESTS_FUZZ_SPOIL_TENSOR_H
#define ATTN_TESTS_FUZZ_SPOIL_TENSOR_H

#include "fuzz.h"

enum { TENSOR_WAYS = 12, TENSOR_OF_HALVES = 5 };

int64_t tensor_count(const attn_tensor *tensor);

/* Makes the tensor wrong, in a way that `way` chooses; false where this way does not apply. No element of what comes
 * out can be read. */
bool spoil_tensor(attn_tensor *tensor, unsigned way);

/* The same for a call of this type: a half is wrong as a type only where there are none. */
bool spoil_tensor_of(attn_dtype dtype, attn_tensor *tensor, unsigned way);

#endif
