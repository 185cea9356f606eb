/* SPDX-License-Identifier: BSD-3-Clause
 *
 * tiles/key_sums.h: sums of weights by key. What a row's weights are divided by is known when its pass is through, and
 * not before; so they are made once more, a run of keys against all tiles of its queries, which nobody else adds to. */
#ifndef ATTN_I_TILES_KEY_SUMS_H
#define ATTN_I_TILES_KEY_SUMS_H

#include "tiles/pass.h"
#include "tiles/stats.h"

enum { ATTN_I_SUMMED_TILES = 4 }; /* of keys, whose sums one item makes, at most */

/* Beside the scratch of a pass. */
typedef struct attn_i_key_sums_scratch {
    double *sums;    /* [group][keys of an item] */
    float *selector; /* [LANES][LANES]: what each lane counts for each head */
    float *products; /* [TILE_KEYS][LANES] */
} attn_i_key_sums_scratch;

attn_i_key_sums_scratch attn_i_key_sums_scratch_layout(const attn_i_tile_plan *plan, int64_t keys, attn_i_arena *arena);

/* Adds the weights of a tile of queries, those of the keys of work, to sums that are `stride` from head to head of the
 * group. norms: of each lane. is_great: some are of great scores. */
void attn_i_tile_key_sums(const attn_i_tile_plan *plan, const attn_i_tile_scratch *scratch,
                          const attn_i_key_sums_scratch *own, const attn_i_tile_work *work,
                          const attn_i_row_norm *norms, int is_great, int64_t stride);

#endif
