/* SPDX-License-Identifier: BSD-3-Clause
 *
 * backward.c: the verb attn_backward: check the arguments, find scratch, compute. */
#include "blas_backward.h"
#include "engine.h"
#include "gradient.h"
#include "local_centre.h"
#include "local_way.h"
#include "scratch.h"
#include "status.h"
#include "structs.h"
#include "tiles_backward.h"

/* One call. */
typedef struct backward {
    attn_backward_args args;
    attn_i_gradient gradient;
    attn_i_tiles_backward tiles;
    int by_tiles, local;
    attn_i_call call;
} backward;

static void run(void *data, void *scratch)
{
    backward *b = data;
    if (b->local) {
        attn_i_local_backward_run(&b->gradient, scratch);
    } else if (b->by_tiles) {
        attn_i_tiles_backward_run(&b->tiles, scratch);
    } else {
        attn_i_blas_backward_run(&b->gradient, scratch);
    }
}

static attn_status apart(void *data, void *workspace, size_t bytes)
{
    const backward *b = data;
    return attn_i_gradient_check_workspace(&b->gradient, workspace, bytes);
}

static attn_status prepare(const attn_mechanism *mechanism, const attn_backward_args *given, backward *b)
{
    if (given == NULL) return attn_i_fail(ATTN_ERR_ARGUMENT, "args is NULL");
    attn_status status =
        attn_i_struct_read(&b->args, sizeof b->args, sizeof b->args, given, given->struct_size, "attn_backward_args");
    if (status == ATTN_OK) status = attn_i_gradient_check(mechanism, &b->args, &b->gradient);
    if (status != ATTN_OK) return status;
    attn_i_problem *p = &b->gradient.problem;
    b->call = (attn_i_call){p->engine, 0, b->args.workspace, b->args.workspace_size, apart, run, b, p};
    b->local = attn_i_centres_wanted(&b->gradient.problem);
    b->by_tiles = !b->local && b->gradient.problem.engine->way == ATTN_WAY_TILES &&
                  attn_i_tiles_backward_takes(&b->gradient, &b->tiles);
    status = b->local      ? attn_i_local_backward_scratch(&b->gradient, &b->call.scratch)
             : b->by_tiles ? attn_i_tiles_backward_scratch(&b->tiles, &b->call.scratch)
                           : attn_i_blas_backward_scratch(&b->gradient, &b->call.scratch);
    return status == ATTN_OK ? attn_i_call_add_relative(&b->call) : status;
}

attn_status attn_backward(const attn_mechanism *mechanism, const attn_backward_args *args)
{
    backward b;
    attn_status status = prepare(mechanism, args, &b);
    if (status == ATTN_OK) status = attn_i_call_run(&b.call);
    return status == ATTN_OK ? ATTN_OK : attn_i_fail_in("attn_backward", status);
}

attn_status attn_backward_workspace(const attn_mechanism *mechanism, const attn_backward_args *args, size_t *bytes)
{
    backward b;
    attn_status status = prepare(mechanism, args, &b);
    if (status == ATTN_OK) status = attn_i_call_workspace_size(b.call.scratch, bytes);
    return status == ATTN_OK ? ATTN_OK : attn_i_fail_in("attn_backward_workspace", status);
}
