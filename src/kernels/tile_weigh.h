/* SPDX-License-Identifier: BSD-3-Clause
 *
 * kernels/tile_weigh.h: a block of products, just written, becomes weights. */
#ifndef ATTN_I_KERNELS_TILE_WEIGH_H
#define ATTN_I_KERNELS_TILE_WEIGH_H

#include "kernels/tile_math.h"

/* key: of the first row, as the lanes count keys. plain: the exponents are the products. */
static ALWAYS_INLINE bits_vec weigh_block(int rows, int64_t lane, int64_t end, const attn_i_exponent *exponent,
                                          const attn_i_lanes *state, int32_t key, int plain, int edges, float *tile,
                                          bits_vec powers)
{
    for (; lane < end; lane += WIDTH) {
        const vec reference = load(state->reference + lane), floor = reference - splat(ATTN_I_ROOM);
        const vec offset = power_offset(reference);
        UNROLL for (int r = 0; r < rows; r++)
        {
            float *place = tile + r * ATTN_I_LANES + lane;
            vec x = load(place);
            if (!plain && exponent->cap != 0) x = splat(exponent->cap) * vec_tanh(x);
            if (!plain && exponent->slope != NULL) {
                x -= load(exponent->slope + lane) * magnitude(load(exponent->distance + lane) + (float)(key + r));
            }
            truth unseen = {0};
            if (edges) {
                unseen = unseen_by(state, lane, key + r);
                x = choose(unseen, floor, x);
            }
            const vec weight = power_above(x, floor, offset, &powers);
            store(edges ? choose(unseen, splat(0), weight) : weight, place);
        }
    }
    return powers;
}

#define WEIGH(rows) weigh_block(rows, lane, end, exponent, state, key, plain, edges, tile, powers)
static ALWAYS_INLINE bits_vec weigh_rows(int64_t rows, int64_t lane, int64_t end, const attn_i_exponent *exponent,
                                         const attn_i_lanes *state, int32_t key, int plain, int edges, float *tile,
                                         bits_vec powers)
{
    return rows == 6 ? WEIGH(6) : rows == 4 ? WEIGH(4) : rows == 2 ? WEIGH(2) : WEIGH(1);
}

#define WEIGH_ROWS(plain, edges) weigh_rows(rows, lane, end, exponent, state, key, plain, edges, tile, powers)
static bits_vec weigh(int64_t rows, int64_t lane, int64_t end, const attn_i_exponent *exponent,
                      const attn_i_lanes *state, int32_t key, int edges, float *tile, bits_vec powers)
{
    const int plain = exponent->cap == 0 && exponent->slope == NULL;
    if (plain) return edges ? WEIGH_ROWS(1, 1) : WEIGH_ROWS(1, 0);
    return edges ? WEIGH_ROWS(0, 1) : WEIGH_ROWS(0, 0);
}

#endif
