/* SPDX-License-Identifier: BSD-3-Clause
 *
 * vocabulary.h: the words that a model knows, by number; the first are those of batch.h that are no words. */
#ifndef TRANSLATE_VOCABULARY_H
#define TRANSLATE_VOCABULARY_H

#include "model/batch.h"
#include "text/pair.h"

#include <stddef.h>

typedef struct vocabulary {
    char **words; /* [count] */
    int count;
    int *slots; /* a hash table of numbers, -1 where it is free */
    size_t slot_count;
} vocabulary;

/* The words of one side that occur at least `least` times, the commonest first, words that are as common in the order
 * of their bytes; at most `most` of them. */
vocabulary vocabulary_of(const pair_list *pairs, bool source, int most, int least);

/* One whose words are told, in order, the special ones first. Takes words over. */
vocabulary vocabulary_from_words(char **words, int count);

/* WORD_UNKNOWN for what it does not know, and for the names of the special ones. */
int vocabulary_number(const vocabulary *v, const char *word);
void vocabulary_free(vocabulary *v);

#endif
