/* SPDX-License-Identifier: BSD-3-Clause
 *
 * layers/memory/append.h: what a memory of keys is to the rest: the problem that its keys are, and rows put into it. */
#ifndef ATTN_I_LAYERS_MEMORY_APPEND_H
#define ATTN_I_LAYERS_MEMORY_APPEND_H

#include "call/problem.h"

/* The memory's keys as the arguments of a call without queries: n of each sequence. */
attn_i_problem attn_i_memory_problem(const attn_memory *memory, int64_t keys);

/* The last positions of each sequence, which it was given of these tensors, of a memory of raw keys. */
void attn_i_memory_put(attn_memory *memory, const attn_tensor *key, const attn_tensor *value,
                       const attn_i_growth *growth);

#endif
