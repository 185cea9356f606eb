/* SPDX-License-Identifier: BSD-3-Clause
 *
 * adversary.h: a model that is trained to say what another says, looking elsewhere (Wiegreffe and Pinter 2019, section
 * 4, their loss), a for the adversary, b for the base:
 *
 *     TVD(output_a, output_b) - lambda KL(weights_a || weights_b)        the mean over words of the target
 *
 * The gradient by the weights goes into attn_backward as d_weights. */
#ifndef TRANSLATE_ADVERSARY_H
#define TRANSLATE_ADVERSARY_H

#include "model/recurrent.h"
#include "train/setup.h"

/* Weights below this count as this in KL, which would have no bound otherwise: it is at most about 16. */
#define ADVERSARY_FLOOR 1e-7

typedef struct adversary_loss {
    double variation, divergence; /* sums over words, of TVD and KL */
    double sum;                   /* variation - lambda divergence */
    long words;
} adversary_loss;

/* Restarts both passes. Adds to p->gradient, unless that is NULL, the gradient of sum / tokens. The base is read
 * without dropout; of_base has no gradient. */
adversary_loss adversary_batch_loss(const model *m, pass *p, const model *base, pass *of_base, const batch *b,
                                    double lambda, double tokens);

#endif
