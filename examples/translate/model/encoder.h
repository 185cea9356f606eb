/* SPDX-License-Identifier: BSD-3-Clause
 *
 * encoder.h: the source sentence as states, one a word: a GRU from either end, joined (Bahdanau 2014, section 3.2); or
 * one from the beginning, where the last state is all that is used (Cho 2014). */
#ifndef TRANSLATE_ENCODER_H
#define TRANSLATE_ENCODER_H

#include "model/batch.h"
#include "model/gru.h"

typedef struct encoder {
    const parameter *embedding; /* [words, embed] */
    gru direction[2];           /* from the beginning, from the end */
    int directions;             /* 2, or 1 */
    int states;                 /* of a joined state */
} encoder;

encoder encoder_create(parameter_set *set, int words, int embed, int states, bool both);

/* A batch as the encoder left it. All is time-major: [length, rows, ..]. */
typedef struct encoded {
    int rows, length;
    const int *words;
    real *embedded;
    unsigned char *kept; /* by dropout */
    unsigned char *live; /* [length, rows]: not padding */
    gru_walk walk[2];
    real *states;     /* [length, rows, states] */
    real *last;       /* [rows, states]: what each direction ended with */
    real *d_embedded; /* of the words' vectors, once the gradient has gone back */
} encoded;

encoded encoder_forward(pass *p, const encoder *e, const batch *from);

/* d_states and d_last are of the shapes of states and last, the first NULL where nothing looked at them. */
void encoder_backward(pass *p, const encoder *e, encoded *done, const real *d_states, const real *d_last);

#endif
