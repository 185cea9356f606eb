/* SPDX-License-Identifier: BSD-3-Clause
 *
 * writer.h: the two sides of a sentence while they are being said, word by word. Each side has an order of its own, and
 * links hold words together whatever their places. Words are said in their full form; what the next word does to them
 * (l', cet, nouvel, an) and what runs together (de + le = du) is settled at the end, when every neighbour is known. */
#ifndef TRANSLATE_WRITER_H
#define TRANSLATE_WRITER_H

#include "text/pair.h"

enum { WRITER_TOKENS = 256, WRITER_LINKS = 1024, WRITER_BYTES = 32 };

typedef struct writer_token {
    char text[WRITER_BYTES];
    const char *before_vowel; /* what it becomes before a vowel; NULL: it stays */
} writer_token;

typedef struct writer {
    writer_token english[WRITER_TOKENS], french[WRITER_TOKENS];
    pair_link links[WRITER_LINKS];
    int english_count, french_count, link_count;
} writer;

void writer_begin(writer *w);

/* Say the next word of a side and give its place, to link it by. A French word is text and ending run
 * together (signé + es). */
int say_english(writer *w, const char *text);
int say_french(writer *w, const char *text, const char *ending);
/* The same for words that change before a vowel: le l', nouveau nouvel, a an. */
int say_english_or(writer *w, const char *text, const char *before_vowel);
int say_french_or(writer *w, const char *text, const char *before_vowel);

void link_sure(writer *w, int english, int french);
void link_possible(writer *w, int english, int french);

/* A word on either side, surely linked. */
void say_both(writer *w, const char *english, const char *french);

/* Elides, contracts, writes the first letters large, and fills *pair, which is all zeros. */
void writer_finish(writer *w, sentence_pair *pair);

#endif
