/* SPDX-License-Identifier: BSD-3-Clause
 *
 * tiles/lanes.h: what passes over tiles have in common, whatever they compute: references that follow the scores,
 * results in lanes that go to rows, and products of a tile's weights with the rows that its lanes stand for. */
#ifndef ATTN_I_TILES_LANES_H
#define ATTN_I_TILES_LANES_H

#include "kernels/kernels.h"

enum {
    ATTN_I_ROOM_BEFORE_MOVE = 16, /* exponents that a score may exceed a reference by before it is moved */
    ATTN_I_PANEL = ATTN_I_LANES * ATTN_I_LANES,
    ATTN_I_BELOW = ATTN_I_ROOM - 2 /* what a reference lies below the log-sum-exp, so that small weights are exact */
};

/* The reference for scores up to `most`: the one there is, or, where it is outgrown or minus infinity, another. */
float attn_i_reference_for(float most, float reference);

/* Moves the references of all lanes to that for their greatest scores, and sums and `dim` rows of the context with
 * them. 1 if any has moved. */
int attn_i_lanes_move(const attn_i_tile_kernels *kernels, attn_i_lanes *lanes, const float *most, int64_t dim,
                      float *context);

/* The natural logarithm of a sum of weights relative to a reference; minus infinity for no sum. */
double attn_i_log_sum(double reference, float sum);

/* What is to be added to a reference so that the sum of weights is 1 or, by less than half of it, less: a whole number.
 * 0 for no sum, and for one that is no number. */
float attn_i_room_for_sum(float sum);

/* (score - greatest) unit: what is finite stays finite, what is hidden stays so. */
float attn_i_take_off(double unit, float score, float greatest);

/* The same of a tile's scores, by lanes. */
void attn_i_tile_take_off(double unit, int64_t count, attn_i_spans spans, const float *greatest, float *tile);

/* attn_i_lanes_move where references are scores: each is moved to the greatest that was seen. */
void attn_i_lanes_move_great(const attn_i_tile_kernels *kernels, attn_i_lanes *lanes, double unit, const float *most,
                             int64_t dim, float *context);

/* Where lanes are written to, or added. */
typedef struct attn_i_lane_rows {
    void *const *rows;
    int64_t step; /* from one element to the next */
    const attn_i_stored_kernels *type;
    int accumulate;
} attn_i_lane_rows;

/* Columns of a tile to rows: rows[l][d step] = factor[l] tile[d LANES + l], d < n, or added to what is there. room:
 * [LANES][TILE_KEYS]. */
void attn_i_lanes_write(const attn_i_tile_kernels *tiles, const attn_i_kernels *kernels, int64_t lanes, int64_t n,
                        const float *tile, const float *factor, const attn_i_lane_rows *to, float *room);

/* Rows of LANES columns, [LANES][LANES], as many as hold so many columns; to be the lanes of products over a tile's
 * lanes. */
int64_t attn_i_panels_of(int64_t columns);

/* factor row, an element for each of n, to the panels' row of a lane. */
void attn_i_to_panels(const float *row, int64_t n, float factor, int64_t lane, float *panels);

/* to += tile^T panels, `columns` of them: row j of the tile, of `count`, weighs the panels' rows first .. first + lanes
 * - 1 by its elements of these lanes, and goes to row j of `to`, which whole spans of lanes are written to. */
void attn_i_panels_add(const attn_i_tile_kernels *kernels, const float *tile, int64_t count, int64_t first,
                       int64_t lanes, const float *panels, int64_t columns, attn_i_sum_rows to);

#endif
