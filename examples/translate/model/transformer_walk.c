/* SPDX-License-Identifier: BSD-3-Clause
 *
 * transformer_walk.c: a batch's way through a transformer, and the gradient's way back. Padding goes along: of the
 * source nobody looks at it, in the target it comes last, where no word before it looks, and has no loss. */
#include "model/elementwise.h"
#include "model/embedding.h"
#include "model/transformer.h"
#include "refuse.h"

#include <string.h>

real *transformer_embed(pass *p, const transformer_stack *stack, int rows, int length, int position, const int *words)
{
    const int states = stack->embedding->columns;
    const size_t sentence = (size_t)length * (size_t)states;
    real *x = pass_reals(p, (size_t)rows * sentence), *places = pass_reals(p, sentence);
    const attn_tensor table = {places, REAL_DTYPE, 2, {length, states}, {states, 1}};
    attn_must(attn_position_sinusoidal(&table, position, 10000));
    embedding_forward(p, stack->embedding, (size_t)rows * (size_t)length, words, real_sqrt((real)states), x);
    for (int r = 0; r < rows; r++) add_to(sentence, places, x + (size_t)r * sentence);
    return x;
}

/* The end of each sublayer: x + dropout(y), where y was. */
static const real *joined(pass *p, size_t count, const real *x, real *y, unsigned char **kept)
{
    *kept = dropout_forward(p, count, y);
    add_to(count, x, y);
    return y;
}

static const real *attend(pass *p, const layer_norm *norm, const multihead *heads, layer_norm_walk *normed,
                          multihead_walk *walk, unsigned char **kept, const real *x)
{
    const int words = walk->rows * walk->queries;
    const size_t count = (size_t)words * (size_t)heads->states;
    *normed = layer_norm_forward(p, norm, words, x);
    walk->query = normed->y;
    real *y = pass_reals(p, count);
    multihead_forward(p, heads, walk, y);
    return joined(p, count, x, y, kept);
}

const real *transformer_layer_forward(pass *p, const transformer_layer *layer, transformer_layer_walk *w, const real *x)
{
    const int words = w->self.rows * w->self.queries, states = layer->feed2.outputs, inner = layer->feed1.outputs;
    const size_t count = (size_t)words * (size_t)states, inner_count = (size_t)words * (size_t)inner;
    int s = 0;
    x = attend(p, &layer->norm[s], &layer->self, &w->norm[s], &w->self, &w->kept[s], x), s++;
    if (layer->cross.layer != NULL) {
        x = attend(p, &layer->norm[s], &layer->cross, &w->norm[s], &w->cross, &w->kept[s], x), s++;
    }
    w->norm[s] = layer_norm_forward(p, &layer->norm[s], words, x);
    w->inner = pass_reals(p, inner_count);
    dense_forward(p, &layer->feed1, words, w->norm[s].y, states, false, w->inner, inner);
    relu_forward(inner_count, w->inner);
    w->kept_inner = dropout_forward(p, inner_count, w->inner);
    real *y = pass_reals(p, count);
    dense_forward(p, &layer->feed2, words, w->inner, inner, false, y, states);
    return joined(p, count, x, y, &w->kept[s]);
}

/* source NULL: the stack is the encoder itself, and lengths are of its own words. */
static transformer_stack_walk stack_forward(pass *p, const transformer_stack *stack, int rows, int length,
                                            const int *words, const int *lengths, const transformer_stack_walk *source)
{
    transformer_stack_walk w = {.rows = rows, .length = length, .words = words};
    const size_t bytes = (size_t)stack->count * sizeof *w.layers;
    w.layers = memset(pass_bytes(p, bytes), 0, bytes);
    real *embedded = transformer_embed(p, stack, rows, length, 0, words);
    w.kept = dropout_forward(p, (size_t)rows * (size_t)length * (size_t)stack->embedding->columns, embedded);
    const real *x = embedded;
    for (int i = 0; i < stack->count; i++) {
        transformer_layer_walk *layer = &w.layers[i];
        layer->self = (multihead_walk){.rows = rows, .queries = length, .keys = length};
        if (source == NULL) {
            layer->self.lengths = lengths;
        } else {
            layer->cross = (multihead_walk){.rows = rows, .queries = length, .keys = source->length};
            layer->cross.key = source->norm.y, layer->cross.lengths = lengths;
        }
        x = transformer_layer_forward(p, &stack->layers[i], layer, x);
    }
    w.norm = layer_norm_forward(p, &stack->norm, rows * length, x);
    return w;
}

transformer_stack_walk transformer_encode(const model *m, pass *p, const batch *b)
{
    const transformer *t = m->parts;
    return stack_forward(p, &t->encoder, b->rows, b->source_length, b->source, b->source_lengths, NULL);
}

transformer_walk transformer_forward(const model *m, pass *p, const batch *b)
{
    const transformer *t = m->parts;
    const int words = b->rows * b->target_length;
    transformer_walk w;
    w.encoder = transformer_encode(m, p, b);
    w.decoder = stack_forward(p, &t->decoder, b->rows, b->target_length, b->target_in, b->source_lengths, &w.encoder);
    w.logits = pass_reals(p, (size_t)words * (size_t)t->output.outputs);
    dense_forward(p, &t->output, words, w.decoder.norm.y, t->output.inputs, false, w.logits, t->output.outputs);
    return w;
}

/* Gradients on the way back through a stack, made once: by what goes from layer to layer, and what each sublayer needs
 * for itself. */
typedef struct backwards {
    size_t count;
    real *d_x;      /* [rows, length, states] */
    real *d_part;   /* likewise: by a sublayer, before dropout */
    real *d_normed; /* likewise: by what went into it */
    real *d_inner;  /* [rows, length, feed_forward] */
} backwards;

/* d_x is that by the sublayer too, but for what was dropped. */
static const real *before_dropout(const pass *p, backwards *back, const unsigned char *kept)
{
    if (kept == NULL) return back->d_x;
    memcpy(back->d_part, back->d_x, back->count * sizeof(real));
    dropout_backward(p, back->count, kept, back->d_part);
    return back->d_part;
}

static void attend_back(pass *p, const layer_norm *norm, const multihead *heads, const layer_norm_walk *normed,
                        const multihead_walk *walk, const unsigned char *kept, backwards *back, real *d_key)
{
    memset(back->d_normed, 0, back->count * sizeof(real));
    multihead_backward(p, heads, walk, before_dropout(p, back, kept), back->d_normed, d_key);
    layer_norm_backward(p, norm, normed, back->d_normed, back->d_x);
}

static void layer_backward(pass *p, const transformer_layer *layer, const transformer_layer_walk *w, backwards *back,
                           real *d_source)
{
    const int words = w->self.rows * w->self.queries, states = layer->feed2.outputs, inner = layer->feed1.outputs;
    const size_t inner_count = (size_t)words * (size_t)inner;
    int s = layer->cross.layer != NULL ? 2 : 1;
    const real *d_part = before_dropout(p, back, w->kept[s]);
    dense_backward_weight(p, &layer->feed2, words, d_part, states, w->inner, inner);
    dense_backward_input(p, &layer->feed2, words, d_part, states, false, back->d_inner, inner);
    dropout_backward(p, inner_count, w->kept_inner, back->d_inner);
    relu_backward(inner_count, w->inner, back->d_inner, back->d_inner);
    dense_backward_weight(p, &layer->feed1, words, back->d_inner, inner, w->norm[s].y, states);
    dense_backward_input(p, &layer->feed1, words, back->d_inner, inner, false, back->d_normed, states);
    layer_norm_backward(p, &layer->norm[s], &w->norm[s], back->d_normed, back->d_x);
    if (s == 2) {
        attend_back(p, &layer->norm[1], &layer->cross, &w->norm[1], &w->cross, w->kept[1], back, d_source);
    }
    attend_back(p, &layer->norm[0], &layer->self, &w->norm[0], &w->self, w->kept[0], back, NULL);
}

/* From d_y, by what the stack gave; d_source += , NULL for the encoder. */
static void stack_backward(pass *p, const transformer_stack *stack, const transformer_stack_walk *w, const real *d_y,
                           real *d_source)
{
    const int states = stack->embedding->columns, inner = stack->layers[0].feed1.outputs;
    const size_t words = (size_t)w->rows * (size_t)w->length;
    backwards back = {.count = words * (size_t)states};
    back.d_x = pass_zeros(p, back.count);
    back.d_part = pass_reals(p, back.count);
    back.d_normed = pass_reals(p, back.count);
    back.d_inner = pass_reals(p, words * (size_t)inner);
    layer_norm_backward(p, &stack->norm, &w->norm, d_y, back.d_x);
    for (int i = stack->count - 1; i >= 0; i--) layer_backward(p, &stack->layers[i], &w->layers[i], &back, d_source);
    dropout_backward(p, back.count, w->kept, back.d_x);
    embedding_backward(p, stack->embedding, words, w->words, real_sqrt((real)states), back.d_x);
}

void transformer_backward(const model *m, pass *p, const transformer_walk *w)
{
    const transformer *t = m->parts;
    const dense *output = &t->output;
    const int words = w->decoder.rows * w->decoder.length, states = output->inputs;
    real *d_y = pass_reals(p, (size_t)words * (size_t)states);
    real *d_source = pass_zeros(p, (size_t)w->encoder.rows * (size_t)w->encoder.length * (size_t)states);
    dense_backward_weight(p, output, words, w->logits, output->outputs, w->decoder.norm.y, states);
    dense_backward_input(p, output, words, w->logits, output->outputs, false, d_y, states);
    stack_backward(p, &t->decoder, &w->decoder, d_y, d_source);
    stack_backward(p, &t->encoder, &w->encoder, d_source, NULL);
}
