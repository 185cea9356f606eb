/* SPDX-License-Identifier: BSD-3-Clause
 *
 * score/general.c: the general score q^T W k (Luong 2015, eq. 8), computed as (q^T W) k: the queries are projected. */
#include "score/score.h"

static int64_t query_width(const attn_i_problem *p)
{
    return p->key_dim;
}

static void layout(const attn_i_problem *p, attn_i_arena *arena, attn_i_score_state *state)
{
    state->queries = attn_i_score_query_map(p, arena, state, attn_i_score_param(p, "W"));
}

static void load(const attn_i_problem *p, attn_i_score_state *state)
{
    attn_i_projection_load(p, &state->queries);
}

static void query_gradients(const attn_i_problem *p, const attn_i_score_state *state, attn_i_matrix from,
                            attn_i_matrix d_to, attn_i_matrix d_from, attn_i_score_sums *sums)
{
    attn_i_score_map_gradients(p, &state->queries, from, d_to, d_from, attn_i_score_param_sum(p, sums, "W"), 0);
}

static const attn_i_score general = {
    .rule = {.name = "general",
             .reads_keys = 1,
             .check = attn_i_score_check_nothing,
             .default_scale = attn_i_score_scale_one},
    .query_width = query_width,
    .key_width = attn_i_score_width_none,
    .layout = layout,
    .load = load,
    .prepare_queries = attn_i_score_map_queries,
    .scores = attn_i_score_products,
    .row_scores = attn_i_score_row_products,
    .row_gradients = attn_i_score_row_product_gradients,
    .gradients = attn_i_score_product_gradients,
    .query_gradients = query_gradients,
};

attn_status attn_mechanism_create_general(attn_engine *engine, int64_t query_dim, int64_t key_dim,
                                          attn_mechanism **mechanism)
{
    attn_i_mechanism_maker maker =
        attn_i_mechanism_start("attn_mechanism_create_general", engine, &general.rule, mechanism);
    attn_i_mechanism_dim(&maker, "query_dim", query_dim);
    attn_i_mechanism_dim(&maker, "key_dim", key_dim);
    attn_i_mechanism_add(&maker, "W", query_dim, key_dim);
    maker.mechanism.query_dim = query_dim;
    maker.mechanism.key_dim = key_dim;
    return attn_i_mechanism_finish(&maker, mechanism);
}
