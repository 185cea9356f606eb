/* SPDX-License-Identifier: BSD-3-Clause
 *
 * transformer_decoding.c: a transformer in use, a word at a time: each layer remembers the keys and values of the words
 * that it wrote, which grow, and of the source's, which do not. */
#include "model/decoding.h"
#include "model/transformer.h"
#include "refuse.h"

#include <stdlib.h>

typedef struct transformer_decoding {
    decoding head;
    bool watched;
    struct {
        attn_memory *self, *cross;
        real *weights; /* [rows, heads, length] of the last step, the pass's; NULL: not asked for */
    } layers[];        /* [options.layers] */
} transformer_decoding;

/* Words written before a memory of them grows for the first time. */
enum { FIRST_CAPACITY = 32 };

/* What a layer sees of the encoded source, without its padding. */
static attn_memory *source_memory(pass *p, const multihead *cross, const batch *b, const real *states)
{
    attn_memory *memory = multihead_memory(cross, b->rows, b->source_length, true);
    multihead_walk walk = {.rows = b->rows, .queries = 0, .keys = b->source_length};
    walk.query = states, walk.key = states, walk.memory = memory;
    multihead_forward(p, cross, &walk, NULL);
    const attn_tensor lengths = {(int *)b->source_lengths, ATTN_I32, 1, {b->rows}, {1}};
    attn_must(attn_memory_truncate(memory, &lengths));
    return memory;
}

decoding *transformer_begin(const model *m, const batch *b)
{
    const transformer *t = m->parts;
    transformer_decoding *d = allocate_zeros(1, sizeof *d + (size_t)t->decoder.count * sizeof d->layers[0]);
    decoding_head(&d->head, m, b);
    pass *p = &d->head.pass;
    const transformer_stack_walk source = transformer_encode(m, p, b);
    for (int i = 0; i < t->decoder.count; i++) {
        d->layers[i].self = multihead_memory(&t->decoder.layers[i].self, b->rows, FIRST_CAPACITY, false);
        d->layers[i].cross = source_memory(p, &t->decoder.layers[i].cross, b, source.norm.y);
    }
    return &d->head;
}

static void mean_of_heads(int rows, int heads, int length, const real *of_heads, real *weights, real *scores)
{
    for (int r = 0; r < rows; r++) {
        for (int j = 0; j < length; j++) {
            real sum = 0;
            for (int h = 0; h < heads; h++) sum += of_heads[(r * heads + h) * length + j];
            const real mean = sum / (real)heads;
            if (weights != NULL) weights[r * length + j] = mean;
            if (scores != NULL) scores[r * length + j] = mean > 0 ? real_log(mean) : -(real)INFINITY;
        }
    }
}

void transformer_step(decoding *head, const int *words, real *logits, real *weights, real *scores)
{
    transformer_decoding *d = (transformer_decoding *)(void *)head;
    const transformer *t = head->of->parts;
    const int rows = head->rows, heads = head->of->options.heads, last = t->decoder.count - 1;
    const bool looks = weights != NULL || scores != NULL;
    pass *p = &head->pass;
    pass_restart(p);
    const real *x = transformer_embed(p, &t->decoder, rows, 1, head->step, words);
    for (int i = 0; i <= last; i++) {
        transformer_layer_walk walk = {
            .self = {.rows = rows, .queries = 1, .keys = head->step + 1, .memory = d->layers[i].self},
            .cross = {.rows = rows, .queries = 1, .keys = head->length, .memory = d->layers[i].cross, .recalls = true},
        };
        if (d->watched || (looks && i == last)) {
            walk.cross.weights = pass_reals(p, (size_t)rows * (size_t)heads * (size_t)head->length);
        }
        d->layers[i].weights = walk.cross.weights;
        x = transformer_layer_forward(p, &t->decoder.layers[i], &walk, x);
    }
    const layer_norm_walk normed = layer_norm_forward(p, &t->decoder.norm, rows, x);
    dense_forward(p, &t->output, rows, normed.y, t->output.inputs, false, logits, t->output.outputs);
    if (looks) mean_of_heads(rows, heads, head->length, d->layers[last].weights, weights, scores);
}

void transformer_reorder(decoding *head, const int *rows, int count)
{
    transformer_decoding *d = (transformer_decoding *)(void *)head;
    const attn_tensor names = {(int *)rows, ATTN_I32, 1, {count}, {1}};
    for (int i = 0; i < head->of->options.layers; i++) {
        attn_must(attn_memory_reorder(d->layers[i].self, &names));
        attn_must(attn_memory_reorder(d->layers[i].cross, &names));
    }
}

void transformer_end(decoding *head)
{
    transformer_decoding *d = (transformer_decoding *)(void *)head;
    for (int i = 0; i < head->of->options.layers; i++) {
        attn_memory_destroy(d->layers[i].self);
        attn_memory_destroy(d->layers[i].cross);
    }
    free(d);
}

bool transformer_watch(decoding *head)
{
    if (head->of->kind->step != transformer_step) return false;
    ((transformer_decoding *)(void *)head)->watched = true;
    return true;
}

const real *transformer_heads(const decoding *head, int layer)
{
    return ((const transformer_decoding *)(const void *)head)->layers[layer].weights;
}
