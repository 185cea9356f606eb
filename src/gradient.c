/* SPDX-License-Identifier: BSD-3-Clause
 *
 * gradient.c: checks the arguments of a backward call: those of the forward call as that checked them, then the
 * gradients. */
#include "gradient.h"

#include "status.h"

#include <inttypes.h>
#include <stdio.h>

/* The forward call, with what it wrote being read. */
static attn_status check_forward(const attn_mechanism *mechanism, const attn_backward_args *args, attn_i_gradient *g)
{
    attn_forward_args forward;
    if (args->forward == NULL) return attn_i_fail(ATTN_ERR_ARGUMENT, "forward is NULL");
    attn_status status = attn_i_forward_args_read(args->forward, &forward);
    if (status != ATTN_OK) return status;
    forward.weights = forward.scores = NULL;
    forward.scores_stage = ATTN_SCORES_RAW;
    if (args->d_context == NULL) forward.context = NULL;
    if (args->d_context != NULL && forward.context == NULL) {
        return attn_i_fail(ATTN_ERR_ARGUMENT, "forward->context is NULL, but there is a d_context");
    }
    if (forward.logsumexp == NULL) return attn_i_fail(ATTN_ERR_ARGUMENT, "forward->logsumexp is NULL");
    status = attn_i_problem_check_shapes(mechanism, &forward, &g->problem);
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
    const int64_t context[4] = {p->batch, p->query_heads, p->queries, p->value_dim};
    const int64_t scores[4] = {p->batch, p->query_heads, p->queries, p->keys};
    const int64_t rows[4] = {1, p->batch, p->query_heads, p->queries};
    attn_status status =
        attn_i_problem_input(p, args->d_context, "d_context", "[B, Hq, Tq, Dv]", context, &g->d_context);
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
    return attn_i_problem_output(&g->problem, args->d_bias, "d_bias", "that of the bias", shape, &g->d_bias);
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
        status = attn_i_problem_output(&g->problem, args->d_params[i], name, "that of the parameter", shape,
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
    g->accumulate = args->accumulate;
    g->shared = args->forward->value == NULL;
    if (args->d_key != NULL && args->forward->key == NULL) {
        return attn_i_fail(ATTN_ERR_ARGUMENT, "d_key is wanted, but forward->key is NULL");
    }
    if (args->d_value != NULL && g->shared) {
        return attn_i_fail(ATTN_ERR_ARGUMENT, "d_value is wanted, but the keys are the values: d_key is of both");
    }
    const int64_t query[4] = {p->batch, p->query_heads, p->queries, p->query_dim};
    const int64_t key[4] = {p->batch, p->key_heads, p->keys, p->key_dim};
    const int64_t value[4] = {p->batch, p->key_heads, p->keys, p->value_dim};
    const int64_t slopes[4] = {1, 1, 1, p->query_heads};
    attn_status status = attn_i_problem_output(p, args->d_query, "d_query", "[B, Hq, Tq, Dq]", query, &g->d_query);
    if (status == ATTN_OK) {
        status = attn_i_problem_output(p, args->d_key, "d_key", "[B, Hk, Tk, Dk]", key, &g->d_key);
    }
    if (status == ATTN_OK) {
        status = attn_i_problem_output(p, args->d_value, "d_value", "[B, Hk, Tk, Dv]", value, &g->d_value);
    }
    if (status == ATTN_OK) status = check_bias(g, args);
    if (status == ATTN_OK && args->d_alibi != NULL && p->modifiers->alibi == ATTN_ALIGN_NONE) {
        return attn_i_fail(ATTN_ERR_ARGUMENT, "d_alibi is wanted, but the mechanism has no ALiBi");
    }
    if (status == ATTN_OK) status = attn_i_problem_output(p, args->d_alibi, "d_alibi", "[Hq]", slopes, &g->d_alibi);
    return status == ATTN_OK ? check_params(g, args) : status;
}

static int add(attn_i_named *list, int count, const char *kind, const char *name, const attn_i_view *view)
{
    if (view->first < view->end) list[count++] = (attn_i_named){kind, name, view};
    return count;
}

int attn_i_gradient_list(const attn_i_gradient *g, attn_i_named list[ATTN_I_MOST_GRADIENT_TENSORS], int *outputs)
{
    int ignored, count = 0;
    count = add(list, count, "", "d_query", &g->d_query);
    count = add(list, count, "", "d_key", &g->d_key);
    count = add(list, count, "", "d_value", &g->d_value);
    count = add(list, count, "", "d_bias", &g->d_bias);
    count = add(list, count, "", "d_alibi", &g->d_alibi);
    for (int32_t i = 0; i < g->problem.mechanism->param_count; i++) {
        count = add(list, count, "d_", g->problem.mechanism->params[i].name, &g->d_params[i]);
    }
    *outputs = count;
    count = add(list, count, "", "d_context", &g->d_context);
    count = add(list, count, "", "d_weights", &g->d_weights);
    count = add(list, count, "", "d_logsumexp", &g->d_logsumexp);
    return count + attn_i_problem_list(&g->problem, list + count, &ignored);
}

attn_status attn_i_gradient_check_shapes(const attn_mechanism *mechanism, const attn_backward_args *args,
                                         attn_i_gradient *g)
{
    *g = (attn_i_gradient){.accumulate = 0};
    attn_status status = check_forward(mechanism, args, g);
    if (status == ATTN_OK) status = check_inputs(g, args);
    return status == ATTN_OK ? check_outputs(g, args) : status;
}

attn_status attn_i_gradient_check(const attn_mechanism *mechanism, const attn_backward_args *args, attn_i_gradient *g)
{
    attn_i_named list[ATTN_I_MOST_GRADIENT_TENSORS];
    int outputs = 0;
    attn_status status = attn_i_gradient_check_shapes(mechanism, args, g);
    if (status == ATTN_OK) status = attn_i_problem_check_overlap(&g->problem);
    if (status != ATTN_OK) return status;
    const int count = attn_i_gradient_list(g, list, &outputs);
    return attn_i_check_apart(list, outputs, count);
}

attn_status attn_i_gradient_check_workspace(const attn_i_gradient *g, void *workspace, size_t bytes)
{
    attn_i_named list[ATTN_I_MOST_GRADIENT_TENSORS];
    int outputs = 0;
    const int count = attn_i_gradient_list(g, list, &outputs);
    return attn_i_check_scratch_apart(list, count, workspace, bytes);
}
