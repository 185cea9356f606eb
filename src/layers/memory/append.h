/* SPDX-License-Identifier: BSD-3-Clause
 *
 * layers/memory/append.h: between the two files of memories. */
#ifndef ATTN_I_LAYERS_MEMORY_APPEND_H
#define ATTN_I_LAYERS_MEMORY_APPEND_H

#include "handles/memory.h"

/* The memory's keys as the arguments of a call without queries: n of each sequence. */
attn_i_problem attn_i_memory_problem(const attn_memory *memory, int64_t keys);

/* Room for so many positions of each sequence. */
attn_status attn_i_memory_reserve(attn_memory *memory, int64_t capacity);

/* Every sequence becomes so much longer, or shorter: what is there stays. And the last positions of each, as many as
 * the tensors have, of a memory of raw keys. */
void attn_i_memory_lengthen(attn_memory *memory, int64_t by);
void attn_i_memory_put(attn_memory *memory, const attn_tensor *key, const attn_tensor *value);

void attn_i_memory_set_length(attn_memory *memory, int64_t b, int64_t length);

#endif
