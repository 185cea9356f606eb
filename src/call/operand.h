/* SPDX-License-Identifier: BSD-3-Clause
 *
 * call/operand.h: a matrix of the caller's made fit for the BLAS: used where it lies if the BLAS can read it there,
 * else copied to scratch, as it is where its numbers have 16 bits. */
#ifndef ATTN_I_CALL_OPERAND_H
#define ATTN_I_CALL_OPERAND_H

#include "call/storage.h"
#include "kernels/kernels.h"
#include "runtime/matrix.h"
#include "runtime/memory.h"

typedef struct attn_i_operand {
    attn_i_matrix source; /* where it lies */
    attn_i_matrix use;    /* what to compute with */
    int copied;
    int64_t stored; /* bytes of an element of the source */
} attn_i_operand;

/* Carves scratch if a copy is needed, which `contiguous_rows` asks for also where only columns are contiguous. */
attn_i_operand attn_i_operand_layout(attn_i_arena *arena, attn_i_matrix source, int contiguous_rows, int64_t size);

/* The same for the first matrix of a tensor that may be narrow, and for others that lie as it does: `source` may be
 * set. */
attn_i_operand attn_i_operand_layout_stored(attn_i_arena *arena, const attn_i_view *view, int contiguous_rows,
                                            const attn_i_storage *storage);
void attn_i_operand_load_stored(const attn_i_operand *operand, const attn_i_storage *storage);

/* Copies the source if that is how it is used; to be called whenever the source's elements are new. */
void attn_i_operand_load(const attn_i_operand *operand, const attn_i_kernels *kernels, int64_t size);

/* to = from, row by row; rows of `to` are contiguous. */
void attn_i_matrix_copy(attn_i_matrix from, attn_i_matrix to, const attn_i_kernels *kernels, int64_t size);

#endif
