/* SPDX-License-Identifier: BSD-3-Clause
 *
 * tiles/output.h: from lanes to the caller's tensors. */
#ifndef ATTN_I_TILES_OUTPUT_H
#define ATTN_I_TILES_OUTPUT_H

#include "tiles/pass.h"

/* Writes the tile's scores, those of keys, where the scores of this stage are wanted. ATTN_SCORES_WEIGHTS means
 * exponents that attn_i_tile_finish will turn into weights. */
void attn_i_tile_write(const attn_i_tile_plan *plan, const attn_i_tile_scratch *scratch, const attn_i_tile_work *work,
                       attn_i_span keys, attn_scores_stage stage);

/* Columns first .. first + n - 1 of an output with a row for each query, from the n rows of a tile, each lane times its
 * factor; they are added to what is there if `accumulate`. */
void attn_i_tile_write_lanes(const attn_i_tile_plan *plan, const attn_i_tile_scratch *scratch,
                             const attn_i_tile_work *work, const attn_i_view *output, int64_t first, int64_t n,
                             const float *tile, const float *factor, int accumulate);

/* Lanes whose score for a key is minus infinity, though the weight that is made with the product is not 0 then:
 * hidden[l] = 1, of the work's rows. */
void attn_i_tile_find_hidden(const attn_i_tile_plan *plan, const attn_i_tile_scratch *scratch,
                             const attn_i_tile_work *work, int64_t key, unsigned char hidden[ATTN_I_LANES]);

#endif
