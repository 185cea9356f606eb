/* SPDX-License-Identifier: BSD-3-Clause
 *
 * elementwise.h: the loops over single numbers between the products: gates, maxout, dropout, softmax with its loss. */
#ifndef TRANSLATE_ELEMENTWISE_H
#define TRANSLATE_ELEMENTWISE_H

#include "model/pass.h"

#include <stdbool.h>

/* x = tanh(x), of count numbers; and dx = dy (1 - y^2). */
void tanh_forward(size_t count, real *x);
void tanh_backward(size_t count, const real *y, const real *dy, real *dx);

/* x = max(x, 0); and dx = dy where y > 0. */
void relu_forward(size_t count, real *x);
void relu_backward(size_t count, const real *y, const real *dy, real *dx);

/* y[r][i] = max(x[r][2i], x[r][2i + 1]) (Goodfellow 2013), x [rows, 2 outputs]; and back, to all of dx. */
void maxout_forward(size_t rows, size_t outputs, const real *x, real *y);
void maxout_backward(size_t rows, size_t outputs, const real *x, const real *dy, real *dx);

/* With the pass's dropout each number becomes 0 with that probability, and is divided by 1 - dropout otherwise. What
 * comes back is what dropout_backward needs: NULL without dropout, and x is as it was. */
unsigned char *dropout_forward(pass *p, size_t count, real *x);
void dropout_backward(const pass *p, size_t count, const unsigned char *kept, real *dx);

/* logits [rows, columns] become their gradient of the loss, times scale; what comes back is the sum over rows of
 *
 *     -(1 - smoothing) log p(expected) - smoothing mean over columns of log p      (label smoothing: Szegedy 2016)
 *
 * A row whose expected is negative is padding: no loss, no gradient. *right, or NULL, has the rows added whose greatest
 * logit is the expected one, *plain the sum without smoothing. */
double cross_entropy(size_t rows, size_t columns, real *logits, const int *expected, double smoothing, double scale,
                     double *plain, long *right);

/* logits [rows, columns] become logarithms of probabilities. */
void log_softmax(size_t rows, size_t columns, real *logits);

/* to += from. */
void add_to(size_t count, const real *from, real *to);

#endif
