/* SPDX-License-Identifier: BSD-3-Clause
 *
 * say_verb.c: see say_verb.h. English and French each get their words in their own order; what links them is the place
 * of each part, kept until both are said. */
#include "text/say_verb.h"

#include <stddef.h>

enum { NONE = -1 };

const struct pronoun subject_pronouns[SUBJECT_PRONOUNS] = {
    {"I", "je", "j'", {false, false, true}},     {"we", "nous", NULL, {true, false, true}},
    {"he", "il", NULL, {false, false, false}},   {"she", "elle", NULL, {false, true, false}},
    {"they", "ils", NULL, {true, false, false}},
};

const struct pronoun object_pronouns[OBJECT_PRONOUNS] = {
    {"him", "le", "l'", {false, false, false}},  {"her", "la", "l'", {false, true, false}},
    {"them", "les", NULL, {true, false, false}}, {"me", "me", "m'", {false, false, true}},
    {"us", "nous", NULL, {true, false, true}},
};

struct agreement say_subject_pronoun(writer *w, const struct pronoun *pronoun)
{
    const int english = say_english(w, pronoun->english);
    link_sure(w, english, say_french_or(w, pronoun->french, pronoun->before_vowel));
    return pronoun->agreement;
}

/* ---- English ---- */

static int negation_tokens(enum polarity polarity)
{
    return polarity == AFFIRMED ? 0 : polarity == NO_LONGER ? 2 : 1;
}

static bool english_auxiliary(const struct verb_choice *choice)
{
    return choice->tense >= FUTURE || choice->polarity == NOT;
}

int active_tokens(const struct verb_choice *choice)
{
    return 1 + negation_tokens(choice->polarity) + (choice->adverb != NULL) + (choice->object != NULL) +
           english_auxiliary(choice);
}

int be_tokens(const struct verb_choice *choice)
{
    return 1 + negation_tokens(choice->polarity) + (choice->adverb != NULL) + (choice->tense >= FUTURE);
}

/* The places of a verb's English words, NONE where there is none. */
struct english_verb {
    int auxiliary, negation[2], adverb, main, object;
};

static void english_middle(writer *w, const struct verb_choice *choice, struct english_verb *at)
{
    at->negation[0] = at->negation[1] = at->adverb = NONE;
    switch (choice->polarity) {
    case NOT:
        at->negation[0] = say_english(w, "not");
        break;
    case NEVER:
        at->negation[0] = say_english(w, "never");
        break;
    case NO_LONGER:
        at->negation[0] = say_english(w, "no");
        at->negation[1] = say_english(w, "longer");
        break;
    case AFFIRMED:
        break;
    }
    if (choice->adverb != NULL) at->adverb = say_english(w, choice->adverb->english);
}

static bool third_singular(struct agreement subject)
{
    return !subject.plural && !subject.first_person;
}

static const char *english_modal(enum tense tense)
{
    return tense == FUTURE ? "will" : tense == MUST ? "must" : "can";
}

static struct english_verb english_active(writer *w, const struct verb_choice *choice, struct agreement subject)
{
    struct english_verb at = {.auxiliary = NONE, .object = NONE};
    const bool past = choice->tense == PAST;
    const char *finite = past                      ? choice->verb->english_past
                         : third_singular(subject) ? choice->verb->english_third
                                                   : choice->verb->english;
    if (choice->tense >= FUTURE) {
        at.auxiliary = say_english(w, english_modal(choice->tense));
    } else if (choice->polarity == NOT) {
        at.auxiliary = say_english(w, past ? "did" : third_singular(subject) ? "does" : "do");
    }
    english_middle(w, choice, &at);
    at.main = say_english(w, at.auxiliary != NONE ? choice->verb->english : finite);
    if (choice->object != NULL) at.object = say_english(w, choice->object->english);
    return at;
}

static const char *english_be(enum tense tense, struct agreement subject)
{
    if (tense == PAST) return subject.plural ? "were" : "was";
    return subject.plural ? "are" : subject.first_person ? "am" : "is";
}

/* The main verb is "be" itself. */
static struct english_verb english_be_group(writer *w, const struct verb_choice *choice, struct agreement subject)
{
    struct english_verb at = {.auxiliary = NONE, .object = NONE};
    if (choice->tense >= FUTURE) {
        at.auxiliary = say_english(w, english_modal(choice->tense));
        english_middle(w, choice, &at);
        at.main = say_english(w, "be");
    } else {
        at.main = say_english(w, english_be(choice->tense, subject));
        english_middle(w, choice, &at);
    }
    return at;
}

/* ---- French ---- */

/* Forms for I, he, we, they. */
static const char *const avoir[4] = {"ai", "a", "avons", "ont"};
static const char *const etre[4] = {"suis", "est", "sommes", "sont"};
static const char *const etait[4] = {"étais", "était", "étions", "étaient"};
static const char *const sera[4] = {"serai", "sera", "serons", "seront"};
static const char *const devoir[4] = {"dois", "doit", "devons", "doivent"};
static const char *const pouvoir[4] = {"peux", "peut", "pouvons", "peuvent"};

static int french_form(writer *w, const char *const forms[4], struct agreement subject)
{
    return say_french(w, forms[(subject.plural ? 2 : 0) + (subject.first_person ? 0 : 1)], "");
}

/* signé, signée, signés, signées; a participle in -s or -x would keep it, but the lexicon has none. */
static int french_participle(writer *w, const struct verb *verb, struct agreement with)
{
    return say_french(w, verb->participle, with.feminine ? (with.plural ? "es" : "e") : (with.plural ? "s" : ""));
}

static void say_ne(writer *w, const struct verb_choice *choice, const struct english_verb *at)
{
    if (choice->polarity == AFFIRMED) return;
    const int ne = say_french_or(w, "ne", "n'");
    link_sure(w, at->negation[0], ne);
    if (at->negation[1] != NONE) link_sure(w, at->negation[1], ne);
}

/* What stands behind the verb that is conjugated: pas and its like, and adverbs. */
static void french_middle(writer *w, const struct verb_choice *choice, const struct english_verb *at)
{
    static const char *const seconds[] = {[NOT] = "pas", [NEVER] = "jamais", [NO_LONGER] = "plus"};
    if (choice->polarity != AFFIRMED) {
        const int second = say_french(w, seconds[choice->polarity], "");
        link_sure(w, at->negation[0], second);
        if (at->negation[1] != NONE) link_sure(w, at->negation[1], second);
    }
    if (choice->adverb != NULL) link_sure(w, at->adverb, say_french(w, choice->adverb->french, ""));
}

static void french_object(writer *w, const struct verb_choice *choice, const struct english_verb *at)
{
    if (choice->object == NULL) return;
    link_sure(w, at->object, say_french_or(w, choice->object->french, choice->object->before_vowel));
}

void say_active(writer *w, const struct verb_choice *choice, struct agreement subject,
                const struct agreement *preceding)
{
    const struct english_verb at = english_active(w, choice, subject);
    const struct verb *verb = choice->verb;
    const bool modal = choice->tense >= MUST;
    say_ne(w, choice, &at);
    if (!modal) french_object(w, choice, &at);
    int finite = NONE;
    switch (choice->tense) {
    case PRESENT:
        finite = say_french(w, subject.plural ? verb->plural : verb->singular, "");
        break;
    case FUTURE:
        finite = say_french(w, verb->future, subject.plural ? "ont" : "a");
        break;
    case PAST:
        finite = french_form(w, verb->with_etre ? etre : avoir, subject);
        break;
    case MUST:
    case CAN:
        finite = french_form(w, choice->tense == MUST ? devoir : pouvoir, subject);
        break;
    }
    french_middle(w, choice, &at);
    if (choice->tense == PRESENT || choice->tense == FUTURE) {
        link_sure(w, at.main, finite);
        if (at.auxiliary != NONE) link_possible(w, at.auxiliary, finite);
    } else if (choice->tense == PAST) {
        const struct agreement unmarked = {0};
        const struct agreement with = verb->with_etre          ? subject
                                      : choice->object != NULL ? choice->object->agreement
                                      : preceding != NULL      ? *preceding
                                                               : unmarked;
        link_possible(w, at.auxiliary != NONE ? at.auxiliary : at.main, finite);
        link_sure(w, at.main, french_participle(w, verb, with));
    } else {
        link_sure(w, at.auxiliary, finite);
        french_object(w, choice, &at);
        link_sure(w, at.main, say_french(w, verb->french, ""));
    }
}

void say_be(writer *w, const struct verb_choice *choice, struct agreement subject, bool passive)
{
    const struct english_verb at = english_be_group(w, choice, subject);
    const bool modal = choice->tense >= MUST;
    say_ne(w, choice, &at);
    const char *const *forms = choice->tense == PRESENT  ? etre
                               : choice->tense == FUTURE ? sera
                               : choice->tense == MUST   ? devoir
                               : choice->tense == CAN    ? pouvoir
                               : passive                 ? avoir
                                                         : etait;
    const int finite = french_form(w, forms, subject);
    french_middle(w, choice, &at);
    link_sure(w, modal ? at.auxiliary : at.main, finite);
    if (choice->tense == FUTURE) link_possible(w, at.auxiliary, finite);
    if (modal) link_sure(w, at.main, say_french(w, "être", ""));
    if (passive && choice->tense == PAST) link_sure(w, at.main, say_french(w, "été", ""));
    if (!passive) return;
    const int participle = say_english(w, choice->verb->english_participle);
    link_sure(w, participle, french_participle(w, choice->verb, subject));
}
