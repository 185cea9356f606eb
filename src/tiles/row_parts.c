/* SPDX-License-Identifier: BSD-3-Clause
 *
 * tiles/row_parts.c: the parts of a key head's few queries, joined in the order of their keys, and the outputs that
 * follow from them. */
#include "tiles/row_parts.h"

#include "call/sinks.h"
#include "runtime/size.h"
#include "tiles/lanes.h"

#include <math.h>

/* What few calls want stays out of the way of the others. */
#define APART __attribute__((noinline))

static int64_t context_dim(const attn_i_problem *p)
{
    return p->context.data != NULL ? p->value_dim : 0;
}

/* Brings row i of several parts to the first. Returns how far above the exponent its context is kept. */
static float join_parts(attn_i_row_part *parts, int64_t count, int64_t i, int64_t dim, double *exponent, float *sum,
                        float *divisor)
{
    float *context = parts[0].context + i * dim;
    for (int64_t k = 0; k < count; k++) {
        if (parts[k].sum[i] != 0 && !(parts[k].exponent[i] <= *exponent)) *exponent = parts[k].exponent[i];
    }
    *sum = *divisor = 0;
    for (int64_t k = 0; k < count; k++) {
        const float factor = parts[k].sum[i] == 0 ? 0 : exp2f((float)(parts[k].exponent[i] - *exponent));
        *sum += parts[k].sum[i] * factor;
        *divisor += parts[k].divisor[i] * factor;
    }
    /* Contexts are added relative to their sum, so that they are no greater than the values. */
    const float room = attn_i_room_for_sum(*sum);
    for (int64_t k = 0; k < count; k++) {
        const float *from = parts[k].context + i * dim;
        const float factor = parts[k].sum[i] == 0 ? 0 : exp2f((float)(parts[k].exponent[i] - *exponent) - room);
        for (int64_t d = 0; d < dim; d++) context[d] = (k == 0 ? 0 : context[d]) + from[d] * factor;
    }
    return room;
}

/* The kept scores of a row become its weights. */
static void kept_to_weights(const attn_i_tile_plan *plan, const attn_i_row_part *parts, int64_t count,
                            attn_i_row_norm norm, float *row)
{
    const attn_i_problem *p = plan->p;
    double great = 0;
    for (int64_t k = 0; k < count; k++) great = parts[k].great != 0 ? parts[k].great : great;
    if (great == 0) {
        p->kernels->scale(p->keys, plan->unit, row);
        plan->kernels->row_weights(p->keys, norm.base, norm.inverse, row);
    }
    for (int64_t j = 0; j < p->keys && great != 0; j++) {
        row[j] = row[j] == -INFINITY ? 0 : (float)(exp2((double)row[j] * great - norm.base) * norm.inverse);
    }
}

/* What the rows, of which each has `count` parts, say of their weights. */
static APART void finish_stats(const attn_i_tile_plan *plan, const attn_i_tile_work *w, const attn_i_row_part *parts,
                               int64_t count)
{
    const attn_i_problem *p = plan->p;
    const attn_i_view *to = &p->stats.key_sums;
    for (int64_t i = 0; i < w->rows; i++) {
        const int64_t member = (w->first_row + i) % p->group, head = w->key_head * p->group + member;
        const attn_i_row_stats all = attn_i_row_stats_join(parts[0].stats + i, w->rows, count);
        attn_i_row_stats_write(p, w->b, head, (w->first_row + i) / p->group, &all);
        if (parts[0].kept == NULL) continue;
        float *row = parts[0].kept + i * p->keys;
        kept_to_weights(plan, parts, count, attn_i_row_stats_norm(&all, attn_i_sink_exponent(p, head)), row);
        if (i >= p->group) p->kernels->add_to(p->keys, row, parts[0].kept + member * p->keys, 1);
    }
    for (int64_t i = 0; i < p->group && parts[0].kept != NULL; i++) {
        const int64_t head = w->key_head * p->group + i;
        p->kernels->scatter(p->keys, parts[0].kept + i * p->keys,
                            attn_i_view_at(to, 0, w->b) + head * to->stride[2] * p->size, to->stride[3]);
    }
}

/* What a context is to be multiplied by, which is `whole` times what it should be relative to its exponent. */
static float inverse_of(float sum, float divisor, float whole, double exponent, double sink)
{
    if (sum == 0) return 0;
    return whole / (float)attn_i_sum_with_sink((double)divisor, exponent, sink);
}

void attn_i_row_finish_parts(const attn_i_tile_plan *plan, const attn_i_tile_work *w, attn_i_row_part *parts,
                             int64_t count)
{
    const attn_i_problem *p = plan->p;
    const int64_t dim = context_dim(p);
    if (plan->measures) finish_stats(plan, w, parts, count);
    for (int64_t i = 0; i < w->rows; i++) {
        const int64_t row = w->first_row + i, query = attn_i_quotient(row, p->group);
        const int64_t head = w->key_head * p->group + row - query * p->group;
        float *context = parts[0].context + i * dim, sum = parts[0].sum[i], divisor = parts[0].divisor[i], whole = 1;
        double exponent = sum != 0 ? parts[0].exponent[i] : -INFINITY;
        if (count > 1) whole = exp2f(join_parts(parts, count, i, dim, &exponent, &sum, &divisor));
        const double sink = p->modifiers->sinks.data != NULL ? attn_i_sink_exponent(p, head) : -INFINITY;
        const float inverse = inverse_of(sum, divisor, whole, exponent, sink);
        for (int64_t d = 0; d < dim; d++) context[d] *= inverse;
        if (p->context.data != NULL) {
            attn_i_engine_stored_kernels(p->engine, p->context.dtype)
                ->store(dim, context, attn_i_view_element(&p->context, w->b, head, query, 0), p->context.stride[3]);
        }
        if (p->logsumexp.data == NULL) continue;
        attn_i_logsumexp_set(&p->logsumexp, w->b, head, query, attn_i_log_with_sink((double)sum, exponent, sink));
    }
}
