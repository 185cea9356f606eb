/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test_gradient.c: the recurrent models, in double: their gradients are those of their losses, they decode to what they
 * were trained for, and padding is nothing to them. */
#include "model_scene.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char *const kinds[] = {"none",     "bahdanau", "dot",     "general",       "concat",
                                    "location", "local-m",  "local-p", "bahdanau-even", "luong-even"};
enum { KINDS = sizeof kinds / sizeof kinds[0] };

static void gradients_are_those_of_the_loss(void **state)
{
    (void)state;
    for (int k = 0; k < KINDS; k++) {
        model *m = scene_model(kinds[k], 1);
        scene_batch b;
        scene_fill(&b, 0);
        const double plain = worst_gradient_error(m, &b.view, 0, 0);
        const double all = worst_gradient_error(m, &b.view, 0.1, 0.3);
        if (plain >= 1e-6 || all >= 1e-6) fail_msg("%s: %g, with smoothing and dropout %g", kinds[k], plain, all);
        model_destroy(m);
    }
}

static void decoding_has_the_loss_of_training(void **state)
{
    (void)state;
    for (int k = 0; k < KINDS; k++) {
        model *m = scene_model(kinds[k], 2);
        scene_batch b;
        scene_fill(&b, 0);
        const double error = worst_decoding_error(m, &b.view);
        if (error >= 1e-12) fail_msg("%s: %g", kinds[k], error);
        model_destroy(m);
    }
}

/* The local kinds look at places, the others at all there is; padding must be neither. */
static void padding_is_nothing_to_loss_and_gradient(void **state)
{
    (void)state;
    for (int k = 0; k < KINDS; k++) {
        model *m = scene_model(kinds[k], 3);
        const size_t total = m->parameters.total;
        scene_batch tight, loose;
        scene_fill(&tight, 0);
        scene_fill(&loose, 4);
        real *gradients = calloc(2 * total, sizeof *gradients);
        pass p = {.value = m->parameters.value, .gradient = gradients};
        const double first = model_batch_loss(m, &p, &tight.view, 0.1, 1).sum;
        p.gradient = gradients + total;
        const double second = model_batch_loss(m, &p, &loose.view, 0.1, 1).sum;
        assert_true(fabs(first - second) < 1e-12 * fabs(first));
        for (size_t i = 0; i < total; i++) {
            if (fabs(gradients[i] - gradients[total + i]) > 1e-11) fail_msg("%s: number %zu", kinds[k], i);
        }
        pass_free(&p);
        free(gradients);
        model_destroy(m);
    }
}

static void what_is_looked_at_sums_to_one_within_the_sentence(void **state)
{
    (void)state;
    for (int k = 1; k < KINDS; k++) {
        if (strcmp(kinds[k], "local-p") == 0) continue; /* its weights are not normalised again */
        model *m = scene_model(kinds[k], 4);
        scene_batch b;
        scene_fill(&b, 3);
        decoding *d = decoding_begin(m, &b.view);
        const int length = decoding_length(d);
        real logits[SCENE_ROWS * SCENE_TARGET_WORDS], weights[SCENE_ROWS * SCENE_LONGEST];
        const int words[SCENE_ROWS] = {WORD_BEGIN, WORD_BEGIN, WORD_BEGIN};
        decoding_step(d, words, logits, weights, NULL);
        for (int r = 0; r < SCENE_ROWS; r++) {
            double sum = 0;
            for (int j = 0; j < b.source_lengths[r]; j++) sum += weights[r * length + j];
            for (int j = b.source_lengths[r]; j < length; j++) assert_true(weights[r * length + j] == 0);
            assert_true(fabs(sum - 1) < 1e-12);
        }
        decoding_end(d);
        model_destroy(m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradients_are_those_of_the_loss),
        cmocka_unit_test(decoding_has_the_loss_of_training),
        cmocka_unit_test(padding_is_nothing_to_loss_and_gradient),
        cmocka_unit_test(what_is_looked_at_sums_to_one_within_the_sentence),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
