/* SPDX-License-Identifier: BSD-3-Clause
 *
 * trainer.h: training, a step at a time. Where it is, is a number: data, order and dropout follow from the setup and
 * that, so that a training which is taken up from a checkpoint goes on to the same numbers. */
#ifndef TRANSLATE_TRAINER_H
#define TRANSLATE_TRAINER_H

#include "train/checkpoint.h"
#include "train/shards.h"

typedef struct trainer {
    checkpoint *state; /* borrowed; the step in it is of the batch that comes next */
    const dataset *data;
    shards shards;
    batch_order order; /* of the epoch at hand */
    long epoch;        /* -1: none yet */
} trainer;

/* Makes moments where the checkpoint has none. */
trainer trainer_begin(checkpoint *state, const dataset *data);
void trainer_free(trainer *t);

typedef struct trainer_report {
    model_loss loss;
    double norm, rate;
} trainer_report;

trainer_report trainer_step(trainer *t);

/* Which batch of the order comes next: makes that order, where an epoch begins. */
size_t trainer_next(trainer *t);

/* The loss on other data, without dropout and smoothing. */
model_loss trainer_measure(const checkpoint *state, const dataset *data);

#endif
