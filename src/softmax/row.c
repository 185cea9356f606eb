/* SPDX-License-Identifier: BSD-3-Clause
 *
 * softmax/row.c: what happens to one query's scores after the score function, in the order of MODIFIERS in attn.h. */
#include "softmax/row.h"

#include "call/relative.h"
#include "call/sinks.h"
#include "call/stats.h"
#include "call/storage.h"
#include "runtime/size.h"

#include <math.h>
#include <string.h>

int attn_i_row_wants_all_keys(const attn_i_problem *p)
{
    return p->scores.data != NULL && p->scores_stage < ATTN_SCORES_MASKED;
}

/* Writes the row to an output of all keys, those outside the span being `outside`. */
static void write_row(const attn_i_problem *p, const attn_i_view *output, int64_t b, int64_t h, int64_t i,
                      attn_i_span span, const void *row, double outside)
{
    if (output->data == NULL) return;
    const int64_t step = output->stride[3];
    p->kernels->fill(span.first, outside, attn_i_view_element(output, b, h, i, 0), step);
    p->kernels->scatter(span.end - span.first, row, attn_i_view_element(output, b, h, i, span.first), step);
    p->kernels->fill(p->keys - span.end, outside, attn_i_view_element(output, b, h, i, span.end), step);
}

static void write_stage(const attn_i_problem *p, attn_scores_stage stage, int64_t b, int64_t h, int64_t i,
                        attn_i_span span, const void *row, double outside)
{
    if (p->scores_stage == stage) write_row(p, &p->scores, b, h, i, span, row, outside);
}

/* Makes minus infinity of the scores that may not be seen. */
static void hide(const attn_i_problem *p, int64_t b, int64_t h, int64_t i, attn_i_span span, char *row)
{
    const attn_i_span visible = attn_i_visible(p, b, i);
    const int64_t first = attn_i_clamp(visible.first, span.first, span.end);
    const int64_t end = attn_i_clamp(visible.end, span.first, span.end);
    p->kernels->fill(first - span.first, -INFINITY, row, 1);
    p->kernels->fill(span.end - end, -INFINITY, row + (end - span.first) * p->size, 1);
    if (p->mask.data != NULL) {
        const attn_i_mask_row mask = attn_i_mask_row_of(p, b, h, i, (attn_i_span){first, end});
        p->kernels->hide(mask.keys.end - mask.keys.first, mask.shows, mask.stride,
                         row + (mask.keys.first - span.first) * p->size);
    }
}

void attn_i_row_cap(const attn_i_problem *p, int64_t b, int64_t h, int64_t i, attn_i_span span, void *row)
{
    const attn_i_kernels *kernels = p->kernels;
    const attn_i_modifiers *m = p->modifiers;
    const int64_t n = span.end - span.first;
    if (p->scale != 1) kernels->scale(n, p->scale, row);
    write_stage(p, ATTN_SCORES_RAW, b, h, i, span, row, NAN);
    if (m->softcap != 0) kernels->softcap(n, m->softcap, row);
    write_stage(p, ATTN_SCORES_CAPPED, b, h, i, span, row, NAN);
}

/* The caller's biases, of whichever type. */
static void add_bias(const attn_i_problem *p, int64_t b, int64_t h, int64_t i, attn_i_span span, void *row)
{
    enum { SOME = 256 };
    const attn_i_view *bias = &p->bias;
    if (bias->dtype == p->dtype) {
        p->kernels->add_bias(span.end - span.first, attn_i_view_element(bias, b, h, i, span.first), bias->stride[3],
                             row);
        return;
    }
    float some[SOME];
    for (int64_t first = span.first, n; first < span.end; first += n) {
        n = attn_i_min(span.end - first, SOME);
        attn_i_elements_widen(p->engine, bias, attn_i_view_element(bias, b, h, i, first), n, some);
        p->kernels->add_bias(n, some, 1, (float *)row + (first - span.first));
    }
}

void attn_i_row_bias(const attn_i_problem *p, int64_t b, int64_t h, int64_t i, attn_i_span span, void *row)
{
    const attn_i_kernels *kernels = p->kernels;
    const attn_i_modifiers *m = p->modifiers;
    const int64_t n = span.end - span.first;
    if (p->bias.data != NULL) add_bias(p, b, h, i, span, row);
    if (p->relative.rows != NULL) {
        kernels->add_bias(n, attn_i_relative_row(p, b, h, i, span.first), 1, row);
    }
    if (m->alibi != ATTN_ALIGN_NONE) {
        kernels->add_alibi(n, attn_i_view_element(&m->slopes, 0, 0, 0, h),
                           span.first - attn_i_position(p, m->alibi, b, i), row);
    }
    hide(p, b, h, i, span, row);
    write_stage(p, ATTN_SCORES_MASKED, b, h, i, span, row, -INFINITY);
}

void attn_i_row_modify(const attn_i_problem *p, int64_t b, int64_t h, int64_t i, attn_i_span span, void *row)
{
    attn_i_row_cap(p, b, h, i, span, row);
    attn_i_row_bias(p, b, h, i, span, row);
}

static double number(const attn_i_problem *p, const char *row, int64_t j)
{
    const void *at = row + j * p->size;
    return p->dtype == ATTN_F64 ? *(const double *)at : (double)*(const float *)at;
}

/* What is to be told of a row of weights that no exponentials alone have made: see attn_weights_stats. */
static void measure_weights(const attn_i_problem *p, int64_t n, const char *row, double *entropy, int64_t *strongest)
{
    double sum = 0, most = -1;
    *strongest = -1;
    *entropy = 0;
    for (int64_t j = 0; j < n; j++) {
        const double weight = number(p, row, j);
        sum += weight;
        if (!(weight > most) || p->kernels->is_unseen(row + j * p->size)) continue;
        most = weight;
        *strongest = j;
    }
    if (isnan(sum)) {
        *entropy = sum;
        *strongest = -1;
        return;
    }
    for (int64_t j = 0; j < n; j++) {
        const double weight = number(p, row, j);
        if (weight > 0) *entropy += weight / sum * (log(sum) - log(weight));
    }
}

attn_i_seen attn_i_row_softmax(const attn_i_problem *p, int64_t h, int64_t n, void *row, double *logsumexp)
{
    const double log2_of_e = 1.44269504088896340736, sink = attn_i_sink(p, h);
    const attn_i_seen seen = p->kernels->softmax(n, p->modifiers->temperature, row, logsumexp);
    if (sink == -INFINITY) return seen;
    const double keys = *logsumexp, sum = keys == -INFINITY ? 0 : 1;
    *logsumexp = attn_i_log2_with_sink(sum, keys * log2_of_e, sink * log2_of_e) / log2_of_e;
    if (sum != 0) p->kernels->scale(n, exp(keys - *logsumexp), row);
    return seen;
}

attn_i_seen attn_i_row_finish(const attn_i_problem *p, int64_t b, int64_t h, int64_t i, attn_i_span span,
                              const void *factor, void *kept, void *row)
{
    const attn_i_kernels *kernels = p->kernels;
    const attn_i_modifiers *m = p->modifiers;
    const int64_t n = span.end - span.first;
    attn_i_row_modify(p, b, h, i, span, row);

    const int measures = attn_i_stats_of_rows(p), of_scores = m->normaliser == ATTN_SOFTMAX && factor == NULL;
    double logsumexp, entropy = 0;
    int64_t strongest = -1;
    if (measures && of_scores) kernels->measure(n, m->temperature, row, &entropy, &strongest);
    attn_i_seen seen = m->normaliser == ATTN_SOFTMAX ? attn_i_row_softmax(p, h, n, row, &logsumexp)
                                                     : kernels->hardmax(n, m->temperature, row, &logsumexp);
    if (factor != NULL) kernels->multiply(n, factor, row);
    if (measures) {
        if (!of_scores) measure_weights(p, n, row, &entropy, &strongest);
        attn_i_stats_write_row(p, b, h, i, entropy, strongest < 0 ? -1 : span.first + strongest);
    }
    if (kept != NULL) memcpy(kept, row, (size_t)(n * p->size));
    if (p->dropout.keep != 0) {
        kernels->drop(n, &p->dropout.draw, attn_i_problem_row(p, b, h, i), span.first, p->dropout.keep, -0.0, row);
        if (seen == ATTN_I_SEEN_ALL) seen = ATTN_I_SEEN_SOME;
    }
    if (p->logsumexp.data != NULL) attn_i_logsumexp_set(&p->logsumexp, b, h, i, logsumexp);
    write_row(p, &p->weights, b, h, i, span, row, 0);
    write_stage(p, ATTN_SCORES_WEIGHTS, b, h, i, span, row, 0);
    return seen;
}
