/* SPDX-License-Identifier: BSD-3-Clause
 *
 * layers/memory/choose.c: keeping positions of a memory that were chosen: they are moved down, in place, in their
 * order. Pages that are written to and have other owners, too, are copied first; whatever can fail comes before that.
 */
#include "call/ragged.h"
#include "handles/lengths.h"
#include "handles/memory.h"
#include "handles/status.h"
#include "runtime/size.h"

#include <inttypes.h>
#include <string.h>

/* One call. */
typedef struct choice {
    attn_memory *m;
    attn_i_view lengths, positions, offsets;
} choice;

/* How many positions of sequence b stay where they are before those that were chosen; how many these are; and one. */
static int64_t length_of(const choice *c, int64_t b)
{
    return attn_i_integer(&c->lengths, b);
}

static int64_t count_of(const choice *c, int64_t b)
{
    return attn_i_integer(&c->offsets, b + 1) - attn_i_integer(&c->offsets, b);
}

static int64_t position_of(const choice *c, int64_t b, int64_t i)
{
    return attn_i_integer(&c->positions, attn_i_integer(&c->offsets, b) + i);
}

/* The first of them that stands elsewhere then: all that follow do, too. */
static int64_t first_moved(const choice *c, int64_t b)
{
    const int64_t n = count_of(c, b);
    int64_t i = 0;
    while (i < n && position_of(c, b, i) == length_of(c, b) + i) i++;
    return i;
}

/* ------------------------------------------------------------------------------------------------ checking */

static attn_status check_tensors(choice *c, const attn_tensor *lengths, const attn_tensor *positions,
                                 const attn_tensor *offsets)
{
    const int64_t batch = c->m->batch;
    if (lengths == NULL) return attn_i_fail(ATTN_ERR_ARGUMENT, "lengths is NULL");
    if (offsets == NULL) return attn_i_fail(ATTN_ERR_ARGUMENT, "offsets is NULL");
    attn_status status = attn_i_lengths_check(lengths, "lengths", batch, c->m->longest, &c->lengths);
    if (status == ATTN_OK) status = attn_i_tensor_check_integers(positions, "positions", 1, &c->positions);
    if (status == ATTN_OK) status = attn_i_ragged_read_offsets(offsets, "offsets", &c->offsets);
    if (status != ATTN_OK) return status;
    if (c->offsets.shape[3] != batch + 1) {
        return attn_i_fail(ATTN_ERR_SHAPE, "offsets has %" PRId64 " elements, but there are %" PRId64 " sequences",
                           c->offsets.shape[3], batch);
    }
    return attn_i_ragged_check_end(&c->offsets, "offsets", "positions", "elements", c->positions.shape[3]);
}

static attn_status check_sequence(const choice *c, int64_t b)
{
    const int64_t had = c->m->lengths[b], first = attn_i_integer(&c->offsets, b);
    int64_t least = length_of(c, b);
    if (least > had) {
        return attn_i_fail(ATTN_ERR_ARGUMENT,
                           "lengths[%" PRId64 "] is %" PRId64 ", but the sequence has %" PRId64 " positions", b, least,
                           had);
    }
    for (int64_t i = 0; i < count_of(c, b); i++) {
        const int64_t position = position_of(c, b, i);
        if (position < least || position >= had) {
            return attn_i_fail(ATTN_ERR_ARGUMENT,
                               "positions[%" PRId64 "] is %" PRId64 ", but of sequence %" PRId64 " at least %" PRId64
                               " and less than %" PRId64 " can follow",
                               first + i, position, b, least, had);
        }
        least = position + 1;
    }
    if (!c->m->turns || first_moved(c, b) == count_of(c, b)) return ATTN_OK;
    return attn_i_fail(ATTN_ERR_UNSUPPORTED,
                       "positions[%" PRId64 "] would stand elsewhere, but the memory has turned its key where it stood",
                       first + first_moved(c, b));
}

/* --------------------------------------------------------------------------------------------------- pages */

/* The pages of sequence b that are written to: entries of its own part of the table. */
typedef struct written {
    int32_t *first, *end;
} written;

static written pages_of(const choice *c, int64_t b)
{
    const attn_memory *m = c->m;
    const int64_t rows = m->pool->rows, moved = first_moved(c, b), length = length_of(c, b);
    int32_t *own = m->table + b * (m->capacity / rows);
    if (moved == count_of(c, b)) return (written){own, own};
    return (written){own + (length + moved) / rows, own + attn_i_divide_up(length + count_of(c, b), rows)};
}

/* How many of them are copied first. Of those that share a page the last one keeps it. */
static int64_t count_pages(const choice *c)
{
    int32_t *references = c->m->pool->references;
    int64_t pages = 0;
    for (int64_t b = 0; b < c->m->batch; b++) {
        const written w = pages_of(c, b);
        for (const int32_t *page = w.first; page < w.end; page++) pages += references[*page]-- > 1;
    }
    for (int64_t b = 0; b < c->m->batch; b++) { /* as they were */
        const written w = pages_of(c, b);
        for (const int32_t *page = w.first; page < w.end; page++) references[*page]++;
    }
    return pages;
}

/* What sequence b writes to is its own then. */
static void own_pages(const choice *c, int64_t b)
{
    attn_i_page_pool *pool = c->m->pool;
    const written w = pages_of(c, b);
    for (int32_t *page = w.first; page < w.end; page++) {
        const int32_t before = *page;
        if (pool->references[before] == 1) continue;
        *page = attn_i_page_copy(pool, before);
        attn_i_page_release(pool, before);
    }
}

static attn_status make_room(const choice *c)
{
    attn_memory *m = c->m;
    if (m->pool == NULL) return ATTN_OK;
    pthread_mutex_lock(&m->pool->lock);
    const attn_status status = attn_i_page_pool_reserve(m->pool, count_pages(c));
    for (int64_t b = 0; b < m->batch && status == ATTN_OK; b++) own_pages(c, b);
    pthread_mutex_unlock(&m->pool->lock);
    m->keys = m->pool->keys; /* which a fork may have moved, too */
    m->values = m->pool->values;
    return status;
}

/* ------------------------------------------------------------------------------------------------ moving */

static void move_row(const attn_i_store *store, int64_t from, int64_t to)
{
    const int64_t bytes = store->width * store->size;
    if (bytes > 0) memcpy(store->data + to * bytes, store->data + from * bytes, (size_t)bytes);
    if (store->scales != NULL) store->scales[to] = store->scales[from];
}

/* No row is written to before it was read: they are moved down in ascending order. */
static void move_rows(const choice *c, int64_t b)
{
    const attn_memory *m = c->m;
    for (int64_t i = first_moved(c, b); i < count_of(c, b); i++) {
        for (int64_t h = 0; h < m->key_heads; h++) {
            const int64_t from = attn_i_memory_row(m, b, h, position_of(c, b, i));
            const int64_t to = attn_i_memory_row(m, b, h, length_of(c, b) + i);
            move_row(&m->keys, from, to);
            move_row(&m->values, from, to);
        }
    }
}

static attn_status keep(attn_memory *m, const attn_tensor *lengths, const attn_tensor *positions,
                        const attn_tensor *offsets)
{
    choice c = {.m = m};
    if (m == NULL) return attn_i_fail(ATTN_ERR_ARGUMENT, "memory is NULL");
    attn_status status = check_tensors(&c, lengths, positions, offsets);
    for (int64_t b = 0; b < m->batch && status == ATTN_OK; b++) status = check_sequence(&c, b);
    if (status == ATTN_OK) status = make_room(&c);
    if (status != ATTN_OK) return status;
    for (int64_t b = 0; b < m->batch; b++) {
        move_rows(&c, b);
        m->lengths[b] = length_of(&c, b) + count_of(&c, b);
    }
    attn_i_memory_measure(m);
    attn_i_memory_trim(m);
    return ATTN_OK;
}

attn_status attn_memory_keep(attn_memory *memory, const attn_tensor *lengths, const attn_tensor *positions,
                             const attn_tensor *offsets)
{
    attn_status status = keep(memory, lengths, positions, offsets);
    return status == ATTN_OK ? ATTN_OK : attn_i_fail_in("attn_memory_keep", status);
}
