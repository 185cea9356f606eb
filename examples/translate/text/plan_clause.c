/* SPDX-License-Identifier: BSD-3-Clause
 *
 * plan_clause.c: clauses drawn at random: subjects, verbs and what they take, relative clauses. */
#include "text/plan.h"

#include <stddef.h>
#include <string.h>

/* ---- Verbs ---- */

static const struct verb *draw_verb(maker *m, enum verb_kind kind, unsigned objects)
{
    for (;;) {
        const struct verb *verb = &verbs[draw_below(m->random, verb_count)];
        if (verb->kind == kind && (kind == ALONE || kind == SAYING || (verb->objects & objects) != 0)) return verb;
    }
}

/* Of a subject in the first person most verbs have only the tenses that an auxiliary makes. */
static enum tense draw_tense(maker *m, bool auxiliaries_only)
{
    static const int weights[] = {[PRESENT] = 25, [PAST] = 42, [FUTURE] = 17, [MUST] = 9, [CAN] = 7};
    static const int auxiliary[] = {[PRESENT] = 0, [PAST] = 60, [FUTURE] = 0, [MUST] = 22, [CAN] = 18};
    return (enum tense)draw_weighted(m->random, auxiliaries_only ? auxiliary : weights, 5);
}

static const struct word *draw_adverb(maker *m, const struct verb_choice *choice, bool be)
{
    static const struct word adverbs[] = {{"often", "souvent"},
                                          {"always", "toujours"},
                                          {"rarely", "rarement"},
                                          {"already", "déjà"},
                                          {"quickly", "rapidement"}};
    for (;;) {
        const int i = draw_below(m->random, 5);
        if (i == 3 && choice->tense != PAST) continue;
        if (i == 4 && be) continue;
        return &adverbs[i];
    }
}

static void draw_form(maker *m, struct verb_choice *choice, int tokens, bool be, bool first_person, int tense)
{
    static const int weights[] = {[AFFIRMED] = 72, [NOT] = 16, [NEVER] = 7, [NO_LONGER] = 5};
    const bool affirmed_only = choice->verb != NULL && choice->verb->kind == SAYING; /* else a subjunctive is due */
    for (int attempt = 0; attempt < 8; attempt++) {
        choice->tense = tense != ANY_TENSE ? (enum tense)tense : draw_tense(m, first_person && !be);
        choice->polarity = affirmed_only ? AFFIRMED : (enum polarity)draw_weighted(m->random, weights, 4);
        if (choice->polarity == NO_LONGER && choice->tense == PAST) choice->polarity = NOT;
        const bool adverb = choice->polarity == AFFIRMED && draw_chance(m->random, 10);
        choice->adverb = adverb ? draw_adverb(m, choice, be) : NULL;
        if ((be ? be_tokens(choice) : active_tokens(choice)) <= tokens) return;
    }
    choice->tense = tense != ANY_TENSE ? (enum tense)tense : PAST;
    choice->polarity = AFFIRMED;
    choice->adverb = NULL;
}

static enum phrase_place object_place(const struct verb_choice *choice)
{
    return choice->polarity == AFFIRMED ? ANYWHERE : UNDER_NEGATION;
}

/* ---- What a verb takes ---- */

static unsigned object_may(const struct verb_choice *choice)
{
    return choice->polarity == AFFIRMED ? MAY_RELATE | MAY_COORDINATE : MAY_RELATE;
}

/* How many of the tokens behind a verb go to when and where. */
static int adjunct_share(maker *m, int tokens, int keep)
{
    const int most = tokens - keep;
    if (most < 1 || !draw_chance(m->random, 45)) return 0;
    return draw_between(m->random, 1, most > 5 ? 5 : most);
}

static void plan_transitive(maker *m, int tokens, const struct subject *subject, int tense)
{
    struct verb_choice choice = {.verb = draw_verb(m, TRANSITIVE, ANYTHING)};
    const bool pronoun = (choice.verb->objects & PERSON) != 0 && draw_chance(m->random, tokens <= 4 ? 30 : 12);
    if (pronoun) {
        const int first = subject->agreement.first_person ? FIRST_PERSON_OBJECTS : OBJECT_PRONOUNS;
        choice.object = &object_pronouns[draw_below(m->random, first)];
    }
    draw_form(m, &choice, pronoun ? tokens : tokens - 1, false, subject->agreement.first_person, tense);
    say_active(&m->w, &choice, subject->agreement, NULL);
    int rest = tokens - active_tokens(&choice);
    if (!pronoun) {
        const int adjuncts = adjunct_share(m, rest, 1);
        plan_noun_phrase(m, rest - adjuncts, choice.verb->objects, object_may(&choice), object_place(&choice));
        rest = adjuncts;
    }
    plan_adjuncts(m, rest, choice.tense);
}

/* "gave the letter to the minister" */
static void plan_giving(maker *m, int tokens, const struct subject *subject, int tense)
{
    static const struct word to = {"to", "à"};
    struct verb_choice choice = {.verb = draw_verb(m, GIVING, PAPER)};
    draw_form(m, &choice, tokens - 3, false, subject->agreement.first_person, tense);
    say_active(&m->w, &choice, subject->agreement, NULL);
    const int rest = tokens - active_tokens(&choice) - 1;
    const int adjuncts = adjunct_share(m, rest, 2);
    const int both = rest - adjuncts;
    const int object = draw_between(m->random, both >= 4 ? 2 : 1, both >= 4 ? both - 2 : both - 1);
    plan_noun_phrase(m, object, PAPER, MAY_RELATE, object_place(&choice));
    say_preposition(&m->w, &to);
    plan_noun_phrase(m, both - object, ACTOR, MAY_RELATE, ANYWHERE);
    plan_adjuncts(m, adjuncts, choice.tense);
}

static void plan_saying(maker *m, int tokens, const struct subject *subject, int tense)
{
    struct verb_choice choice = {.verb = draw_verb(m, SAYING, 0)};
    draw_form(m, &choice, tokens - 3, false, subject->agreement.first_person, tense);
    say_active(&m->w, &choice, subject->agreement, NULL);
    const int that = say_english(&m->w, "that");
    link_sure(&m->w, that, say_french_or(&m->w, "que", "qu'"));
    const struct clause_plan inner = {.tense = ANY_TENSE};
    plan_clause(m, tokens - active_tokens(&choice) - 1, &inner);
}

static void plan_alone(maker *m, int tokens, const struct subject *subject, int tense)
{
    struct verb_choice choice = {.verb = draw_verb(m, ALONE, 0)};
    draw_form(m, &choice, tokens, false, subject->agreement.first_person, tense);
    say_active(&m->w, &choice, subject->agreement, NULL);
    plan_adjuncts(m, tokens - active_tokens(&choice), choice.tense);
}

static void plan_passive(maker *m, int tokens, const struct subject *subject, int tense)
{
    static const struct word by = {"by", "par"};
    const enum verb_kind kind = (subject->classes & PAPER) != 0 && draw_chance(m->random, 12) ? GIVING : TRANSITIVE;
    struct verb_choice choice = {.verb = draw_verb(m, kind, subject->classes)};
    draw_form(m, &choice, tokens - 1, true, subject->agreement.first_person, tense);
    say_be(&m->w, &choice, subject->agreement, true);
    const int rest = tokens - be_tokens(&choice) - 1;
    int adjuncts = rest;
    if (rest >= 2 && (rest > 9 || draw_chance(m->random, 50))) {
        adjuncts = adjunct_share(m, rest, 2);
        say_preposition(&m->w, &by);
        plan_noun_phrase(m, rest - adjuncts - 1, ACTOR, MAY_RELATE, ANYWHERE);
    }
    plan_adjuncts(m, adjuncts, choice.tense);
}

/* ---- "is more important than" ---- */

/* Long English adjectives are compared with "more". */
static bool compared_with_more(const struct adjective *adjective)
{
    return (adjective->rank == QUALITY && strlen(adjective->english) > 5 &&
            strcmp(adjective->english, "common") != 0) ||
           strcmp(adjective->english, "beautiful") == 0;
}

static const struct adjective *draw_predicate(maker *m, unsigned classes, bool with_more)
{
    for (;;) {
        const struct adjective *adjective = &adjectives[draw_below(m->random, adjective_count)];
        if ((adjective->classes & classes) == 0 || adjective->rank == FIELD) continue;
        if (!with_more || compared_with_more(adjective)) return adjective;
    }
}

static void plan_copula(maker *m, int tokens, const struct subject *subject, int tense)
{
    static const struct word degrees[] = {{"very", "très"}, {"too", "trop"}};
    static const struct word for_ = {"for", "pour"};
    struct verb_choice choice = {0};
    draw_form(m, &choice, tokens - 1, true, subject->agreement.first_person, tense);
    say_be(&m->w, &choice, subject->agreement, false);
    int rest = tokens - be_tokens(&choice) - 1;
    const bool compared = rest >= 3 && draw_chance(m->random, 45);
    if (compared) {
        say_both(&m->w, "more", "plus");
    } else if (rest == 1 || (rest > 1 && draw_chance(m->random, 25))) {
        const struct word *degree = &degrees[draw_below(m->random, 2)];
        say_both(&m->w, degree->english, degree->french);
        rest--;
    }
    say_adjective(&m->w, draw_predicate(m, subject->classes, compared), subject->agreement);
    if (compared) {
        const int than = say_english(&m->w, "than");
        link_sure(&m->w, than, say_french_or(&m->w, "que", "qu'"));
        plan_noun_phrase(m, rest - 2, subject->classes, MAY_RELATE, ANYWHERE);
    } else if (rest >= 2 && (rest > 4 || draw_chance(m->random, 60))) {
        say_preposition(&m->w, &for_);
        plan_noun_phrase(m, rest - 1, ACTOR, MAY_RELATE, ANYWHERE);
    } else {
        plan_adjuncts(m, rest, choice.tense);
    }
}

void plan_verb_phrase(maker *m, int tokens, const struct subject *subject, const struct clause_plan *plan)
{
    enum { KINDS = 6 };
    static void (*const kinds[KINDS])(maker *, int, const struct subject *, int) = {
        plan_alone, plan_transitive, plan_giving, plan_saying, plan_passive, plan_copula};
    const bool acts = (subject->classes & ACTOR) != 0;
    const bool long_one = tokens > 9;
    const int room = tokens - (plan->tense >= FUTURE); /* without the auxiliary that such a tense takes */
    const int alone = room == 1 ? 1 : long_one ? 3 : 14;
    const int passive = acts ? 10 : 45;
    const int weights[KINDS] = {acts ? alone : 0,          acts && room >= 2 ? 34 : 0,
                                acts && room >= 4 ? 8 : 0, acts && room >= 4 && plan->may_say ? 9 : 0,
                                room >= 2 ? passive : 0,   room < 2 ? 0 : long_one ? 8 : 18};
    kinds[draw_weighted(m->random, weights, KINDS)](m, tokens, subject, plan->tense);
}

/* ---- Relative clauses ---- */

static void plan_object_relative(maker *m, int tokens, const struct subject *head)
{
    const int that = say_english(&m->w, (head->classes & PERSON) != 0 ? "whom" : "that");
    link_sure(&m->w, that, say_french_or(&m->w, "que", "qu'"));
    int rest = tokens - 1;
    struct subject subject = {0};
    if (draw_chance(m->random, 22)) {
        subject.agreement = say_subject_pronoun(&m->w, &subject_pronouns[draw_below(m->random, SUBJECT_PRONOUNS)]);
        rest--;
    } else {
        const int most = rest - 1;
        const int usual = most < 4 ? most : 4;
        const int share = rest > 8 && draw_chance(m->random, 60) ? draw_between(m->random, usual, rest - 4)
                                                                 : draw_between(m->random, most > 1 ? 2 : 1, usual);
        subject = plan_noun_phrase(m, share, ACTOR, MAY_RELATE, ANYWHERE);
        rest -= share;
    }
    struct verb_choice choice = {.verb = draw_verb(m, TRANSITIVE, head->classes)};
    draw_form(m, &choice, rest, false, subject.agreement.first_person, ANY_TENSE);
    say_active(&m->w, &choice, subject.agreement, &head->agreement);
    plan_adjuncts(m, rest - active_tokens(&choice), choice.tense);
}

void plan_relative(maker *m, int tokens, const struct subject *head)
{
    m->depth++;
    if (draw_chance(m->random, 45)) {
        plan_object_relative(m, tokens, head);
    } else {
        const struct clause_plan plan = {.tense = ANY_TENSE};
        say_both(&m->w, (head->classes & PERSON) != 0 ? "who" : "that", "qui");
        plan_verb_phrase(m, tokens - 1, head, &plan);
    }
    m->depth--;
}

/* ---- Clauses ---- */

static const struct pronoun *draw_subject_pronoun(maker *m, const struct clause_plan *plan)
{
    for (;;) {
        const struct pronoun *pronoun = &subject_pronouns[draw_below(m->random, SUBJECT_PRONOUNS)];
        if (pronoun->agreement.first_person && (plan->tense == PRESENT || plan->tense == FUTURE)) continue;
        if (strcmp(pronoun->english, "they") != 0 || !plan->second) return pronoun;
    }
}

/* "it" or "they", in the gender of what it stands for. */
static struct subject say_anaphor(maker *m, const struct subject *antecedent)
{
    const bool plural = antecedent->agreement.plural;
    const char *french = antecedent->agreement.feminine ? (plural ? "elles" : "elle") : (plural ? "ils" : "il");
    say_both(&m->w, plural ? "they" : "it", french);
    return *antecedent;
}

static int subject_tokens(maker *m, int tokens, int least_left)
{
    const int most = tokens - least_left;
    if (most <= 2) return most;
    if (tokens > 8 && draw_chance(m->random, 40)) {
        const int much = tokens > 20 ? tokens / 2 : tokens * 2 / 3;
        return draw_between(m->random, 3, much < most ? much : most);
    }
    return draw_between(m->random, 2, most < 4 ? most : 4);
}

struct subject plan_clause(maker *m, int tokens, const struct clause_plan *plan)
{
    struct subject subject = {0};
    int share = 1;
    if (plan->antecedent != NULL && tokens >= 3 && draw_chance(m->random, 60)) {
        subject = say_anaphor(m, plan->antecedent);
    } else if (draw_chance(m->random, tokens < 6 ? 35 : 18)) {
        subject.agreement = say_subject_pronoun(&m->w, draw_subject_pronoun(m, plan));
        subject.classes = PERSON;
        subject.pronoun = true;
    } else {
        const bool acts = tokens < 4 || draw_chance(m->random, 62);
        share = subject_tokens(m, tokens, (acts ? 1 : 2) + (plan->tense >= FUTURE));
        if (acts && share > 1 && share == tokens - 1 && draw_chance(m->random, 70)) share--; /* a lone verb is rare */
        subject = plan_noun_phrase(m, share, acts ? ACTOR : MATTER | PLACE, MAY_RELATE | MAY_COORDINATE, ANYWHERE);
    }
    plan_verb_phrase(m, tokens - share, &subject, plan);
    return subject;
}
