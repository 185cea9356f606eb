/* SPDX-License-Identifier: BSD-3-Clause
 *
 * layers/multihead/backward.c: the verb attn_multihead_backward: from the output's gradient to the contexts', through
 * the attention in the middle, to those of the inputs and of all parameters. */
#include "verbs/backward.h"
#include "call/scratch.h"
#include "call/target.h"
#include "handles/status.h"
#include "handles/structs.h"
#include "layers/multihead/call.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

typedef struct backward {
    attn_i_multihead_call c;
    attn_multihead_backward_args args;
    attn_i_view d_output;              /* in [1, B, Tq, output_dim]; data NULL: none */
    attn_i_view d_input[ATTN_I_PARTS]; /* out; data NULL: not wanted. So too: */
    attn_i_view d_params[ATTN_I_MOST_PARAMS];
    attn_i_view sums[ATTN_I_MOST_PARAMS]; /* the same, in what is computed in */
    int wants_mechanism;                  /* gradients that the attention in the middle writes for the caller */
    attn_i_backward_plan plan;
} backward;

static const attn_i_multihead_group output_group = {ATTN_I_PARTS, 1};

/* ------------------------------------------------------------------------------------------- arguments */

static attn_status check_inputs(backward *b)
{
    static const char *const names[ATTN_I_PARTS] = {"d_query", "d_key", "d_value"};
    static const char *const layouts[ATTN_I_PARTS] = {"[B, Tq, query_dim]", "[B, Tk, key_dim]", "[B, Tk, value_dim]"};
    const attn_tensor *given[ATTN_I_PARTS] = {b->args.d_query, b->args.d_key, b->args.d_value};
    const attn_i_multihead_call *c = &b->c;
    attn_status status = ATTN_OK;
    for (int i = 0; i < ATTN_I_PARTS && status == ATTN_OK; i++) {
        if (given[i] != NULL && c->source[i] != i) {
            return attn_i_fail(ATTN_ERR_ARGUMENT, "%s is wanted, but forward->%s is NULL: %s has its part", names[i],
                               names[i] + 2, names[c->source[i]]);
        }
        status =
            attn_i_problem_given_output(&c->means, given[i], names[i], layouts[i], c->input[i].shape, &b->d_input[i]);
    }
    return status;
}

static attn_status check_params(backward *b)
{
    const attn_multihead *m = b->c.m;
    attn_status status = ATTN_OK;
    for (int32_t i = 0; b->args.d_params != NULL && i < m->param_count && status == ATTN_OK; i++) {
        const attn_i_param *param = &m->params[i];
        char name[32];
        snprintf(name, sizeof name, "d_%s", param->name);
        status = attn_i_problem_param_output(&b->c.means, b->args.d_params[i], name, "that of the parameter",
                                             param->view.shape, &b->d_params[i]);
    }
    return status;
}

static attn_status check(const attn_multihead *multihead, const attn_multihead_backward_args *given, backward *b)
{
    attn_multihead_args forward;
    *b = (backward){.wants_mechanism = 0};
    if (given == NULL) return attn_i_fail(ATTN_ERR_ARGUMENT, "args is NULL");
    attn_status status = attn_i_struct_read(&b->args, sizeof b->args, offsetof(attn_multihead_backward_args, d_sinks),
                                            given, given->struct_size, "attn_multihead_backward_args");
    if (status == ATTN_OK) status = attn_i_multihead_args_read(b->args.forward, "forward", &forward);
    if (status == ATTN_OK) status = attn_i_multihead_check(multihead, &forward, 1, &b->c);
    if (status != ATTN_OK) return status;
    const attn_i_multihead_call *c = &b->c;
    const attn_i_multihead_extent *e = &c->extent[ATTN_I_QUERY];
    const int64_t output[4] = {1, e->batch, e->length, multihead->output_dim};
    if (b->args.accumulate != 0 && b->args.accumulate != 1) {
        return attn_i_fail(ATTN_ERR_ARGUMENT, "accumulate is %" PRId32 ", but must be 0 or 1", b->args.accumulate);
    }
    if (b->args.d_output == NULL && b->args.d_weights == NULL && b->args.d_logsumexp == NULL) {
        return attn_i_fail(ATTN_ERR_ARGUMENT, "d_output, d_weights and d_logsumexp are all NULL");
    }
    if (b->args.d_bias != NULL && c->attention.bias == NULL) {
        return attn_i_fail(ATTN_ERR_ARGUMENT, "d_bias is wanted, but there is no attention->bias");
    }
    b->wants_mechanism = b->args.d_bias != NULL || b->args.d_alibi != NULL || b->args.d_relative != NULL ||
                         b->args.d_sinks != NULL || b->args.d_mechanism_params != NULL;
    status = attn_i_problem_given_input(&c->means, b->args.d_output, "d_output", "[B, Tq, output_dim]", output,
                                        &b->d_output);
    if (status == ATTN_OK) status = check_inputs(b);
    return status == ATTN_OK ? check_params(b) : status;
}

static const attn_i_view no_view;

/* The gradients that are wanted of a group's weights and bias. */
static const attn_i_view *d_weights_of(const backward *b, attn_i_multihead_group group)
{
    return &b->sums[attn_i_multihead_weight_index(b->c.m, group.first)];
}

static const attn_i_view *d_bias_of(const backward *b, attn_i_multihead_group group)
{
    const int32_t index = attn_i_multihead_bias_index(b->c.m, group.first);
    return index < 0 ? &no_view : &b->sums[index];
}

static int wants_part(const backward *b, int part)
{
    const attn_i_multihead_group one = {part, 1};
    return d_weights_of(b, one)->data != NULL || d_bias_of(b, one)->data != NULL ||
           b->d_input[b->c.source[part]].data != NULL;
}

/* ------------------------------------------------------------------------------------------ the middle */

static void hide(attn_i_view *view)
{
    view->first = view->end = view->data;
}

static void clear_rows(const backward *b, attn_i_matrix rows)
{
    for (int64_t i = 0; i < rows.rows; i++) {
        b->c.means.kernels->fill(rows.columns, 0, rows.data + i * rows.row_stride * b->c.size, 1);
    }
}

/* Measures if the scratch has no memory; only then can it fail. */
static attn_status attend_back(backward *b, attn_i_multihead_scratch *scratch, const attn_i_multihead_rows *rows,
                               const attn_i_multihead_rows *d_rows)
{
    const attn_i_multihead_call *c = &b->c;
    attn_tensor part[ATTN_I_PARTS], d_part[ATTN_I_PARTS];
    const attn_tensor context = attn_i_multihead_context(c, rows), d_context = attn_i_multihead_context(c, d_rows);
    const attn_tensor logsumexp = attn_i_multihead_logsumexp(c, rows);
    const attn_tensor *wanted[ATTN_I_PARTS];
    int attends = b->wants_mechanism;
    for (int i = 0; i < ATTN_I_PARTS; i++) {
        part[i] = attn_i_multihead_heads(c, rows, i);
        d_part[i] = attn_i_multihead_heads(c, d_rows, i);
        wanted[i] = attn_i_multihead_attends(c) && wants_part(b, i) ? &d_part[i] : NULL;
        attends |= wanted[i] != NULL;
    }
    attn_forward_args forward = c->attention;
    forward.query = &part[ATTN_I_QUERY], forward.key = &part[ATTN_I_KEY], forward.value = &part[ATTN_I_VALUE];
    forward.context = &context, forward.logsumexp = &logsumexp;
    if (c->source[ATTN_I_KEY] == ATTN_I_QUERY) forward.key_offsets = forward.query_offsets;
    attn_backward_args args = ATTN_BACKWARD_ARGS_INIT;
    args.forward = &forward;
    args.d_context = b->d_output.data != NULL ? &d_context : NULL;
    args.d_weights = b->args.d_weights;
    args.d_logsumexp = b->args.d_logsumexp;
    args.d_query = wanted[ATTN_I_QUERY], args.d_key = wanted[ATTN_I_KEY], args.d_value = wanted[ATTN_I_VALUE];
    args.d_bias = b->args.d_bias;
    args.d_alibi = b->args.d_alibi;
    args.d_relative = b->args.d_relative;
    args.d_sinks = b->args.d_sinks;
    args.d_params = b->args.d_mechanism_params;
    args.accumulate = b->args.accumulate && b->wants_mechanism;

    attn_i_gradient *g = &b->plan.gradient;
    attn_status status = attn_i_gradient_check_inner(c->m->mechanism, &args, c->given, g);
    if (status == ATTN_OK) status = attn_i_backward_plan_make(&b->plan);
    if (status != ATTN_OK) return status;
    enum { OURS = 9 };
    attn_i_view *const ours[OURS] = {&g->problem.query, &g->problem.key,     &g->problem.value,
                                     &g->d_query,       &g->problem.context, &g->problem.logsumexp,
                                     &g->d_context,     &g->d_key,           &g->d_value};
    for (size_t i = 0; i < OURS; i++) hide(ours[i]);
    attn_i_arena stage = attn_i_multihead_begin(scratch);
    void *own = attn_i_carve(&stage, b->plan.scratch, 1);
    attn_i_multihead_end(scratch, &stage);
    if (stage.base == NULL || !attends) return ATTN_OK;
    for (int i = 0; i < ATTN_I_PARTS && args.accumulate; i++) {
        if (wanted[i] != NULL) clear_rows(b, d_rows->part[i]);
    }
    attn_i_backward_run(&b->plan, own);
    return ATTN_OK;
}

/* ------------------------------------------------------------------------------------------ parameters */

/* Of a group's weights and bias, from the gradients of what they make. */
static void add_params(const backward *b, attn_i_multihead_scratch *scratch, attn_i_multihead_group group,
                       attn_i_matrix inputs, int finite, attn_i_matrix d_rows)
{
    const attn_i_view bias = attn_i_multihead_bias_of(&b->c, group, d_bias_of(b, group));
    const attn_i_matrix weight = attn_i_multihead_weight_of(&b->c, group, d_weights_of(b, group));
    if (weight.data != NULL) {
        attn_i_multihead_sum(&b->c, scratch, attn_i_matrix_transpose(d_rows), inputs, finite, weight,
                             b->args.accumulate);
    }
    if (bias.data != NULL) attn_i_multihead_sum_rows(&b->c, scratch, d_rows, &bias, b->args.accumulate);
}

/* What flowed into the rows of a sequence that no query sees does not count, be it infinite or NaN: where it is seen,
 * the gradients that it meets are not finite. */
static void go_back_to_inputs(const backward *b, attn_i_multihead_scratch *scratch,
                              const attn_i_multihead_sequence inputs[ATTN_I_PARTS],
                              const attn_i_multihead_sequence d_inputs[ATTN_I_PARTS],
                              const attn_i_multihead_rows *d_rows)
{
    int begun[ATTN_I_PARTS] = {0};
    for (int i = 0; i < b->c.group_count; i++) {
        const attn_i_multihead_group group = b->c.groups[i];
        const int source = b->c.source[group.first];
        const attn_i_matrix d = attn_i_multihead_columns(&b->c, d_rows, group);
        add_params(b, scratch, group, inputs[source].use, 1, d);
        if (b->d_input[source].data == NULL) continue;
        attn_i_multihead_product(&b->c, scratch, d, attn_i_multihead_weight(&b->c, group), NULL, d_inputs[source].use,
                                 begun[source] || (b->args.accumulate && !d_inputs[source].copied));
        begun[source] = 1;
    }
}

/* Without queries: nothing flows to anything. */
static attn_status clear(backward *b, attn_i_multihead_scratch *scratch)
{
    attn_i_multihead_call *c = &b->c;
    attn_i_arena nowhere = {.base = NULL};
    attn_i_multihead_rows none;
    attn_i_multihead_lay_out_parts(c, &nowhere, &none);
    attn_i_multihead_lay_out_context(c, &nowhere, &none);
    none.logsumexp = NULL;
    attn_status status = attend_back(b, scratch, &none, &none);
    if (status != ATTN_OK || scratch->arena.base == NULL) return status;
    for (int i = 0; i < ATTN_I_PARTS; i++) {
        const attn_i_view rows = attn_i_multihead_narrowed(c, i, &b->d_input[i]);
        attn_i_target_clear(&rows, b->args.accumulate);
    }
    for (int32_t i = 0; i < c->m->param_count; i++) {
        attn_i_target_clear(&b->d_params[i], b->args.accumulate);
    }
    return ATTN_OK;
}

/* Parameters, and what their gradients are summed in. */
static void lay_out_params(backward *b, attn_i_multihead_scratch *scratch)
{
    const int use = ATTN_I_WRITTEN | (b->args.accumulate ? ATTN_I_READ : 0);
    attn_i_wide_begin(&b->c.wide, b->c.means.engine, b->c.given);
    memcpy(b->sums, b->d_params, sizeof b->sums);
    for (int32_t i = 0; i < b->c.m->param_count; i++) {
        attn_i_wide_add(&b->c.wide, &b->d_params[i], &b->sums[i], use);
    }
    attn_i_multihead_params(&b->c, scratch);
}

/* Measures if the scratch has no memory; only then can it fail. */
static attn_status compute(backward *b, attn_i_multihead_scratch *scratch)
{
    attn_i_multihead_call *c = &b->c;
    if (!attn_i_multihead_attends(c)) return clear(b, scratch);
    const int measures = scratch->arena.base == NULL;
    attn_i_arena saved = {.base = measures ? NULL : (unsigned char *)c->saved.data};
    attn_i_arena *kept = c->saved.data != NULL ? &saved : &scratch->arena;
    attn_i_multihead_sequence inputs[ATTN_I_PARTS], d_inputs[ATTN_I_PARTS], d_output = {.copied = 0};
    attn_i_multihead_rows rows, d_rows;
    lay_out_params(b, scratch);
    attn_i_multihead_inputs(c, scratch, inputs);
    attn_i_multihead_lay_out_parts(c, kept, &rows);
    attn_i_multihead_lay_out_context(c, kept, &rows);
    attn_i_multihead_lay_out_logsumexp(c, kept, &rows);
    attn_i_multihead_lay_out_parts(c, &scratch->arena, &d_rows);
    attn_i_multihead_lay_out_context(c, &scratch->arena, &d_rows);
    for (int i = 0; i < ATTN_I_PARTS; i++) {
        if (b->d_input[i].data != NULL) {
            d_inputs[i] = attn_i_multihead_sequence_layout(c, i, &b->d_input[i], &scratch->arena);
        }
    }
    d_output.use = attn_i_matrix_dense(NULL, 0, c->m->output_dim);
    if (b->d_output.data != NULL) {
        d_output = attn_i_multihead_sequence_layout(c, ATTN_I_QUERY, &b->d_output, &scratch->arena);
    }
    if (!measures) attn_i_multihead_sequence_read(c, &d_output);
    attn_i_multihead_end(scratch, &scratch->arena);
    if (scratch->arena.overflow) return attn_i_fail(ATTN_ERR_OVERFLOW, "the rows of these shapes cannot be addressed");

    attn_status status = ATTN_OK;
    if (c->saved.data == NULL) {
        attn_i_multihead_project(c, scratch, inputs, &rows);
        status = attn_i_multihead_attend(c, scratch, &rows, 0);
    }
    if (status != ATTN_OK) return status;
    if (b->d_output.data != NULL) {
        attn_i_multihead_product(c, scratch, d_output.use, attn_i_multihead_weight(c, output_group), NULL,
                                 attn_i_multihead_used(c, ATTN_I_QUERY, d_rows.context), 0);
    }
    const attn_i_matrix contexts = attn_i_multihead_used(c, ATTN_I_QUERY, rows.context);
    add_params(b, scratch, output_group, attn_i_matrix_rows(contexts, 0, d_output.use.rows, c->size), 0, d_output.use);
    status = attend_back(b, scratch, &rows, &d_rows);
    if (status != ATTN_OK) return status;
    attn_i_multihead_turn(c, scratch, &d_rows, wants_part(b, ATTN_I_QUERY), wants_part(b, ATTN_I_KEY), 1);
    go_back_to_inputs(b, scratch, inputs, d_inputs, &d_rows);
    for (int i = 0; i < ATTN_I_PARTS && !measures; i++) {
        if (b->d_input[i].data != NULL) attn_i_multihead_sequence_write(c, &d_inputs[i], b->args.accumulate);
    }
    if (!measures) attn_i_wide_store(&c->wide, c->m->engine->pool);
    return ATTN_OK;
}

/* ------------------------------------------------------------------------------------------------ call */

static void run(void *data, void *memory)
{
    attn_i_multihead_scratch scratch = {.arena = {.base = memory}};
    (void)compute(data, &scratch);
}

enum { MOST_TENSORS = ATTN_I_MOST_GRADIENT_TENSORS + 2 * ATTN_I_MOST_MULTIHEAD_TENSORS + 2 };

/* What is written first. */
static int list_tensors(const backward *b, attn_i_named_view list[MOST_TENSORS], int *outputs)
{
    int inner, count = 0;
    count = attn_i_list_add(list, count, "", "d_query", &b->d_input[ATTN_I_QUERY]);
    count = attn_i_list_add(list, count, "", "d_key", &b->d_input[ATTN_I_KEY]);
    count = attn_i_list_add(list, count, "", "d_value", &b->d_input[ATTN_I_VALUE]);
    for (int32_t i = 0; i < b->c.m->param_count; i++) {
        count = attn_i_list_add(list, count, "d_", b->c.m->params[i].name, &b->d_params[i]);
    }
    const int first = count;
    count += attn_i_gradient_list(&b->plan.gradient, list + count, &inner);
    *outputs = first + inner;
    count = attn_i_list_add(list, count, "", "d_output", &b->d_output);
    count = attn_i_list_add(list, count, "", "saved", &b->c.saved);
    return attn_i_multihead_list_inputs(&b->c, list, count);
}

static attn_status apart(void *data, void *workspace, size_t bytes)
{
    attn_i_named_view list[MOST_TENSORS];
    int outputs;
    const int count = list_tensors(data, list, &outputs);
    return attn_i_check_scratch_apart(list, count, workspace, bytes);
}

/* Checks everything that can be wrong. */
static attn_status prepare(const attn_multihead *multihead, const attn_multihead_backward_args *args, backward *b,
                           attn_i_call *call)
{
    attn_i_multihead_scratch scratch = {.arena = {.base = NULL}};
    attn_i_named_view list[MOST_TENSORS];
    int outputs;
    attn_status status = check(multihead, args, b);
    if (status == ATTN_OK) status = compute(b, &scratch);
    if (status == ATTN_OK) status = attn_i_scratch_measured(&scratch.arena, NULL);
    if (status != ATTN_OK) return status;
    const int count = list_tensors(b, list, &outputs);
    *call = (attn_i_call){b->c.means.engine, scratch.most, b->args.workspace, b->args.workspace_size, apart, run, b};
    return attn_i_views_apart(list, outputs, count);
}

attn_status attn_multihead_backward(const attn_multihead *multihead, const attn_multihead_backward_args *args)
{
    backward b;
    attn_i_call call;
    attn_status status = prepare(multihead, args, &b, &call);
    if (status == ATTN_OK) status = attn_i_call_run(&call);
    return status == ATTN_OK ? ATTN_OK : attn_i_fail_in("attn_multihead_backward", status);
}

attn_status attn_multihead_backward_workspace(const attn_multihead *multihead, const attn_multihead_backward_args *args,
                                              size_t *bytes)
{
    backward b;
    attn_i_call call;
    attn_status status = prepare(multihead, args, &b, &call);
    if (status == ATTN_OK) status = attn_i_call_workspace_size(call.scratch, bytes);
    return status == ATTN_OK ? ATTN_OK : attn_i_fail_in("attn_multihead_backward_workspace", status);
}
