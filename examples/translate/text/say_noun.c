/* SPDX-License-Identifier: BSD-3-Clause
 *
 * say_noun.c: see say_noun.h. */
#include "text/say_noun.h"

#include <stdio.h>
#include <string.h>

enum { NONE = -1 };

/* ---- Articles and what stands in their place ---- */

static int french_definite(writer *w, bool feminine, bool plural)
{
    if (plural) return say_french(w, "les", "");
    return say_french_or(w, feminine ? "la" : "le", "l'");
}

static void link_definite(writer *w, int english, bool feminine, bool plural)
{
    link_sure(w, english, french_definite(w, feminine, plural));
}

static int french_de(writer *w)
{
    return say_french_or(w, "de", "d'");
}

/* mon, ma, mes; ma is mon before a vowel. */
static int french_possessive(writer *w, enum determiner determiner, struct agreement a)
{
    static const char *const forms[][4] = {{"mon", "ma", "mes", "mon"},
                                           {"son", "sa", "ses", "son"},
                                           {"notre", "notre", "nos", NULL},
                                           {"leur", "leur", "leurs", NULL}};
    const char *const *form = forms[determiner == MY ? 0 : determiner == OUR ? 2 : determiner == THEIR ? 3 : 1];
    if (a.plural) return say_french(w, form[2], "");
    return a.feminine ? say_french_or(w, form[1], form[3]) : say_french(w, form[0], "");
}

static int french_demonstrative(writer *w, struct agreement a)
{
    if (a.plural) return say_french(w, "ces", "");
    return a.feminine ? say_french(w, "cette", "") : say_french_or(w, "ce", "cet");
}

static int english_determiner(writer *w, enum determiner determiner, bool plural)
{
    static const char *const words[] = {[THE] = "the",   [MY] = "my",       [HIS] = "his",         [HER] = "her",
                                        [OUR] = "our",   [THEIR] = "their", [ALL_THE] = "all",     [EVERY] = "every",
                                        [MANY] = "many", [SOME] = "some",   [SEVERAL] = "several", [FEW] = "few"};
    if (determiner == NO_DETERMINER) return NONE;
    if (determiner == A) return say_english_or(w, "a", "an");
    if (determiner == THIS) return say_english(w, plural ? "these" : "this");
    return say_english(w, words[determiner]);
}

/* The determiner on both sides. Without one in English, French has des, or de before an adjective, and nothing before a
 * number; the noun that it belongs to then takes a possible link, so its place is given back. */
static int say_determiner(writer *w, const struct noun_choice *choice, struct agreement a, enum phrase_place place,
                          bool adjective_follows)
{
    const int english = english_determiner(w, choice->determiner, choice->plural);
    int french = NONE;
    switch (choice->determiner) {
    case NO_DETERMINER:
        if (choice->number != NULL || place == AFTER_DE) return NONE;
        if (place == UNDER_NEGATION || adjective_follows) return french_de(w);
        return say_french(w, "des", "");
    case THE:
        french = french_definite(w, a.feminine, a.plural);
        break;
    case A:
        french = place == UNDER_NEGATION ? french_de(w) : say_french(w, a.feminine ? "une" : "un", "");
        break;
    case THIS:
        french = french_demonstrative(w, a);
        break;
    case ALL_THE:
        link_sure(w, english, say_french(w, a.feminine ? "toutes" : "tous", ""));
        link_definite(w, say_english(w, "the"), a.feminine, true);
        return NONE;
    case EVERY:
        french = say_french(w, "chaque", "");
        break;
    case SEVERAL:
        french = say_french(w, "plusieurs", "");
        break;
    case SOME:
        french = say_french(w, "quelques", "");
        break;
    case MANY:
    case FEW:
        link_sure(w, english, say_french(w, choice->determiner == MANY ? "beaucoup" : "peu", ""));
        link_possible(w, english, french_de(w));
        return NONE;
    default:
        french = french_possessive(w, choice->determiner, a);
        break;
    }
    link_sure(w, english, french);
    return NONE;
}

/* ---- Nouns ---- */

static int french_adjective(writer *w, const struct adjective *adjective, struct agreement a)
{
    if (a.feminine) return say_french(w, adjective->feminine, a.plural ? "s" : "");
    return say_french(w, a.plural ? adjective->plural : adjective->french, "");
}

void say_adjective(writer *w, const struct adjective *adjective, struct agreement with)
{
    const int english = say_english(w, adjective->english);
    link_sure(w, english, french_adjective(w, adjective, with));
}

/* Only before its noun does an adjective change before a vowel: il est vieux et ..., un vieil homme. */
static int french_adjective_before(writer *w, const struct adjective *adjective, struct agreement a)
{
    if (a.feminine || a.plural || adjective->before_vowel == NULL) return french_adjective(w, adjective, a);
    return say_french_or(w, adjective->french, adjective->before_vowel);
}

struct agreement say_noun(writer *w, const struct noun_choice *choice, enum phrase_place place)
{
    const struct noun *noun = choice->noun;
    const struct agreement a = {.plural = choice->plural, .feminine = noun->feminine};
    const bool adjective_first = choice->adjective_count > 0 && choice->adjectives[0]->rank == BEFORE_NOUN;
    const int article = say_determiner(w, choice, a, place, adjective_first);
    if (choice->number != NULL) say_both(w, choice->number->english, choice->number->french);
    int english[MOST_ADJECTIVES] = {0};
    for (int i = 0; i < choice->adjective_count; i++) {
        english[i] = say_english(w, choice->adjectives[i]->english);
        if (choice->adjectives[i]->rank == BEFORE_NOUN) {
            link_sure(w, english[i], french_adjective_before(w, choice->adjectives[i], a));
        }
    }
    const int english_noun = say_english(w, choice->plural ? noun->english_plural : noun->english);
    link_sure(w, english_noun, say_french(w, choice->plural ? noun->french_plural : noun->french, ""));
    if (article != NONE) link_possible(w, english_noun, article);
    for (int i = choice->adjective_count - 1; i >= 0; i--) {
        if (choice->adjectives[i]->rank == BEFORE_NOUN) continue;
        link_sure(w, english[i], french_adjective(w, choice->adjectives[i], a));
    }
    return a;
}

/* ---- Names ---- */

/* The words of the English name, of which the French one is a single word; "the" is the article's. */
static void link_name(writer *w, const struct name *name, const int english[4], int french)
{
    for (int i = 0; name->english[i] != NULL; i++) {
        if (strcmp(name->english[i], "the") != 0) link_sure(w, english[i], french);
    }
}

/* Says the English side; what is linked to the article comes first. */
static void english_name(writer *w, const struct name *name, int english[4])
{
    for (int i = 0; name->english[i] != NULL; i++) english[i] = say_english(w, name->english[i]);
}

static void french_name_article(writer *w, const struct name *name, const int english[4])
{
    if (name->article == NULL) return;
    const int french = french_definite(w, name->feminine, name->plural);
    if (strcmp(name->english[0], "the") == 0) {
        link_sure(w, english[0], french);
    } else {
        link_possible(w, english[0], french);
    }
}

struct agreement say_name(writer *w, const struct name *name)
{
    int english[4];
    english_name(w, name, english);
    french_name_article(w, name, english);
    link_name(w, name, english, say_french(w, name->french, ""));
    return (struct agreement){.plural = name->plural, .feminine = name->feminine};
}

void say_in_name(writer *w, const struct name *name)
{
    int english[4];
    const int in = say_english(w, "in");
    english_name(w, name, english);
    if (strncmp(name->in, "au", 2) == 0) {
        link_sure(w, in, say_french(w, "à", ""));
        french_name_article(w, name, english);
    } else {
        link_sure(w, in, say_french(w, name->in, ""));
    }
    link_name(w, name, english, say_french(w, name->french, ""));
}

struct agreement say_european(writer *w, const struct european_field *field, const struct european_kind *kind)
{
    link_definite(w, say_english(w, "the"), kind->feminine, false);
    const int european = say_english(w, "European");
    const int field_english = say_english(w, field->english);
    say_both(w, kind->english, kind->french);
    link_sure(w, field_english, say_french(w, kind->feminine ? field->feminine : field->french, ""));
    link_sure(w, european, say_french(w, kind->feminine ? "européenne" : "européen", ""));
    return (struct agreement){.feminine = kind->feminine};
}

/* ---- Prepositions and dates ---- */

void say_of(writer *w)
{
    const int english = say_english(w, "of");
    link_sure(w, english, french_de(w));
}

/* The last word of près de is de itself, and contracts. */
void say_preposition(writer *w, const struct word *preposition)
{
    const int english = say_english(w, preposition->english);
    if (strcmp(preposition->french, "près de") == 0) {
        link_sure(w, english, say_french(w, "près", ""));
        link_possible(w, english, french_de(w));
    } else {
        link_sure(w, english, say_french(w, preposition->french, ""));
    }
}

void say_date(writer *w, int day, const struct word *month, int year)
{
    const int preposition = say_english(w, day > 0 ? "on" : "in");
    if (day > 0) {
        link_possible(w, preposition, say_french(w, "le", "")); /* before a digit: nothing elides */
    } else {
        link_sure(w, preposition, say_french(w, "en", ""));
    }
    char digits[16];
    if (day > 0) {
        snprintf(digits, sizeof digits, "%d", day);
        say_both(w, digits, day == 1 ? "1er" : digits);
    }
    if (month != NULL) say_both(w, month->english, month->french);
    if (year > 0) {
        snprintf(digits, sizeof digits, "%d", year);
        say_both(w, digits, digits);
    }
}

void say_weekday(writer *w, const struct word *weekday)
{
    const int on = say_english(w, "on");
    const int english = say_english(w, weekday->english);
    const int french = say_french(w, weekday->french, "");
    link_sure(w, english, french);
    link_possible(w, on, french);
}
