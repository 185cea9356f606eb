/* SPDX-License-Identifier: BSD-3-Clause
 *
 * handles/memory.h: what a memory is made of: keys as the score function wants them, values, and a length for each
 * sequence. */
#ifndef ATTN_I_HANDLES_MEMORY_H
#define ATTN_I_HANDLES_MEMORY_H

#include "attn/attn.h"
#include "handles/mechanism.h"
#include "handles/tensor.h"

/* What a score function has made of keys already: nothing; prepared rows; or rows converted for the fused way. */
typedef enum attn_i_ready { ATTN_I_RAW, ATTN_I_PREPARED, ATTN_I_CONVERTED } attn_i_ready;

/* Rows of one kind, of all sequences and heads: [batch, heads, capacity, width]. */
typedef struct attn_i_store {
    char *data;    /* NULL: there are none, or no room yet */
    float *scales; /* [batch, heads, capacity], behind the data, of what each row of integers is to be multiplied by */
    int64_t width; /* elements; 0: there are none */
    attn_dtype dtype;
    int64_t size; /* of an element, in bytes */
} attn_i_store;

struct attn_memory {
    const attn_mechanism *mechanism;
    attn_engine *engine;
    attn_dtype dtype, computed; /* that it is kept in, but for keys that are made ready; and that is computed in */
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
/* The scales of either, [1, batch, heads, longest]; data NULL: none. */
attn_i_view attn_i_memory_key_scales(const attn_memory *memory);
attn_i_view attn_i_memory_value_scales(const attn_memory *memory);
attn_i_view attn_i_memory_lengths(const attn_memory *memory);
int64_t attn_i_memory_value_dim(const attn_memory *memory);

/* A handle with `batch` empty sequences, and room for so many positions of each, that keeps what `like` does; on the
 * engine of its mechanism, which it keeps alive. */
attn_status attn_i_memory_make(const attn_memory *like, int64_t batch, int64_t capacity, attn_memory **memory);

/* Room for so many positions of each sequence. */
attn_status attn_i_memory_reserve(attn_memory *memory, int64_t capacity);

/* Every sequence becomes so much longer, or shorter: what is there stays. */
void attn_i_memory_lengthen(attn_memory *memory, int64_t by);

void attn_i_memory_set_length(attn_memory *memory, int64_t b, int64_t length);

#endif
