/* SPDX-License-Identifier: BSD-3-Clause
 *
 * hull.h: a context is a convex combination of the values: it lies within their hull, so that in no direction it
 * reaches farther than the farthest of them. */
#ifndef TRANSLATE_HULL_H
#define TRANSLATE_HULL_H

#include "explain/replay.h"
#include "measure/json.h"

typedef struct hull {
    long looks;   /* steps times lines */
    long outside; /* of them, where the context is beyond all values by more than rounding can do */
    double
        least_slack; /* of what is left to the nearer of the two farthest values, divided by how far these lie apart */
    double mean_slack;  /* 0: every context is a value itself, or on the hull's edge; 1/2: in the middle */
    double weights_sum; /* the farthest that a step's weights sum from 1 */
} hull;

/* Along every axis, and along so many lines at random. */
hull hull_measure(const replay *r, int directions, random_stream *chance);
void hull_json(json *out, const hull *h); /* an object */

#endif
