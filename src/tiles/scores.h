/* SPDX-License-Identifier: BSD-3-Clause
 *
 * tiles/scores.h: a tile's queries in lanes, and its scores, modified, as exponents. */
#ifndef ATTN_I_TILES_SCORES_H
#define ATTN_I_TILES_SCORES_H

#include "tiles/view.h"

/* The prepared row of a lane. Its elements are contiguous. */
const float *attn_i_tile_query_row(const attn_i_tile_view *tile_view, int64_t lane); /* of float32 */

/* The same once they are loaded, widened if they are of another type. */
const float *attn_i_tile_query_floats(const attn_i_tile_view *tile_view, int64_t lane);

/* All of them, in lanes: scratch.queries. */
void attn_i_tile_load_queries(attn_i_tile_view *tile_view);

/* From folded products to exponents. */
void attn_i_tile_cap_folded(const attn_i_tile_plan *plan, int64_t count, attn_i_spans spans, float *tile);

/* The exponents of a piece of the tile, in scratch.tile: what is hidden is minus infinity. Writes the stages of scores
 * that are wanted. What softcap made of them, before biases, also goes to `capped` if that is not NULL. */
void attn_i_tile_scores(attn_i_tile_view *tile_view, const attn_i_tile_piece *one_piece, attn_i_shows mask,
                        float *capped);

#endif
