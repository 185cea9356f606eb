/* SPDX-License-Identifier: BSD-3-Clause
 *
 * tiles/mask.c: what a mask shows of each tile. */
#include "tiles/mask.h"

#include "runtime/size.h"

/* One element of a mask, beside the operations that attn_i_parallel counts: so many are one. */
enum { VECTOR_ELEMENTS = 16 };

attn_i_mask_map attn_i_mask_map_layout(const attn_i_problem *p, int64_t tile_rows, int64_t tiles, attn_i_arena *arena)
{
    const attn_i_view *mask = &p->mask;
    attn_i_mask_map map = {.tile_rows = tile_rows, .tiles = tiles};
    if (mask->data == NULL || mask->stride[1] != 0 || p->mask_columns > 0) return map;
    map.sequences = mask->stride[0] == 0 ? 1 : p->batch;
    map.key_tiles = attn_i_divide_up(p->keys, ATTN_I_TILE_KEYS);
    if (map.sequences == p->batch * p->key_heads) return map;
    map.shows = attn_i_carve_matrix(arena, map.sequences * tiles, map.key_tiles, 1);
    return map;
}

typedef struct job {
    const attn_i_problem *p;
    const attn_i_mask_map *map;
} job;

static void summarise(void *data, int64_t item)
{
    const job *j = data;
    const attn_i_mask_map *map = j->map;
    const attn_i_problem *p = j->p;
    const int64_t tile = item % map->tiles, first_row = tile * map->tile_rows;
    const int64_t last_row = attn_i_min(first_row + map->tile_rows, p->group * p->queries) - 1;
    const int64_t first = first_row / p->group, end = last_row / p->group + 1;
    const uint8_t *mask = (const uint8_t *)attn_i_view_at(&p->mask, item / map->tiles, 0);
    for (int64_t k = 0; k < map->key_tiles; k++) {
        const int64_t key = k * ATTN_I_TILE_KEYS, n = attn_i_min(p->keys - key, ATTN_I_TILE_KEYS);
        int64_t ones = 0;
        for (int64_t i = first; i < end; i++) {
            const uint8_t *row = mask + i * p->mask.stride[2] + key * p->mask.stride[3];
            ones += p->engine->tile_kernels->mask_count(n, row, p->mask.stride[3]);
        }
        map->shows[item * map->key_tiles + k] = (uint8_t)(ones == 0                   ? ATTN_I_NOTHING
                                                          : ones == n * (end - first) ? ATTN_I_EVERYTHING
                                                                                      : ATTN_I_SOMETHING);
    }
}

void attn_i_mask_map_load(const attn_i_problem *p, const attn_i_mask_map *map)
{
    job j = {p, map};
    if (map->shows == NULL) return;
    attn_i_parallel(p->engine->pool, map->sequences * map->tiles,
                    map->sequences * p->queries * p->keys / VECTOR_ELEMENTS, summarise, &j);
}

attn_i_shows attn_i_mask_map_at(const attn_i_mask_map *map, int64_t b, int64_t first_row, int64_t key)
{
    const int64_t sequence = map->sequences == 1 ? 0 : b, tile = first_row / map->tile_rows;
    return map->shows[(sequence * map->tiles + tile) * map->key_tiles + key / ATTN_I_TILE_KEYS];
}
