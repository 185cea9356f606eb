/* SPDX-License-Identifier: BSD-3-Clause
 *
 * permutation.h: what becomes of a step's output where its weights are dealt out among the words at random (Jain and
 * Wallace 2019, section 4.2.1, algorithm 2). */
#ifndef TRANSLATE_PERMUTATION_H
#define TRANSLATE_PERMUTATION_H

#include "explain/replay.h"

/* medians [steps]: for each step the median, over so many permutations, of the total variation distance to the step's
 * own output. Local attention's weights are dealt out among the words that the step sees. */
void permutation_medians(replay *r, int permutations, random_stream *chance, double *medians);

#endif
