/* SPDX-License-Identifier: BSD-3-Clause
 *
 * score/chunk.c: how the ways by whole matrices cut their work, and the scores of one chunk of it. All products run on
 * the calling thread. */
#include "score/chunk.h"

#include "runtime/size.h"
#include "softmax/row.h"

enum {
    CHUNK_SCORES = 1 << 18,   /* scores of a chunk, unless one row has more */
    CHUNK_ELEMENTS = 1 << 19, /* of a chunk's queries, prepared queries and contexts */
    CHUNK_KEYS = 1 << 20,     /* elements of prepared keys of a chunk, unless one key head has more */
    CHUNK_ROWS = 1024,
    CHUNK_HEADS = 64,
    MOVING_ROWS = 64,     /* rows of a block when what may be seen moves with the query */
    ITEM_SCORES = 1 << 13 /* scores that one parallel item finishes */
};

static void cut(attn_i_chunks *c, int64_t most_heads, int64_t row_scores)
{
    const attn_i_problem *p = c->p;
    const attn_i_score *score = attn_i_score_of(p);
    c->head_count = p->batch * p->key_heads;
    c->head_rows = p->group * p->queries;
    c->query_width = score->query_width(p);
    c->key_width = p->ready == ATTN_I_PREPARED ? 0 : score->key_width(p); /* they are used as the memory has them */
    if (p->ready == ATTN_I_CONVERTED) c->key_width = p->mechanism->hidden_dim;
    /* Lines of 64 bytes, and not all on the same few cache sets. */
    c->score_stride = attn_i_divide_up(attn_i_max(row_scores, 1), 16) * 16;
    if (c->score_stride % 256 == 0) c->score_stride += 16;

    int64_t rows = attn_i_clamp(CHUNK_SCORES / c->score_stride, 1, CHUNK_ROWS);
    const int64_t width = attn_i_min(p->query_dim, CHUNK_ELEMENTS) + attn_i_min(c->query_width, CHUNK_ELEMENTS) +
                          attn_i_min(p->value_dim, CHUNK_ELEMENTS);
    rows = attn_i_min(rows, attn_i_max(CHUNK_ELEMENTS / width, 1));
    c->rows = attn_i_min(rows, c->head_rows);
    c->heads = 1;
    if (most_heads > 1 && c->rows == c->head_rows && !c->key.copied && !c->value.copied) {
        c->heads = attn_i_min(attn_i_min(rows / c->rows, most_heads), c->head_count);
        if (c->key_width > 0) c->heads = attn_i_min(c->heads, CHUNK_KEYS / c->key_width / attn_i_max(p->keys, 1));
        c->heads = attn_i_max(c->heads, 1);
    }
    const int moving = p->modifiers->causal != ATTN_ALIGN_NONE || p->modifiers->window != ATTN_ALIGN_NONE ||
                       p->modifiers->local != ATTN_LOCAL_NONE;
    c->block_rows = moving ? attn_i_min(c->rows, MOVING_ROWS) : c->rows;
}

void attn_i_chunks_layout(attn_i_chunks *c, const attn_i_problem *p, int64_t most_heads, int64_t row_scores,
                          attn_i_arena *arena)
{
    const attn_i_score *score = attn_i_score_of(p);
    const int local = p->modifiers->local != ATTN_LOCAL_NONE; /* keys and values are read row by row */
    *c = (attn_i_chunks){.p = p};
    if (score->rule.reads_keys) {
        c->key = attn_i_operand_layout(arena, attn_i_head_matrix(c->p, &p->key, 0), score->contiguous_keys || local,
                                       p->size);
    }
    if (p->context.data != NULL) {
        c->value = attn_i_operand_layout(arena, attn_i_head_matrix(c->p, &p->value, 0), local, p->size);
    }
    cut(c, attn_i_min(most_heads, CHUNK_HEADS), row_scores);
    score->layout(p, arena, &c->state);
    const int64_t rows = c->heads * c->rows;
    c->raw_queries = attn_i_carve_matrix(arena, rows, p->query_dim, p->size);
    c->queries = attn_i_carve_matrix(arena, rows, c->query_width, p->size);
    c->keys = attn_i_carve_matrix(arena, c->key_width > 0 ? c->heads * p->keys : 0, c->key_width, p->size);
    c->scores = attn_i_carve_matrix(arena, rows, c->score_stride, p->size);
    c->blocks =
        attn_i_carve(arena, c->heads * attn_i_divide_up(c->rows, attn_i_max(c->block_rows, 1)), sizeof *c->blocks);
}

attn_i_row_place attn_i_chunks_place(const attn_i_chunks *c, int64_t x)
{
    const attn_i_problem *p = c->p;
    const int64_t head = c->first_head + x / c->chunk_rows, row = c->first_row + x % c->chunk_rows;
    return (attn_i_row_place){head / p->key_heads, head % p->key_heads * p->group + row % p->group, row / p->group};
}

/* From a memory of the fused way. */
static void restore_keys(attn_i_chunks *c)
{
    const attn_i_problem *p = c->p;
    for (int64_t i = 0; i < c->chunk_heads; i++) {
        const attn_i_matrix from = attn_i_head_matrix(c->p, &p->key, c->first_head + i);
        float *to = (float *)(void *)c->keys + i * p->keys * c->key_width;
        for (int64_t j = 0; j < p->keys; j++) {
            attn_i_score_of(p)->lanes->restore_key(p, (const float *)(const void *)from.data + j * from.row_stride,
                                                   to + j * c->key_width);
        }
    }
}

void attn_i_chunks_take_heads(attn_i_chunks *c)
{
    const attn_i_problem *p = c->p;
    const int64_t end = c->first_head + c->chunk_heads;
    if (c->key.copied) {
        c->key.source = attn_i_head_matrix(c->p, &p->key, c->first_head);
        attn_i_operand_load(&c->key, p->kernels, p->size);
    }
    if (c->value.copied) {
        c->value.source = attn_i_head_matrix(c->p, &p->value, c->first_head);
        attn_i_operand_load(&c->value, p->kernels, p->size);
    }
    if (c->key_width == 0 || p->keys == 0) return;
    if (p->ready == ATTN_I_CONVERTED) {
        restore_keys(c);
        return;
    }
    /* Key heads whose rows follow each other in memory are one matrix. */
    for (int64_t head = c->first_head, count; head < end; head += count) {
        attn_i_matrix from = c->key.copied ? c->key.use : attn_i_head_matrix(c->p, &p->key, head);
        const int64_t step = p->keys * from.row_stride * p->size;
        for (count = 1; head + count < end; count++) {
            if (p->keys == 1 || attn_i_head_matrix(c->p, &p->key, head + count).data != from.data + count * step) break;
        }
        from.rows = count * p->keys;
        char *to = c->keys + (head - c->first_head) * p->keys * c->key_width * p->size;
        attn_i_score_of(p)->prepare_keys(p, &c->state, from, attn_i_matrix_dense(to, from.rows, c->key_width));
    }
}

attn_i_matrix attn_i_chunks_raw_queries(const attn_i_chunks *c)
{
    return attn_i_matrix_dense(c->raw_queries, c->chunk_heads * c->chunk_rows, c->p->query_dim);
}

attn_i_matrix attn_i_chunks_queries(const attn_i_chunks *c)
{
    if (c->query_width == 0) return attn_i_chunks_raw_queries(c);
    return attn_i_matrix_dense(c->queries, c->chunk_heads * c->chunk_rows, c->query_width);
}

attn_i_matrix attn_i_chunks_values(const attn_i_chunks *c, int64_t head)
{
    return c->value.copied ? c->value.use : attn_i_head_matrix(c->p, &c->p->value, c->first_head + head);
}

attn_i_matrix attn_i_chunks_keys(const attn_i_chunks *c, int64_t head)
{
    const int64_t keys = c->p->keys;
    if (c->key_width > 0) {
        return attn_i_matrix_dense(c->keys + head * keys * c->key_width * c->p->size, keys, c->key_width);
    }
    if (!c->p->mechanism->rule->reads_keys) {
        return attn_i_matrix_rows(attn_i_matrix_transpose(c->state.places.use), 0, keys, c->p->size);
    }
    return c->key.copied ? c->key.use : attn_i_head_matrix(c->p, &c->p->key, c->first_head + head);
}

void attn_i_chunks_take_rows(attn_i_chunks *c)
{
    const attn_i_problem *p = c->p;
    const attn_i_matrix raw = attn_i_chunks_raw_queries(c);
    for (int64_t x = 0; x < raw.rows; x++) {
        attn_i_row_place at = attn_i_chunks_place(c, x);
        p->kernels->gather(p->query_dim, attn_i_view_at(&p->query, at.b, at.h) + at.i * p->query.stride[2] * p->size,
                           p->query.stride[3], raw.data + x * p->query_dim * p->size);
    }
    if (c->query_width > 0) {
        attn_i_score_of(p)->prepare_queries(p, &c->state, raw, attn_i_chunks_queries(c));
    }
}

/* Block `index` of the chunk's key head number `head`: which rows, and which keys they need. */
static attn_i_score_block make_block(const attn_i_chunks *c, int64_t head, int64_t index)
{
    const attn_i_problem *p = c->p;
    const int64_t start = index * c->block_rows, count = attn_i_min(c->block_rows, c->chunk_rows - start);
    const int64_t x = head * c->chunk_rows + start; /* the block's first row in the chunk */
    const attn_i_row_place first = attn_i_chunks_place(c, x), last = attn_i_chunks_place(c, x + count - 1);
    attn_i_span span = {0, p->keys};
    if (!attn_i_row_wants_all_keys(p)) span = attn_i_visible_to_all(p, first.b, first.i, last.i);
    const int64_t keys = span.end - span.first;

    attn_i_matrix scores = {c->scores, 0, keys, c->score_stride, 1};
    attn_i_matrix rows_of_scores = attn_i_matrix_rows(scores, x, count, p->size);
    return (attn_i_score_block){.queries = attn_i_matrix_rows(attn_i_chunks_queries(c), x, count, p->size),
                                .keys = attn_i_matrix_rows(attn_i_chunks_keys(c, head), span.first, keys, p->size),
                                .scores = rows_of_scores,
                                .first = span.first};
}

int64_t attn_i_chunks_blocks(const attn_i_chunks *c)
{
    return attn_i_divide_up(c->chunk_rows, c->block_rows);
}

const attn_i_score_block *attn_i_chunks_block(const attn_i_chunks *c, int64_t x)
{
    return &c->blocks[x / c->chunk_rows * attn_i_chunks_blocks(c) + x % c->chunk_rows / c->block_rows];
}

void attn_i_chunks_score(attn_i_chunks *c)
{
    const int64_t per_head = attn_i_chunks_blocks(c), count = c->chunk_heads * per_head;
    for (int64_t k = 0; k < count; k++) c->blocks[k] = make_block(c, k / per_head, k % per_head);
    attn_i_score_of(c->p)->scores(c->p, &c->state, c->blocks, count);
}

int64_t attn_i_chunks_item_rows(const attn_i_chunks *c)
{
    return attn_i_max(ITEM_SCORES / c->score_stride, 1);
}
