/* SPDX-License-Identifier: BSD-3-Clause
 *
 * blas/backward.c: the backward pass by whole matrices, one key head after the other. For each chunk of its rows the
 * scores are computed anew and become weights by the saved log-sum-exp; the gradients of the weights come from
 * d_context and values; each row is brought back to its scores; and products take it from there to values, queries and
 * keys. All products run on the calling thread, the rows on the engine's. */
#include "blas/backward.h"

#include "call/scratch.h"
#include "runtime/blas.h"
#include "runtime/size.h"
#include "score/chunk.h"
#include "score/param_sums.h"
#include "softmax/row_gradient.h"

#include <string.h>

typedef struct run {
    const attn_i_gradient *g;
    const attn_i_problem *p;
    attn_i_chunks chunks;

    /* What gradients are summed in. */
    attn_i_target key, value; /* of one key head; key holds both where keys are values */
    attn_i_param_sums params;
    attn_i_bias_sums biases;
    char *d_keys;      /* of the prepared keys of one key head; NULL: they are used as they come, or not wanted */
    int wants_keys;    /* of keys as they come, or of what prepares them */
    int wants_queries; /* likewise */

    /* Of a chunk. */
    char *d_scores, *capped, *d_contexts, *d_queries, *d_raw_queries;
    unsigned char *seen, *finite; /* an attn_i_seen for each row; whether its d_context is finite */
    double *row_alibi;
} run;

static void lay_out(run *r, attn_i_arena *arena)
{
    const attn_i_gradient *g = r->g;
    const attn_i_problem *p = r->p;
    const attn_i_score *score = attn_i_score_of(p);
    attn_i_chunks_layout(&r->chunks, p, 1, p->keys, arena);
    const attn_i_chunks *c = &r->chunks;
    attn_i_param_sums_layout(&r->params, g,
                             score->rule.reads_keys ? c->key.use : attn_i_matrix_transpose(c->state.places.use), arena);
    r->wants_keys = score->rule.reads_keys && (g->d_key.data != NULL || r->params.wanted);
    r->wants_queries = g->d_query.data != NULL || r->params.wanted;
    r->key = attn_i_target_layout(arena, attn_i_head_matrix(r->p, &g->d_key, 0), p->size);
    r->value = attn_i_target_layout(arena, attn_i_head_matrix(r->p, &g->d_value, 0), p->size);
    if (g->shared) r->value = r->key;
    attn_i_bias_sums_layout(&r->biases, g, arena);
    r->d_keys = attn_i_carve_matrix(arena, r->wants_keys && c->key_width > 0 ? p->keys : 0, c->key_width, p->size);

    const int capped = p->modifiers->softcap != 0;
    r->d_scores = attn_i_carve_matrix(arena, c->rows, c->score_stride, p->size);
    r->capped = attn_i_carve_matrix(arena, capped ? c->rows : 0, c->score_stride, p->size);
    r->d_contexts = attn_i_carve_matrix(arena, p->context.data != NULL ? c->rows : 0, p->value_dim, p->size);
    r->d_queries = attn_i_carve_matrix(arena, r->wants_queries ? c->rows : 0, c->query_width, p->size);
    r->d_raw_queries = attn_i_carve_matrix(arena, g->d_query.data != NULL ? c->rows : 0, p->query_dim, p->size);
    r->seen = attn_i_carve(arena, c->rows, 1);
    r->finite = attn_i_carve(arena, c->rows, 1);
    r->row_alibi = attn_i_carve(arena, c->rows, sizeof *r->row_alibi);
}

attn_status attn_i_blas_backward_scratch(const attn_i_gradient *gradient, int64_t *bytes)
{
    run r = {.g = gradient, .p = &gradient->problem};
    attn_i_arena arena = {.base = NULL};
    lay_out(&r, &arena);
    return attn_i_scratch_measured(&arena, bytes);
}

/* ------------------------------------------------------------------------------------------------ a chunk */

static attn_i_matrix dense(const run *r, char *data, int64_t columns)
{
    return attn_i_matrix_dense(data, r->chunks.chunk_rows, columns);
}

static char *row_of(const run *r, char *data, int64_t x, int64_t columns)
{
    return data + x * columns * r->p->size;
}

/* The block's part of rows as long as scores. */
static attn_i_matrix block_of(const run *r, char *data, const attn_i_score_block *block, int64_t x)
{
    return (attn_i_matrix){row_of(r, data, x, r->chunks.score_stride), block->scores.rows, block->scores.columns,
                           r->chunks.score_stride, 1};
}

static void gather_contexts(run *r)
{
    const attn_i_view *d = &r->g->d_context;
    const int64_t dim = r->p->value_dim;
    for (int64_t x = 0; x < r->chunks.chunk_rows; x++) {
        const attn_i_row_place at = attn_i_chunks_place(&r->chunks, x);
        r->p->kernels->gather(dim, attn_i_view_at(d, at.b, at.h) + at.i * d->stride[2] * r->p->size, d->stride[3],
                              row_of(r, r->d_contexts, x, dim));
    }
}

/* What d_context says of the weights: d_context values^T. */
static void multiply_values(run *r)
{
    const attn_i_chunks *c = &r->chunks;
    const attn_i_matrix values = attn_i_chunks_values(c, 0), contexts = dense(r, r->d_contexts, r->p->value_dim);
    for (int64_t x = 0; x < c->chunk_rows; x += c->block_rows) {
        const attn_i_score_block *block = attn_i_chunks_block(c, x);
        const attn_i_matrix rows = attn_i_matrix_rows(contexts, x, block->scores.rows, r->p->size);
        const attn_i_matrix some = attn_i_matrix_rows(values, block->first, block->scores.columns, r->p->size);
        attn_i_blas_multiply(r->p->dtype, rows, attn_i_matrix_transpose(some), block_of(r, r->d_scores, block, x), 0);
    }
}

static attn_i_row_gradient row_gradient(const run *r, int64_t x)
{
    const attn_i_chunks *c = &r->chunks;
    const attn_i_row_place at = attn_i_chunks_place(c, x);
    const attn_i_score_block *block = attn_i_chunks_block(c, x);
    return (attn_i_row_gradient){.b = at.b,
                                 .h = at.h,
                                 .i = at.i,
                                 .span = {block->first, block->first + block->scores.columns},
                                 .scores = row_of(r, c->scores, x, c->score_stride),
                                 .d = row_of(r, r->d_scores, x, c->score_stride),
                                 .capped = row_of(r, r->capped, x, c->score_stride)};
}

/* 1 if gradients of scores are summed for biases. */
static int sums_rows(const run *r)
{
    return r->g->d_bias.data != NULL || r->biases.table != NULL;
}

static void compute_rows(void *data, int64_t item)
{
    run *r = data;
    const int64_t first = item * attn_i_chunks_item_rows(&r->chunks);
    const int64_t end = attn_i_min(first + attn_i_chunks_item_rows(&r->chunks), r->chunks.chunk_rows);
    for (int64_t x = first; x < end; x++) {
        attn_i_row_gradient row = row_gradient(r, x);
        r->seen[x] = (unsigned char)attn_i_row_gradient_compute(r->g, &row);
        r->row_alibi[x] = row.alibi;
        if (!sums_rows(r)) attn_i_row_gradient_finish(r->g, &row);
    }
}

/* Gradients of biases take rows one by one: several may share an element. */
static void sum_biases(run *r)
{
    for (int64_t x = 0; x < r->chunks.chunk_rows; x++) {
        const attn_i_row_gradient row = row_gradient(r, x);
        attn_i_bias_sums_add_row(&r->biases, r->g, row.b, row.h, row.i, row.span.first, row.span.end - row.span.first,
                                 row.d);
        attn_i_row_gradient_finish(r->g, &row);
    }
}

static void sum_alibi(run *r)
{
    for (int64_t x = 0; x < r->chunks.chunk_rows; x++) {
        r->biases.alibi[attn_i_chunks_place(&r->chunks, x).h] += r->row_alibi[x];
    }
}

/* What is not finite becomes 0; `finite`, unless it is NULL, tells which rows had nothing of it. */
static void clean_rows(const run *r, attn_i_matrix m, unsigned char *finite)
{
    for (int64_t x = 0; x < m.rows && m.columns > 0; x++) {
        char *row = m.data + x * m.row_stride * r->p->size;
        const int all = r->p->kernels->is_finite(m.columns, row);
        if (!all) r->p->kernels->gather_finite(m.columns, row, 1, row, 1);
        if (finite != NULL) finite[x] = (unsigned char)all;
    }
}

/* d_value += weights^T d_context; what is not finite in a row of d_context goes only where that row sees. */
static void sum_values(run *r, const attn_i_score_block *block, int64_t x)
{
    const attn_i_problem *p = r->p;
    const attn_i_view *d = &r->g->d_context;
    const attn_i_matrix all = r->value.use;
    const attn_i_matrix to = attn_i_matrix_rows(all, block->first, block->scores.columns, p->size);
    const attn_i_matrix rows =
        attn_i_matrix_rows(dense(r, r->d_contexts, p->value_dim), x, block->scores.rows, p->size);
    attn_i_blas_multiply(p->dtype, attn_i_matrix_transpose(block->scores), rows, to, 1);
    for (int64_t i = 0; i < rows.rows; i++) {
        if (r->finite[x + i]) continue;
        const attn_i_row_place at = attn_i_chunks_place(&r->chunks, x + i);
        const char *from = attn_i_view_at(d, at.b, at.h) + at.i * d->stride[2] * p->size;
        for (int64_t j = 0; j < to.rows; j++) {
            const char *weight = block->scores.data + (i * block->scores.row_stride + j) * p->size;
            if (p->kernels->is_unseen(weight)) continue;
            p->kernels->add_not_finite(to.columns, weight, from, d->stride[3], to.data + j * to.row_stride * p->size);
        }
    }
}

static attn_i_matrix no_matrix(void)
{
    return (attn_i_matrix){0};
}

/* From the gradients of a block's scores to prepared queries and keys. */
static void sum_scores(run *r, const attn_i_score_block *block, int64_t x)
{
    const attn_i_problem *p = r->p;
    const attn_i_chunks *c = &r->chunks;
    const int64_t keys = block->scores.columns;
    attn_i_score_gradient g = {.block = *block, .seen = r->seen + x};
    attn_i_matrix d_queries = no_matrix(), d_keys = no_matrix();
    g.block.scores = block_of(r, r->d_scores, block, x);
    if (c->query_width > 0 && r->wants_queries) d_queries = dense(r, r->d_queries, c->query_width);
    if (c->query_width == 0 && r->g->d_query.data != NULL) d_queries = dense(r, r->d_raw_queries, p->query_dim);
    if (c->key_width > 0 && r->wants_keys) d_keys = attn_i_matrix_dense(r->d_keys, p->keys, c->key_width);
    if (c->key_width == 0 && p->mechanism->rule->reads_keys) d_keys = r->key.use;
    if (d_queries.data != NULL) g.d_queries = attn_i_matrix_rows(d_queries, x, block->scores.rows, p->size);
    if (d_keys.data != NULL) g.d_keys = attn_i_matrix_rows(d_keys, block->first, keys, p->size);
    attn_i_score_of(p)->gradients(p, &c->state, &g, &r->params.score);
}

/* From prepared queries to queries as they came, and to the caller. */
static void finish_queries(run *r)
{
    const attn_i_problem *p = r->p;
    const attn_i_chunks *c = &r->chunks;
    const attn_i_view *d = &r->g->d_query;
    attn_i_matrix raw = no_matrix();
    if (d->data != NULL) raw = dense(r, r->d_raw_queries, p->query_dim);
    if (c->query_width > 0 && r->wants_queries) {
        attn_i_score_of(p)->query_gradients(p, &c->state, attn_i_chunks_raw_queries(c),
                                            dense(r, r->d_queries, c->query_width), raw, &r->params.score);
    }
    for (int64_t x = 0; x < raw.rows; x++) {
        const attn_i_row_place at = attn_i_chunks_place(c, x);
        char *to = attn_i_view_at(d, at.b, at.h) + at.i * d->stride[2] * p->size;
        const char *from = row_of(r, r->d_raw_queries, x, p->query_dim);
        attn_i_gradient_write_row(r->g, p->query_dim, from, to, d->stride[3]);
    }
}

static void run_chunk(run *r)
{
    attn_i_chunks *c = &r->chunks;
    const attn_i_problem *p = r->p;
    const int64_t work = c->chunk_rows * c->score_stride * 12;
    attn_i_chunks_take_rows(c);
    attn_i_chunks_score(c);
    if (p->context.data != NULL) {
        gather_contexts(r);
        multiply_values(r);
    }
    attn_i_parallel(p->engine->pool, attn_i_divide_up(c->chunk_rows, attn_i_chunks_item_rows(c)), work, compute_rows,
                    r);
    if (r->g->d_alibi.data != NULL) sum_alibi(r);
    if (sums_rows(r)) sum_biases(r);
    if (p->context.data != NULL) clean_rows(r, dense(r, r->d_contexts, p->value_dim), r->finite);
    clean_rows(r, attn_i_chunks_raw_queries(c), NULL);
    clean_rows(r, attn_i_chunks_queries(c), NULL);
    for (int64_t x = 0; x < c->chunk_rows; x += c->block_rows) {
        const attn_i_score_block *block = attn_i_chunks_block(c, x);
        if (p->context.data != NULL && r->value.use.data != NULL) sum_values(r, block, x);
        if (r->wants_keys || r->wants_queries) sum_scores(r, block, x);
    }
    finish_queries(r);
}

/* ------------------------------------------------------------------------------------------------ all of it */

static void move_targets(run *r, int64_t head)
{
    if (r->key.to.data != NULL) attn_i_target_move(&r->key, attn_i_head_matrix(r->p, &r->g->d_key, head).data);
    if (r->value.to.data != NULL && !r->g->shared) {
        attn_i_target_move(&r->value, attn_i_head_matrix(r->p, &r->g->d_value, head).data);
    }
    if (r->g->shared) r->value = r->key;
}

static void begin_head(run *r, int64_t head)
{
    const attn_i_problem *p = r->p;
    const int accumulate = r->g->accumulate;
    move_targets(r, head);
    attn_i_target_begin(&r->key, accumulate, p->kernels, p->size);
    if (!r->g->shared) attn_i_target_begin(&r->value, accumulate, p->kernels, p->size);
    if (r->wants_keys && r->chunks.key_width > 0) {
        memset(r->d_keys, 0, (size_t)(p->keys * r->chunks.key_width * p->size));
    }
}

static void end_head(run *r)
{
    const attn_i_problem *p = r->p;
    const attn_i_chunks *c = &r->chunks;
    const int accumulate = r->g->accumulate;
    if (r->wants_keys && c->key_width > 0) {
        const attn_i_matrix from = c->key.copied ? c->key.use : attn_i_head_matrix(r->p, &p->key, c->first_head);
        attn_i_score_of(p)->key_gradients(p, &c->state, from, attn_i_matrix_dense(r->d_keys, p->keys, c->key_width),
                                          r->key.use, &r->params.score);
    }
    attn_i_target_end(&r->key, accumulate, p->kernels, p->size);
    if (!r->g->shared) attn_i_target_end(&r->value, accumulate, p->kernels, p->size);
}

static void begin(run *r)
{
    const attn_i_problem *p = r->p;
    attn_i_score_of(p)->load(p, &r->chunks.state);
    attn_i_param_sums_begin(&r->params, r->g);
    attn_i_bias_sums_begin(&r->biases, r->g);
}

static void end(run *r)
{
    attn_i_param_sums_end(&r->params, r->g, &r->chunks.state);
    attn_i_bias_sums_end(&r->biases, r->g);
}

void attn_i_blas_backward_run(const attn_i_gradient *gradient, void *scratch)
{
    run r = {.g = gradient, .p = &gradient->problem};
    attn_i_chunks *c = &r.chunks;
    attn_i_arena arena = {.base = scratch};
    lay_out(&r, &arena);
    begin(&r);
    c->chunk_heads = 1;
    for (c->first_head = 0; c->first_head < c->head_count; c->first_head++) {
        begin_head(&r, c->first_head);
        attn_i_chunks_take_heads(c);
        for (c->first_row = 0; c->first_row < c->head_rows; c->first_row += c->rows) {
            c->chunk_rows = attn_i_min(c->rows, c->head_rows - c->first_row);
            run_chunk(&r);
        }
        end_head(&r);
    }
    end(&r);
}
