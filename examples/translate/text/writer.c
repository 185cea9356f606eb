/* SPDX-License-Identifier: BSD-3-Clause
 *
 * writer.c: see writer.h; spelling that depends on the neighbour, once for all rules of the grammar. */
#include "text/writer.h"

#include "refuse.h"

#include <stdio.h>
#include <string.h>

void writer_begin(writer *w)
{
    w->english_count = 0;
    w->french_count = 0;
    w->link_count = 0;
}

static int say(writer_token *tokens, int *count, const char *text, const char *ending, const char *before_vowel)
{
    if (*count == WRITER_TOKENS) give_up("the grammar has made a sentence of more than %d tokens", WRITER_TOKENS);
    writer_token *token = &tokens[*count];
    const int bytes = snprintf(token->text, sizeof token->text, "%s%s", text, ending);
    if (bytes <= 0 || bytes >= WRITER_BYTES) give_up("the grammar has a word too long for it: %s%s", text, ending);
    token->before_vowel = before_vowel;
    return (*count)++;
}

int say_english(writer *w, const char *text)
{
    return say(w->english, &w->english_count, text, "", NULL);
}

int say_english_or(writer *w, const char *text, const char *before_vowel)
{
    return say(w->english, &w->english_count, text, "", before_vowel);
}

int say_french(writer *w, const char *text, const char *ending)
{
    return say(w->french, &w->french_count, text, ending, NULL);
}

int say_french_or(writer *w, const char *text, const char *before_vowel)
{
    return say(w->french, &w->french_count, text, "", before_vowel);
}

static void add_link(writer *w, int english, int french, bool sure)
{
    if (w->link_count == WRITER_LINKS) give_up("the grammar has made more than %d links", WRITER_LINKS);
    w->links[w->link_count++] = (pair_link){.source = english, .target = french, .sure = sure};
}

void link_sure(writer *w, int english, int french)
{
    add_link(w, english, french, true);
}

void link_possible(writer *w, int english, int french)
{
    add_link(w, english, french, false);
}

void say_both(writer *w, const char *english, const char *french)
{
    const int source = say_english(w, english);
    link_sure(w, source, say_french(w, french, ""));
}

static bool begins_with_one_of(const char *text, const char *const *beginnings)
{
    for (; *beginnings != NULL; beginnings++) {
        if (strncmp(text, *beginnings, strlen(*beginnings)) == 0) return true;
    }
    return false;
}

/* Whether French elides before the word: vowels and the mute h, but not the aspirated one, nor onze. */
static bool french_vowel(const char *text)
{
    static const char *const vowels[] = {"a", "e", "i", "o", "u", "A", "E", "I", "O", "U", "à", "â", "é",
                                         "è", "ê", "î", "ô", "É", "Ê", "Î", "h", "H", "œ", "Œ", NULL};
    static const char *const others[] = {"haie", "hausse", "haut",    "harpe", "hall", "héros",
                                         "huit", "hong",   "Hongrie", "Haye",  "onze", NULL};
    return begins_with_one_of(text, vowels) && !begins_with_one_of(text, others);
}

/* Whether English says "an" before the word. */
static bool english_vowel(const char *text)
{
    static const char *const vowels[] = {"a", "e", "i", "o", "u", "A", "E", "I", "O", "U", "honest", "hour", NULL};
    static const char *const others[] = {"Euro", "uni", "Uni", "use", "one", NULL};
    return begins_with_one_of(text, vowels) && !begins_with_one_of(text, others);
}

/* Si alone elides before il and ils only. */
static bool elides(const char *text, const char *next, bool (*vowel)(const char *))
{
    if (strcmp(text, "si") == 0) return strcmp(next, "il") == 0 || strcmp(next, "ils") == 0;
    return vowel(next);
}

static void settle_vowels(writer_token *tokens, int count, bool (*vowel)(const char *))
{
    for (int i = 0; i + 1 < count; i++) {
        if (tokens[i].before_vowel != NULL && elides(tokens[i].text, tokens[i + 1].text, vowel)) {
            snprintf(tokens[i].text, sizeof tokens[i].text, "%s", tokens[i].before_vowel);
        }
    }
}

/* What two neighbours become together, NULL if they stay apart. */
static const char *contraction(const char *first, const char *second)
{
    static const char *const table[][3] = {
        {"de", "le", "du"}, {"de", "les", "des"}, {"à", "le", "au"}, {"à", "les", "aux"}};
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        if (strcmp(first, table[i][0]) == 0 && strcmp(second, table[i][1]) == 0) return table[i][2];
    }
    return NULL;
}

/* The links of both words become the contracted word's. */
static void contract(writer *w)
{
    int moved[WRITER_TOKENS] = {0};
    int count = 0;
    for (int i = 0; i < w->french_count; i++) {
        const char *together = count > 0 ? contraction(w->french[count - 1].text, w->french[i].text) : NULL;
        if (together != NULL) {
            snprintf(w->french[count - 1].text, WRITER_BYTES, "%s", together);
        } else {
            w->french[count++] = w->french[i];
        }
        moved[i] = count - 1;
    }
    w->french_count = count;
    for (int i = 0; i < w->link_count; i++) w->links[i].target = moved[w->links[i].target];
}

/* In UTF-8 the small letters of Latin-1 (é, à, ...) lie 32 above the large ones. */
static void enlarge_first(char *text)
{
    unsigned char *bytes = (unsigned char *)text;
    if (bytes[0] >= 'a' && bytes[0] <= 'z') {
        bytes[0] = (unsigned char)(bytes[0] - 'a' + 'A');
    } else if (bytes[0] == 0xc3 && bytes[1] >= 0xa0 && bytes[1] != 0xb7) {
        bytes[1] = (unsigned char)(bytes[1] - 0x20);
    }
}

void writer_finish(writer *w, sentence_pair *pair)
{
    settle_vowels(w->english, w->english_count, english_vowel);
    settle_vowels(w->french, w->french_count, french_vowel);
    contract(w);
    enlarge_first(w->english[0].text);
    enlarge_first(w->french[0].text);
    for (int i = 0; i < w->english_count; i++) pair_add_source(pair, w->english[i].text);
    for (int i = 0; i < w->french_count; i++) pair_add_target(pair, w->french[i].text);
    for (int i = 0; i < w->link_count; i++) {
        pair_add_link(pair, w->links[i].source, w->links[i].target, w->links[i].sure);
    }
}
