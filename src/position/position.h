/* SPDX-License-Identifier: BSD-3-Clause
 *
 * position/position.h: what the table of sinusoids and the rotations have in common: positions, and how fast each pair
 * of dimensions turns with them. */
#ifndef ATTN_I_POSITION_POSITION_H
#define ATTN_I_POSITION_POSITION_H

#include "attn/attn.h"

#include <math.h>

/* ATTN_ERR_ARGUMENT unless float64 holds first and last, the positions that `name` gives, exactly. */
attn_status attn_i_position_check(const char *name, int64_t first, int64_t last);

/* The same for count of them from first; none if count is 0. */
attn_status attn_i_position_check_from(int64_t first, int64_t count);

/* ATTN_ERR_ARGUMENT unless no angle can overflow with this base. */
attn_status attn_i_position_check_base(double base);

/* Refuses options of a rotation that no positions make right, for rows of `most` elements; `rows` names these. */
attn_status attn_i_rope_check(const attn_rope_options *options, int64_t most, const char *rows);

/* base^(-2i/n): the angle between neighbouring positions in pair i of n dimensions. */
static inline double attn_i_frequency(double base, int64_t i, int64_t n)
{
    return pow(base, -2.0 * (double)i / (double)n);
}

#endif
