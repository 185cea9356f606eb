/* SPDX-License-Identifier: BSD-3-Clause
 *
 * likeness.c: see likeness.h. */
#include "explain/likeness.h"

#include "explain/distribution.h"
#include "explain/replay.h"
#include "refuse.h"

#include <stdlib.h>

/* A sentence of length words: whole sentences one behind the other, the last one cut; of the target the words of those
 * that are whole, or of the first where it is the only one. */
typedef struct joined {
    batch view;
    int *source, *in, *out;
} joined;

static joined join(const dataset *d, size_t first, int length)
{
    joined j = {.source = allocate((size_t)length, sizeof *j.source)};
    int words = 0, said = 0, room = 1;
    for (size_t i = first; words < length; i = (i + 1) % d->count)
        room += d->target_count[i], words += d->source_count[i];
    j.in = allocate((size_t)room, sizeof *j.in), j.out = allocate((size_t)room, sizeof *j.out);
    words = 0;
    for (size_t i = first; words < length; i = (i + 1) % d->count) {
        const bool whole = words + d->source_count[i] <= length;
        for (int k = 0; k < d->source_count[i] && words < length; k++) j.source[words++] = d->source[i][k];
        for (int k = 0; k < d->target_count[i] && (whole || i == first); k++) j.out[said++] = d->target[i][k];
    }
    j.out[said++] = WORD_END;
    j.in[0] = WORD_BEGIN;
    for (int t = 1; t < said; t++) j.in[t] = j.out[t - 1];
    j.view = (batch){1, length, said, j.source, NULL, j.in, j.out};
    return j;
}

static void joined_free(joined *j)
{
    free(j->source);
    free(j->in);
    free(j->out);
}

static double distance(const real *x, const double *y, int n)
{
    double sum = 0;
    for (int i = 0; i < n; i++) sum += ((double)x[i] - y[i]) * ((double)x[i] - y[i]);
    return sqrt(sum);
}

static void mean_of(const real *rows, int count, int n, double *mean)
{
    for (int i = 0; i < n; i++) mean[i] = 0;
    for (int r = 0; r < count; r++) {
        for (int i = 0; i < n; i++) mean[i] += (double)rows[(ptrdiff_t)r * n + i] / count;
    }
}

/* Root mean square of rows' distance from their mean. */
static double spread_of(const real *rows, int count, int n, double *mean)
{
    double sum = 0;
    mean_of(rows, count, n, mean);
    for (int r = 0; r < count; r++) {
        const double far = distance(rows + (ptrdiff_t)r * n, mean, n);
        sum += far * far / count;
    }
    return sqrt(sum);
}

/* The mean over pairs follows from the length of the sum of unit vectors. */
static double mean_cosine(const real *rows, int count, int n, double *sums)
{
    for (int i = 0; i < n; i++) sums[i] = 0;
    for (int r = 0; r < count; r++) {
        double square = 0;
        for (int i = 0; i < n; i++) square += (double)rows[(ptrdiff_t)r * n + i] * (double)rows[(ptrdiff_t)r * n + i];
        for (int i = 0; i < n; i++) sums[i] += (double)rows[(ptrdiff_t)r * n + i] / sqrt(square);
    }
    double square = 0;
    for (int i = 0; i < n; i++) square += sums[i] * sums[i];
    return count > 1 ? (square - count) / count / (count - 1) : 1;
}

static void add_sample(likeness *l, const model *m, const batch *sentence, int samples)
{
    const int n = ((const recurrent *)m->parts)->decoder.states;
    replay r = replay_begin(m, sentence);
    double *mean = allocate((size_t)n, sizeof *mean), *other = allocate((size_t)n, sizeof *other);
    const double spread = spread_of(r.walk.encoded.states, r.sources, n, mean), share = 1.0 / r.steps / samples;
    l->cosine += mean_cosine(r.walk.encoded.states, r.sources, n, other) / samples;
    l->moves += spread_of(r.walk.contexts, r.steps, n, other) / spread / samples;
    for (int t = 0; t < r.steps; t++) {
        const flatness f = flatness_of(r.weights + (ptrdiff_t)t * r.sources, r.sources);
        l->entropy += share * f.entropy / log(r.sources);
        l->effective += share * f.effective;
        l->greatest += share * f.greatest;
        l->from_mean += share * distance(r.walk.contexts + (ptrdiff_t)t * n, mean, n) / spread;
    }
    free(mean);
    free(other);
    replay_free(&r);
}

likeness likeness_measure(const model *m, const dataset *data, int length, int samples, uint64_t seed)
{
    likeness l = {.length = length};
    random_stream stream = random_begin(seed, 7, (uint64_t)length);
    for (int s = 0; s < samples; s++) {
        joined j = join(data, random_below(&stream, data->count), length);
        j.view.source_lengths = &length;
        add_sample(&l, m, &j.view, samples);
        joined_free(&j);
    }
    return l;
}

void likeness_json(json *out, const likeness *l)
{
    json_object(out);
    json_key(out, "words"), json_integer(out, l->length);
    json_key(out, "entropy"), json_number(out, l->entropy);
    json_key(out, "effective"), json_number(out, l->effective);
    json_key(out, "greatest"), json_number(out, l->greatest);
    json_key(out, "context_from_mean"), json_number(out, l->from_mean);
    json_key(out, "context_moves"), json_number(out, l->moves);
    json_key(out, "cosine"), json_number(out, l->cosine);
    json_close(out);
}

static void squeeze(const model *m, const batch *sentence, int samples, squeeze_point points[SQUEEZES])
{
    const recurrent *unit = m->parts;
    const int n = unit->decoder.states;
    replay r = replay_begin(m, sentence);
    pass *p = &r.again;
    const size_t cells = (size_t)r.sources * (size_t)n;
    double *mean = allocate((size_t)n, sizeof *mean), *other = allocate((size_t)n, sizeof *other);
    const double spread = spread_of(r.walk.encoded.states, r.sources, n, mean), share = 1.0 / r.steps / samples;
    for (int i = 0; i < SQUEEZES; i++) {
        const double left = points[i].left = i + 1 < SQUEEZES ? ldexp(1, -i) : 0;
        pass_restart(p);
        real *states = pass_reals(p, cells), *context = pass_reals(p, (size_t)n);
        real *weights = pass_reals(p, (size_t)r.sources);
        for (size_t k = 0; k < cells; k++) {
            const double middle = mean[k % (size_t)n];
            states[k] = (real)(middle + left * ((double)r.walk.encoded.states[k] - middle));
        }
        const attention_keys keys =
            attention_keys_begin(p, &unit->attention, 1, r.sources, sentence->source_lengths, states);
        for (int t = 0; t < r.steps; t++) {
            const real *query = r.walk.decoder.states + (ptrdiff_t)(unit->before ? t : t + 1) * n;
            attention_forward(&unit->attention, &keys, t, query, NULL, context, NULL, weights);
            const flatness f = flatness_of(weights, r.sources);
            points[i].entropy += share * f.entropy / log(r.sources);
            points[i].effective += share * f.effective;
            points[i].from_mean += share * distance(context, mean, n) / spread;
        }
        points[i].cosine += mean_cosine(states, r.sources, n, other) / samples;
    }
    free(mean);
    free(other);
    replay_free(&r);
}

void squeeze_measure(const model *m, const dataset *data, int length, int samples, uint64_t seed,
                     squeeze_point points[SQUEEZES])
{
    random_stream stream = random_begin(seed, 7, (uint64_t)length);
    for (int i = 0; i < SQUEEZES; i++) points[i] = (squeeze_point){0};
    for (int s = 0; s < samples; s++) {
        joined j = join(data, random_below(&stream, data->count), length);
        j.view.source_lengths = &length;
        squeeze(m, &j.view, samples, points);
        joined_free(&j);
    }
}

void squeeze_json(json *out, const squeeze_point points[SQUEEZES])
{
    json_array(out);
    for (int i = 0; i < SQUEEZES; i++) {
        json_object(out);
        json_key(out, "left"), json_number(out, points[i].left);
        json_key(out, "entropy"), json_number(out, points[i].entropy);
        json_key(out, "effective"), json_number(out, points[i].effective);
        json_key(out, "context_from_mean"), json_number(out, points[i].from_mean);
        json_key(out, "cosine"), json_number(out, points[i].cosine);
        json_close(out);
    }
    json_close(out);
}
