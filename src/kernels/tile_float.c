/* SPDX-License-Identifier: BSD-3-Clause
 *
 * kernels/tile_float.c: the arithmetic of tiles in float32. */
#include "kernels/arithmetic.h"
#include "kernels/tiles.h"

static attn_i_rows floats_from(attn_i_stored_rows rows, int64_t first)
{
    return attn_i_rows_from((attn_i_rows){rows.data, rows.stride}, first);
}

static void load_queries(int64_t lanes, int64_t depth, const void *const *rows, float factor, float *to)
{
    const float *floats[ATTN_I_LANES];
    for (int64_t l = 0; l < lanes; l++) floats[l] = rows[l];
    KERNEL(to_lanes)(lanes, depth, floats, factor, to);
}

static void products(int64_t depth, const float *queries, attn_i_stored_rows keys, int64_t first, int64_t count,
                     attn_i_spans spans, float *to)
{
    KERNEL(products)(depth, queries, floats_from(keys, first), count, spans, to, ATTN_I_LANES, 0);
}

static int weights(int64_t depth, const float *queries, attn_i_stored_rows keys, int64_t first, int64_t count,
                   attn_i_spans spans, const attn_i_exponent *exponent, const attn_i_lanes *state, int edges,
                   attn_i_fetch *fetch, float *to)
{
    return KERNEL(weights)(depth, queries, floats_from(keys, first), count, spans, exponent, state, first, edges, fetch,
                           to);
}

static attn_i_stored_rows load_floats(int64_t count, attn_i_rows values, int64_t dim, float *to)
{
    (void)count, (void)dim, (void)to;
    return (attn_i_stored_rows){values.data, values.stride, 0};
}

static void context(int64_t count, float *weights_, attn_i_stored_rows values, int64_t first, int64_t dim,
                    attn_i_spans spans, float *to, float *sum)
{
    KERNEL(context)(count, weights_, floats_from(values, first), dim, spans, to, sum);
}

const attn_i_tile_arithmetic KERNEL(tile_float) = {.size = sizeof(float),
                                                   .load_queries = load_queries,
                                                   .products = products,
                                                   .weights = weights,
                                                   .load_floats = load_floats,
                                                   .context = context};
