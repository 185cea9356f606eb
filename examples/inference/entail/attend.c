/* SPDX-License-Identifier: BSD-3-Clause
 *
 * attend.c: attend, compare, aggregate; see entail.h. */
#include "entail/parts.h"
#include "model/elementwise.h"
#include "refuse.h"

#include <string.h>

/* ---- Attend ---- */

typedef struct attend_views {
    attn_tensor f, g, a, b, a_lengths, b_lengths, beta, alpha, a_logsumexp, b_logsumexp;
    attn_decomposable_args args;
} attend_views;

/* The arguments point into *v. */
static void attend_args(const entail *m, int rows, const entail_walk *w, attend_views *v)
{
    const entail_side *a = &w->premise, *b = &w->hypothesis;
    const int size = entail_size(m), hidden = m->options.hidden;
    v->f = view_of_heads(a->projected, rows, 1, a->text.length, hidden);
    v->g = view_of_heads(b->projected, rows, 1, b->text.length, hidden);
    v->a = view_of_heads(a->states, rows, 1, a->text.length, size);
    v->b = view_of_heads(b->states, rows, 1, b->text.length, size);
    v->a_lengths = view_of_lengths(a->text.lengths, rows);
    v->b_lengths = view_of_lengths(b->text.lengths, rows);
    v->beta = view_of_heads(a->aligned, rows, 1, a->text.length, size);
    v->alpha = view_of_heads(b->aligned, rows, 1, b->text.length, size);
    v->a_logsumexp = view_of_rows(a->row_logsumexp, rows, 1, a->text.length);
    v->b_logsumexp = view_of_rows(b->row_logsumexp, rows, 1, b->text.length);
    v->args = (attn_decomposable_args)ATTN_DECOMPOSABLE_ARGS_INIT;
    v->args.f = &v->f, v->args.g = &v->g, v->args.a = &v->a, v->args.b = &v->b;
    v->args.a_lengths = &v->a_lengths, v->args.b_lengths = &v->b_lengths;
    v->args.beta = &v->beta, v->args.alpha = &v->alpha;
    v->args.a_logsumexp = &v->a_logsumexp, v->args.b_logsumexp = &v->b_logsumexp;
}

static size_t words_of(int rows, const entail_side *side)
{
    return (size_t)rows * (size_t)side->text.length;
}

void entail_attend(const entail *m, pass *p, const entail_batch *b, entail_walk *w)
{
    entail_side *sides[] = {&w->premise, &w->hypothesis};
    for (int i = 0; i < 2; i++) {
        entail_side *s = sides[i];
        const size_t words = words_of(b->rows, s);
        s->aligned = pass_zeros(p, words * (size_t)entail_size(m));
        s->row_logsumexp = pass_reals(p, words);
        unsigned char *kept; /* no dropout where scores are made: both sentences would have to lose the same */
        const double dropout = p->dropout;
        if (m->options.look == LOOK_ATTEND) {
            p->dropout = 0;
            feed_forward_forward(&m->attend, p, (int)words, s->states, NULL, &s->inner, &kept, &s->projected);
            p->dropout = dropout;
        } else {
            s->projected = pass_zeros(p, words * (size_t)m->options.hidden); /* all alike: the mean */
        }
    }
    if (m->options.look == LOOK_HYPOTHESIS) return;
    attend_views v;
    attend_args(m, b->rows, w, &v);
    attn_must(attn_decomposable_forward(m->engine, &v.args));
}

void attend_backward(const entail *m, pass *p, const entail_batch *b, entail_walk *w)
{
    if (m->options.look == LOOK_HYPOTHESIS) return;
    attend_views v;
    attend_args(m, b->rows, w, &v);
    attn_tensor d_beta = v.beta, d_alpha = v.alpha, d_f = v.f, d_g = v.g, d_a = v.a, d_b = v.b;
    entail_side *sides[] = {&w->premise, &w->hypothesis};
    attn_tensor *d_aligned[] = {&d_beta, &d_alpha}, *d_projected[] = {&d_f, &d_g}, *d_states[] = {&d_a, &d_b};
    for (int i = 0; i < 2; i++) {
        entail_side *s = sides[i];
        s->d_projected = pass_zeros(p, words_of(b->rows, s) * (size_t)m->options.hidden);
        d_aligned[i]->data = s->d_aligned, d_projected[i]->data = s->d_projected, d_states[i]->data = s->d_states;
    }
    v.args.accumulate = 1; /* states have their gradients from the comparison already */
    v.args.d_beta = &d_beta, v.args.d_alpha = &d_alpha;
    v.args.d_f = &d_f, v.args.d_g = &d_g, v.args.d_a = &d_a, v.args.d_b = &d_b;
    attn_must(attn_decomposable_backward(m->engine, &v.args));
    if (m->options.look != LOOK_ATTEND) return;
    for (int i = 0; i < 2; i++) {
        entail_side *s = sides[i];
        feed_forward_backward(&m->attend, p, (int)words_of(b->rows, s), s->states, NULL, s->inner, NULL, s->projected,
                              s->d_projected, s->d_states, NULL);
    }
}

static void weights_of(const entail *m, int rows, const entail_side *from, const entail_side *to, real *weights,
                       real *scores)
{
    const int hidden = m->options.hidden;
    const attn_tensor query = view_of_heads(from->projected, rows, 1, from->text.length, hidden);
    const attn_tensor key = view_of_heads(to->projected, rows, 1, to->text.length, hidden);
    const attn_tensor lengths = view_of_lengths(to->text.lengths, rows);
    attn_tensor out[2];
    for (int i = 0; i < 2; i++) {
        attn_must(attn_tensor_init(&out[i], i == 0 ? weights : scores, REAL_DTYPE, 4,
                                   (const int64_t[]){rows, 1, from->text.length, to->text.length}));
    }
    attn_mechanism *dot;
    attn_must(attn_mechanism_create_dot(m->engine, &dot));
    attn_forward_args args = ATTN_FORWARD_ARGS_INIT;
    args.query = &query, args.key = &key, args.key_lengths = &lengths;
    args.weights = &out[0];
    if (scores != NULL) args.scores = &out[1];
    attn_must(attn_forward(dot, &args));
    attn_mechanism_destroy(dot);
}

void entail_weights(const entail *m, const entail_batch *b, const entail_walk *w, real *of_hypothesis, real *of_premise,
                    real *scores_of_hypothesis, real *scores_of_premise)
{
    weights_of(m, b->rows, &w->hypothesis, &w->premise, of_hypothesis, scores_of_hypothesis);
    weights_of(m, b->rows, &w->premise, &w->hypothesis, of_premise, scores_of_premise);
}

/* ---- Compare and aggregate ---- */

static bool is_compared(const entail *m, int side)
{
    return side == 1 || m->options.look != LOOK_HYPOTHESIS;
}

/* v1 and v2 lie beside each other. */
static void sum_words(const entail *m, int rows, const entail_side *s, int side, real *sums)
{
    const int hidden = m->options.hidden;
    for (int r = 0; r < rows; r++) {
        real *to = sums + (ptrdiff_t)(2 * r + side) * hidden;
        for (int t = 0; t < s->text.lengths[r]; t++) {
            add_to((size_t)hidden, s->compared[1] + ((ptrdiff_t)r * s->text.length + t) * hidden, to);
        }
    }
}

void entail_conclude(const entail *m, pass *p, const entail_batch *b, entail_walk *w)
{
    const int hidden = m->options.hidden;
    w->sums = pass_zeros(p, 2 * (size_t)b->rows * (size_t)hidden);
    entail_side *sides[] = {&w->premise, &w->hypothesis};
    for (int i = 0; i < 2; i++) {
        if (!is_compared(m, i)) continue;
        entail_side *s = sides[i];
        feed_forward_forward(&m->compare, p, (int)words_of(b->rows, s), s->states, s->aligned, &s->compared[0],
                             &s->compared_kept, &s->compared[1]);
        sum_words(m, b->rows, s, i, w->sums);
    }
    feed_forward_forward(&m->aggregate, p, b->rows, w->sums, NULL, &w->layers[0], &w->layer_kept, &w->layers[1]);
    w->logits = pass_reals(p, (size_t)b->rows * LABELS);
    dense_forward(p, &m->output, b->rows, w->layers[1], hidden, false, w->logits, LABELS);
}

void entail_conclude_backward(const entail *m, pass *p, const entail_batch *b, entail_walk *w, const real *d_logits)
{
    const int hidden = m->options.hidden, size = entail_size(m);
    real *d_layer = pass_reals(p, (size_t)b->rows * (size_t)hidden);
    real *d_sums = pass_zeros(p, 2 * (size_t)b->rows * (size_t)hidden);
    if (p->gradient != NULL) dense_backward_weight(p, &m->output, b->rows, d_logits, LABELS, w->layers[1], hidden);
    dense_backward_input(p, &m->output, b->rows, d_logits, LABELS, false, d_layer, hidden);
    feed_forward_backward(&m->aggregate, p, b->rows, w->sums, NULL, w->layers[0], w->layer_kept, w->layers[1], d_layer,
                          d_sums, NULL);
    entail_side *sides[] = {&w->premise, &w->hypothesis};
    for (int i = 0; i < 2; i++) {
        entail_side *s = sides[i];
        const size_t words = words_of(b->rows, s);
        s->d_states = pass_zeros(p, words * (size_t)size);
        s->d_aligned = pass_zeros(p, words * (size_t)size);
        if (!is_compared(m, i)) continue;
        real *d_compared = pass_zeros(p, words * (size_t)hidden);
        for (int r = 0; r < b->rows; r++) {
            for (int t = 0; t < s->text.lengths[r]; t++) {
                memcpy(d_compared + ((ptrdiff_t)r * s->text.length + t) * hidden,
                       d_sums + (ptrdiff_t)(2 * r + i) * hidden, (size_t)hidden * sizeof(real));
            }
        }
        feed_forward_backward(&m->compare, p, (int)words, s->states, s->aligned, s->compared[0], s->compared_kept,
                              s->compared[1], d_compared, s->d_states, s->d_aligned);
    }
}
