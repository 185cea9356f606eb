/* SPDX-License-Identifier: BSD-3-Clause
 *
 * sample.c: see sample.h. */
#include "explain/sample.h"

#include "measure/correlation.h"
#include "refuse.h"

#include <math.h>
#include <stdlib.h>

void sample_add(sample *s, double value)
{
    if (isnan(value)) {
        s->undefined++;
        return;
    }
    if (s->count == s->capacity) {
        s->capacity = 2 * s->capacity + 16;
        s->values = reallocate(s->values, s->capacity, sizeof *s->values);
    }
    s->values[s->count++] = value;
}

void sample_free(sample *s)
{
    free(s->values);
    *s = (sample){0};
}

double sample_mean(const sample *s)
{
    double sum = 0;
    for (size_t i = 0; i < s->count; i++) sum += s->values[i];
    return sum / (double)s->count;
}

double sample_deviation(const sample *s)
{
    const double mean = sample_mean(s);
    double sum = 0;
    for (size_t i = 0; i < s->count; i++) sum += (s->values[i] - mean) * (s->values[i] - mean);
    return sqrt(sum / (double)s->count);
}

double sample_quantile(const sample *s, double share)
{
    return quantile(s->values, s->count, share);
}

void json_sample(json *out, const char *key, const sample *s)
{
    static const struct {
        const char *name;
        double share;
    } quantiles[] = {{"p5", 0.05}, {"p25", 0.25}, {"median", 0.5}, {"p75", 0.75}, {"p95", 0.95}};
    json_key(out, key), json_object(out);
    json_key(out, "count"), json_integer(out, (long long)s->count);
    json_key(out, "undefined"), json_integer(out, (long long)s->undefined);
    json_key(out, "mean"), json_number(out, sample_mean(s));
    json_key(out, "deviation"), json_number(out, sample_deviation(s));
    for (size_t i = 0; i < sizeof quantiles / sizeof quantiles[0]; i++) {
        json_key(out, quantiles[i].name), json_number(out, sample_quantile(s, quantiles[i].share));
    }
    json_close(out);
}
