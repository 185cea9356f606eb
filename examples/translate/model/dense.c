/* SPDX-License-Identifier: BSD-3-Clause
 *
 * dense.c: see dense.h. */
#include "model/dense.h"

#include "model/elementwise.h"

#include <string.h>

void dense_product(bool a_turned, bool b_turned, int rows, int columns, int depth, const real *a, int a_stride,
                   const real *b, int b_stride, real keep, real *c, int c_stride)
{
    if (rows == 0 || columns == 0 || depth == 0) return;
    real_gemm(CblasRowMajor, a_turned ? CblasTrans : CblasNoTrans, b_turned ? CblasTrans : CblasNoTrans, rows, columns,
              depth, 1, a, a_stride, b, b_stride, keep, c, c_stride);
}

dense dense_all(const parameter *weight, const parameter *bias)
{
    return (dense){weight, bias, 0, weight->columns, weight->rows};
}

dense dense_part(const parameter *weight, int first, int inputs)
{
    return (dense){weight, NULL, first, inputs, weight->rows};
}

void dense_forward(const pass *p, const dense *layer, int rows, const real *x, int x_stride, bool add, real *y,
                   int y_stride)
{
    if (layer->bias != NULL && !add) {
        const real *bias = pass_value(p, layer->bias);
        for (int r = 0; r < rows; r++) {
            memcpy(y + (ptrdiff_t)r * y_stride, bias, (size_t)layer->outputs * sizeof(real));
        }
        add = true;
    }
    dense_product(false, true, rows, layer->outputs, layer->inputs, x, x_stride,
                  pass_value(p, layer->weight) + layer->first, layer->weight->columns, add ? 1 : 0, y, y_stride);
}

void dense_backward_input(const pass *p, const dense *layer, int rows, const real *dy, int dy_stride, bool add,
                          real *dx, int dx_stride)
{
    dense_product(false, false, rows, layer->inputs, layer->outputs, dy, dy_stride,
                  pass_value(p, layer->weight) + layer->first, layer->weight->columns, add ? 1 : 0, dx, dx_stride);
}

void dense_backward_weight(const pass *p, const dense *layer, int rows, const real *dy, int dy_stride, const real *x,
                           int x_stride)
{
    dense_product(true, false, layer->outputs, layer->inputs, rows, dy, dy_stride, x, x_stride, 1,
                  pass_gradient(p, layer->weight) + layer->first, layer->weight->columns);
    if (layer->bias == NULL) return;
    real *d_bias = pass_gradient(p, layer->bias);
    for (int r = 0; r < rows; r++) add_to((size_t)layer->outputs, dy + (ptrdiff_t)r * dy_stride, d_bias);
}
