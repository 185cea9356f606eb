/* SPDX-License-Identifier: BSD-3-Clause
 *
 * softmax/row.h: what happens to one query's scores after the score function: modifiers, visibility, normaliser, and
 * the outputs that are rows of scores. */
#ifndef ATTN_I_SOFTMAX_ROW_H
#define ATTN_I_SOFTMAX_ROW_H

#include "call/visible.h"

/* row holds the unscaled scores of query i (of head h, sequence b) against the keys of span; they are scaled, capped
 * and biased, and become minus infinity where they may not be seen. Writes those rows of scores that are wanted before
 * the normaliser, for which span must be all that the query sees. */
void attn_i_row_modify(const attn_i_problem *problem, int64_t b, int64_t h, int64_t i, attn_i_span span, void *row);

/* The two halves of that: scale and softcap; then biases, and what may not be seen. */
void attn_i_row_cap(const attn_i_problem *problem, int64_t b, int64_t h, int64_t i, attn_i_span span, void *row);
void attn_i_row_bias(const attn_i_problem *problem, int64_t b, int64_t h, int64_t i, attn_i_span span, void *row);

/* row holds the unscaled scores of query i (of head h, sequence b) against the keys of span, outside of which it sees
 * nothing; they become its weights, multiplied by a row of factors, if that is not NULL, once they are normalised, and
 * are left in `kept` too, if that is not NULL, before any is dropped. Writes the query's row of scores and weights, its
 * logsumexp and stats where they are wanted. */
attn_i_seen attn_i_row_finish(const attn_i_problem *problem, int64_t b, int64_t h, int64_t i, attn_i_span span,
                              const void *factor, void *kept, void *row);

/* 1 if the scores of keys that a query may not see are wanted too. */
int attn_i_row_wants_all_keys(const attn_i_problem *problem);

/* n modified scores of a row of head h become weights, of which the head's sink has its part, if it has one. */
attn_i_seen attn_i_row_softmax(const attn_i_problem *problem, int64_t h, int64_t n, void *row, double *logsumexp);

#endif
