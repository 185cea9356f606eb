/* SPDX-License-Identifier: BSD-3-Clause
 *
 * call/visible.h: which keys a query may see: by where it stands, key lengths, causal, window, always one run of keys;
 * and where the boolean mask is that then makes holes in it. */
#ifndef ATTN_I_CALL_VISIBLE_H
#define ATTN_I_CALL_VISIBLE_H

#include "call/problem.h"

/* Keys first .. end - 1; first == end when there are none. */
typedef struct attn_i_span {
    int64_t first, end;
} attn_i_span;

/* What the queries of a sequence may see: query i the keys from i + first on, before i + end, and of these the valid.
 */
typedef struct attn_i_sight {
    int64_t first, end, length;
    int64_t local_first, local_end, last; /* and for local attention the same, but no farther on than query `last` */
} attn_i_sight;

attn_i_sight attn_i_sight_of(const attn_i_problem *problem, int64_t b);

static inline attn_i_span attn_i_sees(attn_i_sight sight, int64_t i)
{
    const int64_t at = i < sight.last ? i : sight.last;
    int64_t first = i + sight.first < 0 ? 0 : i + sight.first;
    int64_t end = i + sight.end < sight.length ? i + sight.end : sight.length;
    if (at + sight.local_first > first) first = at + sight.local_first;
    if (at + sight.local_end < end) end = at + sight.local_end;
    return first < end ? (attn_i_span){first, end} : (attn_i_span){0, 0};
}

/* What query i of sequence b may see. */
attn_i_span attn_i_visible(const attn_i_problem *problem, int64_t b, int64_t i);

/* The least run that holds what queries first .. last may see. */
attn_i_span attn_i_visible_to_all(const attn_i_problem *problem, int64_t b, int64_t first, int64_t last);

/* What a mask says of some keys: [j stride] of those of them that it has columns of; the others it leaves visible. */
typedef struct attn_i_mask_row {
    attn_i_span keys;
    const uint8_t *shows;
    int64_t stride;
} attn_i_mask_row;

/* That of query i of head h, sequence b, for keys first .. end - 1 of a problem with a mask. */
attn_i_mask_row attn_i_mask_row_of(const attn_i_problem *problem, int64_t b, int64_t h, int64_t i, attn_i_span keys);

/* Where query i of sequence b stands among the keys. */
int64_t attn_i_position(const attn_i_problem *problem, attn_align align, int64_t b, int64_t i);

#endif
