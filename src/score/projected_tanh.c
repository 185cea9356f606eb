/* SPDX-License-Identifier: BSD-3-Clause
 *
 * projected_tanh.c: the score v^T tanh(q' + k') of projected queries and keys, with the bias already in q'. */
#include "score/projected_tanh.h"

#include "runtime/blas.h"
#include "runtime/size.h"

#include <math.h>
#include <string.h>

/* Keys that one work item scores against all the block's queries: few enough to stay in the cache meanwhile. */
enum { KEYS_PER_ITEM = 16 };

/* What one tanh costs, in the elementary operations that attn_i_parallel counts. */
enum { TANH_WORK = 8 };

void attn_i_projected_tanh_layout(const attn_i_problem *p, attn_i_arena *arena, attn_i_score_state *state,
                                  attn_i_matrix w, attn_i_matrix u)
{
    const int64_t hidden = p->mechanism->hidden_dim;
    if (w.data != NULL) state->query_map = attn_i_operand_layout(arena, attn_i_matrix_transpose(w), 0, p->size);
    if (u.data != NULL) state->key_map = attn_i_operand_layout(arena, attn_i_matrix_transpose(u), 0, p->size);
    state->v = attn_i_carve(arena, hidden, p->size);
    if (attn_i_mechanism_param(p->mechanism, "b") != NULL) state->b = attn_i_carve(arena, hidden, p->size);
}

static double get(const attn_i_problem *p, const void *v, int64_t a)
{
    return p->dtype == ATTN_F32 ? (double)((const float *)v)[a] : ((const double *)v)[a];
}

/* v becomes g v / |v|. Divided by its greatest element first, v's squares neither overflow nor vanish. */
static void normalise(const attn_i_problem *p, void *v, double g)
{
    const int64_t hidden = p->mechanism->hidden_dim;
    double most = 0, squares = 0;
    for (int64_t a = 0; a < hidden; a++) {
        const double magnitude = fabs(get(p, v, a));
        if (magnitude > most) most = magnitude; /* with fmax, GCC 12 for aarch64 crashes on this loop */
    }
    for (int64_t a = 0; a < hidden; a++) squares += (get(p, v, a) / most) * (get(p, v, a) / most);
    for (int64_t a = 0; a < hidden; a++) {
        const double x = get(p, v, a) / most * (g / sqrt(squares));
        if (p->dtype == ATTN_F32) ((float *)v)[a] = (float)x;
        if (p->dtype == ATTN_F64) ((double *)v)[a] = x;
    }
}

void attn_i_projected_tanh_load(const attn_i_problem *p, attn_i_score_state *state)
{
    const attn_i_kernels *kernels = p->kernels;
    const int64_t hidden = p->mechanism->hidden_dim;
    attn_i_matrix v = attn_i_score_param(p, "v"), b = attn_i_score_param(p, "b"), g = attn_i_score_param(p, "g");
    attn_i_operand_load(&state->query_map, kernels, p->size);
    attn_i_operand_load(&state->key_map, kernels, p->size);
    kernels->gather(hidden, v.data, v.column_stride, state->v);
    if (b.data != NULL) kernels->gather(hidden, b.data, b.column_stride, state->b);
    if (g.data != NULL) normalise(p, state->v, get(p, g.data, 0));
}

void attn_i_projected_tanh_queries(const attn_i_problem *p, const attn_i_score_state *state, attn_i_matrix from,
                                   attn_i_matrix to)
{
    const int has_map = state->query_map.use.data != NULL;
    if (!has_map) attn_i_matrix_copy(from, to, p->kernels, p->size);
    if (has_map) attn_i_blas_multiply(p->dtype, from, state->query_map.use, to, 0);
    for (int64_t i = 0; state->b != NULL && i < to.rows; i++) {
        p->kernels->add_bias(to.columns, state->b, 1, to.data + i * to.row_stride * p->size);
    }
}

/* One job over all blocks: items are counted through the blocks, each block being its keys / KEYS_PER_ITEM items. */
typedef struct tanh_job {
    const attn_i_problem *problem;
    const attn_i_score_state *state;
    const attn_i_score_block *blocks;
} tanh_job;

static int64_t items_of(const attn_i_score_block *block)
{
    return attn_i_divide_up(block->scores.columns, KEYS_PER_ITEM);
}

static void score_item(void *data, int64_t item)
{
    const tanh_job *job = data;
    const attn_i_problem *p = job->problem;
    const attn_i_score_block *block = job->blocks;
    for (; item >= items_of(block); block++) item -= items_of(block);
    int64_t first = item * KEYS_PER_ITEM, count = attn_i_min(KEYS_PER_ITEM, block->scores.columns - first);
    attn_i_matrix keys = attn_i_matrix_rows(block->keys, first, count, p->size);
    attn_i_matrix scores = attn_i_matrix_columns(block->scores, first, count, p->size);
    for (int64_t i = 0; i < scores.rows; i++) {
        p->kernels->tanh_scores(p->mechanism->hidden_dim, job->state->v,
                                block->queries.data + i * block->queries.row_stride * p->size, count, keys.data,
                                keys.row_stride, scores.data + i * scores.row_stride * p->size);
    }
}

void attn_i_projected_tanh_scores(const attn_i_problem *p, const attn_i_score_state *state,
                                  const attn_i_score_block *blocks, int64_t count)
{
    int64_t items = 0, scores = 0;
    for (int64_t i = 0; i < count; i++) {
        items += items_of(&blocks[i]);
        scores += blocks[i].scores.rows * blocks[i].scores.columns;
    }
    tanh_job job = {p, state, blocks};
    attn_i_parallel(p->engine->pool, items, scores * p->mechanism->hidden_dim * TANH_WORK, score_item, &job);
}
