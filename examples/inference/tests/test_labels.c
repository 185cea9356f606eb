/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test_labels.c: labels of pairs that a person judged; what the drawing makes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "pairs/example.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Events, shortly ---- */

static struct thing the(const char *noun)
{
    return (struct thing){.concept = concept_named(noun)};
}

static struct thing with(struct thing t, const char *adjective)
{
    t.adjectives[t.adjectives[0] != NULL] = find_adjective(adjective);
    return t;
}

static struct thing quantity(struct thing t, enum quantity q, int number)
{
    t.quantity = q;
    t.number = number - 2; /* the first number is two */
    return t;
}

static struct event did(struct thing agent, const char *verb, struct thing patient)
{
    return (struct event){.verb = find_verb(verb), .tense = PAST, .agent = agent, .patient = patient};
}

static const struct thing nothing = {.concept = -1};

static struct event in(struct event e, const char *place)
{
    for (int i = 0; i < city_count; i++) {
        if (strcmp(cities[i].english[0], place) == 0) e.place = &cities[i];
    }
    for (int i = 0; i < country_count; i++) {
        if (strcmp(countries[i].english[0], place) == 0) e.place = &countries[i];
    }
    assert_non_null(e.place);
    return e;
}

static struct event on(struct event e, int weekday, int month, int year)
{
    e.weekday = weekday, e.month = month, e.year = year;
    return e;
}

static struct event denied(struct event e)
{
    e.denied = true;
    return e;
}

static struct event passive(struct event e)
{
    e.passive = true;
    return e;
}

static void check(struct event premise, const char *premise_text, struct event hypothesis, const char *hypothesis_text,
                  enum label label)
{
    sentence_pair pair = {0};
    char *line = NULL;
    size_t size = 0;
    char expected[512];
    snprintf(expected, sizeof expected, "%s\t%s\t%s\n", label_names[label], premise_text, hypothesis_text);
    assert_true(event_sayable(&premise));
    assert_true(event_sayable(&hypothesis));
    example_say(&premise, &hypothesis, &pair);
    FILE *file = open_memstream(&line, &size);
    example_write(file, &pair, (int)label_of(&premise, &hypothesis));
    fclose(file);
    assert_string_equal(line, expected);
    free(line);
    pair_free(&pair);
}

static void labels_are_what_a_person_says(void **state)
{
    (void)state;
    const struct event king = did(the("king"), "sign", the("letter"));
    const char *const said = "The king signed the letter .";
    check(in(did(with(the("king"), "old"), "sign", the("letter")), "Paris"),
          "The old king signed the letter in Paris .", king, said, ENTAILED);
    check(king, said, in(king, "Paris"), "The king signed the letter in Paris .", NEUTRAL);
    check(king, said, passive(king), "The letter was signed by the king .", ENTAILED);
    check(king, said, passive(did(nothing, "sign", the("letter"))), "The letter was signed .", ENTAILED);
    check(passive(did(nothing, "sign", the("letter"))), "The letter was signed .", king, said, NEUTRAL);
    check(king, said, did(the("person"), "sign", the("document")), "The person signed the document .", ENTAILED);
    check(did(the("person"), "sign", the("document")), "The person signed the document .", king, said, NEUTRAL);
    check(king, said, denied(king), "The king did not sign the letter .", CONTRADICTED);
    check(denied(king), "The king did not sign the letter .", king, said, CONTRADICTED);
    check(king, said, did(the("queen"), "sign", the("letter")), "The queen signed the letter .", CONTRADICTED);
    check(king, said, did(the("judge"), "sign", the("letter")), "The judge signed the letter .", NEUTRAL);
    check(did(with(the("king"), "old"), "sign", the("letter")), "The old king signed the letter .",
          did(with(the("king"), "new"), "sign", the("letter")), "The new king signed the letter .", CONTRADICTED);
    check(did(with(the("king"), "French"), "sign", the("letter")), "The French king signed the letter .",
          did(with(the("king"), "European"), "sign", the("letter")), "The European king signed the letter .", ENTAILED);
    check(did(quantity(the("minister"), COUNTED, 3), "sign", the("letter")), "Three ministers signed the letter .",
          did(quantity(the("minister"), SOME_MANY, 2), "sign", the("letter")), "Some ministers signed the letter .",
          ENTAILED);
    check(did(quantity(the("minister"), COUNTED, 3), "sign", the("letter")), "Three ministers signed the letter .",
          did(quantity(the("minister"), COUNTED, 4), "sign", the("letter")), "Four ministers signed the letter .",
          CONTRADICTED);
    check(in(king, "Paris"), "The king signed the letter in Paris .", in(king, "France"),
          "The king signed the letter in France .", ENTAILED);
    check(in(king, "Paris"), "The king signed the letter in Paris .", in(king, "Rome"),
          "The king signed the letter in Rome .", CONTRADICTED);
    check(on(king, 0, 5, 1992), "The king signed the letter in May 1992 .", on(king, 0, 0, 1992),
          "The king signed the letter in 1992 .", ENTAILED);
    check(on(king, 0, 5, 1992), "The king signed the letter in May 1992 .", on(king, 0, 5, 1993),
          "The king signed the letter in May 1993 .", CONTRADICTED);
    check(on(king, 1, 0, 0), "The king signed the letter on Monday .", on(king, 0, 5, 0),
          "The king signed the letter in May .", NEUTRAL);
}

static void denial_turns_what_follows(void **state)
{
    (void)state;
    const struct event king = did(the("king"), "sign", the("letter"));
    const char *const not = "The king did not sign the letter .";
    check(denied(king), not, denied(in(king, "Paris")), "The king did not sign the letter in Paris .", ENTAILED);
    check(denied(in(king, "Paris")), "The king did not sign the letter in Paris .", denied(king), not, NEUTRAL);
    check(denied(in(king, "Paris")), "The king did not sign the letter in Paris .", king,
          "The king signed the letter .", NEUTRAL);
    check(in(king, "Paris"), "The king signed the letter in Paris .", denied(in(king, "Rome")),
          "The king did not sign the letter in Rome .", ENTAILED);
    check(in(king, "Paris"), "The king signed the letter in Paris .", denied(king), not, CONTRADICTED);
    check(king, "The king signed the letter .", denied(in(king, "Paris")),
          "The king did not sign the letter in Paris .", NEUTRAL);
}

static void who_does_what_to_whom_counts(void **state)
{
    (void)state;
    const struct event one = did(the("minister"), "follow", the("judge"));
    const struct event other = did(the("judge"), "follow", the("minister"));
    check(one, "The minister followed the judge .", other, "The judge followed the minister .", NEUTRAL);
    check(one, "The minister followed the judge .", passive(one), "The judge was followed by the minister .", ENTAILED);
    check(one, "The minister followed the judge .", passive(other), "The minister was followed by the judge .",
          NEUTRAL);
    check(did(with(the("minister"), "old"), "follow", the("judge")), "The old minister followed the judge .",
          did(the("minister"), "follow", with(the("judge"), "old")), "The minister followed the old judge .", NEUTRAL);
}

static void relations_of_words_are_those_of_their_converse(void **state)
{
    (void)state;
    static const enum relation converse[] = {
        [EQUAL] = EQUAL, [NARROWER] = WIDER, [WIDER] = NARROWER, [EXCLUDES] = EXCLUDES, [OTHER] = OTHER};
    for (int a = 0; a < concept_count(); a++) {
        for (int b = 0; b < concept_count(); b++) {
            assert_int_equal(concept_relation(a, b), converse[concept_relation(b, a)]);
            assert_int_equal(concept_relation(a, b) == EQUAL, a == b);
        }
    }
    for (int a = 0; a < adjective_count; a++) {
        for (int b = 0; b < adjective_count; b++) {
            assert_int_equal(adjective_relation(&adjectives[a], &adjectives[b]),
                             converse[adjective_relation(&adjectives[b], &adjectives[a])]);
        }
    }
}

/* ---- What is drawn ---- */

enum { DRAWN = 30000 };

/* Whatever can be read off one sentence must not tell the label: shares are compared, of which each has a standard
 * error of at most 0.005. */
static void hypotheses_are_alike_whatever_the_label(void **state)
{
    (void)state;
    long count[LABELS] = {0}, denied_ones[LABELS] = {0}, denied_premises[LABELS] = {0}, places[LABELS] = {0},
         passives[LABELS] = {0}, roots[LABELS] = {0};
    grammar_random random = {.state = 5};
    for (int i = 0; i < DRAWN; i++) {
        struct event premise, hypothesis;
        const enum label label = example_draw(&random, &premise, &hypothesis);
        assert_int_equal(label, label_of(&premise, &hypothesis));
        assert_true(event_sayable(&premise) && event_sayable(&hypothesis));
        count[label]++;
        denied_ones[label] += hypothesis.denied;
        denied_premises[label] += premise.denied;
        places[label] += hypothesis.place != NULL;
        passives[label] += hypothesis.passive;
        roots[label] += hypothesis.agent.concept == concept_root(PERSON);
    }
    for (int k = 0; k < LABELS; k++) {
        const double n = (double)count[k];
        assert_true(n / DRAWN > 0.31 && n / DRAWN < 0.36);
        const long *const shares[] = {denied_ones, places, passives, roots};
        for (int i = 0; i < 4; i++) {
            const double gap = (double)shares[i][k] / n - (double)shares[i][0] / (double)count[0];
            assert_true(gap > -0.03 && gap < 0.03);
        }
        const double of_premises = (double)denied_premises[k] / n;
        assert_true(of_premises > 0.15 && of_premises < 0.28);
    }
}

static void the_same_seed_draws_the_same(void **state)
{
    (void)state;
    grammar_random one = {.state = 9}, other = {.state = 9};
    for (int i = 0; i < 200; i++) {
        struct event premise[2], hypothesis[2];
        sentence_pair pair[2] = {{0}, {0}};
        example_draw(&one, &premise[0], &hypothesis[0]);
        example_draw(&other, &premise[1], &hypothesis[1]);
        for (int k = 0; k < 2; k++) example_say(&premise[k], &hypothesis[k], &pair[k]);
        assert_int_equal(pair[0].source_count, pair[1].source_count);
        for (int t = 0; t < pair[0].source_count; t++) assert_string_equal(pair[0].source[t], pair[1].source[t]);
        for (int k = 0; k < 2; k++) pair_free(&pair[k]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(labels_are_what_a_person_says),
        cmocka_unit_test(denial_turns_what_follows),
        cmocka_unit_test(who_does_what_to_whom_counts),
        cmocka_unit_test(relations_of_words_are_those_of_their_converse),
        cmocka_unit_test(hypotheses_are_alike_whatever_the_label),
        cmocka_unit_test(the_same_seed_draws_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
