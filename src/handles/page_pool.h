/* SPDX-License-Identifier: BSD-3-Clause
 *
 * handles/page_pool.h: the pages of a memory and of its forks: rows of all heads at so many positions, counted
 * references to each page, and those that nobody has. */
#ifndef ATTN_I_HANDLES_PAGE_POOL_H
#define ATTN_I_HANDLES_PAGE_POOL_H

#include "handles/engine.h"
#include "handles/store.h"

#include <pthread.h>

/* Forks come and go on any thread, where languages have finalizers: whoever counts pages or owners holds the lock. */
typedef struct attn_i_page_pool {
    attn_engine *engine;
    pthread_mutex_t lock;
    int64_t owners;      /* memories */
    int64_t heads, rows; /* of a page */
    int64_t count, free; /* pages, and those of them that nobody has: */
    int32_t *unused;     /* their numbers, the next one last */
    int32_t *references; /* to each page */
    int fixed;
    attn_i_store keys, values; /* [count, heads, rows, width] */
} attn_i_page_pool;

/* A pool with so many pages, that keeps what these stores do. */
attn_status attn_i_page_pool_make(attn_engine *engine, const attn_i_store *keys, const attn_i_store *values,
                                  int64_t heads, int64_t rows, int64_t count, int fixed, attn_i_page_pool **pool);
/* Gives it back. */
void attn_i_page_pool_destroy(attn_i_page_pool *pool);

/* At least so many pages that nobody has. ATTN_ERR_BUFFER: it is fixed. */
attn_status attn_i_page_pool_reserve(attn_i_page_pool *pool, int64_t pages);

/* A page that nobody has, which there is, for one who has it then; the same for a copy of one; one owner more, and
 * less. */
int32_t attn_i_page_take(attn_i_page_pool *pool);
int32_t attn_i_page_copy(attn_i_page_pool *pool, int32_t page);
void attn_i_page_share(attn_i_page_pool *pool, int32_t page);
void attn_i_page_release(attn_i_page_pool *pool, int32_t page);

#endif
