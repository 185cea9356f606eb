/* SPDX-License-Identifier: BSD-3-Clause
 *
 * setup.h: everything that decides what a model becomes, by name: as options on the command line and as lines of a
 * checkpoint. */
#ifndef TRANSLATE_SETUP_H
#define TRANSLATE_SETUP_H

#include "model/model.h"

#include <stdint.h>

typedef struct training_options {
    long steps;  /* batches until the end */
    int rows;    /* sentences in a batch */
    int shards;  /* parts of a batch, each a thread's; sums depend on it in their last bits */
    double rate; /* of learning, at its greatest; it falls to a fiftieth by the end, as a cosine */
    long warmup; /* steps in which it rises */
    double clip; /* the greatest norm of a gradient (Pascanu 2013); 0: any */
    double dropout, smoothing;
    long seed;
    int source_most, target_most; /* words of a vocabulary */
    int least;                    /* times that a word must occur */
} training_options;

typedef struct setup {
    model_options model;
    training_options training;
} setup;

typedef enum setup_type { SETUP_INT, SETUP_LONG, SETUP_DOUBLE, SETUP_FLAG, SETUP_NAME } setup_type;

typedef struct setup_field {
    const char *name; /* "dropout" */
    setup_type type;
    size_t offset; /* in setup */
    double least, most;
    const char *about;
} setup_field;

extern const setup_field setup_fields[];
extern const int setup_field_count;

/* What is used where nothing is said; of the transformer's kind others. */
setup setup_default(const char *kind);

/* The number that a text says; refuses what is no number, not whole, or out of range: what says whose it is. */
double number_told(const char *text, bool whole, double least, double most, const char *what);

/* Sets a field from text; refuses what is no number, or out of range: what says whose it is ("--dropout", "line 7 of
 * x"). */
void setup_set(setup *s, const setup_field *field, const char *text, const char *what);
/* The field's value as text that setup_set takes. */
void setup_text(const setup *s, const setup_field *field, char *text, size_t size);
const setup_field *setup_field_named(const char *name);

#endif
