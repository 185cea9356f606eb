/* SPDX-License-Identifier: BSD-3-Clause
 *
 * score/param_sums.c: where a backward call sums the gradients of a mechanism's parameters. */
#include "score/param_sums.h"

void attn_i_param_sums_layout(attn_i_param_sums *sums, const attn_i_gradient *g, attn_i_matrix keys,
                              attn_i_arena *arena)
{
    const attn_i_problem *p = &g->problem;
    const attn_i_score *score = attn_i_score_of(p);
    *sums = (attn_i_param_sums){.wanted = 0};
    for (int32_t i = 0; i < p->mechanism->param_count; i++) {
        if (g->d_params[i].data == NULL) continue;
        sums->wanted = 1;
        sums->targets[i] = attn_i_target_layout(arena, attn_i_view_matrix(&g->d_params[i], 0, 0), p->size);
        sums->score.params[i] = sums->targets[i].use;
    }
    sums->score.clean = attn_i_context_layout(p, keys, arena);
    if (score->layout_sums != NULL) score->layout_sums(p, arena, &sums->score);
}

void attn_i_param_sums_begin(const attn_i_param_sums *sums, const attn_i_gradient *g)
{
    const attn_i_problem *p = &g->problem;
    for (int32_t i = 0; i < p->mechanism->param_count; i++) {
        attn_i_target_begin(&sums->targets[i], g->adds_sums, p->kernels, p->size);
    }
}

void attn_i_param_sums_end(attn_i_param_sums *sums, const attn_i_gradient *g, const attn_i_score_state *state)
{
    const attn_i_problem *p = &g->problem;
    const attn_i_score *score = attn_i_score_of(p);
    if (score->finish_sums != NULL) score->finish_sums(p, state, &sums->score);
    for (int32_t i = 0; i < p->mechanism->param_count; i++) {
        attn_i_target_end(&sums->targets[i], g->adds_sums, p->kernels, p->size);
    }
}
