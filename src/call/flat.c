/* SPDX-License-Identifier: BSD-3-Clause
 *
 * call/flat.c: a tensor [.., T, D] as one matrix of rows. */
#include "call/flat.h"

#include "runtime/blas.h"

/* The distance between rows, in *step; 0 if there is no such. */
static int rows_are_even(const attn_i_view *view, int64_t *step)
{
    int64_t rows = 1;
    *step = 0;
    for (int d = 2; d >= 0; d--) {
        if (view->shape[d] == 1) continue;
        if (rows == 1) *step = view->stride[d];
        if (rows > 1 && view->stride[d] != rows * *step) return 0;
        rows *= view->shape[d];
    }
    return 1;
}

attn_i_flat attn_i_flat_layout(attn_i_arena *arena, const attn_i_view *view, int64_t block, int contiguous_rows,
                               const attn_i_storage *storage)
{
    attn_i_flat flat = {.view = *view, .columns = view->shape[3], .size = storage->size};
    int64_t step;
    flat.rows = view->shape[0] * view->shape[1] * view->shape[2];
    flat.copied = !rows_are_even(view, &step) || attn_i_is_narrow(storage, view);
    flat.all = (attn_i_matrix){view->data, flat.rows, flat.columns, step, view->stride[3]};
    flat.copied |= !attn_i_blas_takes(flat.all) || (contiguous_rows && flat.columns > 1 && view->stride[3] != 1);
    if (flat.copied) flat.copy = attn_i_carve_matrix(arena, block, flat.columns, flat.size);
    return flat;
}

attn_i_matrix attn_i_flat_block(const attn_i_flat *flat, int64_t first, int64_t count)
{
    if (flat->copied) return attn_i_matrix_dense(flat->copy, count, flat->columns);
    return attn_i_matrix_rows(flat->all, first, count, flat->size);
}

static char *row_at(const attn_i_view *view, int64_t row)
{
    const int64_t t = row % view->shape[2], above = row / view->shape[2];
    return attn_i_view_at(view, above / view->shape[1], above % view->shape[1]) + t * view->stride[2] * view->size;
}

void attn_i_flat_load(const attn_i_flat *flat, const attn_i_storage *storage, int64_t first, int64_t count)
{
    for (int64_t i = 0; i < count && flat->copied; i++) {
        attn_i_row_load(storage, &flat->view, row_at(&flat->view, first + i),
                        flat->copy + i * flat->columns * flat->size);
    }
}

void attn_i_flat_store(const attn_i_flat *flat, const attn_i_storage *storage, int64_t first, int64_t count)
{
    for (int64_t i = 0; i < count && flat->copied; i++) {
        attn_i_row_store(storage, &flat->view, flat->copy + i * flat->columns * flat->size,
                         row_at(&flat->view, first + i));
    }
}
