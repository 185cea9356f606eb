/* SPDX-License-Identifier: BSD-3-Clause
 *
 * adversary.h: what the experiments share. */
#ifndef INFERENCE_ADVERSARY_H
#define INFERENCE_ADVERSARY_H

#include "entail/entail.h"

/* The gradient, by logits, of the sum of c_k times the probability p_k of each label. */
void answer_gradient(const double p[LABELS], const double c[LABELS], real to[LABELS]);

#endif
