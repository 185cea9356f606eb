/* SPDX-License-Identifier: BSD-3-Clause
 *
 * plan_noun.c: noun phrases drawn at random: determiners, numbers, adjectives, what follows the noun, lists. */
#include "text/plan.h"

#include <stddef.h>

/* ---- The noun and what stands before it ---- */

static const struct noun *draw_noun(maker *m, unsigned classes)
{
    for (;;) {
        const struct noun *noun = &nouns[draw_below(m->random, noun_count)];
        if ((noun->classes & classes) != 0) return noun;
    }
}

static bool negation_allows(enum determiner determiner)
{
    return determiner != SOME && determiner != SEVERAL && determiner != FEW && determiner != EVERY;
}

/* With a number or without; "all the" is left to whoever has two tokens for it. */
static enum determiner draw_determiner(maker *m, bool numbered, enum phrase_place place)
{
    static const int weights[] = {[THE] = 56,  [A] = 12,    [THIS] = 7,    [MY] = 2,   [HIS] = 3,  [HER] = 3, [OUR] = 3,
                                  [THEIR] = 3, [EVERY] = 2, [SEVERAL] = 2, [MANY] = 4, [SOME] = 3, [FEW] = 1};
    for (;;) {
        const enum determiner d =
            (enum determiner)draw_weighted(m->random, weights, sizeof weights / sizeof weights[0]);
        if (numbered && (d == A || d >= EVERY)) continue;
        if (place == UNDER_NEGATION && !negation_allows(d)) continue;
        return d;
    }
}

/* One of a rank at most, in the order of ranks: every noun has adjectives of at least three. */
static void draw_adjectives(maker *m, struct noun_choice *choice, int count)
{
    const struct adjective *by_rank[ADJECTIVE_RANKS] = {NULL};
    for (int found = 0; found < count;) {
        const struct adjective *adjective = &adjectives[draw_below(m->random, adjective_count)];
        if ((adjective->classes & choice->noun->classes) == 0 || by_rank[adjective->rank] != NULL) continue;
        by_rank[adjective->rank] = adjective;
        found++;
    }
    for (int rank = 0; rank < ADJECTIVE_RANKS; rank++) {
        if (by_rank[rank] != NULL) choice->adjectives[choice->adjective_count++] = by_rank[rank];
    }
}

static struct subject draw_noun_phrase(maker *m, int tokens, unsigned classes, enum phrase_place place)
{
    struct noun_choice choice = {.noun = draw_noun(m, classes)};
    int rest = tokens - 1;
    if (rest >= 2 && draw_chance(m->random, 12)) {
        choice.number = &numbers[draw_below(m->random, number_count)];
        rest--;
    }
    if (rest >= 2 && choice.number == NULL && place != UNDER_NEGATION && draw_chance(m->random, 8)) {
        choice.determiner = ALL_THE;
        rest -= 2;
    } else if (rest >= 1 && (rest > MOST_ADJECTIVES || draw_chance(m->random, 90))) {
        choice.determiner = draw_determiner(m, choice.number != NULL, place);
        rest--;
    }
    switch (choice.determiner) {
    case A:
    case EVERY:
        break;
    case THE:
    case THIS:
    case MY:
    case HIS:
    case HER:
    case OUR:
    case THEIR:
        choice.plural = choice.number != NULL || draw_chance(m->random, 38);
        break;
    default:
        choice.plural = true;
        break;
    }
    draw_adjectives(m, &choice, rest);
    const struct agreement agreement = say_noun(&m->w, &choice, place);
    return (struct subject){.agreement = agreement, .classes = choice.noun->classes};
}

/* ---- Names ---- */

static int name_tokens(const struct name *name)
{
    int count = 0;
    while (name->english[count] != NULL) count++;
    return count;
}

static const struct name *draw_country(maker *m, int tokens)
{
    for (;;) {
        const struct name *country = &countries[draw_below(m->random, country_count)];
        if (name_tokens(country) == tokens) return country;
    }
}

static struct subject say_some_european(maker *m)
{
    const struct european_field *field = &european_fields[draw_below(m->random, european_field_count)];
    return (struct subject){.agreement =
                                say_european(&m->w, field, &european_kinds[draw_below(m->random, european_kind_count)]),
                            .classes = GROUP};
}

/* A name of so many tokens, if one is to be said. */
static bool draw_name(maker *m, int tokens, unsigned classes, struct subject *said)
{
    static const int percent[] = {0, 50, 3, 4, 45};
    if (tokens > 4 || !draw_chance(m->random, percent[tokens])) return false;
    if (tokens == 1 && (classes & PERSON) != 0 && ((classes & GROUP) == 0 || draw_chance(m->random, 50))) {
        said->agreement = say_name(&m->w, &people[draw_below(m->random, people_count)]);
        said->classes = PERSON;
        return true;
    }
    if ((classes & GROUP) == 0) return false;
    if (tokens == 4) {
        *said = say_some_european(m);
        return true;
    }
    said->agreement = say_name(&m->w, draw_country(m, tokens));
    said->classes = GROUP;
    return true;
}

struct subject plan_noun_core(maker *m, int tokens, unsigned classes, enum phrase_place place, bool name_allowed)
{
    struct subject said = {0};
    if (name_allowed && draw_name(m, tokens, classes, &said)) return said;
    return draw_noun_phrase(m, tokens, classes, place);
}

/* ---- What follows the noun ---- */

static const struct word on = {"on", "sur"};

/* "between France and the three regions" */
static void plan_between(maker *m, int tokens)
{
    static const struct word between = {"between", "entre"};
    const int both = tokens - 2;
    const int least = both > 5 ? both - 4 : 1;
    const int first = draw_between(m->random, least, both - least);
    say_preposition(&m->w, &between);
    plan_noun_core(m, first, ACTOR, ANYWHERE, true);
    say_both(&m->w, "and", "et");
    plan_noun_core(m, both - first, ACTOR, ANYWHERE, true);
}

/* A preposition and a noun phrase; what a letter is about, whose a house is. Relative clauses further in are attached
 * to the nearest noun, as a reader would. */
static void plan_complement(maker *m, int tokens, unsigned head, unsigned may)
{
    static const struct word with = {"with", "avec"}, for_ = {"for", "pour"};
    static const struct word near = {"near", "près de"};
    if (tokens == 2 && (head & MATTER) == 0 && draw_chance(m->random, 40)) {
        say_in_name(&m->w,
                    draw_chance(m->random, 50) ? draw_country(m, 1) : &cities[draw_below(m->random, city_count)]);
        return;
    }
    if ((head & MATTER) != 0 && tokens >= 4 && tokens <= 12 && draw_chance(m->random, 12)) {
        plan_between(m, tokens);
        return;
    }
    if ((head & MATTER) != 0 && draw_chance(m->random, 55)) {
        static const int weights[] = {60, 22, 18};
        const int kind = draw_weighted(m->random, weights, 3);
        say_preposition(&m->w, kind == 0 ? &on : kind == 1 ? &with : &for_);
        plan_noun_phrase(m, tokens - 1, kind == 0 ? GROUP | MATTER | PLACE : ACTOR, may, ANYWHERE);
        return;
    }
    if ((head & (PERSON | PLACE)) != 0 && tokens >= 3 && draw_chance(m->random, 15)) {
        say_preposition(&m->w, &near);
        plan_noun_phrase(m, tokens - 1, PLACE, may, AFTER_DE);
        return;
    }
    say_of(&m->w);
    plan_noun_phrase(m, tokens - 1, (head & (PERSON | GROUP)) != 0 ? GROUP | PLACE : ACTOR, may, AFTER_DE);
}

/* "of the regions who signed ...": who is a person's and that a thing's, which tells which noun is meant although it is
 * not the nearest. */
static void plan_complement_and_relative(maker *m, int tokens, const struct subject *head)
{
    const int first = draw_between(m->random, 2, tokens - 3 < 4 ? tokens - 3 : 4);
    say_of(&m->w);
    const bool person = (head->classes & PERSON) != 0;
    plan_noun_core(m, first - 1, person ? GROUP | PLACE : PERSON, AFTER_DE, true);
    plan_relative(m, tokens - first, head);
}

static void plan_tail(maker *m, int tokens, const struct subject *head, unsigned may)
{
    const bool relative = (may & MAY_RELATE) != 0 && m->depth < 4;
    if (tokens == 5 && (head->classes & MATTER) != 0 && draw_chance(m->random, 35)) {
        say_preposition(&m->w, &on);
        say_some_european(m);
    } else if (relative && tokens >= 6 && draw_chance(m->random, 20)) {
        plan_complement_and_relative(m, tokens, head);
    } else if (relative && tokens >= 3 && draw_chance(m->random, tokens == 3 ? 35 : 55)) {
        plan_relative(m, tokens, head);
    } else {
        plan_complement(m, tokens, head->classes, may & MAY_RELATE);
    }
}

/* How many tokens go to the noun and what stands before it; what is left is 0 or at least 2. */
static int core_tokens(maker *m, int tokens)
{
    static const int weights[] = {0, 3, 56, 28, 10, 3};
    if (tokens <= 2 || (tokens <= 5 && draw_chance(m->random, 60))) return tokens;
    for (;;) {
        const int core = draw_weighted(m->random, weights, 6);
        if (core == tokens || core <= tokens - 2) return core;
    }
}

static struct subject plan_single(maker *m, int tokens, unsigned classes, unsigned may, enum phrase_place place)
{
    const int core = core_tokens(m, tokens);
    const struct subject head = plan_noun_core(m, core, classes, place, core == tokens);
    if (core < tokens) plan_tail(m, tokens - core, &head, may);
    return head;
}

/* ---- Lists ---- */

/* "the letter , the two laws and the report": only the last may have a clause within it, or one could not tell what
 * belongs to the clause. The things are of one kind, and masculine together unless all are feminine. */
static struct subject plan_list(maker *m, int tokens, unsigned classes, unsigned may)
{
    static const unsigned kinds[] = {PERSON, GROUP, PAPER, IDEA, PLACE};
    unsigned kind = 0;
    do {
        kind = kinds[draw_below(m->random, 5)];
    } while ((kind & classes) == 0);
    int members = tokens >= 8 && draw_chance(m->random, 40) ? 3 : 2;
    if (members == 3 && tokens >= 14 && draw_chance(m->random, 30)) members = 4;
    int left = tokens - (members - 1); /* commas and "and" */
    struct subject all = {.agreement = {.plural = true, .feminine = true}, .classes = kind};
    for (; members > 0; members--) {
        const int most = left - 2 * (members - 1); /* the others get two tokens each, where there are so many */
        const int share = members == 1 ? left
                                       : draw_between(m->random, most > 1 ? 2 : 1,
                                                      most < 1   ? 1
                                                      : most > 4 ? 4
                                                                 : most);
        const struct subject one = members == 1 ? plan_single(m, share, kind, may & MAY_RELATE, ANYWHERE)
                                                : plan_noun_core(m, share, kind, ANYWHERE, true);
        all.agreement.feminine = all.agreement.feminine && one.agreement.feminine;
        left -= share;
        if (members > 2) say_both(&m->w, ",", ",");
        if (members == 2) say_both(&m->w, "and", "et");
    }
    return all;
}

struct subject plan_noun_phrase(maker *m, int tokens, unsigned classes, unsigned may, enum phrase_place place)
{
    if ((may & MAY_COORDINATE) != 0 && tokens >= 3 && draw_chance(m->random, tokens < 5 ? 6 : 18)) {
        return plan_list(m, tokens, classes, may);
    }
    return plan_single(m, tokens, classes, may, place);
}
