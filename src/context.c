/* SPDX-License-Identifier: BSD-3-Clause
 *
 * context.c: weights times values, a tile of keys at a time. A weight of 0 does not keep an infinite or NaN value out
 * of a matrix product. Such values are rare, so the product is taken as if there were none; when a row that does not
 * see everything comes out not finite, it is taken again with 0 in their place, and what is not finite is added to the
 * rows that do see it. The two products have the same shapes, hence the same bits wherever no such value was. */
#include "context.h"

#include "runtime/blas.h"
#include "runtime/size.h"

/* Large enough to cost a product nothing, small enough for a copy of the values. */
enum { KEY_TILE = 2048 };

attn_i_context_scratch attn_i_context_layout(const attn_i_problem *p, attn_i_arena *arena)
{
    const int64_t keys = attn_i_min(p->keys, KEY_TILE);
    return (attn_i_context_scratch){attn_i_carve_matrix(arena, keys, p->value_dim, p->size),
                                    attn_i_carve(arena, keys, 1)};
}

/* A copy of the tile without what is not finite, lying as the tile does: the BLAS may sum in another order otherwise.
 */
static attn_i_matrix clean(const attn_i_problem *p, const attn_i_context_scratch *scratch, attn_i_matrix tile)
{
    attn_i_matrix copy = attn_i_matrix_dense(scratch->values, tile.rows, tile.columns);
    if (tile.column_stride != 1) {
        copy = attn_i_matrix_transpose(attn_i_matrix_dense(scratch->values, tile.columns, tile.rows));
    }
    for (int64_t j = 0; j < tile.rows; j++) {
        scratch->finite[j] = (unsigned char)p->kernels->gather_finite(
            tile.columns, tile.data + j * tile.row_stride * p->size, tile.column_stride,
            copy.data + j * copy.row_stride * p->size, copy.column_stride);
    }
    return copy;
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

static void multiply(const attn_i_problem *p, const attn_i_context_scratch *scratch, attn_i_matrix weights,
                     attn_i_matrix values, attn_i_matrix contexts, int cleaned)
{
    for (int64_t first = 0; first == 0 || first < values.rows; first += KEY_TILE) {
        const int64_t keys = attn_i_min(values.rows - first, KEY_TILE);
        attn_i_matrix part = attn_i_matrix_columns(weights, first, keys, p->size);
        attn_i_matrix tile = attn_i_matrix_rows(values, first, keys, p->size);
        attn_i_blas_multiply(p->dtype, part, cleaned ? clean(p, scratch, tile) : tile, contexts, first > 0);
    }
    for (int64_t first = 0; cleaned && first < values.rows; first += KEY_TILE) {
        const int64_t keys = attn_i_min(values.rows - first, KEY_TILE);
        attn_i_matrix tile = attn_i_matrix_rows(values, first, keys, p->size);
        if (values.rows > KEY_TILE) clean(p, scratch, tile); /* to know again which are not finite */
        add_what_is_not_finite(p, scratch, attn_i_matrix_columns(weights, first, keys, p->size), tile, contexts);
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
