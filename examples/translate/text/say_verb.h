/* SPDX-License-Identifier: BSD-3-Clause
 *
 * say_verb.h: verbs in both languages, with what stands around and within them: auxiliaries, negation, adverbs, object
 * pronouns. */
#ifndef TRANSLATE_SAY_VERB_H
#define TRANSLATE_SAY_VERB_H

#include "text/say_noun.h"

enum tense {
    PRESENT,
    PAST, /* passé composé; of "be" with an adjective the imparfait */
    FUTURE,
    MUST,
    CAN
};

enum polarity { AFFIRMED, NOT, NEVER, NO_LONGER };

/* Before a pronoun of the first person no tense is used whose French form no other subject would need: the vocabulary
 * would grow by a fifth for little. */
struct pronoun {
    const char *english, *french, *before_vowel;
    struct agreement agreement;
};

extern const struct pronoun subject_pronouns[]; /* I, we, he, she, they */
extern const struct pronoun object_pronouns[];  /* him, her, them, me, us */
enum { SUBJECT_PRONOUNS = 5, OBJECT_PRONOUNS = 5, FIRST_PERSON_OBJECTS = 3 /* from here on */ };

struct verb_choice {
    const struct verb *verb; /* NULL: be, alone */
    enum tense tense;
    enum polarity polarity;
    const struct word *adverb;    /* NULL: none; only where affirmed */
    const struct pronoun *object; /* NULL: none */
};

/* How many English tokens the verb takes, and the verb "be" without what follows. */
int active_tokens(const struct verb_choice *choice);
int be_tokens(const struct verb_choice *choice);

struct agreement say_subject_pronoun(writer *w, const struct pronoun *pronoun);

/* Preceding is what an object that comes before the verb agrees with (la lettre qu'il a signée), NULL if none. */
void say_active(writer *w, const struct verb_choice *choice, struct agreement subject,
                const struct agreement *preceding);

/* "be", before an adjective or, if passive, the verb's participle, which is said too. */
void say_be(writer *w, const struct verb_choice *choice, struct agreement subject, bool passive);

#endif
