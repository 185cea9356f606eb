/* SPDX-License-Identifier: BSD-3-Clause
 *
 * draw.h: random choices. */
#ifndef TRANSLATE_DRAW_H
#define TRANSLATE_DRAW_H

#include "text/grammar.h"

/* From 0 to below count; from low to high, both included. */
int draw_below(grammar_random *random, int count);
int draw_between(grammar_random *random, int low, int high);
bool draw_chance(grammar_random *random, int percent);

/* A place in weights, as often as its weight says; the weights are not all 0. */
int draw_weighted(grammar_random *random, const int *weights, int count);

#endif
