/* SPDX-License-Identifier: BSD-3-Clause
 *
 * call/sinks.h: the sink of each query head, a logit in the softmax that has no key, and its gradient. A row's softmax
 * is made of its keys first; then what the sink adds to the sum of the weights is told here. */
#ifndef ATTN_I_CALL_SINKS_H
#define ATTN_I_CALL_SINKS_H

#include "call/gradient.h"

/* Of a query head, divided by the temperature; minus infinity if there is none. */
double attn_i_sink(const attn_i_problem *problem, int64_t head);

/* The same as an exponent of 2. */
double attn_i_sink_exponent(const attn_i_problem *problem, int64_t head);

/* The sum of a row's weights, which are relative to 2^exponent, together with the sink's. */
double attn_i_sum_with_sink(double sum, double exponent, double sink_exponent);

/* Its logarithm, as they are themselves: to base 2, and the natural one. Minus infinity for a sum of 0 and no sink. */
double attn_i_log2_with_sink(double sum, double exponent, double sink_exponent);
double attn_i_log_with_sink(double sum, double exponent, double sink_exponent);

/* Where the gradient of the sinks is wanted, writes it or adds to it. Needs no scratch. */
void attn_i_sink_gradients(const attn_i_gradient *gradient);

#endif
