/* SPDX-License-Identifier: BSD-3-Clause
 *
 * model.c: see model.h. */
#include "model/model.h"

#include "model/decoding.h"
#include "model/recurrent.h"
#include "model/transformer.h"
#include "refuse.h"

#include <stdlib.h>
#include <string.h>

#define RECURRENT                                                                                                      \
    recurrent_create, recurrent_bind, recurrent_destroy, recurrent_loss, recurrent_begin, recurrent_step,              \
        recurrent_reorder, recurrent_end
#define TRANSFORMER                                                                                                    \
    transformer_create, transformer_bind, transformer_destroy, transformer_loss, transformer_begin, transformer_step,  \
        transformer_reorder, transformer_end

const model_kind model_kinds[] = {
    {"none", "the encoder's last state is all there is (Sutskever 2014, Cho 2014)", RECURRENT},
    {"bahdanau", "additive score of the state before the step (Bahdanau 2014)", RECURRENT},
    {"dot", "dot product with the state after the step (Luong 2015)", RECURRENT},
    {"general", "product with a matrix between (Luong 2015)", RECURRENT},
    {"concat", "a layer of tanh over both, joined (Luong 2015)", RECURRENT},
    {"location", "from the state alone, a score for each place (Luong 2015)", RECURRENT},
    {"local-m", "general, around the step's own place (Luong 2015)", RECURRENT},
    {"local-p", "general, around a predicted place (Luong 2015)", RECURRENT},
    {"bahdanau-even", "bahdanau, all words looked at alike (Wiegreffe, Pinter 2019)", RECURRENT},
    {"luong-even", "dot, general, concat or location, all words looked at alike", RECURRENT},
    {"transformer", "self- and cross-attention of many heads (Vaswani 2017)", TRANSFORMER},
};
const int model_kind_count = sizeof model_kinds / sizeof model_kinds[0];

static const model_kind *kind_named(const char *name)
{
    for (int i = 0; i < model_kind_count; i++) {
        if (strcmp(model_kinds[i].name, name) == 0) return &model_kinds[i];
    }
    refuse("there is no model %s; 'translate models' lists them", name);
}

static void at_least_one(const char *what, int number)
{
    if (number < 1) refuse("%s must be at least 1, not %d", what, number);
}

model *model_create(const model_options *options)
{
    at_least_one("the size of an embedding", options->embed);
    at_least_one("the size of a state", options->states);
    at_least_one("the hidden size of attention", options->hidden);
    at_least_one("half the width of local attention", options->half_width);
    at_least_one("the longest sentence", options->most_words);
    model *m = allocate_zeros(1, sizeof *m);
    m->options = *options;
    m->kind = kind_named(options->kind);
    attn_engine_options alone = ATTN_ENGINE_OPTIONS_INIT;
    alone.threads = 1;
    attn_must(attn_engine_create(&alone, &m->engine));
    m->kind->create(m);
    parameters_allocate(&m->parameters);
    m->kind->bind(m);
    return m;
}

void model_destroy(model *m)
{
    if (m == NULL) return;
    m->kind->destroy(m);
    attn_engine_destroy(m->engine);
    parameters_free(&m->parameters);
    free(m);
}

model_loss model_batch_loss(const model *m, pass *p, const batch *b, double smoothing, double tokens)
{
    pass_restart(p);
    return m->kind->loss(m, p, b, smoothing, tokens);
}

decoding *decoding_begin(const model *m, const batch *b)
{
    return m->kind->begin(m, b);
}

int decoding_rows(const decoding *d)
{
    return d->rows;
}

int decoding_length(const decoding *d)
{
    return d->length;
}

void decoding_step(decoding *d, const int *words, real *logits, real *weights, real *scores)
{
    d->of->kind->step(d, words, logits, weights, scores);
    d->step++;
}

void decoding_reorder(decoding *d, const int *rows, int count)
{
    int *lengths = allocate((size_t)count, sizeof *lengths);
    d->length = 0;
    for (int i = 0; i < count; i++) {
        lengths[i] = d->lengths[rows[i]];
        if (lengths[i] > d->length) d->length = lengths[i];
    }
    free(d->lengths);
    d->lengths = lengths;
    d->of->kind->reorder(d, rows, count);
    d->rows = count;
}

void decoding_end(decoding *d)
{
    if (d == NULL) return;
    pass_free(&d->pass);
    free(d->lengths);
    d->of->kind->end(d);
}

void decoding_head(decoding *d, const model *m, const batch *b)
{
    d->of = m, d->rows = b->rows, d->length = 0, d->step = 0;
    d->pass = (pass){.value = m->parameters.value};
    d->lengths = allocate((size_t)b->rows, sizeof *d->lengths);
    memcpy(d->lengths, b->source_lengths, (size_t)b->rows * sizeof *d->lengths);
    for (int i = 0; i < b->rows; i++) d->length = d->lengths[i] > d->length ? d->lengths[i] : d->length;
}

void decoding_pick(real **numbers, size_t columns, const int *rows, int count)
{
    real *picked = allocate((size_t)count * columns, sizeof *picked);
    for (int i = 0; i < count; i++) {
        memcpy(picked + (size_t)i * columns, *numbers + (size_t)rows[i] * columns, columns * sizeof *picked);
    }
    free(*numbers);
    *numbers = picked;
}
