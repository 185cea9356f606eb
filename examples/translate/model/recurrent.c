/* SPDX-License-Identifier: BSD-3-Clause
 *
 * recurrent.c: what a recurrent translator is made of, and its loss; the way through it is recurrent_walk.c, its use
 * recurrent_decoding.c. */
#include "model/recurrent.h"

#include "model/elementwise.h"
#include "model/embedding.h"
#include "refuse.h"

#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    score kind;
} scores[] = {
    {"bahdanau", SCORE_ADDITIVE}, {"dot", SCORE_DOT},         {"general", SCORE_GENERAL}, {"concat", SCORE_CONCAT},
    {"location", SCORE_LOCATION}, {"local-m", SCORE_LOCAL_M}, {"local-p", SCORE_LOCAL_P}, {"bahdanau-even", SCORE_EVEN},
    {"luong-even", SCORE_EVEN},
};

void recurrent_create(model *m)
{
    const model_options *o = &m->options;
    parameter_set *set = &m->parameters;
    recurrent *r = m->parts = allocate_zeros(1, sizeof *r);
    r->attends = strcmp(o->kind, "none") != 0;
    r->before = !r->attends || strncmp(o->kind, "bahdanau", 8) == 0;
    if (r->attends && o->states % 2 != 0) refuse("the size of a state must be even, not %d", o->states);
    r->encoder = encoder_create(set, o->source_words, o->embed, o->states, r->attends);

    /* Bahdanau's first state is made of what the direction from the end ended with (appendix A.2.2). */
    const int bridge = r->attends && r->before ? o->states / 2 : o->states;
    r->bridge_first = o->states - bridge;
    r->bridge = dense_all(parameters_add(set, START_GLOROT, o->states, bridge, "bridge.weight"), NULL);
    r->bridge.bias = parameters_add(set, START_ZERO, 1, o->states, "bridge.bias");
    r->embedding = parameters_add(set, START_NORMAL, o->target_words, o->embed, "decoder.embedding");
    r->decoder = gru_create(set, o->embed + o->states, o->states, "decoder");
    r->from_word = dense_part(r->decoder.input_weight, 0, o->embed);
    r->from_word.bias = r->decoder.input_bias;
    r->from_fed = dense_part(r->decoder.input_weight, o->embed, o->states);
    if (r->attends) {
        const attention_sizes sizes = {o->states, o->states, o->hidden, o->half_width, o->most_words};
        for (size_t i = 0; i < sizeof scores / sizeof scores[0]; i++) {
            if (strcmp(scores[i].name, o->kind) == 0) {
                r->attention = attention_create(m->engine, set, scores[i].kind, &sizes);
            }
        }
    }
    if (r->before) { /* readout: state, word, context to pairs */
        r->joint_weight = parameters_add(set, START_GLOROT, 2 * o->states, 2 * o->states + o->embed, "readout.weight");
        r->joint_bias = parameters_add(set, START_ZERO, 1, 2 * o->states, "readout.bias");
    } else {
        r->joint_weight = parameters_add(set, START_GLOROT, o->states, 2 * o->states, "attentional.weight");
    }
    r->output = dense_all(parameters_add(set, START_GLOROT, o->target_words, o->states, "output.weight"), NULL);
    r->output.bias = parameters_add(set, START_ZERO, 1, o->target_words, "output.bias");
}

void recurrent_bind(model *m)
{
    recurrent *r = m->parts;
    if (r->attends) attention_bind(&r->attention, &m->parameters);
}

void recurrent_destroy(model *m)
{
    recurrent *r = m->parts;
    if (r->attends) attention_free(&r->attention);
    free(r);
}

model_loss recurrent_loss(const model *m, pass *p, const batch *b, double smoothing, double tokens)
{
    recurrent_walk walk = recurrent_forward(m, p, b, false);
    const int *expected = words_by_time(p, b->rows, b->target_length, b->target_out);
    const size_t count = (size_t)b->rows * (size_t)b->target_length;
    model_loss loss = {0};
    loss.sum = cross_entropy(count, (size_t)m->options.target_words, walk.logits, expected, smoothing, 1 / tokens,
                             &loss.plain, &loss.right);
    for (size_t i = 0; i < count; i++) loss.words += expected[i] >= 0;
    if (p->gradient != NULL) recurrent_backward(m, p, &walk);
    return loss;
}
