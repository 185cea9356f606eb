/* SPDX-License-Identifier: BSD-3-Clause
 *
 * importance.h: how much each word of the source matters to a step's prediction, by other means than its weight (Jain
 * and Wallace 2019, section 4.1). The prediction is the step's likeliest word w; p its probability; h_j the encoder's
 * states, x_j the words' embeddings, c the context. What the decoder has written before stays. */
#ifndef TRANSLATE_IMPORTANCE_H
#define TRANSLATE_IMPORTANCE_H

#include "explain/replay.h"

typedef enum importance {
    BY_INPUT,       /* |x_j . d log p / d x_j|, weights held as they are: theirs (algorithm 1) */
    BY_INPUT_WHOLE, /* the same, through the weights too: scores change with the states */
    BY_WEIGHT,      /* |d log p / d a_j|, what j gains being lost by all in proportion: |d_c . (h_j - c)| */
    BY_MASKING,     /* total variation of the output where a_j becomes 0 and the others grow in proportion */
    BY_LEAVING_OUT, /* total variation of the output where the sentence is read without the word: theirs (algorithm 1)
                     */
    IMPORTANCE_KINDS
} importance;

extern const char *const importance_names[IMPORTANCE_KINDS];

/* numbers [IMPORTANCE_KINDS, steps, sources], of a sentence of two words or more. */
void importance_measure(replay *r, const batch *sentence, double *numbers);

#endif
