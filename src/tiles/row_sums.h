/* SPDX-License-Identifier: BSD-3-Clause
 *
 * tiles/row_sums.h: from gradients of prepared queries and keys, of one key head, to those of the caller's and of the
 * parameters that prepare them. */
#ifndef ATTN_I_TILES_ROW_SUMS_H
#define ATTN_I_TILES_ROW_SUMS_H

#include "score/param_sums.h"

typedef struct attn_i_row_sums {
    attn_i_param_sums params;
    attn_i_operand key;        /* of one key head, as the BLAS reads it */
    attn_i_target d_key;       /* likewise, where it is wanted */
    char *queries, *d_queries; /* of one key head: as they came, and their gradients */
} attn_i_row_sums;

void attn_i_row_sums_layout(attn_i_row_sums *sums, const attn_i_gradient *gradient, const attn_i_score_state *state,
                            attn_i_arena *arena);

/* Of key head number `head` of all sequences. d_to: gradients of the prepared rows. */
void attn_i_row_sums_queries(attn_i_row_sums *sums, const attn_i_gradient *gradient, const attn_i_score_state *state,
                             int64_t head, attn_i_matrix d_to);
void attn_i_row_sums_keys(attn_i_row_sums *sums, const attn_i_gradient *gradient, const attn_i_score_state *state,
                          int64_t head, attn_i_matrix d_to);

#endif
