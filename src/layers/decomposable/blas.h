/* SPDX-License-Identifier: BSD-3-Clause
 *
 * layers/decomposable/blas.h: how both directions of the decomposable attention by whole matrices cut their work, and
 * the matrices of one head of one sequence. Rows of a are taken in chunks, whose scores stay in the cache. */
#ifndef ATTN_I_LAYERS_DECOMPOSABLE_BLAS_H
#define ATTN_I_LAYERS_DECOMPOSABLE_BLAS_H

#include "call/operand.h"
#include "layers/decomposable/decomposable.h"

typedef struct attn_i_pairs {
    const attn_i_decomposable *d;
    int64_t rows;         /* of a chunk, at most */
    int64_t score_stride; /* elements from one row of scores to the next */
    attn_i_operand f, g, a, b;

    /* The head and the chunk at hand. */
    int64_t head_b, head_h, a_rows, b_rows; /* the head; its valid rows */
    int64_t first, count;                   /* of a */
} attn_i_pairs;

/* Scores that one parallel item finishes, about; and the work that a job does for a score. */
enum { ATTN_I_PAIRS_ITEM = 1 << 13, ATTN_I_PAIRS_WORK = 16 };

void attn_i_pairs_layout(attn_i_pairs *chunk, const attn_i_decomposable *d, attn_i_arena *arena);

/* Room for the scores of a chunk. */
char *attn_i_pairs_scores(const attn_i_pairs *chunk, attn_i_arena *arena);

/* Takes head number `index`. */
void attn_i_pairs_take(attn_i_pairs *chunk, int64_t index);

/* The head's first `rows` rows of a tensor, for an operand that was laid out for such a matrix. */
void attn_i_pairs_load(const attn_i_pairs *chunk, attn_i_operand *operand, const attn_i_view *view, int64_t rows);

/* Takes rows first .. of a, and leaves their scores in `scores`. */
void attn_i_pairs_take_rows(attn_i_pairs *chunk, int64_t first, char *scores);

/* The head's valid rows of an operand, and the chunk's. */
attn_i_matrix attn_i_pairs_rows(const attn_i_operand *operand, int64_t rows);
attn_i_matrix attn_i_pairs_chunk(const attn_i_pairs *chunk, const attn_i_operand *operand);

/* The chunk's rows of scores as a matrix. */
attn_i_matrix attn_i_pairs_matrix(const attn_i_pairs *chunk, char *scores);

/* Row `row` of the head in a tensor of the caller's. */
char *attn_i_pairs_row(const attn_i_pairs *chunk, const attn_i_view *view, int64_t row);

#endif
