/* SPDX-License-Identifier: BSD-3-Clause
 *
 * sample.h: numbers that were measured, and what is told of them. */
#ifndef TRANSLATE_SAMPLE_H
#define TRANSLATE_SAMPLE_H

#include "measure/json.h"

#include <stddef.h>

/* To begin with, all zeros. */
typedef struct sample {
    double *values;
    size_t count, capacity;
    size_t undefined; /* NaNs, which were left out */
} sample;

void sample_add(sample *s, double value);
void sample_free(sample *s);

/* NaN of no numbers. The deviation is of the numbers themselves (divided by their count). */
double sample_mean(const sample *s);
double sample_deviation(const sample *s);
double sample_quantile(const sample *s, double share);

/* An object: count, undefined, mean, deviation, and the quantiles 5, 25, 50, 75 and 95 %. */
void json_sample(json *out, const char *key, const sample *s);

#endif
