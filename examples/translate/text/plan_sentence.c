/* SPDX-License-Identifier: BSD-3-Clause
 *
 * plan_sentence.c: sentences drawn at random: how many clauses, how they hang together; and when and where. */
#include "text/plan.h"

#include <stddef.h>

/* ---- When and where ---- */

static int draw_year(maker *m, enum tense tense)
{
    return tense == PAST ? draw_between(m->random, 1985, 1999) : draw_between(m->random, 2027, 2034);
}

void plan_time(maker *m, int tokens, enum tense tense)
{
    const struct word *month = &months[draw_below(m->random, 12)];
    if (tokens == 4) {
        say_date(&m->w, draw_between(m->random, 1, 28), month, draw_year(m, tense));
    } else if (tokens == 3 && draw_chance(m->random, 70)) {
        say_date(&m->w, 0, month, draw_year(m, tense));
    } else if (tokens == 3) {
        say_date(&m->w, draw_between(m->random, 1, 28), month, 0);
    } else if (draw_chance(m->random, 45)) {
        say_weekday(&m->w, &weekdays[draw_below(m->random, 7)]);
    } else if (draw_chance(m->random, 50)) {
        say_date(&m->w, 0, month, 0);
    } else {
        say_date(&m->w, 0, NULL, draw_year(m, tense));
    }
}

/* Yesterday, today, tomorrow, here. */
static void say_one_word(maker *m, enum tense tense)
{
    if (m->timed || draw_chance(m->random, 30)) {
        say_both(&m->w, "here", "ici");
    } else if (tense == PAST) {
        say_both(&m->w, "yesterday", "hier");
    } else if (tense == PRESENT) {
        say_both(&m->w, "today", "aujourd'hui");
    } else {
        say_both(&m->w, "tomorrow", "demain");
    }
}

static void plan_prepositional(maker *m, int tokens)
{
    static const struct {
        struct word preposition;
        unsigned classes;
        enum phrase_place place;
    } table[] = {{{"in", "dans"}, PLACE, ANYWHERE},      {{"with", "avec"}, ACTOR, ANYWHERE},
                 {{"for", "pour"}, ACTOR, ANYWHERE},     {{"against", "contre"}, ACTOR | MATTER, ANYWHERE},
                 {{"near", "près de"}, PLACE, AFTER_DE}, {{"behind", "derrière"}, PLACE, ANYWHERE}};
    static const int weights[] = {30, 22, 18, 12, 10, 8};
    const int i = draw_weighted(m->random, weights, 6);
    say_preposition(&m->w, &table[i].preposition);
    plan_noun_phrase(m, tokens - 1, table[i].classes, MAY_RELATE, table[i].place);
}

static void say_somewhere(maker *m)
{
    if (draw_chance(m->random, 45)) {
        say_in_name(&m->w, &cities[draw_below(m->random, city_count)]);
        return;
    }
    const struct name *country = NULL;
    do {
        country = &countries[draw_below(m->random, country_count)];
    } while (country->english[1] != NULL);
    say_in_name(&m->w, country);
}

void plan_adjuncts(maker *m, int tokens, enum tense tense)
{
    const bool dated = tense != PRESENT && !m->timed;
    if (tokens <= 0) return;
    if (tokens == 1) {
        say_one_word(m, tense);
    } else if (dated && tokens <= 4 && draw_chance(m->random, 55)) {
        plan_time(m, tokens, tense);
    } else if (tokens == 2) {
        say_somewhere(m);
    } else if (tokens == 3 || !draw_chance(m->random, 55)) {
        plan_prepositional(m, tokens);
    } else {
        const int last = dated ? draw_between(m->random, 2, tokens - 2 > 4 ? 4 : tokens - 2) : 2;
        const int first = tokens - last;
        if (first == 2) {
            say_somewhere(m);
        } else {
            plan_prepositional(m, first);
        }
        if (dated) {
            plan_time(m, last, tense);
        } else {
            say_somewhere(m);
        }
    }
}

/* ---- Clauses together ---- */

/* Tells a clause of the sentence from the next. */
struct conjunction {
    const char *english, *french, *french_second, *elided;
    bool comma;
};

static const struct conjunction conjunctions[] = {{"because", "parce", "que", "qu'", false},
                                                  {"when", "quand", NULL, NULL, false},
                                                  {"while", "tandis", "que", "qu'", false},
                                                  {"but", "mais", NULL, NULL, true},
                                                  {"and", "et", NULL, NULL, true}};

static int conjunction_tokens(const struct conjunction *c)
{
    return c->comma ? 2 : 1;
}

static void say_conjunction(maker *m, const struct conjunction *c)
{
    if (c->comma) say_both(&m->w, ",", ",");
    const int english = say_english(&m->w, c->english);
    link_sure(&m->w, english, say_french(&m->w, c->french, ""));
    if (c->french_second != NULL) link_possible(&m->w, english, say_french_or(&m->w, c->french_second, c->elided));
}

/* What "it" and "they" in a second clause may stand for: what the first one is about, if that has a gender that can be
 * seen: a thing, or several of anything. */
static bool can_be_meant(const struct subject *subject)
{
    return !subject->pronoun && (subject->agreement.plural || (subject->classes & PERSON) == 0);
}

static void plan_clauses(maker *m, int tokens, int clauses)
{
    struct subject first = {0};
    int left = tokens;
    for (int i = 0; i < clauses; i++) {
        const struct conjunction *conjunction = NULL;
        if (i + 1 < clauses) conjunction = &conjunctions[draw_below(m->random, 5)];
        const int after =
            clauses - 1 - i; /* they get 4 tokens each at least, and 2 for the conjunctions between them */
        const int most =
            conjunction == NULL ? left : left - conjunction_tokens(conjunction) - 4 * after - 2 * (after - 1);
        const int even = left / (after > 0 ? after + 1 : 1);
        int share = most;
        if (conjunction != NULL && most > 3) {
            share = draw_between(m->random, even / 2 < 3 ? 3 : even / 2, even * 3 / 2 < most ? even * 3 / 2 : most);
        }
        const struct clause_plan plan = {.tense = ANY_TENSE,
                                         .may_say = clauses != 2,
                                         .second = i > 0,
                                         .antecedent = i == 1 && clauses == 2 && can_be_meant(&first) ? &first : NULL};
        const struct subject subject = plan_clause(m, share, &plan);
        if (i == 0) first = subject;
        if (conjunction != NULL) {
            left -= share + conjunction_tokens(conjunction);
            say_conjunction(m, conjunction);
        }
    }
}

/* "If he votes , they will win": present, then future. */
static void plan_condition(maker *m, int tokens)
{
    const int both = tokens - 2;
    const int first = draw_between(m->random, both / 3 < 3 ? 3 : both / 3, both * 2 / 3 < 3 ? 3 : both * 2 / 3);
    const int if_ = say_english(&m->w, "if");
    link_sure(&m->w, if_, say_french_or(&m->w, "si", "s'"));
    plan_clause(m, first, &(struct clause_plan){.tense = PRESENT});
    say_both(&m->w, ",", ",");
    plan_clause(m, both - first, &(struct clause_plan){.tense = FUTURE, .second = true});
}

static int draw_clauses(maker *m, int tokens)
{
    if (tokens < 8) return 1;
    if (tokens < 14) return draw_chance(m->random, 25) ? 2 : 1;
    if (tokens < 24) return draw_chance(m->random, 50) ? 2 : 1;
    if (tokens < 36) return draw_between(m->random, 2, 3);
    return draw_between(m->random, 3, 4);
}

void plan_sentence(maker *m, int tokens)
{
    if (tokens >= 9 && tokens < 36 && draw_chance(m->random, 8)) {
        plan_condition(m, tokens);
        return;
    }
    const int clauses = draw_clauses(m, tokens);
    if (clauses == 1 && tokens >= 8 && draw_chance(m->random, 12)) {
        const int time = draw_between(m->random, 2, 4);
        const enum tense tense = draw_chance(m->random, 70) ? PAST : FUTURE;
        plan_time(m, time, tense);
        m->timed = true;
        say_both(&m->w, ",", ",");
        plan_clause(m, tokens - time - 1, &(struct clause_plan){.tense = (int)tense});
        return;
    }
    if (clauses == 1) {
        plan_clause(m, tokens, &(struct clause_plan){.tense = ANY_TENSE, .may_say = true});
    } else {
        plan_clauses(m, tokens, clauses);
    }
}
