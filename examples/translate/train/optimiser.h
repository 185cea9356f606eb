/* SPDX-License-Identifier: BSD-3-Clause
 *
 * optimiser.h: Adam (Kingma and Ba 2015, algorithm 1; beta 0.9 and 0.999, epsilon 1e-8), and what is done to a gradient
 * before it. */
#ifndef TRANSLATE_OPTIMISER_H
#define TRANSLATE_OPTIMISER_H

#include "model/real.h"

#include <stddef.h>

/* Adds the gradients of shards 1 .. shards - 1 to that of shard 0, in their order. */
void gradients_join(size_t count, int shards, real *const *gradients);

/* The gradient's Euclidean norm; where it is greater than most (not 0), the gradient is scaled down to most. */
double gradient_clip(size_t count, real *gradient, double most);

/* The rate of learning at a step, from 0: it rises to most in the first warmup steps, and falls to a fiftieth of that
 * by the last of all steps, as a cosine. */
double learning_rate(double most, long warmup, long steps, long step);

/* Step number step, from 1, with moments [count] that were zeros before the first. */
void adam_step(size_t count, real *value, const real *gradient, real *first, real *second, double rate, long step);

#endif
