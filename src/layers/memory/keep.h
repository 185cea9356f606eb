/* SPDX-License-Identifier: BSD-3-Clause
 *
 * layers/memory/keep.h: a row of a key or value, of whatever type it comes in, as a memory keeps it. */
#ifndef ATTN_I_LAYERS_MEMORY_KEEP_H
#define ATTN_I_LAYERS_MEMORY_KEEP_H

#include "handles/engine.h"
#include "handles/memory.h"

/* A row as somebody has it. */
typedef struct attn_i_given_row {
    attn_dtype dtype;
    const char *data;
    int64_t stride; /* from one element to the next */
} attn_i_given_row;

/* It becomes row `at` of the store: bit by bit where that is of the same type; rounded; or integers with a scale. */
void attn_i_memory_keep(const attn_engine *engine, attn_i_given_row row, const attn_i_store *store, int64_t at);

#endif
