/* SPDX-License-Identifier: BSD-3-Clause
 *
 * call/operand.c: a matrix of the caller's made fit for the BLAS. */
#include "call/operand.h"

#include "runtime/blas.h"

static void give_room(attn_i_operand *operand, attn_i_arena *arena, int64_t size)
{
    const int64_t rows = operand->source.rows, columns = operand->source.columns;
    operand->use = attn_i_matrix_dense(attn_i_carve_matrix(arena, rows, columns, size), rows, columns);
}

attn_i_operand attn_i_operand_layout(attn_i_arena *arena, attn_i_matrix source, int contiguous_rows, int64_t size)
{
    attn_i_operand operand = {.source = source, .use = source, .stored = size};
    operand.copied = !attn_i_blas_takes(source) || (contiguous_rows && source.column_stride != 1);
    if (operand.copied) give_room(&operand, arena, size);
    return operand;
}

attn_i_operand attn_i_operand_layout_stored(attn_i_arena *arena, const attn_i_view *view, int contiguous_rows,
                                            const attn_i_storage *storage)
{
    const attn_i_matrix source = attn_i_view_matrix(view, 0, 0);
    if (!attn_i_is_narrow(storage, view)) {
        return attn_i_operand_layout(arena, source, contiguous_rows, storage->size);
    }
    attn_i_operand operand = {.source = source, .copied = 1, .stored = view->size};
    give_room(&operand, arena, storage->size);
    return operand;
}

void attn_i_operand_load_stored(const attn_i_operand *operand, const attn_i_storage *storage)
{
    const attn_i_matrix from = operand->source;
    for (int64_t i = 0; i < from.rows && operand->copied; i++) {
        attn_i_elements_load(storage, operand->stored, from.columns, attn_i_matrix_row(from, i, operand->stored),
                             from.column_stride, attn_i_matrix_row(operand->use, i, storage->size));
    }
}

void attn_i_operand_load(const attn_i_operand *operand, const attn_i_kernels *kernels, int64_t size)
{
    if (operand->copied) attn_i_matrix_copy(operand->source, operand->use, kernels, size);
}

void attn_i_matrix_copy(attn_i_matrix from, attn_i_matrix to, const attn_i_kernels *kernels, int64_t size)
{
    for (int64_t i = 0; i < from.rows; i++) {
        kernels->gather(from.columns, from.data + i * from.row_stride * size, from.column_stride,
                        to.data + i * to.row_stride * size);
    }
}
