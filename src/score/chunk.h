/* SPDX-License-Identifier: BSD-3-Clause
 *
 * score/chunk.h: how the ways by whole matrices cut their work, and the scores of one chunk of it. The query heads of a
 * group share their key head: their queries are the rows of one matrix, row r being query r / group of head r % group.
 * Rows are taken in chunks whose scores stay in the cache: part of one key head's rows, or all rows of several key
 * heads. */
#ifndef ATTN_I_SCORE_CHUNK_H
#define ATTN_I_SCORE_CHUNK_H

#include "call/operand.h"
#include "call/problem.h"
#include "runtime/memory.h"
#include "score/score.h"

typedef struct attn_i_chunks {
    const attn_i_problem *p;

    /* How the work is cut: by shape alone. */
    int64_t head_count;  /* key heads of all sequences */
    int64_t head_rows;   /* rows of a key head: group x queries */
    int64_t heads, rows; /* of a chunk, at most; rows per key head */
    int64_t block_rows;  /* rows that are multiplied at once, at most */
    int64_t query_width, key_width, score_stride;

    /* Scratch. */
    attn_i_score_state state;
    attn_i_operand key, value; /* of one key head; used where they lie, unless the BLAS cannot read them there */
    char *raw_queries, *queries, *keys, *scores; /* of a chunk */
    attn_i_score_block *blocks;

    /* The chunk at hand. */
    int64_t first_head, chunk_heads, first_row, chunk_rows;
} attn_i_chunks;

/* Cuts the work into chunks of at most so many key heads, and lays out what they need. row_scores: a row's scores. */
void attn_i_chunks_layout(attn_i_chunks *chunks, const attn_i_problem *problem, int64_t most_heads, int64_t row_scores,
                          attn_i_arena *arena);

/* Takes key heads: first_head .. first_head + chunk_heads - 1, which the caller has set. Keys are prepared. */
void attn_i_chunks_take_heads(attn_i_chunks *chunks);

/* Takes rows of them: first_row .. first_row + chunk_rows - 1, set likewise. Queries are prepared. */
void attn_i_chunks_take_rows(attn_i_chunks *chunks);

/* Then: the unscaled scores of all blocks, where row_scores are all of them. */
void attn_i_chunks_score(attn_i_chunks *chunks);

/* Where row x of the chunk comes from: sequence, query head, query. */
typedef struct attn_i_row_place {
    int64_t b, h, i;
} attn_i_row_place;
attn_i_row_place attn_i_chunks_place(const attn_i_chunks *chunks, int64_t x);

/* Blocks of a key head; they are counted head by head. And the block of row x. */
int64_t attn_i_chunks_blocks(const attn_i_chunks *chunks);
const attn_i_score_block *attn_i_chunks_block(const attn_i_chunks *chunks, int64_t x);

/* Rows of scores that one parallel item finishes. */
int64_t attn_i_chunks_item_rows(const attn_i_chunks *chunks);

/* Of key head number `head` of the chunk: the values as the BLAS reads them, and the prepared keys or
 * what plays their part. */
attn_i_matrix attn_i_chunks_values(const attn_i_chunks *chunks, int64_t head);
attn_i_matrix attn_i_chunks_keys(const attn_i_chunks *chunks, int64_t head);

/* The chunk's queries: as they came, and prepared, which may be the same. */
attn_i_matrix attn_i_chunks_raw_queries(const attn_i_chunks *chunks);
attn_i_matrix attn_i_chunks_queries(const attn_i_chunks *chunks);

#endif
