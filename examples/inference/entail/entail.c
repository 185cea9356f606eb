/* SPDX-License-Identifier: BSD-3-Clause
 *
 * entail.c: what the model is made of, and its walk as a whole; see entail.h. */
#include "entail/entail.h"

#include "entail/parts.h"
#include "model/elementwise.h"
#include "refuse.h"

#include <stdlib.h>

const char *const look_names[LOOK_KINDS] = {"attend", "mean", "hypothesis"};

int entail_size(const entail *m)
{
    return m->options.plain ? m->options.embed : 2 * m->options.embed;
}

static feed_forward feed_forward_of(parameter_set *set, const char *name, int inputs, int joined, int hidden)
{
    const parameter *weight = parameters_add(set, START_GLOROT, hidden, inputs * joined, "%s.first.weight", name);
    const parameter *bias = parameters_add(set, START_ZERO, 1, hidden, "%s.first.bias", name);
    feed_forward f = {.first = {dense_part(weight, 0, inputs), dense_part(weight, inputs, inputs * (joined - 1))}};
    f.first[0].bias = bias;
    weight = parameters_add(set, START_GLOROT, hidden, hidden, "%s.second.weight", name);
    f.second = dense_all(weight, parameters_add(set, START_ZERO, 1, hidden, "%s.second.bias", name));
    return f;
}

static void add_intra(entail *m)
{
    parameter_set *set = &m->parameters;
    const int embed = m->options.embed, heads = m->options.heads;
    const parameter *weight = parameters_add(set, START_GLOROT, embed, embed, "within.weight");
    m->within = dense_all(weight, parameters_add(set, START_ZERO, 1, embed, "within.bias"));
    m->distance = parameters_add(set, START_NORMAL, heads, 2 * DISTANCE_MOST + 1, "within.distance");
}

static void bind_intra(entail *m)
{
    const int64_t shape[] = {m->options.heads, 2 * DISTANCE_MOST + 1};
    attn_tensor table;
    attn_must(attn_tensor_init(&table, m->parameters.value + m->distance->offset, REAL_DTYPE, 2, shape));
    attn_must(attn_mechanism_create_scaled_dot(m->engine, &m->intra));
    attn_must(
        attn_mechanism_set_relative_bias(m->intra, &table, ATTN_RELATIVE_CLIPPED, DISTANCE_MOST, ATTN_ALIGN_TOP_LEFT));
}

entail *entail_create(const entail_options *options)
{
    if (options->embed % options->heads != 0) {
        refuse("%d heads do not divide vectors of %d numbers", options->heads, options->embed);
    }
    entail *m = allocate_zeros(1, sizeof *m);
    m->options = *options;
    attn_engine_options engine = ATTN_ENGINE_OPTIONS_INIT;
    engine.threads = 1; /* shards are threads */
    attn_must(attn_engine_create(&engine, &m->engine));
    parameter_set *set = &m->parameters;
    m->embedding = parameters_add(set, START_NORMAL, options->words, options->embed, "embedding");
    if (!options->plain) add_intra(m);
    const int size = entail_size(m), hidden = options->hidden;
    m->attend = feed_forward_of(set, "attend", size, 1, hidden);
    m->compare = feed_forward_of(set, "compare", size, 2, hidden);
    m->aggregate = feed_forward_of(set, "aggregate", 2 * hidden, 1, hidden);
    const parameter *weight = parameters_add(set, START_GLOROT, LABELS, hidden, "output.weight");
    m->output = dense_all(weight, parameters_add(set, START_ZERO, 1, LABELS, "output.bias"));
    parameters_allocate(set);
    if (!options->plain) bind_intra(m);
    return m;
}

void entail_draw(entail *m, uint64_t seed)
{
    parameters_draw(&m->parameters, seed);
    const parameter *weights[] = {m->attend.first[0].weight, m->attend.second.weight};
    for (int i = 0; i < 2; i++) {
        real *value = m->parameters.value + weights[i]->offset;
        for (int e = 0; e < weights[i]->rows * weights[i]->columns; e++) value[e] *= 2;
    }
    const parameter *weight = m->compare.first[0].weight;
    const int size = entail_size(m);
    for (int r = 0; r < weight->rows; r++) {
        real *row = m->parameters.value + weight->offset + (ptrdiff_t)r * weight->columns;
        for (int i = 0; i < size; i++) row[size + i] = -row[i];
    }
}

void entail_destroy(entail *m)
{
    if (m == NULL) return;
    attn_mechanism_destroy(m->intra);
    attn_engine_destroy(m->engine);
    parameters_free(&m->parameters);
    free(m);
}

void entail_encode(const entail *m, pass *p, const entail_batch *b, entail_walk *w)
{
    *w = (entail_walk){.premise = {.text = b->premise}, .hypothesis = {.text = b->hypothesis}};
    encode_side(m, p, b->rows, &w->premise);
    encode_side(m, p, b->rows, &w->hypothesis);
}

void entail_forward(const entail *m, pass *p, const entail_batch *b, entail_walk *w)
{
    entail_encode(m, p, b, w);
    entail_attend(m, p, b, w);
    entail_conclude(m, p, b, w);
}

void entail_backward(const entail *m, pass *p, const entail_batch *b, entail_walk *w, const real *d_logits)
{
    entail_conclude_backward(m, p, b, w, d_logits);
    attend_backward(m, p, b, w);
    entail_side *sides[] = {&w->premise, &w->hypothesis};
    for (int i = 0; i < 2; i++) {
        const real *d_embedded = entail_encode_backward(m, p, b->rows, sides[i]);
        embed_backward(m, p, b->rows, sides[i], d_embedded);
    }
}

double entail_loss(const entail *m, pass *p, const entail_batch *b, double scale, long *right)
{
    entail_walk w;
    entail_forward(m, p, b, &w);
    const double loss = cross_entropy((size_t)b->rows, LABELS, w.logits, b->labels, 0, scale, NULL, right);
    if (p->gradient != NULL) entail_backward(m, p, b, &w, w.logits);
    return loss;
}
