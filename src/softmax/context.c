/* SPDX-License-Identifier: BSD-3-Clause
 *
 * softmax/context.c: weights times values, a tile of keys at a time. A weight of 0 does not keep an infinite or NaN
 * value out of a matrix product. Such values are rare, so the product is taken as if there were none; when a row that
 * does not see everything comes out not finite, it is taken again with 0 in their place, and what is not finite is
 * added to the rows that do see it. The two products have the same shapes, hence the same bits wherever no such value
 * was (but for a BLAS whose sums depend on how far apart rows lie, see leading()). */
#include "softmax/context.h"

#include "runtime/blas.h"
#include "runtime/size.h"

/* Keys of a tile: enough to cost a product nothing, few enough for a copy of their values. */
enum { MOST_TILE_KEYS = 2048, LEAST_TILE_KEYS = 16, TILE_ELEMENTS = 1 << 19 };

/* The distance between the rows (or columns) of a copy: the values' own if that is not far more than they need, since
 * a BLAS may sum in another order otherwise. */
static int64_t leading(attn_i_matrix values)
{
    const int64_t least = values.column_stride == 1 ? values.columns : attn_i_min(values.rows, MOST_TILE_KEYS);
    const int64_t own = values.column_stride == 1 ? values.row_stride : values.column_stride;
    return own >= least && own <= 4 * least ? own : least;
}

static int64_t tile_keys(attn_i_matrix values)
{
    const int64_t width = attn_i_max(values.column_stride == 1 ? leading(values) : values.columns, 1);
    return attn_i_clamp(TILE_ELEMENTS / width, LEAST_TILE_KEYS, MOST_TILE_KEYS);
}

attn_i_context_scratch attn_i_context_layout(const attn_i_problem *p, attn_i_matrix values, attn_i_arena *arena)
{
    attn_i_context_scratch scratch = {.tile = tile_keys(values), .leading = leading(values)};
    const int64_t keys = attn_i_min(scratch.tile, p->keys);
    const int64_t lines = values.column_stride == 1 ? keys : values.columns;
    scratch.values = attn_i_carve_matrix(arena, lines, scratch.leading, p->size);
    scratch.finite = attn_i_carve(arena, keys, 1);
    return scratch;
}

/* A copy of the tile without what is not finite, lying as the tile does. */
static attn_i_matrix clean(const attn_i_problem *p, const attn_i_context_scratch *scratch, attn_i_matrix tile)
{
    attn_i_matrix copy = {scratch->values, tile.rows, tile.columns, scratch->leading, 1};
    if (tile.column_stride != 1) {
        copy.row_stride = 1;
        copy.column_stride = scratch->leading;
    }
    for (int64_t j = 0; j < tile.rows; j++) {
        scratch->finite[j] = (unsigned char)p->kernels->gather_finite(
            tile.columns, tile.data + j * tile.row_stride * p->size, tile.column_stride,
            copy.data + j * copy.row_stride * p->size, copy.column_stride);
    }
    return copy;
}

attn_i_matrix attn_i_context_clean(const attn_i_problem *p, const attn_i_context_scratch *scratch, attn_i_matrix tile)
{
    const attn_i_matrix copy = clean(p, scratch, tile);
    for (int64_t j = 0; j < tile.rows; j++) {
        if (!scratch->finite[j]) return copy;
    }
    return tile;
}

static void add_what_is_not_finite(const attn_i_problem *p, const attn_i_context_scratch *scratch,
                                   attn_i_matrix weights, attn_i_matrix tile, attn_i_matrix contexts)
{
    for (int64_t j = 0; j < tile.rows; j++) {
        if (scratch->finite[j]) continue;
        for (int64_t i = 0; i < weights.rows; i++) {
            const char *weight = weights.data + (i * weights.row_stride + j) * p->size;
            if (p->kernels->is_unseen(weight)) continue;
            p->kernels->add_not_finite(tile.columns, weight, tile.data + j * tile.row_stride * p->size,
                                       tile.column_stride, contexts.data + i * contexts.row_stride * p->size);
        }
    }
}

/* What is not finite is added as soon as its tile is done: it stays in its own element, whatever else is summed there.
 */
static void multiply(const attn_i_problem *p, const attn_i_context_scratch *scratch, attn_i_matrix weights,
                     attn_i_matrix values, attn_i_matrix contexts, int cleaned)
{
    for (int64_t first = 0; first == 0 || first < values.rows; first += scratch->tile) {
        const int64_t keys = attn_i_min(values.rows - first, scratch->tile);
        attn_i_matrix part = attn_i_matrix_columns(weights, first, keys, p->size);
        attn_i_matrix tile = attn_i_matrix_rows(values, first, keys, p->size);
        attn_i_blas_multiply(p->dtype, part, cleaned ? clean(p, scratch, tile) : tile, contexts, first > 0);
        if (cleaned) add_what_is_not_finite(p, scratch, part, tile, contexts);
    }
}

void attn_i_context_compute(const attn_i_problem *p, const attn_i_context_scratch *scratch, attn_i_matrix weights,
                            const unsigned char *seen, attn_i_matrix values, attn_i_matrix contexts)
{
    int poisoned = 0;
    multiply(p, scratch, weights, values, contexts, 0);
    for (int64_t i = 0; i < contexts.rows && !poisoned; i++) {
        poisoned = seen[i] != ATTN_I_SEEN_ALL &&
                   !p->kernels->is_finite(contexts.columns, contexts.data + i * contexts.row_stride * p->size);
    }
    if (poisoned) multiply(p, scratch, weights, values, contexts, 1);
}
