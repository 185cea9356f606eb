/* SPDX-License-Identifier: BSD-3-Clause
 *
 * dense.h: y = x W^T + b, by the BLAS. A layer may be a run of columns of W: several inputs, joined, are then several
 * products with one parameter. */
#ifndef TRANSLATE_DENSE_H
#define TRANSLATE_DENSE_H

#include "model/pass.h"

#include <stdbool.h>

/* C = A B (or with either transposed) + keep C, sizes as in BLAS; nothing happens to sizes of 0. */
void dense_product(bool a_turned, bool b_turned, int rows, int columns, int depth, const real *a, int a_stride,
                   const real *b, int b_stride, real keep, real *c, int c_stride);

/* Columns first .. first + inputs - 1 of weight [outputs, ..]. */
typedef struct dense {
    const parameter *weight, *bias; /* bias [outputs], or NULL */
    int first, inputs, outputs;
} dense;

dense dense_all(const parameter *weight, const parameter *bias);
dense dense_part(const parameter *weight, int first, int inputs);

/* y [rows, outputs] = x [rows, inputs] W^T + b, or += where it is to be added (then without b). Rows are x_stride and
 * y_stride apart. */
void dense_forward(const pass *p, const dense *layer, int rows, const real *x, int x_stride, bool add, real *y,
                   int y_stride);

/* dx = dy W, or += ; NULL: not wanted. */
void dense_backward_input(const pass *p, const dense *layer, int rows, const real *dy, int dy_stride, bool add,
                          real *dx, int dx_stride);
/* dW += dy^T x, db += sum of dy. */
void dense_backward_weight(const pass *p, const dense *layer, int rows, const real *dy, int dy_stride, const real *x,
                           int x_stride);

#endif
