/* SPDX-License-Identifier: BSD-3-Clause
 *
 * score.h: what a score function is to the pipeline. A score function is one file that fills one of these and defines
 * the public function that creates its mechanism; nothing else in the library knows it by name. */
#ifndef ATTN_I_SCORE_H
#define ATTN_I_SCORE_H

#include "kernels/tile.h"
#include "problem.h"
#include "projection.h"
#include "runtime/memory.h"

/* A score function's parameters as its functions want them during one call. */
typedef struct attn_i_score_state {
    int own_products;          /* set by the way before the layout: projections by our kernels, not the BLAS */
    attn_i_projection queries; /* what prepare_queries multiplies by, [Dq, query width] */
    attn_i_projection keys;    /* what prepare_keys multiplies by, [Dk, key width] */
    attn_i_operand places;     /* what plays the keys' part where there are none, [Dq, keys] */
    void *v, *b;               /* contiguous vectors, or NULL; v padded by zeros to whole spans of lanes */
} attn_i_score_state;

/* A block of scores to compute: prepared queries [rows, query width], the prepared keys [keys, key width] that it
 * spans, the first of them being key `first` of the sequence, and the scores [rows, keys]. */
typedef struct attn_i_score_block {
    attn_i_matrix queries, keys, scores;
    int64_t first;
} attn_i_score_block;

/* A score function that is no product, in the fused way (see kernels/tile.h): prepared keys are converted once to what
 * the scores are computed from, and so are the queries of each pass. */
typedef struct attn_i_lane_score {
    /* Elements from one converted key to the next, and of a pass' converted queries. */
    int64_t (*key_elements)(const attn_i_problem *);
    int64_t (*query_elements)(const attn_i_problem *);
    /* `from` may be where the converted key goes. */
    void (*convert_key)(const attn_i_problem *, const float *from, float *to);
    void (*convert_queries)(const attn_i_problem *, const attn_i_score_state *, int64_t count, const float *const *from,
                            float *to);
    /* The unscaled scores of `count` keys with the first `rows` lanes. */
    void (*scores)(const attn_i_problem *, const attn_i_score_state *, const float *queries, int64_t rows,
                   attn_i_rows keys, int64_t count, float *tile);
} attn_i_lane_score;

typedef struct attn_i_score {
    const char *name;
    int reads_keys;

    /* Whether the call's dimensions suit, beyond those that the mechanism was made for. */
    attn_status (*check)(const attn_i_problem *);
    /* The scale when none was set. */
    double (*default_scale)(const attn_i_problem *);

    /* The dimensions that prepared queries and keys have; 0: they are used as they come. Prepared rows are contiguous;
     * a key that is used as it comes can be read by the BLAS, and has contiguous rows if `contiguous_keys`. */
    int64_t (*query_width)(const attn_i_problem *);
    int64_t (*key_width)(const attn_i_problem *);
    int contiguous_keys;

    /* Lays out the state's scratch (see attn_i_arena); then, once it exists, fills it. */
    void (*layout)(const attn_i_problem *, attn_i_arena *, attn_i_score_state *);
    void (*load)(const attn_i_problem *, attn_i_score_state *);

    /* From rows as they come to prepared rows. Only called where the width is not 0. */
    void (*prepare_queries)(const attn_i_problem *, const attn_i_score_state *, attn_i_matrix from, attn_i_matrix to);
    void (*prepare_keys)(const attn_i_problem *, const attn_i_score_state *, attn_i_matrix from, attn_i_matrix to);

    /* How the fused way computes them; NULL: they are the products of prepared queries and keys. */
    const attn_i_lane_score *lanes;

    /* Computes the unscaled scores of all blocks. */
    void (*scores)(const attn_i_problem *, const attn_i_score_state *, const attn_i_score_block *, int64_t count);
} attn_i_score;

/* What several score functions answer alike. */
attn_status attn_i_score_check_nothing(const attn_i_problem *);
double attn_i_score_scale_one(const attn_i_problem *);
int64_t attn_i_score_width_none(const attn_i_problem *);
void attn_i_score_layout_nothing(const attn_i_problem *, attn_i_arena *, attn_i_score_state *);
void attn_i_score_load_nothing(const attn_i_problem *, attn_i_score_state *);
/* queries keys^T, block by block */
void attn_i_score_products(const attn_i_problem *, const attn_i_score_state *, const attn_i_score_block *,
                           int64_t count);
/* A map for the rows of all queries, or all keys. */
attn_i_projection attn_i_score_query_map(const attn_i_problem *, attn_i_arena *, const attn_i_score_state *,
                                         attn_i_matrix map);
attn_i_projection attn_i_score_key_map(const attn_i_problem *, attn_i_arena *, const attn_i_score_state *,
                                       attn_i_matrix map);
/* to = from projected */
void attn_i_score_map_queries(const attn_i_problem *, const attn_i_score_state *, attn_i_matrix from, attn_i_matrix to);
void attn_i_score_map_keys(const attn_i_problem *, const attn_i_score_state *, attn_i_matrix from, attn_i_matrix to);

/* A bound parameter as a matrix, a vector being one row; data NULL where the mechanism has no such parameter. */
attn_i_matrix attn_i_score_param(const attn_i_problem *, const char *name);

#endif
