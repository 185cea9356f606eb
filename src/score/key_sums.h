/* SPDX-License-Identifier: BSD-3-Clause
 *
 * score/key_sums.h: where weights are rows of a chunk: their sums by key, over all queries. In float64 and in the order
 * of the queries, so that they do not depend on threads. */
#ifndef ATTN_I_SCORE_KEY_SUMS_H
#define ATTN_I_SCORE_KEY_SUMS_H

#include "call/visible.h"
#include "score/chunk.h"

typedef struct attn_i_key_sums {
    const attn_i_chunks *chunks;
    double *sums; /* [key heads of a chunk][group][Tk]; NULL: not wanted */
    char *kept;   /* the chunk's weights before dropout, laid out as its scores; NULL: there is none */
} attn_i_key_sums;

/* Of a call whose chunks are laid out. */
attn_i_key_sums attn_i_key_sums_layout(const attn_i_chunks *chunks, attn_i_arena *arena);

/* Where row x of the chunk is to leave its weights before dropout; NULL: nowhere, they stay where its scores were. */
void *attn_i_key_sums_kept(const attn_i_key_sums *key_sums, int64_t x);

/* When the chunk's key heads are new; and when the sums of them are through. */
void attn_i_key_sums_begin(const attn_i_key_sums *key_sums);
void attn_i_key_sums_write(const attn_i_key_sums *key_sums);

/* Adds the weights of all rows of a chunk that is cut into blocks. */
void attn_i_key_sums_add(attn_i_key_sums *key_sums);

/* Adds those of row x alone, which are of the keys of span. */
void attn_i_key_sums_add_row(const attn_i_key_sums *key_sums, int64_t x, attn_i_span span);

#endif
