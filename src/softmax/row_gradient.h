/* SPDX-License-Identifier: BSD-3-Clause
 *
 * softmax/row_gradient.h: one query's way back from the gradient of its weights to that of its scores, when weights are
 * rows.
 */
#ifndef ATTN_I_SOFTMAX_ROW_GRADIENT_H
#define ATTN_I_SOFTMAX_ROW_GRADIENT_H

#include "call/gradient.h"
#include "call/visible.h"

/* One query: i of head h, sequence b, against the keys of span, outside of which it sees nothing. */
typedef struct attn_i_row_gradient {
    int64_t b, h, i;
    attn_i_span span;
    void *scores; /* unscaled; become the weights, minus zero where nothing is seen */
    void *d;      /* what flows in from the context to each weight, if there is a d_context; becomes the gradient of the
                     scores after bias */
    void *capped; /* room for the capped scores, where there is a softcap */
    const void *factor; /* what the weights are multiplied by once they are normalised, or NULL */
    void *slope;        /* then: the derivative of the factor's logarithm by one number; overwritten */
    double by_slope;    /* out: the gradient of that number */
    double alibi;       /* out: the part of this row in the gradient of its head's slope */
} attn_i_row_gradient;

attn_i_seen attn_i_row_gradient_compute(const attn_i_gradient *gradient, attn_i_row_gradient *row);

/* Then, of the bias having been taken: d becomes the gradient of the unscaled scores. */
void attn_i_row_gradient_finish(const attn_i_gradient *gradient, const attn_i_row_gradient *row);

#endif
