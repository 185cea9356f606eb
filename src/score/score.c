/* SPDX-License-Identifier: BSD-3-Clause
 *
 * score/score.c: what several score functions do alike. */
#include "score/score.h"

#include "runtime/blas.h"
#include "runtime/size.h"

attn_status attn_i_score_check_nothing(const attn_mechanism *m, int64_t query_dim, int64_t key_dim, int64_t keys)
{
    (void)m, (void)query_dim, (void)key_dim, (void)keys;
    return ATTN_OK;
}

double attn_i_score_scale_one(int64_t key_dim)
{
    (void)key_dim;
    return 1;
}

int64_t attn_i_score_width_none(const attn_i_problem *p)
{
    (void)p;
    return 0;
}

void attn_i_score_layout_nothing(const attn_i_problem *p, attn_i_arena *arena, attn_i_score_state *state)
{
    (void)p, (void)arena, (void)state;
}

void attn_i_score_load_nothing(const attn_i_problem *p, attn_i_score_state *state)
{
    (void)p, (void)state;
}

void attn_i_score_products(const attn_i_problem *p, const attn_i_score_state *state, const attn_i_score_block *blocks,
                           int64_t count)
{
    (void)state;
    for (int64_t i = 0; i < count; i++) {
        attn_i_blas_multiply(p->dtype, blocks[i].queries, attn_i_matrix_transpose(blocks[i].keys), blocks[i].scores, 0);
    }
}

/* Few are told from many; how many is of no interest. */
static int64_t count_rows(int64_t a, int64_t b, int64_t c)
{
    const int64_t many = ATTN_I_LANES;
    return attn_i_min(attn_i_min(a, many) * attn_i_min(b, many), many) * attn_i_min(c, many);
}

attn_i_projection attn_i_score_query_map(const attn_i_problem *p, attn_i_arena *arena, const attn_i_score_state *state,
                                         attn_i_matrix map)
{
    const int64_t rows = count_rows(p->batch, p->query_heads, p->queries);
    return attn_i_projection_layout(p, arena, map, rows, state->own_products);
}

attn_i_projection attn_i_score_key_map(const attn_i_problem *p, attn_i_arena *arena, const attn_i_score_state *state,
                                       attn_i_matrix map)
{
    const int64_t rows = state->steady ? INT64_MAX : count_rows(p->batch, p->key_heads, p->keys);
    if (p->ready != ATTN_I_RAW) return (attn_i_projection){.packed = NULL};
    return attn_i_projection_layout(p, arena, map, rows, state->own_products);
}

void attn_i_score_map_queries(const attn_i_problem *p, const attn_i_score_state *state, attn_i_matrix from,
                              attn_i_matrix to)
{
    attn_i_project(p, &state->queries, from, to);
}

void attn_i_score_map_keys(const attn_i_problem *p, const attn_i_score_state *state, attn_i_matrix from,
                           attn_i_matrix to)
{
    attn_i_project(p, &state->keys, from, to);
}

void attn_i_score_row_products(const attn_i_problem *p, const attn_i_score_state *state, const void *query,
                               attn_i_matrix keys, int64_t first, int64_t count, void *to)
{
    (void)state;
    p->kernels->dots(keys.columns, query, count, attn_i_matrix_row(keys, first, p->size), keys.row_stride, to);
}

void attn_i_score_row_product_gradients(const attn_i_problem *p, const attn_i_score_state *state, const void *query,
                                        attn_i_matrix keys, int64_t first, int64_t count, const void *d_scores,
                                        void *d_query, void *d_keys, int64_t d_stride, void *own)
{
    (void)state, (void)own;
    const char *rows = attn_i_matrix_row(keys, first, p->size);
    if (d_query != NULL) p->kernels->add_rows(count, d_scores, rows, keys.row_stride, keys.columns, d_query);
    if (d_keys != NULL) p->kernels->add_outer(count, d_scores, query, keys.columns, d_keys, d_stride);
}

void attn_i_score_product_gradients(const attn_i_problem *p, const attn_i_score_state *state,
                                    const attn_i_score_gradient *g, attn_i_score_sums *sums)
{
    (void)state;
    const attn_i_score_block *block = &g->block;
    if (g->d_queries.data != NULL) {
        attn_i_context_compute(p, &sums->clean, block->scores, g->seen, block->keys, g->d_queries);
    }
    if (g->d_keys.data != NULL) {
        attn_i_blas_multiply(p->dtype, attn_i_matrix_transpose(block->scores), block->queries, g->d_keys, 1);
    }
}

void attn_i_score_map_gradients(const attn_i_problem *p, const attn_i_projection *projection, attn_i_matrix from,
                                attn_i_matrix d_to, attn_i_matrix d_from, attn_i_matrix d_map, int accumulate)
{
    if (d_map.data != NULL && (d_map.column_stride == 1 || d_map.columns == 1)) {
        attn_i_blas_multiply(p->dtype, attn_i_matrix_transpose(from), d_to, d_map, 1);
    } else if (d_map.data != NULL) {
        attn_i_blas_multiply(p->dtype, attn_i_matrix_transpose(d_to), from, attn_i_matrix_transpose(d_map), 1);
    }
    if (d_from.data != NULL) {
        const attn_i_matrix map = projection->map.use;
        attn_i_blas_multiply(p->dtype, d_to, attn_i_matrix_transpose(map), d_from, accumulate);
    }
}

void attn_i_score_key_map_gradients(const attn_i_problem *p, const attn_i_projection *projection,
                                    const attn_i_context_scratch *clean, attn_i_matrix from, attn_i_matrix d_to,
                                    attn_i_matrix d_from, attn_i_matrix d_map)
{
    for (int64_t first = 0; first < from.rows; first += clean->tile) {
        const int64_t count = attn_i_min(from.rows - first, clean->tile);
        attn_i_matrix rows = attn_i_matrix_rows(from, first, count, p->size);
        if (d_map.data != NULL) rows = attn_i_context_clean(p, clean, rows);
        attn_i_matrix d_rows = d_from.data == NULL ? d_from : attn_i_matrix_rows(d_from, first, count, p->size);
        attn_i_score_map_gradients(p, projection, rows, attn_i_matrix_rows(d_to, first, count, p->size), d_rows, d_map,
                                   1);
    }
}

attn_i_matrix attn_i_score_param_sum(const attn_i_problem *p, const attn_i_score_sums *sums, const char *name)
{
    const attn_i_param *param = attn_i_mechanism_param(p->mechanism, name);
    return param == NULL ? (attn_i_matrix){0} : sums->params[param - p->mechanism->params];
}

attn_i_matrix attn_i_score_param(const attn_i_problem *p, const char *name)
{
    const attn_i_param *param = attn_i_mechanism_param(p->mechanism, name);
    if (param == NULL) return (attn_i_matrix){0};
    return attn_i_view_matrix(p->params != NULL ? &p->params[param - p->mechanism->params] : &param->view, 0, 0);
}
