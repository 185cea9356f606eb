/* SPDX-License-Identifier: BSD-3-Clause
 *
 * layer_norm.c: see layer_norm.h. */
#include "model/layer_norm.h"

#include "model/vectorised.h"

layer_norm layer_norm_create(parameter_set *set, int columns, const char *name)
{
    return (layer_norm){parameters_add(set, START_ONE, 1, columns, "%s.weight", name),
                        parameters_add(set, START_ZERO, 1, columns, "%s.bias", name)};
}

VECTORISED static void forward(size_t rows, size_t columns, const real *x, const real *weight, const real *bias,
                               real *restrict moments, real *restrict y)
{
    for (size_t r = 0; r < rows; r++, x += columns, y += columns) {
        real sum = 0, squares = 0;
#pragma omp simd reduction(+ : sum)
        for (size_t c = 0; c < columns; c++) sum += x[c];
        const real mean = sum / (real)columns;
#pragma omp simd reduction(+ : squares)
        for (size_t c = 0; c < columns; c++) squares += (x[c] - mean) * (x[c] - mean);
        const real factor = 1 / real_sqrt(squares / (real)columns + (real)1e-5);
#pragma omp simd
        for (size_t c = 0; c < columns; c++) y[c] = weight[c] * ((x[c] - mean) * factor) + bias[c];
        moments[2 * r] = mean, moments[2 * r + 1] = factor;
    }
}

/* With z the normalised row and g = weight dy: dx = (g - mean(g) - z mean(g z)) / sqrt(variance + 1e-5). */
VECTORISED static void backward(size_t rows, size_t columns, const real *x, const real *moments, const real *weight,
                                const real *dy, real *restrict d_weight, real *restrict d_bias, real *restrict dx)
{
    for (size_t r = 0; r < rows; r++, x += columns, dy += columns, dx += columns) {
        const real mean = moments[2 * r], factor = moments[2 * r + 1];
        real of_g = 0, of_gz = 0;
#pragma omp simd reduction(+ : of_g, of_gz)
        for (size_t c = 0; c < columns; c++) {
            const real z = (x[c] - mean) * factor, g = weight[c] * dy[c];
            of_g += g, of_gz += g * z;
            d_weight[c] += dy[c] * z;
            d_bias[c] += dy[c];
        }
        of_g /= (real)columns, of_gz /= (real)columns;
#pragma omp simd
        for (size_t c = 0; c < columns; c++) {
            const real z = (x[c] - mean) * factor;
            dx[c] += factor * (weight[c] * dy[c] - of_g - z * of_gz);
        }
    }
}

layer_norm_walk layer_norm_forward(pass *p, const layer_norm *norm, int rows, const real *x)
{
    const size_t columns = (size_t)norm->weight->columns;
    layer_norm_walk walk = {.rows = rows, .x = x};
    walk.y = pass_reals(p, (size_t)rows * columns);
    walk.moments = pass_reals(p, 2 * (size_t)rows);
    forward((size_t)rows, columns, x, pass_value(p, norm->weight), pass_value(p, norm->bias), walk.moments, walk.y);
    return walk;
}

void layer_norm_backward(const pass *p, const layer_norm *norm, const layer_norm_walk *walk, const real *dy, real *dx)
{
    backward((size_t)walk->rows, (size_t)norm->weight->columns, walk->x, walk->moments, pass_value(p, norm->weight), dy,
             pass_gradient(p, norm->weight), pass_gradient(p, norm->bias), dx);
}
