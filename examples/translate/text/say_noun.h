/* SPDX-License-Identifier: BSD-3-Clause
 *
 * say_noun.h: noun phrases, names and dates in both languages, once it has been chosen what to say. */
#ifndef TRANSLATE_SAY_NOUN_H
#define TRANSLATE_SAY_NOUN_H

#include "text/lexicon.h"
#include "text/writer.h"

/* What verbs, adjectives and participles agree with. */
struct agreement {
    bool plural, feminine, first_person;
};

/* What stands before a noun phrase and changes its French article. */
enum phrase_place {
    ANYWHERE,
    AFTER_DE,      /* beaucoup de lettres, not de des lettres */
    UNDER_NEGATION /* the object in il n'a pas signé de lettre */
};

enum determiner {
    NO_DETERMINER, /* letters, des lettres */
    THE,
    A,
    THIS,
    MY,
    HIS,
    HER,
    OUR,
    THEIR,
    ALL_THE,
    EVERY,
    MANY,
    SEVERAL,
    SOME,
    FEW
};

enum { MOST_ADJECTIVES = 3 };

struct noun_choice {
    const struct noun *noun;
    enum determiner determiner;
    bool plural;
    const struct word *number; /* NULL: none; it makes the noun plural, which plural says too */
    const struct adjective *adjectives[MOST_ADJECTIVES]; /* in the English order */
    int adjective_count;
};

/* Each says the whole and gives what agrees with it. */
struct agreement say_noun(writer *w, const struct noun_choice *choice, enum phrase_place place);
struct agreement say_name(writer *w, const struct name *name);
struct agreement say_european(writer *w, const struct european_field *field, const struct european_kind *kind);

/* "in France", "in Paris"; both are names. */
void say_in_name(writer *w, const struct name *name);

/* The adjective alone, where a verb links it to what it agrees with. */
void say_adjective(writer *w, const struct adjective *adjective, struct agreement with);

/* "of", and any other preposition with its translation. */
void say_of(writer *w);
void say_preposition(writer *w, const struct word *preposition);

/* "in August 1992", "on 3 May 1998", "in 1992", "on Monday"; day 0 and year 0 leave them out. */
void say_date(writer *w, int day, const struct word *month, int year);
void say_weekday(writer *w, const struct word *weekday);

#endif
