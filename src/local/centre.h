/* SPDX-License-Identifier: BSD-3-Clause
 *
 * local/centre.h: where predictive local attention looks (Luong 2015, section 3.2): the centre of each query of a
 * chunk, p = S sigmoid(v_p^T tanh(W_p q)), the keys around it, and the way back from p. */
#ifndef ATTN_I_LOCAL_CENTRE_H
#define ATTN_I_LOCAL_CENTRE_H

#include "call/visible.h"
#include "score/chunk.h"

typedef struct attn_i_centres {
    attn_i_projection map; /* W_p^T */
    char *hidden;          /* [rows, hidden_dim]: tanh(W_p q) */
    char *v;               /* v_p, contiguous */
    double *at, *share;    /* of each row: p, and p / S */
} attn_i_centres;

/* 1 if the mechanism predicts where to look. */
int attn_i_centres_wanted(const attn_i_problem *problem);

void attn_i_centres_layout(attn_i_centres *centres, const attn_i_chunks *chunks, attn_i_arena *arena);
void attn_i_centres_load(const attn_i_centres *centres, const attn_i_problem *problem);

/* The centres of the rows at hand. */
void attn_i_centres_find(const attn_i_centres *centres, const attn_i_chunks *chunks);

/* What row x sees. */
attn_i_span attn_i_centres_span(const attn_i_centres *centres, const attn_i_chunks *chunks, int64_t x);

/* exp(-(j - p)^2 / (2 sigma^2)) for the keys of a span, and (j - p) / sigma^2, which is the derivative of its logarithm
 * by p, unless that is NULL. */
void attn_i_centres_gaussian(const attn_i_centres *centres, const attn_i_problem *problem, int64_t x, attn_i_span span,
                             void *factor, void *slope);

/* Back from the gradients of the centres: adds to those of queries as they came (data NULL: not wanted), [rows, Dq],
 * and of W_p and v_p (likewise). Overwrites `hidden`. */
void attn_i_centres_gradients(const attn_i_centres *centres, const attn_i_chunks *chunks, const double *d_at,
                              attn_i_matrix d_queries, attn_i_matrix d_w, attn_i_matrix d_v);

#endif
