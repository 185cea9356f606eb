/* SPDX-License-Identifier: BSD-3-Clause
 *
 * tiles/pass.h: up to ATTN_I_LANES queries of one key head against a run of its keys: score, modifiers, streaming
 * softmax and context, one tile of keys after the other. */
#ifndef ATTN_I_TILES_PASS_H
#define ATTN_I_TILES_PASS_H

#include "call/problem.h"
#include "call/visible.h"
#include "kernels/tile.h"
#include "runtime/memory.h"
#include "score/score.h"
#include "tiles/kept.h"
#include "tiles/mask.h"
#include "tiles/stats.h"

/* What all passes of a call have in common. */
typedef struct attn_i_tile_plan {
    const attn_i_problem *p;
    const attn_i_tile_kernels *kernels;
    const attn_i_tile_arithmetic *arithmetic; /* of the products of forward passes */
    const attn_i_score_state *state;
    int64_t depth; /* elements of a prepared query and key */
    double unit;   /* log2(e) / temperature: from scores to exponents */
    double factor; /* of the queries, if they are folded */
    double great;  /* 0; or what exponents are divided by until a reference is taken off, see attn_i_tile_plan_great */
    int folded;    /* factors are in the queries, so that products are exponents, or their parts of cap */
    float cap;     /* then: the softcap, of exponents; 0: none */
    int plain;     /* and no tensor of biases stands between a product and its weight */
    int biased;    /* there are biases of the caller's; and of distances: */
    int relative;
    int writes_scores; /* weights or scores are wanted */
    int measures;      /* stats of the weights are wanted */
    int moves;         /* queries of one sequence may not see the same keys by where they stand */
    int bare;          /* what a query sees it sees as it is, but for the scale */
    int sums_only;     /* a pass makes no context */
    int widens_queries, widens_keys,
        widens_values;              /* their rows are kept in another type, and become float32 as passes read them */
    int wide;                       /* values are wide, and keys one tile: the context may be made last, row by row */
    const attn_i_lane_score *lanes; /* NULL: scores are products */
    attn_i_mask_map mask;
} attn_i_tile_plan;

/* 1 if the plan could be made: of what a workspace's size depends on, not of data. */
int attn_i_tile_plan_make(const attn_i_problem *p, attn_i_tile_plan *plan);

/* What the plan owes to the numbers of ALiBi's slopes. Before the first pass. */
void attn_i_tile_plan_read(attn_i_tile_plan *plan);

/* The same plan for scores that are finite and whose exponents are not: what it counts in are scores themselves,
 * divided by nothing. Their greatest is taken off before they become exponents, and no bit of it matters for the
 * result. It goes by passes over the tile alone. */
attn_i_tile_plan attn_i_tile_plan_great(const attn_i_tile_plan *plan);

/* The scratch of one pass, in which the result of the last one stays. */
typedef struct attn_i_tile_scratch {
    float *queries;                 /* [depth + 1][LANES] */
    float *tile;                    /* [TILE_KEYS][LANES] */
    float *bias, *mask;             /* the same */
    float *rows;                    /* [LANES][TILE_KEYS] */
    float *values;                  /* [TILE_KEYS][Dv] without what is not finite */
    float *near_queries;            /* [LANES][depth], likewise: */
    float *near_keys, *near_values; /* [TILE_KEYS][depth], [TILE_KEYS][Dv]: a tile of what is kept otherwise */
    float *context;   /* [rows][LANES], not yet divided by the sum of weights; or late, see attn_i_lanes */
    float *one_value; /* [Dv], where a value is kept in another type */
    attn_i_lanes *lanes;
    attn_i_row_stats *stats; /* [LANES], where they are wanted */
} attn_i_tile_scratch;

/* The rows of a context in lanes: its elements, if there is one, and the sum of weights that are rounded. */
int64_t attn_i_tile_context_rows(const attn_i_tile_plan *plan);

attn_i_tile_scratch attn_i_tile_scratch_layout(const attn_i_tile_plan *plan, attn_i_arena *arena);

/* The queries and keys of one pass. Row r of a key head is query r / group of head r % group. */
typedef struct attn_i_tile_work {
    int64_t b, key_head;
    int64_t first_row, rows;          /* at most LANES */
    attn_i_span keys;                 /* no others are looked at */
    attn_i_rows queries;              /* prepared, from the key head's row 0 on; data NULL: as the problem has them */
    attn_i_kept key_rows, value_rows; /* prepared, from key 0 on */
    int reads_memory;                 /* few passes read these: they will not be near */
} attn_i_tile_work;

/* Leaves context, reference and sum in the scratch, and unnormalised rows in the outputs of scores and weights. Fetches
 * meanwhile what the caller will want next. */
void attn_i_tile_pass(const attn_i_tile_plan *plan, const attn_i_tile_scratch *scratch, const attn_i_tile_work *work,
                      attn_i_fetch *fetch);

/* Divides by the sums and writes all outputs but scores. */
void attn_i_tile_finish(const attn_i_tile_plan *plan, const attn_i_tile_scratch *scratch, const attn_i_tile_work *work);

#endif
