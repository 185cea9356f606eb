/* SPDX-License-Identifier: BSD-3-Clause
 *
 * model_scene.c: see model_scene.h. */
#include "model_scene.h"

#include "model/elementwise.h"
#include "refuse.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

model *scene_model(const char *kind, uint64_t seed)
{
    model_options options = {
        .source_words = SCENE_SOURCE_WORDS,
        .target_words = SCENE_TARGET_WORDS,
        .embed = 6,
        .states = 8,
        .hidden = 7,
        .half_width = 2,
        .most_words = SCENE_LONGEST,
        .layers = 2,
        .heads = 2,
        .feed_forward = 12,
    };
    snprintf(options.kind, sizeof options.kind, "%s", kind);
    model *m = model_create(&options);
    parameters_draw(&m->parameters, seed);
    random_stream stream = random_begin(seed, 2, 0);
    for (size_t i = 0; i < m->parameters.total; i++) m->parameters.value[i] += (real)(0.2 * random_normal(&stream));
    return m;
}

void scene_fill(scene_batch *b, int padding)
{
    static const int sources[SCENE_ROWS] = {5, 2, 4}, targets[SCENE_ROWS] = {3, 5, 1};
    random_stream stream = random_begin(7, 3, 0);
    const int source_length = 5 + padding, target_length = 6 + padding;
    b->target_words = 0;
    for (int r = 0; r < SCENE_ROWS; r++) {
        int *source = b->source + r * source_length;
        int *in = b->target_in + r * target_length, *out = b->target_out + r * target_length;
        b->source_lengths[r] = sources[r];
        for (int t = 0; t < source_length; t++) source[t] = WORD_PADDING;
        for (int t = 0; t < target_length; t++) in[t] = WORD_PADDING, out[t] = -1;
        for (int t = 0; t < sources[r]; t++) {
            source[t] = WORDS_SPECIAL + (int)random_below(&stream, SCENE_SOURCE_WORDS - WORDS_SPECIAL);
        }
        in[0] = WORD_BEGIN;
        for (int t = 0; t < targets[r]; t++) {
            in[t + 1] = out[t] = WORDS_SPECIAL + (int)random_below(&stream, SCENE_TARGET_WORDS - WORDS_SPECIAL);
        }
        out[targets[r]] = WORD_END;
        b->target_words += targets[r] + 1;
    }
    b->view =
        (batch){SCENE_ROWS, source_length, target_length, b->source, b->source_lengths, b->target_in, b->target_out};
}

/* The loss by word, with the same chance every time. */
static double evaluate(const model *m, pass *p, const batch *b, double smoothing, double tokens)
{
    p->chance = random_begin(5, 4, 0);
    return model_batch_loss(m, p, b, smoothing, tokens).sum / tokens;
}

double worst_gradient_error(model *m, const batch *b, double smoothing, double dropout)
{
    const parameter_set *set = &m->parameters;
    const double tokens = 4, step = 1e-5;
    pass p = {.value = set->value, .dropout = dropout};
    real *gradient = p.gradient = allocate_zeros(set->total, sizeof *gradient);
    evaluate(m, &p, b, smoothing, tokens);
    p.gradient = NULL;
    double worst = 0, expected = 0, got = 0;
    const parameter *of = NULL;
    size_t number = 0;
    for (int i = 0; i < set->count; i++) {
        const parameter *one = &set->list[i];
        for (size_t e = 0; e < (size_t)one->rows * (size_t)one->columns; e++) {
            real *value = set->value + one->offset + e, before = *value;
            *value = before + (real)step;
            const double above = evaluate(m, &p, b, smoothing, tokens);
            *value = before - (real)step;
            const double below = evaluate(m, &p, b, smoothing, tokens);
            *value = before;
            const double slope = (above - below) / (2 * step), mine = (double)gradient[one->offset + e];
            const double error = fabs(slope - mine) / fmax(fabs(slope), 0.01);
            if (!(error <= worst)) worst = error, of = one, number = e, expected = slope, got = mine;
        }
    }
    if (!(worst < 1e-6)) {
        fprintf(stderr, "%s: number %zu of %s has the gradient %.12g, differences say %.12g\n", m->options.kind, number,
                of->name, got, expected);
    }
    pass_free(&p);
    free(gradient);
    return worst;
}

double worst_decoding_error(const model *m, const batch *b)
{
    const size_t words = (size_t)m->options.target_words;
    decoding *d = decoding_begin(m, b);
    double *losses = allocate_zeros((size_t)b->rows, sizeof *losses);
    int *before = allocate((size_t)b->rows, sizeof *before);
    real *logits = allocate((size_t)b->rows * words, sizeof *logits);
    for (int t = 0; t < b->target_length; t++) {
        for (int r = 0; r < b->rows; r++) before[r] = b->target_in[r * b->target_length + t];
        decoding_step(d, before, logits, NULL, NULL);
        log_softmax((size_t)b->rows, words, logits);
        for (int r = 0; r < b->rows; r++) {
            const int expected = b->target_out[r * b->target_length + t];
            if (expected >= 0) losses[r] -= (double)logits[(size_t)r * words + (size_t)expected];
        }
    }
    double worst = 0;
    pass p = {.value = m->parameters.value};
    for (int r = 0; r < b->rows; r++) {
        const batch row = {1,
                           b->source_length,
                           b->target_length,
                           b->source + r * b->source_length,
                           b->source_lengths + r,
                           b->target_in + r * b->target_length,
                           b->target_out + r * b->target_length};
        const double loss = model_batch_loss(m, &p, &row, 0, 1).plain, error = fabs(losses[r] - loss) / loss;
        if (!(error <= worst)) worst = error;
    }
    pass_free(&p);
    decoding_end(d);
    free(losses);
    free(before);
    free(logits);
    return worst;
}
