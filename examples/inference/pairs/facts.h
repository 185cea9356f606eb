/* SPDX-License-Identifier: BSD-3-Clause
 *
 * facts.h: what a sentence says, and what follows from it. Labels come from here alone; nothing looks at words.
 *
 * A sentence says that an event happened (or will), or denies it. The two sentences of a pair speak of one event and,
 * where the words allow, of the same persons and things, as the annotators of SNLI were told (Bowman 2015, section
 * 2.1). So another place, another day, another number of persons exclude each other. Every statement about the event
 * (who, what, which, where, when) must hold for the sentence to be true; what is left unsaid may be anything. Numbers
 * are exact; "the king" says more than "a king", "the kings" and "three kings" more than "some kings".
 *
 * "Not" denies the sentence as a whole ("it is not so that ..."). With A the premise's event and B the hypothesis's:
 *
 *     premise    hypothesis   entailed             contradicted         neutral
 *     A          B            A implies B          A excludes B         otherwise
 *     A          not B        A excludes B         A implies B          otherwise
 *     not A      B            -                    B implies A          otherwise
 *     not A      not B        B implies A          -                    otherwise */
#ifndef INFERENCE_FACTS_H
#define INFERENCE_FACTS_H

#include "pairs/label.h"
#include "pairs/taxonomy.h"
#include "text/say_verb.h"

enum quantity { THE_ONE, ONE, THE_MANY, SOME_MANY, COUNTED };
enum { THING_ADJECTIVES = 2 };

struct thing {
    int concept; /* -1: nothing is said of it */
    enum quantity quantity;
    int number;                                           /* counted: an index of numbers */
    const struct adjective *adjectives[THING_ADJECTIVES]; /* NULL: none */
    const struct verb *did;                               /* "who arrived", or NULL */
};

struct event {
    const struct verb *verb;
    enum tense tense; /* PAST or FUTURE */
    bool denied;
    struct thing agent, patient; /* a verb without an object has no patient */
    const struct name *place;    /* NULL: not said */
    int weekday, month, year;    /* from 1; 0: not said. A weekday has no month or year beside it */
    bool passive, time_first;    /* how it is said: no part of what is */
};

/* Of the events, as if none was denied. */
enum relation event_relation(const struct event *a, const struct event *b);
enum label label_of(const struct event *premise, const struct event *hypothesis);

/* Whether English says it, and means by it what is said above: a passive has a patient, a denied event is of "the"
 * king, since "some kings did not" denies something else. */
bool event_sayable(const struct event *e);

/* As English words, into a pair whose source they become. */
void event_say(const struct event *e, sentence_pair *pair);

#endif
