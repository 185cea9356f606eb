/* SPDX-License-Identifier: BSD-3-Clause
 *
 * explain.h: do the weights explain the answer? The three experiments of "Attention is not Explanation" (Jain and
 * Wallace 2019, section 4), for one pair at a time.
 *
 * The weights are of the hypothesis's words over the premise's (those behind alpha: a row for each word of the
 * hypothesis, which sums to 1 over the premise), or of the premise's over the hypothesis's (behind beta), or both. What
 * is changed is changed in all rows at once, and what stands around a word, which the attention within each sentence
 * makes, is left as it was. The other sentence of the two is "looked at". */
#ifndef INFERENCE_EXPLAIN_H
#define INFERENCE_EXPLAIN_H

#include "entail/entail.h"

enum { ROWS_HYPOTHESIS, ROWS_PREMISE, ROWS_BOTH, ROWS_KINDS };
extern const char *const rows_names[ROWS_KINDS];

/* What is known of one pair. */
typedef struct explained {
    double probability[LABELS];
    double greatest;                   /* the mean over rows of the greatest weight of each */
    double gradient_tau, left_out_tau; /* Kendall's, of the mean of rows against importance; NaN where undefined. Of the
                                          rows' own kind; with both, the hypothesis's */
    double permuted;                   /* the median over permutations of how far the answer moves */
    double divergence;                 /* of the adversary: mean over rows of the Jensen-Shannon divergence */
    double moved;                      /* and how far the answer moves with it */
} explained;

typedef struct explain_options {
    int rows;         /* a ROWS_ */
    int permutations; /* 100 in the paper */
    int steps;        /* of the adversary's ascent */
    double most;      /* how far the answer may move: 0.01 */
} explain_options;

/* A pair with its states, and weights that can be changed. Of one row: b->rows is 1. */
typedef struct explain_pair {
    const entail *model;
    pass *pass;
    const entail_batch *batch;
    entail_walk walk;
    double *weights[2];      /* [0] hypothesis over premise, [1] premise over hypothesis */
    int count[2], length[2]; /* rows, and how long each is */
} explain_pair;

void explain_begin(explain_pair *e, const entail *m, pass *p, const entail_batch *b);
void explain_end(explain_pair *e);

/* The answer with other weights, laid out as e->weights; NULL: the model's own. It forgets nothing of the pass. */
void explain_answer(explain_pair *e, double *const weights[2], double to[LABELS]);

/* importance [length of the looked at sentence]: of each of its words |sum over its vector of x dy/dx|, y the likeliest
 * label's probability, the weights being held fast (the paper cuts the gradient there too) but for their values; and
 * how far the answer moves (total variation) when the word is left out and all is computed again. */
void explain_gradient(explain_pair *e, int rows_kind, double *importance);
void explain_left_out(explain_pair *e, int rows_kind, double *importance);

/* Each row of a kind in an order of its own. */
void explain_permute(const explain_pair *e, int kind, random_stream *stream, double *const to[2]);

/* Weights as far from the model's as gradient ascent finds, the answer moving by at most `most`: *moved by how much.
 * What comes back is the mean divergence; 0, and the model's own weights in `to`, where none was found. */
double explain_adversary(explain_pair *e, const explain_options *o, random_stream *stream, double *const to[2],
                         double *moved);

explained explain_all(const entail *m, pass *p, const entail_batch *b, const explain_options *o, random_stream *stream);

#endif
