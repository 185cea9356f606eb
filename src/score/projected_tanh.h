/* SPDX-License-Identifier: BSD-3-Clause
 *
 * score/projected_tanh.h: the score v^T tanh(q' + k') of projected queries and keys, which additive and concat share:
 * they differ in where the projections come from. */
#ifndef ATTN_I_SCORE_PROJECTED_TANH_H
#define ATTN_I_SCORE_PROJECTED_TANH_H

#include "score/score.h"

/* For a score's layout: queries and keys are projected by these matrices, [A, Dq] and [A, Dk] (data NULL: they come
 * projected); v, and where the mechanism has them b and g, are its parameters. */
void attn_i_projected_tanh_layout(const attn_i_problem *, attn_i_arena *, attn_i_score_state *, attn_i_matrix w,
                                  attn_i_matrix u);

/* The other functions of the score. */
void attn_i_projected_tanh_load(const attn_i_problem *, attn_i_score_state *);
void attn_i_projected_tanh_queries(const attn_i_problem *, const attn_i_score_state *, attn_i_matrix from,
                                   attn_i_matrix to);
void attn_i_projected_tanh_scores(const attn_i_problem *, const attn_i_score_state *, const attn_i_score_block *,
                                  int64_t count);
void attn_i_projected_tanh_row(const attn_i_problem *, const attn_i_score_state *, const void *query,
                               attn_i_matrix keys, int64_t first, int64_t count, void *to);

/* Backward: see attn_i_score. b's gradient is the sum of those of prepared queries. */
void attn_i_projected_tanh_gradients(const attn_i_problem *, const attn_i_score_state *, const attn_i_score_gradient *,
                                     attn_i_score_sums *);
void attn_i_projected_tanh_sum_bias(const attn_i_problem *, attn_i_matrix d_queries, attn_i_score_sums *);
void attn_i_projected_tanh_layout_sums(const attn_i_problem *, attn_i_arena *, attn_i_score_sums *);
void attn_i_projected_tanh_finish_sums(const attn_i_problem *, const attn_i_score_state *, attn_i_score_sums *);

void attn_i_projected_tanh_row_gradients(const attn_i_problem *, const attn_i_score_state *, const void *query,
                                         attn_i_matrix keys, int64_t first, int64_t count, const void *d_scores,
                                         void *d_query, void *d_keys, int64_t d_stride, void *own);
int64_t attn_i_projected_tanh_own_elements(const attn_i_problem *);
void attn_i_projected_tanh_add_own(const attn_i_problem *, const void *own, attn_i_score_sums *);

extern const attn_i_lane_score attn_i_projected_tanh_lanes;

#endif
