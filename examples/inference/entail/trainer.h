/* SPDX-License-Identifier: BSD-3-Clause
 *
 * trainer.h: batches of examples, and training by them, a step at a time, each batch shared by threads. */
#ifndef INFERENCE_TRAINER_H
#define INFERENCE_TRAINER_H

#include "entail/entail.h"
#include "pairs/example.h"
#include "text/dataset.h"

/* The words of both sides. */
vocabulary vocabulary_of_examples(const example_list *examples);

/* Rows first .. first + rows - 1 of an order as a batch whose arrays are its own. */
typedef struct taken_batch {
    entail_batch view;
    int *numbers;
} taken_batch;

taken_batch taken_batch_of(const dataset *d, const int *labels, const size_t *order, int rows);
void taken_batch_free(taken_batch *b);

typedef struct training {
    long steps, warmup;
    int rows, shards;
    double rate, clip, dropout;
    uint64_t seed;
} training;

typedef struct trainer {
    entail *model;
    const dataset *data;
    const int *labels;
    training options;
    pass *passes; /* [shards], as are: */
    real **gradient;
    real *first, *second; /* Adam's */
    batch_order order;
    long step, epoch; /* -1: no order yet */
} trainer;

trainer trainer_begin(entail *m, const dataset *data, const int *labels, const training *options);
void trainer_free(trainer *t);

/* What comes back is the mean loss of a batch; *right has its right answers added, *norm the gradient's. */
double trainer_step(trainer *t, long *right, double *norm);

/* The label with the greatest of these probabilities; the first of equal ones. */
int likeliest_label(const double probabilities[LABELS]);

/* Probabilities [count, 3] of all of the data's pairs, in their order. */
void entail_probabilities(const entail *m, const dataset *data, double *to);

#endif
