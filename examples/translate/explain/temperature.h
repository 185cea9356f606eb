/* SPDX-License-Identifier: BSD-3-Clause
 *
 * temperature.h: what a model's scores become as they are divided by a temperature: from all words alike to one word
 * alone. */
#ifndef TRANSLATE_TEMPERATURE_H
#define TRANSLATE_TEMPERATURE_H

#include "explain/replay.h"
#include "measure/json.h"

typedef struct temperature_point {
    double temperature; /* 0: hardmax */
    double entropy;     /* means over the steps of a sentence; divided by log(words of the source) */
    double effective;   /* e^entropy: words that are in effect looked at */
    double greatest;    /* weight */
} temperature_point;

enum { TEMPERATURES = 14 };

/* From 32 down to 1/128, by halves; then hardmax, the limit. */
void temperature_measure(const replay *r, temperature_point points[TEMPERATURES]);
void temperature_json(json *out, const temperature_point points[TEMPERATURES]); /* an array */

#endif
