/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test_measure.c: the measures against values computed by hand, and what is printed of them, character by character. */
#include "measure/accuracy.h"
#include "measure/alignment_error.h"
#include "measure/bleu.h"
#include "measure/correlation.h"
#include "measure/json.h"
#include "measure/table.h"
#include "measure/utf8.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define TOKENS(...) ((char *[]){__VA_ARGS__}), (int)(sizeof((char *[]){__VA_ARGS__}) / sizeof(char *))
#define NO_TOKENS   NULL, 0
#define CLOSE       1e-12

static void assert_close(double actual, double expected)
{
    if (!(fabs(actual - expected) <= CLOSE)) fail_msg("%.17g is not %.17g", actual, expected);
}

static void assert_nan(double actual)
{
    if (!isnan(actual)) fail_msg("%.17g is a number", actual);
}

/* ---- BLEU ---- */

static void bleu_of_a_perfect_translation_is_100(void **state)
{
    (void)state;
    bleu sums = {0};
    bleu_add(&sums, TOKENS("a", "b", "c", "d", "e"), TOKENS("a", "b", "c", "d", "e"));
    assert_close(bleu_score(&sums), 100);
    assert_close(bleu_brevity_penalty(&sums), 1);
}

static void bleu_clips_repeated_words(void **state)
{
    (void)state; /* Papineni et al. 2002, example 2 */
    bleu sums = {0};
    bleu_add(&sums, TOKENS("the", "the", "the", "the", "the", "the", "the"),
             TOKENS("the", "cat", "is", "on", "the", "mat"));
    assert_int_equal(sums.matches[0], 2);
    assert_int_equal(sums.grams[0], 7);
    assert_int_equal(sums.matches[1], 0);
    assert_int_equal(sums.grams[1], 6);
    /* 2/7, then (1/2)/6, (1/4)/5, (1/8)/4 */
    assert_close(bleu_score(&sums), 100 * pow(2.0 / 7 / 12 / 20 / 32, 0.25));
}

static void bleu_counts_longer_ngrams(void **state)
{
    (void)state;
    bleu sums = {0};
    bleu_add(&sums, TOKENS("a", "b", "c", "d", "x", "e"), TOKENS("a", "b", "c", "d", "e", "f"));
    const size_t matches[] = {5, 3, 2, 1}, grams[] = {6, 5, 4, 3};
    assert_memory_equal(sums.matches, matches, sizeof matches);
    assert_memory_equal(sums.grams, grams, sizeof grams);
    assert_close(bleu_score(&sums), 100 * pow(5.0 / 6 * 3 / 5 * 2 / 4 * 1 / 3, 0.25));
}

static void bleu_of_short_translations_is_less(void **state)
{
    (void)state;
    bleu sums = {0};
    bleu_add(&sums, TOKENS("a", "b", "c", "d"), TOKENS("a", "b", "c", "d", "e", "f", "g", "h"));
    assert_close(bleu_score(&sums), 100 * exp(-1));
}

static void bleu_without_four_tokens_is_0(void **state)
{
    (void)state;
    bleu sums = {0};
    assert_close(bleu_score(&sums), 0);
    bleu_add(&sums, NO_TOKENS, TOKENS("a", "b"));
    assert_close(bleu_score(&sums), 0);
    assert_close(bleu_brevity_penalty(&sums), 0);
    bleu_add(&sums, TOKENS("a", "b", "c"), TOKENS("a", "b", "c"));
    assert_close(bleu_score(&sums), 0);
}

static void bleu_is_of_the_corpus_not_of_sentences(void **state)
{
    (void)state;
    bleu one = {0}, other = {0};
    bleu_add(&one, TOKENS("a", "b", "c", "d"), TOKENS("a", "b", "c", "d"));
    bleu_add(&other, TOKENS("a", "x", "y", "z"), TOKENS("a", "b", "c", "d"));
    bleu_add_sums(&one, &other);
    assert_close(bleu_score(&one), 100 * pow(5.0 / 8 * 3 / 6 * 2 / 4 * 1 / 2, 0.25));
}

/* ---- Alignment ---- */

/* 3 target tokens, 3 source tokens; links 0-0 sure, 1-2 sure, 2-1 possible. */
static const pair_link known[] = {{0, 0, true}, {2, 1, false}, {1, 2, true}};

static void alignment_follows_the_definition(void **state)
{
    (void)state;
    alignment_error sums = {0};
    const int sources[] = {0, 2, 0}; /* sure, possible, wrong */
    assert_true(alignment_error_add(&sums, sources, 3, known, 3));
    assert_close(alignment_precision(&sums), 2.0 / 3);
    assert_close(alignment_recall(&sums), 1.0 / 2);
    assert_close(alignment_error_rate(&sums), 1 - (1.0 + 2.0) / (3 + 2));
}

static void alignment_that_has_all_sure_and_only_possible_links_is_without_error(void **state)
{
    (void)state;
    alignment_error sums = {0};
    assert_true(alignment_error_add(&sums, (const int[]){0, -1, 1}, 3, known, 3));
    assert_close(alignment_error_rate(&sums), 0);
    assert_true(alignment_error_add(&sums, (const int[]){0, 2, 1}, 3, known, 3));
    assert_close(alignment_error_rate(&sums), 0);
}

static void alignment_of_a_token_without_known_link_costs_precision(void **state)
{
    (void)state;
    alignment_error sums = {0};
    alignment_error_add(&sums, (const int[]){0, 1}, 2, known, 1);
    assert_close(alignment_precision(&sums), 0.5);
    assert_close(alignment_recall(&sums), 1);
    assert_close(alignment_error_rate(&sums), 1 - 2.0 / 3);
}

static void alignment_takes_the_strongest_source(void **state)
{
    (void)state;
    const double weights[] = {0.2, 0.5, 0.3, 0.4, 0.4, 0.2, NAN, 0.1, 0.9, NAN, NAN, NAN};
    int strongest[4];
    strongest_sources(weights, 4, 3, strongest);
    const int expected[] = {1, 0, 2, -1};
    assert_memory_equal(strongest, expected, sizeof expected);
    alignment_error sums = {0};
    assert_true(alignment_error_add_weights(&sums, weights, 4, 3, known, 3));
    assert_int_equal(sums.found, 3);
    assert_close(alignment_error_rate(&sums), 1 - 0.0 / 5);
}

static void alignment_leaves_out_a_sentence_without_known_links(void **state)
{
    (void)state;
    alignment_error sums = {0};
    assert_false(alignment_error_add(&sums, (const int[]){0, 1}, 2, NULL, 0));
    assert_int_equal(sums.sentences_left_out, 1);
    assert_int_equal(sums.sentences, 0);
    assert_nan(alignment_error_rate(&sums));
    assert_nan(alignment_precision(&sums));
    assert_nan(alignment_recall(&sums));
}

/* ---- Accuracy ---- */

static void accuracy_compares_place_by_place(void **state)
{
    (void)state;
    accuracy sums = {0};
    assert_nan(accuracy_exact(&sums));
    assert_nan(accuracy_tokens(&sums));
    accuracy_add(&sums, TOKENS("a", "b", "c"), TOKENS("a", "b", "c"));
    accuracy_add(&sums, TOKENS("b", "c"), TOKENS("a", "b", "c"));           /* all moved: none */
    accuracy_add(&sums, TOKENS("a", "b", "c", "d"), TOKENS("a", "b", "c")); /* too long: all, but not exact */
    accuracy_add(&sums, TOKENS("a"), TOKENS("a", "b", "c"));
    accuracy_add(&sums, NO_TOKENS, TOKENS("a", "b", "c"));
    assert_close(accuracy_exact(&sums), 1.0 / 5);
    assert_close(accuracy_tokens(&sums), (3.0 + 0 + 3 + 1 + 0) / 15);
}

static void lengths_have_buckets_of_ten(void **state)
{
    (void)state;
    const int lengths[] = {0, 1, 10, 11, 20, 21, 50, 51, 60, 61, 1000}, expected[] = {0, 0, 0, 1, 1, 2, 4, 5, 5, 6, 6};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        assert_int_equal(length_bucket_of(lengths[i]), expected[i]);
    }
    assert_string_equal(length_bucket_name(0), "1-10");
    assert_string_equal(length_bucket_name(LENGTH_BUCKETS - 1), "61+");
}

static void length_table_keeps_sentences_apart_and_totals_them(void **state)
{
    (void)state;
    length_table table = {0};
    length_bucket *bucket = length_table_add(&table, 5, TOKENS("a", "b", "c", "d"), TOKENS("a", "b", "c", "d"));
    alignment_error_add(&bucket->alignment, (const int[]){0, 2, 1}, 3, known, 3);
    bucket = length_table_add(&table, 25, TOKENS("a", "x", "y", "z"), TOKENS("a", "b", "c", "d"));
    alignment_error_add(&bucket->alignment, (const int[]){1, 1, 0}, 3, known, 3);
    assert_ptr_equal(bucket, &table.buckets[2]);
    assert_int_equal(table.buckets[0].right.sentences, 1);
    assert_int_equal(table.buckets[1].right.sentences, 0);
    assert_close(bleu_score(&table.buckets[0].overlap), 100);
    const length_bucket total = length_table_total(&table);
    assert_close(accuracy_exact(&total.right), 0.5);
    assert_close(accuracy_tokens(&total.right), 5.0 / 8);
    assert_close(bleu_score(&total.overlap), 100 * pow(5.0 / 8 * 3 / 6 * 2 / 4 * 1 / 2, 0.25));
    assert_close(alignment_error_rate(&total.alignment), 1 - (2.0 + 3.0) / (6 + 4));
    assert_int_equal(total.alignment.sentences, 2);
}

/* ---- Correlation ---- */

static void kendall_counts_pairs(void **state)
{
    (void)state;
    const double x[] = {1, 2, 3, 4}, same[] = {10, 20, 30, 40}, back[] = {4, 3, 2, 1}, swapped[] = {1, 3, 2, 4};
    assert_close(kendall_tau(x, same, 4), 1);
    assert_close(kendall_tau(x, back, 4), -1);
    assert_close(kendall_tau(x, swapped, 4), (5.0 - 1) / 6);
}

static void kendall_allows_for_ties(void **state)
{
    (void)state;
    const double x[] = {1, 1, 2, 3}, y[] = {1, 2, 2, 3}; /* 4 concordant; a tie in each */
    assert_close(kendall_tau(x, y, 4), 4 / sqrt(5.0 * 5.0));
    const double level[] = {2, 2, 2, 2}, unknown[] = {1, NAN, 2, 3};
    assert_nan(kendall_tau(x, level, 4));
    assert_nan(kendall_tau(level, x, 4));
    assert_nan(kendall_tau(x, unknown, 4));
    assert_nan(kendall_tau(x, y, 1));
}

static void distances_reach_their_bounds(void **state)
{
    (void)state;
    const double left[] = {1, 0}, right[] = {0, 1}, even[] = {0.5, 0.5};
    assert_close(total_variation(left, right, 2), 1);
    assert_close(total_variation(left, even, 2), 0.5);
    assert_close(total_variation(left, left, 2), 0);
    assert_close(jensen_shannon(left, right, 2), log(2));
    assert_close(jensen_shannon(even, even, 2), 0);
    /* m = (3/4, 1/4) */
    assert_close(jensen_shannon(left, even, 2), (log(4.0 / 3) + 0.5 * log(2.0 / 3) + 0.5 * log(2)) / 2);
    assert_close(jensen_shannon(even, left, 2), jensen_shannon(left, even, 2));
    const double unknown[] = {NAN, 1};
    assert_nan(jensen_shannon(left, unknown, 2));
    assert_nan(total_variation(left, unknown, 2));
}

static void entropies_of_weights_and_scores_agree(void **state)
{
    (void)state;
    const double sure[] = {0, 1, 0}, even[] = {0.25, 0.25, 0.25, 0.25};
    assert_close(entropy(sure, 3), 0);
    assert_close(entropy(even, 4), log(4));
    const double scores[] = {1000 + log(1), 1000 + log(3), -INFINITY}, weights[] = {0.25, 0.75, 0};
    assert_true(fabs(softmax_entropy(scores, 3) - entropy(weights, 3)) <= 1e-10); /* NaN is not */
    const double masked[] = {-INFINITY, -INFINITY}, unknown[] = {1, NAN};
    assert_nan(softmax_entropy(masked, 2));
    assert_nan(softmax_entropy(unknown, 2));
}

static void quantiles_lie_between_values(void **state)
{
    (void)state;
    const double values[] = {40, 10, 30, 20};
    assert_close(median(values, 4), 25);
    assert_close(median(values, 3), 30);
    assert_close(quantile(values, 4, 0), 10);
    assert_close(quantile(values, 4, 1), 40);
    assert_close(quantile(values, 4, 0.1), 13);
    assert_close(values[0], 40);
    assert_nan(median(values, 0));
    assert_nan(quantile(values, 4, 1.5));
    const double unknown[] = {1, NAN};
    assert_nan(median(unknown, 2));
}

/* ---- What is printed ---- */

/* The text that a file got; the file is closed. */
static char *text_of(FILE *file)
{
    const long length = ftell(file);
    char *text = calloc((size_t)length + 1, 1);
    assert_non_null(text);
    rewind(file);
    assert_int_equal(fread(text, 1, (size_t)length, file), length);
    fclose(file);
    return text;
}

static void assert_text(FILE *file, const char *expected)
{
    char *text = text_of(file);
    assert_string_equal(text, expected);
    free(text);
}

static void json_reads_well(void **state)
{
    (void)state;
    FILE *file = tmpfile();
    json out = json_begin(file);
    json_object(&out);
    json_key(&out, "bleu"), json_number(&out, 31.5);
    json_key(&out, "losses"), json_row(&out), json_number(&out, 2), json_number(&out, 1), json_close(&out);
    json_key(&out, "runs"), json_array(&out);
    json_object(&out), json_key(&out, "seed"), json_integer(&out, -1), json_close(&out);
    json_null(&out);
    json_boolean(&out, true);
    json_close(&out);
    json_key(&out, "none"), json_array(&out), json_close(&out);
    json_close(&out);
    assert_text(file, "{\n"
                      "  \"bleu\": 31.5,\n"
                      "  \"losses\": [2, 1],\n"
                      "  \"runs\": [\n"
                      "    {\n"
                      "      \"seed\": -1\n"
                      "    },\n"
                      "    null,\n"
                      "    true\n"
                      "  ],\n"
                      "  \"none\": []\n"
                      "}\n");
}

static void json_row_holds_what_is_within_on_its_line(void **state)
{
    (void)state;
    FILE *file = tmpfile();
    json out = json_begin(file);
    json_row(&out);
    json_row(&out), json_integer(&out, 1), json_close(&out);
    json_object(&out), json_key(&out, "a"), json_integer(&out, 2), json_key(&out, "b"), json_integer(&out, 3);
    json_close(&out);
    json_close(&out);
    assert_text(file, "[[1], {\"a\": 2, \"b\": 3}]\n");
}

static void json_escapes_text(void **state)
{
    (void)state;
    FILE *file = tmpfile();
    json out = json_begin(file);
    json_string(&out, "é \"a\\b\"\n\t\x01 \xff \xe2\x82 \xed\xa0\x80 \xf0\x9f\x98\x80");
    assert_text(file, "\"é \\\"a\\\\b\\\"\\n\\t\\u0001 \xef\xbf\xbd \xef\xbf\xbd\xef\xbf\xbd "
                      "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd \xf0\x9f\x98\x80\"\n");
}

static void json_numbers_survive(void **state)
{
    (void)state;
    const double numbers[] = {0.1, 1.0 / 3, 5e-324, 1.7976931348623157e308, 123456789, 0};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        FILE *file = tmpfile();
        json out = json_begin(file);
        json_number(&out, numbers[i]);
        char *text = text_of(file);
        if (strtod(text, NULL) != numbers[i]) fail_msg("%s is not %.17g", text, numbers[i]);
        if (i == 0) assert_string_equal(text, "0.1\n");
        free(text);
    }
    FILE *file = tmpfile();
    json out = json_begin(file);
    json_row(&out), json_number(&out, (double)NAN), json_number(&out, -INFINITY), json_close(&out);
    assert_text(file, "[null, null]\n");
}

static void utf8_is_told_from_what_is_not(void **state)
{
    (void)state;
    const struct {
        const char *text;
        int bytes;
        unsigned long point;
    } cases[] = {
        {"a", 1, 'a'},      {"\xc3\xa9", 2, 0xe9},  {"\xe2\x80\xa6", 3, 0x2026}, {"\xf0\x9f\x98\x80", 4, 0x1f600},
        {"\xc0\x80", 0, 0}, {"\xe0\x80\x80", 0, 0}, {"\xf4\x90\x80\x80", 0, 0},  {"\xed\xa0\x80", 0, 0},
        {"\x80", 0, 0},     {"\xc3", 0, 0},         {"\xf8\x88\x80\x80", 0, 0},  {"\xc3(", 0, 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        unsigned long point = 0;
        assert_int_equal(utf8_next(cases[i].text, &point), cases[i].bytes);
        if (cases[i].bytes > 0) assert_int_equal(point, cases[i].point);
    }
}

static void widths_are_those_of_a_terminal(void **state)
{
    (void)state;
    assert_int_equal(text_width(""), 0);
    assert_int_equal(text_width("été…"), 4);
    assert_int_equal(text_width("e\xcc\x81"), 1); /* a combining accent */
    assert_int_equal(text_width("日本"), 4);
    assert_int_equal(text_width("\xff"), 1);
}

static text_table small_table(void)
{
    text_table table = table_begin("lr");
    table_cell(&table, "score"), table_cell(&table, "BLEU");
    table_cell(&table, "général"), table_cell(&table, "%.1f", 31.25);
    table_cell(&table, "a|b|c|d");
    return table;
}

static void table_is_aligned(void **state)
{
    (void)state;
    text_table table = small_table();
    FILE *file = tmpfile();
    table_print(&table, TABLE_PLAIN, file);
    table_free(&table);
    assert_text(file, "score    BLEU\n"
                      "-------  ----\n"
                      "général  31.2\n"
                      "a|b|c|d      \n");
}

static void table_is_markdown(void **state)
{
    (void)state;
    text_table table = small_table();
    FILE *file = tmpfile();
    table_print(&table, TABLE_MARKDOWN, file);
    table_free(&table);
    assert_text(file, "| score      | BLEU |\n"
                      "| ---------- | ---: |\n"
                      "| général    | 31.2 |\n"
                      "| a\\|b\\|c\\|d |      |\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bleu_of_a_perfect_translation_is_100),
        cmocka_unit_test(bleu_clips_repeated_words),
        cmocka_unit_test(bleu_counts_longer_ngrams),
        cmocka_unit_test(bleu_of_short_translations_is_less),
        cmocka_unit_test(bleu_without_four_tokens_is_0),
        cmocka_unit_test(bleu_is_of_the_corpus_not_of_sentences),
        cmocka_unit_test(alignment_follows_the_definition),
        cmocka_unit_test(alignment_that_has_all_sure_and_only_possible_links_is_without_error),
        cmocka_unit_test(alignment_of_a_token_without_known_link_costs_precision),
        cmocka_unit_test(alignment_takes_the_strongest_source),
        cmocka_unit_test(alignment_leaves_out_a_sentence_without_known_links),
        cmocka_unit_test(accuracy_compares_place_by_place),
        cmocka_unit_test(lengths_have_buckets_of_ten),
        cmocka_unit_test(length_table_keeps_sentences_apart_and_totals_them),
        cmocka_unit_test(kendall_counts_pairs),
        cmocka_unit_test(kendall_allows_for_ties),
        cmocka_unit_test(distances_reach_their_bounds),
        cmocka_unit_test(entropies_of_weights_and_scores_agree),
        cmocka_unit_test(quantiles_lie_between_values),
        cmocka_unit_test(json_reads_well),
        cmocka_unit_test(json_row_holds_what_is_within_on_its_line),
        cmocka_unit_test(json_escapes_text),
        cmocka_unit_test(json_numbers_survive),
        cmocka_unit_test(utf8_is_told_from_what_is_not),
        cmocka_unit_test(widths_are_those_of_a_terminal),
        cmocka_unit_test(table_is_aligned),
        cmocka_unit_test(table_is_markdown),
    };
    return cmocka_run_group_tests_name("measure", tests, NULL, NULL);
}
