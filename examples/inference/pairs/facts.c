/* SPDX-License-Identifier: BSD-3-Clause
 *
 * facts.c: see facts.h. */
#include "pairs/facts.h"

#include <stddef.h>

const char *const label_names[LABELS] = {"entailed", "contradicted", "neutral"};

/* What is unsaid may be anything. */
static enum relation of_said(bool a, bool b, enum relation both)
{
    return a && b ? both : a ? NARROWER : b ? WIDER : EQUAL;
}

static enum relation numbers_relation(int a, int b) /* each 0 where it is unsaid */
{
    return of_said(a != 0, b != 0, a == b ? EQUAL : EXCLUDES);
}

static enum relation quantity_relation(const struct thing *a, const struct thing *b)
{
    const bool a_one = a->quantity <= ONE, b_one = b->quantity <= ONE;
    if (a_one != b_one) return EXCLUDES;
    if (a->quantity == b->quantity) return a->quantity != COUNTED || a->number == b->number ? EQUAL : EXCLUDES;
    if (a_one) return a->quantity == THE_ONE ? NARROWER : WIDER;
    if (b->quantity == SOME_MANY) return NARROWER;
    return a->quantity == SOME_MANY ? WIDER : OTHER;
}

/* Whether all that b's adjectives say is said by a's. */
static bool adjectives_cover(const struct thing *a, const struct thing *b)
{
    for (int k = 0; k < THING_ADJECTIVES; k++) {
        bool covered = b->adjectives[k] == NULL;
        for (int i = 0; i < THING_ADJECTIVES && !covered; i++) {
            covered = a->adjectives[i] != NULL && adjective_relation(a->adjectives[i], b->adjectives[k]) <= NARROWER;
        }
        if (!covered) return false;
    }
    return true;
}

static enum relation adjectives_relation(const struct thing *a, const struct thing *b)
{
    for (int i = 0; i < THING_ADJECTIVES; i++) {
        for (int k = 0; k < THING_ADJECTIVES; k++) {
            if (a->adjectives[i] != NULL && b->adjectives[k] != NULL &&
                adjective_relation(a->adjectives[i], b->adjectives[k]) == EXCLUDES) {
                return EXCLUDES;
            }
        }
    }
    const bool narrower = adjectives_cover(a, b), wider = adjectives_cover(b, a);
    return narrower && wider ? EQUAL : narrower ? NARROWER : wider ? WIDER : OTHER;
}

static enum relation thing_relation(const struct thing *a, const struct thing *b)
{
    if (a->concept < 0 || b->concept < 0) return of_said(a->concept >= 0, b->concept >= 0, EQUAL);
    enum relation r = relation_join(concept_relation(a->concept, b->concept), quantity_relation(a, b));
    r = relation_join(r, adjectives_relation(a, b));
    const enum relation did = a->did != NULL && b->did != NULL && a->did != b->did
                                  ? OTHER /* who has arrived may have left, too */
                                  : of_said(a->did != NULL, b->did != NULL, EQUAL);
    return relation_join(r, did);
}

enum relation event_relation(const struct event *a, const struct event *b)
{
    enum relation r = relation_join(verb_relation(a->verb, b->verb), a->tense == b->tense ? EQUAL : EXCLUDES);
    r = relation_join(r, thing_relation(&a->agent, &b->agent));
    r = relation_join(r, thing_relation(&a->patient, &b->patient));
    const bool placed = a->place != NULL && b->place != NULL;
    r = relation_join(r,
                      of_said(a->place != NULL, b->place != NULL, placed ? place_relation(a->place, b->place) : EQUAL));
    r = relation_join(r, numbers_relation(a->weekday, b->weekday));
    r = relation_join(r, numbers_relation(a->month, b->month));
    return relation_join(r, numbers_relation(a->year, b->year));
}

enum label label_of(const struct event *premise, const struct event *hypothesis)
{
    const enum relation r = event_relation(premise, hypothesis);
    const bool forward = r == EQUAL || r == NARROWER, backward = r == EQUAL || r == WIDER;
    if (!premise->denied) {
        const enum label implied = hypothesis->denied ? CONTRADICTED : ENTAILED;
        const enum label excluded = hypothesis->denied ? ENTAILED : CONTRADICTED;
        return forward ? implied : r == EXCLUDES ? excluded : NEUTRAL;
    }
    if (!backward) return NEUTRAL;
    return hypothesis->denied ? ENTAILED : CONTRADICTED;
}

static bool definite(const struct thing *t)
{
    return t->concept < 0 || t->quantity == THE_ONE || t->quantity == THE_MANY;
}

static bool adjectives_fit(const struct thing *t)
{
    const struct adjective *first = t->adjectives[0], *second = t->adjectives[1];
    if (t->concept < 0) return true;
    if (first == NULL) return second == NULL;
    const unsigned kind = concept_at(t->concept)->kind;
    return (first->classes & kind) != 0 && (second == NULL || (first->rank < second->rank && (second->classes & kind)));
}

bool event_sayable(const struct event *e)
{
    const bool transitive = e->verb->kind == TRANSITIVE;
    if (transitive != (e->patient.concept >= 0) || (e->passive && !transitive)) return false;
    if (e->agent.concept < 0 ? !e->passive : (concept_at(e->agent.concept)->kind & ACTOR) == 0) return false;
    if (transitive && (e->verb->objects & concept_at(e->patient.concept)->kind) == 0) return false;
    if (e->weekday != 0 && (e->month != 0 || e->year != 0)) return false;
    if (e->time_first && e->weekday + e->month + e->year == 0) return false;
    if (!adjectives_fit(&e->agent) || !adjectives_fit(&e->patient)) return false;
    if (e->agent.did != NULL && concept_at(e->agent.concept)->kind != PERSON) return false;
    if (e->patient.did != NULL && concept_at(e->patient.concept)->kind != PERSON) return false;
    const bool object_free = !e->passive && e->patient.quantity == ONE;
    return !e->denied || (definite(&e->agent) && (definite(&e->patient) || object_free));
}

/* ---- Words ---- */

static struct agreement say_thing(writer *w, const struct thing *t)
{
    struct noun_choice choice = {.noun = concept_at(t->concept)->noun, .plural = t->quantity >= THE_MANY};
    choice.determiner = t->quantity == COUNTED     ? NO_DETERMINER
                        : t->quantity == SOME_MANY ? SOME
                        : t->quantity == ONE       ? A
                                                   : THE;
    if (t->quantity == COUNTED) choice.number = &numbers[t->number];
    for (int i = 0; i < THING_ADJECTIVES; i++) {
        if (t->adjectives[i] != NULL) choice.adjectives[choice.adjective_count++] = t->adjectives[i];
    }
    const struct agreement agreement = say_noun(w, &choice, ANYWHERE);
    if (t->did != NULL) {
        const struct verb_choice did = {.verb = t->did, .tense = PAST};
        say_both(w, "who", "qui");
        say_active(w, &did, agreement, NULL);
    }
    return agreement;
}

static void say_time(writer *w, const struct event *e)
{
    if (e->weekday != 0) say_weekday(w, &weekdays[e->weekday - 1]);
    if (e->month != 0 || e->year != 0) say_date(w, 0, e->month != 0 ? &months[e->month - 1] : NULL, e->year);
}

void event_say(const struct event *e, sentence_pair *pair)
{
    static const struct word by = {"by", "par"};
    const struct verb_choice choice = {.verb = e->verb, .tense = e->tense, .polarity = e->denied ? NOT : AFFIRMED};
    writer w;
    writer_begin(&w);
    if (e->time_first) {
        say_time(&w, e);
        say_both(&w, ",", ",");
    }
    if (e->passive) {
        say_be(&w, &choice, say_thing(&w, &e->patient), true);
        if (e->agent.concept >= 0) {
            say_preposition(&w, &by);
            say_thing(&w, &e->agent);
        }
    } else {
        say_active(&w, &choice, say_thing(&w, &e->agent), NULL);
        if (e->patient.concept >= 0) say_thing(&w, &e->patient);
    }
    if (e->place != NULL) say_in_name(&w, e->place);
    if (!e->time_first) say_time(&w, e);
    say_both(&w, ".", ".");
    sentence_pair said = {0};
    writer_finish(&w, &said);
    for (int i = 0; i < said.source_count; i++) pair_add_source(pair, said.source[i]);
    pair_free(&said);
}
