/* SPDX-License-Identifier: BSD-3-Clause
 *
 * tiles/row_sums.c: from gradients of prepared queries and keys to those of the caller's, through the BLAS. */
#include "tiles/row_sums.h"

#include "runtime/size.h"

void attn_i_row_sums_layout(attn_i_row_sums *sums, const attn_i_gradient *g, const attn_i_score_state *state,
                            attn_i_arena *arena)
{
    const attn_i_problem *p = &g->problem;
    const attn_i_score *score = attn_i_score_of(p);
    const int64_t rows = score->query_width(p) > 0 ? p->group * p->queries : 0;
    *sums = (attn_i_row_sums){.params = {.wanted = 0}};
    if (score->key_width(p) > 0) {
        sums->key = attn_i_operand_layout(arena, attn_i_head_matrix(p, &p->key, 0), 0, p->size);
        sums->d_key = attn_i_target_layout(arena, attn_i_head_matrix(p, &g->d_key, 0), p->size);
    }
    attn_i_param_sums_layout(
        &sums->params, g, score->key_width(p) > 0 ? sums->key.use : attn_i_matrix_transpose(state->places.use), arena);
    sums->queries = attn_i_carve_matrix(arena, rows, p->query_dim, p->size);
    sums->d_queries = attn_i_carve_matrix(arena, g->d_query.data != NULL ? rows : 0, p->query_dim, p->size);
}

/* Row x is query x / group of head x % group. */
static char *query_row(const attn_i_problem *p, const attn_i_view *view, int64_t head, int64_t x)
{
    return attn_i_view_at(view, head / p->key_heads, head % p->key_heads * p->group + x % p->group) +
           x / p->group * view->stride[2] * p->size;
}

void attn_i_row_sums_queries(attn_i_row_sums *sums, const attn_i_gradient *g, const attn_i_score_state *state,
                             int64_t head, attn_i_matrix d_to)
{
    const attn_i_problem *p = &g->problem;
    const attn_i_kernels *kernels = p->kernels;
    const attn_i_view *d = &g->d_query;
    const attn_i_matrix from = attn_i_matrix_dense(sums->queries, d_to.rows, p->query_dim);
    attn_i_matrix d_from = {0};
    if (d->data != NULL) d_from = attn_i_matrix_dense(sums->d_queries, d_to.rows, p->query_dim);
    for (int64_t x = 0; x < d_to.rows && sums->params.wanted; x++) {
        kernels->gather_finite(p->query_dim, query_row(p, &p->query, head, x), p->query.stride[3],
                               from.data + x * p->query_dim * p->size, 1);
    }
    attn_i_score_of(p)->query_gradients(p, state, from, d_to, d_from, &sums->params.score);
    for (int64_t x = 0; x < d_from.rows; x++) {
        const char *row = d_from.data + x * p->query_dim * p->size;
        char *to = query_row(p, d, head, x);
        attn_i_gradient_write_row(g, p->query_dim, row, to, d->stride[3]);
    }
}

/* Where keys are values, their part as values is there already. */
void attn_i_row_sums_keys(attn_i_row_sums *sums, const attn_i_gradient *g, const attn_i_score_state *state,
                          int64_t head, attn_i_matrix d_to)
{
    const attn_i_problem *p = &g->problem;
    const int accumulate = g->accumulate || g->shared;
    attn_i_matrix from = attn_i_head_matrix(p, &p->key, head);
    if (sums->key.copied) {
        sums->key.source = from;
        attn_i_operand_load(&sums->key, p->kernels, p->size);
        from = sums->key.use;
    }
    if (sums->d_key.to.data != NULL) attn_i_target_move(&sums->d_key, attn_i_head_matrix(p, &g->d_key, head).data);
    attn_i_target_begin(&sums->d_key, accumulate, p->kernels, p->size);
    attn_i_score_of(p)->key_gradients(p, state, from, d_to, sums->d_key.use, &sums->params.score);
    attn_i_target_end(&sums->d_key, accumulate, p->kernels, p->size);
}
