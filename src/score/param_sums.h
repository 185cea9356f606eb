/* SPDX-License-Identifier: BSD-3-Clause
 *
 * score/param_sums.h: where a backward call sums the gradients of a mechanism's parameters. */
#ifndef ATTN_I_SCORE_PARAM_SUMS_H
#define ATTN_I_SCORE_PARAM_SUMS_H

#include "call/gradient.h"
#include "call/target.h"
#include "score/score.h"

typedef struct attn_i_param_sums {
    attn_i_target targets[ATTN_I_MOST_PARAMS];
    attn_i_score_sums score; /* what score functions add to */
    int wanted;              /* of any parameter */
} attn_i_param_sums;

/* `keys`: those of any key head as products with them will read them, as they come or what plays their part. */
void attn_i_param_sums_layout(attn_i_param_sums *sums, const attn_i_gradient *gradient, attn_i_matrix keys,
                              attn_i_arena *arena);

/* Before anything is added; and when all is. */
void attn_i_param_sums_begin(const attn_i_param_sums *sums, const attn_i_gradient *gradient);
void attn_i_param_sums_end(attn_i_param_sums *sums, const attn_i_gradient *gradient, const attn_i_score_state *state);

#endif
