/* SPDX-License-Identifier: BSD-3-Clause
 *
 * permutation.c: see permutation.h. */
#include "explain/permutation.h"

#include "explain/distribution.h"
#include "measure/correlation.h"
#include "refuse.h"

#include <stdlib.h>
#include <string.h>

/* Fisher and Yates, among the words that the step sees. */
static void shuffle(const replay *r, int t, real *numbers, random_stream *chance)
{
    int seen = 0;
    int *places = allocate((size_t)r->sources, sizeof *places);
    for (int j = 0; j < r->sources; j++) {
        if (replay_sees(r, t, j)) places[seen++] = j;
    }
    for (int i = seen - 1; i > 0; i--) {
        const int a = places[i], b = places[random_below(chance, (uint64_t)i + 1)];
        const real kept = numbers[a];
        numbers[a] = numbers[b], numbers[b] = kept;
    }
    free(places);
}

void permutation_medians(replay *r, int permutations, random_stream *chance, double *medians)
{
    const size_t row = (size_t)r->sources, count = (size_t)permutations;
    real *own = allocate(row, sizeof *own), *given = allocate(count * row, sizeof *given);
    int *steps = allocate(count, sizeof *steps);
    double *moved = allocate(count, sizeof *moved);
    for (int t = 0; t < r->steps; t++) {
        log_weights_of(row, r->weights + (size_t)t * row, own);
        for (size_t i = 0; i < count; i++) {
            steps[i] = t;
            memcpy(given + i * row, own, row * sizeof *given);
            shuffle(r, t, given + i * row, chance);
        }
        const replayed done = replay_forward(r, permutations, steps, given);
        for (size_t i = 0; i < count; i++) {
            moved[i] = variation(done.outputs + i * (size_t)r->words, r->outputs + (ptrdiff_t)t * r->words, r->words);
        }
        medians[t] = median(moved, count);
    }
    free(own);
    free(given);
    free(steps);
    free(moved);
}
