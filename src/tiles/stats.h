/* SPDX-License-Identifier: BSD-3-Clause
 *
 * tiles/stats.h: what the rows of a pass are to say of their weights, collected as the keys go by. With S the sum of a
 * row's weights as they are relative to some exponent, and M that of each weight times its own exponent relative to the
 * same, the entropy is log 2 (log2 S - M / S), whatever the exponent. */
#ifndef ATTN_I_TILES_STATS_H
#define ATTN_I_TILES_STATS_H

#include "call/problem.h"
#include "kernels/tile.h"

typedef struct attn_i_row_stats {
    double sum, moment; /* S and M */
    double base, room;  /* what they are relative to is base + room: see attn_i_lanes */
    double greatest;    /* exponent; minus infinity: none yet */
    int64_t strongest;  /* the first key that has it */
} attn_i_row_stats;

/* What the weights of a row are to be made of again: exponents less base, times inverse. */
typedef struct attn_i_row_norm {
    double base, inverse;
} attn_i_row_norm;

void attn_i_row_stats_begin(attn_i_row_stats *rows, int64_t count);

/* Adds what some keys came to; with a sum of 0 none is seen. */
void attn_i_row_stats_add(attn_i_row_stats *row, double base, double room, float sum, float moment);

/* Brings together what `count` parts of its keys say of a row, in their order, `step` from one to the next. */
attn_i_row_stats attn_i_row_stats_join(const attn_i_row_stats *parts, int64_t step, int64_t count);

/* sink_exponent: minus infinity if there is none. */
attn_i_row_norm attn_i_row_stats_norm(const attn_i_row_stats *row, double sink_exponent);

/* Writes what is wanted of row (b, h, i). */
void attn_i_row_stats_write(const attn_i_problem *problem, int64_t b, int64_t h, int64_t i,
                            const attn_i_row_stats *row);

#endif
