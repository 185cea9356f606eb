/* SPDX-License-Identifier: BSD-3-Clause
 *
 * score/key_sums.c: sums of rows of weights by key. */
#include "score/key_sums.h"

#include "call/stats.h"
#include "runtime/size.h"

#include <string.h>

enum { RUN_KEYS = 1024 }; /* of one parallel item */

attn_i_key_sums attn_i_key_sums_layout(const attn_i_chunks *c, attn_i_arena *arena)
{
    const attn_i_problem *p = c->p;
    attn_i_key_sums s = {.chunks = c};
    if (p->stats.key_sums.data == NULL) return s;
    s.sums = attn_i_carve_matrix(arena, c->heads * p->group, p->keys, (int64_t)sizeof *s.sums);
    if (p->dropout.keep != 0) s.kept = attn_i_carve_matrix(arena, c->heads * c->rows, c->score_stride, p->size);
    return s;
}

void *attn_i_key_sums_kept(const attn_i_key_sums *s, int64_t x)
{
    return s->kept == NULL ? NULL : s->kept + x * s->chunks->score_stride * s->chunks->p->size;
}

void attn_i_key_sums_begin(const attn_i_key_sums *s)
{
    const attn_i_chunks *c = s->chunks;
    if (s->sums == NULL) return;
    memset(s->sums, 0, (size_t)(c->chunk_heads * c->p->group * c->p->keys) * sizeof *s->sums);
}

void attn_i_key_sums_write(const attn_i_key_sums *s)
{
    const attn_i_chunks *c = s->chunks;
    const attn_i_problem *p = c->p;
    for (int64_t i = 0; s->sums != NULL && i < c->chunk_heads * p->group; i++) {
        const int64_t head = c->first_head + i / p->group;
        attn_i_stats_write_sums(p, head / p->key_heads, head % p->key_heads * p->group + i % p->group, 0, p->keys,
                                s->sums + i * p->keys);
    }
}

/* Keys first .. end - 1 of row x, which has those of span. */
static void add(const attn_i_key_sums *s, int64_t x, attn_i_span span, int64_t first, int64_t end)
{
    const attn_i_chunks *c = s->chunks;
    const attn_i_problem *p = c->p;
    const char *row = (s->kept == NULL ? c->scores : s->kept) + x * c->score_stride * p->size;
    const int64_t member = (c->first_row + x % c->chunk_rows) % p->group;
    double *to = s->sums + (x / c->chunk_rows * p->group + member) * p->keys;
    first = attn_i_max(first, span.first);
    end = attn_i_min(end, span.end);
    if (first < end) p->kernels->add_to_sums(end - first, row + (first - span.first) * p->size, to + first);
}

void attn_i_key_sums_add_row(const attn_i_key_sums *s, int64_t x, attn_i_span span)
{
    add(s, x, span, span.first, span.end);
}

/* One key head, and a run of its keys, of which nobody else adds to the sums. */
static void add_run(void *data, int64_t item)
{
    const attn_i_key_sums *s = data;
    const attn_i_chunks *c = s->chunks;
    const int64_t runs = attn_i_divide_up(c->p->keys, RUN_KEYS), head = item / runs, first = item % runs * RUN_KEYS;
    for (int64_t k = 0; k < c->chunk_rows; k++) {
        const int64_t x = head * c->chunk_rows + k;
        const attn_i_score_block *block = attn_i_chunks_block(c, x);
        add(s, x, (attn_i_span){block->first, block->first + block->scores.columns}, first, first + RUN_KEYS);
    }
}

void attn_i_key_sums_add(attn_i_key_sums *s)
{
    const attn_i_chunks *c = s->chunks;
    const int64_t items = c->chunk_heads * attn_i_divide_up(c->p->keys, RUN_KEYS);
    if (s->sums != NULL) {
        attn_i_parallel(c->p->engine->pool, items, c->chunk_heads * c->chunk_rows * c->score_stride, add_run, s);
    }
}
