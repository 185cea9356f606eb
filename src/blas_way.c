/* SPDX-License-Identifier: BSD-3-Clause
 *
 * blas_way.c: the forward pass by whole matrices. The query heads of a group share their key head: their queries are
 * the rows of one matrix, row r being query r / group of head r % group. Rows are taken in chunks whose scores stay
 * in the cache: part of one key head's rows, or all rows of several key heads. For each chunk the queries are
 * gathered and prepared, the scores computed by the score function, each row finished (modifiers, softmax), and the
 * weights multiplied with the values. All products run on the calling thread, the rows on the engine's. */
#include "blas_way.h"

#include "context.h"
#include "operand.h"
#include "runtime/blas.h"
#include "runtime/size.h"
#include "score/score.h"
#include "softmax/row.h"
#include "status.h"

enum {
    CHUNK_SCORES = 1 << 18,   /* scores of a chunk, unless one row has more */
    CHUNK_ELEMENTS = 1 << 19, /* of a chunk's queries, prepared queries and contexts */
    CHUNK_KEYS = 1 << 20,     /* elements of prepared keys of a chunk, unless one key head has more */
    CHUNK_ROWS = 1024,
    CHUNK_HEADS = 64,
    MOVING_ROWS = 64,     /* rows of a block when what may be seen moves with the query */
    ITEM_SCORES = 1 << 13 /* scores that one parallel item finishes */
};

typedef struct run {
    const attn_i_problem *p;

    /* How the work is cut: by shape alone. */
    int64_t head_count;  /* key heads of all sequences */
    int64_t head_rows;   /* rows of a key head: group x queries */
    int64_t heads, rows; /* of a chunk, at most; rows per key head */
    int64_t block_rows;  /* rows that are multiplied at once, at most */
    int64_t query_width, key_width, score_stride;

    /* Scratch. */
    attn_i_score_state state;
    attn_i_operand key, value; /* of one key head; used where they lie, unless the BLAS cannot read them there */
    char *raw_queries, *queries, *keys, *scores; /* of a chunk */
    char *contexts;                              /* of a block */
    attn_i_context_scratch context;
    attn_i_score_block *blocks;
    unsigned char *seen; /* an attn_i_seen for each row */

    /* The chunk at hand. */
    int64_t first_head, chunk_heads, first_row, chunk_rows;
} run;

static attn_i_matrix head_matrix(const run *r, const attn_i_view *view, int64_t head)
{
    return attn_i_view_matrix(view, head / r->p->key_heads, head % r->p->key_heads);
}

static void cut(run *r)
{
    const attn_i_problem *p = r->p;
    const attn_i_score *score = p->mechanism->score;
    r->head_count = p->batch * p->key_heads;
    r->head_rows = p->group * p->queries;
    r->query_width = score->query_width(p);
    r->key_width = score->key_width(p);
    /* Lines of 64 bytes, and not all on the same few cache sets. */
    r->score_stride = attn_i_divide_up(attn_i_max(p->keys, 1), 16) * 16;
    if (r->score_stride % 256 == 0) r->score_stride += 16;

    int64_t rows = attn_i_clamp(CHUNK_SCORES / r->score_stride, 1, CHUNK_ROWS);
    const int64_t width = attn_i_min(p->query_dim, CHUNK_ELEMENTS) + attn_i_min(r->query_width, CHUNK_ELEMENTS) +
                          attn_i_min(p->value_dim, CHUNK_ELEMENTS);
    rows = attn_i_min(rows, attn_i_max(CHUNK_ELEMENTS / width, 1));
    r->rows = attn_i_min(rows, r->head_rows);
    r->heads = 1;
    if (r->rows == r->head_rows && !r->key.copied && !r->value.copied) {
        r->heads = attn_i_min(attn_i_min(rows / r->rows, CHUNK_HEADS), r->head_count);
        if (r->key_width > 0) r->heads = attn_i_min(r->heads, CHUNK_KEYS / r->key_width / attn_i_max(p->keys, 1));
        r->heads = attn_i_max(r->heads, 1);
    }
    const int moving = p->modifiers->causal != ATTN_ALIGN_NONE || p->modifiers->window != ATTN_ALIGN_NONE;
    r->block_rows = moving ? attn_i_min(r->rows, MOVING_ROWS) : r->rows;
}

static void lay_out(run *r, attn_i_arena *arena)
{
    const attn_i_problem *p = r->p;
    const attn_i_score *score = p->mechanism->score;
    const int wants_context = p->context.data != NULL;
    if (score->reads_keys) {
        r->key = attn_i_operand_layout(arena, head_matrix(r, &p->key, 0), score->contiguous_keys, p->size);
    }
    if (wants_context) r->value = attn_i_operand_layout(arena, head_matrix(r, &p->value, 0), 0, p->size);
    cut(r);
    score->layout(p, arena, &r->state);
    const int64_t rows = r->heads * r->rows;
    r->raw_queries = attn_i_carve_matrix(arena, rows, p->query_dim, p->size);
    r->queries = attn_i_carve_matrix(arena, rows, r->query_width, p->size);
    r->keys = attn_i_carve_matrix(arena, r->key_width > 0 ? r->heads * p->keys : 0, r->key_width, p->size);
    r->scores = attn_i_carve_matrix(arena, rows, r->score_stride, p->size);
    if (wants_context) r->context = attn_i_context_layout(p, r->value.use, arena);
    r->contexts = attn_i_carve_matrix(arena, wants_context ? r->block_rows : 0, p->value_dim, p->size);
    r->blocks = attn_i_carve(arena, r->heads * attn_i_divide_up(r->rows, r->block_rows), sizeof *r->blocks);
    r->seen = attn_i_carve(arena, rows, sizeof *r->seen);
}

/* With no queries there is nothing to write. */
static int is_empty(const attn_i_problem *p)
{
    return p->batch == 0 || p->queries == 0;
}

attn_status attn_i_blas_way_scratch(const attn_i_problem *problem, int64_t *bytes)
{
    run r = {.p = problem};
    attn_i_arena arena = {.base = NULL};
    if (!is_empty(problem)) lay_out(&r, &arena);
    if (arena.overflow) {
        return attn_i_fail(ATTN_ERR_OVERFLOW, "the scratch for these shapes cannot be addressed");
    }
    *bytes = arena.used;
    return ATTN_OK;
}

/* Where row x of the chunk comes from. */
typedef struct place {
    int64_t b, h, i; /* sequence, query head, query */
} place;

static place place_of(const run *r, int64_t x)
{
    const attn_i_problem *p = r->p;
    const int64_t head = r->first_head + x / r->chunk_rows, row = r->first_row + x % r->chunk_rows;
    return (place){head / p->key_heads, head % p->key_heads * p->group + row % p->group, row / p->group};
}

static void prepare_keys(run *r)
{
    const attn_i_problem *p = r->p;
    const int64_t end = r->first_head + r->chunk_heads;
    if (r->key.copied) {
        r->key.source = head_matrix(r, &p->key, r->first_head);
        attn_i_operand_load(&r->key, p->kernels, p->size);
    }
    if (r->value.copied) {
        r->value.source = head_matrix(r, &p->value, r->first_head);
        attn_i_operand_load(&r->value, p->kernels, p->size);
    }
    if (r->key_width == 0 || p->keys == 0) return;
    /* Key heads whose rows follow each other in memory are one matrix. */
    for (int64_t head = r->first_head, count; head < end; head += count) {
        attn_i_matrix from = r->key.copied ? r->key.use : head_matrix(r, &p->key, head);
        const int64_t step = p->keys * from.row_stride * p->size;
        for (count = 1; head + count < end; count++) {
            if (p->keys == 1 || head_matrix(r, &p->key, head + count).data != from.data + count * step) break;
        }
        from.rows = count * p->keys;
        char *to = r->keys + (head - r->first_head) * p->keys * r->key_width * p->size;
        p->mechanism->score->prepare_keys(p, &r->state, from, attn_i_matrix_dense(to, from.rows, r->key_width));
    }
}

static void prepare_queries(run *r)
{
    const attn_i_problem *p = r->p;
    const int64_t rows = r->chunk_heads * r->chunk_rows;
    attn_i_matrix raw = attn_i_matrix_dense(r->raw_queries, rows, p->query_dim);
    for (int64_t x = 0; x < rows; x++) {
        place at = place_of(r, x);
        p->kernels->gather(p->query_dim, attn_i_view_at(&p->query, at.b, at.h) + at.i * p->query.stride[2] * p->size,
                           p->query.stride[3], raw.data + x * p->query_dim * p->size);
    }
    if (r->query_width > 0) {
        attn_i_matrix prepared = attn_i_matrix_dense(r->queries, rows, r->query_width);
        p->mechanism->score->prepare_queries(p, &r->state, raw, prepared);
    }
}

/* Block `index` of the chunk's key head number `head`: which rows, and which keys they need. */
static attn_i_score_block make_block(const run *r, int64_t head, int64_t index)
{
    const attn_i_problem *p = r->p;
    const int64_t start = index * r->block_rows, count = attn_i_min(r->block_rows, r->chunk_rows - start);
    const int64_t x = head * r->chunk_rows + start; /* the block's first row in the chunk */
    const place first = place_of(r, x), last = place_of(r, x + count - 1);
    attn_i_span span = {0, p->keys};
    if (!attn_i_row_wants_all_keys(p)) span = attn_i_visible_to_all(p, first.b, first.i, last.i);
    const int64_t keys = span.end - span.first;

    attn_i_matrix queries = r->query_width > 0 ? attn_i_matrix_dense(r->queries, 0, r->query_width)
                                               : attn_i_matrix_dense(r->raw_queries, 0, p->query_dim);
    attn_i_matrix all = {0};
    if (r->key_width > 0) {
        all = attn_i_matrix_dense(r->keys + head * p->keys * r->key_width * p->size, p->keys, r->key_width);
    } else if (p->mechanism->score->reads_keys) {
        all = r->key.copied ? r->key.use : head_matrix(r, &p->key, r->first_head + head);
    }
    attn_i_matrix scores = {r->scores, 0, keys, r->score_stride, 1};
    attn_i_matrix rows_of_scores = attn_i_matrix_rows(scores, x, count, p->size);
    return (attn_i_score_block){.queries = attn_i_matrix_rows(queries, x, count, p->size),
                                .keys = attn_i_matrix_rows(all, span.first, keys, p->size),
                                .scores = rows_of_scores,
                                .first = span.first};
}

static int64_t blocks_per_head(const run *r)
{
    return attn_i_divide_up(r->chunk_rows, r->block_rows);
}

static void compute_scores(run *r)
{
    const int64_t per_head = blocks_per_head(r), count = r->chunk_heads * per_head;
    for (int64_t k = 0; k < count; k++) r->blocks[k] = make_block(r, k / per_head, k % per_head);
    r->p->mechanism->score->scores(r->p, &r->state, r->blocks, count);
}

static int64_t rows_per_item(const run *r)
{
    return attn_i_max(ITEM_SCORES / r->score_stride, 1);
}

static void finish_rows(void *data, int64_t item)
{
    run *r = data;
    const int64_t first = item * rows_per_item(r);
    const int64_t end = attn_i_min(first + rows_per_item(r), r->chunk_heads * r->chunk_rows);
    for (int64_t x = first; x < end; x++) {
        const place at = place_of(r, x);
        const attn_i_score_block *block =
            &r->blocks[x / r->chunk_rows * blocks_per_head(r) + x % r->chunk_rows / r->block_rows];
        const attn_i_span span = {block->first, block->first + block->scores.columns};
        r->seen[x] = (unsigned char)attn_i_row_finish(r->p, at.b, at.h, at.i, span,
                                                      r->scores + x * r->score_stride * r->p->size);
    }
}

static void finish_chunk(run *r)
{
    const int64_t rows = r->chunk_heads * r->chunk_rows;
    const int64_t work = rows * r->score_stride * 8;
    attn_i_parallel(r->p->engine->pool, attn_i_divide_up(rows, rows_per_item(r)), work, finish_rows, r);
}

/* Weights times values for one block, and to the caller's context. */
static void compute_context(const run *r, const attn_i_score_block *block, int64_t head, int64_t x)
{
    const attn_i_problem *p = r->p;
    attn_i_matrix all = r->value.copied ? r->value.use : head_matrix(r, &p->value, r->first_head + head);
    attn_i_matrix values = attn_i_matrix_rows(all, block->first, block->scores.columns, p->size);
    attn_i_matrix contexts = attn_i_matrix_dense(r->contexts, block->scores.rows, p->value_dim);
    attn_i_context_compute(p, &r->context, block->scores, r->seen + x, values, contexts);
    for (int64_t k = 0; k < contexts.rows; k++) {
        const place at = place_of(r, x + k);
        p->kernels->scatter(p->value_dim, contexts.data + k * p->value_dim * p->size,
                            attn_i_view_at(&p->context, at.b, at.h) + at.i * p->context.stride[2] * p->size,
                            p->context.stride[3]);
    }
}

static void compute_contexts(run *r)
{
    const int64_t per_head = blocks_per_head(r);
    for (int64_t head = 0; head < r->chunk_heads; head++) {
        for (int64_t k = 0; k < per_head; k++) {
            compute_context(r, &r->blocks[head * per_head + k], head, head * r->chunk_rows + k * r->block_rows);
        }
    }
}

void attn_i_blas_way_run(const attn_i_problem *problem, void *scratch)
{
    if (is_empty(problem)) return;
    run r = {.p = problem};
    attn_i_arena arena = {.base = scratch};
    lay_out(&r, &arena);
    problem->mechanism->score->load(problem, &r.state);
    for (r.first_head = 0; r.first_head < r.head_count; r.first_head += r.heads) {
        r.chunk_heads = attn_i_min(r.heads, r.head_count - r.first_head);
        prepare_keys(&r);
        for (r.first_row = 0; r.first_row < r.head_rows; r.first_row += r.rows) {
            r.chunk_rows = attn_i_min(r.rows, r.head_rows - r.first_row);
            prepare_queries(&r);
            compute_scores(&r);
            finish_chunk(&r);
            if (problem->context.data != NULL) compute_contexts(&r);
        }
    }
}
