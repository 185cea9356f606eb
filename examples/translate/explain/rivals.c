/* SPDX-License-Identifier: BSD-3-Clause
 *
 * rivals.c: see rivals.h. */
#include "explain/rivals.h"

#include "explain/distribution.h"
#include "explain/replay.h"
#include "refuse.h"

#include <string.h>

static bool same_words(const vocabulary *a, const vocabulary *b)
{
    if (a->count != b->count) return false;
    for (int i = 0; i < a->count; i++) {
        if (strcmp(a->words[i], b->words[i]) != 0) return false;
    }
    return true;
}

void rivals_fit(const checkpoint *one, const checkpoint *other, const char *path)
{
    const char *why = replay_refuses(other->model);
    if (why != NULL) refuse("%s is of the kind %s: %s", path, other->setup.model.kind, why);
    if (!same_words(&one->source, &other->source) || !same_words(&one->target, &other->target)) {
        refuse("%s knows other words, so its outputs cannot be compared", path);
    }
    if (one->setup.model.reverse_source != other->setup.model.reverse_source) {
        refuse("%s reads the source from the other end", path);
    }
}

void rivals_add(rivals *sums, const model *one, const model *other, const batch *sentence)
{
    replay a = replay_begin(one, sentence), b = replay_begin(other, sentence);
    for (int t = 0; t < a.steps; t++) {
        const ptrdiff_t row = (ptrdiff_t)t * a.sources, output = (ptrdiff_t)t * a.words;
        sample_add(&sums->divergence, divergence(a.weights + row, b.weights + row, a.sources));
        sample_add(&sums->variation, variation(a.outputs + output, b.outputs + output, a.words));
        sample_add(&sums->greatest, replay_greatest(&a, t));
        sums->same += likeliest(a.outputs + output, a.words) == likeliest(b.outputs + output, b.words);
    }
    replay_free(&a);
    replay_free(&b);
}

void rivals_json(const rivals *sums, json *out)
{
    json_sample(out, "divergence", &sums->divergence);
    json_sample(out, "variation", &sums->variation);
    json_key(out, "same_word"), json_number(out, (double)sums->same / (double)sums->divergence.count);
    json_key(out, "divergences"), json_row(out);
    for (size_t i = 0; i < sums->divergence.count; i++) json_number(out, sums->divergence.values[i]);
    json_close(out);
}

void rivals_free(rivals *sums)
{
    sample_free(&sums->divergence);
    sample_free(&sums->variation);
    sample_free(&sums->greatest);
}
