/* SPDX-License-Identifier: BSD-3-Clause
 *
 * recurrent_walk.c: a batch's way through a recurrent translator, and the gradient's way back. Whatever does not wait
 * for the step before is one product for all steps: the words' part of the GRU's input, the readout, the output. */
#include "model/elementwise.h"
#include "model/embedding.h"
#include "model/recurrent.h"
#include "refuse.h"

#include <string.h>

/* tanh(W_c [context; state]) (Luong 2015, eq. 5), by the library. */
typedef struct attentional {
    attn_tensor weight, context, query, output, d_output, d_weight, d_context, d_query;
    attn_attentional_args args;
} attentional;

static attn_tensor of_rows(const real *data, int rows, int columns)
{
    return (attn_tensor){(real *)data, REAL_DTYPE, 2, {rows, columns}, {columns, 1}};
}

static void attentional_begin(attentional *a, const recurrent *r, const pass *p, int rows, const real *context,
                              const real *state, const real *output)
{
    const int n = r->decoder.states;
    a->args = (attn_attentional_args)ATTN_ATTENTIONAL_ARGS_INIT;
    a->weight = of_rows(pass_value(p, r->joint_weight), n, 2 * n), a->args.weight = &a->weight;
    a->context = of_rows(context, rows, n), a->args.context = &a->context;
    a->query = of_rows(state, rows, n), a->args.query = &a->query;
    a->output = of_rows(output, rows, n), a->args.output = &a->output;
}

static void attentional_backward(const recurrent *r, attn_engine *engine, const pass *p, int rows, const real *context,
                                 const real *state, const real *output, const real *d_output, real *d_context,
                                 real *d_state)
{
    attentional a;
    const int n = r->decoder.states;
    attentional_begin(&a, r, p, rows, context, state, output);
    a.d_output = of_rows(d_output, rows, n), a.args.d_output = &a.d_output;
    if (p->gradient != NULL) {
        a.d_weight = of_rows(pass_gradient(p, r->joint_weight), n, 2 * n), a.args.d_weight = &a.d_weight;
    }
    a.d_context = of_rows(d_context, rows, n), a.args.d_context = &a.d_context;
    a.d_query = of_rows(d_state, rows, n), a.args.d_query = &a.d_query;
    a.args.accumulate = 1;
    attn_must(attn_attentional_backward(engine, &a.args));
}

/* The readout's three inputs, columns of one weight: the state, the word, the context (Bahdanau 2014, appendix A.2.2,
 * with the state after the step in place of the one before). */
static void readout_parts(const recurrent *r, dense parts[3])
{
    const int n = r->decoder.states, embed = r->embedding->columns;
    parts[0] = dense_part(r->joint_weight, 0, n), parts[0].bias = r->joint_bias;
    parts[1] = dense_part(r->joint_weight, n, embed);
    parts[2] = dense_part(r->joint_weight, n + embed, n);
}

void recurrent_joint(const model *m, const pass *p, int rows, const real *embedded, const real *state,
                     const real *context, real *wide, real *joint)
{
    const recurrent *r = m->parts;
    const int n = r->decoder.states, embed = r->embedding->columns;
    if (r->before) {
        dense parts[3];
        readout_parts(r, parts);
        dense_forward(p, &parts[0], rows, state, n, false, wide, 2 * n);
        dense_forward(p, &parts[1], rows, embedded, embed, true, wide, 2 * n);
        dense_forward(p, &parts[2], rows, context, n, true, wide, 2 * n);
        maxout_forward((size_t)rows, (size_t)n, wide, joint);
    } else {
        attentional a;
        attentional_begin(&a, r, p, rows, context, state, joint);
        attn_must(attn_attentional_forward(m->engine, &a.args));
    }
}

void recurrent_joint_back(const model *m, pass *p, int rows, const real *embedded, const real *state,
                          const real *context, const real *wide, const real *joint, const real *d_joint,
                          real *d_embedded, real *d_state, real *d_context)
{
    const recurrent *r = m->parts;
    const int n = r->decoder.states, embed = r->embedding->columns;
    if (!r->before) {
        attentional_backward(r, m->engine, p, rows, context, state, joint, d_joint, d_context, d_state);
        return;
    }
    real *d_wide = pass_reals(p, 2 * (size_t)rows * (size_t)n);
    maxout_backward((size_t)rows, (size_t)n, wide, d_joint, d_wide);
    dense parts[3];
    readout_parts(r, parts);
    if (p->gradient != NULL) {
        dense_backward_weight(p, &parts[0], rows, d_wide, 2 * n, state, n);
        dense_backward_weight(p, &parts[1], rows, d_wide, 2 * n, embedded, embed);
        dense_backward_weight(p, &parts[2], rows, d_wide, 2 * n, context, n);
    }
    dense_backward_input(p, &parts[0], rows, d_wide, 2 * n, true, d_state, n);
    if (d_embedded != NULL) dense_backward_input(p, &parts[1], rows, d_wide, 2 * n, true, d_embedded, embed);
    dense_backward_input(p, &parts[2], rows, d_wide, 2 * n, true, d_context, n);
}

recurrent_walk recurrent_forward(const model *m, pass *p, const batch *b, bool keep_weights)
{
    const recurrent *r = m->parts;
    const int rows = b->rows, length = b->target_length, n = r->decoder.states, embed = r->embedding->columns;
    const size_t count = (size_t)rows * (size_t)length, cells = (size_t)rows * (size_t)n;
    recurrent_walk w = {.rows = rows, .length = length};
    w.encoded = encoder_forward(p, &r->encoder, b);
    if (r->attends) {
        w.keys = attention_keys_begin(p, &r->attention, rows, b->source_length, b->source_lengths, w.encoded.states);
    }
    w.words = words_by_time(p, rows, length, b->target_in);
    w.embedded = pass_reals(p, count * (size_t)embed);
    embedding_forward(p, r->embedding, count, w.words, 1, w.embedded);
    w.kept_embedded = dropout_forward(p, count * (size_t)embed, w.embedded);
    w.decoder = gru_walk_begin(p, &r->decoder, rows, length);
    dense_forward(p, &r->from_word, (int)count, w.embedded, embed, false, w.decoder.from_input, 3 * n);
    w.contexts = pass_reals(p, count * (size_t)n);
    w.logsumexps = pass_reals(p, count);
    w.weights = keep_weights ? pass_zeros(p, count * (size_t)b->source_length) : NULL;
    w.wide = r->before ? pass_reals(p, 2 * count * (size_t)n) : NULL;
    w.joint = pass_reals(p, count * (size_t)n);

    real *first = w.decoder.states;
    dense_forward(p, &r->bridge, rows, w.encoded.last + r->bridge_first, n, false, first, n);
    tanh_forward(cells, first);
    for (int t = 0; t < length; t++) {
        const size_t at = (size_t)t * cells;
        real *before = w.decoder.states + at, *after = before + cells, *context = w.contexts + at;
        real *logsumexp = w.logsumexps + (size_t)t * (size_t)rows;
        real *weights = keep_weights ? w.weights + (size_t)t * (size_t)rows * (size_t)b->source_length : NULL;
        real *input = w.decoder.from_input + 3 * at;
        if (!r->attends) {
            memcpy(context, w.encoded.last, cells * sizeof(real));
        } else if (r->before) {
            attention_forward(&r->attention, &w.keys, t, before, NULL, context, logsumexp, weights);
        }
        const real *fed = r->before ? context : t > 0 ? w.joint + at - cells : NULL;
        if (fed != NULL) dense_forward(p, &r->from_fed, rows, fed, n, true, input, 3 * n);
        gru_step(p, &r->decoder, &w.decoder, t, before, NULL, after);
        if (!r->before) {
            attention_forward(&r->attention, &w.keys, t, after, NULL, context, logsumexp, weights);
            recurrent_joint(m, p, rows, NULL, after, context, NULL, w.joint + at);
        }
    }
    if (r->before) {
        recurrent_joint(m, p, (int)count, w.embedded, w.decoder.states + cells, w.contexts, w.wide, w.joint);
    }
    w.dropped = w.joint;
    if (p->dropout > 0) { /* what is fed to the next step is not dropped */
        w.dropped = pass_reals(p, count * (size_t)n);
        memcpy(w.dropped, w.joint, count * (size_t)n * sizeof(real));
    }
    w.kept_joint = dropout_forward(p, count * (size_t)n, w.dropped);
    w.logits = pass_reals(p, count * (size_t)m->options.target_words);
    dense_forward(p, &r->output, (int)count, w.dropped, n, false, w.logits, m->options.target_words);
    return w;
}

/* From d_logits to the joint states, and for Bahdanau's decoder on to state, word and context. */
static real *output_back(const model *m, pass *p, recurrent_walk *w)
{
    const recurrent *r = m->parts;
    const int n = r->decoder.states, count = w->rows * w->length, words = m->options.target_words;
    real *d_joint = pass_reals(p, (size_t)count * (size_t)n);
    dense_backward_weight(p, &r->output, count, w->logits, words, w->dropped, n);
    dense_backward_input(p, &r->output, count, w->logits, words, false, d_joint, n);
    dropout_backward(p, (size_t)count * (size_t)n, w->kept_joint, d_joint);
    return d_joint;
}

void recurrent_backward(const model *m, pass *p, recurrent_walk *w)
{
    const recurrent *r = m->parts;
    const int rows = w->rows, length = w->length, n = r->decoder.states, embed = r->embedding->columns;
    const size_t count = (size_t)rows * (size_t)length, cells = (size_t)rows * (size_t)n;
    real *d_embedded = pass_zeros(p, count * (size_t)embed), *d_contexts = pass_zeros(p, count * (size_t)n);
    real *d_states = pass_zeros(p, (count + (size_t)rows) * (size_t)n); /* of the states, the first included */
    real *d_last = pass_zeros(p, cells);
    real *d_joint = output_back(m, p, w);
    if (r->before) {
        recurrent_joint_back(m, p, (int)count, w->embedded, w->decoder.states + cells, w->contexts, w->wide, w->joint,
                             d_joint, d_embedded, d_states + cells, d_contexts);
    }
    if (r->attends) attention_keys_back_begin(p, &r->attention, &w->keys);

    for (int t = length - 1; t >= 0; t--) {
        const size_t at = (size_t)t * cells;
        const real *before = w->decoder.states + at, *after = before + cells;
        real *d_before = d_states + at, *d_after = d_before + cells, *context = w->contexts + at;
        real *d_context = d_contexts + at, *logsumexp = w->logsumexps + (size_t)t * (size_t)rows;
        const real *d_weights = w->d_weights;
        if (d_weights != NULL) d_weights += (size_t)t * (size_t)rows * (size_t)w->encoded.length;
        if (!r->before) {
            recurrent_joint_back(m, p, rows, NULL, after, context, NULL, w->joint + at, d_joint + at, NULL, d_after,
                                 d_context);
            attention_backward(p, &r->attention, &w->keys, t, after, NULL, context, logsumexp, d_context, d_weights,
                               d_after);
        }
        gru_step_back(p, &r->decoder, &w->decoder, t, before, NULL, d_after, d_before);
        const real *d_input = w->decoder.from_input + 3 * at;
        real *d_fed = r->before ? d_context : t > 0 ? d_joint + at - cells : NULL;
        if (d_fed != NULL) dense_backward_input(p, &r->from_fed, rows, d_input, 3 * n, true, d_fed, n);
        if (!r->attends) {
            add_to(cells, d_context, d_last);
        } else if (r->before) {
            attention_backward(p, &r->attention, &w->keys, t, before, NULL, context, logsumexp, d_context, d_weights,
                               d_before);
        }
    }

    const dense from_word = dense_part(r->decoder.input_weight, 0, embed); /* the bias is the GRU's to sum */
    gru_parameters_back(p, &r->decoder, &w->decoder, w->decoder.states);
    dense_backward_weight(p, &from_word, (int)count, w->decoder.from_input, 3 * n, w->embedded, embed);
    if (r->before) {
        dense_backward_weight(p, &r->from_fed, (int)count, w->decoder.from_input, 3 * n, w->contexts, n);
    } else { /* the first step was fed nothing */
        dense_backward_weight(p, &r->from_fed, (int)count - rows, w->decoder.from_input + 3 * cells, 3 * n, w->joint,
                              n);
    }
    dense_backward_input(p, &from_word, (int)count, w->decoder.from_input, 3 * n, true, d_embedded, embed);
    dropout_backward(p, count * (size_t)embed, w->kept_embedded, d_embedded);
    embedding_backward(p, r->embedding, count, w->words, 1, d_embedded);

    tanh_backward(cells, w->decoder.states, d_states, d_states);
    const real *ended = w->encoded.last + r->bridge_first;
    dense_backward_weight(p, &r->bridge, rows, d_states, n, ended, n);
    dense_backward_input(p, &r->bridge, rows, d_states, n, true, d_last + r->bridge_first, n);
    if (r->attends) attention_keys_back_end(p, &r->attention, &w->keys);
    encoder_backward(p, &r->encoder, &w->encoded, w->keys.d_states, d_last);
}
