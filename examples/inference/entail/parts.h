/* SPDX-License-Identifier: BSD-3-Clause
 *
 * parts.h: the steps of the model that others of its files call. */
#ifndef INFERENCE_PARTS_H
#define INFERENCE_PARTS_H

#include "entail/entail.h"

/* One sentence's states; and from d_embedded to the embedding's gradient. */
void encode_side(const entail *m, pass *p, int rows, entail_side *side);
void embed_backward(const entail *m, pass *p, int rows, const entail_side *side, const real *d_embedded);

/* From d_aligned, added to d_states and to the gradient of F. */
void attend_backward(const entail *m, pass *p, const entail_batch *b, entail_walk *w);

/* y = ReLU(ReLU([x; z] W + b) W' + b'), z being NULL where there is one input; inner and outer are kept, the first with
 * the pass's dropout. */
void feed_forward_forward(const feed_forward *f, pass *p, int rows, const real *x, const real *z, real **inner,
                          unsigned char **kept, real **outer);
/* d_x and d_z are added to. dy is overwritten. Gradients of parameters where the pass has some. */
void feed_forward_backward(const feed_forward *f, pass *p, int rows, const real *x, const real *z, const real *inner,
                           const unsigned char *kept, const real *outer, real *dy, real *d_x, real *d_z);

/* A view [rows, heads, length, size] of what lies as [rows, length, heads, size]. */
attn_tensor view_of_heads(const real *data, int rows, int heads, int length, int size);
/* Of the lengths, [rows]. */
attn_tensor view_of_lengths(const int *lengths, int rows);
/* A plain view [rows, heads, length]. */
attn_tensor view_of_rows(const real *data, int rows, int heads, int length);

#endif
