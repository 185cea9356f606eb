/* SPDX-License-Identifier: BSD-3-Clause
 *
 * transformer.c: what a transformer is made of, and its loss; the way through it is transformer_walk.c, its use
 * transformer_decoding.c. */
#include "model/transformer.h"

#include "model/elementwise.h"
#include "refuse.h"

#include <stdio.h>
#include <stdlib.h>

static layer_norm numbered_norm(parameter_set *set, int states, const char *layer, int number)
{
    char name[32];
    snprintf(name, sizeof name, "%s.norm%d", layer, number);
    return layer_norm_create(set, states, name);
}

static dense named_dense(parameter_set *set, int outputs, int inputs, const char *layer, const char *name)
{
    const parameter *weight = parameters_add(set, START_GLOROT, outputs, inputs, "%s%s.weight", layer, name);
    return dense_all(weight, parameters_add(set, START_ZERO, 1, outputs, "%s%s.bias", layer, name));
}

static multihead named_heads(model *m, const attn_mechanism *mechanism, bool self, const char *layer)
{
    char name[32];
    snprintf(name, sizeof name, "%s.%s", layer, self ? "self" : "cross");
    return multihead_create(&m->parameters, mechanism, m->options.states, m->options.heads, self, name);
}

static transformer_layer layer_create(model *m, const transformer *t, bool decodes, int number)
{
    const model_options *o = &m->options;
    parameter_set *set = &m->parameters;
    transformer_layer layer = {0};
    char name[24];
    int sublayer = 0;
    snprintf(name, sizeof name, "%s.%d", decodes ? "decoder" : "encoder", number);
    layer.norm[sublayer] = numbered_norm(set, o->states, name, sublayer + 1), sublayer++;
    layer.self = named_heads(m, decodes ? t->causal : t->whole, true, name);
    if (decodes) {
        layer.norm[sublayer] = numbered_norm(set, o->states, name, sublayer + 1), sublayer++;
        layer.cross = named_heads(m, t->whole, false, name);
    }
    layer.norm[sublayer] = numbered_norm(set, o->states, name, sublayer + 1);
    layer.feed1 = named_dense(set, o->feed_forward, o->states, name, ".feed1");
    layer.feed2 = named_dense(set, o->states, o->feed_forward, name, ".feed2");
    return layer;
}

static transformer_stack stack_create(model *m, const transformer *t, bool decodes)
{
    const model_options *o = &m->options;
    transformer_stack stack = {.count = o->layers};
    stack.embedding = parameters_add(&m->parameters, START_NORMAL, decodes ? o->target_words : o->source_words,
                                     o->states, "%s.embedding", decodes ? "decoder" : "encoder");
    stack.layers = allocate((size_t)o->layers, sizeof *stack.layers);
    for (int i = 0; i < o->layers; i++) stack.layers[i] = layer_create(m, t, decodes, i);
    stack.norm = layer_norm_create(&m->parameters, o->states, decodes ? "decoder.norm" : "encoder.norm");
    return stack;
}

void transformer_create(model *m)
{
    const model_options *o = &m->options;
    if (o->layers < 1) refuse("a transformer has at least 1 layer, not %d", o->layers);
    if (o->heads < 1) refuse("a transformer has at least 1 head, not %d", o->heads);
    if (o->feed_forward < 1) refuse("the inner size of a layer must be at least 1, not %d", o->feed_forward);
    if (o->states % o->heads != 0) {
        refuse("the size of a state, %d, must be a multiple of the number of heads, %d", o->states, o->heads);
    }
    transformer *t = m->parts = allocate_zeros(1, sizeof *t);
    attn_must(attn_mechanism_create_scaled_dot(m->engine, &t->whole));
    attn_must(attn_mechanism_create_scaled_dot(m->engine, &t->causal));
    /* A whole sentence has as many queries as keys; a query over a memory stands at the last: both are bottom-right. */
    attn_must(attn_mechanism_set_causal(t->causal, ATTN_ALIGN_BOTTOM_RIGHT));
    t->encoder = stack_create(m, t, false);
    t->decoder = stack_create(m, t, true);
    t->output = named_dense(&m->parameters, o->target_words, o->states, "", "output");
}

void transformer_bind(model *m)
{
    transformer *t = m->parts;
    for (int i = 0; i < m->options.layers; i++) {
        multihead_bind(&t->encoder.layers[i].self, &m->parameters);
        multihead_bind(&t->decoder.layers[i].self, &m->parameters);
        multihead_bind(&t->decoder.layers[i].cross, &m->parameters);
    }
}

void transformer_destroy(model *m)
{
    transformer *t = m->parts;
    for (int i = 0; i < m->options.layers; i++) {
        multihead_free(&t->encoder.layers[i].self);
        multihead_free(&t->decoder.layers[i].self);
        multihead_free(&t->decoder.layers[i].cross);
    }
    free(t->encoder.layers);
    free(t->decoder.layers);
    attn_mechanism_destroy(t->whole);
    attn_mechanism_destroy(t->causal);
    free(t);
}

model_loss transformer_loss(const model *m, pass *p, const batch *b, double smoothing, double tokens)
{
    const transformer_walk walk = transformer_forward(m, p, b);
    const size_t count = (size_t)b->rows * (size_t)b->target_length;
    model_loss loss = {0};
    loss.sum = cross_entropy(count, (size_t)m->options.target_words, walk.logits, b->target_out, smoothing, 1 / tokens,
                             &loss.plain, &loss.right);
    for (size_t i = 0; i < count; i++) loss.words += b->target_out[i] >= 0;
    if (p->gradient != NULL) transformer_backward(m, p, &walk);
    return loss;
}
