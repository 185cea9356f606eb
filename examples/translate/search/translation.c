/* SPDX-License-Identifier: BSD-3-Clause
 *
 * translation.c: see translation.h. */
#include "search/translation.h"

#include "refuse.h"

#include <stdlib.h>

void translation_free(translation *t)
{
    free(t->words);
    free(t->weights);
    free(t->scores);
    *t = (translation){0};
}

static int strongest(const double *weights, int count)
{
    int best = 0;
    for (int j = 1; j < count; j++) {
        if (weights[j] > weights[best]) best = j;
    }
    return weights[best] > 0 ? best : -1;
}

char **translation_words(const translation *t, const vocabulary *target, char *const *source)
{
    char **words = allocate((size_t)t->count, sizeof *words);
    for (int i = 0; i < t->count; i++) {
        const char *word = target->words[t->words[i]];
        if (t->words[i] == WORD_UNKNOWN) {
            const int at = strongest(t->weights + (ptrdiff_t)i * t->source_count, t->source_count);
            if (at >= 0) word = source[at];
        }
        words[i] = copy_text(word);
    }
    return words;
}

void words_free(char **words, int count)
{
    for (int i = 0; i < count; i++) free(words[i]);
    free(words);
}
