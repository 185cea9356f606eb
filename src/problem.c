/* SPDX-License-Identifier: BSD-3-Clause
 *
 * problem.c: checks the arguments of a call against each other and against the mechanism. Whatever can be wrong is
 * found here, before anything is computed or written. */
#include "problem.h"

#include "runtime/size.h"
#include "score/score.h"
#include "status.h"
#include "structs.h"

#include <inttypes.h>

static const char query_layout[] = "[B, Hq, Tq, Dq]";
static const char value_layout[] = "[B, Hk, Tk, Dv]";
static const char score_layout[] = "[B, Hq, Tq, Tk]";
static const char context_layout[] = "[B, Hq, Tq, Dv]";

attn_status attn_i_forward_args_read(const attn_forward_args *given, attn_forward_args *args)
{
    if (given == NULL) return attn_i_fail(ATTN_ERR_ARGUMENT, "args is NULL");
    return attn_i_struct_read(args, sizeof *args, sizeof *args, given, given->struct_size, "attn_forward_args");
}

attn_status attn_i_problem_real(const attn_i_problem *p, const attn_tensor *tensor, const char *name, attn_i_view *view)
{
    if (tensor == NULL) return ATTN_OK;
    attn_status status = attn_i_tensor_check(tensor, name, 4, view);
    if (status != ATTN_OK) return status;
    if (tensor->dtype != p->dtype) {
        return attn_i_fail(ATTN_ERR_DTYPE, "%s is %s, but query is %s", name, attn_i_dtype_name(tensor->dtype),
                           attn_i_dtype_name(p->dtype));
    }
    return ATTN_OK;
}

static attn_status check_query(attn_i_problem *p, const attn_tensor *query)
{
    attn_status status = attn_i_tensor_check(query, "query", 4, &p->query);
    if (status != ATTN_OK) return status;
    if (query->dtype != ATTN_F32 && query->dtype != ATTN_F64) {
        return attn_i_fail(ATTN_ERR_DTYPE, "query is %s, but ATTN_F32 or ATTN_F64 is computed with",
                           attn_i_dtype_name(query->dtype));
    }
    const int64_t *shape = p->query.shape;
    p->dtype = query->dtype;
    p->size = p->query.size;
    p->batch = shape[0];
    p->query_heads = shape[1];
    p->queries = shape[2];
    p->query_dim = shape[3];
    if (p->query_dim == 0) return attn_i_fail(ATTN_ERR_SHAPE, "query has a last dimension of 0");
    if (p->query_heads == 0) return attn_i_fail(ATTN_ERR_SHAPE, "query has no heads (dimension 1 of %s)", query_layout);
    return ATTN_OK;
}

static attn_status check_key_and_value(attn_i_problem *p, const attn_tensor *key, const attn_tensor *value)
{
    const int reads_keys = p->mechanism->score->reads_keys;
    if (key == NULL && (reads_keys || value == NULL)) {
        return attn_i_fail(ATTN_ERR_ARGUMENT, "key is NULL%s", reads_keys ? "" : ", and so is value");
    }
    attn_status status = attn_i_problem_real(p, key, "key", &p->key);
    if (status == ATTN_OK) status = attn_i_problem_real(p, value, "value", &p->value);
    if (status != ATTN_OK) return status;

    const attn_i_view *first = key != NULL ? &p->key : &p->value; /* sets heads and length */
    const char *name = key != NULL ? "key" : "value";
    p->key_heads = first->shape[1];
    p->keys = first->shape[2];
    p->key_dim = key != NULL ? p->key.shape[3] : 0;
    if (first->shape[0] != p->batch) {
        return attn_i_fail(ATTN_ERR_SHAPE, "%s has batch %" PRId64 ", but query has %" PRId64, name, first->shape[0],
                           p->batch);
    }
    if (p->key_heads == 0 || p->query_heads % p->key_heads != 0) {
        return attn_i_fail(ATTN_ERR_SHAPE,
                           "%s has %" PRId64 " heads, which does not divide the %" PRId64 " heads of query", name,
                           p->key_heads, p->query_heads);
    }
    if (key != NULL && p->key_dim == 0) return attn_i_fail(ATTN_ERR_SHAPE, "key has a last dimension of 0");
    p->group = p->query_heads / p->key_heads;
    if (value == NULL) {
        p->value = p->key;
    } else if (key != NULL) {
        const int64_t shape[4] = {p->batch, p->key_heads, p->keys, p->value.shape[3]};
        status = attn_i_view_has_shape(&p->value, "value", value_layout, shape);
        if (status != ATTN_OK) return status;
    }
    p->value_dim = p->value.shape[3];
    return ATTN_OK;
}

/* The dimensions that the mechanism was made for, and its parameters. */
static attn_status check_mechanism(attn_i_problem *p)
{
    const attn_mechanism *m = p->mechanism;
    if (m->query_dim != 0 && p->query_dim != m->query_dim) {
        return attn_i_fail(ATTN_ERR_SHAPE,
                           "query has dimension %" PRId64 ", but the %s mechanism was made for %" PRId64, p->query_dim,
                           m->score->name, m->query_dim);
    }
    if (m->key_dim != 0 && p->key_dim != m->key_dim) {
        return attn_i_fail(ATTN_ERR_SHAPE, "key has dimension %" PRId64 ", but the %s mechanism was made for %" PRId64,
                           p->key_dim, m->score->name, m->key_dim);
    }
    attn_status status = attn_i_params_check(m->params, m->param_count, m->score->name, p->dtype);
    if (status == ATTN_OK) status = m->score->check(p);
    if (status != ATTN_OK) return status;
    p->scale = m->modifiers.has_scale ? m->modifiers.scale : m->score->default_scale(p);
    return ATTN_OK;
}

static attn_status check_lengths(attn_i_problem *p, const attn_tensor *lengths)
{
    if (lengths == NULL) return ATTN_OK;
    attn_status status = attn_i_tensor_check(lengths, "key_lengths", 1, &p->lengths);
    if (status != ATTN_OK) return status;
    if (lengths->dtype != ATTN_I32 && lengths->dtype != ATTN_I64) {
        return attn_i_fail(ATTN_ERR_DTYPE, "key_lengths is %s, but ATTN_I32 or ATTN_I64 is needed",
                           attn_i_dtype_name(lengths->dtype));
    }
    if (lengths->shape[0] != p->batch) {
        return attn_i_fail(ATTN_ERR_SHAPE, "key_lengths has %" PRId64 " elements, but the batch is %" PRId64,
                           lengths->shape[0], p->batch);
    }
    const int64_t different = p->lengths.stride[3] == 0 ? attn_i_min(p->batch, 1) : p->batch;
    for (int64_t b = 0; b < different; b++) {
        int64_t length = attn_i_problem_length(p, b);
        if (length < 0 || length > p->keys) {
            return attn_i_fail(ATTN_ERR_ARGUMENT,
                               "key_lengths[%" PRId64 "] is %" PRId64 ", but there are %" PRId64 " keys", b, length,
                               p->keys);
        }
    }
    return ATTN_OK;
}

static attn_status check_modifiers(attn_i_problem *p, const attn_forward_args *args)
{
    const attn_i_modifiers *m = p->modifiers;
    const int64_t scores[4] = {p->batch, p->query_heads, p->queries, p->keys};
    attn_status status = ATTN_OK;
    if (args->mask != NULL) {
        status = attn_i_tensor_check(args->mask, "mask", 4, &p->mask);
        if (status == ATTN_OK && args->mask->dtype != ATTN_BOOL) {
            status = attn_i_fail(ATTN_ERR_DTYPE, "mask is %s, but ATTN_BOOL is needed (a float mask is a bias)",
                                 attn_i_dtype_name(args->mask->dtype));
        }
        if (status == ATTN_OK) status = attn_i_view_broadcast(&p->mask, "mask", score_layout, scores);
    }
    if (status == ATTN_OK) status = attn_i_problem_real(p, args->bias, "bias", &p->bias);
    if (status == ATTN_OK && args->bias != NULL) {
        status = attn_i_view_broadcast(&p->bias, "bias", score_layout, scores);
    }
    if (status == ATTN_OK) status = check_lengths(p, args->key_lengths);
    if (status != ATTN_OK) return status;

    if (m->alibi != ATTN_ALIGN_NONE) {
        if (m->slopes.shape[3] != p->query_heads) {
            return attn_i_fail(ATTN_ERR_SHAPE, "the ALiBi slopes are %" PRId64 ", but query has %" PRId64 " heads",
                               m->slopes.shape[3], p->query_heads);
        }
        if (m->slopes_dtype != p->dtype) {
            return attn_i_fail(ATTN_ERR_DTYPE, "the ALiBi slopes are %s, but query is %s",
                               attn_i_dtype_name(m->slopes_dtype), attn_i_dtype_name(p->dtype));
        }
    }
    if (args->query_start > ATTN_I_MOST_POSITIONS || args->query_start < -ATTN_I_MOST_POSITIONS) {
        return attn_i_fail(ATTN_ERR_ARGUMENT, "query_start is %" PRId64 ", which is no position", args->query_start);
    }
    p->query_start = args->query_start;
    const int bottom_right = m->causal == ATTN_ALIGN_BOTTOM_RIGHT || m->window == ATTN_ALIGN_BOTTOM_RIGHT ||
                             m->alibi == ATTN_ALIGN_BOTTOM_RIGHT;
    if (bottom_right && p->query_start != 0) {
        return attn_i_fail(ATTN_ERR_ARGUMENT,
                           "query_start is %" PRId64 ", but the mechanism is aligned bottom-right, where the lengths "
                           "say where queries stand",
                           p->query_start);
    }
    return ATTN_OK;
}

attn_status attn_i_problem_input(const attn_i_problem *p, const attn_tensor *tensor, const char *name,
                                 const char *layout, const int64_t *shape, attn_i_view *view)
{
    attn_status status = attn_i_problem_real(p, tensor, name, view);
    if (status != ATTN_OK || tensor == NULL) return status;
    return attn_i_view_has_shape(view, name, layout, shape);
}

attn_status attn_i_problem_output(const attn_i_problem *p, const attn_tensor *tensor, const char *name,
                                  const char *layout, const int64_t *shape, attn_i_view *view)
{
    attn_status status = attn_i_problem_input(p, tensor, name, layout, shape, view);
    return status == ATTN_OK && tensor != NULL ? attn_i_view_is_output(view, name) : status;
}

static attn_status check_outputs(attn_i_problem *p, const attn_forward_args *args)
{
    if (args->context == NULL && args->weights == NULL && args->scores == NULL && args->logsumexp == NULL) {
        return attn_i_fail(ATTN_ERR_ARGUMENT, "context, weights, scores and logsumexp are all NULL");
    }
    if (args->scores_stage < ATTN_SCORES_RAW || args->scores_stage > ATTN_SCORES_WEIGHTS) {
        return attn_i_fail(ATTN_ERR_ARGUMENT, "scores_stage is %" PRId32 ", which is none", args->scores_stage);
    }
    const int64_t context[4] = {p->batch, p->query_heads, p->queries, p->value_dim};
    const int64_t scores[4] = {p->batch, p->query_heads, p->queries, p->keys};
    const int64_t rows[4] = {1, p->batch, p->query_heads, p->queries};
    p->scores_stage = args->scores_stage;
    attn_status status = attn_i_problem_output(p, args->context, "context", context_layout, context, &p->context);
    if (status == ATTN_OK)
        status = attn_i_problem_output(p, args->weights, "weights", score_layout, scores, &p->weights);
    if (status == ATTN_OK) status = attn_i_problem_output(p, args->scores, "scores", score_layout, scores, &p->scores);
    if (status == ATTN_OK) {
        status = attn_i_problem_output(p, args->logsumexp, "logsumexp", "[B, Hq, Tq]", rows, &p->logsumexp);
    }
    return status;
}

int attn_i_problem_list(const attn_i_problem *p, attn_i_named list[ATTN_I_MOST_TENSORS], int *outputs)
{
    enum { OUTPUTS = 4 };
    const attn_mechanism *m = p->mechanism;
    const attn_i_named fixed[] = {{"", "context", &p->context}, {"", "weights", &p->weights},
                                  {"", "scores", &p->scores},   {"", "logsumexp", &p->logsumexp},
                                  {"", "query", &p->query},     {"", "key", &p->key},
                                  {"", "value", &p->value},     {"", "key_lengths", &p->lengths},
                                  {"", "mask", &p->mask},       {"", "bias", &p->bias}};
    int count = 0;
    for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++) {
        if (i == OUTPUTS) *outputs = count;
        if (fixed[i].view->first < fixed[i].view->end) list[count++] = fixed[i];
    }
    if (m->modifiers.alibi != ATTN_ALIGN_NONE) {
        list[count++] = (attn_i_named){"", "the ALiBi slopes", &m->modifiers.slopes};
    }
    for (int32_t i = 0; i < m->param_count; i++) {
        list[count++] = (attn_i_named){"parameter ", m->params[i].name, &m->params[i].view};
    }
    return count;
}

attn_status attn_i_check_apart(const attn_i_named *list, int outputs, int count)
{
    for (int i = 0; i < outputs; i++) {
        for (int j = i + 1; j < count; j++) {
            if (!attn_i_views_meet(list[i].view, list[j].view)) continue;
            return attn_i_fail(ATTN_ERR_OVERLAP, "%s%s shares memory with %s%s", list[i].kind, list[i].name,
                               list[j].kind, list[j].name);
        }
    }
    return ATTN_OK;
}

attn_status attn_i_check_scratch_apart(const attn_i_named *list, int count, void *workspace, size_t bytes)
{
    const attn_i_view view = {.first = workspace, .end = (char *)workspace + bytes};
    for (int i = 0; i < count; i++) {
        if (!attn_i_views_meet(&view, list[i].view)) continue;
        return attn_i_fail(ATTN_ERR_OVERLAP, "workspace shares memory with %s%s", list[i].kind, list[i].name);
    }
    return ATTN_OK;
}

attn_status attn_i_problem_check_overlap(const attn_i_problem *p)
{
    attn_i_named list[ATTN_I_MOST_TENSORS];
    int outputs = 0;
    const int count = attn_i_problem_list(p, list, &outputs);
    return attn_i_check_apart(list, outputs, count);
}

attn_status attn_i_problem_check_workspace(const attn_i_problem *problem, void *workspace, size_t bytes)
{
    attn_i_named list[ATTN_I_MOST_TENSORS];
    int outputs = 0;
    const int count = attn_i_problem_list(problem, list, &outputs);
    return attn_i_check_scratch_apart(list, count, workspace, bytes);
}

/* Counts that loops below run over, some of which no single tensor holds (inputs may be broadcast). */
static attn_status check_counts(const attn_i_problem *p)
{
    int64_t rows, scores;
    if (!attn_i_multiply(p->batch, p->query_heads, &rows) || !attn_i_multiply(rows, p->queries, &rows) ||
        !attn_i_multiply(rows, attn_i_max(p->keys, 1), &scores) || scores > ATTN_I_MOST_POSITIONS) {
        return attn_i_fail(ATTN_ERR_OVERFLOW,
                           "batch %" PRId64 " x heads %" PRId64 " x queries %" PRId64 " x keys %" PRId64
                           " cannot be counted",
                           p->batch, p->query_heads, p->queries, p->keys);
    }
    return ATTN_OK;
}

/* What must be copied has rows of these lengths. */
static attn_status check_dims(const attn_i_problem *p)
{
    const struct {
        const char *name;
        int64_t dim;
    } dims[] = {{"query", p->query_dim}, {"key", p->key_dim}, {"value", p->context.data == NULL ? 0 : p->value_dim}};
    for (size_t i = 0; i < sizeof dims / sizeof *dims; i++) {
        if (dims[i].dim <= ATTN_I_BLAS_LIMIT) continue;
        return attn_i_fail(ATTN_ERR_OVERFLOW, "%s has a last dimension of %" PRId64 ", more than a BLAS can count",
                           dims[i].name, dims[i].dim);
    }
    return ATTN_OK;
}

attn_status attn_i_problem_check_shapes(const attn_mechanism *mechanism, const attn_forward_args *args,
                                        attn_i_problem *problem)
{
    if (mechanism == NULL) return attn_i_fail(ATTN_ERR_ARGUMENT, "mechanism is NULL");
    *problem =
        (attn_i_problem){.mechanism = mechanism, .modifiers = &mechanism->modifiers, .engine = mechanism->engine};
    attn_status status = check_query(problem, args->query);
    if (status == ATTN_OK) status = check_key_and_value(problem, args->key, args->value);
    if (status == ATTN_OK) status = check_mechanism(problem);
    if (status == ATTN_OK) status = check_counts(problem);
    if (status == ATTN_OK) status = check_modifiers(problem, args);
    if (status == ATTN_OK) status = check_outputs(problem, args);
    if (status == ATTN_OK) status = check_dims(problem);
    if (status != ATTN_OK) return status;
    problem->kernels = attn_i_engine_kernels(problem->engine, problem->dtype);
    return ATTN_OK;
}

attn_status attn_i_problem_check(const attn_mechanism *mechanism, const attn_forward_args *args,
                                 attn_i_problem *problem)
{
    attn_status status = attn_i_problem_check_shapes(mechanism, args, problem);
    return status == ATTN_OK ? attn_i_problem_check_overlap(problem) : status;
}

int64_t attn_i_problem_length(const attn_i_problem *problem, int64_t b)
{
    const attn_i_view *lengths = &problem->lengths;
    if (lengths->data == NULL) return problem->keys;
    const char *element = lengths->data + b * lengths->stride[3] * lengths->size;
    return lengths->size == (int64_t)sizeof(int32_t) ? *(const int32_t *)(const void *)element
                                                     : *(const int64_t *)(const void *)element;
}
