/* SPDX-License-Identifier: BSD-3-Clause
 *
 * tiles/output.c: from lanes to the caller's tensors. */
#include "tiles/output.h"

#include "call/sinks.h"
#include "runtime/size.h"
#include "tiles/lanes.h"

#include <math.h>
#include <string.h>

/* Where column `first` of the row of a lane lies in a tensor of rank 4. */
static void *row_of(const attn_i_problem *p, const attn_i_tile_work *w, const attn_i_view *view, int64_t lane,
                    int64_t first)
{
    const int64_t row = w->first_row + lane, query = p->group == 1 ? row : row / p->group;
    const int64_t head = w->key_head * p->group + row - query * p->group;
    return attn_i_view_element(view, w->b, head, query, first);
}

void attn_i_tile_write_lanes(const attn_i_tile_plan *plan, const attn_i_tile_scratch *s, const attn_i_tile_work *w,
                             const attn_i_view *output, int64_t first, int64_t n, const float *tile,
                             const float *factor, int accumulate)
{
    void *rows[ATTN_I_LANES];
    for (int64_t l = 0; l < w->rows; l++) rows[l] = row_of(plan->p, w, output, l, first);
    const attn_i_lane_rows to = {rows, output->stride[3], attn_i_engine_stored_kernels(plan->p->engine, output->dtype),
                                 accumulate};
    attn_i_lanes_write(plan->kernels, plan->p->kernels, w->rows, n, tile, factor, &to, s->rows);
}

void attn_i_tile_write(const attn_i_tile_plan *plan, const attn_i_tile_scratch *s, const attn_i_tile_work *w,
                       attn_i_span keys, attn_scores_stage stage)
{
    const attn_i_problem *p = plan->p;
    float one[ATTN_I_LANES];
    if (!plan->writes_scores) return;
    for (int l = 0; l < ATTN_I_LANES; l++) one[l] = 1;
    if (p->scores.data != NULL && p->scores_stage == stage) {
        attn_i_tile_write_lanes(plan, s, w, &p->scores, keys.first, keys.end - keys.first, s->tile, one, 0);
    }
    if (p->weights.data != NULL && stage == ATTN_SCORES_WEIGHTS) {
        attn_i_tile_write_lanes(plan, s, w, &p->weights, keys.first, keys.end - keys.first, s->tile, one, 0);
    }
}

/* Exponents, or great scores, of a lane become weights, in place. */
static void normalise_row(const attn_i_tile_plan *plan, const attn_i_tile_scratch *s, const attn_i_view *output,
                          float *row, uint64_t number, int64_t lane, float factor)
{
    const attn_i_lanes *lanes = s->lanes;
    const float own = lanes->sum[lane] == 0 ? 0 : lanes->reference[lane];
    const float reference = lanes->great == 0 ? own : lanes->room[lane];
    const attn_i_dropout *dropout = &plan->p->dropout;
    const int64_t step = output->stride[3];
    for (int64_t at = 0; at < plan->p->keys; at += ATTN_I_TILE_KEYS) {
        const int64_t n = attn_i_min(plan->p->keys - at, ATTN_I_TILE_KEYS);
        float *part = step == 1 ? row + at : s->rows;
        if (step != 1) plan->p->kernels->gather(n, row + at * step, step, part);
        for (int64_t j = 0; j < n && lanes->great != 0; j++) part[j] = attn_i_take_off(lanes->great, part[j], own);
        plan->kernels->row_weights(n, reference, factor, part);
        if (dropout->keep != 0) plan->p->kernels->drop(n, &dropout->draw, number, at, 1, 0, part);
        if (step != 1) plan->p->kernels->scatter(n, part, row + at * step, step);
    }
}

void attn_i_tile_find_hidden(const attn_i_tile_plan *plan, const attn_i_tile_scratch *s, const attn_i_tile_work *w,
                             int64_t key, unsigned char hidden[ATTN_I_LANES])
{
    const attn_i_stored_rows row = attn_i_kept_for(plan->arithmetic, &w->key_rows, key, 1, plan->depth, s->near_keys);
    const attn_i_spans spans = {0, (int)attn_i_divide_up(w->rows, ATTN_I_SPAN_LANES)};
    float scores[ATTN_I_LANES] = {0};
    if (plan->plain && plan->cap == 0) {
        plan->arithmetic->products(plan->depth, s->queries, row, 0, 1, spans, scores);
    }
    for (int l = 0; l < ATTN_I_LANES; l++) hidden[l] = scores[l] == -INFINITY;
}

/* Values that are not finite were left out of the products; whoever sees them gets them here. */
static void add_not_finite(const attn_i_tile_plan *plan, const attn_i_tile_scratch *s, const attn_i_tile_work *w,
                           int64_t j, const float *value, int64_t columns, float *to)
{
    unsigned char hidden[ATTN_I_LANES];
    attn_i_tile_find_hidden(plan, s, w, s->lanes->late_first + j, hidden);
    for (int64_t l = 0; l < w->rows; l++) {
        const float *weight = s->rows + l * ATTN_I_TILE_KEYS + j;
        if (*weight == 0 || hidden[l]) continue;
        plan->p->kernels->add_not_finite(columns, weight, value, 1, to + l * plan->p->context.stride[2]);
    }
}

/* The context of keys whose weights are still in the tile, straight to the caller's rows: a panel of values at a time
 * plays the lanes. */
static void write_late_context(const attn_i_tile_plan *plan, const attn_i_tile_scratch *s, const attn_i_tile_work *w,
                               const float *factor)
{
    const attn_i_problem *p = plan->p;
    const int64_t first = s->lanes->late_first, n = s->lanes->late_end - first, stride = p->context.stride[2];
    unsigned char finite[ATTN_I_TILE_KEYS];
    float *panel = s->context, *last = s->context + ATTN_I_TILE_KEYS * ATTN_I_LANES, *rows[ATTN_I_LANES];
    for (int64_t l = 0; l < w->rows; l++) rows[l] = s->rows + l * ATTN_I_TILE_KEYS;
    plan->kernels->from_lanes(w->rows, n, s->tile, factor, rows);
    const attn_i_rows values = attn_i_kept_near(&w->value_rows, first, n, p->value_dim, s->near_values);
    for (int64_t d = 0; d < p->value_dim; d += ATTN_I_LANES) {
        const int64_t columns = attn_i_min(p->value_dim - d, ATTN_I_LANES);
        const attn_i_spans spans = {0, (int)attn_i_divide_up(columns, ATTN_I_SPAN_LANES)};
        const int whole = columns % ATTN_I_SPAN_LANES == 0;
        float *to = row_of(p, w, &p->context, 0, d);
        for (int64_t j = 0; j < n; j++) {
            finite[j] = (unsigned char)p->kernels->gather_finite(columns, values.data + j * values.stride + d, 1,
                                                                 panel + j * ATTN_I_LANES, 1);
            if (!whole) memset(panel + j * ATTN_I_LANES + columns, 0, (size_t)(ATTN_I_LANES - columns) * sizeof *panel);
        }
        plan->kernels->products(n, panel, (attn_i_rows){s->rows, ATTN_I_TILE_KEYS}, w->rows, spans, whole ? to : last,
                                whole ? stride : ATTN_I_LANES, 0);
        for (int64_t l = 0; l < w->rows && !whole; l++) {
            memcpy(to + l * stride, last + l * ATTN_I_LANES, (size_t)columns * sizeof *to);
        }
        for (int64_t j = 0; j < n; j++) {
            if (!finite[j]) add_not_finite(plan, s, w, j, values.data + j * values.stride + d, columns, to);
        }
    }
}

/* Of the head that a lane is of. */
static double sink_of(const attn_i_problem *p, const attn_i_tile_work *w, int64_t lane)
{
    if (p->modifiers->sinks.data == NULL || lane >= w->rows) return -INFINITY;
    return attn_i_sink_exponent(p, w->key_head * p->group + (w->first_row + lane) % p->group);
}

/* What the lane's weights are to be multiplied by; sum: of these. */
static float factor_of(const attn_i_problem *p, const attn_i_tile_scratch *s, const attn_i_tile_work *w, int64_t lane,
                       float sum)
{
    const attn_i_lanes *lanes = s->lanes;
    const float keep = p->dropout.keep != 0 ? (float)p->dropout.keep : 1;
    if (lanes->sum[lane] == 0) return 0;
    return keep / (float)attn_i_sum_with_sink((double)sum, lanes->exponent[lane], sink_of(p, w, lane));
}

/* Weights that were rounded are divided by the sum of what they became. */
static void write_context(const attn_i_tile_plan *plan, const attn_i_tile_scratch *s, const attn_i_tile_work *w,
                          const float *factor)
{
    const int64_t dim = plan->p->value_dim;
    const float *rounded_sum = s->context + dim * ATTN_I_LANES;
    float own[ATTN_I_LANES];
    for (int l = 0; l < ATTN_I_LANES && plan->arithmetic->rounds; l++) {
        own[l] = factor_of(plan->p, s, w, l, rounded_sum[l]);
    }
    attn_i_tile_write_lanes(plan, s, w, &plan->p->context, 0, dim, s->context, plan->arithmetic->rounds ? own : factor,
                            0);
}

void attn_i_tile_finish(const attn_i_tile_plan *plan, const attn_i_tile_scratch *s, const attn_i_tile_work *w)
{
    const attn_i_problem *p = plan->p;
    const attn_i_lanes *lanes = s->lanes;
    float factor[ATTN_I_LANES];
    for (int l = 0; l < ATTN_I_LANES; l++) factor[l] = factor_of(p, s, w, l, lanes->sum[l]);
    if (lanes->late_first < lanes->late_end) {
        write_late_context(plan, s, w, factor);
    } else if (p->context.data != NULL) {
        write_context(plan, s, w, factor);
    }
    if (p->weights.data == NULL && p->scores.data == NULL && p->logsumexp.data == NULL) return;
    for (int64_t l = 0; l < w->rows; l++) {
        const int64_t row = w->first_row + l, head = w->key_head * p->group + row % p->group;
        const uint64_t number = attn_i_problem_row(p, w->b, head, row / p->group);
        if (p->weights.data != NULL) {
            normalise_row(plan, s, &p->weights, row_of(p, w, &p->weights, l, 0), number, l, factor[l]);
        }
        if (p->scores.data != NULL && p->scores_stage == ATTN_SCORES_WEIGHTS) {
            normalise_row(plan, s, &p->scores, row_of(p, w, &p->scores, l, 0), number, l, factor[l]);
        }
        if (p->logsumexp.data == NULL) continue;
        attn_i_logsumexp_set(&p->logsumexp, w->b, head, row / p->group,
                             attn_i_log_with_sink((double)lanes->sum[l], lanes->exponent[l], sink_of(p, w, l)));
    }
}
