/* SPDX-License-Identifier: BSD-3-Clause
 *
 * transformer.h: the translator of 2017 (Vaswani 2017), each sublayer with its normalisation before it and not behind
 * (Xiong 2020): x + dropout(sublayer(norm(x))), and one norm more at the end of either stack. The functions of a
 * model_kind. All is batch-major: [rows, length, states]. */
#ifndef TRANSLATE_TRANSFORMER_H
#define TRANSLATE_TRANSFORMER_H

#include "model/dense.h"
#include "model/layer_norm.h"
#include "model/model.h"
#include "model/multihead.h"

enum { SUBLAYERS_MOST = 3 };

/* Self-attention, then attention to the source where it is a decoder's, then two dense layers with a relu between. */
typedef struct transformer_layer {
    layer_norm norm[SUBLAYERS_MOST]; /* of the sublayers, in their order */
    multihead self, cross;
    dense feed1, feed2;
} transformer_layer;

/* What encoder and decoder both are. */
typedef struct transformer_stack {
    const parameter *embedding; /* [words, states] */
    transformer_layer *layers;  /* [count] */
    int count;
    layer_norm norm;
} transformer_stack;

typedef struct transformer {
    attn_mechanism *whole, *causal; /* what sees all keys, and what sees none that come later */
    transformer_stack encoder, decoder;
    dense output;
} transformer;

void transformer_create(model *m);
void transformer_bind(model *m);
void transformer_destroy(model *m);
model_loss transformer_loss(const model *m, pass *p, const batch *b, double smoothing, double tokens);

/* What a pass through a layer leaves behind. */
typedef struct transformer_layer_walk {
    multihead_walk self, cross; /* filled by the caller, but for the queries */
    layer_norm_walk norm[SUBLAYERS_MOST];
    unsigned char *kept[SUBLAYERS_MOST], *kept_inner; /* by dropout */
    real *inner;                                      /* [rows, length, feed_forward]: after relu and dropout */
} transformer_layer_walk;

/* Through one layer from x [rows, length, states], which must stay as it is; what comes back lives as the pass does. */
const real *transformer_layer_forward(pass *p, const transformer_layer *layer, transformer_layer_walk *walk,
                                      const real *x);

/* Words [rows, length], the first of which stand at a position, as numbers that go into a stack; before dropout. */
real *transformer_embed(pass *p, const transformer_stack *stack, int rows, int length, int position, const int *words);

/* What a pass through a stack leaves behind. */
typedef struct transformer_stack_walk {
    int rows, length;
    const int *words;
    unsigned char *kept;            /* of the embedded words, by dropout */
    transformer_layer_walk *layers; /* [count] */
    layer_norm_walk norm;           /* its y is what the stack gives: [rows, length, states] */
} transformer_stack_walk;

transformer_stack_walk transformer_encode(const model *m, pass *p, const batch *b);

typedef struct transformer_walk {
    transformer_stack_walk encoder, decoder;
    real *logits; /* [rows, length, target words] */
} transformer_walk;

transformer_walk transformer_forward(const model *m, pass *p, const batch *b);

/* d_logits is in the walk's logits. */
void transformer_backward(const model *m, pass *p, const transformer_walk *walk);

decoding *transformer_begin(const model *m, const batch *b);
void transformer_step(decoding *d, const int *words, real *logits, real *weights, real *scores);
void transformer_reorder(decoding *d, const int *rows, int count);
void transformer_end(decoding *d);

/* From now on each step keeps what every layer and head looked at in the source. False: there are no heads, the model
 * being of another kind. */
bool transformer_watch(decoding *d);

/* The weights of one layer at the last step of a decoding that is watched: [rows, heads, length], of the rows and
 * length that there were; until the next step. */
const real *transformer_heads(const decoding *d, int layer);

#endif
