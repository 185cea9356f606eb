/* SPDX-License-Identifier: BSD-3-Clause
 *
 * blas/forward.c: the forward pass by whole matrices. For each chunk of rows the scores are computed by the score
 * function, each row finished (modifiers, softmax), and the weights multiplied with the values. All products run on the
 * calling thread, the rows on the engine's. */
#include "blas/forward.h"

#include "call/scratch.h"
#include "runtime/size.h"
#include "score/chunk.h"
#include "score/key_sums.h"
#include "softmax/context.h"
#include "softmax/row.h"

typedef struct run {
    const attn_i_problem *p;
    attn_i_chunks chunks;
    char *contexts; /* of a block */
    attn_i_context_scratch context;
    unsigned char *seen; /* an attn_i_seen for each row */
    attn_i_key_sums sums;
} run;

static void lay_out(run *r, attn_i_arena *arena)
{
    const attn_i_problem *p = r->p;
    const int wants_context = p->context.data != NULL;
    attn_i_chunks_layout(&r->chunks, p, INT64_MAX, p->keys, arena);
    if (wants_context) r->context = attn_i_context_layout(p, r->chunks.value.use, arena);
    r->contexts = attn_i_carve_matrix(arena, wants_context ? r->chunks.block_rows : 0, p->value_dim, p->size);
    r->seen = attn_i_carve(arena, r->chunks.heads * r->chunks.rows, sizeof *r->seen);
    r->sums = attn_i_key_sums_layout(&r->chunks, arena);
}

attn_status attn_i_blas_way_scratch(const attn_i_problem *problem, int64_t *bytes)
{
    run r = {.p = problem};
    attn_i_arena arena = {.base = NULL};
    lay_out(&r, &arena);
    return attn_i_scratch_measured(&arena, bytes);
}

static void finish_rows(void *data, int64_t item)
{
    run *r = data;
    const attn_i_chunks *c = &r->chunks;
    const int64_t first = item * attn_i_chunks_item_rows(c);
    const int64_t end = attn_i_min(first + attn_i_chunks_item_rows(c), c->chunk_heads * c->chunk_rows);
    for (int64_t x = first; x < end; x++) {
        const attn_i_row_place at = attn_i_chunks_place(c, x);
        const attn_i_score_block *block = attn_i_chunks_block(c, x);
        const attn_i_span span = {block->first, block->first + block->scores.columns};
        r->seen[x] =
            (unsigned char)attn_i_row_finish(r->p, at.b, at.h, at.i, span, NULL, attn_i_key_sums_kept(&r->sums, x),
                                             c->scores + x * c->score_stride * r->p->size);
    }
}

static void finish_chunk(run *r)
{
    const int64_t rows = r->chunks.chunk_heads * r->chunks.chunk_rows;
    const int64_t work = rows * r->chunks.score_stride * 8;
    attn_i_parallel(r->p->engine->pool, attn_i_divide_up(rows, attn_i_chunks_item_rows(&r->chunks)), work, finish_rows,
                    r);
}

/* Weights times values for one block, and to the caller's context. */
static void compute_context(const run *r, const attn_i_score_block *block, int64_t head, int64_t x)
{
    const attn_i_problem *p = r->p;
    const attn_i_matrix all = attn_i_chunks_values(&r->chunks, head);
    const attn_i_matrix values = attn_i_matrix_rows(all, block->first, block->scores.columns, p->size);
    const attn_i_matrix contexts = attn_i_matrix_dense(r->contexts, block->scores.rows, p->value_dim);
    attn_i_context_compute(p, &r->context, block->scores, r->seen + x, values, contexts);
    for (int64_t k = 0; k < contexts.rows; k++) {
        const attn_i_row_place at = attn_i_chunks_place(&r->chunks, x + k);
        p->kernels->scatter(p->value_dim, contexts.data + k * p->value_dim * p->size,
                            attn_i_view_at(&p->context, at.b, at.h) + at.i * p->context.stride[2] * p->size,
                            p->context.stride[3]);
    }
}

static void compute_contexts(run *r)
{
    const attn_i_chunks *c = &r->chunks;
    const int64_t per_head = attn_i_chunks_blocks(c);
    for (int64_t head = 0; head < c->chunk_heads; head++) {
        for (int64_t k = 0; k < per_head; k++) {
            compute_context(r, &c->blocks[head * per_head + k], head, head * c->chunk_rows + k * c->block_rows);
        }
    }
}

void attn_i_blas_way_run(const attn_i_problem *problem, void *scratch)
{
    run r = {.p = problem};
    attn_i_chunks *c = &r.chunks;
    attn_i_arena arena = {.base = scratch};
    lay_out(&r, &arena);
    attn_i_score_of(problem)->load(problem, &c->state);
    for (c->first_head = 0; c->first_head < c->head_count; c->first_head += c->heads) {
        c->chunk_heads = attn_i_min(c->heads, c->head_count - c->first_head);
        attn_i_chunks_take_heads(c);
        attn_i_key_sums_begin(&r.sums);
        for (c->first_row = 0; c->first_row < c->head_rows; c->first_row += c->rows) {
            c->chunk_rows = attn_i_min(c->rows, c->head_rows - c->first_row);
            attn_i_chunks_take_rows(c);
            attn_i_chunks_score(c);
            finish_chunk(&r);
            attn_i_key_sums_add(&r.sums);
            if (problem->context.data != NULL) compute_contexts(&r);
        }
        attn_i_key_sums_write(&r.sums);
    }
}
