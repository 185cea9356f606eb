/* SPDX-License-Identifier: BSD-3-Clause
 *
 * model_scene.h: tiny models and batches for the tests of any kind of model, and what must hold of each kind. Built
 * with TRANSLATE_DOUBLE. */
#ifndef TRANSLATE_MODEL_SCENE_H
#define TRANSLATE_MODEL_SCENE_H

#include "model/model.h"

enum { SCENE_SOURCE_WORDS = 11, SCENE_TARGET_WORDS = 13, SCENE_ROWS = 3, SCENE_LONGEST = 12 };

/* A model of a kind with random numbers for all parameters, biases too. */
model *scene_model(const char *kind, uint64_t seed);

/* Three sentences of different lengths, padded by so many words more than they need. */
typedef struct scene_batch {
    int source[SCENE_ROWS * SCENE_LONGEST], target_in[SCENE_ROWS * SCENE_LONGEST],
        target_out[SCENE_ROWS * SCENE_LONGEST];
    int source_lengths[SCENE_ROWS];
    int target_words; /* ends included, padding not */
    batch view;       /* of the above */
} scene_batch;

void scene_fill(scene_batch *b, int padding);

/* The greatest error of a gradient of the loss, over all numbers of all parameters, against central differences:
 * relative to the number, or to a hundredth where that is smaller. Dropout drops the same numbers at every evaluation.
 * Where the error is not below 1e-6, the parameter is printed. */
double worst_gradient_error(model *m, const batch *b, double smoothing, double dropout);

/* The greatest difference, over rows, of a sentence's loss when it is decoded word by word, and of the same sentence's
 * alone in a batch for training: relative to that. */
double worst_decoding_error(const model *m, const batch *b);

#endif
