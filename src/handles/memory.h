/* SPDX-License-Identifier: BSD-3-Clause
 *
 * handles/memory.h: what a memory is made of: keys as the score function wants them, values, and a length for each
 * sequence. */
#ifndef ATTN_I_HANDLES_MEMORY_H
#define ATTN_I_HANDLES_MEMORY_H

#include "attn/attn.h"
#include "call/problem.h"

/* Rows of one kind, of all sequences and heads: [batch, heads, capacity, width]. */
typedef struct attn_i_store {
    char *data;    /* NULL: there are none, or no room yet */
    int64_t width; /* elements; 0: there are none */
} attn_i_store;

struct attn_memory {
    const attn_mechanism *mechanism;
    attn_engine *engine;
    attn_dtype dtype;
    int64_t size; /* of an element, in bytes */
    uint32_t flags;
    int turns; /* keys, as they are appended */
    attn_rope_options rope;
    attn_i_ready ready;
    int64_t batch, key_heads, key_dim, value_dim; /* value_dim 0: the keys are the values */
    int64_t capacity, longest;
    int64_t *lengths;
    attn_i_store keys, values; /* values: none where they are raw keys */
};

/* For a problem that reads the memory: what it holds of the first `longest` positions. */
attn_i_view attn_i_memory_keys(const attn_memory *memory);
attn_i_view attn_i_memory_values(const attn_memory *memory);
attn_i_view attn_i_memory_lengths(const attn_memory *memory);
int64_t attn_i_memory_value_dim(const attn_memory *memory);

#endif
