/* SPDX-License-Identifier: BSD-3-Clause
 *
 * tiles/gradient.h: the way back of up to ATTN_I_LANES queries of one key head and a run of its keys: weights from the
 * saved log-sum-exp, gradients of scores, and what these add to queries, keys and values, one tile of keys after the
 * other. */
#ifndef ATTN_I_TILES_GRADIENT_H
#define ATTN_I_TILES_GRADIENT_H

#include "call/gradient.h"
#include "tiles/pass.h"

/* What all passes of a call have in common. */
typedef struct attn_i_gradient_plan {
    const attn_i_gradient *g;
    attn_i_tile_plan tile;
    double factor; /* from gradients of scores at the softmax's temperature to unscaled ones: scale / temperature */
    int64_t dim;   /* of the values, or 0 if nothing flows in from the context */
    int64_t width; /* of prepared queries and keys, in whole spans */
    int wants_query;
} attn_i_gradient_plan;

/* The scratch of one pass. A panel is [LANES][LANES]: a row for each query, so many of its elements. */
typedef struct attn_i_gradient_scratch {
    attn_i_tile_scratch tile; /* queries in lanes, weights in the tile */
    float *d_scores, *capped; /* [TILE_KEYS][LANES] */
    float *d_context;         /* [Dv][LANES] */
    float *query_panels, *context_panels;
    float *d_query; /* the result: [depth][LANES], not yet times the factor; or where scores are no products
                       [LANES][width] */
    float *keys;    /* [TILE_KEYS][depth] without what is not finite */
    float *row;     /* of one query's d_context, and its context */
} attn_i_gradient_scratch;

attn_i_gradient_scratch attn_i_gradient_scratch_layout(const attn_i_gradient_plan *plan, attn_i_arena *arena);

/* Where the gradients of one pass are summed: rows of prepared keys and of values, whole spans wide, beginning with the
 * first of work->keys; and what the score function sums for its parameters. */
typedef struct attn_i_gradient_sums {
    attn_i_sum_rows keys, values; /* keys: never without data where scores are no products */
    float *own;
    float *distances; /* sums of gradients of scores: of row r and key j at [r + (work->keys.end - 1 - j) group]; NULL:
                         not wanted */
} attn_i_gradient_sums;

/* Adds to the sums; leaves the gradient of prepared queries in d_query. `finite`: there is nothing else in the keys. */
void attn_i_tile_gradient(const attn_i_gradient_plan *plan, const attn_i_gradient_scratch *scratch,
                          const attn_i_tile_work *work, int finite, const attn_i_gradient_sums *sums);

#endif
