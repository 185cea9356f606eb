/* SPDX-License-Identifier: BSD-3-Clause
 *
 * call/relative.h: relative biases of one call: a row of numbers for each head, one for each distance that a key can
 * have from a query, of which every query reads a part. */
#ifndef ATTN_I_CALL_RELATIVE_H
#define ATTN_I_CALL_RELATIVE_H

#include "call/problem.h"
#include "runtime/memory.h"

/* 1 if the mechanism has them. */
static inline int attn_i_relative_wanted(const attn_i_problem *problem)
{
    return problem->modifiers->relative != ATTN_RELATIVE_NONE;
}

/* The bucket, of so many, of a distance of at least 0 (Raffel 2020): its own, or by its logarithm; the last from the
 * distance `most` on. */
int64_t attn_i_relative_bucket(int64_t distance, int64_t buckets, int64_t most);

/* The bytes that they take, which are added to a call's scratch. ATTN_ERR_OVERFLOW. Then, at the beginning of the
 * scratch: makes them. */
attn_status attn_i_relative_scratch(attn_i_problem *problem, int64_t *bytes, int64_t *scratch);
void attn_i_relative_load(attn_i_problem *problem, void *memory);

/* What query i of head h, sequence b adds to the scores of keys from `first` on: contiguous. And the columns of the
 * table that these are. */
const void *attn_i_relative_row(const attn_i_problem *problem, int64_t b, int64_t h, int64_t i, int64_t first);
const int32_t *attn_i_relative_columns(const attn_i_problem *problem, int64_t b, int64_t i, int64_t first);

/* The same for tiles, of float32: what row r of the key head's (query r / group of its head r % group) adds to the
 * score of key j lies at [r - first_row - (j - key) group]. A tile's rows are runs of it, each a step before the last.
 */
const float *attn_i_relative_diagonals(const attn_i_problem *problem, int64_t b, int64_t key_head, int64_t first_row,
                                       int64_t key);

#endif
