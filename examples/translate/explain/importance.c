/* SPDX-License-Identifier: BSD-3-Clause
 *
 * importance.c: see importance.h. */
#include "explain/importance.h"

#include "explain/distribution.h"
#include "model/elementwise.h"
#include "refuse.h"

#include <stdlib.h>
#include <string.h>

const char *const importance_names[IMPORTANCE_KINDS] = {
    [BY_INPUT] = "gradient by input, weights held",
    [BY_INPUT_WHOLE] = "gradient by input, through weights",
    [BY_WEIGHT] = "gradient by weight",
    [BY_MASKING] = "weight set to 0",
    [BY_LEAVING_OUT] = "word left out",
};

/* The gradient of log p by each step's context, [steps, states]. */
static real *prediction_gradient(replay *r)
{
    const int n = ((const recurrent *)r->of->parts)->decoder.states;
    const size_t places = (size_t)r->steps * (size_t)r->sources;
    int *steps = allocate((size_t)r->steps, sizeof *steps);
    real *own = allocate(places, sizeof *own), *d_context = allocate((size_t)r->steps * (size_t)n, sizeof *d_context);
    real *d_outputs = allocate_zeros((size_t)r->steps * (size_t)r->words, sizeof *d_outputs);
    log_weights_of(places, r->weights, own);
    for (int t = 0; t < r->steps; t++) {
        const real *output = r->outputs + (ptrdiff_t)t * r->words;
        const int said = likeliest(output, r->words);
        steps[t] = t;
        d_outputs[(ptrdiff_t)t * r->words + said] = 1 / output[said];
    }
    replayed done = replay_forward(r, r->steps, steps, own);
    replay_backward(r, &done, d_outputs, NULL, NULL, d_context);
    free(steps);
    free(own);
    free(d_outputs);
    return d_context;
}

static double product(const real *a, const real *b, int count)
{
    double sum = 0;
    for (int i = 0; i < count; i++) sum += (double)a[i] * (double)b[i];
    return sum;
}

static void by_weight(const replay *r, const real *d_context, double *numbers)
{
    const int n = ((const recurrent *)r->of->parts)->decoder.states;
    for (int t = 0; t < r->steps; t++) {
        const real *d = d_context + (ptrdiff_t)t * n;
        const double mean = product(d, r->walk.contexts + (ptrdiff_t)t * n, n);
        for (int j = 0; j < r->sources; j++) {
            numbers[t * r->sources + j] = fabs(product(d, r->walk.encoded.states + (ptrdiff_t)j * n, n) - mean);
        }
    }
}

/* The gradient of step t by the states, [sources, states], through values alone or through scores too. */
static void by_states(replay *r, int t, const real *d_context, bool whole, real *d_states)
{
    const recurrent *unit = r->of->parts;
    const int n = unit->decoder.states;
    if (!whole) {
        for (int j = 0; j < r->sources; j++) {
            for (int i = 0; i < n; i++) d_states[j * n + i] = r->weights[t * r->sources + j] * d_context[i];
        }
        return;
    }
    attention_keys keys = r->walk.keys;
    attention_keys_back_begin(&r->again, &unit->attention, &keys);
    const real *query = r->walk.decoder.states + (ptrdiff_t)(unit->before ? t : t + 1) * n;
    attention_backward(NULL, &unit->attention, &keys, t, query, NULL, r->walk.contexts + (ptrdiff_t)t * n,
                       r->walk.logsumexps + t, d_context, NULL, NULL);
    attention_keys_back_end(&r->again, &unit->attention, &keys);
    memcpy(d_states, keys.d_states, (size_t)r->sources * (size_t)n * sizeof *d_states);
}

/* A batch of rows of the sentence, each without one of its words, or all whole. */
static batch copies_of(pass *p, const batch *sentence, int rows, bool without)
{
    const int sources = sentence->source_length - (without ? 1 : 0), targets = sentence->target_length;
    int *source = pass_ints(p, (size_t)rows * (size_t)sources), *lengths = pass_ints(p, (size_t)rows);
    int *in = pass_ints(p, (size_t)rows * (size_t)targets);
    for (int r = 0; r < rows; r++) {
        for (int j = 0; j < sources; j++) source[r * sources + j] = sentence->source[without && j >= r ? j + 1 : j];
        memcpy(in + r * targets, sentence->target_in, (size_t)targets * sizeof *in);
        lengths[r] = sources;
    }
    return (batch){rows, sources, targets, source, lengths, in, NULL};
}

/* All steps side by side through the encoder and back, each with its own gradient by the states. */
static void by_input(replay *r, const batch *sentence, const real *d_context, bool whole, double *numbers)
{
    const recurrent *unit = r->of->parts;
    const int n = unit->decoder.states, embed = unit->encoder.embedding->columns, steps = r->steps;
    pass *p = &r->again;
    pass_restart(p);
    p->gradient = pass_zeros(p, r->of->parameters.total); /* which nobody looks at */
    const batch copies = copies_of(p, sentence, steps, false);
    encoded read = encoder_forward(p, &unit->encoder, &copies);
    const size_t row = (size_t)n * sizeof(real);
    real *d_states = pass_reals(p, (size_t)r->sources * (size_t)steps * (size_t)n);
    real *one = pass_reals(p, (size_t)r->sources * (size_t)n), *d_last = pass_zeros(p, (size_t)steps * (size_t)n);
    for (int t = 0; t < steps; t++) {
        by_states(r, t, d_context + (ptrdiff_t)t * n, whole, one);
        for (int j = 0; j < r->sources; j++) memcpy(d_states + (ptrdiff_t)(j * steps + t) * n, one + j * n, row);
    }
    encoder_backward(p, &unit->encoder, &read, d_states, d_last);
    for (int j = 0; j < r->sources; j++) {
        for (int t = 0; t < steps; t++) {
            const ptrdiff_t at = (ptrdiff_t)(j * steps + t) * embed;
            numbers[t * r->sources + j] = fabs(product(read.embedded + at, read.d_embedded + at, embed));
        }
    }
    p->gradient = NULL;
}

static void by_masking(replay *r, double *numbers)
{
    const int rows = r->sources;
    const size_t row = (size_t)r->sources;
    real *own = allocate(row, sizeof *own), *given = allocate(row * row, sizeof *given);
    int *steps = allocate((size_t)rows, sizeof *steps);
    for (int t = 0; t < r->steps; t++) {
        log_weights_of(row, r->weights + (size_t)t * row, own);
        for (int j = 0; j < rows; j++) {
            steps[j] = t;
            memcpy(given + (size_t)j * row, own, row * sizeof *given);
            given[(size_t)j * row + (size_t)j] = -(real)INFINITY;
        }
        const replayed done = replay_forward(r, rows, steps, given);
        for (int j = 0; j < rows; j++) {
            numbers[t * rows + j] =
                variation(done.outputs + (ptrdiff_t)j * r->words, r->outputs + (ptrdiff_t)t * r->words, r->words);
        }
    }
    free(own);
    free(given);
    free(steps);
}

static void by_leaving_out(replay *r, const batch *sentence, double *numbers)
{
    pass *p = &r->again;
    pass_restart(p);
    const batch copies = copies_of(p, sentence, r->sources, true);
    recurrent_walk walk = recurrent_forward(r->of, p, &copies, false);
    log_softmax((size_t)r->sources * (size_t)r->steps, (size_t)r->words, walk.logits);
    real *output = pass_reals(p, (size_t)r->words);
    for (int t = 0; t < r->steps; t++) {
        for (int j = 0; j < r->sources; j++) {
            const real *logs = walk.logits + (ptrdiff_t)(t * r->sources + j) * r->words;
            for (int w = 0; w < r->words; w++) output[w] = real_exp(logs[w]);
            numbers[t * r->sources + j] = variation(output, r->outputs + (ptrdiff_t)t * r->words, r->words);
        }
    }
}

void importance_measure(replay *r, const batch *sentence, double *numbers)
{
    const size_t places = (size_t)r->steps * (size_t)r->sources;
    real *d_context = prediction_gradient(r);
    by_input(r, sentence, d_context, false, numbers + BY_INPUT * places);
    by_input(r, sentence, d_context, true, numbers + BY_INPUT_WHOLE * places);
    by_weight(r, d_context, numbers + BY_WEIGHT * places);
    by_masking(r, numbers + BY_MASKING * places);
    by_leaving_out(r, sentence, numbers + BY_LEAVING_OUT * places);
    free(d_context);
}
