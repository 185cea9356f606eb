/* SPDX-License-Identifier: BSD-3-Clause
 *
 * checkpoint.h: a model in a file: its setup, its vocabularies, its parameters, and what a training that goes on needs.
 * The file is written whole or not at all. It is a record (train/record.h):
 *
 *     attn-translate 1
 *     embed 64                     every field of setup.h
 *     step 1200                    how far the training is
 *     data 9a3f...                 the fingerprint of what it is trained on
 *     source-words 412             then as many lines
 *     target-words 498
 *     parameter output.weight 498 128 4096      rows, columns, and where its numbers begin in each array
 *     arrays 3 70000 11ab...       how many (parameters; then Adam's moments), of how many numbers, and their checksum
 */
#ifndef TRANSLATE_CHECKPOINT_H
#define TRANSLATE_CHECKPOINT_H

#include "text/vocabulary.h"
#include "train/setup.h"

typedef struct checkpoint {
    setup setup;
    vocabulary source, target;
    model *model;
    long step;
    uint64_t data;
    real *first, *second; /* Adam's moments, or NULL */
} checkpoint;

/* Gives up, and leaves what was there, where the file cannot be written. */
void checkpoint_write(const checkpoint *c, const char *path);

/* Refuses what is no such file, is of another version, or was cut short or changed. */
checkpoint checkpoint_read(const char *path);
void checkpoint_free(checkpoint *c);

#endif
