/* SPDX-License-Identifier: BSD-3-Clause
 *
 * layer_norm.h: rows of mean 0 and variance 1, then scaled and shifted (Ba 2016):
 *
 *     y = weight (x - mean) / sqrt(variance + 1e-5) + bias */
#ifndef TRANSLATE_LAYER_NORM_H
#define TRANSLATE_LAYER_NORM_H

#include "model/pass.h"

typedef struct layer_norm {
    const parameter *weight, *bias; /* [columns] */
} layer_norm;

layer_norm layer_norm_create(parameter_set *set, int columns, const char *name);

/* What is kept for the way back. x is borrowed, and must stay as it is until then. */
typedef struct layer_norm_walk {
    int rows;
    const real *x; /* [rows, columns] */
    real *y;       /* [rows, columns] */
    real *moments; /* [rows, 2]: the mean, 1 / sqrt(variance + 1e-5) */
} layer_norm_walk;

layer_norm_walk layer_norm_forward(pass *p, const layer_norm *norm, int rows, const real *x);

/* dx += , and the parameters' gradients. */
void layer_norm_backward(const pass *p, const layer_norm *norm, const layer_norm_walk *walk, const real *dy, real *dx);

#endif
