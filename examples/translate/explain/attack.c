/* SPDX-License-Identifier: BSD-3-Clause
 *
 * attack.c: see attack.h. Jain and Wallace's objective and its penalty; whatever is tried on the way and keeps within
 * epsilon counts, so that what is found never breaks the bound. All steps and beginnings go side by side. */
#include "explain/attack.h"

#include "explain/distribution.h"
#include "refuse.h"
#include "train/optimiser.h"

#include <stdlib.h>
#include <string.h>

attack_options attack_default(void)
{
    return (attack_options){.epsilon = 0.01, .starts = 3, .iterations = 150, .rate = 0.2, .penalty = 500};
}

typedef struct search {
    replay *of;
    const attack_options *options;
    int rows;   /* steps times starts: row = start * steps + step */
    int *steps; /* [rows] */
    real *z;    /* [rows, sources]: log-weights */
    real *d_z;  /* their gradient, of what is minimised */
    real *d_weights, *d_outputs;
    attacked *found; /* [steps] */
    real *weights;   /* [steps, sources], or NULL */
} search;

/* Beginnings: the model's weights turned upside down, then random ones. */
static void begin(search *s, random_stream *chance)
{
    const replay *r = s->of;
    for (int row = 0; row < s->rows; row++) {
        const int t = s->steps[row] = row % r->steps;
        for (int j = 0; j < r->sources; j++) {
            real *z = &s->z[row * r->sources + j];
            const double own = fmax((double)r->weights[t * r->sources + j], 1e-6);
            *z = (real)(row < r->steps ? -0.5 * log(own) : 2 * random_normal(chance));
            if (!replay_sees(r, t, j)) *z = -(real)INFINITY;
        }
    }
    for (int t = 0; t < r->steps; t++) {
        s->found[t] = (attacked){0, 0};
        if (s->weights != NULL) {
            memcpy(s->weights + t * r->sources, r->weights + t * r->sources, (size_t)r->sources * sizeof(real));
        }
    }
}

/* Keeps a row's weights if they are the farthest so far that are allowed; says how far the output has moved. */
static double look_at(search *s, const replayed *done, int row)
{
    const replay *r = s->of;
    const int t = s->steps[row];
    const real *a = done->weights + (ptrdiff_t)row * r->sources, *own = r->weights + (ptrdiff_t)t * r->sources;
    const double moved =
        variation(done->outputs + (ptrdiff_t)row * r->words, r->outputs + (ptrdiff_t)t * r->words, r->words);
    if (moved > s->options->epsilon) return moved;
    const double distance = divergence(a, own, r->sources);
    if (distance > s->found[t].divergence) {
        s->found[t] = (attacked){distance, moved};
        if (s->weights != NULL) memcpy(s->weights + t * r->sources, a, (size_t)r->sources * sizeof *a);
    }
    return moved;
}

/* The gradient of what is minimised by a row's weights and probabilities. */
static void gradients(search *s, const replayed *done, int row, double moved)
{
    const replay *r = s->of;
    const int t = s->steps[row];
    for (int j = 0; j < r->sources; j++) {
        const double a = (double)done->weights[row * r->sources + j], own = (double)r->weights[t * r->sources + j];
        s->d_weights[row * r->sources + j] = (real)(-0.5 * log(fmax(a, 1e-30) / fmax((a + own) / 2, 1e-30)));
    }
    const double push = moved > s->options->epsilon ? s->options->penalty / 2 : 0;
    for (int w = 0; w < r->words; w++) {
        const real p = done->outputs[(ptrdiff_t)row * r->words + w], own = r->outputs[(ptrdiff_t)t * r->words + w];
        s->d_outputs[(ptrdiff_t)row * r->words + w] = (real)(push * ((p > own) - (p < own)));
    }
}

/* From where each row has come to, half the way back to the model's own weights, again and again: the far side of
 * epsilon has a near side. */
static void halve(search *s, real *between)
{
    const replay *r = s->of;
    double near = 1, *share = allocate((size_t)s->rows, sizeof *share);
    const size_t places = (size_t)s->rows * (size_t)r->sources;
    real *far = allocate(places, sizeof *far);
    replayed done = replay_forward(s->of, s->rows, s->steps, s->z);
    memcpy(far, done.weights, places * sizeof *far);
    for (int row = 0; row < s->rows; row++) share[row] = 0.5;
    for (int i = 0; i < 8; i++) {
        near /= 2;
        for (int row = 0; row < s->rows; row++) {
            for (int j = 0; j < r->sources; j++) {
                const real own = r->weights[s->steps[row] * r->sources + j];
                real *at = &between[row * r->sources + j];
                *at = own + (real)share[row] * (far[row * r->sources + j] - own);
            }
        }
        log_weights_of(places, between, between);
        done = replay_forward(s->of, s->rows, s->steps, between);
        for (int row = 0; row < s->rows; row++) {
            share[row] += look_at(s, &done, row) > s->options->epsilon ? -near / 2 : near / 2;
        }
    }
    free(share);
    free(far);
}

void attack_steps(replay *r, const attack_options *o, random_stream *chance, attacked *found, real *weights)
{
    search s = {.of = r, .options = o, .rows = r->steps * o->starts, .found = found, .weights = weights};
    const size_t places = (size_t)s.rows * (size_t)r->sources;
    s.steps = allocate((size_t)s.rows, sizeof *s.steps);
    s.z = allocate(places, sizeof *s.z);
    s.d_z = allocate(places, sizeof *s.d_z);
    s.d_weights = allocate(places, sizeof *s.d_weights);
    s.d_outputs = allocate((size_t)s.rows * (size_t)r->words, sizeof *s.d_outputs);
    real *first = allocate_zeros(places, sizeof *first), *second = allocate_zeros(places, sizeof *second);
    begin(&s, chance);
    for (int i = 0; i < o->iterations; i++) {
        replayed done = replay_forward(r, s.rows, s.steps, s.z);
        for (int row = 0; row < s.rows; row++) gradients(&s, &done, row, look_at(&s, &done, row));
        memset(s.d_z, 0, places * sizeof *s.d_z);
        replay_backward(r, &done, s.d_outputs, s.d_weights, s.d_z, NULL);
        adam_step(places, s.z, s.d_z, first, second, o->rate, i + 1);
    }
    halve(&s, s.d_z);
    free(s.steps);
    free(s.z);
    free(s.d_z);
    free(s.d_weights);
    free(s.d_outputs);
    free(first);
    free(second);
}
