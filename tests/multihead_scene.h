/* SPDX-License-Identifier: BSD-3-Clause
 *
 * multihead_scene.h: a layer of heads with its inputs, parameters, outputs and gradients, and what plain loops in
 * float64 make of the same numbers.
 */
#ifndef ATTN_TESTS_MULTIHEAD_SCENE_H
#define ATTN_TESTS_MULTIHEAD_SCENE_H

#include "support.h"

enum layer_score { LAYER_SCALED_DOT, LAYER_GENERAL, LAYER_ADDITIVE, LAYER_LOCATION };
/* Which inputs are given; the others stand for those before them. */
enum { GIVES_KEY = 1, GIVES_VALUE = 2 };
enum {
    LAYER_CAUSAL = 1,
    LAYER_MASK = 2,
    LAYER_LENGTHS = 4,
    LAYER_BIAS = 8,
    LAYER_DISTANCES = 16,
    LAYER_TURNED = 32,         /* queries and keys, halves of all dimensions */
    LAYER_TURNED_IN_PART = 64, /* pairs of all but the last two dimensions */
    LAYER_PLACED = 128         /* where they are turned they are given positions, in any order */
};
enum { LAYER_PARAMS = 8, LAYER_RULE_PARAMS = 3, LAYER_INPUTS = 3 };

struct setup {
    const char *name;
    uint32_t flags;
    int gives;
    int64_t batch, queries, keys, query_heads, key_heads, dim[LAYER_INPUTS], head_dim, value_head_dim, output_dim;
    enum layer_score score;
    unsigned modifiers;
    unsigned layout; /* of inputs and outputs, where they may have any */
};

/* Gradients out, by number: of the inputs, the bias, biases of distances, the layer's parameters, the mechanism's. */
enum {
    GRADIENT_INPUT = 0,
    GRADIENT_BIAS = LAYER_INPUTS,
    GRADIENT_ALIBI,
    GRADIENT_RELATIVE,
    GRADIENT_PARAM,
    GRADIENT_RULE = GRADIENT_PARAM + LAYER_PARAMS,
    GRADIENTS = GRADIENT_RULE + LAYER_RULE_PARAMS
};

struct layer {
    struct setup s;
    attn_dtype dtype;
    attn_mechanism *mechanism;
    attn_multihead *multihead;
    int32_t param_count, rule_count;
    struct array input[LAYER_INPUTS], param[LAYER_PARAMS], rule[LAYER_RULE_PARAMS];
    const char *param_name[LAYER_PARAMS];
    struct array mask, lengths, bias, alibi, relative, output, weights, logsumexp, positions[2];
    struct array d_output, d_weights, d_logsumexp, gradient[GRADIENTS]; /* gradients that there are have memory */
    const attn_tensor *d_params[LAYER_PARAMS], *d_rule[LAYER_RULE_PARAMS];
    attn_forward_args attention;
    attn_multihead_args args;
    attn_multihead_backward_args backward;
    void *saved;
};

/* The numbers depend on the seed alone, not on layout, nor, but for roundings to 16 bits, on dtype. Weights are asked
 * for, and flow back. */
void layer_create(struct layer *layer, attn_engine *own, const struct setup *setup, attn_dtype dtype, uint64_t seed);
void layer_destroy(struct layer *layer);

/* All that goes into the calls, from one layer to another like it. */
void layer_copy_numbers(struct layer *to, struct layer *from);

/* Has `saved` of the right size, in place of what it had. */
void layer_save(struct layer *layer);

void layer_forward(struct layer *layer);
void layer_backward(struct layer *layer);

/* What gradient g is of, or NULL; its name; and the slot that it is given in, of all but parameters. */
struct array *layer_source(struct layer *layer, int g);
const char *layer_gradient_name(const struct layer *layer, int g);
const attn_tensor **layer_gradient_slot(struct layer *layer, int g);
void layer_fill_gradients(struct layer *layer, double value);

/* Output and weights by plain loops. The caller frees both. */
void layer_reference(const struct layer *layer, double **output, double **weights);

#endif
