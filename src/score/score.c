/* SPDX-License-Identifier: BSD-3-Clause
 *
 * score.c: what several score functions do alike. */
#include "score/score.h"

#include "runtime/blas.h"
#include "runtime/size.h"

attn_status attn_i_score_check_nothing(const attn_i_problem *p)
{
    (void)p;
    return ATTN_OK;
}

double attn_i_score_scale_one(const attn_i_problem *p)
{
    (void)p;
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
    const int64_t many = ATTN_I_FEW + 1;
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
    return attn_i_projection_layout(p, arena, map, count_rows(p->batch, p->key_heads, p->keys), state->own_products);
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

attn_i_matrix attn_i_score_param(const attn_i_problem *p, const char *name)
{
    const attn_i_param *param = attn_i_mechanism_param(p->mechanism, name);
    return param == NULL ? (attn_i_matrix){0} : attn_i_view_matrix(&param->view, 0, 0);
}
