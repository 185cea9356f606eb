/* SPDX-License-Identifier: BSD-3-Clause
 *
 * recurrent.h: the translators of 2014 and 2015: a GRU that reads, a GRU that writes, and attention between them, or
 * none. The functions of a model_kind. */
#ifndef TRANSLATE_RECURRENT_H
#define TRANSLATE_RECURRENT_H

#include "model/encoder.h"
#include "model/model.h"

typedef struct recurrent {
    encoder encoder;
    bool attends;
    bool before; /* Bahdanau's decoder: attends with the state before the step. Otherwise Luong's */
    attention attention;
    dense bridge;     /* from what the encoder ended with to the first state */
    int bridge_first; /* the column of that, that it begins with */
    const parameter *embedding;
    gru decoder; /* its input: the word before, then the context (Bahdanau) or the attentional state (Luong) */
    dense from_word, from_fed;
    /* Bahdanau: the readout, whose pairs' greater numbers go on (maxout). Luong: W_c of the attentional state. */
    const parameter *joint_weight, *joint_bias;
    dense output;
} recurrent;

void recurrent_create(model *m);
void recurrent_bind(model *m);
void recurrent_destroy(model *m);
model_loss recurrent_loss(const model *m, pass *p, const batch *b, double smoothing, double tokens);

/* What a pass through the decoder leaves behind; time-major. */
typedef struct recurrent_walk {
    encoded encoded;
    attention_keys keys;
    int rows, length;
    const int *words;
    real *embedded; /* [length, rows, embed] */
    unsigned char *kept_embedded, *kept_joint;
    gru_walk decoder;
    real *contexts;        /* [length, rows, states]; without attention the encoder's last state every time */
    real *logsumexps;      /* [length, rows] */
    real *weights;         /* [length, rows, source length], where they were asked for */
    const real *d_weights; /* of the same shape: what flows back into them, of a loss that looks at them; or NULL */
    real *wide;            /* Bahdanau: [length, rows, 2 states] before maxout */
    real *joint;           /* [length, rows, states]: maxout's, or the attentional states */
    real *dropped;         /* joint after dropout */
    real *logits;          /* [length, rows, target words] */
} recurrent_walk;

/* Goes through encoder and decoder. Weights are kept where keep_weights is true. */
recurrent_walk recurrent_forward(const model *m, pass *p, const batch *b, bool keep_weights);

/* d_logits is in the walk's logits. */
void recurrent_backward(const model *m, pass *p, recurrent_walk *walk);

decoding *recurrent_begin(const model *m, const batch *b);
void recurrent_step(decoding *d, const int *words, real *logits, real *weights, real *scores);
void recurrent_reorder(decoding *d, const int *rows, int count);
void recurrent_end(decoding *d);

/* The joint state (maxout's, or the attentional one) of rows, from the word's embedding, the new state and the context.
 */
void recurrent_joint(const model *m, const pass *p, int rows, const real *embedded, const real *state,
                     const real *context, real *wide, real *joint);

/* Back: adds to d_embedded (none: NULL), d_state and d_context, and to the parameters' gradients where the pass has
 * any. */
void recurrent_joint_back(const model *m, pass *p, int rows, const real *embedded, const real *state,
                          const real *context, const real *wide, const real *joint, const real *d_joint,
                          real *d_embedded, real *d_state, real *d_context);

#endif
