/* SPDX-License-Identifier: BSD-3-Clause
 *
 * call/stats.h: what a call is to tell of its weights (attn_weights_stats): checked, and written. */
#ifndef ATTN_I_CALL_STATS_H
#define ATTN_I_CALL_STATS_H

#include "call/problem.h"

/* The caller's struct, as this version has it. ATTN_ERR_STRUCT_SIZE, ATTN_ERR_ARGUMENT. */
attn_status attn_i_stats_read(const attn_weights_stats *given, attn_weights_stats *args);

/* Reads the caller's struct and checks its tensors. ATTN_ERR_STRUCT_SIZE and what outputs have. */
attn_status attn_i_stats_check(attn_i_problem *problem, const attn_weights_stats *given);

/* 1 if some tensor of them has elements. */
int attn_i_stats_are_wanted(const attn_i_problem *problem);

/* Those that have elements, of which it returns how many. */
int attn_i_stats_list(const attn_i_problem *problem, attn_i_named_view *list);

/* 1 if something is wanted of each row of weights. */
static inline int attn_i_stats_of_rows(const attn_i_problem *problem)
{
    return problem->stats.entropy.data != NULL || problem->stats.strongest.data != NULL;
}

/* What there is to say of row (b, h, i): entropy in nats; strongest -1: no key. */
void attn_i_stats_write_row(const attn_i_problem *problem, int64_t b, int64_t h, int64_t i, double entropy,
                            int64_t strongest);

/* The sums of keys first .. first + n - 1. */
void attn_i_stats_write_sums(const attn_i_problem *problem, int64_t b, int64_t h, int64_t first, int64_t n,
                             const double *sums);

/* Zeros for all keys, where their sums are wanted: of no queries. */
void attn_i_stats_clear_sums(const attn_i_problem *problem);

#endif
