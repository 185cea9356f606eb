/* SPDX-License-Identifier: BSD-3-Clause
 *
 * handles/page_pool.c: pages that sequences of memories have, alone or together. */
#include "handles/page_pool.h"

#include "handles/status.h"
#include "runtime/size.h"

#include <inttypes.h>
#include <string.h>

/* What grows with the pages. */
typedef struct contents {
    int64_t count;
    int32_t *unused, *references;
    char *keys, *values;
} contents;

static void release(const attn_i_page_pool *p, const contents *c)
{
    const attn_i_allocator *allocator = &p->engine->allocator;
    int64_t keys = 0, values = 0, scales;
    attn_i_store_bytes(&p->keys, c->count, p->heads, p->rows, &keys, &scales);
    attn_i_store_bytes(&p->values, c->count, p->heads, p->rows, &values, &scales);
    attn_i_release(allocator, c->unused, (size_t)c->count * sizeof *c->unused);
    attn_i_release(allocator, c->references, (size_t)c->count * sizeof *c->references);
    attn_i_release(allocator, c->keys, (size_t)keys);
    attn_i_release(allocator, c->values, (size_t)values);
}

static attn_status make_contents(const attn_i_page_pool *p, int64_t count, contents *c)
{
    int64_t keys = 0, values = 0, scales;
    *c = (contents){.count = count};
    if (count > INT32_MAX) return attn_i_fail(ATTN_ERR_OVERFLOW, "%" PRId64 " pages cannot be counted", count);
    attn_status status = attn_i_store_bytes(&p->keys, count, p->heads, p->rows, &keys, &scales);
    if (status == ATTN_OK) status = attn_i_store_bytes(&p->values, count, p->heads, p->rows, &values, &scales);
    c->unused = attn_i_store_allocate(&p->engine->allocator, count * (int64_t)sizeof *c->unused, &status);
    c->references = attn_i_store_allocate(&p->engine->allocator, count * (int64_t)sizeof *c->references, &status);
    c->keys = attn_i_store_allocate_rows(&p->engine->allocator, keys, 1, &status); /* the first pages go first */
    c->values = attn_i_store_allocate_rows(&p->engine->allocator, values, 1, &status);
    if (status != ATTN_OK) release(p, c);
    return status;
}

static contents contents_of(const attn_i_page_pool *p)
{
    return (contents){p->count, p->unused, p->references, p->keys.data, p->values.data};
}

static void take_store(attn_i_page_pool *p, attn_i_store *store, int64_t count, char *block)
{
    const int64_t page = p->heads * p->rows;
    float *scales = attn_i_store_scales(store, count, p->heads, p->rows, block);
    if (p->count > 0 && store->width > 0) {
        memcpy(block, store->data, (size_t)(p->count * page * store->width * store->size));
        if (scales != NULL) memcpy(scales, store->scales, (size_t)(p->count * page) * sizeof *scales);
    }
    store->data = block;
    store->scales = scales;
}

/* Takes over what is more than it has. New pages are nobody's. */
static void take_contents(attn_i_page_pool *p, const contents *c)
{
    if (p->free > 0) memcpy(c->unused, p->unused, (size_t)p->free * sizeof *c->unused);
    if (p->count > 0) memcpy(c->references, p->references, (size_t)p->count * sizeof *c->references);
    take_store(p, &p->keys, c->count, c->keys);
    take_store(p, &p->values, c->count, c->values);
    p->unused = c->unused;
    p->references = c->references;
    for (int64_t i = c->count - 1; i >= p->count; i--) {
        p->references[i] = 0;
        p->unused[p->free++] = (int32_t)i;
    }
    p->count = c->count;
}

attn_status attn_i_page_pool_make(attn_engine *engine, const attn_i_store *keys, const attn_i_store *values,
                                  int64_t heads, int64_t rows, int64_t count, int fixed, attn_i_page_pool **pool)
{
    contents c;
    attn_i_page_pool p = {
        .engine = engine, .heads = heads, .rows = rows, .fixed = fixed, .keys = *keys, .values = *values};
    attn_status status = make_contents(&p, count, &c);
    if (status != ATTN_OK) return status;
    attn_i_page_pool *made = attn_i_store_allocate(&p.engine->allocator, (int64_t)sizeof *made, &status);
    if (status != ATTN_OK) {
        release(&p, &c);
        return status;
    }
    *made = p;
    pthread_mutex_init(&made->lock, NULL);
    take_contents(made, &c);
    *pool = made;
    return ATTN_OK;
}

void attn_i_page_pool_destroy(attn_i_page_pool *pool)
{
    const attn_i_allocator *allocator = &pool->engine->allocator;
    pthread_mutex_destroy(&pool->lock);
    const contents c = contents_of(pool);
    release(pool, &c);
    attn_i_release(allocator, pool, sizeof *pool);
}

attn_status attn_i_page_pool_reserve(attn_i_page_pool *p, int64_t pages)
{
    contents more;
    int64_t count;
    const contents old = contents_of(p);
    if (pages <= p->free) return ATTN_OK;
    if (p->fixed) {
        return attn_i_fail(ATTN_ERR_BUFFER,
                           "%" PRId64 " pages are needed, but of %" PRId64 " there are %" PRId64 " that nobody has",
                           pages, p->count, p->free);
    }
    if (!attn_i_add(p->count - p->free, pages, &count)) count = INT64_MAX;
    attn_status status = make_contents(p, attn_i_max(count, attn_i_multiply_most(p->count, 2)), &more);
    if (status != ATTN_OK) return status;
    take_contents(p, &more);
    release(p, &old);
    return ATTN_OK;
}

int32_t attn_i_page_take(attn_i_page_pool *p)
{
    const int32_t page = p->unused[--p->free];
    p->references[page] = 1;
    return page;
}

static void copy_page(const attn_i_page_pool *p, const attn_i_store *store, int64_t from, int64_t to)
{
    const int64_t rows = p->heads * p->rows, bytes = rows * store->width * store->size;
    if (store->width > 0) memcpy(store->data + to * bytes, store->data + from * bytes, (size_t)bytes);
    if (store->scales == NULL) return;
    memcpy(store->scales + to * rows, store->scales + from * rows, (size_t)rows * sizeof *store->scales);
}

int32_t attn_i_page_copy(attn_i_page_pool *p, int32_t page)
{
    const int32_t copy = attn_i_page_take(p);
    copy_page(p, &p->keys, page, copy);
    copy_page(p, &p->values, page, copy);
    return copy;
}

void attn_i_page_share(attn_i_page_pool *p, int32_t page)
{
    p->references[page]++;
}

void attn_i_page_release(attn_i_page_pool *p, int32_t page)
{
    if (--p->references[page] == 0) p->unused[p->free++] = page;
}
