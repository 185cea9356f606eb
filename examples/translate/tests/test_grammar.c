/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test_grammar.c: what the grammar makes: its lengths, its links, its French, and the sentence that is held out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "text/plan.h"

#include "refuse.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char canonical[] = "The agreement on the European Economic Area was signed in August 1992 .\t"
                                "L' accord sur la zone économique européenne a été signé en août 1992 .\t"
                                "0-0 1-1 2-2 3-3 6-4 5-5 4-6 7-7 7-8 8-9 9-10 10-11 11-12 12-13\n";

enum { MANY_SENTENCES = 100000 };

static char *line_of(const sentence_pair *pair)
{
    char *line = NULL;
    size_t size = 0;
    FILE *file = open_memstream(&line, &size);
    assert_non_null(file);
    pair_write(file, pair);
    fclose(file);
    return line;
}

static bool is_one_of(const char *word, const char *const *words)
{
    for (; *words != NULL; words++) {
        if (strcmp(word, *words) == 0) return true;
    }
    return false;
}

/* ---- Lengths, seeds ---- */

static void every_length_is_reached(void **state)
{
    (void)state;
    for (int tokens = GRAMMAR_SHORTEST; tokens <= GRAMMAR_LONGEST; tokens++) {
        for (uint64_t seed = 0; seed < 200; seed++) {
            grammar_random random = {.state = seed};
            sentence_pair pair = {0};
            grammar_sentence(&random, tokens, tokens, &pair);
            assert_int_equal(pair.source_count, tokens);
            pair_free(&pair);
        }
    }
}

static void lengths_in_a_range_are_equally_likely(void **state)
{
    (void)state;
    int found[GRAMMAR_LONGEST + 1] = {0};
    grammar_random random = {.state = 3};
    for (int i = 0; i < 10000; i++) {
        sentence_pair pair = {0};
        grammar_sentence(&random, 5, 14, &pair);
        assert_in_range(pair.source_count, 5, 14);
        found[pair.source_count]++;
        pair_free(&pair);
    }
    for (int tokens = 5; tokens <= 14; tokens++) assert_in_range(found[tokens], 850, 1150);
}

static void a_seed_gives_the_same_sentences(void **state)
{
    (void)state;
    grammar_random one = {.state = 11}, two = {.state = 11}, other = {.state = 12};
    int differ = 0;
    for (int i = 0; i < 100; i++) {
        sentence_pair pairs[3] = {{0}};
        grammar_sentence(&one, 3, 60, &pairs[0]);
        grammar_sentence(&two, 3, 60, &pairs[1]);
        grammar_sentence(&other, 3, 60, &pairs[2]);
        char *lines[3];
        for (int k = 0; k < 3; k++) lines[k] = line_of(&pairs[k]);
        assert_string_equal(lines[0], lines[1]);
        differ += strcmp(lines[0], lines[2]) != 0;
        for (int k = 0; k < 3; k++) {
            free(lines[k]);
            pair_free(&pairs[k]);
        }
    }
    assert_int_equal(differ, 100);
}

/* The stream itself, whatever the machine: the first outputs of splitmix64 from 0, in parts of 1000. */
static void the_stream_is_splitmix64(void **state)
{
    (void)state;
    grammar_random random = {.state = 0};
    assert_int_equal(draw_below(&random, 1000), 0xe220a839u * UINT64_C(1000) >> 32);
    assert_int_equal(draw_below(&random, 1000), 0x6e789e6au * UINT64_C(1000) >> 32);
    assert_int_equal(draw_below(&random, 1000), 0x06c45d18u * UINT64_C(1000) >> 32);
}

/* ---- Links ---- */

static void assert_links_are_well_formed(const sentence_pair *pair)
{
    for (int i = 0; i < pair->link_count; i++) {
        const pair_link *link = &pair->links[i];
        assert_in_range(link->source, 0, pair->source_count - 1);
        assert_in_range(link->target, 0, pair->target_count - 1);
        if (i == 0) continue;
        assert_true(link[-1].target < link->target ||
                    (link[-1].target == link->target && link[-1].source < link->source));
    }
}

static bool surely_linked(const sentence_pair *pair, int source, int target)
{
    for (int i = 0; i < pair->link_count; i++) {
        const pair_link *link = &pair->links[i];
        if (link->sure && (link->source == source || link->target == target)) return true;
    }
    return false;
}

static void all_but_helping_words_are_surely_linked(void **state)
{
    (void)state;
    static const char *const english[] = {"will", "did", "do", "does", "on", "On", NULL};
    static const char *const french[] = {"ai", "a",  "avons", "ont", "suis", "est", "sommes", "sont",
                                         "le", "la", "l'",    "des", "Le",   "La",  "L'",     "Des",
                                         "de", "d'", "De",    "D'",  "que",  "qu'", NULL};
    grammar_random random = {.state = 5};
    for (int i = 0; i < 20000; i++) {
        sentence_pair pair = {0};
        grammar_sentence(&random, 3, 60, &pair);
        assert_links_are_well_formed(&pair);
        for (int s = 0; s < pair.source_count; s++) {
            if (!surely_linked(&pair, s, -1)) assert_true(is_one_of(pair.source[s], english));
        }
        for (int t = 0; t < pair.target_count; t++) {
            if (!surely_linked(&pair, -1, t)) assert_true(is_one_of(pair.target[t], french));
        }
        const pair_link *last = &pair.links[pair.link_count - 1];
        assert_true(last->sure && last->source == pair.source_count - 1 && last->target == pair.target_count - 1);
        assert_string_equal(pair.source[last->source], ".");
        assert_string_equal(pair.target[last->target], ".");
        pair_free(&pair);
    }
}

/* ---- The sentence that is held out ---- */

static void the_canonical_sentence_is_exact(void **state)
{
    (void)state;
    sentence_pair pair = {0};
    grammar_canonical(&pair);
    char *line = line_of(&pair);
    assert_string_equal(line, canonical);
    assert_true(grammar_is_canonical(&pair));
    free(line);
    pair_free(&pair);

    grammar_random random = {.state = 1};
    for (int i = 0; i < 1000; i++) {
        grammar_sentence(&random, 13, 13, &pair);
        assert_false(grammar_is_canonical(&pair));
        pair_free(&pair);
    }
}

/* Whether the English is the canonical sentence but for its words of content. */
static bool is_like_canonical(const sentence_pair *pair)
{
    static const char *const words[13] = {"The", NULL, "on", "the", "European", NULL, NULL,
                                          "was", NULL, "in", NULL,  NULL,       "."};
    for (int i = 0; i < 13; i++) {
        if (words[i] != NULL && strcmp(pair->source[i], words[i]) != 0) return false;
    }
    return pair->source[11][0] == '1';
}

static void sentences_like_the_canonical_one_are_drawn(void **state)
{
    (void)state;
    grammar_random random = {.state = 2};
    int found = 0;
    for (int i = 0; i < 400000 && found == 0; i++) {
        sentence_pair pair = {0};
        grammar_sentence(&random, 13, 13, &pair);
        found += is_like_canonical(&pair);
        pair_free(&pair);
    }
    assert_int_equal(found, 1);
}

static void its_words_are_common(void **state)
{
    (void)state;
    enum { WORDS = 13 };
    int found[WORDS] = {0};
    sentence_pair wanted = {0};
    grammar_canonical(&wanted);
    grammar_random random = {.state = 4};
    for (int i = 0; i < 20000; i++) {
        sentence_pair pair = {0};
        grammar_sentence(&random, 3, 30, &pair);
        for (int k = 0; k < WORDS; k++) {
            for (int s = 0; s < pair.source_count; s++) found[k] += strcmp(pair.source[s], wanted.source[k]) == 0;
        }
        pair_free(&pair);
    }
    for (int k = 0; k < WORDS; k++) assert_in_range(found[k], 50, INT32_MAX);
    pair_free(&wanted);
}

/* ---- Many sentences: a function, and French ---- */

static int compare_lines(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void english_has_one_french(void **state)
{
    (void)state;
    char **lines = allocate(MANY_SENTENCES, sizeof *lines);
    grammar_random random = {.state = 6};
    for (int i = 0; i < MANY_SENTENCES; i++) { /* half of them short ones, which come again */
        sentence_pair pair = {0};
        grammar_sentence(&random, 3, i % 2 == 0 ? 60 : 7, &pair);
        lines[i] = line_of(&pair);
        pair_free(&pair);
    }
    qsort(lines, MANY_SENTENCES, sizeof *lines, compare_lines);
    int again = 0;
    for (int i = 1; i < MANY_SENTENCES; i++) {
        const size_t english = strcspn(lines[i], "\t");
        if (strncmp(lines[i - 1], lines[i], english + 1) != 0) continue;
        again++;
        assert_string_equal(lines[i - 1], lines[i]);
    }
    assert_in_range(again, 1000, MANY_SENTENCES);
    for (int i = 0; i < MANY_SENTENCES; i++) free(lines[i]);
    free(lines);
}

typedef struct vocabulary {
    char *words[2000];
    int count;
} vocabulary;

static void note_word(vocabulary *v, const char *word)
{
    for (int i = 0; i < v->count; i++) {
        if (strcmp(v->words[i], word) != 0) continue;
        if (i > 0) { /* to the front, half way: common words are found soon */
            char *other = v->words[i / 2];
            v->words[i / 2] = v->words[i];
            v->words[i] = other;
        }
        return;
    }
    assert_in_range(v->count, 0, 1999);
    v->words[v->count++] = copy_text(word);
}

static void the_vocabularies_have_several_hundred_words(void **state)
{
    (void)state;
    vocabulary english = {.count = 0}, french = {.count = 0};
    grammar_random random = {.state = 8};
    for (int i = 0; i < 30000; i++) {
        sentence_pair pair = {0};
        grammar_sentence(&random, 3, 60, &pair);
        for (int s = 0; s < pair.source_count; s++) note_word(&english, pair.source[s]);
        for (int t = 0; t < pair.target_count; t++) note_word(&french, pair.target[t]);
        pair_free(&pair);
    }
    print_message("%d English words, %d French ones\n", english.count, french.count);
    assert_in_range(english.count, 400, 800);
    assert_in_range(french.count, 500, 950);
    for (int i = 0; i < english.count; i++) free(english.words[i]);
    for (int i = 0; i < french.count; i++) free(french.words[i]);
}

/* What the test thinks of a word's beginning, from a list of its own. */
static bool starts_with_vowel(const char *word)
{
    static const char *const aspirated[] = {"haie",     "haies",     "hausse",  "hausses", "héros", "huit",
                                            "hongrois", "hongroise", "Hongrie", "onze",    NULL};
    if (is_one_of(word, aspirated)) return false;
    return strchr("aeiouhAEIOUH", word[0]) != NULL || (unsigned char)word[0] == 0xc3;
}

/* A word, and the nouns of what gender and number may stand behind it. */
static const struct {
    const char *word;
    bool masculine, feminine, plural;
} articles[] = {
    {"le", true, false, false},    {"la", false, true, false},        {"les", false, false, true},
    {"un", true, false, false},    {"une", false, true, false},       {"des", false, false, true},
    {"ce", true, false, false},    {"cet", true, false, false},       {"cette", false, true, false},
    {"ces", false, false, true},   {"sa", false, true, false},        {"ma", false, true, false},
    {"ses", false, false, true},   {"du", true, false, false},        {"au", true, false, false},
    {"aux", false, false, true},   {"notre", true, true, false},      {"nos", false, false, true},
    {"leurs", false, false, true}, {"plusieurs", false, false, true}, {"chaque", true, true, false},
};

static void assert_article_agrees(const char *article, const char *word)
{
    for (size_t i = 0; i < sizeof articles / sizeof articles[0]; i++) {
        if (strcmp(article, articles[i].word) != 0) continue;
        for (int n = 0; n < noun_count; n++) {
            const bool singular = strcmp(nouns[n].french, word) == 0;
            const bool plural = strcmp(nouns[n].french_plural, word) == 0;
            if (!singular && !plural) continue;
            if (plural && articles[i].plural) return;
            assert_true(singular && (nouns[n].feminine ? articles[i].feminine : articles[i].masculine));
        }
    }
}

static void assert_neighbours_are_french(const char *first, const char *second)
{
    static const char *const elided[] = {"l'", "d'", "n'", "j'", "m'", "qu'", "cet", "nouvel", "vieil", "bel", NULL};
    static const char *const elide[] = {"le", "la", "de", "ne", "je", "me", "que", "sa", "ma", "ce", NULL};
    static const char *const never[][2] = {{"de", "le"},  {"de", "les"}, {"à", "le"},   {"à", "les"},  {"si", "il"},
                                           {"de", "des"}, {"de", "du"},  {"des", "de"}, {"pas", "des"}};
    if (is_one_of(first, elided)) assert_true(starts_with_vowel(second));
    if (is_one_of(first, elide)) assert_false(starts_with_vowel(second));
    for (size_t i = 0; i < sizeof never / sizeof never[0]; i++) {
        assert_false(strcmp(first, never[i][0]) == 0 && strcmp(second, never[i][1]) == 0);
    }
    assert_article_agrees(first, second);
}

/* A negation is ne, at most two words, and its second half. */
static void assert_negation_is_closed(const sentence_pair *pair, int ne)
{
    static const char *const seconds[] = {"pas", "jamais", "plus", NULL};
    for (int t = ne + 2; t <= ne + 3; t++) {
        if (is_one_of(pair->target[t], seconds)) return;
    }
    fail_msg("a negation is left open");
}

static void neighbours_are_french(void **state)
{
    (void)state;
    grammar_random random = {.state = 9};
    for (int i = 0; i < MANY_SENTENCES / 2; i++) {
        sentence_pair pair = {0};
        grammar_sentence(&random, 3, 60, &pair);
        unsigned char *first = (unsigned char *)pair.target[0];
        if (first[0] >= 'A' && first[0] <= 'Z') first[0] = (unsigned char)(first[0] + 32);
        for (int t = 0; t + 1 < pair.target_count; t++) {
            assert_neighbours_are_french(pair.target[t], pair.target[t + 1]);
            if (strcmp(pair.target[t], "ne") == 0 || strcmp(pair.target[t], "n'") == 0)
                assert_negation_is_closed(&pair, t);
        }
        pair_free(&pair);
    }
}

/* ---- It and they ---- */

static const struct noun *noun_of(const char *english, bool *plural)
{
    for (int n = 0; n < noun_count; n++) {
        *plural = strcmp(nouns[n].english_plural, english) == 0;
        if (*plural || strcmp(nouns[n].english, english) == 0) return &nouns[n];
    }
    return NULL;
}

/* The place of the only word that begins a second clause, -1 if there is none or more. */
static int second_clause(const sentence_pair *pair)
{
    static const char *const conjunctions[] = {"because", "when", "while", "but", NULL};
    int found = -1;
    for (int s = 0; s < pair->source_count; s++) {
        const bool and_too = strcmp(pair->source[s], "and") == 0 && strcmp(pair->source[s - 1], ",") == 0;
        if (!and_too && !is_one_of(pair->source[s], conjunctions)) continue;
        if (found >= 0) return -1;
        found = s;
    }
    return found;
}

static const char *french_of(const sentence_pair *pair, int source)
{
    for (int i = 0; i < pair->link_count; i++) {
        if (pair->links[i].source == source) return pair->target[pair->links[i].target];
    }
    return "";
}

/* "The letters ... because they": the letters, whatever else is between. */
static void it_and_they_are_what_the_first_clause_is_about(void **state)
{
    (void)state;
    grammar_random random = {.state = 10};
    int found[2][2] = {{0}};
    for (int i = 0; i < MANY_SENTENCES / 2; i++) {
        sentence_pair pair = {0};
        grammar_sentence(&random, 8, 24, &pair);
        bool plural = false;
        const struct noun *noun = strcmp(pair.source[0], "The") == 0 ? noun_of(pair.source[1], &plural) : NULL;
        const int conjunction = noun != NULL ? second_clause(&pair) : -1;
        const bool list = strcmp(pair.source[2], ",") == 0 || strcmp(pair.source[2], "and") == 0;
        if (conjunction >= 0 && !list && strcmp(pair.source[conjunction + 1], plural ? "they" : "it") == 0) {
            const char *pronoun = noun->feminine ? (plural ? "elles" : "elle") : (plural ? "ils" : "il");
            assert_string_equal(french_of(&pair, conjunction + 1), pronoun);
            found[plural][noun->feminine]++;
        }
        pair_free(&pair);
    }
    for (int i = 0; i < 4; i++) assert_in_range(found[i / 2][i % 2], 20, MANY_SENTENCES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_length_is_reached),
        cmocka_unit_test(lengths_in_a_range_are_equally_likely),
        cmocka_unit_test(a_seed_gives_the_same_sentences),
        cmocka_unit_test(the_stream_is_splitmix64),
        cmocka_unit_test(all_but_helping_words_are_surely_linked),
        cmocka_unit_test(the_canonical_sentence_is_exact),
        cmocka_unit_test(sentences_like_the_canonical_one_are_drawn),
        cmocka_unit_test(its_words_are_common),
        cmocka_unit_test(english_has_one_french),
        cmocka_unit_test(the_vocabularies_have_several_hundred_words),
        cmocka_unit_test(neighbours_are_french),
        cmocka_unit_test(it_and_they_are_what_the_first_clause_is_about),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
