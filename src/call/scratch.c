/* SPDX-License-Identifier: BSD-3-Clause
 *
 * call/scratch.c: where a verb's call gets its scratch. */
#include "call/scratch.h"

#include "handles/engine.h"
#include "handles/status.h"
#include "runtime/size.h"

#include <inttypes.h>

/* Where a call of few numbers works, so that it need not ask for memory. */
enum { SMALL = 16384 };

static attn_status too_large(void)
{
    return attn_i_fail(ATTN_ERR_OVERFLOW, "the scratch for these shapes cannot be addressed");
}

attn_status attn_i_scratch_measured(const attn_i_arena *arena, int64_t *bytes)
{
    if (arena->overflow) return too_large();
    if (bytes != NULL) *bytes = arena->used;
    return ATTN_OK;
}

attn_status attn_i_scratch_add(int64_t *bytes, int64_t more)
{
    return attn_i_add(*bytes, more, bytes) ? ATTN_OK : too_large();
}

attn_status attn_i_call_workspace_size(int64_t scratch, size_t *bytes)
{
    int64_t all = 0;
    if (scratch != 0 && !attn_i_add(scratch, ATTN_I_ALIGNMENT - 1, &all)) return too_large();
    if (bytes == NULL) return attn_i_fail(ATTN_ERR_ARGUMENT, "bytes is NULL");
    *bytes = (size_t)all;
    return ATTN_OK;
}

static void __attribute__((noinline)) run_on_stack(attn_i_call *call)
{
    _Alignas(ATTN_I_ALIGNMENT) unsigned char scratch[SMALL];
    call->run(call->data, scratch);
}

static attn_status run_in_workspace(attn_i_call *call, size_t bytes)
{
    if (call->workspace_size < bytes) {
        return attn_i_fail(ATTN_ERR_BUFFER, "workspace_size is %zu, but %zu bytes are needed", call->workspace_size,
                           bytes);
    }
    attn_status status = call->apart(call->data, call->workspace, bytes);
    if (status != ATTN_OK) return status;
    const uintptr_t misaligned = (uintptr_t)call->workspace % ATTN_I_ALIGNMENT;
    call->run(call->data, (char *)call->workspace + (misaligned == 0 ? 0 : ATTN_I_ALIGNMENT - misaligned));
    return ATTN_OK;
}

attn_status attn_i_call_run(attn_i_call *call)
{
    size_t bytes;
    attn_status status = attn_i_call_workspace_size(call->scratch, &bytes);
    if (status != ATTN_OK) return status;
    if (call->workspace != NULL) return run_in_workspace(call, bytes);
    if (call->scratch <= SMALL) {
        run_on_stack(call);
        return ATTN_OK;
    }
    const attn_i_allocator *allocator = &call->engine->allocator;
    void *memory = attn_i_allocate(allocator, (size_t)call->scratch);
    if (memory == NULL) {
        return attn_i_fail(ATTN_ERR_NOMEM, "no memory for %" PRId64 " bytes of scratch", call->scratch);
    }
    call->run(call->data, memory);
    attn_i_release(allocator, memory, (size_t)call->scratch);
    return ATTN_OK;
}
