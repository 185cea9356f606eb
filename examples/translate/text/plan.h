/* SPDX-License-Identifier: BSD-3-Clause
 *
 * plan.h: what a sentence is to say, drawn at random for a number of English tokens. Every plan takes exactly as many
 * tokens as it is given and shares them out among its parts, so that nothing has to be thrown away. */
#ifndef TRANSLATE_PLAN_H
#define TRANSLATE_PLAN_H

#include "text/draw.h"
#include "text/say_noun.h"
#include "text/say_verb.h"

typedef struct maker {
    writer w;
    grammar_random *random;
    int depth;  /* of relative clauses */
    bool timed; /* the sentence began with its time, and has no other */
} maker;

/* What a clause is about: what its verb agrees with, and what can be said of it. */
struct subject {
    struct agreement agreement;
    unsigned classes;
    bool pronoun;
};

/* What a noun phrase may have within it, as bits. */
enum { MAY_RELATE = 1, MAY_COORDINATE = 2 };

enum { ANY_TENSE = -1 };

struct clause_plan {
    int tense;                        /* an enum tense or ANY_TENSE */
    bool may_say;                     /* that something is so */
    bool second;                      /* "it" and "they" mean what the first clause is about */
    const struct subject *antecedent; /* that, NULL if it is none to be meant by them */
};

/* At least 1 token. */
struct subject plan_noun_phrase(maker *m, int tokens, unsigned classes, unsigned may, enum phrase_place place);

/* Without what could follow it. At most 5 tokens; classes must have a noun. */
struct subject plan_noun_core(maker *m, int tokens, unsigned classes, enum phrase_place place, bool name_allowed);

/* At least 3 tokens. */
void plan_relative(maker *m, int tokens, const struct subject *head);

/* At least 2 tokens, and one more in a tense that takes an auxiliary. */
struct subject plan_clause(maker *m, int tokens, const struct clause_plan *plan);
void plan_verb_phrase(maker *m, int tokens, const struct subject *subject, const struct clause_plan *plan);

/* When, where, with whom: at least 1 token, 0 says nothing. */
void plan_adjuncts(maker *m, int tokens, enum tense tense);
/* "on 3 May 1998", "in 1992", "on Monday": 2 to 4 tokens, in a year that goes with the tense. */
void plan_time(maker *m, int tokens, enum tense tense);

/* All but the full stop. */
void plan_sentence(maker *m, int tokens);

#endif
