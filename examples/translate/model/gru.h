/* SPDX-License-Identifier: BSD-3-Clause
 *
 * gru.h: the gated recurrent unit (Cho 2014), in the form that computes the new state's product before it is reset, as
 * cuDNN and PyTorch have it:
 *
 *     r = sigmoid(W_r x + U_r h)   z = sigmoid(W_z x + U_z h)   n = tanh(W_n x + r (U_n h))   h' = (1 - z) n + z h
 *
 * each product with a bias. */
#ifndef TRANSLATE_GRU_H
#define TRANSLATE_GRU_H

#include "model/dense.h"

typedef struct gru {
    const parameter *input_weight, *state_weight; /* [3 states, inputs], [3 states, states]: r, z, n below each other */
    const parameter *input_bias, *state_bias;     /* [3 states] */
    int inputs, states;
} gru;

gru gru_create(parameter_set *set, int inputs, int states, const char *name);

/* What a walk over time keeps for the way back. Time-major: step t's rows lie together. */
typedef struct gru_walk {
    int rows, length;
    real *from_input; /* [length, rows, 3 states]: W x + b, and on the way back its gradient */
    real *from_state; /* [length, rows, 3 states]: U h + b, and on the way back its gradient */
    real *gates;      /* [length, rows, 4 states]: r, z, n, U_n h + b */
    real *states;     /* [length + 1, rows, states]: step t reads states t and writes t + 1 */
} gru_walk;

gru_walk gru_walk_begin(pass *p, const gru *unit, int rows, int length);

/* One step: from_input of it is there already. Rows whose live byte is 0 keep their state; live NULL: all are live. */
void gru_step(const pass *p, const gru *unit, gru_walk *walk, int t, const real *before, const unsigned char *live,
              real *after);

/* Back: d_after is the gradient by step t's new state. from_input and from_state of the step become their gradients,
 * and d_before += what flows to the old state. before is what the step read. */
void gru_step_back(const pass *p, const gru *unit, gru_walk *walk, int t, const real *before, const unsigned char *live,
                   const real *d_after, real *d_before);

/* The gradients of the parameters, once all steps have gone back: those of the state's part, from the states that were
 * read [length, rows, states], and those of the input's bias. The input's weight is for whoever made from_input. */
void gru_parameters_back(const pass *p, const gru *unit, const gru_walk *walk, const real *before);

#endif
