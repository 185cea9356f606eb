/* SPDX-License-Identifier: BSD-3-Clause
 *
 * call/target.c: a matrix of the caller's in which gradients are summed. */
#include "call/target.h"

#include "runtime/blas.h"

#include <string.h>

attn_i_target attn_i_target_layout(attn_i_arena *arena, attn_i_matrix to, int64_t size)
{
    attn_i_target target = {.to = to, .use = to};
    if (to.data == NULL) return target;
    target.copied = !attn_i_blas_takes(to) || (to.column_stride != 1 && to.columns > 1);
    if (target.copied) {
        void *scratch = attn_i_carve_matrix(arena, to.rows, to.columns, size);
        target.use = attn_i_matrix_dense(scratch, to.rows, to.columns);
    }
    return target;
}

void attn_i_target_move(attn_i_target *target, char *data)
{
    target->to.data = data;
    if (!target->copied) target->use.data = data;
}

void attn_i_target_begin(const attn_i_target *target, int accumulate, const attn_i_kernels *kernels, int64_t size)
{
    const attn_i_matrix use = target->use;
    if (target->to.data == NULL || (accumulate && !target->copied)) return;
    for (int64_t i = 0; i < use.rows; i++)
        kernels->fill(use.columns, 0, attn_i_matrix_row(use, i, size), use.column_stride);
}

void attn_i_target_end(const attn_i_target *target, int accumulate, const attn_i_kernels *kernels, int64_t size)
{
    const attn_i_matrix use = target->use, to = target->to;
    if (to.data == NULL || !target->copied) return;
    for (int64_t i = 0; i < use.rows; i++) {
        if (accumulate)
            kernels->add_to(use.columns, attn_i_matrix_row(use, i, size), attn_i_matrix_row(to, i, size),
                            to.column_stride);
        if (!accumulate)
            kernels->scatter(use.columns, attn_i_matrix_row(use, i, size), attn_i_matrix_row(to, i, size),
                             to.column_stride);
    }
}

/* Zero has no bits, of whatever type it is. */
static void clear_row(char *row, int64_t n, int64_t stride, int64_t size)
{
    if (stride == 1) memset(row, 0, (size_t)(n * size));
    for (int64_t k = 0; k < n && stride != 1; k++) memset(row + k * stride * size, 0, (size_t)size);
}

void attn_i_target_clear(const attn_i_view *view, int accumulate)
{
    const int64_t *n = view->shape;
    if (accumulate || attn_i_view_is_empty(view)) return;
    for (int64_t i = 0; i < n[0]; i++) {
        for (int64_t j = 0; j < n[1]; j++) {
            for (int64_t k = 0; k < n[2]; k++) {
                clear_row(attn_i_view_at(view, i, j) + k * view->stride[2] * view->size, n[3], view->stride[3],
                          view->size);
            }
        }
    }
}
