/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test_gradients.c: the gradient of the whole model against finite differences, in double; what padding must not do. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "entail/entail.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WORDS = 11, ROWS = 3 };

/* Padding is a word too: whatever stands there must not count. */
static const int premise[ROWS * 5] = {4, 5, 6, 7, 3, 8, 9, 0, 0, 0, 5, 4, 6, 0, 0};
static const int hypothesis[ROWS * 4] = {5, 7, 0, 0, 9, 9, 10, 4, 6, 0, 0, 0};
static const int premise_lengths[ROWS] = {5, 2, 3}, hypothesis_lengths[ROWS] = {2, 4, 1}, labels[ROWS] = {0, 2, 1};

static entail_batch batch_of(void)
{
    return (entail_batch){ROWS, {5, premise, premise_lengths}, {4, hypothesis, hypothesis_lengths}, labels};
}

static entail *model_of(bool plain, int look)
{
    const entail_options o = {.words = WORDS, .embed = 6, .hidden = 7, .heads = 2, .plain = plain, .look = look};
    entail *m = entail_create(&o);
    parameters_draw(&m->parameters, 3);
    random_stream stream = random_begin(7, 7, 7); /* no bias at a corner of ReLU */
    for (size_t i = 0; i < m->parameters.total; i++) m->parameters.value[i] += (real)(0.1 * random_normal(&stream));
    return m;
}

static double loss_of(const entail *m, pass *p, const entail_batch *b, double dropout)
{
    p->dropout = dropout;
    p->chance = random_begin(1, 2, 3);
    pass_restart(p);
    return entail_loss(m, p, b, 1, NULL);
}

static void check_gradient(bool plain, int look, double dropout)
{
    entail *m = model_of(plain, look);
    const entail_batch b = batch_of();
    const parameter_set *set = &m->parameters;
    real *gradient = calloc(set->total, sizeof *gradient);
    pass p = {.value = set->value, .gradient = gradient}, forward = {.value = set->value};
    loss_of(m, &p, &b, dropout);
    int moved = 0;
    for (int i = 0; i < set->count; i++) {
        const parameter *of = &set->list[i];
        for (int e = 0; e < of->rows * of->columns; e++) {
            real *x = &set->value[of->offset + (size_t)e];
            const real kept = *x, h = (real)1e-5;
            *x = kept + h;
            const double above = loss_of(m, &forward, &b, dropout);
            *x = kept - h;
            const double below = loss_of(m, &forward, &b, dropout);
            *x = kept;
            const double wanted = (above - below) / (2 * h), got = gradient[of->offset + (size_t)e];
            if (fabs(wanted - got) > 1e-6 * (1 + fabs(wanted))) {
                fail_msg("%s[%d]: %.9g, by differences %.9g", of->name, e, got, wanted);
            }
            moved += fabs(got) > 1e-9;
        }
    }
    assert_true(moved > 100);
    free(gradient);
    pass_free(&p);
    pass_free(&forward);
    entail_destroy(m);
}

static void gradients_are_those_of_the_loss(void **state)
{
    (void)state;
    check_gradient(false, LOOK_ATTEND, 0);
    check_gradient(true, LOOK_ATTEND, 0);
}

static void gradients_are_right_with_dropout(void **state)
{
    (void)state;
    check_gradient(false, LOOK_ATTEND, 0.3);
}

static void gradients_of_baselines_are_right(void **state)
{
    (void)state;
    check_gradient(false, LOOK_MEAN, 0);
    check_gradient(false, LOOK_HYPOTHESIS, 0);
}

/* Each row's answer as a batch of one without padding. */
static void padding_and_neighbours_change_nothing(void **state)
{
    (void)state;
    entail *m = model_of(false, LOOK_ATTEND);
    const entail_batch b = batch_of();
    pass p = {.value = m->parameters.value}, alone = {.value = m->parameters.value};
    entail_walk w, single;
    entail_forward(m, &p, &b, &w);
    for (int r = 0; r < ROWS; r++) {
        const entail_batch one = {1,
                                  {premise_lengths[r], premise + 5 * r, premise_lengths + r},
                                  {hypothesis_lengths[r], hypothesis + 4 * r, hypothesis_lengths + r},
                                  NULL};
        pass_restart(&alone);
        entail_forward(m, &alone, &one, &single);
        for (int k = 0; k < LABELS; k++) assert_true(fabs(single.logits[k] - w.logits[LABELS * r + k]) < 1e-12);
    }
    pass_free(&p);
    pass_free(&alone);
    entail_destroy(m);
}

static double logit_of(const entail *m, const int *words)
{
    const int length = 3;
    const entail_batch b = {1, {3, words, &length}, {3, premise, &length}, NULL};
    pass p = {.value = m->parameters.value};
    entail_walk w;
    entail_forward(m, &p, &b, &w);
    const double logit = w.logits[0];
    pass_free(&p);
    return logit;
}

static void order_counts_unless_plain(void **state)
{
    (void)state;
    static const int one[] = {4, 5, 6}, other[] = {6, 5, 4};
    for (int plain = 0; plain < 2; plain++) {
        entail *m = model_of(plain, LOOK_ATTEND);
        const double gap = fabs(logit_of(m, one) - logit_of(m, other));
        assert_true(plain ? gap < 1e-12 : gap > 1e-6);
        entail_destroy(m);
    }
}

/* The hypothesis alone: the premise does not count. */
static void a_baseline_does_not_see_the_premise(void **state)
{
    (void)state;
    static const int one[] = {4, 5, 6}, other[] = {7, 8, 9};
    entail *m = model_of(false, LOOK_HYPOTHESIS);
    assert_true(fabs(logit_of(m, one) - logit_of(m, other)) < 1e-15);
    entail_destroy(m);
}

static void weights_are_those_behind_what_is_aligned(void **state)
{
    (void)state;
    entail *m = model_of(false, LOOK_ATTEND);
    const entail_batch b = batch_of();
    pass p = {.value = m->parameters.value};
    entail_walk w;
    entail_forward(m, &p, &b, &w);
    real of_hypothesis[ROWS * 4 * 5], of_premise[ROWS * 5 * 4];
    entail_weights(m, &b, &w, of_hypothesis, of_premise, NULL, NULL);
    const int size = entail_size(m);
    for (int r = 0; r < ROWS; r++) {
        for (int j = 0; j < hypothesis_lengths[r]; j++) {
            for (int k = 0; k < size; k++) {
                double sum = 0;
                for (int i = 0; i < premise_lengths[r]; i++) {
                    sum += of_hypothesis[(r * 4 + j) * 5 + i] * w.premise.states[(r * 5 + i) * size + k];
                }
                assert_true(fabs(sum - w.hypothesis.aligned[(r * 4 + j) * size + k]) < 1e-12);
            }
        }
        for (int i = 0; i < premise_lengths[r]; i++) {
            for (int k = 0; k < size; k++) {
                double sum = 0;
                for (int j = 0; j < hypothesis_lengths[r]; j++) {
                    sum += of_premise[(r * 5 + i) * 4 + j] * w.hypothesis.states[(r * 4 + j) * size + k];
                }
                assert_true(fabs(sum - w.premise.aligned[(r * 5 + i) * size + k]) < 1e-12);
            }
        }
    }
    pass_free(&p);
    entail_destroy(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradients_are_those_of_the_loss),
        cmocka_unit_test(gradients_are_right_with_dropout),
        cmocka_unit_test(gradients_of_baselines_are_right),
        cmocka_unit_test(padding_and_neighbours_change_nothing),
        cmocka_unit_test(order_counts_unless_plain),
        cmocka_unit_test(a_baseline_does_not_see_the_premise),
        cmocka_unit_test(weights_are_those_behind_what_is_aligned),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
