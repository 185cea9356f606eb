/* SPDX-License-Identifier: BSD-3-Clause
 *
 * distribution.c: see distribution.h. */
#include "explain/distribution.h"

#include "measure/correlation.h"
#include "refuse.h"

#include <stdlib.h>

static double *doubles(const real *from, int count)
{
    double *to = allocate((size_t)count, sizeof *to);
    for (int i = 0; i < count; i++) to[i] = (double)from[i];
    return to;
}

static double between(double (*measure)(const double *, const double *, size_t), const real *p, const real *q,
                      int count)
{
    double *a = doubles(p, count), *b = doubles(q, count);
    const double distance = measure(a, b, (size_t)count);
    free(a);
    free(b);
    return distance;
}

double variation(const real *p, const real *q, int count)
{
    return between(total_variation, p, q, count);
}

double divergence(const real *p, const real *q, int count)
{
    return between(jensen_shannon, p, q, count);
}

int likeliest(const real *p, int count)
{
    int best = 0;
    for (int i = 1; i < count; i++) {
        if (p[i] > p[best]) best = i;
    }
    return best;
}

flatness flatness_of(const real *weights, int count)
{
    double *exact = doubles(weights, count);
    flatness f = {.entropy = entropy(exact, (size_t)count)};
    f.effective = exp(f.entropy);
    f.greatest = exact[likeliest(weights, count)];
    free(exact);
    return f;
}
