/* SPDX-License-Identifier: BSD-3-Clause
 *
 * checkpoint.h: a model in a file, written whole or not at all. Its head is text, one thing a line; the parameters
 * follow as float32, little-endian:
 *
 *     attn-inference 1
 *     embed 64                     and so on: the options of entail.h
 *     words 205                    then as many lines
 *     parameter embedding 205 64 0         rows, columns, and where its numbers begin
 *     numbers 12345 9a3f...        how many, and their checksum */
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
