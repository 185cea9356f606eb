/* SPDX-License-Identifier: BSD-3-Clause
 *
 * call/target.h: a matrix of the caller's in which gradients are summed: in place if the BLAS can write there, else in
 * scratch. */
#ifndef ATTN_I_CALL_TARGET_H
#define ATTN_I_CALL_TARGET_H

#include "handles/tensor.h"
#include "kernels/kernels.h"
#include "runtime/matrix.h"
#include "runtime/memory.h"

typedef struct attn_i_target {
    attn_i_matrix to;  /* the caller's; data NULL: not wanted */
    attn_i_matrix use; /* to be added to; data NULL likewise */
    int copied;
} attn_i_target;

/* Carves scratch where it is needed. */
attn_i_target attn_i_target_layout(attn_i_arena *arena, attn_i_matrix to, int64_t size);

/* Another matrix of the same shape and strides. */
void attn_i_target_move(attn_i_target *target, char *data);

/* Before anything is added: zeros, unless the caller wants sums with what is there. And when all is. */
void attn_i_target_begin(const attn_i_target *target, int accumulate, const attn_i_kernels *kernels, int64_t size);
void attn_i_target_end(const attn_i_target *target, int accumulate, const attn_i_kernels *kernels, int64_t size);

/* All of a tensor of gradients that nothing flows into: zeros, or with `accumulate` what is there. Takes no time where
 * there is no such tensor or it has no elements, however great its other dimensions are. */
void attn_i_target_clear(const attn_i_view *view, int accumulate);

#endif
