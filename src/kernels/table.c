/* SPDX-License-Identifier: BSD-3-Clause
 *
 * kernels/table.c: the table of one set of kernels. */
#include "kernels/real.h"

#define STRING_OF(x) #x
#define STRING(x)    STRING_OF(x)

const attn_i_kernels KERNEL(table) = {
    .name = STRING(ATTN_I_SET),
    .gather = KERNEL(gather),
    .scatter = KERNEL(scatter),
    .move = KERNEL(move),
    .fill = KERNEL(fill),
    .scale = KERNEL(scale),
    .softcap = KERNEL(softcap),
    .add_bias = KERNEL(add_bias),
    .add_alibi = KERNEL(add_alibi),
    .hide = KERNEL(hide),
    .softmax = KERNEL(softmax),
    .hardmax = KERNEL(hardmax),
    .measure = KERNEL(measure),
    .add_to_sums = KERNEL(add_to_sums),
    .tanh_scores = KERNEL(tanh_scores),
    .tanh_gradient = KERNEL(tanh_gradient),
    .angles = KERNEL(angles),
    .turn = KERNEL(turn),
    .drop = KERNEL(drop),
    .weights_again = KERNEL(weights_again),
    .weighted_sum = KERNEL(weighted_sum),
    .softmax_gradient = KERNEL(softmax_gradient),
    .cap_gradient = KERNEL(cap_gradient),
    .alibi_gradient = KERNEL(alibi_gradient),
    .add_to = KERNEL(add_to),
    .add_sum = KERNEL(add_sum),
    .tanh_gradients = KERNEL(tanh_gradients),
    .dots = KERNEL(dots),
    .add_rows = KERNEL(add_rows),
    .add_outer = KERNEL(add_outer),
    .multiply = KERNEL(multiply),
    .column_maximum = KERNEL(column_maximum),
    .column_exponentials = KERNEL(column_exponentials),
    .column_gradient = KERNEL(column_gradient),
    .is_finite = KERNEL(is_finite),
    .gather_finite = KERNEL(gather_finite),
    .add_not_finite = KERNEL(add_not_finite),
    .is_unseen = KERNEL(is_unseen),
};
