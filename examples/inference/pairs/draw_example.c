/* SPDX-License-Identifier: BSD-3-Clause
 *
 * draw_example.c: events at random, and changes of them that go in a wanted direction; see example.h. */
#include "pairs/example.h"
#include "text/draw.h"

#include <stddef.h>

/* ---- An event ---- */

static int draw_concept(grammar_random *random, unsigned kind)
{
    if (draw_chance(random, 12)) return concept_root(kind);
    for (;;) {
        const int i = draw_below(random, concept_count());
        if (concept_at(i)->kind == kind) return i;
    }
}

/* Half of them exclude another. */
static const struct adjective *draw_adjective(grammar_random *random, unsigned kind)
{
    static const char *const few[] = {"small",    "big",       "new",       "old",          "beautiful", "good",
                                      "famous",   "important", "dangerous", "French",       "German",    "Italian",
                                      "European", "foreign",   "national",  "international"};
    for (;;) {
        const struct adjective *a = find_adjective(few[draw_below(random, (int)(sizeof few / sizeof few[0]))]);
        if ((a->classes & kind) != 0) return a;
    }
}

static const struct verb *draw_verb(grammar_random *random, enum verb_kind kind, unsigned objects)
{
    for (;;) {
        const struct verb *v = &verbs[draw_below(random, verb_count)];
        if (v->kind == kind && (kind == ALONE || (v->objects & objects) != 0)) return v;
    }
}

static const struct name *draw_place(grammar_random *random)
{
    for (;;) {
        const struct name *city = &cities[draw_below(random, city_count)], *country = place_country(city);
        if (country != NULL) return draw_chance(random, 60) ? city : country;
    }
}

/* Puts an adjective where its rank says; what is there of that rank, or the last, gives way. */
static void add_adjective(struct thing *t, const struct adjective *a)
{
    const struct adjective *first = t->adjectives[0];
    if (first == NULL || first->rank == a->rank) {
        t->adjectives[0] = a;
    } else if (first->rank < a->rank) {
        t->adjectives[1] = a;
    } else {
        t->adjectives[1] = first;
        t->adjectives[0] = a;
    }
}

static struct thing draw_thing(grammar_random *random, unsigned kind, bool definite)
{
    static const int weights[] = {[THE_ONE] = 50, [ONE] = 14, [THE_MANY] = 14, [SOME_MANY] = 9, [COUNTED] = 13};
    struct thing t = {.concept = draw_concept(random, kind)};
    do {
        t.quantity = (enum quantity)draw_weighted(random, weights, 5);
    } while (definite && t.quantity != THE_ONE && t.quantity != THE_MANY);
    if (t.quantity == COUNTED) t.number = draw_below(random, 6);
    for (int count = draw_chance(random, 4) ? 2 : draw_chance(random, 28); count > 0; count--) {
        add_adjective(&t, draw_adjective(random, kind));
    }
    if (kind == PERSON && draw_chance(random, 6)) t.did = draw_verb(random, ALONE, 0);
    return t;
}

static unsigned draw_patient_kind(grammar_random *random, const struct verb *verb)
{
    static const unsigned kinds[] = {PERSON, GROUP, PAPER, PLACE};
    for (;;) {
        const unsigned kind = kinds[draw_below(random, 4)];
        if ((verb->objects & kind) != 0) return kind;
    }
}

static void draw_time(grammar_random *random, struct event *e)
{
    e->weekday = e->month = e->year = 0;
    const int kind = draw_below(random, 4);
    if (kind == 0) e->weekday = 1 + draw_below(random, 7);
    if (kind == 1 || kind == 2) e->month = 1 + draw_below(random, 12);
    if (kind >= 2) e->year = e->tense == PAST ? draw_between(random, 1995, 1999) : draw_between(random, 2027, 2029);
}

/* How it is said. */
static void draw_manner(grammar_random *random, struct event *e)
{
    e->passive = e->verb->kind == TRANSITIVE && (e->agent.concept < 0 || draw_chance(random, 40));
    e->time_first = e->weekday + e->month + e->year > 0 && draw_chance(random, 20);
}

static struct event draw_event(grammar_random *random)
{
    struct event e;
    do {
        e = (struct event){.tense = draw_chance(random, 75) ? PAST : FUTURE, .denied = draw_chance(random, 40)};
        const bool alone = draw_chance(random, 20);
        e.verb = draw_verb(random, alone ? ALONE : TRANSITIVE, PERSON | GROUP | PAPER | PLACE);
        e.agent = draw_thing(random, draw_chance(random, 70) ? PERSON : GROUP, e.denied);
        e.patient = (struct thing){.concept = -1};
        if (!alone) {
            e.patient = draw_thing(random, draw_patient_kind(random, e.verb), e.denied);
            if (draw_chance(random, 14)) e.agent = (struct thing){.concept = -1};
        }
        if (draw_chance(random, 33)) e.place = draw_place(random);
        if (draw_chance(random, 33)) draw_time(random, &e);
        draw_manner(random, &e);
    } while (!event_sayable(&e));
    return e;
}

/* ---- Changes ---- */

static void drop_adjective(grammar_random *random, struct thing *t)
{
    if (t->adjectives[1] == NULL || draw_chance(random, 50)) t->adjectives[0] = t->adjectives[1];
    t->adjectives[1] = NULL;
}

/* Another noun of the kind, now and then of another kind. */
static void change_concept(grammar_random *random, struct thing *t)
{
    static const unsigned kinds[] = {PERSON, GROUP, PAPER, PLACE};
    const unsigned kind = draw_chance(random, 85) ? concept_at(t->concept)->kind : kinds[draw_below(random, 4)];
    t->concept = draw_concept(random, kind);
}

static void change_quantity(grammar_random *random, struct thing *t)
{
    t->quantity = (enum quantity)draw_below(random, 5);
    t->number = t->quantity == COUNTED ? draw_below(random, 6) : 0;
}

/* What was said of one is said of the other: all of it, or the adjectives. */
static void exchange(grammar_random *random, struct event *e)
{
    const struct thing agent = e->agent, patient = e->patient;
    if (agent.concept < 0 || patient.concept < 0) return;
    if (draw_chance(random, 60)) {
        e->agent = patient, e->patient = agent;
        return;
    }
    for (int i = 0; i < THING_ADJECTIVES; i++) {
        e->agent.adjectives[i] = patient.adjectives[i];
        e->patient.adjectives[i] = agent.adjectives[i];
    }
}

static void change_thing(grammar_random *random, struct event *e, struct thing *t)
{
    if (t->concept < 0) return;
    static const int weights[] = {20, 20, 20, 20, 6, 5};
    const unsigned kind = concept_at(t->concept)->kind;
    switch (draw_weighted(random, weights, 6)) {
    case 0:
        add_adjective(t, draw_adjective(random, kind));
        break;
    case 1:
        drop_adjective(random, t);
        break;
    case 2:
        change_concept(random, t);
        break;
    case 3:
        change_quantity(random, t);
        break;
    case 4:
        t->did = t->did == NULL || draw_chance(random, 50) ? draw_verb(random, ALONE, 0) : NULL;
        break;
    default:
        exchange(random, e);
    }
}

static void change_verb(grammar_random *random, struct event *e)
{
    const struct verb *opposite = verb_opposite(e->verb);
    if (opposite != NULL && draw_chance(random, 60)) {
        e->verb = opposite;
    } else {
        e->verb = draw_verb(random, e->verb->kind, PERSON | GROUP | PAPER | PLACE);
    }
}

static void change(grammar_random *random, struct event *e)
{
    static const int weights[] = {30, 30, 12, 12, 10, 3, 4};
    switch (draw_weighted(random, weights, 7)) {
    case 0:
        change_thing(random, e, &e->agent);
        break;
    case 1:
        change_thing(random, e, &e->patient);
        break;
    case 2:
        change_verb(random, e);
        break;
    case 3:
        e->place = e->place != NULL && draw_chance(random, 40) ? NULL : draw_place(random);
        break;
    case 4:
        draw_time(random, e);
        if (draw_chance(random, 40)) e->weekday = e->month = e->year = 0;
        break;
    case 5:
        e->tense = e->tense == PAST ? FUTURE : PAST;
        if (e->year != 0) draw_time(random, e);
        break;
    default:
        e->agent = e->agent.concept
        < 0 ? draw_thing(random, PERSON, e->denied) : (struct thing){.concept = -1};
    }
}

/* One change in a direction, or none where too many attempts have failed. */
static void change_towards(grammar_random *random, struct event *e, enum relation wanted)
{
    for (int attempt = 0; attempt < 400; attempt++) {
        struct event changed = *e;
        change(random, &changed);
        draw_manner(random, &changed);
        if (event_sayable(&changed) && event_relation(&changed, e) == wanted) {
            *e = changed;
            return;
        }
    }
}

/* What the first change is to do, and the others, for this label and these denials: of the premise to the hypothesis.
 * Another relation may come of several; the label is checked in the end. */
static enum relation draw_direction(grammar_random *random, enum label label, bool premise_denied, bool denied)
{
    if (label == NEUTRAL) {
        const int i = draw_below(random, 2);
        return i == 0 ? OTHER : premise_denied ? (draw_chance(random, 60) ? NARROWER : EXCLUDES) : WIDER;
    }
    if (premise_denied) return WIDER;
    return (label == ENTAILED) == denied ? EXCLUDES : NARROWER;
}

/* Whether to deny the premise: about one of five, for every label. Where the hypothesis is affirmed, many
 * contradictions by denial cannot be said ("some kings did not"), so that more are attempted. */
static bool draw_denial(grammar_random *random, enum label label, bool hypothesis_denied)
{
    if (label == NEUTRAL) return draw_chance(random, 22);
    if (label == CONTRADICTED) return !hypothesis_denied && draw_chance(random, 68);
    return hypothesis_denied && draw_chance(random, 52);
}

static bool attempt_premise(grammar_random *random, enum label label, bool denied, const struct event *hypothesis,
                            struct event *premise)
{
    *premise = *hypothesis;
    premise->denied = denied;
    draw_manner(random, premise);
    if (!event_sayable(premise)) return false;
    const enum relation first = draw_direction(random, label, denied, hypothesis->denied);
    const bool may_be_equal = (first == NARROWER || first == WIDER) && label != NEUTRAL;
    const int changes = may_be_equal ? draw_below(random, 3) : 1 + draw_chance(random, 35);
    for (int i = 0; i < changes; i++) {
        static const enum relation any[] = {NARROWER, WIDER, OTHER};
        const bool free_one = i > 0 && (label == NEUTRAL || first == EXCLUDES);
        change_towards(random, premise, free_one ? any[draw_below(random, 3)] : first);
    }
    return label_of(premise, hypothesis) == label;
}

enum label example_draw(grammar_random *random, struct event *premise, struct event *hypothesis)
{
    for (;;) {
        *hypothesis = draw_event(random);
        const enum label label = (enum label)draw_below(random, LABELS);
        bool denied = draw_denial(random, label, hypothesis->denied);
        for (int attempt = 0; attempt < 100; attempt++) {
            if (attempt == 50) denied = false; /* some hypotheses have no such premise: "some kings ..." */
            if (attempt_premise(random, label, denied, hypothesis, premise)) return label;
        }
    }
}
