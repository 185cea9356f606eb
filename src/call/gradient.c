/* SPDX-License-Identifier: BSD-3-Clause
 *
 * call/gradient.c: checks the arguments of a backward call: those of the forward call as that checked them, then the
 * gradients. */
#include "call/gradient.h"

#include "call/relative.h"
#include "call/target.h"
#include "call/visible.h"
#include "handles/status.h"

#include <inttypes.h>
#include <stdio.h>

/* The forward call, with what it wrote being read. */
static attn_status check_forward(const attn_mechanism *mechanism, const attn_backward_args *args, attn_dtype given,
                                 attn_i_gradient *g)
{
    attn_forward_args forward;
    if (args->forward == NULL) return attn_i_fail(ATTN_ERR_ARGUMENT, "forward is NULL");
    attn_status status = attn_i_forward_args_read(args->forward, &forward);
    if (status != ATTN_OK) return status;
    if (forward.memory != NULL) {
        return attn_i_fail(ATTN_ERR_UNSUPPORTED, "forward->memory has no gradients: give key and value");
    }
    if (forward.page_table != NULL) {
        return attn_i_fail(ATTN_ERR_UNSUPPORTED, "forward->page_table has no gradients: give key and value that lie "
                                                 "together");
    }
    forward.weights = forward.scores = NULL;
    forward.stats = NULL;
    forward.scores_stage = ATTN_SCORES_RAW;
    if (args->d_context == NULL) forward.context = NULL;
    if (args->d_context != NULL && forward.context == NULL) {
        return attn_i_fail(ATTN_ERR_ARGUMENT, "forward->context is NULL, but there is a d_context");
    }
    if (forward.logsumexp == NULL) return attn_i_fail(ATTN_ERR_ARGUMENT, "forward->logsumexp is NULL");
    status = attn_i_problem_check_inner(mechanism, &forward, given, &g->problem);
    if (status == ATTN_OK && (g->problem.key.dtype == ATTN_I8 || g->problem.value.dtype == ATTN_I8)) {
        status = attn_i_fail(ATTN_ERR_UNSUPPORTED, "key or value is ATTN_I8, which has no gradients");
    }
    if (status != ATTN_OK) return status;
    if (g->problem.modifiers->normaliser == ATTN_HARDMAX) {
        return attn_i_fail(ATTN_ERR_UNSUPPORTED, "hardmax has no gradient");
    }
    return ATTN_OK;
}

static attn_status check_inputs(attn_i_gradient *g, const attn_backward_args *args)
{
    const attn_i_problem *p = &g->problem;
    if (args->d_context == NULL && args->d_weights == NULL && args->d_logsumexp == NULL) {
        return attn_i_fail(ATTN_ERR_ARGUMENT, "d_context, d_weights and d_logsumexp are all NULL");
    }
    int64_t context[4], scores[4], rows[4];
    attn_i_problem_query_shape(p, p->value_dim, context);
    attn_i_problem_score_shape(p, args->d_weights, scores);
    attn_i_problem_row_shape(p, rows);
    attn_status status =
        attn_i_problem_stored_input(p, args->d_context, "d_context", "[B, Hq, Tq, Dv]", context, &g->d_context);
    if (status == ATTN_OK) {
        status = attn_i_problem_input(p, args->d_weights, "d_weights", "[B, Hq, Tq, Tk]", scores, &g->d_weights);
    }
    if (status == ATTN_OK) {
        status = attn_i_problem_input(p, args->d_logsumexp, "d_logsumexp", "[B, Hq, Tq]", rows, &g->d_logsumexp);
    }
    return status;
}

/* The shape of a tensor as given, missing leading dimensions being 1. */
static void full_shape(const attn_tensor *tensor, int64_t shape[4])
{
    for (int32_t d = 0; d < 4; d++) shape[d] = d < 4 - tensor->ndim ? 1 : tensor->shape[d - 4 + tensor->ndim];
}

static attn_status check_bias(attn_i_gradient *g, const attn_backward_args *args)
{
    int64_t shape[4];
    if (args->d_bias == NULL) return ATTN_OK;
    if (args->forward->bias == NULL) {
        return attn_i_fail(ATTN_ERR_ARGUMENT, "d_bias is wanted, but forward->bias is NULL");
    }
    full_shape(args->forward->bias, shape);
    return attn_i_problem_given_output(&g->problem, args->d_bias, "d_bias", "that of the bias", shape, &g->d_bias);
}

static attn_status check_sinks(attn_i_gradient *g, const attn_backward_args *args)
{
    const attn_i_problem *p = &g->problem;
    const int64_t shape[4] = {1, 1, 1, p->query_heads};
    if (args->d_sinks == NULL) return ATTN_OK;
    if (p->modifiers->sinks.data == NULL) {
        return attn_i_fail(ATTN_ERR_ARGUMENT, "d_sinks is wanted, but the mechanism has no sinks");
    }
    if (args->d_weights != NULL) {
        return attn_i_fail(ATTN_ERR_UNSUPPORTED, "d_sinks is wanted beside d_weights, which it is not computed from");
    }
    return attn_i_problem_param_output(p, args->d_sinks, "d_sinks", "[Hq]", shape, &g->d_sinks);
}

static attn_status check_params(attn_i_gradient *g, const attn_backward_args *args)
{
    const attn_mechanism *m = g->problem.mechanism;
    attn_status status = ATTN_OK;
    for (int32_t i = 0; args->d_params != NULL && i < m->param_count && status == ATTN_OK; i++) {
        const attn_i_param *param = &m->params[i];
        int64_t shape[4] = {1, 1, 1, 1};
        char name[32];
        snprintf(name, sizeof name, "d_%s", param->name);
        for (int32_t d = 0; d < param->ndim; d++) shape[4 - param->ndim + d] = param->shape[d];
        status = attn_i_problem_param_output(&g->problem, args->d_params[i], name, "that of the parameter", shape,
                                             &g->d_params[i]);
    }
    return status;
}

static attn_status check_outputs(attn_i_gradient *g, const attn_backward_args *args)
{
    const attn_i_problem *p = &g->problem;
    if (args->accumulate != 0 && args->accumulate != 1) {
        return attn_i_fail(ATTN_ERR_ARGUMENT, "accumulate is %" PRId32 ", but must be 0 or 1", args->accumulate);
    }
    g->accumulate = g->adds_sums = args->accumulate;
    g->shared = args->forward->value == NULL;
    if (args->d_key != NULL && args->forward->key == NULL) {
        return attn_i_fail(ATTN_ERR_ARGUMENT, "d_key is wanted, but forward->key is NULL");
    }
    if (args->d_value != NULL && g->shared) {
        return attn_i_fail(ATTN_ERR_ARGUMENT, "d_value is wanted, but the keys are the values: d_key is of both");
    }
    const int64_t slopes[4] = {1, 1, 1, p->query_heads};
    attn_status status =
        attn_i_problem_stored_output(p, args->d_query, "d_query", "[B, Hq, Tq, Dq]", p->query.shape, &g->d_query);
    if (status == ATTN_OK) {
        status = attn_i_problem_stored_output(p, args->d_key, "d_key", "[B, Hk, Tk, Dk]", p->key.shape, &g->d_key);
    }
    if (status == ATTN_OK) {
        status =
            attn_i_problem_stored_output(p, args->d_value, "d_value", "[B, Hk, Tk, Dv]", p->value.shape, &g->d_value);
    }
    if (status == ATTN_OK) status = check_bias(g, args);
    if (status == ATTN_OK && args->d_alibi != NULL && p->modifiers->alibi == ATTN_ALIGN_NONE) {
        return attn_i_fail(ATTN_ERR_ARGUMENT, "d_alibi is wanted, but the mechanism has no ALiBi");
    }
    if (status == ATTN_OK) status = attn_i_problem_output(p, args->d_alibi, "d_alibi", "[Hq]", slopes, &g->d_alibi);
    if (status == ATTN_OK && args->d_relative != NULL && p->modifiers->relative == ATTN_RELATIVE_NONE) {
        return attn_i_fail(ATTN_ERR_ARGUMENT, "d_relative is wanted, but the mechanism has no relative biases");
    }
    if (status == ATTN_OK) {
        status = attn_i_problem_output(p, args->d_relative, "d_relative", "that of the table",
                                       p->modifiers->table.shape, &g->d_relative);
    }
    if (status == ATTN_OK) status = check_sinks(g, args);
    return status == ATTN_OK ? check_params(g, args) : status;
}

int attn_i_gradient_list(const attn_i_gradient *g, attn_i_named_view list[ATTN_I_MOST_GRADIENT_TENSORS], int *outputs)
{
    int ignored, count = 0;
    count = attn_i_list_add(list, count, "", "d_query", &g->d_query);
    count = attn_i_list_add(list, count, "", "d_key", &g->d_key);
    count = attn_i_list_add(list, count, "", "d_value", &g->d_value);
    count = attn_i_list_add(list, count, "", "d_bias", &g->d_bias);
    count = attn_i_list_add(list, count, "", "d_alibi", &g->d_alibi);
    count = attn_i_list_add(list, count, "", "d_relative", &g->d_relative);
    count = attn_i_list_add(list, count, "", "d_sinks", &g->d_sinks);
    for (int32_t i = 0; i < g->problem.mechanism->param_count; i++) {
        count = attn_i_list_add(list, count, "d_", g->problem.mechanism->params[i].name, &g->d_params[i]);
    }
    *outputs = count;
    count = attn_i_list_add(list, count, "", "d_context", &g->d_context);
    count = attn_i_list_add(list, count, "", "d_weights", &g->d_weights);
    count = attn_i_list_add(list, count, "", "d_logsumexp", &g->d_logsumexp);
    return count + attn_i_problem_list(&g->problem, list + count, &ignored);
}

attn_status attn_i_gradient_check_inner(const attn_mechanism *mechanism, const attn_backward_args *args,
                                        attn_dtype given, attn_i_gradient *g)
{
    *g = (attn_i_gradient){.accumulate = 0};
    attn_status status = check_forward(mechanism, args, given, g);
    if (status == ATTN_OK) status = check_inputs(g, args);
    return status == ATTN_OK ? check_outputs(g, args) : status;
}

attn_status attn_i_gradient_check_shapes(const attn_mechanism *mechanism, const attn_backward_args *args,
                                         attn_i_gradient *g)
{
    return attn_i_gradient_check_inner(mechanism, args, 0, g);
}

attn_status attn_i_gradient_check(const attn_mechanism *mechanism, const attn_backward_args *args, attn_i_gradient *g)
{
    attn_i_named_view list[ATTN_I_MOST_GRADIENT_TENSORS];
    int outputs = 0;
    attn_status status = attn_i_gradient_check_shapes(mechanism, args, g);
    if (status == ATTN_OK) status = attn_i_problem_check_overlap(&g->problem);
    if (status != ATTN_OK) return status;
    const int count = attn_i_gradient_list(g, list, &outputs);
    return attn_i_views_apart(list, outputs, count);
}

attn_status attn_i_gradient_check_workspace(const attn_i_gradient *g, void *workspace, size_t bytes)
{
    attn_i_named_view list[ATTN_I_MOST_GRADIENT_TENSORS];
    int outputs = 0;
    const int count = attn_i_gradient_list(g, list, &outputs);
    return attn_i_check_scratch_apart(list, count, workspace, bytes);
}

void attn_i_gradient_write_row(const attn_i_gradient *g, int64_t n, const void *row, void *to, int64_t stride)
{
    if (g->accumulate) g->problem.kernels->add_to(n, row, to, stride);
    if (!g->accumulate) g->problem.kernels->scatter(n, row, to, stride);
}

/* Gradients that may be wanted: of rows; of what biases scores; and then of parameters. */
enum { OF_ROWS = 3, BESIDE_PARAMS = 6 };

static int gradient_count(const attn_i_gradient *g)
{
    return BESIDE_PARAMS + g->problem.mechanism->param_count;
}

static const attn_i_view *gradient_at(const attn_i_gradient *g, int i)
{
    const attn_i_view *const beside[BESIDE_PARAMS] = {&g->d_query, &g->d_key,   &g->d_value,
                                                      &g->d_bias,  &g->d_alibi, &g->d_relative};
    return i < BESIDE_PARAMS ? beside[i] : &g->d_params[i - BESIDE_PARAMS];
}

static int is_wanted(const attn_i_gradient *g)
{
    for (int i = 0; i < gradient_count(g); i++) {
        if (!attn_i_view_is_empty(gradient_at(g, i))) return 1;
    }
    return 0;
}

int attn_i_gradient_flows(const attn_i_gradient *g)
{
    if (g->problem.keys == 0 || !is_wanted(g)) return 0;
    return !attn_i_view_is_empty(&g->d_context) || !attn_i_view_is_empty(&g->d_weights) ||
           !attn_i_view_is_empty(&g->d_logsumexp);
}

void attn_i_gradient_clear(const attn_i_gradient *g)
{
    for (int i = 0; i < gradient_count(g); i++) {
        attn_i_target_clear(gradient_at(g, i), i < OF_ROWS ? g->accumulate : g->adds_sums);
    }
}

void attn_i_gradient_clear_sums(const attn_i_gradient *g)
{
    for (int i = OF_ROWS; i < gradient_count(g); i++) attn_i_target_clear(gradient_at(g, i), g->adds_sums);
    attn_i_target_clear(&g->d_sinks, g->adds_sums);
}

int attn_i_gradient_has_sums(const attn_i_gradient *g)
{
    int any = g->d_sinks.data != NULL;
    for (int i = OF_ROWS; i < gradient_count(g); i++) any |= gradient_at(g, i)->data != NULL;
    return any;
}

static void add_number(const attn_i_problem *p, double x, int accumulate, void *to)
{
    if (p->dtype == ATTN_F32) *(float *)to = (float)(x + (accumulate ? (double)*(float *)to : 0));
    if (p->dtype == ATTN_F64) *(double *)to = x + (accumulate ? *(double *)to : 0);
}

void attn_i_bias_sums_layout(attn_i_bias_sums *sums, const attn_i_gradient *g, attn_i_arena *arena)
{
    const attn_i_view *table = &g->d_relative;
    sums->alibi = attn_i_carve(arena, g->problem.query_heads, sizeof *sums->alibi);
    sums->table = NULL;
    if (table->data == NULL) return;
    sums->table = attn_i_carve_matrix(arena, table->shape[2], table->shape[3], (int64_t)sizeof *sums->table);
}

void attn_i_bias_sums_begin(const attn_i_bias_sums *sums, const attn_i_gradient *g)
{
    const attn_i_view *table = &g->d_relative;
    attn_i_target_clear(&g->d_bias, g->adds_sums);
    for (int64_t h = 0; h < g->problem.query_heads; h++) sums->alibi[h] = 0;
    for (int64_t k = 0; sums->table != NULL && k < table->shape[2] * table->shape[3]; k++) sums->table[k] = 0;
}

/* Dimensions of 1 are summed over. */
static void add_bias(const attn_i_gradient *g, int64_t b, int64_t h, int64_t i, int64_t first, int64_t n, const void *d)
{
    const attn_i_view *bias = &g->d_bias;
    const attn_i_kernels *kernels = g->problem.kernels;
    char *to = attn_i_view_at(bias, bias->shape[0] == 1 ? 0 : b, bias->shape[1] == 1 ? 0 : h);
    if (bias->shape[2] != 1) to += i * bias->stride[2] * bias->size;
    if (bias->shape[3] == 1) {
        kernels->add_sum(n, d, to);
    } else {
        kernels->add_to(n, d, to + first * bias->stride[3] * bias->size, bias->stride[3]);
    }
}

void attn_i_bias_sums_add_row(const attn_i_bias_sums *sums, const attn_i_gradient *g, int64_t b, int64_t h, int64_t i,
                              int64_t first, int64_t n, const void *d)
{
    const attn_i_problem *p = &g->problem;
    if (g->d_bias.data != NULL) add_bias(g, b, h, i, first, n, d);
    if (sums->table == NULL) return;
    const int32_t *columns = attn_i_relative_columns(p, b, i, first);
    double *row = sums->table + (g->d_relative.shape[2] == 1 ? 0 : h) * g->d_relative.shape[3];
    for (int64_t j = 0; j < n; j++) {
        row[columns[j]] += p->dtype == ATTN_F32 ? (double)((const float *)d)[j] : ((const double *)d)[j];
    }
}

void attn_i_bias_sums_add_distances(const attn_i_bias_sums *sums, const attn_i_gradient *g, int64_t b, int64_t key_head,
                                    int64_t first, int64_t end, const float *distances)
{
    const attn_i_problem *p = &g->problem;
    const attn_i_modifiers *m = p->modifiers;
    const double factor = 1 / m->temperature;
    const int64_t count = end > first ? end - first + p->queries - 1 : 0;
    const int64_t position = g->d_alibi.data != NULL ? attn_i_position(p, m->alibi, b, 0) : 0;
    for (int64_t k = 0; k < p->group; k++) {
        const int64_t h = key_head * p->group + k;
        double *row = NULL;
        if (sums->table != NULL) row = sums->table + (g->d_relative.shape[2] == 1 ? 0 : h) * g->d_relative.shape[3];
        for (int64_t u = 0; u < count; u++) { /* key end - 1 - u, as query 0 would have it */
            const double d = (double)distances[u * p->group + k] * factor;
            if (g->d_alibi.data != NULL) {
                const int64_t distance = end - 1 - u - position;
                sums->alibi[h] -= d * (double)(distance < 0 ? -distance : distance);
            }
            if (row != NULL) row[*attn_i_relative_columns(p, b, 0, end - 1 - u)] += d;
        }
    }
}

void attn_i_bias_sums_end(const attn_i_bias_sums *sums, const attn_i_gradient *g)
{
    const attn_i_view *d = &g->d_alibi, *table = &g->d_relative;
    for (int64_t h = 0; h < g->problem.query_heads && d->data != NULL; h++) {
        add_number(&g->problem, sums->alibi[h], g->adds_sums, d->data + h * d->stride[3] * d->size);
    }
    for (int64_t h = 0; sums->table != NULL && h < table->shape[2]; h++) {
        for (int64_t k = 0; k < table->shape[3]; k++) {
            add_number(&g->problem, sums->table[h * table->shape[3] + k], g->adds_sums,
                       table->data + (h * table->stride[2] + k * table->stride[3]) * table->size);
        }
    }
}
