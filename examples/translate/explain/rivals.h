/* SPDX-License-Identifier: BSD-3-Clause
 *
 * rivals.h: two models on the same sentences, step by step: how far apart they look, and how far apart they say.
 * Wiegreffe and Pinter (2019) ask it of seeds (section 3.2) and of trained adversaries (section 4). */
#ifndef TRANSLATE_RIVALS_H
#define TRANSLATE_RIVALS_H

#include "explain/sample.h"
#include "train/checkpoint.h"

/* To begin with, all zeros. */
typedef struct rivals {
    sample divergence; /* Jensen-Shannon, of the weights */
    sample variation;  /* total, of the outputs */
    sample greatest;   /* weight of the first model */
    size_t same;       /* steps at which both say the same word */
} rivals;

/* Refuses models that do not read and say the same words, or look at nothing. */
void rivals_fit(const checkpoint *one, const checkpoint *other, const char *path);

void rivals_add(rivals *sums, const model *one, const model *other, const batch *sentence);
void rivals_json(const rivals *sums, json *out); /* members of an object */
void rivals_free(rivals *sums);

#endif
