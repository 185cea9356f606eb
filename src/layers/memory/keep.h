/* SPDX-License-Identifier: BSD-3-Clause
 *
 * layers/memory/keep.h: a row of a key or value, of whatever type it comes in, as a memory or a page keeps it. */
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

/* Where one is kept. */
typedef struct attn_i_kept_row {
    attn_dtype dtype;
    char *data;
    int64_t stride;
    float *scale; /* where that is of integers */
} attn_i_kept_row;

/* A row of `width` elements becomes what is kept of it: bit by bit where that is of the same type; rounded once; or
 * integers with a scale, which are made of whatever is computed in float32. */
void attn_i_row_keep(const attn_engine *engine, attn_i_given_row row, int64_t width, attn_i_kept_row kept);

/* The same, for row `at` of a store. */
void attn_i_memory_keep(const attn_engine *engine, attn_i_given_row row, const attn_i_store *store, int64_t at);

#endif
