/* SPDX-License-Identifier: BSD-3-Clause
 *
 * explanation.h: Jain and Wallace's three experiments over the steps of many sentences, summed up. */
#ifndef TRANSLATE_EXPLANATION_H
#define TRANSLATE_EXPLANATION_H

#include "explain/attack.h"
#include "explain/importance.h"
#include "explain/sample.h"

enum { WEIGHT_BINS = 4 }; /* of the greatest weight: [0, 1/4), [1/4, 1/2), .. */

/* Rank correlations of two ways to order a sentence's words, a number for each step. */
typedef struct agreement {
    sample tau;
    size_t significant; /* whose chance is below 0.05 */
} agreement;

typedef struct explanation_options {
    int permutations;
    attack_options attack;
    uint64_t seed;
} explanation_options;

/* To begin with, all zeros. */
typedef struct explanation {
    size_t sentences, too_short, steps;
    agreement weights[IMPORTANCE_KINDS]; /* the weights with each importance */
    agreement shuffled; /* control: the weights, dealt out at random, with BY_LEAVING_OUT: what chance alone gives */
    agreement inputs;   /* control: BY_INPUT with BY_LEAVING_OUT: how well importances agree among themselves */
    sample greatest;    /* weight of each step; the next three in the same order */
    sample medians;     /* of permutations */
    sample divergences, moved; /* of adversarial weights, and of the output with them */
    sample medians_by_weight[WEIGHT_BINS], divergences_by_weight[WEIGHT_BINS];
} explanation;

/* Adds all steps of a sentence, which is its batch's only row; one of a single word has nothing to compare. number
 * tells its random numbers from other sentences'. */
void explanation_add(explanation *e, const model *m, const batch *sentence, const explanation_options *o,
                     uint64_t number);

/* The tables, and the same as members of an object. */
void explanation_print(const explanation *e, const explanation_options *o, FILE *file);
void explanation_json(const explanation *e, const explanation_options *o, json *out);
void explanation_free(explanation *e);

#endif
