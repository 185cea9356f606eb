/* SPDX-License-Identifier: BSD-3-Clause
 *
 * explain.c: answers with other weights, importance of words, permutations; see explain.h. */
#include "explain/explain.h"

#include "explain/adversary.h"
#include "measure/correlation.h"
#include "model/elementwise.h"
#include "refuse.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *const rows_names[ROWS_KINDS] = {"hypothesis", "premise", "both"};

static size_t numbers_in(const explain_pair *e, int kind)
{
    return (size_t)e->count[kind] * (size_t)e->length[kind];
}

void explain_begin(explain_pair *e, const entail *m, pass *p, const entail_batch *b)
{
    *e = (explain_pair){.model = m, .pass = p, .batch = b};
    e->count[0] = e->length[1] = b->hypothesis.lengths[0];
    e->count[1] = e->length[0] = b->premise.lengths[0];
    pass_restart(p);
    entail_encode(m, p, b, &e->walk);
    entail_attend(m, p, b, &e->walk);
    real *weights[] = {pass_reals(p, numbers_in(e, 0)), pass_reals(p, numbers_in(e, 1))};
    entail_weights(m, b, &e->walk, weights[0], weights[1], NULL, NULL);
    for (int kind = 0; kind < 2; kind++) {
        e->weights[kind] = allocate(numbers_in(e, kind), sizeof(double));
        for (size_t i = 0; i < numbers_in(e, kind); i++) e->weights[kind][i] = (double)weights[kind][i];
    }
}

void explain_end(explain_pair *e)
{
    free(e->weights[0]);
    free(e->weights[1]);
}

static entail_side *attending(explain_pair *e, int kind)
{
    return kind == 0 ? &e->walk.hypothesis : &e->walk.premise;
}

static entail_side *looked_at(explain_pair *e, int kind)
{
    return kind == 0 ? &e->walk.premise : &e->walk.hypothesis;
}

/* What is aligned, by given weights, and the logits from there. */
static void answer(explain_pair *e, double *const weights[2], double to[LABELS])
{
    const int size = entail_size(e->model);
    for (int kind = 0; kind < 2 && weights != NULL; kind++) {
        real *w = pass_reals(e->pass, numbers_in(e, kind));
        for (size_t i = 0; i < numbers_in(e, kind); i++) w[i] = (real)weights[kind][i];
        attending(e, kind)->aligned = pass_reals(e->pass, (size_t)e->count[kind] * (size_t)size);
        dense_product(false, false, e->count[kind], size, e->length[kind], w, e->length[kind],
                      looked_at(e, kind)->states, size, 0, attending(e, kind)->aligned, size);
    }
    entail_conclude(e->model, e->pass, e->batch, &e->walk);
    real logits[LABELS];
    memcpy(logits, e->walk.logits, sizeof logits);
    log_softmax(1, LABELS, logits);
    for (int k = 0; k < LABELS; k++) to[k] = exp((double)logits[k]);
}

void explain_answer(explain_pair *e, double *const weights[2], double to[LABELS])
{
    double *const own[] = {e->weights[0], e->weights[1]};
    answer(e, weights != NULL ? weights : own, to);
}

/* ---- Importance ---- */

static int likeliest(const double *p)
{
    return p[1] > p[0] ? (p[2] > p[1] ? 2 : 1) : (p[2] > p[0] ? 2 : 0);
}

void answer_gradient(const double p[LABELS], const double c[LABELS], real to[LABELS])
{
    double mean = 0;
    for (int k = 0; k < LABELS; k++) mean += c[k] * p[k];
    for (int k = 0; k < LABELS; k++) to[k] = (real)(p[k] * (c[k] - mean));
}

void explain_gradient(explain_pair *e, int rows_kind, double *importance)
{
    const int size = entail_size(e->model), embed = e->model->options.embed;
    double p[LABELS], c[LABELS] = {0};
    explain_answer(e, NULL, p);
    c[likeliest(p)] = 1;
    real d_logits[LABELS];
    answer_gradient(p, c, d_logits);
    entail_conclude_backward(e->model, e->pass, e->batch, &e->walk, d_logits);
    entail_side *to = looked_at(e, rows_kind);
    real *w = pass_reals(e->pass, numbers_in(e, rows_kind));
    for (size_t i = 0; i < numbers_in(e, rows_kind); i++) w[i] = (real)e->weights[rows_kind][i];
    dense_product(true, false, e->length[rows_kind], size, e->count[rows_kind], w, e->length[rows_kind],
                  attending(e, rows_kind)->d_aligned, size, 1, to->d_states, size);
    const real *d = entail_encode_backward(e->model, e->pass, 1, to);
    for (int i = 0; i < e->length[rows_kind]; i++) {
        double sum = 0;
        for (int k = 0; k < embed; k++) sum += (double)d[i * embed + k] * (double)to->embedded[i * embed + k];
        importance[i] = fabs(sum);
    }
}

void explain_left_out(explain_pair *e, int rows_kind, double *importance)
{
    double whole[LABELS];
    explain_answer(e, NULL, whole);
    pass p = {.value = e->model->parameters.value};
    const int length = e->length[rows_kind];
    const text_batch *text = rows_kind == 0 ? &e->batch->premise : &e->batch->hypothesis;
    int *words = allocate((size_t)length, sizeof *words);
    const int left = length - 1;
    for (int out = 0; out < length; out++) {
        for (int i = 0, k = 0; i < length; i++) {
            if (i != out) words[k++] = text->words[i];
        }
        importance[out] = 0;
        if (left == 0) continue;
        entail_batch b = *e->batch;
        *(rows_kind == 0 ? &b.premise : &b.hypothesis) = (text_batch){left, words, &left};
        entail_walk w;
        double now[LABELS];
        pass_restart(&p);
        entail_forward(e->model, &p, &b, &w);
        log_softmax(1, LABELS, w.logits);
        for (int k = 0; k < LABELS; k++) now[k] = exp((double)w.logits[k]);
        importance[out] = total_variation(whole, now, LABELS);
    }
    free(words);
    pass_free(&p);
}

/* ---- All of it ---- */

void explain_permute(const explain_pair *e, int kind, random_stream *stream, double *const to[2])
{
    for (int k = 0; k < 2; k++) {
        memcpy(to[k], e->weights[k], numbers_in(e, k) * sizeof(double));
        for (int r = 0; r < e->count[k] && (kind == k || kind == ROWS_BOTH); r++) {
            double *row = to[k] + (ptrdiff_t)r * e->length[k];
            for (int i = e->length[k]; i > 1; i--) {
                const int other = (int)random_below(stream, (uint64_t)i);
                const double weight = row[i - 1];
                row[i - 1] = row[other];
                row[other] = weight;
            }
        }
    }
}

static double greatest_of(const explain_pair *e, int kind)
{
    double sum = 0;
    int count = 0;
    for (int k = 0; k < 2; k++) {
        for (int r = 0; r < e->count[k] && (kind == k || kind == ROWS_BOTH); r++, count++) {
            double greatest = 0;
            for (int i = 0; i < e->length[k]; i++) greatest = fmax(greatest, e->weights[k][r * e->length[k] + i]);
            sum += greatest;
        }
    }
    return sum / count;
}

/* The mean of the rows: how much each word is looked at. */
static void mean_row(const explain_pair *e, int kind, double *to)
{
    for (int i = 0; i < e->length[kind]; i++) {
        to[i] = 0;
        for (int r = 0; r < e->count[kind]; r++) to[i] += e->weights[kind][r * e->length[kind] + i] / e->count[kind];
    }
}

explained explain_all(const entail *m, pass *p, const entail_batch *b, const explain_options *o, random_stream *stream)
{
    explain_pair e;
    explain_begin(&e, m, p, b);
    explained all = {.greatest = greatest_of(&e, o->rows)};
    explain_answer(&e, NULL, all.probability);
    const int kind = o->rows == ROWS_PREMISE;
    const size_t length = (size_t)e.length[kind];
    double *looked = allocate(3 * length, sizeof *looked), *gradient = looked + length, *left_out = gradient + length;
    mean_row(&e, kind, looked);
    explain_gradient(&e, kind, gradient);
    explain_left_out(&e, kind, left_out);
    all.gradient_tau = kendall_tau(looked, gradient, length);
    all.left_out_tau = kendall_tau(looked, left_out, length);
    free(looked);

    double *to[2], *moves = allocate((size_t)o->permutations, sizeof *moves);
    for (int k = 0; k < 2; k++) to[k] = allocate(numbers_in(&e, k), sizeof(double));
    for (int i = 0; i < o->permutations; i++) {
        double now[LABELS];
        explain_permute(&e, o->rows, stream, to);
        explain_answer(&e, to, now);
        moves[i] = total_variation(all.probability, now, LABELS);
    }
    all.permuted = median(moves, (size_t)o->permutations);
    all.divergence = explain_adversary(&e, o, stream, to, &all.moved);
    free(moves);
    free(to[0]);
    free(to[1]);
    explain_end(&e);
    return all;
}
