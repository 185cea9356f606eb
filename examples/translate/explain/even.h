/* SPDX-License-Identifier: BSD-3-Clause
 *
 * even.h: a model's quality as it is, and with all words looked at alike: where that is as good, its weights explain
 * nothing (Wiegreffe and Pinter 2019, section 3.1). */
#ifndef TRANSLATE_EVEN_H
#define TRANSLATE_EVEN_H

#include "measure/json.h"
#include "text/dataset.h"
#include "train/checkpoint.h"

typedef struct quality {
    double loss;  /* of a word, told the words before */
    double right; /* share of words that are likeliest then */
    double bleu;  /* of greedy translations */
    double exact; /* share of these that are right as a whole */
} quality;

/* even: weights are 1 / (words of the sentence), in use alone. The model is as it was afterwards. */
quality quality_measure(checkpoint *c, const dataset *data, bool even);
void quality_json(json *out, const char *key, const quality *q);

#endif
