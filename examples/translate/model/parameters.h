/* SPDX-License-Identifier: BSD-3-Clause
 *
 * parameters.h: everything that a model learns, as named matrices in one array. A gradient and the moments of the
 * optimiser are arrays of the same layout, so that to add, clip and update they are single vectors. */
#ifndef TRANSLATE_PARAMETERS_H
#define TRANSLATE_PARAMETERS_H

#include "model/random.h"
#include "model/real.h"

#include <stddef.h>

typedef enum parameter_start {
    START_UNIFORM, /* within 1 / sqrt(columns) of 0 */
    START_GLOROT,  /* within sqrt(6 / (rows + columns)) of 0 (Glorot and Bengio 2010) */
    START_NORMAL,  /* of variance 1 / columns: embeddings */
    START_ZERO,
    START_ONE
} parameter_start;

typedef struct parameter {
    char name[40];
    int rows, columns; /* a vector has one row */
    size_t offset;     /* of its first number in the arrays */
    parameter_start start;
} parameter;

enum { PARAMETERS_MOST = 256 };

typedef struct parameter_set {
    parameter list[PARAMETERS_MOST];
    int count;
    size_t total;
    real *value; /* [total], once parameters_allocate has been called */
} parameter_set;

/* Names a matrix; what comes back stays where it is. */
const parameter *parameters_add(parameter_set *set, parameter_start start, int rows, int columns, const char *format,
                                ...);

/* Makes room for the values, and draws them. */
void parameters_allocate(parameter_set *set);
void parameters_draw(parameter_set *set, uint64_t seed);
void parameters_free(parameter_set *set);

#endif
