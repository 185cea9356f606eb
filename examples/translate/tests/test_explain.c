/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test_explain.c: the experiments on weights, in double: weights that are given are those that are used, gradients are
 * those of what is said, and what is found keeps its bounds. */
#include "explain/adversary.h"
#include "explain/distribution.h"
#include "explain/explanation.h"
#include "explain/hull.h"
#include "explain/likeness.h"
#include "explain/permutation.h"
#include "explain/scaling.h"
#include "explain/significance.h"
#include "explain/temperature.h"
#include "model/elementwise.h"
#include "model_scene.h"
#include "refuse.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char *const kinds[] = {"bahdanau", "dot",     "general",       "concat",
                                    "location", "local-m", "bahdanau-even", "luong-even"};
enum { KINDS = sizeof kinds / sizeof kinds[0] };

/* The first sentence of the scene, alone: five words, all different. */
typedef struct scene {
    model *m;
    scene_batch rows;
    int source[5], lengths[1];
    batch sentence;
    replay r;
} scene;

static scene begin_scene(const char *kind)
{
    static const int words[5] = {5, 8, 4, 10, 7};
    scene s = {.m = scene_model(kind, 3)};
    scene_fill(&s.rows, 0);
    memcpy(s.source, words, sizeof words);
    return s;
}

/* What points into the scene is set where it stays. */
static void read_scene(scene *s)
{
    s->lengths[0] = 5;
    s->sentence = (batch){1, 5, 4, s->source, s->lengths, s->rows.target_in, s->rows.target_out};
    s->r = replay_begin(s->m, &s->sentence);
}

static void end_scene(scene *s)
{
    replay_free(&s->r);
    model_destroy(s->m);
}

static real *logs_of(const replay *r)
{
    const size_t places = (size_t)r->steps * (size_t)r->sources;
    real *logs = allocate(places, sizeof *logs);
    log_weights_of(places, r->weights, logs);
    return logs;
}

static void close_to(const real *got, const real *wanted, size_t count, double tolerance)
{
    for (size_t i = 0; i < count; i++) {
        if (!(fabs((double)got[i] - (double)wanted[i]) <= tolerance)) {
            fail_msg("number %zu is %.17g, not %.17g", i, (double)got[i], (double)wanted[i]);
        }
    }
}

static void the_model_s_own_weights_give_its_own_output(void **state)
{
    (void)state;
    for (int k = 0; k < KINDS; k++) {
        scene s = begin_scene(kinds[k]);
        read_scene(&s);
        real *own = logs_of(&s.r);
        const int steps[] = {0, 1, 2, 3};
        const replayed done = replay_forward(&s.r, 4, steps, own);
        close_to(done.weights, s.r.weights, 20, 1e-15);
        close_to(done.context, s.r.walk.contexts, 4 * 8, 1e-14);
        close_to(done.outputs, s.r.outputs, 4 * SCENE_TARGET_WORDS, 1e-13);
        free(own);
        end_scene(&s);
    }
}

static void given_weights_are_used_and_zeros_are_zeros(void **state)
{
    (void)state;
    scene s = begin_scene("bahdanau");
    read_scene(&s);
    const real given[10] = {0.5, 0.25, 0, 0.125, 0.125, 0, 0, 1, 0, 0};
    real logs[10];
    const int steps[] = {2, 2};
    log_weights_of(10, given, logs);
    const replayed done = replay_forward(&s.r, 2, steps, logs);
    close_to(done.weights, given, 10, 1e-16);
    assert_true(done.weights[2] == 0 && done.weights[5] == 0);
    close_to(done.context + 8, s.r.walk.encoded.states + 2 * 8, 8, 1e-16);
    end_scene(&s);
}

/* A loss of two rows of one step: some sum of probabilities and of weights. */
static double loss_of(replay *r, const real *logs, const real *of_outputs, const real *of_weights)
{
    static const int steps[] = {1, 3};
    const replayed done = replay_forward(r, 2, steps, logs);
    double sum = 0;
    for (int i = 0; i < 2 * r->words; i++) sum += (double)(of_outputs[i] * done.outputs[i]);
    for (int i = 0; i < 2 * r->sources; i++) sum += (double)(of_weights[i] * done.weights[i]);
    return sum;
}

static void gradients_by_log_weights_are_those_of_differences(void **state)
{
    (void)state;
    for (int k = 0; k < KINDS; k++) {
        scene s = begin_scene(kinds[k]);
        read_scene(&s);
        random_stream stream = random_begin(1, 1, 1);
        real logs[10], of_weights[10], of_outputs[2 * SCENE_TARGET_WORDS], got[10] = {0};
        for (int i = 0; i < 10; i++) logs[i] = random_normal(&stream), of_weights[i] = random_normal(&stream);
        for (int i = 0; i < 2 * SCENE_TARGET_WORDS; i++) of_outputs[i] = random_normal(&stream);
        static const int steps[] = {1, 3};
        replayed done = replay_forward(&s.r, 2, steps, logs);
        replay_backward(&s.r, &done, of_outputs, of_weights, got, NULL);
        for (int i = 0; i < 10; i++) {
            const real before = logs[i];
            logs[i] = before + 1e-6;
            const double above = loss_of(&s.r, logs, of_outputs, of_weights);
            logs[i] = before - 1e-6;
            const double slope = (above - loss_of(&s.r, logs, of_outputs, of_weights)) / 2e-6;
            logs[i] = before;
            assert_true(fabs(slope - got[i]) < 1e-8);
        }
        end_scene(&s);
    }
}

static double log_prediction(replay *r, int t, const real *weights, int said)
{
    real *logs = allocate((size_t)r->sources, sizeof *logs);
    log_weights_of((size_t)r->sources, weights, logs);
    const replayed done = replay_forward(r, 1, &t, logs);
    free(logs);
    return log((double)done.outputs[said]);
}

/* Scales a word's embedding, reads the sentence again, and leaves all else of the replay; weights held, or made anew.
 */
static double with_scaled_word(scene *s, int t, int j, double factor, bool whole, int said)
{
    recurrent *unit = s->m->parts;
    const int n = unit->decoder.states, embed = unit->encoder.embedding->columns;
    real *row = s->m->parameters.value + unit->encoder.embedding->offset + s->source[j] * embed;
    pass p = {.value = s->m->parameters.value};
    for (int i = 0; i < embed; i++) row[i] *= factor;
    const encoded read = encoder_forward(&p, &unit->encoder, &s->sentence);
    for (int i = 0; i < embed; i++) row[i] /= factor;
    real *kept = allocate(5 * (size_t)n, sizeof *kept), weights[5];
    memcpy(kept, s->r.walk.encoded.states, 5 * (size_t)n * sizeof *kept);
    memcpy(weights, s->r.weights + t * 5, sizeof weights);
    if (whole) {
        const attention_keys keys = attention_keys_begin(&p, &unit->attention, 1, 5, s->lengths, read.states);
        real *context = pass_reals(&p, (size_t)n);
        attention_forward(&unit->attention, &keys, t, s->r.walk.decoder.states + (unit->before ? t : t + 1) * n, NULL,
                          context, NULL, weights);
    }
    memcpy(s->r.walk.encoded.states, read.states, 5 * (size_t)n * sizeof *kept);
    const double log_p = log_prediction(&s->r, t, weights, said);
    memcpy(s->r.walk.encoded.states, kept, 5 * (size_t)n * sizeof *kept);
    free(kept);
    pass_free(&p);
    return log_p;
}

static void importances_by_input_are_those_of_differences(void **state)
{
    (void)state;
    for (int k = 0; k < KINDS; k++) {
        scene s = begin_scene(kinds[k]);
        read_scene(&s);
        double *numbers = allocate(IMPORTANCE_KINDS * 20, sizeof *numbers);
        importance_measure(&s.r, &s.sentence, numbers);
        for (int t = 0; t < 4; t++) {
            const int said = likeliest(s.r.outputs + t * s.r.words, s.r.words);
            for (int j = 0; j < 5; j++) {
                for (int whole = 0; whole < 2; whole++) {
                    const double slope = (with_scaled_word(&s, t, j, 1 + 1e-6, whole, said) -
                                          with_scaled_word(&s, t, j, 1 - 1e-6, whole, said)) /
                                         2e-6;
                    const double got = numbers[(whole ? BY_INPUT_WHOLE : BY_INPUT) * 20 + t * 5 + j];
                    if (!(fabs(fabs(slope) - got) < 1e-7)) {
                        fail_msg("%s, step %d, word %d, %s: %.12g, differences say %.12g", kinds[k], t, j,
                                 whole ? "through weights" : "weights held", got, fabs(slope));
                    }
                }
            }
        }
        free(numbers);
        end_scene(&s);
    }
}

static void importance_by_weight_is_the_gradient_along_the_simplex(void **state)
{
    (void)state;
    scene s = begin_scene("dot");
    read_scene(&s);
    double *numbers = allocate(IMPORTANCE_KINDS * 20, sizeof *numbers);
    importance_measure(&s.r, &s.sentence, numbers);
    const int t = 2, said = likeliest(s.r.outputs + t * s.r.words, s.r.words);
    for (int j = 0; j < 5; j++) { /* a little of every weight goes to j */
        real moved[2][5];
        for (int side = 0; side < 2; side++) {
            const double share = side == 0 ? 1e-6 : -1e-6;
            for (int i = 0; i < 5; i++) moved[side][i] = s.r.weights[t * 5 + i] * (1 - share) + (i == j ? share : 0);
        }
        const double slope = (log_prediction(&s.r, t, moved[0], said) - log_prediction(&s.r, t, moved[1], said)) / 2e-6;
        assert_true(fabs(fabs(slope) - numbers[BY_WEIGHT * 20 + t * 5 + j]) < 1e-7);
    }
    free(numbers);
    end_scene(&s);
}

static void a_word_left_out_is_a_sentence_without_it(void **state)
{
    (void)state;
    scene s = begin_scene("general");
    read_scene(&s);
    double *numbers = allocate(IMPORTANCE_KINDS * 20, sizeof *numbers);
    importance_measure(&s.r, &s.sentence, numbers);
    for (int j = 0; j < 5; j++) {
        int shorter[4], lengths[1] = {4};
        for (int i = 0, at = 0; i < 5; i++) {
            if (i != j) shorter[at++] = s.source[i];
        }
        const batch without = {1, 4, 4, shorter, lengths, s.sentence.target_in, s.sentence.target_out};
        replay r = replay_begin(s.m, &without);
        for (int t = 0; t < 4; t++) {
            const double moved = variation(r.outputs + t * r.words, s.r.outputs + t * r.words, r.words);
            assert_true(fabs(moved - numbers[BY_LEAVING_OUT * 20 + t * 5 + j]) < 1e-12);
        }
        replay_free(&r);
    }
    free(numbers);
    end_scene(&s);
}

static void even_weights_can_be_permuted(void **state)
{
    (void)state;
    scene s = begin_scene("bahdanau-even");
    read_scene(&s);
    random_stream chance = random_begin(1, 1, 1);
    double medians[4];
    for (int i = 0; i < 20; i++) assert_true(fabs(s.r.weights[i] - 0.2) < 1e-15);
    permutation_medians(&s.r, 20, &chance, medians);
    for (int t = 0; t < 4; t++) assert_true(medians[t] < 1e-13);
    end_scene(&s);
}

/* Two words have two orders: an odd number of permutations has one of two medians, and many have both. */
static void permutations_of_two_words_stay_or_swap(void **state)
{
    (void)state;
    scene s = begin_scene("bahdanau");
    s.lengths[0] = 2;
    const batch two = {1, 2, 4, s.source, s.lengths, s.rows.target_in, s.rows.target_out};
    s.r = replay_begin(s.m, &two);
    bool stayed = false, swapped = false;
    for (uint64_t seed = 0; seed < 20; seed++) {
        random_stream chance = random_begin(seed, 1, 1);
        double medians[4];
        permutation_medians(&s.r, 7, &chance, medians);
        for (int t = 0; t < 4; t++) {
            const real logs[2] = {log(s.r.weights[2 * t + 1]), log(s.r.weights[2 * t])};
            const replayed done = replay_forward(&s.r, 1, &t, logs);
            const double swap = variation(done.outputs, s.r.outputs + t * s.r.words, s.r.words);
            assert_true(medians[t] < 1e-13 || fabs(medians[t] - swap) < 1e-13);
            stayed |= medians[t] < 1e-13, swapped |= medians[t] >= 1e-13;
        }
    }
    assert_true(stayed && swapped);
    end_scene(&s);
}

/* Step 3 sees words 1 to 4: of their 24 orders, one permutation is one. */
static void one_permutation_is_one_of_the_window_s(replay *r)
{
    random_stream chance = random_begin(2, 1, 1);
    double medians[4], nearest = 1;
    const int t = 3;
    permutation_medians(r, 1, &chance, medians);
    for (int order = 0; order < 256; order++) {
        const int to[4] = {order & 3, order >> 2 & 3, order >> 4 & 3, order >> 6};
        if ((1 << to[0] | 1 << to[1] | 1 << to[2] | 1 << to[3]) != 15) continue;
        real logs[5] = {-(real)INFINITY};
        for (int i = 0; i < 4; i++) logs[1 + i] = real_log(r->weights[t * 5 + 1 + to[i]]);
        const replayed done = replay_forward(r, 1, &t, logs);
        const double moved = variation(done.outputs, r->outputs + t * r->words, r->words);
        nearest = fmin(nearest, fabs(moved - medians[t]));
    }
    assert_true(nearest < 1e-12);
}

static void local_attention_is_permuted_within_its_window(void **state)
{
    (void)state;
    scene s = begin_scene("local-m"); /* two words to either side */
    read_scene(&s);
    for (int t = 0; t < 4; t++) {
        for (int j = 0; j < 5; j++) assert_true((s.r.weights[t * 5 + j] > 0) == replay_sees(&s.r, t, j));
    }
    assert_false(replay_sees(&s.r, 0, 3));
    one_permutation_is_one_of_the_window_s(&s.r);
    attacked found[4];
    real weights[20];
    attack_options o = attack_default();
    random_stream chance = random_begin(1, 1, 1);
    o.epsilon = 1;
    attack_steps(&s.r, &o, &chance, found, weights);
    for (int t = 0; t < 4; t++) {
        for (int j = 0; j < 5; j++) assert_true(replay_sees(&s.r, t, j) || weights[t * 5 + j] == 0);
    }
    end_scene(&s);
}

static void adversarial_weights_keep_within_epsilon(void **state)
{
    (void)state;
    static const double epsilons[] = {0, 1e-4, 0.01, 0.2, 1};
    for (int k = 0; k < KINDS; k++) {
        scene s = begin_scene(kinds[k]);
        read_scene(&s);
        double before = -1;
        for (size_t i = 0; i < sizeof epsilons / sizeof epsilons[0]; i++) {
            attacked found[4];
            real weights[20], logs[20];
            const int steps[] = {0, 1, 2, 3};
            attack_options o = attack_default();
            o.epsilon = epsilons[i];
            random_stream chance = random_begin(1, 1, 1);
            attack_steps(&s.r, &o, &chance, found, weights);
            log_weights_of(20, weights, logs);
            const replayed done = replay_forward(&s.r, 4, steps, logs);
            double sum = 0;
            for (int t = 0; t < 4; t++) {
                const double far = divergence(weights + t * 5, s.r.weights + t * 5, 5);
                const double moved = variation(done.outputs + t * s.r.words, s.r.outputs + t * s.r.words, s.r.words);
                assert_true(moved <= epsilons[i] + 1e-12);
                assert_true(fabs(moved - found[t].moved) < 1e-12);
                assert_true(fabs(far - found[t].divergence) < 1e-12);
                assert_true(far >= 0 && far <= log(2));
                sum += far;
            }
            assert_true(sum > before - 0.02); /* more is allowed: more is found, but for the search's luck */
            before = sum;
        }
        assert_true(before / 4 > 0.35); /* epsilon 1 allows anything */
        end_scene(&s);
    }
}

static double adversary_sum(const model *m, const model *base, pass *p, pass *q, const batch *b)
{
    const adversary_loss loss = adversary_batch_loss(m, p, base, q, b, 0.3, 7);
    return loss.sum / 7;
}

static void the_adversary_s_gradients_are_those_of_its_loss(void **state)
{
    (void)state;
    for (int k = 0; k < KINDS; k++) {
        model *m = scene_model(kinds[k], 3), *base = scene_model(kinds[k], 4);
        scene_batch b;
        scene_fill(&b, 1);
        parameter_set *set = &m->parameters;
        pass p = {.value = set->value}, q = {.value = base->parameters.value};
        real *gradient = p.gradient = allocate_zeros(set->total, sizeof *gradient);
        adversary_sum(m, base, &p, &q, &b.view);
        p.gradient = NULL;
        for (int i = 0; i < set->count; i++) {
            const parameter *of = &set->list[i];
            for (size_t e = 0; e < (size_t)of->rows * (size_t)of->columns; e++) {
                real *value = set->value + of->offset + e, before = *value;
                *value = before + 1e-6;
                const double above = adversary_sum(m, base, &p, &q, &b.view);
                *value = before - 1e-6;
                const double slope = (above - adversary_sum(m, base, &p, &q, &b.view)) / 2e-6;
                *value = before;
                if (!(fabs(slope - gradient[of->offset + e]) < 1e-8)) {
                    fail_msg("%s: number %zu of %s has the gradient %.12g, differences say %.12g", kinds[k], e,
                             of->name, gradient[of->offset + e], slope);
                }
            }
        }
        pass_free(&p);
        pass_free(&q);
        free(gradient);
        model_destroy(m);
        model_destroy(base);
    }
}

static void an_adversary_like_its_base_has_no_loss(void **state)
{
    (void)state;
    model *m = scene_model("general", 3);
    scene_batch b;
    scene_fill(&b, 0);
    pass p = {.value = m->parameters.value}, q = p;
    const adversary_loss loss = adversary_batch_loss(m, &p, m, &q, &b.view, 1, 1);
    assert_true(loss.sum == 0 && loss.variation == 0 && loss.divergence == 0);
    assert_int_equal(loss.words, b.target_words);
    pass_free(&p);
    pass_free(&q);
    model_destroy(m);
}

/* scipy.stats.kendalltau(x, y, method="asymptotic"), 1.17.1. */
static void the_chance_of_a_tau_is_scipy_s(void **state)
{
    (void)state;
    const double x[] = {1, 2, 3, 4, 5, 6}, y[] = {1, 3, 2, 4, 6, 5};
    assert_true(fabs(kendall_chance(x, y, 6) - 0.03877750439230662) < 1e-12);
    const double u[] = {1, 2, 2, 3, 4, 4, 5}, v[] = {2, 1, 3, 3, 5, 4, 4};
    assert_true(fabs(kendall_chance(u, v, 7) - 0.041136383569940586) < 1e-12);
    const double same[] = {1, 1, 1, 1, 1, 1};
    assert_true(isnan(kendall_chance(x, same, 6)));
}

static void the_same_seed_has_the_same_figures(void **state)
{
    (void)state;
    scene s = begin_scene("concat");
    read_scene(&s);
    const explanation_options o = {.permutations = 9, .attack = attack_default(), .seed = 5};
    explanation e[2] = {{0}, {0}};
    for (int i = 0; i < 2; i++) explanation_add(&e[i], s.m, &s.sentence, &o, 3);
    assert_int_equal(e[0].steps, 4);
    for (size_t i = 0; i < 4; i++) {
        assert_true(e[0].medians.values[i] == e[1].medians.values[i]);
        assert_true(e[0].divergences.values[i] == e[1].divergences.values[i]);
        assert_true(e[0].shuffled.tau.values[i] == e[1].shuffled.tau.values[i]);
    }
    explanation_free(&e[0]);
    explanation_free(&e[1]);
    end_scene(&s);
}

static void temperature_goes_from_all_words_to_one(void **state)
{
    (void)state;
    scene s = begin_scene("general");
    read_scene(&s);
    temperature_point points[TEMPERATURES];
    temperature_measure(&s.r, points);
    double own = 0;
    for (int t = 0; t < 4; t++) own += flatness_of(s.r.weights + t * 5, 5).entropy / log(5) / 4;
    for (int i = 0; i < TEMPERATURES; i++) {
        if (points[i].temperature == 1) assert_true(fabs(points[i].entropy - own) < 1e-12);
        if (i > 0) assert_true(points[i].entropy <= points[i - 1].entropy + 1e-12);
    }
    assert_true(points[0].entropy > 0.98);
    assert_true(points[TEMPERATURES - 1].entropy == 0 && points[TEMPERATURES - 1].greatest == 1);
    end_scene(&s);
}

static void contexts_are_within_the_hull(void **state)
{
    (void)state;
    for (int k = 0; k < KINDS; k++) {
        scene s = begin_scene(kinds[k]);
        read_scene(&s);
        random_stream chance = random_begin(1, 1, 1);
        const hull h = hull_measure(&s.r, 200, &chance);
        assert_int_equal(h.looks, 4 * (8 + 200));
        assert_int_equal(h.outside, 0);
        /* A context that is no such combination is found out. */
        for (int i = 0; i < 8; i++) s.r.walk.contexts[i] = 2 * s.r.walk.encoded.states[i];
        chance = random_begin(1, 1, 1);
        assert_true(hull_measure(&s.r, 200, &chance).outside > 0);
        end_scene(&s);
    }
}

static void the_variance_of_products_is_their_dimension(void **state)
{
    (void)state;
    attn_engine *engine;
    attn_must(attn_engine_create(NULL, &engine));
    scaling_point points[SCALINGS];
    scaling_measure(engine, 1, points);
    for (int i = 0; i < SCALINGS; i++) {
        assert_true(fabs(points[i].plain.variance / points[i].d - 1) < 0.25);
        assert_true(fabs(points[i].scaled.variance - points[i].plain.variance / points[i].d) < 1e-9);
    }
    assert_true(points[SCALINGS - 1].plain.greatest > 0.9 && points[SCALINGS - 1].scaled.greatest < 0.2);
    assert_true(points[SCALINGS - 1].plain.usual_gradient < points[SCALINGS - 1].scaled.usual_gradient / 2);
    attn_engine_destroy(engine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_model_s_own_weights_give_its_own_output),
        cmocka_unit_test(given_weights_are_used_and_zeros_are_zeros),
        cmocka_unit_test(gradients_by_log_weights_are_those_of_differences),
        cmocka_unit_test(importances_by_input_are_those_of_differences),
        cmocka_unit_test(importance_by_weight_is_the_gradient_along_the_simplex),
        cmocka_unit_test(a_word_left_out_is_a_sentence_without_it),
        cmocka_unit_test(even_weights_can_be_permuted),
        cmocka_unit_test(permutations_of_two_words_stay_or_swap),
        cmocka_unit_test(local_attention_is_permuted_within_its_window),
        cmocka_unit_test(adversarial_weights_keep_within_epsilon),
        cmocka_unit_test(the_adversary_s_gradients_are_those_of_its_loss),
        cmocka_unit_test(an_adversary_like_its_base_has_no_loss),
        cmocka_unit_test(the_chance_of_a_tau_is_scipy_s),
        cmocka_unit_test(the_same_seed_has_the_same_figures),
        cmocka_unit_test(temperature_goes_from_all_words_to_one),
        cmocka_unit_test(contexts_are_within_the_hull),
        cmocka_unit_test(the_variance_of_products_is_their_dimension),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
