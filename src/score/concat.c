/* SPDX-License-Identifier: BSD-3-Clause
 *
 * score/concat.c: the concat score v^T tanh(W [q; k]) (Luong 2015, eq. 8): W's columns are split between query and key,
 * so that each is projected once and no concatenation exists. */
#include "handles/status.h"
#include "runtime/size.h"
#include "score/projected_tanh.h"

static int64_t hidden_width(const attn_i_problem *p)
{
    return p->mechanism->hidden_dim;
}

static void layout(const attn_i_problem *p, attn_i_arena *arena, attn_i_score_state *state)
{
    attn_i_matrix w = attn_i_score_param(p, "W");
    attn_i_projected_tanh_layout(p, arena, state, attn_i_matrix_columns(w, 0, p->query_dim, p->size),
                                 attn_i_matrix_columns(w, p->query_dim, p->key_dim, p->size));
}

static void query_gradients(const attn_i_problem *p, const attn_i_score_state *state, attn_i_matrix from,
                            attn_i_matrix d_to, attn_i_matrix d_from, attn_i_score_sums *sums)
{
    attn_i_matrix d_w = attn_i_score_param_sum(p, sums, "W");
    if (d_w.data != NULL) d_w = attn_i_matrix_transpose(attn_i_matrix_columns(d_w, 0, p->query_dim, p->size));
    attn_i_score_map_gradients(p, &state->queries, from, d_to, d_from, d_w, 0);
}

static void key_gradients(const attn_i_problem *p, const attn_i_score_state *state, attn_i_matrix from,
                          attn_i_matrix d_to, attn_i_matrix d_from, attn_i_score_sums *sums)
{
    attn_i_matrix d_w = attn_i_score_param_sum(p, sums, "W");
    if (d_w.data != NULL) {
        d_w = attn_i_matrix_transpose(attn_i_matrix_columns(d_w, p->query_dim, p->key_dim, p->size));
    }
    attn_i_score_key_map_gradients(p, &state->keys, &sums->clean, from, d_to, d_from, d_w);
}

static const attn_i_score concat = {
    .rule = {.name = "concat",
             .reads_keys = 1,
             .check = attn_i_score_check_nothing,
             .default_scale = attn_i_score_scale_one},
    .query_width = hidden_width,
    .key_width = hidden_width,
    .contiguous_keys = 1,
    .layout = layout,
    .load = attn_i_projected_tanh_load,
    .prepare_queries = attn_i_projected_tanh_queries,
    .prepare_keys = attn_i_score_map_keys,
    .scores = attn_i_projected_tanh_scores,
    .row_scores = attn_i_projected_tanh_row,
    .row_gradients = attn_i_projected_tanh_row_gradients,
    .own_elements = attn_i_projected_tanh_own_elements,
    .add_own = attn_i_projected_tanh_add_own,
    .gradients = attn_i_projected_tanh_gradients,
    .query_gradients = query_gradients,
    .key_gradients = key_gradients,
    .layout_sums = attn_i_projected_tanh_layout_sums,
    .finish_sums = attn_i_projected_tanh_finish_sums,
    .lanes = &attn_i_projected_tanh_lanes,
};

attn_status attn_mechanism_create_concat(attn_engine *engine, int64_t query_dim, int64_t key_dim, int64_t hidden_dim,
                                         attn_mechanism **mechanism)
{
    attn_i_mechanism_maker maker =
        attn_i_mechanism_start("attn_mechanism_create_concat", engine, &concat.rule, mechanism);
    attn_i_mechanism_dim(&maker, "query_dim", query_dim);
    attn_i_mechanism_dim(&maker, "key_dim", key_dim);
    attn_i_mechanism_dim(&maker, "hidden_dim", hidden_dim);
    int64_t both = 0;
    if (maker.status == ATTN_OK && !attn_i_add(query_dim, key_dim, &both)) {
        maker.status = attn_i_fail(ATTN_ERR_OVERFLOW, "%s: query_dim + key_dim cannot be held", maker.where);
    }
    attn_i_mechanism_add(&maker, "W", hidden_dim, both);
    attn_i_mechanism_add(&maker, "v", hidden_dim, 0);
    maker.mechanism.query_dim = query_dim;
    maker.mechanism.key_dim = key_dim;
    maker.mechanism.hidden_dim = hidden_dim;
    return attn_i_mechanism_finish(&maker, mechanism);
}
