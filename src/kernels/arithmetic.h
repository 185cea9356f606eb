/* SPDX-License-Identifier: BSD-3-Clause
 *
 * kernels/arithmetic.h: what the products of a tile are made of: float32, which any type is widened to, or a type that
 * the CPU multiplies as it is kept. Whoever passes over tiles asks a table for them and does not know which it is. */
#ifndef ATTN_I_KERNELS_ARITHMETIC_H
#define ATTN_I_KERNELS_ARITHMETIC_H

#include "kernels/stored.h"

/* `near` rows are rows of elements of `size` bytes, as they are multiplied; `first` is the first of them that is meant.
 */
typedef struct attn_i_tile_arithmetic {
    int64_t size; /* of an element of queries, keys and values, in bytes */
    int rounds;   /* weights are rounded: row `dim` of a context is the sum of what they became */
    /* Queries to lanes: each has depth elements, times the factor, row l at rows[l], l < lanes. In `to`, [depth + 1]
     * [LANES], they are as products take them. */
    void (*load_queries)(int64_t lanes, int64_t depth, const void *const *rows, float factor, float *to);
    /* to[j LANES + l] = the product of key first + j with lane l, j < count. */
    void (*products)(int64_t depth, const float *queries, attn_i_stored_rows keys, int64_t first, int64_t count,
                     attn_i_spans spans, float *to);
    /* See attn_i_tile_kernels. */
    int (*weights)(int64_t depth, const float *queries, attn_i_stored_rows keys, int64_t first, int64_t count,
                   attn_i_spans spans, const attn_i_exponent *exponent, const attn_i_lanes *state, int edges,
                   attn_i_fetch *fetch, float *to);
    /* Values as a context takes them, into `to`, [count] [dim] float32 or less: from near rows, NULL where they are
     * taken as they are; and from rows of float32 that any element of such a type can be. */
    attn_i_stored_rows (*load_values)(int64_t count, attn_i_stored_rows values, int64_t dim, float *to);
    attn_i_stored_rows (*load_floats)(int64_t count, attn_i_rows values, int64_t dim, float *to);
    /* context[d LANES + l] += sum over j < count of values[first + j][d] weights[j LANES + l], d < dim, and sum[l]
     * likewise. `first` is even. What is in `weights` may be of no use afterwards. */
    void (*context)(int64_t count, float *weights, attn_i_stored_rows values, int64_t first, int64_t dim,
                    attn_i_spans spans, float *context, float *sum);
} attn_i_tile_arithmetic;

#endif
