/* SPDX-License-Identifier: BSD-3-Clause
 *
 * forward.c: the verb attn_forward: check the arguments, find scratch, compute. */
#include "blas_way.h"
#include "engine.h"
#include "problem.h"
#include "runtime/size.h"
#include "status.h"
#include "structs.h"
#include "tiles_way.h"

#include <inttypes.h>

static attn_status check(const attn_mechanism *mechanism, const attn_forward_args *given, attn_forward_args *args,
                         attn_i_problem *problem)
{
    if (given == NULL) return attn_i_fail(ATTN_ERR_ARGUMENT, "args is NULL");
    attn_status status =
        attn_i_struct_read(args, sizeof *args, sizeof *args, given, given->struct_size, "attn_forward_args");
    return status == ATTN_OK ? attn_i_problem_check(mechanism, args, problem) : status;
}

/* What the tiles do not take, and what an engine does not want them to, goes through the BLAS. */
static int goes_by_tiles(const attn_i_problem *problem)
{
    return problem->engine->way == ATTN_WAY_TILES && attn_i_tiles_way_takes(problem);
}

static void run(const attn_i_problem *problem, void *scratch)
{
    if (goes_by_tiles(problem)) {
        attn_i_tiles_way_run(problem, scratch);
    } else {
        attn_i_blas_way_run(problem, scratch);
    }
}

/* A workspace may start anywhere; the scratch in it is aligned. */
static attn_status workspace_bytes(const attn_i_problem *problem, int64_t *scratch, int64_t *workspace)
{
    attn_status status =
        goes_by_tiles(problem) ? attn_i_tiles_way_scratch(problem, scratch) : attn_i_blas_way_scratch(problem, scratch);
    if (status != ATTN_OK) return status;
    *workspace = 0;
    if (*scratch == 0 || attn_i_add(*scratch, ATTN_I_ALIGNMENT - 1, workspace)) return ATTN_OK;
    return attn_i_fail(ATTN_ERR_OVERFLOW, "the scratch for these shapes cannot be addressed");
}

static attn_status forward(const attn_mechanism *mechanism, const attn_forward_args *given)
{
    attn_forward_args args = ATTN_FORWARD_ARGS_INIT;
    attn_i_problem problem;
    int64_t scratch = 0, workspace = 0;
    attn_status status = check(mechanism, given, &args, &problem);
    if (status == ATTN_OK) status = workspace_bytes(&problem, &scratch, &workspace);
    if (status != ATTN_OK) return status;

    if (args.workspace != NULL) {
        if (args.workspace_size < (uint64_t)workspace) {
            return attn_i_fail(ATTN_ERR_BUFFER, "workspace_size is %zu, but %" PRId64 " bytes are needed",
                               args.workspace_size, workspace);
        }
        status = attn_i_problem_check_workspace(&problem, args.workspace, (size_t)workspace);
        if (status != ATTN_OK) return status;
        uintptr_t misaligned = (uintptr_t)args.workspace % ATTN_I_ALIGNMENT;
        run(&problem, (char *)args.workspace + (misaligned == 0 ? 0 : ATTN_I_ALIGNMENT - misaligned));
        return ATTN_OK;
    }
    const attn_i_allocator *allocator = &problem.engine->allocator;
    void *memory = NULL;
    if (scratch > 0) {
        memory = attn_i_allocate(allocator, (size_t)scratch);
        if (memory == NULL) return attn_i_fail(ATTN_ERR_NOMEM, "no memory for %" PRId64 " bytes of scratch", scratch);
    }
    run(&problem, memory);
    attn_i_release(allocator, memory, (size_t)scratch);
    return ATTN_OK;
}

attn_status attn_forward(const attn_mechanism *mechanism, const attn_forward_args *args)
{
    attn_status status = forward(mechanism, args);
    return status == ATTN_OK ? ATTN_OK : attn_i_fail_in("attn_forward", status);
}

static attn_status forward_workspace(const attn_mechanism *mechanism, const attn_forward_args *given, size_t *bytes)
{
    attn_forward_args args = ATTN_FORWARD_ARGS_INIT;
    attn_i_problem problem;
    int64_t scratch, workspace;
    attn_status status = check(mechanism, given, &args, &problem);
    if (status != ATTN_OK) return status;
    if (bytes == NULL) return attn_i_fail(ATTN_ERR_ARGUMENT, "bytes is NULL");
    status = workspace_bytes(&problem, &scratch, &workspace);
    if (status == ATTN_OK) *bytes = (size_t)workspace;
    return status;
}

attn_status attn_forward_workspace(const attn_mechanism *mechanism, const attn_forward_args *args, size_t *bytes)
{
    attn_status status = forward_workspace(mechanism, args, bytes);
    return status == ATTN_OK ? ATTN_OK : attn_i_fail_in("attn_forward_workspace", status);
}
