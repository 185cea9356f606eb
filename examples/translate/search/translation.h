/* SPDX-License-Identifier: BSD-3-Clause
 *
 * translation.h: what a model makes of a sentence: words, and for each what it looked at. */
#ifndef TRANSLATE_TRANSLATION_H
#define TRANSLATE_TRANSLATION_H

#include "model/model.h"
#include "text/pair.h"
#include "text/vocabulary.h"

typedef struct translation {
    int source_count, count; /* words of the source, and of what was made, the end left out unless it is told */
    int *words;              /* [count] */
    double *weights;         /* [count, source_count], in the order of the sentence, whichever way it was read */
    double *scores;          /* the same, before softmax; NULL unless asked for */
    double log_probability;  /* of the words and the end */
} translation;

void translation_free(translation *t);

/* The translation's words; one that is unknown becomes the source word that it looked at most, as that is (Luong
 * 2015b). What comes back is the caller's, as are its words. */
char **translation_words(const translation *t, const vocabulary *target, char *const *source);
void words_free(char **words, int count);

/* The best of beam hypotheses for each row of a batch, greedy where beam is 1, each at most twice as long as its source
 * and ten words more. Hypotheses compare by log p / length^penalty (0: by log p). reversed: the source was read from
 * its end. */
void translate_batch(const model *m, const batch *b, int beam, double penalty, bool reversed, translation *made);

/* What a model looks at where it is told the words: for each row those of target_out, the end included. */
void force_batch(const model *m, const batch *b, bool reversed, bool scores, translation *made);

#endif
