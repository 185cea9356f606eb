/* SPDX-License-Identifier: BSD-3-Clause
 *
 * layers/multihead/forward.c: the verb attn_multihead_forward: projections, the attention in the middle, the projection
 * of its contexts. */
#include "call/scratch.h"
#include "handles/memory.h"
#include "handles/status.h"
#include "layers/memory/append.h"
#include "layers/multihead/call.h"

/* Without queries there is nothing to do, but where keys and values are kept. */
static int is_wanted(const attn_i_multihead_call *c)
{
    return attn_i_multihead_attends(c) || c->saved.data != NULL || (c->memory != NULL && !c->args.attend_only);
}

/* Without queries: of rows that are nowhere. */
static attn_status attend_to_nothing(attn_i_multihead_call *c, attn_i_multihead_scratch *scratch)
{
    attn_i_arena nowhere = {.base = NULL};
    attn_i_multihead_rows rows = {.logsumexp = NULL};
    attn_i_multihead_lay_out_parts(c, &nowhere, &rows);
    attn_i_multihead_lay_out_context(c, &nowhere, &rows);
    return attn_i_multihead_attend(c, scratch, &rows, 1);
}

/* Measures if the scratch has no memory; only then can it fail. */
static attn_status compute(attn_i_multihead_call *c, attn_i_multihead_scratch *scratch)
{
    if (!is_wanted(c)) return attend_to_nothing(c, scratch); /* but for sums over no queries */
    const attn_i_multihead_group output = {ATTN_I_PARTS, 1};
    const int measures = scratch->arena.base == NULL;
    attn_i_arena saved = {.base = measures ? NULL : (unsigned char *)c->saved.data};
    attn_i_arena *kept = c->saved.data != NULL ? &saved : &scratch->arena;
    attn_i_multihead_sequence inputs[ATTN_I_PARTS];
    attn_i_multihead_rows rows = {.logsumexp = NULL};
    attn_i_wide_begin(&c->wide, c->means.engine, c->given);
    attn_i_multihead_params(c, scratch);
    attn_i_multihead_inputs(c, scratch, inputs);
    attn_i_multihead_lay_out_parts(c, kept, &rows);
    attn_i_multihead_lay_out_context(c, kept, &rows);
    if (c->saved.data != NULL) attn_i_multihead_lay_out_logsumexp(c, kept, &rows);
    const attn_i_multihead_sequence to = attn_i_multihead_sequence_layout(c, ATTN_I_QUERY, &c->output, &scratch->arena);
    attn_i_multihead_end(scratch, &scratch->arena);
    if (scratch->arena.overflow) return attn_i_fail(ATTN_ERR_OVERFLOW, "the rows of these shapes cannot be addressed");

    attn_i_multihead_project(c, scratch, inputs, &rows);
    if (c->memory != NULL && !measures && !c->args.attend_only) {
        const attn_tensor key = attn_i_multihead_heads(c, &rows, ATTN_I_KEY);
        const attn_tensor value = attn_i_multihead_heads(c, &rows, ATTN_I_VALUE);
        attn_i_memory_put(c->memory, &key, &value, &c->growth);
    }
    attn_status status = attn_i_multihead_attend(c, scratch, &rows, 1);
    if (status != ATTN_OK) return status;
    const attn_i_view bias = attn_i_multihead_bias(c, output);
    attn_i_multihead_product(c, scratch, attn_i_multihead_used(c, ATTN_I_QUERY, rows.context),
                             attn_i_matrix_transpose(attn_i_multihead_weight(c, output)), &bias, to.use, 0);
    if (!measures) attn_i_multihead_sequence_write(c, &to, 0);
    return ATTN_OK;
}

static void run(void *data, void *memory)
{
    attn_i_multihead_scratch scratch = {.arena = {.base = memory}};
    (void)compute(data, &scratch);
}

enum { MOST_TENSORS = ATTN_I_MOST_TENSORS + ATTN_I_MOST_MULTIHEAD_TENSORS + 2 };

/* What is written first. */
static int list_tensors(const attn_i_multihead_call *c, attn_i_named_view list[MOST_TENSORS], int *outputs)
{
    int inner;
    int count = attn_i_list_add(list, 0, "", "output", &c->output);
    count = attn_i_list_add(list, count, "", "saved", &c->saved);
    const int first = count;
    count += attn_i_problem_list(&c->plan.problem, list + count, &inner);
    *outputs = first + inner;
    return attn_i_multihead_list_inputs(c, list, count);
}

static attn_status apart(void *data, void *workspace, size_t bytes)
{
    attn_i_named_view list[MOST_TENSORS];
    int outputs;
    const int count = list_tensors(data, list, &outputs);
    return attn_i_check_scratch_apart(list, count, workspace, bytes);
}

/* The memory whose sequences become longer; NULL: none does. */
static attn_memory *grown(const attn_i_multihead_call *c)
{
    return c->args.attend_only ? NULL : c->memory;
}

/* Everything else that can be wrong, of sequences that have the length, and the room, which they will have. */
static attn_status plan(attn_i_multihead_call *c, attn_i_call *call)
{
    attn_i_multihead_scratch scratch = {.arena = {.base = NULL}};
    attn_i_named_view list[MOST_TENSORS];
    int outputs;
    if (grown(c) != NULL) attn_i_memory_lengthen(c->memory, &c->growth, 1);
    attn_status status = compute(c, &scratch);
    if (grown(c) != NULL) attn_i_memory_lengthen(c->memory, &c->growth, -1);
    if (status == ATTN_OK) status = attn_i_scratch_measured(&scratch.arena, NULL);
    if (status != ATTN_OK) return status;
    const int count = list_tensors(c, list, &outputs);
    *call = (attn_i_call){c->means.engine, scratch.most, c->args.workspace, c->args.workspace_size, apart, run, c};
    return attn_i_views_apart(list, outputs, count);
}

/* Checks everything that can be wrong. What a memory will need is reserved, until it is trimmed. */
static attn_status prepare(const attn_multihead *multihead, const attn_multihead_args *args, attn_i_multihead_call *c,
                           attn_i_call *call)
{
    attn_multihead_args read;
    attn_status status = attn_i_multihead_args_read(args, "args", &read);
    if (status == ATTN_OK) status = attn_i_multihead_check(multihead, &read, 0, c);
    if (status != ATTN_OK) return status;
    if (grown(c) != NULL) status = attn_i_memory_reserve(c->memory, &c->growth);
    if (status == ATTN_OK) status = plan(c, call);
    if (status != ATTN_OK && grown(c) != NULL) attn_i_memory_trim(c->memory);
    return status;
}

attn_status attn_multihead_forward(const attn_multihead *multihead, const attn_multihead_args *args)
{
    attn_i_multihead_call c;
    attn_i_call call;
    attn_status status = prepare(multihead, args, &c, &call);
    if (status == ATTN_OK) {
        attn_memory *memory = grown(&c);
        if (memory != NULL) attn_i_memory_lengthen(memory, &c.growth, 1);
        status = attn_i_call_run(&call);
        if (status != ATTN_OK && memory != NULL) {
            attn_i_memory_lengthen(memory, &c.growth, -1);
            attn_i_memory_trim(memory);
        }
    }
    return status == ATTN_OK ? ATTN_OK : attn_i_fail_in("attn_multihead_forward", status);
}

attn_status attn_multihead_workspace(const attn_multihead *multihead, const attn_multihead_args *args, size_t *bytes)
{
    attn_i_multihead_call c;
    attn_i_call call;
    attn_status status = prepare(multihead, args, &c, &call);
    if (status == ATTN_OK && grown(&c) != NULL) attn_i_memory_trim(c.memory);
    if (status == ATTN_OK) status = attn_i_call_workspace_size(call.scratch, bytes);
    return status == ATTN_OK ? ATTN_OK : attn_i_fail_in("attn_multihead_workspace", status);
}

/* Asked before there is anything to save to. */
attn_status attn_multihead_saved(const attn_multihead *multihead, const attn_multihead_args *args, size_t *bytes)
{
    attn_i_multihead_call c;
    attn_multihead_args read;
    attn_status status = attn_i_multihead_args_read(args, "args", &read);
    read.saved = NULL;
    if (status == ATTN_OK) status = attn_i_multihead_check(multihead, &read, 1, &c);
    if (status == ATTN_OK) status = attn_i_multihead_saved_bytes(&c, bytes);
    return status == ATTN_OK ? ATTN_OK : attn_i_fail_in("attn_multihead_saved", status);
}
