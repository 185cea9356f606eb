/* SPDX-License-Identifier: BSD-3-Clause
 *
 * grammar.h: English sentences with their French translation, and which word translates which. The French is a function
 * of the English: every word has one translation, every tense one counterpart, and whatever French marks that English
 * does not (the gender that an adjective, a participle or "it" agrees with) can be seen somewhere in the English.
 *
 * Links follow one guideline. Sure is what means the same by itself:
 *
 *  - words of content with their translation: signed-signé, 3-3, Area-zone;
 *  - articles, possessives, prepositions, conjunctions, pronouns with their counterpart: of-de, the-la, who-qui; where
 *    French contracts, with the one word that is left: of-du and the-du;
 *  - "not", "never", "no longer" with both halves of ne ... pas, ne ... jamais, ne ... plus, each English word with
 * each;
 *  - "be" with all of its French words, as was-a and was-été in "was signed", and "must", "can" with doit, peut;
 *  - every word of a name with the French name's only word: United-États-Unis and States-États-Unis;
 *  - the comma and the full stop.
 *
 * Possible is what only the grammar of one side asks for:
 *
 *  - the French auxiliary with the English verb, or with its "did": signed?a, did?a; "do", "does" and "will" with the
 * verb that they belong to: will?signera;
 *  - French articles that English does without, with the noun or the name: ministers?des, France?la;
 *  - the second half of what is one word in English: many?de, near?de, because?que;
 *  - "on" before a date: on?le, and with a weekday: on?lundi.
 *
 * No word but these auxiliaries and prepositions is without a sure link on the English side; on the French side none
 * but auxiliaries, articles, de, que and le of a date. */
#ifndef TRANSLATE_GRAMMAR_H
#define TRANSLATE_GRAMMAR_H

#include "text/pair.h"

#include <stdint.h>

/* The same seed in state gives the same sentences on every machine. */
typedef struct grammar_random {
    uint64_t state;
} grammar_random;

enum { GRAMMAR_SHORTEST = 3, GRAMMAR_LONGEST = 60 };

/* Fills *pair, which is all zeros, with a sentence of min_tokens to max_tokens English tokens, the full stop among
 * them; every length between is as likely as another. Both are within GRAMMAR_SHORTEST and GRAMMAR_LONGEST. */
void grammar_sentence(grammar_random *random, int min_tokens, int max_tokens, sentence_pair *pair);

/* "The agreement on the European Economic Area was signed in August 1992 .", the sentence of Bahdanau et al. (2015,
 * figure 3). It can be drawn like any other: whoever holds it out leaves out what grammar_is_canonical finds. */
void grammar_canonical(sentence_pair *pair);
bool grammar_is_canonical(const sentence_pair *pair);

#endif
