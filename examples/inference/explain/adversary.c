/* SPDX-License-Identifier: BSD-3-Clause
 *
 * adversary.c: weights that are far from the model's and give nearly its answer (Jain and Wallace 2019, section 4.2.2):
 * softmax of free scores, which Adam moves up
 *
 *     mean over rows of JS(model's row, row) - penalty max(0, TV(model's answer, answer) - most)
 *
 * from a random beginning; the best that keeps within most is kept. */
#include "explain/adversary.h"
#include "explain/explain.h"
#include "measure/correlation.h"
#include "refuse.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct ascent {
    explain_pair *pair;
    const explain_options *options;
    double own[LABELS];                                    /* the model's answer */
    double *scores[2], *weights[2], *first[2], *second[2]; /* Adam's moments */
    int rows;                                              /* that are free */
} ascent;

static bool is_free(const ascent *a, int kind)
{
    return a->options->rows == kind || a->options->rows == ROWS_BOTH;
}

static size_t count_of(const ascent *a, int kind)
{
    return (size_t)a->pair->count[kind] * (size_t)a->pair->length[kind];
}

static void softmax(const double *scores, int length, double *to)
{
    double greatest = scores[0], sum = 0;
    for (int i = 1; i < length; i++) greatest = fmax(greatest, scores[i]);
    for (int i = 0; i < length; i++) sum += to[i] = exp(scores[i] - greatest);
    for (int i = 0; i < length; i++) to[i] /= sum;
}

static double divergence(const ascent *a)
{
    double sum = 0;
    for (int kind = 0; kind < 2; kind++) {
        const size_t length = (size_t)a->pair->length[kind];
        for (size_t r = 0; is_free(a, kind) && r < (size_t)a->pair->count[kind]; r++) {
            sum += jensen_shannon(a->weights[kind] + r * length, a->pair->weights[kind] + r * length, length);
        }
    }
    return sum / a->rows;
}

/* The gradient of the penalty by each weight, d_weights = d_aligned states^T; NULL where nothing is to be paid. */
static real *paid(ascent *a, int kind, const double now[LABELS])
{
    explain_pair *e = a->pair;
    const int size = entail_size(e->model);
    double c[LABELS];
    real d_logits[LABELS];
    for (int k = 0; k < LABELS; k++) c[k] = now[k] > a->own[k] ? 0.5 : -0.5;
    answer_gradient(now, c, d_logits);
    if (kind == 0) entail_conclude_backward(e->model, e->pass, e->batch, &e->walk, d_logits);
    const entail_side *from = kind == 0 ? &e->walk.hypothesis : &e->walk.premise;
    const entail_side *to = kind == 0 ? &e->walk.premise : &e->walk.hypothesis;
    real *d = pass_reals(e->pass, count_of(a, kind));
    dense_product(false, true, e->count[kind], e->length[kind], size, from->d_aligned, size, to->states, size, 0, d,
                  e->length[kind]);
    return d;
}

/* Scores go up the gradient; d is of the penalty by weights, or NULL. */
static void climb(ascent *a, int kind, const real *d, double penalty, double rate, int step)
{
    const int length = a->pair->length[kind];
    const double first_scale = 1 - pow(0.9, step), second_scale = 1 - pow(0.999, step);
    double *slope = allocate((size_t)length, sizeof *slope);
    for (int r = 0; r < a->pair->count[kind]; r++) {
        const ptrdiff_t at = (ptrdiff_t)r * length;
        const double *p = a->weights[kind] + at, *q = a->pair->weights[kind] + at;
        double mean = 0;
        for (int i = 0; i < length; i++) {
            slope[i] = p[i] > 0 ? 0.5 * log(2 * p[i] / (p[i] + q[i])) / a->rows : 0; /* dJS / dp */
            if (d != NULL) slope[i] -= penalty * (double)d[at + i];
            mean += slope[i] * p[i];
        }
        for (int i = 0; i < length; i++) {
            const double g = p[i] * (slope[i] - mean);
            double *m = &a->first[kind][at + i], *v = &a->second[kind][at + i];
            *m = 0.9 * *m + 0.1 * g;
            *v = 0.999 * *v + 0.001 * g * g;
            a->scores[kind][at + i] += rate * (*m / first_scale) / (sqrt(*v / second_scale) + 1e-8);
        }
    }
    free(slope);
}

double explain_adversary(explain_pair *e, const explain_options *o, random_stream *stream, double *const to[2],
                         double *moved)
{
    ascent a = {.pair = e, .options = o};
    explain_answer(e, NULL, a.own);
    for (int kind = 0; kind < 2; kind++) {
        const size_t count = count_of(&a, kind);
        a.scores[kind] = allocate_zeros(4 * count, sizeof(double));
        a.weights[kind] = a.scores[kind] + count;
        a.first[kind] = a.weights[kind] + count, a.second[kind] = a.first[kind] + count;
        if (is_free(&a, kind)) a.rows += e->count[kind];
        memcpy(a.weights[kind], e->weights[kind], count * sizeof(double));
        memcpy(to[kind], e->weights[kind], count * sizeof(double));
        for (size_t i = 0; i < count; i++) a.scores[kind][i] = random_normal(stream);
    }
    pass scratch = {.value = e->pass->value}; /* whose arrays are forgotten after each step */
    pass *const kept = e->pass;
    const entail_walk walk = e->walk;
    e->pass = &scratch;
    double best = 0;
    *moved = 0;
    for (int step = 1; step <= o->steps; step++) {
        for (int kind = 0; kind < 2; kind++) {
            const int length = e->length[kind];
            for (int r = 0; is_free(&a, kind) && r < e->count[kind]; r++) {
                softmax(a.scores[kind] + (ptrdiff_t)r * length, length, a.weights[kind] + (ptrdiff_t)r * length);
            }
        }
        pass_restart(&scratch);
        double now[LABELS];
        explain_answer(e, a.weights, now);
        const double far = total_variation(a.own, now, LABELS), away = divergence(&a);
        if (far <= o->most && away > best) {
            best = away, *moved = far;
            for (int kind = 0; kind < 2; kind++) memcpy(to[kind], a.weights[kind], count_of(&a, kind) * sizeof(double));
        }
        real *d[2] = {NULL, NULL};
        for (int kind = 0; kind < 2 && far > o->most; kind++) d[kind] = paid(&a, kind, now);
        for (int kind = 0; kind < 2; kind++) {
            if (is_free(&a, kind)) climb(&a, kind, d[kind], 50, 0.1, step);
        }
    }
    e->pass = kept;
    e->walk = walk;
    pass_free(&scratch);
    free(a.scores[0]);
    free(a.scores[1]);
    return best;
}
