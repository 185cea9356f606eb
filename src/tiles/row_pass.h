/* SPDX-License-Identifier: BSD-3-Clause
 *
 * tiles/row_pass.h: a key head's few queries, ATTN_I_FEW at most, against a run of its keys, which come from memory
 * once: the pass of decoding, where lanes would stay empty and memory is the limit. Where keys lie in pages, several
 * key heads go over them together, some pages at a time, so that memory is read as it lies. */
#ifndef ATTN_I_TILES_ROW_PASS_H
#define ATTN_I_TILES_ROW_PASS_H

#include "tiles/pass.h"

typedef struct attn_i_row_scratch {
    float *queries;      /* [rows][depth], converted */
    float *scores;       /* [rows][keys of a block] */
    float *keys;         /* a block of converted keys */
    float *tile;         /* a block's scores in lanes */
    float *values;       /* a block of values without what is not finite */
    float *near_queries; /* [heads][rows][depth], where they are of another type than float32 */
    float *near;         /* some rows of what is kept in another type than float32 */
} attn_i_row_scratch;

enum { ATTN_I_HEADS_TOGETHER = 8 };

/* How many key heads of a sequence had better go together, ATTN_I_HEADS_TOGETHER at most: 1, but for short pages. */
int64_t attn_i_row_pass_heads(const attn_i_tile_plan *plan);

attn_i_row_scratch attn_i_row_scratch_layout(const attn_i_tile_plan *plan, int64_t heads, attn_i_arena *arena);

/* What some of the keys came to. */
typedef struct attn_i_row_part {
    float reference[ATTN_I_FEW], sum[ATTN_I_FEW]; /* as in attn_i_lanes */
    float divisor[ATTN_I_FEW];                    /* the sum, of weights as the context has them */
    float room[ATTN_I_FEW];
    double exponent[ATTN_I_FEW];
    float *context;          /* [FEW][Dv] */
    int lost;                /* some greatest score was finite, and as an exponent is not */
    double great;            /* the plan's that it was made by in the end */
    attn_i_row_stats *stats; /* [rows], where they are wanted */
    float *kept;             /* [rows][Tk], modified scores, for sums by key; those of other parts too. Or NULL */
} attn_i_row_part;

/* 1 if the plan's key heads are to be passed over so. */
int attn_i_row_pass_suits(const attn_i_tile_plan *plan);

/* Of so many key heads, of one sequence and the same keys, what comes of head i in parts[i]. The bits of each are the
 * same whichever others go with it. */
void attn_i_row_pass(const attn_i_tile_plan *plan, const attn_i_row_scratch *scratch, attn_i_tile_work *works,
                     attn_i_row_part *const *parts, int64_t heads);

#endif
