/* SPDX-License-Identifier: BSD-3-Clause
 *
 * taxonomy.h: what one word says of another: a king is a person, a king is no queen, Paris is in France. */
#ifndef INFERENCE_TAXONOMY_H
#define INFERENCE_TAXONOMY_H

#include "text/lexicon.h"

/* Of what is said first to what is said second, as sets of things that it can be said of (MacCartney and Manning 2009,
 * of whose seven relations these are the ones that the grammar has). */
enum relation {
    EQUAL,
    NARROWER, /* king, person: the first implies the second */
    WIDER,    /* person, king: the second implies the first */
    EXCLUDES, /* king, queen: never both */
    OTHER     /* king, judge: any of both */
};

/* Of several things said at once, all of which must hold, to several others: EXCLUDES if some pair does, NARROWER or
 * EQUAL if all are, and so on. */
enum relation relation_join(enum relation a, enum relation b);

/* The nouns that have a place in the taxonomy. */
struct concept {
    const struct noun *noun;
    int above;     /* what it is a kind of, an index of concepts, or -1 */
    unsigned kind; /* PERSON, GROUP, PAPER or PLACE: nothing is of two */
};

enum { CONCEPTS_MOST = 64 };

int concept_count(void);
const struct concept *concept_at(int index);
int concept_named(const char *english); /* gives up where there is none */
int concept_root(unsigned kind);

/* Kinds exclude each other; within a kind man and woman do, with all that is below them; else who is none of the
 * other's kind may be both: a minister may be a judge. */
enum relation concept_relation(int a, int b);

/* Antonyms exclude each other, as nationalities do, which imply European. */
enum relation adjective_relation(const struct adjective *a, const struct adjective *b);

/* Antonyms exclude each other: buy, sell; of the others an event may be both. */
enum relation verb_relation(const struct verb *a, const struct verb *b);
const struct verb *verb_opposite(const struct verb *verb); /* NULL: it has none */

/* A city implies its country; places of which none implies the other exclude each other. */
enum relation place_relation(const struct name *a, const struct name *b);
const struct name *place_country(const struct name *city); /* NULL: it is a country, or its country has no name here */

#endif
