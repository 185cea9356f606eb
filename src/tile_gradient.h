/* SPDX-License-Identifier: BSD-3-Clause
 *
 * tile_gradient.h: the way back of up to ATTN_I_LANES queries of one key head and a run of its keys: weights from the
 * saved log-sum-exp, gradients of scores, and what these add to queries, keys and values, one tile of keys after the
 * other. */
#ifndef ATTN_I_TILE_GRADIENT_H
#define ATTN_I_TILE_GRADIENT_H

#include "gradient.h"
#include "tile_pass.h"

/* What all passes of a call have in common. */
typedef struct attn_i_gradient_plan {
    const attn_i_gradient *g;
    attn_i_tile_plan tile;
    double factor; /* from gradients of exponents' products to those of queries and keys: scale / temperature */
    int64_t dim;   /* of the values, or 0 if nothing flows in from the context */
    int wants_query, wants_key, wants_value;
} attn_i_gradient_plan;

/* Rows that gradients are added to: a whole number of spans wide, and contiguous. data NULL: not wanted. */
typedef struct attn_i_sum_rows {
    float *data;
    int64_t stride;
} attn_i_sum_rows;

/* The scratch of one pass. A panel is [LANES][LANES]: a row for each query, so many of its elements. */
typedef struct attn_i_gradient_scratch {
    attn_i_tile_scratch tile; /* queries in lanes, weights in the tile */
    float *d_scores, *capped; /* [TILE_KEYS][LANES] */
    float *d_context;         /* [Dv][LANES] */
    float *query_panels, *context_panels;
    float *d_query; /* [depth][LANES]: the result */
    float *keys;    /* [TILE_KEYS][depth] without what is not finite */
    float *row;     /* of one query's d_context, and its context */
} attn_i_gradient_scratch;

attn_i_gradient_scratch attn_i_gradient_scratch_layout(const attn_i_gradient_plan *plan, attn_i_arena *arena);

/* Adds to the rows of keys and values, which begin with the first of work->keys; leaves the gradient of the products'
 * queries, not yet times the plan's factor, in d_query. `finite`: there is nothing else in the keys. */
void attn_i_tile_gradient(const attn_i_gradient_plan *plan, const attn_i_gradient_scratch *scratch,
                          const attn_i_tile_work *work, int finite, attn_i_sum_rows d_keys, attn_i_sum_rows d_values);

#endif
