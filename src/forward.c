/* SPDX-License-Identifier: BSD-3-Clause
 *
 * forward.c: the verb attn_forward: check the arguments, find scratch, compute. */
#include "blas_way.h"
#include "engine.h"
#include "local_centre.h"
#include "local_way.h"
#include "problem.h"
#include "scratch.h"
#include "status.h"
#include "structs.h"
#include "tiles_way.h"

/* One call. */
typedef struct forward {
    attn_forward_args args;
    attn_i_problem problem;
    attn_i_tiles tiles;
    int by_tiles, local;
    attn_i_call call;
} forward;

static void run(void *data, void *scratch)
{
    forward *f = data;
    if (f->local) {
        attn_i_local_way_run(&f->problem, scratch);
    } else if (f->by_tiles) {
        attn_i_tiles_run(&f->tiles, scratch);
    } else {
        attn_i_blas_way_run(&f->problem, scratch);
    }
}

static attn_status apart(void *data, void *workspace, size_t bytes)
{
    const forward *f = data;
    return attn_i_problem_check_workspace(&f->problem, workspace, bytes);
}

/* Checks everything that can be wrong, and chooses the way: what the tiles do not take, and what an engine does not
 * want them to, goes through the BLAS. */
static attn_status prepare(const attn_mechanism *mechanism, const attn_forward_args *given, forward *f)
{
    attn_status status = attn_i_forward_args_read(given, &f->args);
    if (status == ATTN_OK) status = attn_i_problem_check(mechanism, &f->args, &f->problem);
    if (status != ATTN_OK) return status;
    f->call =
        (attn_i_call){f->problem.engine, 0, f->args.workspace, f->args.workspace_size, apart, run, f, &f->problem};
    f->local = attn_i_centres_wanted(&f->problem);
    f->by_tiles = !f->local && f->problem.engine->way == ATTN_WAY_TILES && attn_i_tiles_takes(&f->problem, &f->tiles);
    status = f->local      ? attn_i_local_way_scratch(&f->problem, &f->call.scratch)
             : f->by_tiles ? attn_i_tiles_scratch(&f->tiles, &f->call.scratch)
                           : attn_i_blas_way_scratch(&f->problem, &f->call.scratch);
    return status == ATTN_OK ? attn_i_call_add_relative(&f->call) : status;
}

attn_status attn_forward(const attn_mechanism *mechanism, const attn_forward_args *args)
{
    forward f;
    attn_status status = prepare(mechanism, args, &f);
    if (status == ATTN_OK) status = attn_i_call_run(&f.call);
    return status == ATTN_OK ? ATTN_OK : attn_i_fail_in("attn_forward", status);
}

attn_status attn_forward_workspace(const attn_mechanism *mechanism, const attn_forward_args *args, size_t *bytes)
{
    forward f;
    attn_status status = prepare(mechanism, args, &f);
    if (status == ATTN_OK) status = attn_i_call_workspace_size(f.call.scratch, bytes);
    return status == ATTN_OK ? ATTN_OK : attn_i_fail_in("attn_forward_workspace", status);
}
