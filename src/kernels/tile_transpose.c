/* SPDX-License-Identifier: BSD-3-Clause
 *
 * kernels/tile_transpose.c: the kernels between rows of the caller's and lanes, by squares of WIDTH x WIDTH. */
#include "kernels/square.h"
#include "kernels/tiles.h"

/* A square at the edge: `rows` of them at `offset`, `columns` of each, zeros past them. */
static void load_edge(const float *const *rows, int64_t offset, int64_t count, int64_t columns, vec v[WIDTH])
{
    for (int64_t i = 0; i < WIDTH; i++) {
        v[i] = splat(0);
        if (i < count) v[i] = load_part(rows[i] + offset, columns, 0);
    }
}

void KERNEL(to_lanes)(int64_t lanes, int64_t n, const float *const *rows, float factor, float *tile)
{
    const int64_t end = (lanes + ATTN_I_SPAN_LANES - 1) / ATTN_I_SPAN_LANES * ATTN_I_SPAN_LANES;
    for (int64_t l = 0; l < end; l += WIDTH) {
        for (int64_t d = 0; d < n; d += WIDTH) {
            vec v[WIDTH];
            float *to = tile + d * ATTN_I_LANES + l;
            if (l + WIDTH <= lanes && d + WIDTH <= n) {
                UNROLL for (int i = 0; i < WIDTH; i++) v[i] = load(rows[l + i] + d);
                transpose(v);
                UNROLL for (int i = 0; i < WIDTH; i++) store(v[i] * factor, to + i * ATTN_I_LANES);
                continue;
            }
            load_edge(rows + l, d, lanes - l, n - d, v);
            transpose(v);
            for (int64_t i = 0; i < WIDTH && d + i < n; i++) store(v[i] * factor, to + i * ATTN_I_LANES);
        }
    }
}

void KERNEL(from_lanes)(int64_t lanes, int64_t n, const float *tile, const float *factor, float *const *rows)
{
    for (int64_t l = 0; l < lanes; l += WIDTH) {
        const vec f = load(factor + l);
        for (int64_t d = 0; d < n; d += WIDTH) {
            vec v[WIDTH];
            const float *from = tile + d * ATTN_I_LANES + l;
            if (l + WIDTH <= lanes && d + WIDTH <= n) {
                UNROLL for (int i = 0; i < WIDTH; i++) v[i] = load(from + i * ATTN_I_LANES) * f;
                transpose(v);
                UNROLL for (int i = 0; i < WIDTH; i++) store(v[i], rows[l + i] + d);
                continue;
            }
            for (int64_t i = 0; i < WIDTH; i++) v[i] = d + i < n ? load(from + i * ATTN_I_LANES) * f : splat(0);
            transpose(v);
            for (int64_t i = 0; i < WIDTH && l + i < lanes; i++) store_part(v[i], n - d, rows[l + i] + d);
        }
    }
}
