/* SPDX-License-Identifier: BSD-3-Clause
 *
 * local/forward.c: the forward pass of predictive local attention (Luong 2015, section 3.2). Queries are projected to
 * their centres for a chunk at once; then each looks at the keys around its own, so that what it costs does not grow
 * with their number. */
#include "local/local.h"

#include "call/scratch.h"
#include "local/centre.h"
#include "runtime/size.h"
#include "score/key_sums.h"
#include "softmax/row.h"

typedef struct run {
    const attn_i_problem *p;
    attn_i_chunks chunks;
    attn_i_centres centres;
    char *factors, *contexts; /* of each row of a chunk */
    attn_i_key_sums sums;
} run;

/* The keys within half_width of a centre. */
static int64_t most_keys(const attn_i_problem *p)
{
    return attn_i_min(2 * p->modifiers->half_width + 1, p->keys);
}

static void lay_out(run *r, attn_i_arena *arena)
{
    const attn_i_problem *p = r->p;
    /* Sums are of all keys, however few a row has: so of one key head at a time. */
    attn_i_chunks_layout(&r->chunks, p, p->stats.key_sums.data != NULL ? 1 : INT64_MAX, most_keys(p), arena);
    attn_i_centres_layout(&r->centres, &r->chunks, arena);
    const int64_t rows = r->chunks.heads * r->chunks.rows;
    r->factors = attn_i_carve_matrix(arena, rows, r->chunks.score_stride, p->size);
    r->contexts = attn_i_carve_matrix(arena, p->context.data != NULL ? rows : 0, p->value_dim, p->size);
    r->sums = attn_i_key_sums_layout(&r->chunks, arena);
}

attn_status attn_i_local_way_scratch(const attn_i_problem *problem, int64_t *bytes)
{
    run r = {.p = problem};
    attn_i_arena arena = {.base = NULL};
    lay_out(&r, &arena);
    return attn_i_scratch_measured(&arena, bytes);
}

static void compute_row(void *data, int64_t x)
{
    const run *r = data;
    const attn_i_problem *p = r->p;
    const attn_i_chunks *c = &r->chunks;
    const attn_i_row_place at = attn_i_chunks_place(c, x);
    const attn_i_matrix queries = attn_i_chunks_queries(c);
    const int64_t head = x / c->chunk_rows, size = p->size;
    char *row = c->scores + x * c->score_stride * size, *factor = r->factors + x * c->score_stride * size;
    const attn_i_span span = attn_i_centres_span(&r->centres, c, x);
    attn_i_score_of(p)->row_scores(p, &c->state, queries.data + x * queries.row_stride * size,
                                   attn_i_chunks_keys(c, head), span.first, span.end - span.first, row);
    attn_i_centres_gaussian(&r->centres, p, x, span, factor, NULL);
    attn_i_row_finish(p, at.b, at.h, at.i, span, factor, attn_i_key_sums_kept(&r->sums, x), row);
    if (p->context.data == NULL) return;
    const attn_i_matrix values = attn_i_chunks_values(c, head);
    char *context = r->contexts + x * p->value_dim * size;
    p->kernels->fill(p->value_dim, 0, context, 1);
    p->kernels->add_rows(span.end - span.first, row, attn_i_matrix_row(values, span.first, size), values.row_stride,
                         p->value_dim, context);
    p->kernels->scatter(p->value_dim, context,
                        attn_i_view_at(&p->context, at.b, at.h) + at.i * p->context.stride[2] * size,
                        p->context.stride[3]);
}

void attn_i_local_way_run(const attn_i_problem *p, void *scratch)
{
    run r = {.p = p};
    attn_i_chunks *c = &r.chunks;
    attn_i_arena arena = {.base = scratch};
    lay_out(&r, &arena);
    attn_i_score_of(p)->load(p, &c->state);
    attn_i_centres_load(&r.centres, p);
    for (c->first_head = 0; c->first_head < c->head_count; c->first_head += c->heads) {
        c->chunk_heads = attn_i_min(c->heads, c->head_count - c->first_head);
        attn_i_chunks_take_heads(c);
        attn_i_key_sums_begin(&r.sums);
        for (c->first_row = 0; c->first_row < c->head_rows; c->first_row += c->rows) {
            c->chunk_rows = attn_i_min(c->rows, c->head_rows - c->first_row);
            const int64_t rows = c->chunk_heads * c->chunk_rows;
            const int64_t per_key = p->query_dim + p->value_dim + p->mechanism->hidden_dim;
            const int64_t work = attn_i_multiply_most(attn_i_multiply_most(rows, most_keys(p)), per_key) / 4;
            attn_i_chunks_take_rows(c);
            attn_i_centres_find(&r.centres, c);
            attn_i_parallel(p->engine->pool, rows, work, compute_row, &r);
            for (int64_t x = 0; x < rows && r.sums.sums != NULL; x++) {
                attn_i_key_sums_add_row(&r.sums, x, attn_i_centres_span(&r.centres, c, x));
            }
        }
        attn_i_key_sums_write(&r.sums);
    }
}
