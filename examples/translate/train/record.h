/* SPDX-License-Identifier: BSD-3-Clause
 *
 * record.h: what a checkpoint's file is made of: lines of text, each a name and a value, then arrays of float32,
 * little-endian. The first line names the program and the version:
 *
 *     attn-translate 1
 *     step 1200                                 a value
 *     source-words 412                          then as many lines
 *     parameter output.weight 498 128 4096      rows, columns, and where its numbers begin in each array
 *     arrays 3 70000 11ab...                    how many, of how many numbers, and their checksum
 *
 * What is read and is not so is refused, with the file's name and the line's number. */
#ifndef TRANSLATE_RECORD_H
#define TRANSLATE_RECORD_H

#include "model/parameters.h"
#include "text/vocabulary.h"

#include <stdio.h>

void record_write_words(FILE *file, const char *name, const vocabulary *words);

/* The set's parameters, a line each, and then count arrays of its layout, of which the first is usually its values. */
void record_write_arrays(FILE *file, const parameter_set *set, const real *const *arrays, int count);

typedef struct record {
    FILE *file;
    const char *path;
    long line;
    char text[4096];
} record;

/* Opens the file; its first line must be the program's name and this version. */
record record_open(const char *path, const char *program, const char *version);

/* The value of the next line, which must have this name: as text, until the next line is read; or a whole number. */
char *record_value(record *r, const char *name);
long record_number(record *r, const char *name, long least, long most);
vocabulary record_words(record *r, const char *name);

/* Reads the parameters' lines, which must be those of the set, and its values; where the file has three arrays, the
 * other two into new ones, which are NULL else. Closes the file, which must end there. */
void record_close(record *r, parameter_set *set, real **second, real **third);

#endif
