/* SPDX-License-Identifier: BSD-3-Clause
 *
 * call/sinks.c: what a sink adds to a softmax, and its gradient: from the log-sum-exp, which has the sink in it, and
 * from what flows in through context and log-sum-exp. */
#include "call/sinks.h"

#include "call/storage.h"
#include "runtime/parallel.h"
#include "runtime/size.h"

#include <math.h>

/* Element i along the last dimension of a tensor of any type. */
static double number(const attn_i_problem *p, const attn_i_view *view, const char *row, int64_t i)
{
    float x;
    const char *place = row + i * view->stride[3] * view->size;
    if (view->dtype == ATTN_F64) return *(const double *)(const void *)place;
    attn_i_engine_stored_kernels(p->engine, view->dtype)->load(1, place, 1, &x);
    return (double)x;
}

double attn_i_sink(const attn_i_problem *p, int64_t head)
{
    const attn_i_view *sinks = &p->modifiers->sinks;
    if (sinks->data == NULL) return -INFINITY;
    return number(p, sinks, sinks->data, head) / p->modifiers->temperature;
}

double attn_i_sink_exponent(const attn_i_problem *p, int64_t head)
{
    return attn_i_sink(p, head) * 1.44269504088896340736;
}

double attn_i_sum_with_sink(double sum, double exponent, double sink_exponent)
{
    return sink_exponent == -INFINITY ? sum : sum + exp2(sink_exponent - exponent);
}

double attn_i_log2_with_sink(double sum, double exponent, double sink_exponent)
{
    const double much = 1000; /* more than a double holds, and than any sum adds to */
    if (sum == 0 || sink_exponent - exponent > much) return sink_exponent;
    return exponent + log2(attn_i_sum_with_sink(sum, exponent, sink_exponent));
}

double attn_i_log_with_sink(double sum, double exponent, double sink_exponent)
{
    return attn_i_log2_with_sink(sum, exponent, sink_exponent) * 0.69314718055994530942;
}

/* ---------------------------------------------------------------------------------------------- gradient */

/* The sum of the context of a row times what flows into it. */
static double flow_of(const attn_i_gradient *g, int64_t b, int64_t h, int64_t i)
{
    enum { SOME = 64 };
    const attn_i_problem *p = &g->problem;
    const attn_i_storage storage = attn_i_storage_of(p->engine, p->given);
    const attn_i_view *views[2] = {&p->context, &g->d_context};
    double sum = 0, some[2][SOME]; /* of float32 or float64 */
    for (int64_t first = 0, n; first < p->value_dim; first += n) {
        n = attn_i_min(p->value_dim - first, SOME);
        for (int v = 0; v < 2; v++) {
            attn_i_elements_load(&storage, views[v]->size, n, attn_i_view_element(views[v], b, h, i, first),
                                 views[v]->stride[3], some[v]);
        }
        for (int64_t d = 0; d < n; d++) {
            if (p->dtype == ATTN_F64) sum += some[0][d] * some[1][d];
            if (p->dtype == ATTN_F32) sum += (double)((float *)some[0])[d] * (double)((float *)some[1])[d];
        }
    }
    return sum;
}

/* Of one head. */
static void add_up(void *data, int64_t h)
{
    const attn_i_gradient *g = data;
    const attn_i_problem *p = &g->problem;
    const attn_i_storage storage = attn_i_storage_of(p->engine, p->given);
    const double sink = attn_i_sink(p, h);
    double total = 0;
    for (int64_t b = 0; b < p->batch; b++) {
        for (int64_t i = 0; i < p->queries; i++) {
            const double weight = exp(sink - attn_i_logsumexp_get(&p->logsumexp, b, h, i));
            if (weight == 0) continue;
            double flow = g->d_logsumexp.data != NULL ? attn_i_logsumexp_get(&g->d_logsumexp, b, h, i) : 0;
            if (g->d_context.data != NULL) flow -= flow_of(g, b, h, i);
            total += weight * flow;
        }
    }
    total /= p->modifiers->temperature;
    const float rounded = (float)total;
    const void *from = p->dtype == ATTN_F64 ? (const void *)&total : &rounded;
    void *to = attn_i_view_element(&g->d_sinks, 0, 0, 0, h);
    if (g->adds_sums) attn_i_elements_add(&storage, g->d_sinks.size, 1, from, to, 1);
    if (!g->adds_sums) attn_i_elements_store(&storage, g->d_sinks.size, 1, from, to, 1);
}

void attn_i_sink_gradients(const attn_i_gradient *g)
{
    const attn_i_problem *p = &g->problem;
    if (g->d_sinks.data == NULL) return;
    attn_i_gradient all = *g;
    const int64_t rows = attn_i_multiply_most(attn_i_multiply_most(p->batch, p->query_heads), p->queries);
    attn_i_parallel(p->engine->pool, p->query_heads, attn_i_multiply_most(rows, p->value_dim) / 4, add_up, &all);
}
