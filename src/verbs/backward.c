/* SPDX-License-Identifier: BSD-3-Clause
 *
 * verbs/backward.c: the verb attn_backward: check the arguments, find scratch, compute. */
#include "verbs/backward.h"

#include "blas/backward.h"
#include "call/ragged.h"
#include "call/relative.h"
#include "call/scratch.h"
#include "call/sinks.h"
#include "handles/status.h"
#include "handles/structs.h"
#include "local/centre.h"
#include "local/local.h"

#include <stddef.h>

static void lay_out_wide(attn_i_backward_plan *b, attn_i_arena *arena)
{
    const attn_i_gradient *g = &b->gradient;
    attn_i_gradient *computed = &b->in_float32;
    const int rows = ATTN_I_WRITTEN | (g->accumulate ? ATTN_I_READ : 0);
    const int sums = ATTN_I_WRITTEN | (g->adds_sums ? ATTN_I_READ : 0);
    attn_i_wide *wide = &b->wide;
    attn_i_wide_begin(wide, g->problem.engine, g->problem.given);
    *computed = *g;
    computed->problem.params = b->params;
    if (b->ragged) { /* its sequences do the rest for themselves */
        attn_i_wide_add_mechanism(wide, &g->problem, b->params);
        attn_i_wide_add(wide, &g->d_sinks, &computed->d_sinks, sums);
    } else {
        attn_i_wide_add_problem(wide, &g->problem, &computed->problem, b->params);
        attn_i_wide_add(wide, &g->problem.context, &computed->problem.context, ATTN_I_READ);
        attn_i_wide_add(wide, &g->d_context, &computed->d_context, ATTN_I_READ);
        attn_i_wide_add(wide, &g->d_query, &computed->d_query, rows);
        attn_i_wide_add(wide, &g->d_key, &computed->d_key, rows);
        attn_i_wide_add(wide, &g->d_value, &computed->d_value, rows);
    }
    attn_i_wide_add(wide, &g->d_bias, &computed->d_bias, sums);
    for (int32_t i = 0; i < g->problem.mechanism->param_count; i++) {
        attn_i_wide_add(wide, &g->d_params[i], &computed->d_params[i], sums);
    }
    attn_i_wide_layout(wide, arena);
    if (g->problem.keys_are_values) computed->problem.value = computed->problem.key;
}

static attn_status plan_wide(attn_i_backward_plan *b)
{
    attn_i_arena arena = {.base = NULL};
    lay_out_wide(b, &arena);
    b->computed = &b->in_float32;
    return attn_i_scratch_measured(&arena, &b->wide_bytes);
}

/* ---------------------------------------------------------------------------------------- ragged batches */

static attn_status plan_sequence(const attn_i_backward_plan *whole, int64_t b, int alone, attn_i_backward_plan *one)
{
    attn_i_ragged_slice_gradient(whole->computed, b, alone, &one->gradient);
    return attn_i_backward_plan_make(one);
}

static double work_of_sequence(void *whole, int64_t b)
{
    const attn_i_backward_plan *all = whole;
    return attn_i_ragged_work(&all->gradient.problem, b);
}

static attn_status measure_sequence(void *whole, int64_t b, int alone, int64_t *bytes)
{
    attn_i_backward_plan one;
    attn_status status = plan_sequence(whole, b, alone, &one);
    *bytes = one.scratch;
    return status;
}

static void compute_sequence(void *whole, int64_t b, int alone, void *scratch)
{
    attn_i_backward_plan one;
    plan_sequence(whole, b, alone, &one); /* which has not failed before */
    attn_i_backward_run(&one, scratch);
}

static attn_status plan_ragged(attn_i_backward_plan *b)
{
    attn_status status = plan_wide(b);
    if (status != ATTN_OK) return status;
    b->sequences = (attn_i_sequences){.p = &b->gradient.problem,
                                      .call = b,
                                      .work = work_of_sequence,
                                      .measure = measure_sequence,
                                      .compute = compute_sequence};
    status = attn_i_sequences_plan(&b->sequences, attn_i_gradient_has_sums(&b->gradient), &b->scratch);
    return status == ATTN_OK ? attn_i_scratch_add(&b->scratch, b->wide_bytes) : status;
}

/* Sequences add to what they share, in their order, which is rounded to 16 bits once. */
static void run_ragged(attn_i_backward_plan *b, void *memory)
{
    attn_i_arena arena = {.base = memory};
    attn_i_pool *pool = b->gradient.problem.engine->pool;
    lay_out_wide(b, &arena);
    attn_i_wide_load(&b->wide, pool);
    attn_i_gradient_clear_sums(b->computed);
    attn_i_sequences_run(&b->sequences, (char *)memory + b->wide_bytes);
    attn_i_wide_store(&b->wide, pool);
}

/* ---------------------------------------------------------------------------------------- any call */

attn_status attn_i_backward_plan_make(attn_i_backward_plan *b)
{
    attn_i_gradient *g = b->computed = &b->gradient;
    b->nothing = !attn_i_gradient_flows(g);
    b->relative = b->wide_bytes = b->scratch = 0;
    b->ragged = attn_i_problem_is_ragged(&g->problem);
    if (b->ragged) return plan_ragged(b);
    if (b->nothing) return ATTN_OK;
    b->local = attn_i_centres_wanted(&g->problem);
    b->by_tiles = !b->local && g->problem.engine->way == ATTN_WAY_TILES && attn_i_tiles_backward_takes(g, &b->tiles);
    const int as_stored = b->by_tiles && attn_i_tiles_backward_reads_stored(&g->problem);
    if (attn_i_problem_is_narrow(&g->problem) && !as_stored) {
        attn_status status = plan_wide(b);
        if (status != ATTN_OK) return status;
        g = b->computed;
        if (b->by_tiles) b->by_tiles = attn_i_tiles_backward_takes(g, &b->tiles);
    }
    attn_status status = b->local      ? attn_i_local_backward_scratch(g, &b->scratch)
                         : b->by_tiles ? attn_i_tiles_backward_scratch(&b->tiles, &b->scratch)
                                       : attn_i_blas_backward_scratch(g, &b->scratch);
    if (status == ATTN_OK) status = attn_i_relative_scratch(&g->problem, &b->relative, &b->scratch);
    return status == ATTN_OK ? attn_i_scratch_add(&b->scratch, b->wide_bytes) : status;
}

void attn_i_backward_run(attn_i_backward_plan *b, void *memory)
{
    if (b->ragged) {
        run_ragged(b, memory);
        return;
    }
    attn_i_sink_gradients(&b->gradient);
    if (b->nothing) {
        attn_i_gradient_clear(&b->gradient);
        return;
    }
    const int is_wide = b->computed != &b->gradient;
    attn_i_pool *pool = b->gradient.problem.engine->pool;
    void *scratch = (char *)memory + b->relative + b->wide_bytes;
    if (is_wide) {
        attn_i_arena arena = {.base = (unsigned char *)memory + b->relative};
        lay_out_wide(b, &arena);
        attn_i_wide_load(&b->wide, pool);
    }
    attn_i_relative_load(&b->computed->problem, memory);
    if (b->local) {
        attn_i_local_backward_run(b->computed, scratch);
    } else if (b->by_tiles) {
        attn_i_tiles_backward_run(&b->tiles, scratch);
    } else {
        attn_i_blas_backward_run(b->computed, scratch);
    }
    if (is_wide) attn_i_wide_store(&b->wide, pool);
}

static void run(void *data, void *scratch)
{
    attn_i_backward_run(data, scratch);
}

static attn_status apart(void *data, void *workspace, size_t bytes)
{
    const attn_i_backward_plan *b = data;
    return attn_i_gradient_check_workspace(&b->gradient, workspace, bytes);
}

/* Checks everything that can be wrong. */
static attn_status prepare(const attn_mechanism *mechanism, const attn_backward_args *given, attn_i_backward_plan *b,
                           attn_i_call *call)
{
    attn_backward_args args;
    if (given == NULL) return attn_i_fail(ATTN_ERR_ARGUMENT, "args is NULL");
    attn_status status = attn_i_struct_read(&args, sizeof args, offsetof(attn_backward_args, d_sinks), given,
                                            given->struct_size, "attn_backward_args");
    if (status == ATTN_OK) status = attn_i_gradient_check(mechanism, &args, &b->gradient);
    if (status == ATTN_OK) status = attn_i_backward_plan_make(b);
    if (status != ATTN_OK) return status;
    *call = (attn_i_call){b->gradient.problem.engine, b->scratch, args.workspace, args.workspace_size, apart, run, b};
    return ATTN_OK;
}

attn_status attn_backward(const attn_mechanism *mechanism, const attn_backward_args *args)
{
    attn_i_backward_plan b;
    attn_i_call call;
    attn_status status = prepare(mechanism, args, &b, &call);
    if (status == ATTN_OK) status = attn_i_call_run(&call);
    return status == ATTN_OK ? ATTN_OK : attn_i_fail_in("attn_backward", status);
}

attn_status attn_backward_workspace(const attn_mechanism *mechanism, const attn_backward_args *args, size_t *bytes)
{
    attn_i_backward_plan b;
    attn_i_call call;
    attn_status status = prepare(mechanism, args, &b, &call);
    if (status == ATTN_OK) status = attn_i_call_workspace_size(b.scratch, bytes);
    return status == ATTN_OK ? ATTN_OK : attn_i_fail_in("attn_backward_workspace", status);
}
