/* SPDX-License-Identifier: BSD-3-Clause
 *
 * call/target.c: a matrix of the caller's in which gradients are summed. */
#include "call/target.h"

#include "runtime/blas.h"

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

static char *row(attn_i_matrix m, int64_t i, int64_t size)
{
    return m.data + i * m.row_stride * size;
}

void attn_i_target_begin(const attn_i_target *target, int accumulate, const attn_i_kernels *kernels, int64_t size)
{
    const attn_i_matrix use = target->use;
    if (target->to.data == NULL || (accumulate && !target->copied)) return;
    for (int64_t i = 0; i < use.rows; i++) kernels->fill(use.columns, 0, row(use, i, size), use.column_stride);
}

void attn_i_target_end(const attn_i_target *target, int accumulate, const attn_i_kernels *kernels, int64_t size)
{
    const attn_i_matrix use = target->use, to = target->to;
    if (to.data == NULL || !target->copied) return;
    for (int64_t i = 0; i < use.rows; i++) {
        if (accumulate) kernels->add_to(use.columns, row(use, i, size), row(to, i, size), to.column_stride);
        if (!accumulate) kernels->scatter(use.columns, row(use, i, size), row(to, i, size), to.column_stride);
    }
}

void attn_i_target_clear(const attn_i_view *view, int accumulate, const attn_i_kernels *kernels)
{
    const int64_t *n = view->shape;
    if (accumulate || attn_i_view_is_empty(view)) return;
    for (int64_t i = 0; i < n[0]; i++) {
        for (int64_t j = 0; j < n[1]; j++) {
            for (int64_t k = 0; k < n[2]; k++) {
                kernels->fill(n[3], 0, attn_i_view_at(view, i, j) + k * view->stride[2] * view->size, view->stride[3]);
            }
        }
    }
}
