/* SPDX-License-Identifier: BSD-3-Clause
 *
 * score/additive.c: the additive score v^T tanh(W q + U k + b) (Bahdanau 2014, appendix A.1.2), also with v normalised
 * (Salimans and Kingma 2016), and with inputs that come projected. */
#include "handles/status.h"
#include "score/projected_tanh.h"

#include <inttypes.h>

static int64_t query_width(const attn_i_problem *p)
{
    const uint32_t flags = p->mechanism->flags;
    return (flags & ATTN_ADDITIVE_QUERY_PROJECTED) && !(flags & ATTN_ADDITIVE_BIAS) ? 0 : p->mechanism->hidden_dim;
}

static int64_t key_width(const attn_i_problem *p)
{
    return p->mechanism->flags & ATTN_ADDITIVE_KEY_PROJECTED ? 0 : p->mechanism->hidden_dim;
}

static void layout(const attn_i_problem *p, attn_i_arena *arena, attn_i_score_state *state)
{
    attn_i_projected_tanh_layout(p, arena, state, attn_i_score_param(p, "W"), attn_i_score_param(p, "U"));
}

/* With b, queries that come projected are prepared rows less b: their gradients are those of the prepared. */
static void query_gradients(const attn_i_problem *p, const attn_i_score_state *state, attn_i_matrix from,
                            attn_i_matrix d_to, attn_i_matrix d_from, attn_i_score_sums *sums)
{
    const attn_i_matrix d_w = attn_i_score_param_sum(p, sums, "W");
    attn_i_projected_tanh_sum_bias(p, d_to, sums);
    if (p->mechanism->flags & ATTN_ADDITIVE_QUERY_PROJECTED) {
        if (d_from.data != NULL) attn_i_matrix_copy(d_to, d_from, p->kernels, p->size);
    } else {
        attn_i_score_map_gradients(p, &state->queries, from, d_to, d_from,
                                   d_w.data == NULL ? d_w : attn_i_matrix_transpose(d_w), 0);
    }
}

static void key_gradients(const attn_i_problem *p, const attn_i_score_state *state, attn_i_matrix from,
                          attn_i_matrix d_to, attn_i_matrix d_from, attn_i_score_sums *sums)
{
    const attn_i_matrix d_u = attn_i_score_param_sum(p, sums, "U");
    attn_i_score_key_map_gradients(p, &state->keys, &sums->clean, from, d_to, d_from,
                                   d_u.data == NULL ? d_u : attn_i_matrix_transpose(d_u));
}

static const attn_i_score additive = {
    .rule = {.name = "additive",
             .reads_keys = 1,
             .check = attn_i_score_check_nothing,
             .default_scale = attn_i_score_scale_one},
    .query_width = query_width,
    .key_width = key_width,
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

static void check_projected(attn_i_mechanism_maker *maker, const char *name, int64_t dim, int64_t hidden_dim)
{
    if (maker->status != ATTN_OK || dim == hidden_dim) return;
    maker->status = attn_i_fail(ATTN_ERR_SHAPE, "%s: %s is %" PRId64 ", but comes projected to hidden_dim, %" PRId64,
                                maker->where, name, dim, hidden_dim);
}

attn_status attn_mechanism_create_additive(attn_engine *engine, int64_t query_dim, int64_t key_dim, int64_t hidden_dim,
                                           uint32_t flags, attn_mechanism **mechanism)
{
    const uint32_t known =
        ATTN_ADDITIVE_BIAS | ATTN_ADDITIVE_NORMALISED | ATTN_ADDITIVE_QUERY_PROJECTED | ATTN_ADDITIVE_KEY_PROJECTED;
    attn_i_mechanism_maker maker =
        attn_i_mechanism_start("attn_mechanism_create_additive", engine, &additive.rule, mechanism);
    attn_i_mechanism_dim(&maker, "query_dim", query_dim);
    attn_i_mechanism_dim(&maker, "key_dim", key_dim);
    attn_i_mechanism_dim(&maker, "hidden_dim", hidden_dim);
    if (maker.status == ATTN_OK && (flags & ~known) != 0) {
        maker.status = attn_i_fail(ATTN_ERR_ARGUMENT, "%s: flags has bits that mean nothing: %" PRIu32, maker.where,
                                   flags & ~known);
    }
    if (flags & ATTN_ADDITIVE_QUERY_PROJECTED) {
        check_projected(&maker, "query_dim", query_dim, hidden_dim);
    } else {
        attn_i_mechanism_add(&maker, "W", hidden_dim, query_dim);
    }
    if (flags & ATTN_ADDITIVE_KEY_PROJECTED) {
        check_projected(&maker, "key_dim", key_dim, hidden_dim);
    } else {
        attn_i_mechanism_add(&maker, "U", hidden_dim, key_dim);
    }
    attn_i_mechanism_add(&maker, "v", hidden_dim, 0);
    if (flags & ATTN_ADDITIVE_BIAS) attn_i_mechanism_add(&maker, "b", hidden_dim, 0);
    if (flags & ATTN_ADDITIVE_NORMALISED) attn_i_mechanism_add(&maker, "g", 1, 0);
    maker.mechanism.query_dim = query_dim;
    maker.mechanism.key_dim = key_dim;
    maker.mechanism.hidden_dim = hidden_dim;
    maker.mechanism.flags = flags;
    return attn_i_mechanism_finish(&maker, mechanism);
}
