/* SPDX-License-Identifier: BSD-3-Clause
 *
 * likeness.h: what becomes of attention as sentences get longer, with an encoder that has learned and with one that has
 * not. Where states are alike, so are scores; weights are flat, the context is the states' mean, and all that the
 * decoder gets is one vector again. */
#ifndef TRANSLATE_LIKENESS_H
#define TRANSLATE_LIKENESS_H

#include "measure/json.h"
#include "model/model.h"
#include "text/dataset.h"

typedef struct likeness {
    int length;       /* words of the source */
    double entropy;   /* of weights, divided by log(length); this and the next four: means over steps */
    double effective; /* e^entropy */
    double greatest;  /* weight */
    double from_mean; /* |context - mean of the states|, divided by the root mean square of |state - mean| */
    double moves;     /* root mean square of |context - its mean over the steps|, divided by the same: what of the
                         sentence the decoder sees differently from step to step */
    double cosine;    /* between two states, the mean over pairs */
} likeness;

/* Sources of just so many words, joined from the data's sentences from a place that number tells; targets, joined from
 * the same sentences. The mean over samples. */
likeness likeness_measure(const model *m, const dataset *data, int length, int samples, uint64_t seed);
void likeness_json(json *out, const likeness *l); /* an object */

/* The cause by itself: a sentence's states, moved towards their mean till this share of the way is left. The decoder's
 * states, which ask, are as they were. */
typedef struct squeeze_point {
    double left;      /* 1: the states as they are; 0: all alike */
    double entropy;   /* of weights, divided by log(words) */
    double effective; /* e^entropy */
    double
        from_mean; /* |context - mean of the states|, divided by how far states lay from it before, root mean square */
    double cosine; /* between two states, the mean over pairs */
} squeeze_point;

enum { SQUEEZES = 8 };

/* left = 1, 1/2, .. 1/64, 0; the mean over samples of so many words. */
void squeeze_measure(const model *m, const dataset *data, int length, int samples, uint64_t seed,
                     squeeze_point points[SQUEEZES]);
void squeeze_json(json *out, const squeeze_point points[SQUEEZES]); /* an array */

#endif
