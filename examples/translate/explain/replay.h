/* SPDX-License-Identifier: BSD-3-Clause
 *
 * replay.h: the steps of a recurrent decoder over again, each with the history that it had, but with weights that are
 * given: any steps, any number of times, side by side as rows. Weights are given as logarithms (log-weights), of which
 * the library makes weights by softmax: they are the bias of a mechanism whose scores are multiplied by 0, so that
 * attn_backward's d_bias is the gradient by them. */
#ifndef TRANSLATE_REPLAY_H
#define TRANSLATE_REPLAY_H

#include "model/recurrent.h"

typedef struct replay {
    const model *of;
    attn_mechanism *given;
    pass first, again;   /* where the sentence's walk lies; where the last replay's arrays lie */
    recurrent_walk walk; /* of the sentence, told its words */
    int steps, sources, words;
    const int *expected; /* [steps]: the words that are right, the end included; borrowed from the batch */
    real *from_word;     /* [steps, 3 states]: the words' part of the GRU's input */
    real *weights;       /* [steps, sources]: the model's own */
    real *outputs;       /* [steps, words]: probabilities of words, with the model's own weights */
} replay;

/* Why attention of this kind cannot be replayed ("the transformer has several heads"), or NULL. */
const char *replay_refuses(const model *m);

/* The batch is of one sentence, and must stay. */
replay replay_begin(const model *m, const batch *sentence);
void replay_free(replay *r);

/* Whether step t sees word j at all: local attention sees a window. */
bool replay_sees(const replay *r, int t, int j);

/* The greatest of the model's own weights at step t. */
double replay_greatest(const replay *r, int t);

/* What came of rows; all are the replay's until its next call. */
typedef struct replayed {
    int rows;
    const int *steps;
    const real *log_weights;
    real *weights; /* [rows, sources] */
    real *outputs; /* [rows, words]: probabilities */
    real *context, *logsumexp, *state, *wide, *joint;
    gru_walk decoder;
} replayed;

/* Row i is step steps[i] with log-weights i of [rows, sources]; minus infinity is a weight of 0. Both are borrowed
 * until the way back. */
replayed replay_forward(replay *r, int rows, const int *steps, const real *log_weights);

/* Adds to d_log_weights [rows, sources] what a loss has as gradient d_outputs [rows, words] by probabilities, and
 * d_weights [rows, sources] by weights; either may be NULL. d_context [rows, states], or NULL, receives the gradient by
 * the context. Once for each replay_forward. */
void replay_backward(replay *r, replayed *done, const real *d_outputs, const real *d_weights, real *d_log_weights,
                     real *d_context);

/* log-weights of weights: minus infinity for 0. */
void log_weights_of(size_t count, const real *weights, real *log_weights);

#endif
