/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test_grammar_rules.c: each rule of the grammar by sentences that a person has translated and aligned. What is chosen
 * is forced; how it is said is the grammar's own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "text/plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static writer w;

enum { ONE, MANY_OF_THEM };

/* A noun phrase; adjectives may be "" and are separated by spaces. */
static struct agreement say_the(enum determiner determiner, const char *adjectives_said, const char *noun, bool plural,
                                enum phrase_place place)
{
    struct noun_choice choice = {.noun = find_noun(noun), .determiner = determiner, .plural = plural};
    char words[64];
    snprintf(words, sizeof words, "%s", adjectives_said);
    for (char *word = words; *word != '\0';) {
        const size_t size = strcspn(word, " ");
        const bool last = word[size] == '\0';
        word[size] = '\0';
        choice.adjectives[choice.adjective_count++] = find_adjective(word);
        word += last ? size : size + 1;
    }
    return say_noun(&w, &choice, place);
}

static struct agreement say_they(int pronoun)
{
    return say_subject_pronoun(&w, &subject_pronouns[pronoun]);
}

enum { I, WE, HE, SHE, THEY };

static void say_verb(struct agreement subject, const char *verb, enum tense tense, enum polarity polarity)
{
    const struct verb_choice choice = {.verb = find_verb(verb), .tense = tense, .polarity = polarity};
    say_active(&w, &choice, subject, NULL);
}

static void say_passive(struct agreement subject, const char *verb, enum tense tense, enum polarity polarity)
{
    const struct verb_choice choice = {.verb = find_verb(verb), .tense = tense, .polarity = polarity};
    say_be(&w, &choice, subject, true);
}

static void say_is(struct agreement subject, enum tense tense, enum polarity polarity, const char *adjective)
{
    const struct verb_choice choice = {.tense = tense, .polarity = polarity};
    say_be(&w, &choice, subject, false);
    say_adjective(&w, find_adjective(adjective), subject);
}

static void say_that(const char *english)
{
    const int that = say_english(&w, english);
    link_sure(&w, that, say_french_or(&w, "que", "qu'"));
}

static const struct name *country(const char *english)
{
    for (int i = 0; i < country_count; i++) {
        const char *last = NULL;
        for (int k = 0; countries[i].english[k] != NULL; k++) last = countries[i].english[k];
        if (strcmp(last, english) == 0) return &countries[i];
    }
    fail_msg("there is no country %s", english);
    return NULL;
}

/* Ends the sentence, compares it with the line, and begins the next. */
static void expect(const char *line)
{
    say_both(&w, ".", ".");
    sentence_pair pair = {0};
    writer_finish(&w, &pair);
    char *said = NULL;
    size_t size = 0;
    FILE *file = open_memstream(&said, &size);
    assert_non_null(file);
    pair_write(file, &pair);
    fclose(file);
    said[strcspn(said, "\n")] = '\0';
    assert_string_equal(said, line);
    free(said);
    pair_free(&pair);
    writer_begin(&w);
}

static int begin(void **state)
{
    (void)state;
    writer_begin(&w);
    return 0;
}

static void adjectives_agree_and_stand_in_the_french_order(void **state)
{
    (void)state;
    struct agreement a = say_the(THE, "common agricultural", "policy", ONE, ANYWHERE);
    say_is(a, PRESENT, AFFIRMED, "new");
    expect("The common agricultural policy is new .\tLa politique agricole commune est nouvelle .\t"
           "0-0 3-1 2-2 1-3 4-4 5-5 6-6");
    a = say_the(THE, "big French social", "law", MANY_OF_THEM, ANYWHERE);
    say_is(a, FUTURE, AFFIRMED, "long");
    expect("The big French social laws will be long .\tLes grandes lois sociales françaises seront longues .\t"
           "0-0 1-1 4-2 3-3 2-4 5?5 6-5 7-6 8-7");
    a = say_the(THE, "social", "project", MANY_OF_THEM, ANYWHERE);
    say_is(a, PAST, AFFIRMED, "beautiful");
    expect("The social projects were beautiful .\tLes projets sociaux étaient beaux .\t0-0 2-1 1-2 3-3 4-4 5-5");
}

static void adjectives_agree_across_a_clause(void **state)
{
    (void)state;
    const struct agreement letter = say_the(THE, "", "letter", ONE, ANYWHERE);
    say_that("that");
    const struct agreement ministers = say_the(THE, "", "minister", MANY_OF_THEM, ANYWHERE);
    say_of(&w);
    say_the(THE, "", "region", ONE, AFTER_DE);
    const struct verb_choice signed_ = {.verb = find_verb("sign"), .tense = PAST};
    say_active(&w, &signed_, ministers, &letter);
    say_is(letter, PRESENT, AFFIRMED, "long");
    expect("The letter that the ministers of the region signed is long .\t"
           "La lettre que les ministres de la région ont signée est longue .\t"
           "0-0 1-1 2-2 3-3 4-4 5-5 6-6 7-7 8?8 8-9 9-10 10-11 11-12");
}

static void relative_clauses_nest(void **state)
{
    (void)state;
    const struct agreement woman = say_the(THE, "", "woman", ONE, ANYWHERE);
    say_that("whom");
    const struct agreement judges = say_the(THE, "", "judge", MANY_OF_THEM, ANYWHERE);
    say_both(&w, "who", "qui");
    say_verb(judges, "sign", PAST, AFFIRMED);
    say_the(A, "", "law", ONE, ANYWHERE);
    const struct verb_choice invited = {.verb = find_verb("invite"), .tense = PAST};
    say_active(&w, &invited, judges, &woman);
    say_verb(woman, "arrive", PAST, AFFIRMED);
    expect("The woman whom the judges who signed a law invited arrived .\t"
           "La femme que les juges qui ont signé une loi ont invitée est arrivée .\t"
           "0-0 1-1 2-2 3-3 4-4 5-5 6?6 6-7 7-8 8-9 9?10 9-11 10?12 10-13 11-14");
}

static void articles_elide_but_not_before_an_aspirated_h(void **state)
{
    (void)state;
    say_verb(say_the(THE, "", "hero", ONE, ANYWHERE), "find", PRESENT, AFFIRMED);
    say_the(THE, "", "hospital", ONE, ANYWHERE);
    expect("The hero finds the hospital .\tLe héros trouve l' hôpital .\t0-0 1-1 2-2 3-3 4-4 5-5");
    say_verb(say_the(THE, "", "inhabitant", ONE, ANYWHERE), "buy", PRESENT, AFFIRMED);
    say_the(THE, "", "hedge", ONE, ANYWHERE);
    say_of(&w);
    say_the(NO_DETERMINER, "", "hero", MANY_OF_THEM, AFTER_DE);
    expect("The inhabitant buys the hedge of heroes .\tL' habitant achète la haie de héros .\t"
           "0-0 1-1 2-2 3-3 4-4 5-5 6-6 7-7");
    say_verb(say_the(THE, "", "school", ONE, ANYWHERE), "see", PRESENT, AFFIRMED);
    say_name(&w, country("Hungary"));
    expect("The school sees Hungary .\tL' école voit la Hongrie .\t0-0 1-1 2-2 3?3 3-4 4-5");
}

static void adjectives_change_before_a_vowel(void **state)
{
    (void)state;
    const struct agreement a = say_the(THIS, "old", "hotel", ONE, ANYWHERE);
    say_is(a, PAST, AFFIRMED, "old");
    say_in_name(&w, country("Italy"));
    expect(
        "This old hotel was old in Italy .\tCe vieil hôtel était vieux en Italie .\t0-0 1-1 2-2 3-3 4-4 5-5 6-6 7-7");
    say_verb(say_the(THIS, "", "man", ONE, ANYWHERE), "adopt", FUTURE, AFFIRMED);
    say_the(A, "new", "agreement", ONE, ANYWHERE);
    expect("This man will adopt a new agreement .\tCet homme adoptera un nouvel accord .\t"
           "0-0 1-1 2?2 3-2 4-3 5-4 6-5 7-6");
    say_verb(say_the(THIS, "", "nurse", ONE, ANYWHERE), "see", PRESENT, AFFIRMED);
    say_the(THIS, "beautiful old", "hero", MANY_OF_THEM, ANYWHERE);
    expect("This nurse sees these beautiful old heroes .\tCette infirmière voit ces beaux vieux héros .\t"
           "0-0 1-1 2-2 3-3 4-4 5-5 6-6 7-7");
}

static void english_says_an_before_a_vowel_that_is_heard(void **state)
{
    (void)state;
    say_verb(say_the(A, "", "engineer", ONE, ANYWHERE), "find", PRESENT, AFFIRMED);
    say_the(A, "", "university", ONE, ANYWHERE);
    expect("An engineer finds a university .\tUn ingénieur trouve une université .\t0-0 1-1 2-2 3-3 4-4 5-5");
    say_verb(say_the(A, "honest", "king", ONE, ANYWHERE), "find", PRESENT, AFFIRMED);
    say_the(A, "European", "law", ONE, ANYWHERE);
    expect("An honest king finds a European law .\tUn roi honnête trouve une loi européenne .\t"
           "0-0 2-1 1-2 3-3 4-4 6-5 5-6 7-7");
}

static void de_and_a_contract_with_their_article(void **state)
{
    (void)state;
    static const struct word to = {"to", "à"}, near = {"near", "près de"};
    say_verb(say_they(HE), "give", PAST, AFFIRMED);
    say_the(THE, "", "letter", MANY_OF_THEM, ANYWHERE);
    say_of(&w);
    say_the(THE, "", "king", ONE, AFTER_DE);
    say_preposition(&w, &to);
    say_the(THE, "", "minister", ONE, ANYWHERE);
    expect("He gave the letters of the king to the minister .\tIl a donné les lettres du roi au ministre .\t"
           "0-0 1?1 1-2 2-3 3-4 4-5 5-5 6-6 7-7 8-7 9-8 10-9");
    say_verb(say_they(SHE), "speak", PRESENT, AFFIRMED);
    say_preposition(&w, &to);
    say_the(THE, "", "child", MANY_OF_THEM, ANYWHERE);
    say_preposition(&w, &near);
    say_the(THE, "", "bridge", MANY_OF_THEM, AFTER_DE);
    expect("She speaks to the children near the bridges .\tElle parle aux enfants près des ponts .\t"
           "0-0 1-1 2-2 3-2 4-3 5-4 5?5 6-5 7-6 8-7");
    say_verb(say_they(SHE), "speak", PRESENT, AFFIRMED);
    say_preposition(&w, &to);
    say_the(THE, "", "ambassador", ONE, ANYWHERE);
    expect("She speaks to the ambassador .\tElle parle à l' ambassadeur .\t0-0 1-1 2-2 3-3 4-4 5-5");
}

static void negation_goes_around_what_is_conjugated(void **state)
{
    (void)state;
    say_verb(say_they(HE), "adopt", PAST, NOT);
    say_the(A, "", "law", ONE, UNDER_NEGATION);
    expect("He did not adopt a law .\tIl n' a pas adopté de loi .\t0-0 2-1 1?2 2-3 3-4 4-5 5-6 6-7");
    say_verb(say_they(THEY), "sign", PRESENT, NOT);
    say_the(NO_DETERMINER, "", "agreement", MANY_OF_THEM, UNDER_NEGATION);
    expect("They do not sign agreements .\tIls ne signent pas d' accords .\t0-0 2-1 1?2 3-2 2-3 4?4 4-5 5-6");
    say_verb(say_they(SHE), "work", FUTURE, NO_LONGER);
    expect("She will no longer work .\tElle ne travaillera plus .\t0-0 2-1 3-1 1?2 4-2 2-3 3-3 5-4");
    say_verb(say_they(I), "hesitate", PAST, NEVER);
    expect("I never hesitated .\tJe n' ai jamais hésité .\t0-0 1-1 2?2 1-3 2-4 3-5");
    say_passive(say_the(THE, "", "question", MANY_OF_THEM, ANYWHERE), "discuss", PAST, NOT);
    expect("The questions were not discussed .\tLes questions n' ont pas été discutées .\t"
           "0-0 1-1 3-2 2-3 3-4 2-5 4-6 5-7");
    say_passive(say_they(WE), "see", MUST, NOT);
    expect("We must not be seen .\tNous ne devons pas être vus .\t0-0 2-1 1-2 2-3 3-4 4-5 5-6");
}

static void passive_participles_agree(void **state)
{
    (void)state;
    say_passive(say_the(THE, "", "treaty", MANY_OF_THEM, ANYWHERE), "sign", PRESENT, AFFIRMED);
    say_both(&w, "by", "par");
    say_the(THE, "", "army", ONE, ANYWHERE);
    expect("The treaties are signed by the army .\tLes traités sont signés par l' armée .\t"
           "0-0 1-1 2-2 3-3 4-4 5-5 6-6 7-7");
    say_passive(say_they(SHE), "elect", FUTURE, AFFIRMED);
    expect("She will be elected .\tElle sera élue .\t0-0 1?1 2-1 3-2 4-3");
}

static void etre_participles_agree_and_avoir_ones_do_not(void **state)
{
    (void)state;
    say_verb(say_the(THE, "", "nurse", MANY_OF_THEM, ANYWHERE), "leave", PAST, AFFIRMED);
    expect("The nurses left .\tLes infirmières sont parties .\t0-0 1-1 2?2 2-3 3-4");
    say_verb(say_the(THE, "", "nurse", MANY_OF_THEM, ANYWHERE), "vote", PAST, AFFIRMED);
    expect("The nurses voted .\tLes infirmières ont voté .\t0-0 1-1 2?2 2-3 3-4");
}

static void object_pronouns_come_first_and_are_agreed_with(void **state)
{
    (void)state;
    struct verb_choice choice = {
        .verb = find_verb("see"), .tense = PAST, .polarity = NOT, .object = &object_pronouns[1]};
    say_active(&w, &choice, say_they(HE), NULL);
    expect("He did not see her .\tIl ne l' a pas vue .\t0-0 2-1 4-2 1?3 2-4 3-5 5-6");
    choice = (struct verb_choice){.verb = find_verb("help"), .tense = MUST, .object = &object_pronouns[0]};
    say_active(&w, &choice, say_they(I), NULL);
    expect("I must help him .\tJe dois l' aider .\t0-0 1-1 3-2 2-3 4-4");
    choice = (struct verb_choice){.verb = find_verb("follow"), .tense = PRESENT, .object = &object_pronouns[2]};
    say_active(&w, &choice, say_they(SHE), NULL);
    expect("She follows them .\tElle les suit .\t0-0 2-1 1-2 3-3");
}

static void possessives_agree_with_what_is_possessed(void **state)
{
    (void)state;
    say_verb(say_the(HIS, "", "school", ONE, ANYWHERE), "see", PRESENT, AFFIRMED);
    say_the(HER, "", "house", ONE, ANYWHERE);
    expect("His school sees her house .\tSon école voit sa maison .\t0-0 1-1 2-2 3-3 4-4 5-5");
    say_verb(say_the(MY, "big", "school", ONE, ANYWHERE), "see", PRESENT, AFFIRMED);
    say_the(THEIR, "", "house", MANY_OF_THEM, ANYWHERE);
    expect("My big school sees their houses .\tMa grande école voit leurs maisons .\t0-0 1-1 2-2 3-3 4-4 5-5 6-6");
    say_verb(say_the(OUR, "", "king", ONE, ANYWHERE), "see", PRESENT, AFFIRMED);
    say_the(HER, "", "hedge", ONE, ANYWHERE);
    expect("Our king sees her hedge .\tNotre roi voit sa haie .\t0-0 1-1 2-2 3-3 4-4 5-5");
}

static void quantities_take_de(void **state)
{
    (void)state;
    say_verb(say_the(MANY, "", "student", MANY_OF_THEM, ANYWHERE), "write", PAST, AFFIRMED);
    say_the(NO_DETERMINER, "long", "letter", MANY_OF_THEM, ANYWHERE);
    expect("Many students wrote long letters .\tBeaucoup d' étudiants ont écrit de longues lettres .\t"
           "0-0 0?1 1-2 2?3 2-4 4?5 3-6 4-7 5-8");
    say_verb(say_the(ALL_THE, "", "woman", MANY_OF_THEM, ANYWHERE), "see", PRESENT, AFFIRMED);
    say_the(NO_DETERMINER, "", "hospital", MANY_OF_THEM, ANYWHERE);
    expect("All the women see hospitals .\tToutes les femmes voient des hôpitaux .\t0-0 1-1 2-2 3-3 4?4 4-5 5-6");
}

static void dates_are_said_in_the_french_way(void **state)
{
    (void)state;
    say_verb(say_they(THEY), "vote", PAST, AFFIRMED);
    say_date(&w, 3, &months[4], 1998);
    expect("They voted on 3 May 1998 .\tIls ont voté le 3 mai 1998 .\t0-0 1?1 1-2 2?3 3-4 4-5 5-6 6-7");
    say_verb(say_they(THEY), "return", PAST, AFFIRMED);
    say_date(&w, 1, &months[7], 0);
    expect("They returned on 1 August .\tIls sont revenus le 1er août .\t0-0 1?1 1-2 2?3 3-4 4-5 5-6");
    say_verb(say_they(THEY), "vote", FUTURE, AFFIRMED);
    say_weekday(&w, &weekdays[0]);
    expect("They will vote on Monday .\tIls voteront lundi .\t0-0 1?1 2-1 3?2 4-2 5-3");
}

static void in_a_country_goes_by_its_gender(void **state)
{
    (void)state;
    static const char *const lines[][2] = {
        {"France", "I voted in France .\tJ' ai voté en France .\t0-0 1?1 1-2 2-3 3-4 4-5"},
        {"Japan", "I voted in Japan .\tJ' ai voté au Japon .\t0-0 1?1 1-2 2-3 3?3 3-4 4-5"},
        {"Iran", "I voted in Iran .\tJ' ai voté en Iran .\t0-0 1?1 1-2 2-3 3-4 4-5"},
        {"Netherlands", "I voted in the Netherlands .\tJ' ai voté aux Pays-Bas .\t0-0 1?1 1-2 2-3 3-3 4-4 5-5"},
        {"States", "I voted in the United States .\tJ' ai voté aux États-Unis .\t0-0 1?1 1-2 2-3 3-3 4-4 5-4 6-5"},
    };
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        say_verb(say_they(I), "vote", PAST, AFFIRMED);
        say_in_name(&w, country(lines[i][0]));
        expect(lines[i][1]);
    }
    say_verb(say_they(I), "vote", PAST, AFFIRMED);
    say_in_name(&w, &cities[5]);
    expect("I voted in Athens .\tJ' ai voté à Athènes .\t0-0 1?1 1-2 2-3 3-4 4-5");
}

static void names_of_institutions_are_turned_round(void **state)
{
    (void)state;
    say_passive(say_european(&w, find_european_field("Monetary"), find_european_kind("Union")), "discuss", PAST,
                AFFIRMED);
    expect("The European Monetary Union was discussed .\tL' union monétaire européenne a été discutée .\t"
           "0-0 3-1 2-2 1-3 4-4 4-5 5-6 6-7");
    say_passive(say_european(&w, find_european_field("Social"), find_european_kind("Fund")), "discuss", PAST, AFFIRMED);
    expect("The European Social Fund was discussed .\tLe fonds social européen a été discuté .\t"
           "0-0 3-1 2-2 1-3 4-4 4-5 5-6 6-7");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(adjectives_agree_and_stand_in_the_french_order, begin),
        cmocka_unit_test_setup(adjectives_agree_across_a_clause, begin),
        cmocka_unit_test_setup(relative_clauses_nest, begin),
        cmocka_unit_test_setup(articles_elide_but_not_before_an_aspirated_h, begin),
        cmocka_unit_test_setup(adjectives_change_before_a_vowel, begin),
        cmocka_unit_test_setup(english_says_an_before_a_vowel_that_is_heard, begin),
        cmocka_unit_test_setup(de_and_a_contract_with_their_article, begin),
        cmocka_unit_test_setup(negation_goes_around_what_is_conjugated, begin),
        cmocka_unit_test_setup(passive_participles_agree, begin),
        cmocka_unit_test_setup(etre_participles_agree_and_avoir_ones_do_not, begin),
        cmocka_unit_test_setup(object_pronouns_come_first_and_are_agreed_with, begin),
        cmocka_unit_test_setup(possessives_agree_with_what_is_possessed, begin),
        cmocka_unit_test_setup(quantities_take_de, begin),
        cmocka_unit_test_setup(dates_are_said_in_the_french_way, begin),
        cmocka_unit_test_setup(in_a_country_goes_by_its_gender, begin),
        cmocka_unit_test_setup(names_of_institutions_are_turned_round, begin),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
