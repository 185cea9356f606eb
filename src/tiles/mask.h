/* SPDX-License-Identifier: BSD-3-Clause
 *
 * tiles/mask.h: what a mask shows of each tile, found once for all the heads that share it. */
#ifndef ATTN_I_TILES_MASK_H
#define ATTN_I_TILES_MASK_H

#include "call/problem.h"
#include "runtime/memory.h"

typedef enum attn_i_shows { ATTN_I_NOTHING, ATTN_I_SOMETHING, ATTN_I_EVERYTHING } attn_i_shows;

typedef struct attn_i_mask_map {
    uint8_t *shows; /* [sequences][tiles of queries][tiles of keys]; NULL: no mask, or one that no heads share */
    int64_t sequences, tiles, key_tiles;
    int64_t tile_rows; /* of a tile of queries: row r is query r / group */
} attn_i_mask_map;

attn_i_mask_map attn_i_mask_map_layout(const attn_i_problem *problem, int64_t tile_rows, int64_t tiles,
                                       attn_i_arena *arena);
void attn_i_mask_map_load(const attn_i_problem *problem, const attn_i_mask_map *map);

/* Of the tile of queries that begins with this row, and the tile of keys that this key is in. */
attn_i_shows attn_i_mask_map_at(const attn_i_mask_map *map, int64_t b, int64_t first_row, int64_t key);

#endif
