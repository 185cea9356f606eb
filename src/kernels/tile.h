/* SPDX-License-Identifier: BSD-3-Clause
 *
 * kernels/tile.h: the kernels of the fused way, float32 only. A tile has up to ATTN_I_LANES queries, side by side in
 * lanes, and up to ATTN_I_TILE_KEYS keys, one below the other: row j holds what the queries make of key j. So a query's
 * maximum, sum and mask are elementwise, a query that needs another treatment than its neighbour costs nothing, and
 * keys and values are read where they lie, an element at a time, broadcast to all lanes. Rows of a tile are
 * ATTN_I_LANES apart.
 *
 * Scores are in units of log2: weights are powers of two, and to move a query's reference by a whole number changes
 * their exponents and no digit. */
#ifndef ATTN_I_KERNELS_TILE_H
#define ATTN_I_KERNELS_TILE_H

#include "kernels/fetch.h"

#include <stddef.h>
#include <stdint.h>

enum {
    ATTN_I_LANES = 64,
    ATTN_I_TILE_KEYS = 128,
    ATTN_I_SPAN_LANES = 16, /* lanes that are computed or left out together */
    ATTN_I_SPANS = ATTN_I_LANES / ATTN_I_SPAN_LANES,
    ATTN_I_BLOCK_ROWS = 6, /* keys or values that one block of products takes */
    ATTN_I_FEW = 16,       /* queries of a key head that had better be rows than lanes, */
    ATTN_I_FEW_SCORES = 8, /* and where scores are no products, which lanes are good at */
    ATTN_I_ROOM = 64       /* a weight lies between 2^-ROOM and 2^ROOM times what the reference stands for */
};

#define ATTN_I_FAR           0x1p21f /* references up to here are exact parts of the offset that rounds a score */
#define ATTN_I_FACTORED_MOST 40.0f   /* past it, exp(2 x) of a query or key is not used */
/* Up to it, exp(2 x) - 1 of a key takes its place: then exp(2 x) is its sum with 1. */
#define ATTN_I_FACTORED_NEAR 0.5f

/* Spans of lanes, first .. end - 1. */
typedef struct attn_i_spans {
    int first, end;
} attn_i_spans;

/* What is known of each lane while its keys go by. */
typedef struct attn_i_lanes {
    float reference[ATTN_I_LANES]; /* a whole number, weights being 2^(score - reference); minus infinity: none yet */
    float sum[ATTN_I_LANES];       /* of the weights */
    int32_t first_key[ATTN_I_LANES], end_key[ATTN_I_LANES]; /* the run of keys that it may see */
    int64_t late_first, late_end; /* keys whose weights are in the tile and not yet in the context */
    /* When a pass is through. By a plan for great scores a reference is a score, `great` is the plan's, and weights are
     * 2^((score - reference) great - room); else great and room are 0. The reference as an exponent is past what a
     * float holds, if scores are so great. */
    double great, exponent[ATTN_I_LANES];
    float room[ATTN_I_LANES];
} attn_i_lanes;

/* A matrix whose rows are contiguous, `stride` elements apart. */
typedef struct attn_i_rows {
    const float *data;
    int64_t stride;
} attn_i_rows;

/* The same, to be added to. data NULL: not wanted. */
typedef struct attn_i_sum_rows {
    float *data;
    int64_t stride;
} attn_i_sum_rows;

static inline attn_i_rows attn_i_rows_from(attn_i_rows rows, int64_t first)
{
    if (first > 0) rows.data += first * rows.stride;
    return rows;
}

/* What a draw of random words depends on: those below the threshold are dropped. */
typedef struct attn_i_draw {
    uint64_t seed, offset;
    uint32_t threshold;
} attn_i_draw;

/* What stands between a product and the exponent of a weight: exponent = cap tanh(product), or the product if cap is 0,
 * less slope[l] |distance[l] + j| for key j if there is a slope. */
typedef struct attn_i_exponent {
    float cap;
    const float *slope, *distance; /* NULL: no slope */
} attn_i_exponent;

typedef struct attn_i_tile_kernels {
    /* to[i to_stride + l] = sum over d < depth of rows[i][d] lanes[d LANES + l], i < count; added to what is there if
     * `accumulate`. The inner loop of scores, and of matrix products. */
    void (*products)(int64_t depth, const float *lanes, attn_i_rows rows, int64_t count, attn_i_spans spans, float *to,
                     int64_t to_stride, int accumulate);
    /* to[j] = 2^(score - reference), j < count, a block of products with rows of keys becoming scores, these being
     * exponents, and weights as soon as it is there. Scores, even minus infinity, more than ROOM below the reference
     * count as ROOM below. With `edges`, key first_key + j gets 0 from lanes that do not see it, whatever its score is.
     * Returns 0, `to` then being of no use, when a score lies ROOM above its reference or is no number. Goes on
     * fetching meanwhile, a step for every block of up to BLOCK_ROWS keys. */
    int (*weights)(int64_t depth, const float *lanes, attn_i_rows keys, int64_t count, attn_i_spans spans,
                   const attn_i_exponent *exponent, const attn_i_lanes *state, int64_t first_key, int edges,
                   attn_i_fetch *fetch, float *to);
    /* Backward: to[j] = weights[j] (product of rows[j] with the lanes - mean), j < count; 0 where the weight is 0. */
    void (*gradients)(int64_t depth, const float *lanes, attn_i_rows rows, int64_t count, attn_i_spans spans,
                      const float *weights, const float *mean, float *to);
    /* context[d LANES + l] += sum over j < count of values[j][d] weights[j LANES + l], d < dim, and sum[l] likewise. */
    void (*context)(int64_t count, const float *weights, attn_i_rows values, int64_t dim, attn_i_spans spans,
                    float *context, float *sum);

    /* Passes over the rows of a tile. */
    void (*tile_scale)(int64_t count, attn_i_spans spans, float factor, float *tile);
    /* tile = cap tanh(tile / cap) */
    void (*tile_softcap)(int64_t count, attn_i_spans spans, float cap, float *tile);
    /* tile += factor bias */
    void (*tile_add)(int64_t count, attn_i_spans spans, float factor, const float *bias, float *tile);
    /* tile[j][l] += factor from[l - j step], l < lanes */
    void (*tile_add_diagonals)(int64_t count, attn_i_spans spans, int64_t lanes, float factor, const float *from,
                               int64_t step, float *tile);
    /* Backward: to[l - j step] += tile[j][l], l < lanes */
    void (*tile_sum_diagonals)(int64_t count, attn_i_spans spans, int64_t lanes, const float *tile, int64_t step,
                               float *to);
    /* tile[j] -= slope[l] |distance[l] + j| */
    void (*tile_alibi)(int64_t count, attn_i_spans spans, const float *slope, const float *distance, float *tile);
    /* tile = minus infinity where mask is 0 */
    void (*tile_mask)(int64_t count, attn_i_spans spans, const float *mask, float *tile);
    /* tile[j] = minus infinity where the lane does not see key first_key + j */
    void (*tile_edges)(int64_t count, attn_i_spans spans, const attn_i_lanes *state, int64_t first_key, float *tile);
    /* tile *= 1 - (capped / cap)^2; 0 stays 0 */
    void (*tile_cap_gradient)(int64_t count, attn_i_spans spans, float cap, const float *capped, float *tile);
    /* tile = 0 where row[l] of the draw drops key first_key + j, j < count */
    void (*tile_drop)(int64_t count, attn_i_spans spans, const attn_i_draw *draw, const uint64_t *row,
                      int64_t first_key, float *tile);
    /* Backward: tile[j] = weights[j] (tile[j] - mean); 0 where the weight is 0 */
    void (*tile_gradient)(int64_t count, attn_i_spans spans, const float *weights, const float *mean, float *tile);
    /* most[l] = the greatest of the lane and most[l]; passes over NaN */
    void (*tile_maximum)(int64_t count, attn_i_spans spans, const float *tile, float *most);
    /* tile = 2^(tile - reference), 0 for minus infinity; scores more than ROOM below the reference count as ROOM below
     */
    void (*tile_exponentials)(int64_t count, attn_i_spans spans, const float *reference, float *tile);
    /* The same, and what the weights come to: sum[l] += those of the lane, moment[l] += each times what it is 2 to the
     * power of, which counts as ROOM below where it is more. */
    void (*tile_measure)(int64_t count, attn_i_spans spans, const float *reference, float *tile, float *sum,
                         float *moment);
    /* at[l] = first + j for the first j whose tile[j][l] is most[l]; untouched where there is none */
    void (*tile_find)(int64_t count, attn_i_spans spans, const float *most, int32_t first, const float *tile,
                      int32_t *at);
    /* tile[j] *= factor[l], all lanes */
    void (*tile_multiply)(int64_t count, const float *factor, float *tile);

    /* Between rows of the caller's, row l at rows[l], and lanes. */
    /* tile[d LANES + l] = factor rows[l][d], d < n, l < lanes; 0 in the lanes past them of the same span */
    void (*to_lanes)(int64_t lanes, int64_t n, const float *const *rows, float factor, float *tile);
    /* rows[l][d] = factor[l] tile[d LANES + l], d < n, l < lanes; reads whole spans of lanes */
    void (*from_lanes)(int64_t lanes, int64_t n, const float *tile, const float *factor, float *const *rows);

    /* The additive score, factored. */
    /* to[a] = exp(2 from[a]), a < n, and less_one[a] = to[a] - 1, which may be NULL; returns the greatest |from|. If
     * that is more than ATTN_I_FACTORED_MOST or no number, it returns infinity, and what is in `to` is of no use,
     * unless it is `from`, which is left alone. */
    float (*double_exponentials)(int64_t n, const float *from, float *to, float *less_one);
    /* to[a] = exp(2 from[a]) - 1, likewise, for |from| up to ATTN_I_FACTORED_NEAR. */
    float (*double_exponentials_less_one)(int64_t n, const float *from, float *to);
    /* to[j LANES + i] = sum over a of weights[a] tanh(q_i + k_j), from rows of exp(2 q) and exp(2 k), or, if `near`, of
     * these less one, |k| being up to ATTN_I_FACTORED_NEAR: `rows` queries and `count` keys. hidden is a multiple of
     * ATTN_I_SPAN_LANES, |weights| are at most 1024. `sharing`, 4, 2 or 1, fractions have one denominator: 4 where
     * |q| + |k| <= 10, 2 where it is <= 20, 1 where it is <= 40; past these the denominator overflows. */
    void (*factored_tanh)(int64_t hidden, int sharing, int near, const float *weights, attn_i_rows queries,
                          int64_t rows, attn_i_rows keys, int64_t count, float *to);

    /* Its gradients: with t = tanh(q_i + k_j) and d = d_scores[j LANES + i], what d adds to row i of d_queries and row
     * j of d_keys, weights[a] d (1 - t^2), and to d_weights, d t. Where |q| + |k| <= 40, see factored_tanh. */
    void (*factored_tanh_gradients)(int64_t hidden, int near, const float *weights, attn_i_rows queries, int64_t rows,
                                    attn_i_rows keys, int64_t count, const float *d_scores, float *d_queries,
                                    int64_t d_query_stride, float *d_keys, int64_t d_key_stride, float *d_weights);

    /* Rows of scores: of few queries, see kernels/stored.h. */
    /* The greatest of a row; passes over NaN; minus infinity if there is none. */
    float (*row_maximum)(int64_t n, const float *row);
    /* row[j] = 2^(unit row[j] - reference), 0 for minus infinity; what lies more than ROOM below counts as ROOM below.
     * Returns their sum. */
    float (*row_exponentials)(int64_t n, float unit, float reference, float *row);

    /* The same, and the sum of each times what it is 2 to the power of, as in tile_measure. */
    float (*row_measure)(int64_t n, float unit, float reference, float *row, float *moment);

    /* Rows of scores on their own. */
    /* row[j] = factor 2^(row[j] - reference), the reference whole; 0 for minus infinity */
    void (*row_weights)(int64_t n, double reference, double factor, float *row);
    /* The number of bytes mask[j stride] that are not 0, j < n <= TILE_KEYS; and to[j] = 1 for these, else 0. */
    int64_t (*mask_count)(int64_t n, const uint8_t *mask, int64_t stride);
    void (*mask_row)(int64_t n, const uint8_t *mask, int64_t stride, float *to);
} attn_i_tile_kernels;

#endif
