/* SPDX-License-Identifier: BSD-3-Clause
 *
 * call/operand.c: a matrix of the caller's made fit for the BLAS. */
#include "call/operand.h"

#include "runtime/blas.h"

attn_i_operand attn_i_operand_layout(attn_i_arena *arena, attn_i_matrix source, int contiguous_rows, int64_t size)
{
    attn_i_operand operand = {.source = source, .use = source};
    operand.copied = !attn_i_blas_takes(source) || (contiguous_rows && source.column_stride != 1);
    if (operand.copied) {
        void *copy = attn_i_carve_matrix(arena, source.rows, source.columns, size);
        operand.use = attn_i_matrix_dense(copy, source.rows, source.columns);
    }
    return operand;
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
