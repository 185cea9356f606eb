/* SPDX-License-Identifier: BSD-3-Clause
 *
 * handles/memory.c: memories as handles: made, truncated, reordered, forked, destroyed. What they hold is only ever
 * changed once everything that can fail has been done. */
#include "handles/memory.h"

#include "handles/engine.h"
#include "handles/status.h"
#include "runtime/size.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

/* ---------------------------------------------------------------------------------------------- storage */

/* What a memory consists of beside its shape. */
typedef struct contents {
    int64_t batch, capacity;
    int64_t *lengths;
    char *keys, *values; /* or, in pages: */
    int32_t *table;
    int64_t *held;
} contents;

static int64_t pages_of(const attn_memory *m, int64_t positions)
{
    return attn_i_divide_up(positions, m->pool->rows);
}

/* Of what has an entry for each sequence there is one even without any: nothing is NULL then. */
static int64_t entries_of(int64_t batch)
{
    return attn_i_max(batch, 1);
}

/* The bytes of the blocks; of pages there are none here. */
static attn_status measure_blocks(const attn_memory *m, const contents *c, int64_t *keys, int64_t *values)
{
    int64_t scales;
    *keys = *values = 0;
    if (m->pool != NULL) return ATTN_OK;
    attn_status status = attn_i_store_bytes(&m->keys, c->batch, m->key_heads, c->capacity, keys, &scales);
    if (status != ATTN_OK) return status;
    return attn_i_store_bytes(&m->values, c->batch, m->key_heads, c->capacity, values, &scales);
}

static void lock(const attn_memory *m)
{
    if (m->pool != NULL) pthread_mutex_lock(&m->pool->lock);
}

static void unlock(const attn_memory *m)
{
    if (m->pool != NULL) pthread_mutex_unlock(&m->pool->lock);
}

/* Sequence b has its first pages alone, so many. */
static void release_pages(const attn_memory *m, const contents *c, int64_t b, int64_t keep)
{
    const int32_t *pages = c->table + b * pages_of(m, c->capacity);
    while (c->held[b] > keep) attn_i_page_release(m->pool, pages[--c->held[b]]);
}

static void release(const attn_memory *m, const contents *c)
{
    const attn_i_allocator *allocator = &m->engine->allocator;
    const int64_t entries = entries_of(c->batch);
    int64_t keys, values;
    measure_blocks(m, c, &keys, &values);
    for (int64_t b = 0; b < c->batch && c->held != NULL && c->table != NULL; b++) release_pages(m, c, b, 0);
    if (m->pool != NULL) {
        attn_i_release(allocator, c->table, (size_t)(entries * pages_of(m, c->capacity)) * sizeof *c->table);
        attn_i_release(allocator, c->held, (size_t)entries * sizeof *c->held);
    }
    attn_i_release(allocator, c->lengths, (size_t)entries * sizeof *c->lengths);
    attn_i_release(allocator, c->keys, (size_t)keys);
    attn_i_release(allocator, c->values, (size_t)values);
}

/* In pages the capacity is whole pages. */
static attn_status make_contents(const attn_memory *m, int64_t batch, int64_t capacity, contents *c)
{
    int64_t keys = 0, values = 0, lengths = 0, entries = 0;
    *c = (contents){.batch = batch, .capacity = capacity};
    if (m->pool != NULL) c->capacity = attn_i_multiply_most(pages_of(m, attn_i_max(capacity, 1)), m->pool->rows);
    attn_status status = measure_blocks(m, c, &keys, &values);
    if (status == ATTN_OK &&
        (!attn_i_multiply(entries_of(batch), (int64_t)sizeof *c->lengths, &lengths) ||
         (m->pool != NULL && (!attn_i_multiply(entries_of(batch), pages_of(m, c->capacity), &entries) ||
                              !attn_i_multiply(entries, (int64_t)sizeof *c->table, &entries))))) {
        status = attn_i_fail(ATTN_ERR_OVERFLOW, "%" PRId64 " sequences cannot be addressed", batch);
    }
    if (status != ATTN_OK) return status;
    c->lengths = attn_i_store_allocate(&m->engine->allocator, lengths, &status);
    const int64_t heads = attn_i_max(attn_i_multiply_most(batch, m->key_heads), 1);
    c->keys = attn_i_store_allocate_rows(&m->engine->allocator, keys, heads, &status);
    c->values = attn_i_store_allocate_rows(&m->engine->allocator, values, heads, &status);
    if (m->pool != NULL) {
        c->table = attn_i_store_allocate(&m->engine->allocator, entries, &status);
        c->held = attn_i_store_allocate(&m->engine->allocator, lengths, &status);
        if (c->held != NULL) memset(c->held, 0, (size_t)lengths);
    }
    if (status != ATTN_OK) release(m, c);
    return status;
}

/* Rows of `bytes` each, of all heads of sequence `row`, become those of sequence b, which has another capacity. */
static void copy_rows(const attn_memory *from, const char *data, int64_t bytes, int64_t row, int64_t b, char *to,
                      int64_t capacity)
{
    for (int64_t h = 0; h < from->key_heads && from->lengths[row] > 0; h++) {
        memcpy(to + (b * from->key_heads + h) * capacity * bytes,
               data + (row * from->key_heads + h) * from->capacity * bytes, (size_t)(from->lengths[row] * bytes));
    }
}

static void copy_store(const attn_memory *from, const attn_i_store *store, int64_t row, int64_t b, const contents *c,
                       char *block)
{
    if (block == NULL || store->width == 0) return;
    copy_rows(from, store->data, store->width * store->size, row, b, block, c->capacity);
    float *scales = attn_i_store_scales(store, c->batch, from->key_heads, c->capacity, block);
    if (scales == NULL) return;
    copy_rows(from, (const char *)store->scales, (int64_t)sizeof *scales, row, b, (char *)scales, c->capacity);
}

/* Its pages are shared. */
static void share_pages(const attn_memory *from, int64_t row, int64_t b, contents *c)
{
    const int32_t *pages = from->table + row * pages_of(from, from->capacity);
    int32_t *to = c->table + b * pages_of(from, c->capacity);
    assert(c->held != NULL && c->table != NULL); /* contents in pages were made with both */
    c->held[b] = pages_of(from, from->lengths[row]);
    for (int64_t k = 0; k < c->held[b]; k++) {
        to[k] = pages[k];
        attn_i_page_share(from->pool, pages[k]);
    }
}

/* Sequence b of the contents becomes what sequence `row` of the memory is, or an empty one: row -1. */
static void copy_sequence(const attn_memory *from, int64_t row, int64_t b, contents *c)
{
    c->lengths[b] = row < 0 ? 0 : from->lengths[row];
    if (row < 0) return;
    if (from->pool != NULL) {
        share_pages(from, row, b, c);
        return;
    }
    copy_store(from, &from->keys, row, b, c, c->keys);
    copy_store(from, &from->values, row, b, c, c->values);
}

void attn_i_memory_measure(attn_memory *m)
{
    m->longest = 0;
    for (int64_t b = 0; b < m->batch; b++) m->longest = attn_i_max(m->longest, m->lengths[b]);
}

static void take_contents(attn_memory *m, const contents *c)
{
    m->batch = c->batch;
    m->capacity = c->capacity;
    m->lengths = c->lengths;
    m->table = c->table;
    m->held = c->held;
    m->keys.data = c->keys;
    m->keys.scales = attn_i_store_scales(&m->keys, c->batch, m->key_heads, c->capacity, c->keys);
    m->values.data = c->values;
    m->values.scales = attn_i_store_scales(&m->values, c->batch, m->key_heads, c->capacity, c->values);
    attn_i_memory_measure(m);
}

static contents contents_of(const attn_memory *m)
{
    contents c = {m->batch, m->capacity, m->lengths, m->keys.data, m->values.data, m->table, m->held};
    if (m->pool != NULL) c.keys = c.values = NULL; /* which are the pool's */
    return c;
}

static attn_status grow(attn_memory *m, int64_t capacity)
{
    contents more;
    const contents old = contents_of(m);
    if (capacity <= m->capacity) return ATTN_OK;
    if (m->pool == NULL && m->flags & ATTN_MEMORY_FIXED) {
        return attn_i_fail(ATTN_ERR_BUFFER, "there would be %" PRId64 " positions, but room is for %" PRId64, capacity,
                           m->capacity);
    }
    attn_status status = make_contents(m, m->batch, attn_i_max(capacity, 2 * m->capacity), &more);
    if (status != ATTN_OK) return status;
    lock(m);
    for (int64_t b = 0; b < m->batch; b++) copy_sequence(m, b, b, &more);
    take_contents(m, &more);
    release(m, &old);
    unlock(m);
    return ATTN_OK;
}

/* The page that sequence b goes on in if n positions are appended; NULL if it begins another. */
static int32_t *page_to_go_on(const attn_memory *m, int64_t b, int64_t n)
{
    if (n == 0 || m->lengths[b] % m->pool->rows == 0) return NULL;
    return m->table + b * pages_of(m, m->capacity) + m->lengths[b] / m->pool->rows;
}

/* How many pages that nobody has the sequences will take. Of those that share a page the last one keeps it. */
static int64_t count_pages(attn_memory *m, const attn_i_growth *growth)
{
    int32_t *references = m->pool->references;
    int64_t pages = 0;
    for (int64_t b = 0; b < m->batch; b++) {
        const int64_t n = attn_i_growth_rows(growth, b);
        const int32_t *page = page_to_go_on(m, b, n);
        if (n > 0) pages += attn_i_max(pages_of(m, m->lengths[b] + n) - m->held[b], 0);
        if (page != NULL) pages += references[*page]-- > 1;
    }
    for (int64_t b = 0; b < m->batch; b++) { /* as they were */
        const int32_t *page = page_to_go_on(m, b, attn_i_growth_rows(growth, b));
        if (page != NULL) references[*page]++;
    }
    return pages;
}

static attn_status reserve_pages(attn_memory *m, const attn_i_growth *growth)
{
    attn_status status = attn_i_page_pool_reserve(m->pool, count_pages(m, growth));
    for (int64_t b = 0; b < m->batch && status == ATTN_OK; b++) {
        const int64_t n = attn_i_growth_rows(growth, b);
        if (n == 0) continue;
        int32_t *page = page_to_go_on(m, b, n), *own = m->table + b * pages_of(m, m->capacity);
        if (page != NULL && m->pool->references[*page] > 1) { /* others have it too */
            const int32_t before = *page;
            *page = attn_i_page_copy(m->pool, before);
            attn_i_page_release(m->pool, before);
        }
        assert(own != NULL); /* the table has room for what is appended */
        while (m->held[b] < pages_of(m, m->lengths[b] + n)) own[m->held[b]++] = attn_i_page_take(m->pool);
    }
    return status;
}

attn_status attn_i_memory_reserve(attn_memory *m, const attn_i_growth *growth)
{
    int64_t most = 0;
    for (int64_t b = 0; b < m->batch; b++) most = attn_i_max(most, m->lengths[b] + attn_i_growth_rows(growth, b));
    attn_status status = grow(m, most);
    if (m->pool == NULL || status != ATTN_OK) return status;
    lock(m);
    status = reserve_pages(m, growth);
    unlock(m);
    m->keys = m->pool->keys; /* which a fork may have moved, too */
    m->values = m->pool->values;
    return status;
}

void attn_i_memory_trim(attn_memory *m)
{
    const contents c = contents_of(m);
    if (m->pool == NULL) return;
    lock(m);
    for (int64_t b = 0; b < m->batch; b++) release_pages(m, &c, b, pages_of(m, m->lengths[b]));
    unlock(m);
}

void attn_i_memory_lengthen(attn_memory *m, const attn_i_growth *growth, int times)
{
    for (int64_t b = 0; b < m->batch; b++) m->lengths[b] += times * attn_i_growth_rows(growth, b);
    attn_i_memory_measure(m);
}

/* ---------------------------------------------------------------------------------------------- make */

attn_status attn_i_memory_make(const attn_memory *like, int64_t batch, int64_t capacity, attn_memory **memory)
{
    contents c;
    attn_status status = make_contents(like, batch, capacity, &c);
    if (status != ATTN_OK) return status;
    attn_memory *made = attn_i_store_allocate(&like->engine->allocator, (int64_t)sizeof *made, &status);
    if (status != ATTN_OK) {
        release(like, &c);
        return status;
    }
    memset(c.lengths, 0, (size_t)batch * sizeof *c.lengths);
    *made = *like;
    take_contents(made, &c);
    lock(made);
    if (made->pool != NULL) made->pool->owners++;
    unlock(made);
    attn_i_mechanism_take(made->mechanism);
    *memory = made;
    return ATTN_OK;
}

void attn_memory_destroy(attn_memory *memory)
{
    if (memory == NULL) return;
    const attn_mechanism *mechanism = memory->mechanism;
    const contents c = contents_of(memory);
    lock(memory);
    release(memory, &c);
    const int is_last = memory->pool != NULL && --memory->pool->owners == 0;
    unlock(memory);
    if (is_last) attn_i_page_pool_destroy(memory->pool);
    attn_i_release(&mechanism->engine->allocator, memory, sizeof *memory);
    attn_i_mechanism_drop(mechanism);
}

/* ---------------------------------------------------------------------------------------------- change */

static attn_status truncate_to(attn_memory *m, const attn_tensor *lengths)
{
    attn_i_view view;
    if (m == NULL) return attn_i_fail(ATTN_ERR_ARGUMENT, "memory is NULL");
    attn_status status = attn_i_integers_check(lengths, "lengths", m->longest, &view);
    if (status != ATTN_OK) return status;
    if (view.shape[3] != m->batch) {
        return attn_i_fail(ATTN_ERR_SHAPE, "lengths has %" PRId64 " elements, but there are %" PRId64 " sequences",
                           view.shape[3], m->batch);
    }
    for (int64_t b = 0; b < m->batch; b++) {
        if (attn_i_integer(&view, b) <= m->lengths[b]) continue;
        return attn_i_fail(ATTN_ERR_ARGUMENT,
                           "lengths[%" PRId64 "] is %" PRId64 ", but the sequence has %" PRId64 " positions", b,
                           attn_i_integer(&view, b), m->lengths[b]);
    }
    for (int64_t b = 0; b < m->batch; b++) m->lengths[b] = attn_i_integer(&view, b);
    attn_i_memory_trim(m);
    attn_i_memory_measure(m);
    return ATTN_OK;
}

attn_status attn_memory_truncate(attn_memory *memory, const attn_tensor *lengths)
{
    attn_status status = truncate_to(memory, lengths);
    return status == ATTN_OK ? ATTN_OK : attn_i_fail_in("attn_memory_truncate", status);
}

static attn_status reorder(attn_memory *m, const attn_tensor *rows)
{
    attn_i_view view;
    contents c;
    if (m == NULL) return attn_i_fail(ATTN_ERR_ARGUMENT, "memory is NULL");
    attn_status status = attn_i_integers_check_from(rows, "rows", -1, m->batch - 1, &view);
    if (status != ATTN_OK) return status;
    const int64_t batch = view.shape[3];
    int same = batch == m->batch;
    for (int64_t b = 0; b < batch && same; b++) same = attn_i_integer(&view, b) == b;
    if (same) return ATTN_OK;
    status = make_contents(m, batch, m->capacity, &c);
    if (status != ATTN_OK) return status;
    const contents old = contents_of(m);
    lock(m);
    for (int64_t b = 0; b < batch; b++) copy_sequence(m, attn_i_integer(&view, b), b, &c);
    take_contents(m, &c);
    release(m, &old);
    unlock(m);
    return ATTN_OK;
}

attn_status attn_memory_reorder(attn_memory *memory, const attn_tensor *rows)
{
    attn_status status = reorder(memory, rows);
    return status == ATTN_OK ? ATTN_OK : attn_i_fail_in("attn_memory_reorder", status);
}

static attn_status copy_memory(const attn_memory *m, attn_memory **copy)
{
    attn_memory *made;
    if (m == NULL) return attn_i_fail(ATTN_ERR_ARGUMENT, "memory is NULL");
    if (copy == NULL) return attn_i_fail(ATTN_ERR_ARGUMENT, "copy is NULL");
    attn_status status = attn_i_memory_make(m, m->batch, m->capacity, &made);
    if (status != ATTN_OK) return status;
    contents c = contents_of(made);
    lock(m);
    for (int64_t b = 0; b < m->batch; b++) copy_sequence(m, b, b, &c);
    unlock(m);
    attn_i_memory_measure(made);
    *copy = made;
    return ATTN_OK;
}

attn_status attn_memory_fork(const attn_memory *memory, attn_memory **copy)
{
    attn_status status = copy_memory(memory, copy);
    return status == ATTN_OK ? ATTN_OK : attn_i_fail_in("attn_memory_fork", status);
}

attn_status attn_memory_lengths(const attn_memory *memory, int64_t *batch, int64_t *lengths, int64_t count)
{
    static const char where[] = "attn_memory_lengths";
    if (memory == NULL) return attn_i_fail(ATTN_ERR_ARGUMENT, "%s: memory is NULL", where);
    if (lengths != NULL && count < memory->batch) {
        return attn_i_fail(ATTN_ERR_BUFFER, "%s: count is %" PRId64 ", but there are %" PRId64 " sequences", where,
                           count, memory->batch);
    }
    if (batch != NULL) *batch = memory->batch;
    if (lengths != NULL) memcpy(lengths, memory->lengths, (size_t)memory->batch * sizeof *lengths);
    return ATTN_OK;
}

attn_status attn_memory_pages(const attn_memory *memory, int64_t *count, int64_t *unused)
{
    if (memory == NULL) return attn_i_fail(ATTN_ERR_ARGUMENT, "attn_memory_pages: memory is NULL");
    lock(memory);
    const int64_t pages = memory->pool == NULL ? 0 : memory->pool->count;
    const int64_t nobodys = memory->pool == NULL ? 0 : memory->pool->free;
    unlock(memory);
    if (count != NULL) *count = pages;
    if (unused != NULL) *unused = nobodys;
    return ATTN_OK;
}
