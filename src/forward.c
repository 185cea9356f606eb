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

/* One call. */
typedef struct call {
    attn_forward_args args;
    attn_i_problem problem;
    attn_i_tiles tiles;
    int by_tiles;
    int64_t scratch, workspace; /* bytes; a workspace may start anywhere, the scratch in it is aligned */
} call;

static void run(call *c, void *scratch)
{
    if (c->by_tiles) {
        attn_i_tiles_run(&c->tiles, scratch);
    } else {
        attn_i_blas_way_run(&c->problem, scratch);
    }
}

/* Checks everything that can be wrong, and chooses the way: what the tiles do not take, and what an engine does not
 * want them to, goes through the BLAS. */
static attn_status prepare(const attn_mechanism *mechanism, const attn_forward_args *given, call *c)
{
    attn_status status = check(mechanism, given, &c->args, &c->problem);
    if (status != ATTN_OK) return status;
    c->by_tiles = c->problem.engine->way == ATTN_WAY_TILES && attn_i_tiles_takes(&c->problem, &c->tiles);
    status =
        c->by_tiles ? attn_i_tiles_scratch(&c->tiles, &c->scratch) : attn_i_blas_way_scratch(&c->problem, &c->scratch);
    if (status != ATTN_OK) return status;
    c->workspace = 0;
    if (c->scratch == 0 || attn_i_add(c->scratch, ATTN_I_ALIGNMENT - 1, &c->workspace)) return ATTN_OK;
    return attn_i_fail(ATTN_ERR_OVERFLOW, "the scratch for these shapes cannot be addressed");
}

/* Where a call of few numbers works, so that it need not ask for memory. */
enum { SMALL = 16384 };

static void __attribute__((noinline)) run_on_stack(call *c)
{
    _Alignas(ATTN_I_ALIGNMENT) unsigned char scratch[SMALL];
    run(c, scratch);
}

static attn_status run_in_workspace(call *c)
{
    const attn_forward_args *args = &c->args;
    if (args->workspace_size < (uint64_t)c->workspace) {
        return attn_i_fail(ATTN_ERR_BUFFER, "workspace_size is %zu, but %" PRId64 " bytes are needed",
                           args->workspace_size, c->workspace);
    }
    attn_status status = attn_i_problem_check_workspace(&c->problem, args->workspace, (size_t)c->workspace);
    if (status != ATTN_OK) return status;
    const uintptr_t misaligned = (uintptr_t)args->workspace % ATTN_I_ALIGNMENT;
    run(c, (char *)args->workspace + (misaligned == 0 ? 0 : ATTN_I_ALIGNMENT - misaligned));
    return ATTN_OK;
}

static attn_status forward(const attn_mechanism *mechanism, const attn_forward_args *given)
{
    call c;
    attn_status status = prepare(mechanism, given, &c);
    if (status != ATTN_OK) return status;
    if (c.args.workspace != NULL) return run_in_workspace(&c);
    if (c.scratch <= SMALL) {
        run_on_stack(&c);
        return ATTN_OK;
    }
    const attn_i_allocator *allocator = &c.problem.engine->allocator;
    void *memory = attn_i_allocate(allocator, (size_t)c.scratch);
    if (memory == NULL) return attn_i_fail(ATTN_ERR_NOMEM, "no memory for %" PRId64 " bytes of scratch", c.scratch);
    run(&c, memory);
    attn_i_release(allocator, memory, (size_t)c.scratch);
    return ATTN_OK;
}

attn_status attn_forward(const attn_mechanism *mechanism, const attn_forward_args *args)
{
    attn_status status = forward(mechanism, args);
    return status == ATTN_OK ? ATTN_OK : attn_i_fail_in("attn_forward", status);
}

static attn_status forward_workspace(const attn_mechanism *mechanism, const attn_forward_args *given, size_t *bytes)
{
    call c;
    attn_status status = prepare(mechanism, given, &c);
    if (status != ATTN_OK) return status;
    if (bytes == NULL) return attn_i_fail(ATTN_ERR_ARGUMENT, "bytes is NULL");
    *bytes = (size_t)c.workspace;
    return ATTN_OK;
}

attn_status attn_forward_workspace(const attn_mechanism *mechanism, const attn_forward_args *args, size_t *bytes)
{
    attn_status status = forward_workspace(mechanism, args, bytes);
    return status == ATTN_OK ? ATTN_OK : attn_i_fail_in("attn_forward_workspace", status);
}
