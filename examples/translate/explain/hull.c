/* SPDX-License-Identifier: BSD-3-Clause
 *
 * hull.c: see hull.h. */
#include "explain/hull.h"

#include "refuse.h"

#include <float.h>
#include <stdlib.h>

static double along(const double *direction, const real *x, int n)
{
    double sum = 0;
    for (int i = 0; i < n; i++) sum += direction[i] * (double)x[i];
    return sum;
}

/* One line, for all steps. */
static void look(hull *h, const replay *r, const double *direction, int n)
{
    double least = HUGE_VAL, most = -HUGE_VAL;
    for (int j = 0; j < r->sources; j++) {
        const double at = along(direction, r->walk.encoded.states + (ptrdiff_t)j * n, n);
        least = fmin(least, at), most = fmax(most, at);
    }
    if (!(most > least)) return;
    for (int t = 0; t < r->steps; t++) {
        const double at = along(direction, r->walk.contexts + (ptrdiff_t)t * n, n);
        const double slack = fmin(most - at, at - least) / (most - least);
        h->looks++;
        h->outside += slack < -64 * (double)(sizeof(real) == sizeof(float) ? FLT_EPSILON : DBL_EPSILON);
        h->least_slack = fmin(h->least_slack, slack);
        h->mean_slack += slack;
    }
}

hull hull_measure(const replay *r, int directions, random_stream *chance)
{
    const int n = ((const recurrent *)r->of->parts)->decoder.states;
    double *direction = allocate((size_t)n, sizeof *direction);
    hull h = {.least_slack = HUGE_VAL};
    for (int d = 0; d < n + directions; d++) {
        for (int i = 0; i < n; i++) direction[i] = d < n ? (double)(i == d) : random_normal(chance);
        look(&h, r, direction, n);
    }
    for (int t = 0; t < r->steps; t++) {
        double sum = 0;
        for (int j = 0; j < r->sources; j++) sum += (double)r->weights[t * r->sources + j];
        h.weights_sum = fmax(h.weights_sum, fabs(sum - 1));
    }
    h.mean_slack /= (double)h.looks;
    free(direction);
    return h;
}

void hull_json(json *out, const hull *h)
{
    json_object(out);
    json_key(out, "looks"), json_integer(out, h->looks);
    json_key(out, "outside"), json_integer(out, h->outside);
    json_key(out, "least_slack"), json_number(out, h->least_slack);
    json_key(out, "mean_slack"), json_number(out, h->mean_slack);
    json_key(out, "weights_sum_off_by"), json_number(out, h->weights_sum);
    json_close(out);
}
