/* SPDX-License-Identifier: BSD-3-Clause
 *
 * scaling.h: why scores are divided by sqrt(d) (Vaswani 2017, section 3.2.1, footnote 4): the variance of q.k grows
 * with d, softmax grows hard, and the gradient through it vanishes. */
#ifndef TRANSLATE_SCALING_H
#define TRANSLATE_SCALING_H

#include "measure/json.h"
#include "model/real.h"

#include <stdint.h>

typedef struct scaling_point {
    int d;
    struct scaling_side {
        double variance; /* of scores, of queries and keys of normal numbers */
        double greatest; /* weight, the mean over queries */
        double entropy;  /* divided by log(keys) */
        double gradient; /* |J g|, J being softmax's Jacobian and g normal numbers: how much of a gradient by the
                            weights arrives at the scores. The root of the mean square over queries, which is J's
                            Frobenius norm; and the median, what a usual query has */
        double usual_gradient;
    } plain, scaled; /* dot, and divided by sqrt(d) */
} scaling_point;

/* Sets of keys, keys in each, queries to each. */
enum { SCALINGS = 10, SCALING_SETS = 64, SCALING_KEYS = 64, SCALING_QUERIES = 16 };

/* d from 2 to 1024. */
void scaling_measure(attn_engine *engine, uint64_t seed, scaling_point points[SCALINGS]);
void scaling_json(json *out, const scaling_point points[SCALINGS]); /* an array */

#endif
