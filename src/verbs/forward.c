/* SPDX-License-Identifier: BSD-3-Clause
 *
 * verbs/forward.c: the verb attn_forward: check the arguments, find scratch, compute. */
#include "verbs/forward.h"

#include "blas/forward.h"
#include "call/ragged.h"
#include "call/relative.h"
#include "call/scratch.h"
#include "call/stats.h"
#include "handles/status.h"
#include "local/centre.h"
#include "local/local.h"
#include "runtime/size.h"

static void *scratch_of(const attn_i_forward_plan *f)
{
    return (char *)f->memory + f->relative + f->wide_bytes;
}

/* The problem as it is computed: lengths, places and positions may have changed since it was planned. */
static void widen(attn_i_forward_plan *f)
{
    f->in_float32 = f->problem;
    f->in_float32.params = f->params;
    attn_i_wide_apply(&f->wide);
    if (f->problem.keys_are_values) f->in_float32.value = f->in_float32.key;
    if (!f->by_tiles && !f->ragged) { /* rows are multiplied by their scales, and lie together */
        f->in_float32.key_scales.data = f->in_float32.value_scales.data = NULL;
        f->in_float32.pages.table.data = NULL;
    }
}

static void lay_out_wide(attn_i_forward_plan *f, attn_i_arena *arena)
{
    attn_i_wide_begin(&f->wide, f->problem.engine, f->problem.given);
    if (f->ragged || f->by_tiles) { /* sequences do the rest for themselves; tiles read and write numbers of any type
                                       where they lie, but for parameters */
        attn_i_wide_add_mechanism(&f->wide, &f->problem, f->params);
    } else {
        attn_i_wide_add_problem(&f->wide, &f->problem, &f->in_float32, f->params);
        attn_i_wide_add(&f->wide, &f->problem.context, &f->in_float32.context, ATTN_I_WRITTEN);
    }
    attn_i_wide_layout(&f->wide, arena);
}

static attn_status plan_wide(attn_i_forward_plan *f)
{
    attn_i_arena arena = {.base = NULL};
    lay_out_wide(f, &arena);
    if (f->wide.count == 0) return ATTN_OK;
    widen(f);
    f->computed = &f->in_float32;
    return attn_i_scratch_measured(&arena, &f->wide_bytes);
}

/* ---------------------------------------------------------------------------------------- ragged batches */

static double work_of_sequence(void *whole, int64_t b)
{
    attn_i_forward_plan *f = whole;
    return f->cascade.groups > 0 ? attn_i_cascade_rest_work(&f->cascade, b) : attn_i_ragged_work(&f->problem, b);
}

static int is_cut(attn_i_forward_plan *f, int64_t b)
{
    return f->cascade.groups > 0 && attn_i_cascade_of(&f->cascade, b).count > 0;
}

static attn_status plan_sequence(attn_i_forward_plan *whole, int64_t b, int alone, attn_i_arena *arena,
                                 attn_i_forward_plan *one)
{
    if (is_cut(whole, b)) {
        attn_i_cascade_rest(&whole->cascade, whole->computed, b, alone, arena, &one->problem);
    } else {
        attn_i_ragged_slice(whole->computed, b, alone, &one->problem);
    }
    return attn_i_forward_plan_make(one);
}

static attn_status measure_sequence(void *whole, int64_t b, int alone, int64_t *bytes)
{
    attn_i_arena arena = {.base = NULL};
    attn_i_forward_plan one;
    attn_status status = plan_sequence(whole, b, alone, &arena, &one);
    if (status == ATTN_OK) status = attn_i_scratch_measured(&arena, bytes);
    return status == ATTN_OK ? attn_i_scratch_add(bytes, one.scratch) : status;
}

static void compute_sequence(void *whole, int64_t b, int alone, void *scratch)
{
    attn_i_forward_plan *f = whole, one;
    attn_i_arena arena = {.base = scratch};
    plan_sequence(f, b, alone, &arena, &one); /* which has not failed before */
    attn_i_ragged_fill(&f->problem, &one.problem);
    attn_i_forward_begin(&one, (char *)scratch + arena.used);
    attn_i_forward_run(&one);
    if (is_cut(f, b)) attn_i_cascade_join(&f->cascade, f->computed, b, &one.problem);
}

static double work_of_prefix(void *whole, int64_t b)
{
    attn_i_forward_plan *f = whole;
    return attn_i_cascade_prefix_work(&f->cascade, b);
}

static attn_status measure_prefix(void *whole, int64_t b, int alone, int64_t *bytes)
{
    attn_i_forward_plan *f = whole, one;
    *bytes = 0;
    if (work_of_prefix(f, b) == 0) return ATTN_OK;
    attn_i_cascade_prefix(&f->cascade, f->computed, b, alone, &one.problem);
    attn_status status = attn_i_forward_plan_make(&one);
    *bytes = one.scratch;
    return status;
}

static void compute_prefix(void *whole, int64_t b, int alone, void *scratch)
{
    attn_i_forward_plan *f = whole, one;
    if (work_of_prefix(f, b) == 0) return;
    attn_i_cascade_prefix(&f->cascade, f->computed, b, alone, &one.problem);
    attn_i_forward_plan_make(&one); /* which has not failed before */
    attn_i_forward_begin(&one, scratch);
    attn_i_forward_run(&one);
}

/* What is shared is computed before the rest, in the same scratch. */
static attn_status plan_prefixes(attn_i_forward_plan *f)
{
    attn_i_arena arena = {.base = NULL};
    int64_t bytes = 0;
    f->cascade_bytes = 0;
    attn_i_cascade_begin(&f->cascade, &f->problem);
    if (f->cascade.groups == 0) return ATTN_OK;
    f->prefixes = (attn_i_sequences){
        .p = &f->problem, .call = f, .work = work_of_prefix, .measure = measure_prefix, .compute = compute_prefix};
    attn_status status = attn_i_sequences_plan(&f->prefixes, 0, &bytes);
    f->scratch = attn_i_max(f->scratch, bytes);
    attn_i_cascade_layout(&f->cascade, &arena);
    if (status == ATTN_OK) status = attn_i_scratch_measured(&arena, &f->cascade_bytes);
    return status;
}

static attn_status plan_ragged(attn_i_forward_plan *f)
{
    int64_t bytes = 0;
    attn_status status = plan_wide(f);
    if (status == ATTN_OK) status = plan_prefixes(f);
    if (status != ATTN_OK) return status;
    f->sequences = (attn_i_sequences){.p = &f->problem,
                                      .call = f,
                                      .work = work_of_sequence,
                                      .measure = measure_sequence,
                                      .compute = compute_sequence};
    status = attn_i_sequences_plan(&f->sequences, 0, &bytes);
    f->scratch = attn_i_max(f->scratch, bytes);
    if (status == ATTN_OK) status = attn_i_scratch_add(&f->scratch, f->cascade_bytes);
    return status == ATTN_OK ? attn_i_scratch_add(&f->scratch, f->wide_bytes) : status;
}

static void run_ragged(attn_i_forward_plan *f, void *scratch)
{
    void *after = (char *)scratch + f->cascade_bytes;
    if (f->cascade.groups > 0) {
        attn_i_arena arena = {.base = scratch};
        attn_i_cascade_layout(&f->cascade, &arena);
        attn_i_cascade_load(&f->cascade);
        attn_i_sequences_run(&f->prefixes, after);
    }
    attn_i_sequences_run(&f->sequences, after);
}

/* ---------------------------------------------------------------------------------------------- any call */

/* Predictive local attention has a way of its own. What the tiles do not take, and what an engine does not want them
 * to, goes through the BLAS. */
attn_status attn_i_forward_plan_make(attn_i_forward_plan *f)
{
    attn_i_problem *p = f->computed = &f->problem;
    f->nothing = p->queries == 0 || !attn_i_problem_is_wanted(p);
    f->relative = f->wide_bytes = f->scratch = 0;
    f->ragged = attn_i_problem_is_ragged(p);
    f->by_tiles = f->local = 0;
    if (f->ragged) return plan_ragged(f);
    if (f->nothing) return ATTN_OK;
    f->local = attn_i_centres_wanted(p);
    f->by_tiles = !f->local && p->engine->way == ATTN_WAY_TILES && attn_i_tiles_takes(p, &f->tiles);
    attn_status status = ATTN_OK;
    if (attn_i_problem_is_narrow(p) || (p->pages.table.data != NULL && !f->by_tiles)) {
        status = plan_wide(f);
        p = f->computed;
        if (f->by_tiles) attn_i_tiles_takes(p, &f->tiles);
    }
    if (status == ATTN_OK) {
        status = f->local      ? attn_i_local_way_scratch(p, &f->scratch)
                 : f->by_tiles ? attn_i_tiles_scratch(&f->tiles, &f->scratch)
                               : attn_i_blas_way_scratch(p, &f->scratch);
    }
    if (status == ATTN_OK) status = attn_i_relative_scratch(p, &f->relative, &f->scratch);
    return status == ATTN_OK ? attn_i_scratch_add(&f->scratch, f->wide_bytes) : status;
}

void attn_i_forward_begin(attn_i_forward_plan *f, void *memory)
{
    f->memory = memory;
    if (f->nothing && !f->ragged) return;
    if (f->computed != &f->problem) {
        attn_i_arena arena = {.base = (unsigned char *)memory + f->relative};
        lay_out_wide(f, &arena);
    }
    if (f->by_tiles && !f->ragged) attn_i_tiles_begin(&f->tiles, scratch_of(f));
}

void attn_i_forward_run(attn_i_forward_plan *f)
{
    if (f->nothing && !f->ragged) {
        if (f->problem.stats.wanted) attn_i_stats_clear_sums(&f->problem);
        return;
    }
    const int is_wide = f->computed != &f->problem;
    void *scratch = scratch_of(f);
    if (is_wide) {
        widen(f);
        attn_i_wide_load(&f->wide, f->problem.engine->pool);
    }
    if (f->ragged) {
        run_ragged(f, scratch);
        return; /* what is widened is read alone */
    }
    attn_i_relative_load(f->computed, f->memory);
    if (f->local) {
        attn_i_local_way_run(f->computed, scratch);
    } else if (f->by_tiles) {
        attn_i_tiles_run(&f->tiles);
    } else {
        attn_i_blas_way_run(f->computed, scratch);
    }
    if (is_wide) attn_i_wide_store(&f->wide, f->problem.engine->pool);
}

static void run(void *data, void *scratch)
{
    attn_i_forward_begin(data, scratch);
    attn_i_forward_run(data);
}

static attn_status apart(void *data, void *workspace, size_t bytes)
{
    const attn_i_forward_plan *f = data;
    return attn_i_problem_check_workspace(&f->problem, workspace, bytes);
}

/* Checks everything that can be wrong. */
static attn_status prepare(const attn_mechanism *mechanism, const attn_forward_args *given, attn_i_forward_plan *f,
                           attn_i_call *call)
{
    attn_forward_args room;
    const attn_forward_args *args;
    attn_status status = attn_i_forward_args_find(given, &room, &args);
    if (status == ATTN_OK) status = attn_i_problem_check(mechanism, args, &f->problem);
    if (status == ATTN_OK) status = attn_i_forward_plan_make(f);
    if (status != ATTN_OK) return status;
    *call = (attn_i_call){f->problem.engine, f->scratch, args->workspace, args->workspace_size, apart, run, f};
    return ATTN_OK;
}

attn_status attn_forward(const attn_mechanism *mechanism, const attn_forward_args *args)
{
    attn_i_forward_plan f;
    attn_i_call call;
    attn_status status = prepare(mechanism, args, &f, &call);
    if (status == ATTN_OK) status = attn_i_call_run(&call);
    return status == ATTN_OK ? ATTN_OK : attn_i_fail_in("attn_forward", status);
}

attn_status attn_forward_workspace(const attn_mechanism *mechanism, const attn_forward_args *args, size_t *bytes)
{
    attn_i_forward_plan f;
    attn_i_call call;
    attn_status status = prepare(mechanism, args, &f, &call);
    if (status == ATTN_OK) status = attn_i_call_workspace_size(f.scratch, bytes);
    return status == ATTN_OK ? ATTN_OK : attn_i_fail_in("attn_forward_workspace", status);
}
