/* SPDX-License-Identifier: BSD-3-Clause
 *
 * runtime/matrix.h: a strided matrix, the form in which the pipeline hands work to the BLAS. Transposing one, or taking
 * a part of it, is arithmetic on the view. */
#ifndef ATTN_I_RUNTIME_MATRIX_H
#define ATTN_I_RUNTIME_MATRIX_H

#include <stdint.h>

typedef struct attn_i_matrix {
    char *data;
    int64_t rows, columns;
    int64_t row_stride, column_stride; /* in elements */
} attn_i_matrix;

static inline attn_i_matrix attn_i_matrix_dense(void *data, int64_t rows, int64_t columns)
{
    return (attn_i_matrix){data, rows, columns, columns, 1};
}

static inline attn_i_matrix attn_i_matrix_transpose(attn_i_matrix m)
{
    return (attn_i_matrix){m.data, m.columns, m.rows, m.column_stride, m.row_stride};
}

/* `count` rows from row `first`; size is that of an element. */
static inline attn_i_matrix attn_i_matrix_rows(attn_i_matrix m, int64_t first, int64_t count, int64_t size)
{
    if (count > 0) m.data += first * m.row_stride * size;
    m.rows = count;
    return m;
}

static inline attn_i_matrix attn_i_matrix_columns(attn_i_matrix m, int64_t first, int64_t count, int64_t size)
{
    return attn_i_matrix_transpose(attn_i_matrix_rows(attn_i_matrix_transpose(m), first, count, size));
}

#endif
