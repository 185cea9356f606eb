/* SPDX-License-Identifier: BSD-3-Clause
 *
 * handles/memory.h: what a memory is made of: keys as the score function wants them, values, and a length for each
 * sequence. */
#ifndef ATTN_I_HANDLES_MEMORY_H
#define ATTN_I_HANDLES_MEMORY_H

#include "attn/attn.h"
#include "handles/lengths.h"
#include "handles/mechanism.h"
#include "handles/page_pool.h"
#include "handles/store.h"
#include "handles/tensor.h"

/* What a score function has made of keys already: nothing; prepared rows; or rows converted for the fused way. */
typedef enum attn_i_ready { ATTN_I_RAW, ATTN_I_PREPARED, ATTN_I_CONVERTED } attn_i_ready;

struct attn_memory {
    const attn_mechanism *mechanism;
    attn_engine *engine;
    attn_dtype dtype, computed; /* that it is kept in, but for keys that are made ready; and that is computed in */
    uint32_t flags;
    int turns; /* keys, as they are appended */
    attn_rope_options rope;
    attn_i_ready ready;
    int64_t batch, key_heads, key_dim, value_dim; /* value_dim 0: the keys are the values */
    int64_t capacity, longest;
    int64_t *lengths;
    attn_i_store keys,
        values;             /* [batch, heads, capacity, width], or the pool's; values: none where they are raw keys */
    attn_i_page_pool *pool; /* NULL: without pages. Or: */
    int32_t *table;         /* [batch, capacity / rows of a page], the pages of each sequence, */
    int64_t *held;          /* of which it has so many */
};

/* The row of a store that position `at` of sequence b, head h is; and how many of `count` positions from it on are rows
 * that follow it. */
static inline int64_t attn_i_memory_row(const attn_memory *memory, int64_t b, int64_t h, int64_t at)
{
    const attn_i_page_pool *pool = memory->pool;
    if (pool == NULL) return (b * memory->key_heads + h) * memory->capacity + at;
    const int64_t page = memory->table[b * (memory->capacity / pool->rows) + at / pool->rows];
    return (page * memory->key_heads + h) * pool->rows + at % pool->rows;
}
static inline int64_t attn_i_memory_run(const attn_memory *memory, int64_t at, int64_t count)
{
    const attn_i_page_pool *pool = memory->pool;
    return pool == NULL || count < pool->rows - at % pool->rows ? count : pool->rows - at % pool->rows;
}
/* How many rows there are from one head to the next. */
static inline int64_t attn_i_memory_head_rows(const attn_memory *memory)
{
    return memory->pool == NULL ? memory->capacity : memory->pool->rows;
}

/* For a problem that reads the memory: what it holds of the first `longest` positions. */
attn_i_view attn_i_memory_keys(const attn_memory *memory);
attn_i_view attn_i_memory_values(const attn_memory *memory);
/* The scales of either, [1, batch, heads, longest]; data NULL: none. */
attn_i_view attn_i_memory_key_scales(const attn_memory *memory);
attn_i_view attn_i_memory_value_scales(const attn_memory *memory);
attn_i_view attn_i_memory_lengths(const attn_memory *memory);
int64_t attn_i_memory_value_dim(const attn_memory *memory);

/* A handle with `batch` empty sequences, and room for so many positions of each, that keeps what `like` does; on the
 * engine of its mechanism, which it keeps alive. */
attn_status attn_i_memory_make(const attn_memory *like, int64_t batch, int64_t capacity, attn_memory **memory);

/* The table of pages, [1, 1, batch, most]; data NULL: there is none. */
attn_i_view attn_i_memory_table(const attn_memory *memory);

/* Room for what each sequence is given, in rows that are its own. */
attn_status attn_i_memory_reserve(attn_memory *memory, const attn_i_growth *growth);

/* What the longest sequence has, after lengths were set. */
void attn_i_memory_measure(attn_memory *memory);

/* No more pages than its sequences fill: what was reserved and is not wanted is anybody's. */
void attn_i_memory_trim(attn_memory *memory);

/* Every sequence becomes longer by so many times what it is given, -1: shorter: what is there stays. */
void attn_i_memory_lengthen(attn_memory *memory, const attn_i_growth *growth, int times);

#endif
