/* SPDX-License-Identifier: BSD-3-Clause
 *
 * score/dot.c: the dot score q.k (Luong 2015, eq. 8) and the scaled dot score q.k / sqrt(Dk) (Vaswani 2017, eq. 1). */
#include "handles/status.h"
#include "score/score.h"

#include <inttypes.h>
#include <math.h>

static attn_status check(const attn_mechanism *m, int64_t query_dim, int64_t key_dim, int64_t keys)
{
    (void)keys;
    if (query_dim == key_dim) return ATTN_OK;
    return attn_i_fail(ATTN_ERR_SHAPE, "query has dimension %" PRId64 " and key %" PRId64 ", but %s needs them equal",
                       query_dim, key_dim, m->rule->name);
}

static double inverse_root(int64_t key_dim)
{
    return 1 / sqrt((double)key_dim);
}

static const attn_i_score dot = {
    .rule = {.name = "dot", .reads_keys = 1, .check = check, .default_scale = attn_i_score_scale_one},
    .query_width = attn_i_score_width_none,
    .key_width = attn_i_score_width_none,
    .layout = attn_i_score_layout_nothing,
    .load = attn_i_score_load_nothing,
    .scores = attn_i_score_products,
    .row_scores = attn_i_score_row_products,
    .row_gradients = attn_i_score_row_product_gradients,
    .gradients = attn_i_score_product_gradients,
};

static const attn_i_score scaled_dot = {
    .rule = {.name = "scaled-dot", .reads_keys = 1, .check = check, .default_scale = inverse_root},
    .query_width = attn_i_score_width_none,
    .key_width = attn_i_score_width_none,
    .layout = attn_i_score_layout_nothing,
    .load = attn_i_score_load_nothing,
    .scores = attn_i_score_products,
    .row_scores = attn_i_score_row_products,
    .row_gradients = attn_i_score_row_product_gradients,
    .gradients = attn_i_score_product_gradients,
};

attn_status attn_mechanism_create_dot(attn_engine *engine, attn_mechanism **mechanism)
{
    attn_i_mechanism_maker maker = attn_i_mechanism_start("attn_mechanism_create_dot", engine, &dot.rule, mechanism);
    return attn_i_mechanism_finish(&maker, mechanism);
}

attn_status attn_mechanism_create_scaled_dot(attn_engine *engine, attn_mechanism **mechanism)
{
    attn_i_mechanism_maker maker =
        attn_i_mechanism_start("attn_mechanism_create_scaled_dot", engine, &scaled_dot.rule, mechanism);
    return attn_i_mechanism_finish(&maker, mechanism);
}
