/* SPDX-License-Identifier: BSD-3-Clause
 *
 * kernels/tile_table.c: the table of one set's kernels of tiles. */
#include "kernels/tiles.h"

const attn_i_tile_kernels KERNEL(tile_table) = {
    .products = KERNEL(products),
    .weights = KERNEL(weights),
    .gradients = KERNEL(gradients),
    .context = KERNEL(context),
    .tile_scale = KERNEL(tile_scale),
    .tile_softcap = KERNEL(tile_softcap),
    .tile_add = KERNEL(tile_add),
    .tile_add_diagonals = KERNEL(tile_add_diagonals),
    .tile_sum_diagonals = KERNEL(tile_sum_diagonals),
    .tile_alibi = KERNEL(tile_alibi),
    .tile_mask = KERNEL(tile_mask),
    .tile_edges = KERNEL(tile_edges),
    .tile_cap_gradient = KERNEL(tile_cap_gradient),
    .tile_drop = KERNEL(tile_drop),
    .tile_gradient = KERNEL(tile_gradient),
    .tile_maximum = KERNEL(tile_maximum),
    .tile_exponentials = KERNEL(tile_exponentials),
    .tile_measure = KERNEL(tile_measure),
    .tile_find = KERNEL(tile_find),
    .tile_multiply = KERNEL(tile_multiply),
    .to_lanes = KERNEL(to_lanes),
    .from_lanes = KERNEL(from_lanes),
    .double_exponentials = KERNEL(double_exponentials),
    .double_exponentials_less_one = KERNEL(double_exponentials_less_one),
    .factored_tanh = KERNEL(factored_tanh),
    .factored_tanh_gradients = KERNEL(factored_tanh_gradients),
    .row_maximum = KERNEL(row_maximum),
    .row_exponentials = KERNEL(row_exponentials),
    .row_measure = KERNEL(row_measure),
    .row_weights = KERNEL(row_weights),
    .mask_count = KERNEL(mask_count),
    .mask_row = KERNEL(mask_row),
};
