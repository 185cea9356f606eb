/* SPDX-License-Identifier: BSD-3-Clause
 *
 * lexicon.h: the words of the grammar. Every English word has one French one; what a rule makes of a
 * form without exception here (signée from signé, signera from signer) is not listed. */
#ifndef TRANSLATE_LEXICON_H
#define TRANSLATE_LEXICON_H

#include <stdbool.h>

/* What a noun names, as bits: light restrictions on who does what to whom. */
enum {
    PERSON = 1,
    GROUP = 2, /* acts as persons do: governments, banks */
    PAPER = 4, /* is written and signed */
    PLACE = 8, /* is built, and one can be in it */
    IDEA = 16, /* is adopted, discussed, changed */
    ACTOR = PERSON | GROUP,
    MATTER = PAPER | IDEA,
    ANYTHING = PERSON | GROUP | PAPER | PLACE | IDEA
};

struct noun {
    const char *english, *english_plural;
    const char *french, *french_plural;
    bool feminine;
    unsigned classes;
};

/* Where an English speaker puts the adjective, from the left; French has the first kind before the noun too, and the
 * others behind it, the other way round: the common French agricultural policy, la politique agricole française
 * commune. */
enum adjective_rank { BEFORE_NOUN, QUALITY, ORIGIN, FIELD, ADJECTIVE_RANKS };

struct adjective {
    const char *english;
    const char *french, *feminine, *plural; /* the feminine's plural is in -s */
    const char *before_vowel;               /* nouvel; NULL: it does not change */
    enum adjective_rank rank;
    unsigned classes; /* of the nouns that it may describe */
};

enum verb_kind {
    ALONE, /* takes no object: votes */
    TRANSITIVE,
    GIVING, /* something to someone */
    SAYING  /* that something is so */
};

struct verb {
    const char *english, *english_third, *english_past, *english_participle;
    const char *french, *singular, *plural; /* infinitive; il signe, ils signent */
    const char *future;                     /* signer-: il signera, ils signeront */
    const char *participle;
    enum verb_kind kind;
    bool with_etre;   /* est arrivé, not a arrivé */
    unsigned objects; /* what it is done to */
};

/* A name that takes no article in English, or always "the". */
struct name {
    const char *english[4]; /* up to three words, then NULL */
    const char *article;    /* the French one, NULL if none */
    const char *french;
    const char *in; /* en France, au Japon (said as à le Japon), à Paris */
    bool feminine, plural;
};

/* "the European Economic Area": a word for its field, and one for what it is. */
struct european_kind {
    const char *english, *french;
    bool feminine;
};

struct european_field {
    const char *english, *french, *feminine;
};

/* A word and its only translation. */
struct word {
    const char *english, *french;
};

extern const struct noun nouns[];
extern const struct adjective adjectives[];
extern const struct verb verbs[];
extern const struct name countries[], cities[], people[];
extern const struct european_kind european_kinds[];
extern const struct european_field european_fields[];
extern const struct word months[], weekdays[], numbers[]; /* numbers from two on */
extern const int noun_count, adjective_count, verb_count, country_count, city_count, people_count;
extern const int european_kind_count, european_field_count, number_count;

/* By their English words; whoever asks knows that they are there. */
const struct noun *find_noun(const char *english);
const struct adjective *find_adjective(const char *english);
const struct verb *find_verb(const char *english);
const struct european_kind *find_european_kind(const char *english);
const struct european_field *find_european_field(const char *english);

#endif
