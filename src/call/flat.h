/* SPDX-License-Identifier: BSD-3-Clause
 *
 * call/flat.h: a tensor [.., T, D] as one matrix of rows, taken a block at a time: where it lies, if its rows are
 * evenly apart and the BLAS can use them there, else, and where its numbers have 16 bits, by way of a copy of the
 * block. */
#ifndef ATTN_I_CALL_FLAT_H
#define ATTN_I_CALL_FLAT_H

#include "call/storage.h"
#include "handles/tensor.h"
#include "runtime/memory.h"

typedef struct attn_i_flat {
    attn_i_view view;
    int64_t rows, columns;
    int copied;
    attn_i_matrix all; /* of all rows, unless copied */
    char *copy;        /* room for a block, of what is computed with */
    int64_t size;      /* of an element of that, in bytes */
} attn_i_flat;

/* Carves room for `block` rows if they must be copied, which `contiguous_rows` asks for where rows are not contiguous,
 * also if the BLAS could read them. The view's rows can be counted. */
attn_i_flat attn_i_flat_layout(attn_i_arena *arena, const attn_i_view *view, int64_t block, int contiguous_rows,
                               const attn_i_storage *storage);

/* Rows first .. first + count - 1 as the BLAS takes them. Of a copy nothing is in there before it is loaded, and
 * nothing in the tensor before it is stored; both do nothing without a copy. */
attn_i_matrix attn_i_flat_block(const attn_i_flat *flat, int64_t first, int64_t count);
void attn_i_flat_load(const attn_i_flat *flat, const attn_i_storage *storage, int64_t first, int64_t count);
void attn_i_flat_store(const attn_i_flat *flat, const attn_i_storage *storage, int64_t first, int64_t count);

#endif
