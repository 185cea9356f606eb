/* SPDX-License-Identifier: BSD-3-Clause
 *
 * gru.c: see gru.h. */
#include "model/gru.h"

#include "model/elementwise.h"
#include "model/vectorised.h"

#include <string.h>

gru gru_create(parameter_set *set, int inputs, int states, const char *name)
{
    gru unit = {.inputs = inputs, .states = states};
    unit.input_weight = parameters_add(set, START_GLOROT, 3 * states, inputs, "%s.input_weight", name);
    unit.state_weight = parameters_add(set, START_UNIFORM, 3 * states, states, "%s.state_weight", name);
    unit.input_bias = parameters_add(set, START_ZERO, 1, 3 * states, "%s.input_bias", name);
    unit.state_bias = parameters_add(set, START_ZERO, 1, 3 * states, "%s.state_bias", name);
    return unit;
}

gru_walk gru_walk_begin(pass *p, const gru *unit, int rows, int length)
{
    const size_t cells = (size_t)rows * (size_t)length * (size_t)unit->states;
    gru_walk walk = {.rows = rows, .length = length};
    walk.from_input = pass_reals(p, 3 * cells);
    walk.from_state = pass_reals(p, 3 * cells);
    walk.gates = pass_reals(p, 4 * cells);
    walk.states = pass_reals(p, cells + (size_t)rows * (size_t)unit->states);
    return walk;
}

static inline real sigmoid(real x)
{
    return 1 / (1 + real_exp(-x));
}

VECTORISED static void row_forward(size_t n, const real *input, const real *state, const real *before, real *gates,
                                   real *after)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++) {
        const real r = sigmoid(input[i] + state[i]), z = sigmoid(input[n + i] + state[n + i]);
        const real turned = state[2 * n + i], fresh = 2 * sigmoid(2 * (input[2 * n + i] + r * turned)) - 1;
        gates[i] = r, gates[n + i] = z, gates[2 * n + i] = fresh, gates[3 * n + i] = turned;
        after[i] = fresh + z * (before[i] - fresh);
    }
}

VECTORISED static void row_back(size_t n, real *input, real *state, const real *before, const real *gates,
                                const real *d_after, real *d_before)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++) {
        const real r = gates[i], z = gates[n + i], fresh = gates[2 * n + i], turned = gates[3 * n + i];
        const real d_fresh = d_after[i] * (1 - z) * (1 - fresh * fresh);
        const real d_z = d_after[i] * (before[i] - fresh) * z * (1 - z), d_r = d_fresh * turned * r * (1 - r);
        input[i] = state[i] = d_r;
        input[n + i] = state[n + i] = d_z;
        input[2 * n + i] = d_fresh;
        state[2 * n + i] = d_fresh * r;
        d_before[i] += d_after[i] * z;
    }
}

void gru_step(const pass *p, const gru *unit, gru_walk *walk, int t, const real *before, const unsigned char *live,
              real *after)
{
    const size_t n = (size_t)unit->states, first = (size_t)t * (size_t)walk->rows;
    const dense turn = dense_all(unit->state_weight, unit->state_bias);
    real *state = walk->from_state + first * 3 * n;
    dense_forward(p, &turn, walk->rows, before, (int)n, false, state, (int)(3 * n));
    for (size_t row = 0; row < (size_t)walk->rows; row++) {
        if (live != NULL && !live[row]) {
            memcpy(after + row * n, before + row * n, n * sizeof(real));
        } else {
            row_forward(n, walk->from_input + (first + row) * 3 * n, state + row * 3 * n, before + row * n,
                        walk->gates + (first + row) * 4 * n, after + row * n);
        }
    }
}

void gru_step_back(const pass *p, const gru *unit, gru_walk *walk, int t, const real *before, const unsigned char *live,
                   const real *d_after, real *d_before)
{
    const size_t n = (size_t)unit->states, first = (size_t)t * (size_t)walk->rows;
    const dense turn = dense_all(unit->state_weight, unit->state_bias);
    real *input = walk->from_input + first * 3 * n, *state = walk->from_state + first * 3 * n;
    for (size_t row = 0; row < (size_t)walk->rows; row++) {
        if (live != NULL && !live[row]) {
            memset(input + row * 3 * n, 0, 3 * n * sizeof(real));
            memset(state + row * 3 * n, 0, 3 * n * sizeof(real));
            add_to(n, d_after + row * n, d_before + row * n);
        } else {
            row_back(n, input + row * 3 * n, state + row * 3 * n, before + row * n, walk->gates + (first + row) * 4 * n,
                     d_after + row * n, d_before + row * n);
        }
    }
    dense_backward_input(p, &turn, walk->rows, state, (int)(3 * n), true, d_before, (int)n);
}

void gru_parameters_back(const pass *p, const gru *unit, const gru_walk *walk, const real *before)
{
    const dense turn = dense_all(unit->state_weight, unit->state_bias);
    const int rows = walk->rows * walk->length, width = 3 * unit->states;
    dense_backward_weight(p, &turn, rows, walk->from_state, width, before, unit->states);
    for (int r = 0; r < rows; r++) {
        add_to((size_t)width, walk->from_input + (ptrdiff_t)r * width, pass_gradient(p, unit->input_bias));
    }
}
