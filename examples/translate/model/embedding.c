/* SPDX-License-Identifier: BSD-3-Clause
 *
 * embedding.c: see embedding.h. */
#include "model/embedding.h"

int *words_by_time(pass *p, int rows, int length, const int *words)
{
    int *turned = pass_ints(p, (size_t)rows * (size_t)length);
    for (int t = 0; t < length; t++) {
        for (int r = 0; r < rows; r++) turned[t * rows + r] = words[r * length + t];
    }
    return turned;
}

void embedding_forward(const pass *p, const parameter *table, size_t count, const int *words, real factor, real *to)
{
    const size_t columns = (size_t)table->columns;
    for (size_t i = 0; i < count; i++) {
        const real *row = pass_value(p, table) + (size_t)words[i] * columns;
        for (size_t c = 0; c < columns; c++) to[i * columns + c] = factor * row[c];
    }
}

void embedding_backward(const pass *p, const parameter *table, size_t count, const int *words, real factor,
                        const real *d_to)
{
    const size_t columns = (size_t)table->columns;
    for (size_t i = 0; i < count; i++) {
        real *row = pass_gradient(p, table) + (size_t)words[i] * columns;
        for (size_t c = 0; c < columns; c++) row[c] += factor * d_to[i * columns + c];
    }
}
