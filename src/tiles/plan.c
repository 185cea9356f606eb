/* SPDX-License-Identifier: BSD-3-Clause
 *
 * tiles/plan.c: what all tile passes of a call have in common, and the scratch of one. */
#include "call/relative.h"
#include "runtime/size.h"
#include "tiles/pass.h"

#include <math.h>

/* Values: past it their context in lanes would leave the first-level cache with every tile. */
enum { WIDE = 256 };

/* What goes into float arithmetic as a factor without making something infinite or nothing of usual numbers. */
static int is_moderate(double x)
{
    return fabs(x) >= 0x1p-40 && fabs(x) <= 0x1p40;
}

/* 1 if ALiBi's slopes are no greater than this, if there are any. */
static int has_slopes_below(const attn_i_problem *p, float most)
{
    const attn_i_view *slopes = &p->modifiers->slopes;
    for (int64_t h = 0; h < p->query_heads && p->modifiers->alibi != ATTN_ALIGN_NONE; h++) {
        if (!(fabsf(((const float *)(void *)slopes->data)[h * slopes->stride[3]]) <= most)) return 0;
    }
    return 1;
}

attn_i_tile_plan attn_i_tile_plan_great(const attn_i_tile_plan *plan)
{
    const attn_i_modifiers *m = plan->p->modifiers;
    attn_i_tile_plan great = *plan;
    if (plan->great != 0) return great;
    great.great = plan->unit;
    great.unit = 1;
    great.factor = m->softcap != 0 ? plan->p->scale / m->softcap : plan->p->scale;
    great.cap = (float)m->softcap;
    great.plain = 0;
    return great;
}

int attn_i_tile_plan_make(const attn_i_problem *p, attn_i_tile_plan *plan)
{
    const attn_i_modifiers *m = p->modifiers;
    *plan = (attn_i_tile_plan){.p = p, .kernels = p->engine->tile_kernels, .arithmetic = p->engine->tile_float};
    plan->unit = 1.44269504088896340736 / m->temperature;
    if (p->dtype != ATTN_F32 || m->normaliser != ATTN_SOFTMAX || !is_moderate(plan->unit)) return 0;
    if (p->scale != 0 && !is_moderate(p->scale)) return 0;
    if (m->softcap != 0 && !is_moderate(m->softcap)) return 0;
    plan->biased = p->bias.data != NULL;
    plan->relative = attn_i_relative_wanted(p);
    plan->writes_scores = p->scores.data != NULL || p->weights.data != NULL;
    plan->lanes = attn_i_score_of(p)->lanes;
    plan->factor = m->softcap != 0 ? p->scale / m->softcap : p->scale * plan->unit;
    /* Not where scores themselves are written. Whatever else is, a score is rounded alike, forward and backward. */
    const int writes_natural = p->scores.data != NULL && p->scores_stage != ATTN_SCORES_WEIGHTS;
    plan->folded = plan->lanes == NULL && !writes_natural && (p->scale == 0 || is_moderate(plan->factor));
    plan->cap = (float)(m->softcap * plan->unit);
    plan->measures = p->stats.wanted;
    plan->moves = m->causal != ATTN_ALIGN_NONE || m->window != ATTN_ALIGN_NONE || m->local != ATTN_LOCAL_NONE;
    plan->bare = m->softcap == 0 && !plan->biased && !plan->relative && m->alibi == ATTN_ALIGN_NONE &&
                 p->mask.data == NULL && !plan->writes_scores;
    plan->plain = plan->folded && !plan->writes_scores && !plan->biased && !plan->relative && !plan->measures;
    plan->wide = p->context.data != NULL && p->context.dtype == ATTN_F32 && p->value_dim > WIDE &&
                 p->keys <= ATTN_I_TILE_KEYS && p->group == 1 && p->dropout.keep == 0 && p->context.stride[3] == 1;
    plan->depth = attn_i_max(attn_i_score_of(p)->query_width(p), 0);
    if (plan->depth == 0) plan->depth = p->query_dim;
    return 1;
}

void attn_i_tile_plan_read(attn_i_tile_plan *plan)
{
    if (!has_slopes_below(plan->p, 0x1p20f)) plan->plain = 0; /* the farthest distance might make something infinite, */
    if (!has_slopes_below(plan->p, 0x1p80f)) *plan = attn_i_tile_plan_great(plan); /* or a slope itself times unit */
}

int64_t attn_i_tile_context_rows(const attn_i_tile_plan *plan)
{
    return (plan->p->context.data != NULL ? plan->p->value_dim : 0) + plan->arithmetic->rounds;
}

attn_i_tile_scratch attn_i_tile_scratch_layout(const attn_i_tile_plan *plan, attn_i_arena *arena)
{
    const int64_t dim = plan->p->context.data != NULL ? plan->p->value_dim : 0, size = (int64_t)sizeof(float);
    const int64_t keys = attn_i_min(ATTN_I_TILE_KEYS, plan->p->keys);
    attn_i_tile_scratch s = {0};
    s.lanes = attn_i_carve(arena, 1, sizeof *s.lanes);
    if (plan->lanes == NULL) {
        s.queries = attn_i_carve_matrix(arena, attn_i_add_most(plan->depth, 1), ATTN_I_LANES, size);
    } else {
        s.queries = attn_i_carve(arena, plan->lanes->query_elements(plan->p), size);
    }
    s.tile = attn_i_carve_matrix(arena, keys, ATTN_I_LANES, size);
    s.context = attn_i_carve_matrix(arena, attn_i_tile_context_rows(plan), ATTN_I_LANES, size);
    s.bias = attn_i_carve_matrix(arena, plan->biased ? keys : 0, ATTN_I_LANES, size);
    s.mask = attn_i_carve_matrix(arena, plan->p->mask.data != NULL ? keys : 0, ATTN_I_LANES, size);
    s.rows = attn_i_carve_matrix(arena, ATTN_I_LANES, ATTN_I_TILE_KEYS, size);
    s.values = attn_i_carve_matrix(arena, keys, dim, size);
    s.near_queries = attn_i_carve_matrix(arena, plan->widens_queries ? ATTN_I_LANES : 0, plan->depth, size);
    s.near_keys = attn_i_carve_matrix(arena, plan->widens_keys ? keys : 0, plan->depth, size);
    s.near_values = attn_i_carve_matrix(arena, plan->widens_values ? keys : 0, dim, size);
    s.one_value = attn_i_carve(arena, plan->widens_values ? dim : 0, size);
    if (plan->measures) s.stats = attn_i_carve(arena, ATTN_I_LANES, sizeof *s.stats);
    return s;
}
