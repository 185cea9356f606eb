/* SPDX-License-Identifier: BSD-3-Clause
 *
 * grammar.c: see grammar.h; the rules are in say_*.c, what is drawn by them in plan_*.c. */
#include "text/grammar.h"

#include "refuse.h"
#include "text/plan.h"

#include <string.h>

void grammar_sentence(grammar_random *random, int min_tokens, int max_tokens, sentence_pair *pair)
{
    maker m;
    const int tokens = draw_between(random, min_tokens, max_tokens);
    writer_begin(&m.w);
    m.random = random;
    m.depth = 0;
    m.timed = false;
    plan_sentence(&m, tokens - 1);
    say_both(&m.w, ".", ".");
    if (m.w.english_count != tokens) {
        give_up("the grammar has made %d tokens where %d were due", m.w.english_count, tokens);
    }
    writer_finish(&m.w, pair);
}

/* What the plans say when they draw: a noun with a complement, the passive, a date. */
void grammar_canonical(sentence_pair *pair)
{
    static const struct word on = {"on", "sur"};
    const struct noun_choice agreement = {.noun = find_noun("agreement"), .determiner = THE};
    const struct verb_choice was_signed = {.verb = find_verb("sign"), .tense = PAST};
    writer w;
    writer_begin(&w);
    const struct agreement subject = say_noun(&w, &agreement, ANYWHERE);
    say_preposition(&w, &on);
    say_european(&w, find_european_field("Economic"), find_european_kind("Area"));
    say_be(&w, &was_signed, subject, true);
    say_date(&w, 0, &months[7], 1992);
    say_both(&w, ".", ".");
    writer_finish(&w, pair);
}

bool grammar_is_canonical(const sentence_pair *pair)
{
    static const char *const words[] = {"The", "agreement", "on", "the",    "European", "Economic", "Area",
                                        "was", "signed",    "in", "August", "1992",     "."};
    const int count = (int)(sizeof words / sizeof words[0]);
    if (pair->source_count != count) return false;
    for (int i = 0; i < count; i++) {
        if (strcmp(pair->source[i], words[i]) != 0) return false;
    }
    return true;
}
