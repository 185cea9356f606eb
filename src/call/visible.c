/* SPDX-License-Identifier: BSD-3-Clause
 *
 * call/visible.c: which keys a query may see: by key lengths, causal, window; and by a mask. */
#include "call/visible.h"

#include "runtime/size.h"

int64_t attn_i_position(const attn_i_problem *problem, attn_align align, int64_t b, int64_t i)
{
    return i + (align == ATTN_ALIGN_BOTTOM_RIGHT ? attn_i_problem_length(problem, b) - problem->queries
                                                 : problem->query_start);
}

attn_i_sight attn_i_sight_of(const attn_i_problem *problem, int64_t b)
{
    const attn_i_modifiers *m = problem->modifiers;
    const int64_t length = attn_i_problem_length(problem, b);
    attn_i_sight sight = {-ATTN_I_UNBOUNDED, ATTN_I_UNBOUNDED, length,
                          -ATTN_I_UNBOUNDED, ATTN_I_UNBOUNDED, ATTN_I_UNBOUNDED};
    if (m->local == ATTN_LOCAL_MONOTONIC) {
        sight.local_first = problem->query_start - m->half_width;
        sight.local_end = problem->query_start + m->half_width + 1;
        sight.last = length - 1 - problem->query_start;
    }
    if (m->causal != ATTN_ALIGN_NONE) sight.end = attn_i_position(problem, m->causal, b, 0) + 1;
    if (m->window != ATTN_ALIGN_NONE) {
        const int64_t position = attn_i_position(problem, m->window, b, 0);
        sight.first = position - m->left;
        sight.end = attn_i_min(sight.end, position + m->right + 1);
    }
    return sight;
}

attn_i_mask_row attn_i_mask_row_of(const attn_i_problem *p, int64_t b, int64_t h, int64_t i, attn_i_span keys)
{
    int64_t first = 0; /* the key that column 0 is of */
    if (p->mask_columns > 0) {
        const int64_t end = attn_i_problem_length(p, b);
        first = end - p->mask_columns;
        keys.end = attn_i_max(attn_i_min(keys.end, end), keys.first);
        keys.first = attn_i_min(attn_i_max(keys.first, first), keys.end);
    }
    return (attn_i_mask_row){keys, (const uint8_t *)attn_i_view_element(&p->mask, b, h, i, keys.first - first),
                             p->mask.stride[3]};
}

attn_i_span attn_i_visible(const attn_i_problem *problem, int64_t b, int64_t i)
{
    return attn_i_sees(attn_i_sight_of(problem, b), i);
}

/* Both ends of the run move forward with i, so the first query that sees anything and the last one span it. */
attn_i_span attn_i_visible_to_all(const attn_i_problem *problem, int64_t b, int64_t first, int64_t last)
{
    attn_i_span all = {0, 0};
    for (int64_t i = first; i <= last; i++) {
        attn_i_span one = attn_i_visible(problem, b, i);
        if (one.first == one.end) continue;
        if (all.first == all.end) all.first = one.first;
        all.end = one.end;
    }
    return all;
}
