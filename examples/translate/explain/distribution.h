/* SPDX-License-Identifier: BSD-3-Clause
 *
 * distribution.h: how far distributions of a model's numbers lie apart, and how flat one is. */
#ifndef TRANSLATE_DISTRIBUTION_H
#define TRANSLATE_DISTRIBUTION_H

#include "model/real.h"

/* total_variation and jensen_shannon of measure/correlation.h. */
double variation(const real *p, const real *q, int count);
double divergence(const real *p, const real *q, int count);

int likeliest(const real *p, int count);

/* What is told of weights: the entropy (natural logarithm), e to that (how many words are in effect looked at), and the
 * greatest. */
typedef struct flatness {
    double entropy, effective, greatest;
} flatness;

flatness flatness_of(const real *weights, int count);

#endif
