/* SPDX-License-Identifier: BSD-3-Clause
 *
 * handles/memory.c: memories as handles: made, truncated, reordered, forked, destroyed. What they hold is only ever
 * changed once everything that can fail has been done. */
#include "handles/memory.h"

#include "handles/engine.h"
#include "handles/lengths.h"
#include "handles/status.h"
#include "runtime/size.h"

#include <inttypes.h>
#include <string.h>

/* ---------------------------------------------------------------------------------------------- storage */

/* Bytes of a store for so many sequences of so many positions, and those before its scales. */
static attn_status store_bytes(const attn_memory *m, const attn_i_store *store, int64_t batch, int64_t capacity,
                               int64_t *bytes, int64_t *scales)
{
    int64_t rows;
    if (attn_i_multiply(batch, m->key_heads, &rows) && attn_i_multiply(rows, capacity, &rows) &&
        attn_i_multiply(rows, store->width, bytes) && attn_i_multiply(*bytes, store->size, bytes) &&
        attn_i_add(*bytes, ATTN_I_ALIGNMENT - 1, bytes)) {
        *scales = *bytes = *bytes / ATTN_I_ALIGNMENT * ATTN_I_ALIGNMENT;
        const int has = store->dtype == ATTN_I8 && store->width > 0;
        if (!has) return ATTN_OK;
        if (attn_i_multiply(rows, (int64_t)sizeof(float), &rows) && attn_i_add(*bytes, rows, bytes)) return ATTN_OK;
    }
    return attn_i_fail(ATTN_ERR_OVERFLOW, "%" PRId64 " sequences of %" PRId64 " positions cannot be addressed", batch,
                       capacity);
}

/* What a memory consists of beside its shape. */
typedef struct contents {
    int64_t batch, capacity;
    int64_t *lengths;
    char *keys, *values;
} contents;

static void release(const attn_memory *m, const contents *c)
{
    const attn_i_allocator *allocator = &m->engine->allocator;
    int64_t keys = 0, values = 0, scales;
    store_bytes(m, &m->keys, c->batch, c->capacity, &keys, &scales);
    store_bytes(m, &m->values, c->batch, c->capacity, &values, &scales);
    attn_i_release(allocator, c->lengths, (size_t)c->batch * sizeof *c->lengths);
    attn_i_release(allocator, c->keys, (size_t)keys);
    attn_i_release(allocator, c->values, (size_t)values);
}

static void *allocate(const attn_memory *m, int64_t bytes, attn_status *status)
{
    if (*status != ATTN_OK || bytes == 0) return NULL;
    void *block = attn_i_allocate(&m->engine->allocator, (size_t)bytes);
    if (block == NULL) *status = attn_i_fail(ATTN_ERR_NOMEM, "no memory for %" PRId64 " bytes", bytes);
    return block;
}

static attn_status make_contents(const attn_memory *m, int64_t batch, int64_t capacity, contents *c)
{
    int64_t keys = 0, values = 0, lengths = 0, scales;
    *c = (contents){.batch = batch, .capacity = capacity};
    attn_status status = store_bytes(m, &m->keys, batch, capacity, &keys, &scales);
    if (status == ATTN_OK) status = store_bytes(m, &m->values, batch, capacity, &values, &scales);
    if (status == ATTN_OK && !attn_i_multiply(batch, (int64_t)sizeof *c->lengths, &lengths)) {
        status = attn_i_fail(ATTN_ERR_OVERFLOW, "%" PRId64 " sequences cannot be addressed", batch);
    }
    c->lengths = allocate(m, lengths, &status);
    c->keys = allocate(m, keys, &status);
    c->values = allocate(m, values, &status);
    if (status != ATTN_OK) release(m, c);
    return status;
}

/* The scales of a block of a store of so many sequences of so many positions; NULL where there are none. */
static float *scales_in(const attn_memory *m, const attn_i_store *store, int64_t batch, int64_t capacity, char *block)
{
    int64_t bytes = 0, scales = 0;
    if (block == NULL || store->dtype != ATTN_I8) return NULL;
    store_bytes(m, store, batch, capacity, &bytes, &scales);
    return (float *)(void *)(block + scales);
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
    float *scales = scales_in(from, store, c->batch, c->capacity, block);
    if (scales == NULL) return;
    copy_rows(from, (const char *)store->scales, (int64_t)sizeof *scales, row, b, (char *)scales, c->capacity);
}

/* Sequence b of the contents becomes what sequence `row` of the memory is. */
static void copy_sequence(const attn_memory *from, int64_t row, int64_t b, contents *c)
{
    c->lengths[b] = from->lengths[row];
    copy_store(from, &from->keys, row, b, c, c->keys);
    copy_store(from, &from->values, row, b, c, c->values);
}

static void measure(attn_memory *m)
{
    m->longest = 0;
    for (int64_t b = 0; b < m->batch; b++) m->longest = attn_i_max(m->longest, m->lengths[b]);
}

static void take_contents(attn_memory *m, const contents *c)
{
    m->batch = c->batch;
    m->capacity = c->capacity;
    m->lengths = c->lengths;
    m->keys.data = c->keys;
    m->keys.scales = scales_in(m, &m->keys, c->batch, c->capacity, c->keys);
    m->values.data = c->values;
    m->values.scales = scales_in(m, &m->values, c->batch, c->capacity, c->values);
    measure(m);
}

static contents contents_of(const attn_memory *m)
{
    return (contents){m->batch, m->capacity, m->lengths, m->keys.data, m->values.data};
}

attn_status attn_i_memory_reserve(attn_memory *m, int64_t capacity)
{
    contents more;
    const contents old = contents_of(m);
    if (capacity <= m->capacity) return ATTN_OK;
    if (m->flags & ATTN_MEMORY_FIXED) {
        return attn_i_fail(ATTN_ERR_BUFFER, "there would be %" PRId64 " positions, but room is for %" PRId64, capacity,
                           m->capacity);
    }
    attn_status status = make_contents(m, m->batch, attn_i_max(capacity, 2 * m->capacity), &more);
    if (status != ATTN_OK) return status;
    for (int64_t b = 0; b < m->batch; b++) copy_sequence(m, b, b, &more);
    take_contents(m, &more);
    release(m, &old);
    return ATTN_OK;
}

void attn_i_memory_lengthen(attn_memory *m, int64_t by)
{
    for (int64_t b = 0; b < m->batch; b++) m->lengths[b] += by;
    measure(m);
}

void attn_i_memory_set_length(attn_memory *m, int64_t b, int64_t length)
{
    m->lengths[b] = length;
    m->longest = attn_i_max(m->longest, length);
}

/* ---------------------------------------------------------------------------------------------- views */

static attn_i_view view_of(const attn_memory *m, const attn_i_store *store, int64_t width)
{
    attn_i_view view = {
        .data = store->data, .dtype = store->dtype, .size = store->size, .first = store->data, .end = store->data};
    const int64_t shape[4] = {m->batch, m->key_heads, m->longest, width};
    const int64_t stride[4] = {m->key_heads * m->capacity * store->width, m->capacity * store->width, store->width, 1};
    memcpy(view.shape, shape, sizeof shape);
    memcpy(view.stride, stride, sizeof stride);
    if (store->data != NULL) view.end = store->data + m->batch * stride[0] * store->size;
    return view;
}

static attn_i_view scales_of(const attn_memory *m, const attn_i_store *store)
{
    char *data = (char *)store->scales;
    if (data == NULL) return (attn_i_view){.data = NULL};
    return (attn_i_view){.data = data,
                         .shape = {1, m->batch, m->key_heads, m->longest},
                         .stride = {0, m->key_heads * m->capacity, m->capacity, 1},
                         .dtype = ATTN_F32,
                         .size = (int64_t)sizeof(float),
                         .first = data,
                         .end = data + m->batch * m->key_heads * m->capacity * (int64_t)sizeof(float)};
}

/* Where values are kept: among the keys, where these are the values as they come. */
static const attn_i_store *store_of_values(const attn_memory *m)
{
    return m->values.width > 0 ? &m->values : &m->keys;
}

attn_i_view attn_i_memory_key_scales(const attn_memory *m)
{
    return scales_of(m, &m->keys);
}

attn_i_view attn_i_memory_value_scales(const attn_memory *m)
{
    return scales_of(m, store_of_values(m));
}

attn_i_view attn_i_memory_keys(const attn_memory *m)
{
    return view_of(m, &m->keys, m->keys.width);
}

attn_i_view attn_i_memory_values(const attn_memory *m)
{
    return view_of(m, store_of_values(m), attn_i_memory_value_dim(m));
}

attn_i_view attn_i_memory_lengths(const attn_memory *m)
{
    int even = 1;
    for (int64_t b = 0; b < m->batch; b++) even &= m->lengths[b] == m->longest;
    if (even) return (attn_i_view){.data = NULL};
    char *data = (char *)m->lengths;
    return (attn_i_view){.data = data,
                         .shape = {1, 1, 1, m->batch},
                         .stride = {0, 0, 0, 1},
                         .dtype = ATTN_I64,
                         .size = (int64_t)sizeof *m->lengths,
                         .first = data,
                         .end = data + m->batch * (int64_t)sizeof *m->lengths};
}

int64_t attn_i_memory_value_dim(const attn_memory *m)
{
    return m->value_dim > 0 ? m->value_dim : m->key_dim;
}

/* ---------------------------------------------------------------------------------------------- make */

attn_status attn_i_memory_make(const attn_memory *like, int64_t batch, int64_t capacity, attn_memory **memory)
{
    contents c;
    attn_status status = make_contents(like, batch, capacity, &c);
    if (status != ATTN_OK) return status;
    attn_memory *made = allocate(like, (int64_t)sizeof *made, &status);
    if (status != ATTN_OK) {
        release(like, &c);
        return status;
    }
    memset(c.lengths, 0, (size_t)batch * sizeof *c.lengths);
    *made = *like;
    take_contents(made, &c);
    attn_i_mechanism_take(made->mechanism);
    *memory = made;
    return ATTN_OK;
}

void attn_memory_destroy(attn_memory *memory)
{
    if (memory == NULL) return;
    const attn_mechanism *mechanism = memory->mechanism;
    const contents c = contents_of(memory);
    release(memory, &c);
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
    measure(m);
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
    attn_status status = attn_i_integers_check(rows, "rows", m->batch - 1, &view);
    if (status != ATTN_OK) return status;
    const int64_t batch = view.shape[3];
    if (batch == 0) return attn_i_fail(ATTN_ERR_SHAPE, "rows is empty");
    int same = batch == m->batch;
    for (int64_t b = 0; b < batch && same; b++) same = attn_i_integer(&view, b) == b;
    if (same) return ATTN_OK;
    status = make_contents(m, batch, m->capacity, &c);
    if (status != ATTN_OK) return status;
    const contents old = contents_of(m);
    for (int64_t b = 0; b < batch; b++) copy_sequence(m, attn_i_integer(&view, b), b, &c);
    take_contents(m, &c);
    release(m, &old);
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
    for (int64_t b = 0; b < m->batch; b++) copy_sequence(m, b, b, &c);
    measure(made);
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
