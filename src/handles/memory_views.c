/* SPDX-License-Identifier: BSD-3-Clause
 *
 * handles/memory_views.c: what a memory holds as a call's problem reads it: rows, what they are multiplied by, lengths,
 * and the table of pages. */
#include "handles/memory.h"
#include "runtime/size.h"

/* Where values are kept: among the keys, where these are the values as they come. */
static const attn_i_store *store_of(const attn_memory *m, int is_value)
{
    const attn_i_store *keys = m->pool != NULL ? &m->pool->keys : &m->keys;
    const attn_i_store *values = m->pool != NULL ? &m->pool->values : &m->values;
    return is_value && values->width > 0 ? values : keys;
}

static attn_i_view view_of(const attn_memory *m, int is_value, int64_t width)
{
    const attn_i_page_pool *pool = m->pool;
    const attn_i_store *store = store_of(m, is_value);
    if (pool != NULL) return attn_i_store_view(store, pool->count, m->key_heads, pool->rows, pool->rows, width);
    return attn_i_store_view(store, m->batch, m->key_heads, m->capacity, m->longest, width);
}

static attn_i_view scales_of(const attn_memory *m, int is_value)
{
    const attn_i_page_pool *pool = m->pool;
    const attn_i_store *store = store_of(m, is_value);
    if (pool != NULL) return attn_i_store_scales_view(store, pool->count, m->key_heads, pool->rows, pool->rows);
    return attn_i_store_scales_view(store, m->batch, m->key_heads, m->capacity, m->longest);
}

attn_i_view attn_i_memory_key_scales(const attn_memory *m)
{
    return scales_of(m, 0);
}

attn_i_view attn_i_memory_value_scales(const attn_memory *m)
{
    return scales_of(m, 1);
}

attn_i_view attn_i_memory_keys(const attn_memory *m)
{
    return view_of(m, 0, m->keys.width);
}

attn_i_view attn_i_memory_values(const attn_memory *m)
{
    return view_of(m, 1, attn_i_memory_value_dim(m));
}

attn_i_view attn_i_memory_table(const attn_memory *m)
{
    if (m->pool == NULL) return (attn_i_view){.data = NULL};
    const int64_t most = attn_i_divide_up(m->capacity, m->pool->rows);
    char *data = (char *)m->table;
    return (attn_i_view){.data = data,
                         .shape = {1, 1, m->batch, most},
                         .stride = {0, 0, most, 1},
                         .dtype = ATTN_I32,
                         .size = (int64_t)sizeof *m->table,
                         .first = data,
                         .end = data + m->batch * most * (int64_t)sizeof *m->table};
}

attn_i_view attn_i_memory_lengths(const attn_memory *m)
{
    int even = m->pool == NULL;
    for (int64_t b = 0; b < m->batch && even; b++) even = m->lengths[b] == m->longest;
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
