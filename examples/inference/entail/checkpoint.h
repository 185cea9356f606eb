/* SPDX-License-Identifier: BSD-3-Clause
 *
 * checkpoint.h: a model in a file, written whole or not at all: a record (../translate/train/record.h) of the program
 * attn-inference, with the options of entail.h, the words, and one array. */
#ifndef INFERENCE_CHECKPOINT_H
#define INFERENCE_CHECKPOINT_H

#include "entail/entail.h"
#include "text/vocabulary.h"

typedef struct checkpoint {
    entail *model;
    vocabulary words;
} checkpoint;

/* Gives up, and leaves what was there, where the file cannot be written. */
void checkpoint_write(const checkpoint *c, const char *path);
/* Refuses what is no such file, is of another version, or was cut short or changed. */
checkpoint checkpoint_read(const char *path);
void checkpoint_free(checkpoint *c);

#endif
