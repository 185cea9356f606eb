/* SPDX-License-Identifier: BSD-3-Clause
 *
 * encoder.c: see encoder.h. The GRU that begins at the end passes over padding first, where it keeps its state of
 * zeros. */
#include "model/encoder.h"

#include "model/elementwise.h"
#include "model/embedding.h"

#include <string.h>

encoder encoder_create(parameter_set *set, int words, int embed, int states, bool both)
{
    encoder e = {.directions = both ? 2 : 1, .states = states};
    e.embedding = parameters_add(set, START_NORMAL, words, embed, "encoder.embedding");
    for (int d = 0; d < e.directions; d++) {
        e.direction[d] = gru_create(set, embed, states / e.directions, d == 0 ? "encoder.forward" : "encoder.backward");
    }
    return e;
}

/* What step k of a direction is about: its place in the sentence. */
static int place(const encoded *done, int direction, int k)
{
    return direction == 0 ? k : done->length - 1 - k;
}

/* Copies blocks of width numbers between rows of two widths. */
static void copy_columns(int rows, int width, const real *from, int from_width, real *to, int to_width)
{
    for (int r = 0; r < rows; r++) {
        memcpy(to + (ptrdiff_t)r * to_width, from + (ptrdiff_t)r * from_width, (size_t)width * sizeof(real));
    }
}

encoded encoder_forward(pass *p, const encoder *e, const batch *from)
{
    const int rows = from->rows, length = from->source_length, embed = e->embedding->columns;
    const size_t count = (size_t)rows * (size_t)length;
    encoded done = {.rows = rows, .length = length};
    done.words = words_by_time(p, rows, length, from->source);
    done.embedded = pass_reals(p, count * (size_t)embed);
    embedding_forward(p, e->embedding, count, done.words, 1, done.embedded);
    done.kept = dropout_forward(p, count * (size_t)embed, done.embedded);
    done.live = pass_bytes(p, count);
    for (int t = 0; t < length; t++) {
        for (int r = 0; r < rows; r++) done.live[t * rows + r] = t < from->source_lengths[r];
    }
    real *states = done.states = pass_reals(p, count * (size_t)e->states);
    real *last = done.last = pass_reals(p, (size_t)rows * (size_t)e->states);
    for (int d = 0; d < e->directions; d++) {
        const gru *unit = &e->direction[d];
        const int n = unit->states, cells = rows * n;
        gru_walk *walk = &done.walk[d];
        *walk = gru_walk_begin(p, unit, rows, length);
        /* A step of the walk is a place in the sentence, whatever the direction: from_input is one product. */
        const dense enter = dense_all(unit->input_weight, unit->input_bias);
        dense_forward(p, &enter, (int)count, done.embedded, embed, false, walk->from_input, 3 * n);
        memset(walk->states, 0, (size_t)cells * sizeof(real));
        for (int k = 0; k < length; k++) {
            const int t = place(&done, d, k);
            real *after = walk->states + (ptrdiff_t)(k + 1) * cells;
            gru_step(p, unit, walk, t, after - cells, done.live + (ptrdiff_t)t * rows, after);
            copy_columns(rows, n, after, n, states + (ptrdiff_t)t * rows * e->states + d * n, e->states);
        }
        copy_columns(rows, n, walk->states + (ptrdiff_t)length * cells, n, last + d * n, e->states);
    }
    return done;
}

void encoder_backward(pass *p, const encoder *e, encoded *done, const real *d_states, const real *d_last)
{
    const int rows = done->rows, length = done->length, embed = e->embedding->columns;
    const size_t count = (size_t)rows * (size_t)length;
    real *d_embedded = done->d_embedded = pass_zeros(p, count * (size_t)embed);
    for (int d = 0; d < e->directions; d++) {
        const gru *unit = &e->direction[d];
        const int n = unit->states, cells = rows * n;
        gru_walk *walk = &done->walk[d];
        real *d_after = pass_zeros(p, (size_t)cells), *d_before = pass_zeros(p, (size_t)cells);
        /* The states that steps read, by place, so that one product makes the weight's gradient. */
        real *read = pass_reals(p, count * (size_t)n);
        copy_columns(rows, n, d_last + d * n, e->states, d_after, n);
        for (int k = length - 1; k >= 0; k--) {
            const int t = place(done, d, k);
            const real *before = walk->states + (ptrdiff_t)k * cells;
            if (d_states != NULL) {
                for (int r = 0; r < rows; r++) {
                    add_to((size_t)n, d_states + ((ptrdiff_t)t * rows + r) * e->states + d * n,
                           d_after + (ptrdiff_t)r * n);
                }
            }
            memset(d_before, 0, (size_t)cells * sizeof(real));
            gru_step_back(p, unit, walk, t, before, done->live + (ptrdiff_t)t * rows, d_after, d_before);
            memcpy(read + (ptrdiff_t)t * cells, before, (size_t)cells * sizeof(real));
            real *other = d_after;
            d_after = d_before, d_before = other;
        }
        const dense enter = dense_all(unit->input_weight, NULL);
        gru_parameters_back(p, unit, walk, read);
        dense_backward_weight(p, &enter, (int)count, walk->from_input, 3 * n, done->embedded, embed);
        dense_backward_input(p, &enter, (int)count, walk->from_input, 3 * n, true, d_embedded, embed);
    }
    dropout_backward(p, count * (size_t)embed, done->kept, d_embedded);
    embedding_backward(p, e->embedding, count, done->words, 1, d_embedded);
}
