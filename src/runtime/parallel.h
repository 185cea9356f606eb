/* SPDX-License-Identifier: BSD-3-Clause
 *
 * runtime/parallel.h: runs independent items of work on an engine's threads. */
#ifndef ATTN_I_RUNTIME_PARALLEL_H
#define ATTN_I_RUNTIME_PARALLEL_H

#include "attn/attn.h"
#include "runtime/memory.h"

typedef struct attn_i_pool attn_i_pool;

/* A pool of `threads` threads, the caller of attn_i_parallel being one of them; they start with the first job that
 * wants them. With `execute` the jobs go to the application's executor instead. NULL: out of memory. */
attn_i_pool *attn_i_pool_create(const attn_i_allocator *allocator, int32_t threads, attn_execute_fn execute,
                                void *executor_data);
void attn_i_pool_destroy(attn_i_pool *pool, const attn_i_allocator *allocator);

/* Runs task(data, i) once for each i in 0 .. count - 1 and returns when all are done. Items are handed out in index
 * order. `work` is the whole job's, in elementary operations: small jobs stay on the calling thread. A pool serves
 * one job at a time; a second caller runs its job by itself meanwhile. Never fails: with fewer threads than wanted, or
 * none, it takes longer. Allocates nothing. */
void attn_i_parallel(attn_i_pool *pool, int64_t count, int64_t work, attn_task_fn task, void *data);

#endif
