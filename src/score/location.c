/* SPDX-License-Identifier: BSD-3-Clause
 *
 * score/location.c: the location score e_ij = (W q_i)_j (Luong 2015, eq. 9). Row j of W plays the part of key j. */
#include "handles/status.h"
#include "runtime/blas.h"
#include "score/score.h"

#include <inttypes.h>

static attn_status check(const attn_mechanism *m, int64_t query_dim, int64_t key_dim, int64_t keys)
{
    (void)query_dim, (void)key_dim;
    if (keys <= m->hidden_dim) return ATTN_OK;
    return attn_i_fail(ATTN_ERR_SHAPE, "there are %" PRId64 " keys, but the location mechanism was made for %" PRId64,
                       keys, m->hidden_dim);
}

static void layout(const attn_i_problem *p, attn_i_arena *arena, attn_i_score_state *state)
{
    const int local = p->modifiers->local != ATTN_LOCAL_NONE; /* reads row by row */
    attn_i_operand w = attn_i_operand_layout(arena, attn_i_score_param(p, "W"), local, p->size);
    w.source = attn_i_matrix_transpose(w.source);
    w.use = attn_i_matrix_transpose(w.use);
    state->places = w;
}

static void load(const attn_i_problem *p, attn_i_score_state *state)
{
    attn_i_operand w = state->places;
    w.source = attn_i_matrix_transpose(w.source);
    w.use = attn_i_matrix_transpose(w.use);
    attn_i_operand_load(&w, p->kernels, p->size);
}

static void scores(const attn_i_problem *p, const attn_i_score_state *state, const attn_i_score_block *blocks,
                   int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        const attn_i_score_block *block = &blocks[i];
        attn_i_matrix places = attn_i_matrix_columns(state->places.use, block->first, block->scores.columns, p->size);
        attn_i_blas_multiply(p->dtype, block->queries, places, block->scores, 0);
    }
}

static void gradients(const attn_i_problem *p, const attn_i_score_state *state, const attn_i_score_gradient *g,
                      attn_i_score_sums *sums)
{
    const attn_i_score_block *block = &g->block;
    const int64_t keys = block->scores.columns;
    const attn_i_matrix d_w = attn_i_score_param_sum(p, sums, "W");
    attn_i_matrix places = attn_i_matrix_columns(state->places.use, block->first, keys, p->size);
    if (g->d_queries.data != NULL) {
        attn_i_context_compute(p, &sums->clean, block->scores, g->seen, attn_i_matrix_transpose(places), g->d_queries);
    }
    if (d_w.data != NULL) {
        attn_i_blas_multiply(p->dtype, attn_i_matrix_transpose(block->scores), block->queries,
                             attn_i_matrix_rows(d_w, block->first, keys, p->size), 1);
    }
}

static const attn_i_score location = {
    .rule = {.name = "location", .check = check, .default_scale = attn_i_score_scale_one},
    .query_width = attn_i_score_width_none,
    .key_width = attn_i_score_width_none,
    .layout = layout,
    .load = load,
    .scores = scores,
    .row_scores = attn_i_score_row_products,
    .row_gradients = attn_i_score_row_product_gradients,
    .gradients = gradients,
};

attn_status attn_mechanism_create_location(attn_engine *engine, int64_t query_dim, int64_t max_keys,
                                           attn_mechanism **mechanism)
{
    attn_i_mechanism_maker maker =
        attn_i_mechanism_start("attn_mechanism_create_location", engine, &location.rule, mechanism);
    attn_i_mechanism_dim(&maker, "query_dim", query_dim);
    attn_i_mechanism_dim(&maker, "max_keys", max_keys);
    attn_i_mechanism_add(&maker, "W", max_keys, query_dim);
    maker.mechanism.query_dim = query_dim;
    maker.mechanism.hidden_dim = max_keys;
    return attn_i_mechanism_finish(&maker, mechanism);
}
