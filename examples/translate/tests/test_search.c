/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test_search.c: beam search finds the best there is where it is wide enough, sentences side by side are translated as
 * they are alone, and what is told comes with what was looked at. */
#include "model/elementwise.h"
#include "model_scene.h"
#include "search/translation.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char *const kinds[] = {"none", "bahdanau", "general", "location", "local-p", "transformer"};
enum { KINDS = sizeof kinds / sizeof kinds[0] };

/* The same sentence alone. */
static batch alone(const scene_batch *b, int row)
{
    batch one = b->view;
    one.rows = 1;
    one.source += row * one.source_length, one.source_lengths += row;
    one.target_in += row * one.target_length, one.target_out += row * one.target_length;
    one.source_length = one.source_lengths[0];
    return one;
}

static void sentences_side_by_side_are_translated_as_they_are_alone(void **state)
{
    (void)state;
    for (int k = 0; k < KINDS; k++) {
        model *m = scene_model(kinds[k], 5);
        scene_batch b;
        scene_fill(&b, 0);
        for (int beam = 1; beam <= 4; beam++) {
            translation together[SCENE_ROWS];
            translate_batch(m, &b.view, beam, 1, false, together);
            for (int r = 0; r < SCENE_ROWS; r++) {
                const batch one = alone(&b, r);
                translation single;
                translate_batch(m, &one, beam, 1, false, &single);
                assert_int_equal(single.count, together[r].count);
                assert_memory_equal(single.words, together[r].words, (size_t)single.count * sizeof *single.words);
                assert_true(fabs(single.log_probability - together[r].log_probability) < 1e-10);
                for (int i = 0; i < single.count * single.source_count; i++) {
                    assert_true(fabs(single.weights[i] - together[r].weights[i]) < 1e-10);
                }
                translation_free(&single);
                translation_free(&together[r]);
            }
        }
        model_destroy(m);
    }
}

/* The log probability that the model itself gives to what was found, told word by word. */
static double log_probability_of(const model *m, const batch *one, const translation *t)
{
    int in[64] = {WORD_BEGIN}, out[64];
    for (int i = 0; i < t->count; i++) in[i + 1] = out[i] = t->words[i];
    out[t->count] = WORD_END;
    batch told = *one;
    told.target_in = in, told.target_out = out, told.target_length = t->count + 1;
    translation forced;
    force_batch(m, &told, false, false, &forced);
    const double result = forced.log_probability;
    for (int i = 0; i < t->count * t->source_count; i++) assert_true(fabs(forced.weights[i] - t->weights[i]) < 1e-10);
    translation_free(&forced);
    return result;
}

static void a_hypothesis_has_the_probability_and_the_weights_of_its_words(void **state)
{
    (void)state;
    for (int k = 0; k < KINDS; k++) {
        model *m = scene_model(kinds[k], 6);
        scene_batch b;
        scene_fill(&b, 0);
        for (int r = 0; r < SCENE_ROWS; r++) {
            const batch one = alone(&b, r);
            translation t;
            translate_batch(m, &one, 3, 0.7, false, &t);
            if (t.count < 2 * t.source_count + 10) { /* it came to an end */
                assert_true(fabs(t.log_probability - log_probability_of(m, &one, &t)) < 1e-10);
            }
            translation_free(&t);
        }
        model_destroy(m);
    }
}

/* The best of all translations of at most three words, by trying each. */
static double best_of_all(const model *m, const batch *one, int most)
{
    const int words = m->options.target_words;
    double best = -INFINITY;
    long total = 1;
    for (int length = 0; length <= most; length++, total *= words) {
        for (long code = 0; code < total; code++) {
            int said[4];
            bool usual = true;
            long rest = code;
            for (int i = 0; i < length; i++, rest /= words) {
                said[i] = (int)(rest % words);
                usual &= said[i] == WORD_UNKNOWN || said[i] >= WORDS_SPECIAL;
            }
            if (!usual) continue;
            int in[5] = {WORD_BEGIN}, out[5];
            for (int i = 0; i < length; i++) in[i + 1] = out[i] = said[i];
            out[length] = WORD_END;
            batch told = *one;
            told.target_in = in, told.target_out = out, told.target_length = length + 1;
            translation forced;
            force_batch(m, &told, false, false, &forced);
            if (forced.log_probability > best) best = forced.log_probability;
            translation_free(&forced);
        }
    }
    return best;
}

/* Where the end is likely, the best translation is short, and a beam of all words keeps everything that may become it.
 */
static void a_wide_beam_finds_the_best(void **state)
{
    (void)state;
    model *m = scene_model("general", 7);
    for (int i = 0; i < m->parameters.count; i++) {
        const parameter *p = &m->parameters.list[i];
        if (strcmp(p->name, "output.bias") == 0) m->parameters.value[p->offset + WORD_END] += 1.5;
    }
    scene_batch b;
    scene_fill(&b, 0);
    for (int r = 0; r < SCENE_ROWS; r++) {
        const batch one = alone(&b, r);
        translation wide, greedy;
        translate_batch(m, &one, 200, 0, false, &wide);
        translate_batch(m, &one, 1, 0, false, &greedy);
        assert_true(wide.count <= 3);
        assert_true(fabs(wide.log_probability - best_of_all(m, &one, 3)) < 1e-10);
        assert_true(greedy.log_probability <= wide.log_probability + 1e-12);
        translation_free(&wide);
        translation_free(&greedy);
    }
    model_destroy(m);
}

static void weights_of_a_reversed_source_are_in_the_sentences_order(void **state)
{
    (void)state;
    model *m = scene_model("dot", 8);
    scene_batch b;
    scene_fill(&b, 0);
    const batch one = alone(&b, 0);
    translation plain, reversed;
    force_batch(m, &one, false, true, &plain);
    force_batch(m, &one, true, true, &reversed);
    const int n = plain.source_count;
    for (int i = 0; i < plain.count; i++) {
        for (int j = 0; j < n; j++) {
            assert_true(plain.weights[i * n + j] == reversed.weights[i * n + n - 1 - j]);
            assert_true(plain.scores[i * n + j] == reversed.scores[i * n + n - 1 - j]);
        }
    }
    translation_free(&plain);
    translation_free(&reversed);
    model_destroy(m);
}

static void an_unknown_word_becomes_what_was_looked_at(void **state)
{
    (void)state;
    int said[3] = {WORD_UNKNOWN, 4, WORD_UNKNOWN};
    double weights[6] = {0.2, 0.8, 0.9, 0.1, 0, 0};
    char *names[] = {"<padding>", "<unknown>", "<begin>", "<end>", "mot"}, *source[] = {"one", "two"};
    const vocabulary v = {.words = names, .count = 5};
    const translation t = {.source_count = 2, .count = 3, .words = said, .weights = weights};
    char **words = translation_words(&t, &v, source);
    assert_string_equal(words[0], "two");
    assert_string_equal(words[1], "mot");
    assert_string_equal(words[2], "<unknown>"); /* it looked at nothing */
    words_free(words, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sentences_side_by_side_are_translated_as_they_are_alone),
        cmocka_unit_test(a_hypothesis_has_the_probability_and_the_weights_of_its_words),
        cmocka_unit_test(a_wide_beam_finds_the_best),
        cmocka_unit_test(weights_of_a_reversed_source_are_in_the_sentences_order),
        cmocka_unit_test(an_unknown_word_becomes_what_was_looked_at),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
