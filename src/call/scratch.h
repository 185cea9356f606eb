/* SPDX-License-Identifier: BSD-3-Clause
 *
 * call/scratch.h: where a verb's call gets its scratch: the caller's workspace, the stack when it is little, or the
 * engine's allocator. */
#ifndef ATTN_I_CALL_SCRATCH_H
#define ATTN_I_CALL_SCRATCH_H

#include "handles/engine.h"

/* One call that knows how much scratch it needs. */
typedef struct attn_i_call {
    const attn_engine *engine;
    int64_t scratch; /* bytes, aligned to ATTN_I_ALIGNMENT */
    void *workspace; /* the caller's, or NULL */
    size_t workspace_size;
    attn_status (*apart)(void *data, void *workspace, size_t bytes); /* whether the workspace, if there is one, meets
                                                                         no tensor */
    void (*run)(void *data, void *scratch);                          /* cannot fail */
    void *data;
} attn_i_call;

/* The bytes that an arena without memory has been asked for; bytes may be NULL. ATTN_ERR_OVERFLOW. */
attn_status attn_i_scratch_measured(const attn_i_arena *arena, int64_t *bytes);

/* Adds to them. ATTN_ERR_OVERFLOW. */
attn_status attn_i_scratch_add(int64_t *bytes, int64_t more);

/* The bytes of a workspace for so much scratch: it may start anywhere. ATTN_ERR_ARGUMENT for a NULL. */
attn_status attn_i_call_workspace_size(int64_t scratch, size_t *bytes);

/* Finds scratch and runs. ATTN_ERR_BUFFER, ATTN_ERR_OVERLAP, ATTN_ERR_NOMEM, ATTN_ERR_OVERFLOW: before anything ran. */
attn_status attn_i_call_run(attn_i_call *call);

#endif
