/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test_transformer_gradient.c: the transformer, in double: its gradients are those of its loss, it decodes to what it
 * was trained for, and padding is nothing to it. */
#include "model/transformer.h"
#include "model_scene.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

typedef struct scene {
    model *m;
    scene_batch b;
} scene;

static int begin(void **state)
{
    scene *s = calloc(1, sizeof *s);
    if (s == NULL) return -1;
    s->m = scene_model("transformer", 1);
    scene_fill(&s->b, 0);
    *state = s;
    return 0;
}

static int end(void **state)
{
    scene *s = *state;
    model_destroy(s->m);
    free(s);
    return 0;
}

static void gradients_are_those_of_the_loss(void **state)
{
    const scene *s = *state;
    assert_true(worst_gradient_error(s->m, &s->b.view, 0, 0) < 1e-6);
}

static void gradients_are_right_with_label_smoothing(void **state)
{
    const scene *s = *state;
    assert_true(worst_gradient_error(s->m, &s->b.view, 0.1, 0) < 1e-6);
}

static void gradients_are_right_with_dropout(void **state)
{
    const scene *s = *state;
    assert_true(worst_gradient_error(s->m, &s->b.view, 0.1, 0.3) < 1e-6);
}

static void gradients_add_to_what_is_there(void **state)
{
    const scene *s = *state;
    const size_t total = s->m->parameters.total;
    real *once = calloc(total, sizeof *once), *twice = calloc(total, sizeof *twice);
    assert_non_null(once);
    assert_non_null(twice);
    pass p = {.value = s->m->parameters.value, .gradient = once};
    model_batch_loss(s->m, &p, &s->b.view, 0, 1);
    p.gradient = twice;
    for (int i = 0; i < 2; i++) model_batch_loss(s->m, &p, &s->b.view, 0, 1);
    for (size_t i = 0; i < total; i++) assert_true(fabs(2 * once[i] - twice[i]) <= 1e-10 * (1 + fabs(once[i])));
    pass_free(&p);
    free(once);
    free(twice);
}

static void a_loss_is_the_same_without_gradient(void **state)
{
    const scene *s = *state;
    pass p = {.value = s->m->parameters.value};
    const model_loss alone = model_batch_loss(s->m, &p, &s->b.view, 0.1, 1);
    p.gradient = calloc(s->m->parameters.total, sizeof *p.gradient);
    assert_non_null(p.gradient);
    const model_loss both = model_batch_loss(s->m, &p, &s->b.view, 0.1, 1);
    assert_true(fabs(alone.sum - both.sum) < 1e-12 * both.sum);
    assert_int_equal(alone.words, s->b.target_words);
    assert_int_equal(both.words, s->b.target_words);
    pass_free(&p);
    free(p.gradient);
}

static void padding_is_nothing_to_loss_and_gradient(void **state)
{
    const scene *s = *state;
    const size_t total = s->m->parameters.total;
    scene_batch longer;
    scene_fill(&longer, 3);
    real *tight = calloc(total, sizeof *tight), *padded = calloc(total, sizeof *padded);
    assert_non_null(tight);
    assert_non_null(padded);
    pass p = {.value = s->m->parameters.value, .gradient = tight};
    const double loss = model_batch_loss(s->m, &p, &s->b.view, 0.1, 1).sum;
    p.gradient = padded;
    assert_true(fabs(model_batch_loss(s->m, &p, &longer.view, 0.1, 1).sum - loss) < 1e-12 * loss);
    for (size_t i = 0; i < total; i++) assert_true(fabs(tight[i] - padded[i]) <= 1e-10 * (1 + fabs(tight[i])));
    pass_free(&p);
    free(tight);
    free(padded);
}

static void decoding_has_the_loss_of_training(void **state)
{
    const scene *s = *state;
    assert_true(worst_decoding_error(s->m, &s->b.view) < 1e-12);
}

/* The greatest difference of a step's logits from those of training, row i being the batch's row rows[i]. */
static double step_error(decoding *d, const scene *s, const real *trained, int t, const int *rows, int count)
{
    real logits[8 * SCENE_TARGET_WORDS];
    int words[8];
    const int length = s->b.view.target_length;
    for (int i = 0; i < count; i++) words[i] = s->b.view.target_in[rows[i] * length + t];
    decoding_step(d, words, logits, NULL, NULL);
    double worst = 0;
    for (int i = 0; i < count * SCENE_TARGET_WORDS; i++) {
        const int row = rows[i / SCENE_TARGET_WORDS], word = i % SCENE_TARGET_WORDS;
        const real wanted = trained[(row * length + t) * SCENE_TARGET_WORDS + word];
        if (!(fabs(logits[i] - wanted) <= worst)) worst = fabs(logits[i] - wanted);
    }
    return worst;
}

/* Padding of a target is words like others to a forward pass: all steps of all rows can be compared. */
static void decoding_has_the_logits_of_training_whatever_rows_remain(void **state)
{
    const scene *s = *state;
    pass p = {.value = s->m->parameters.value};
    const real *trained = transformer_forward(s->m, &p, &s->b.view).logits;
    decoding *d = decoding_begin(s->m, &s->b.view);
    assert_int_equal(decoding_rows(d), SCENE_ROWS);
    assert_int_equal(decoding_length(d), 5);
    assert_true(step_error(d, s, trained, 0, (int[]){0, 1, 2}, 3) < 1e-10);
    assert_true(step_error(d, s, trained, 1, (int[]){0, 1, 2}, 3) < 1e-10);

    /* Rows swap and are there twice. */
    decoding_reorder(d, (int[]){2, 0, 1, 2, 1}, 5);
    assert_int_equal(decoding_rows(d), 5);
    assert_true(step_error(d, s, trained, 2, (int[]){2, 0, 1, 2, 1}, 5) < 1e-10);
    assert_true(step_error(d, s, trained, 3, (int[]){2, 0, 1, 2, 1}, 5) < 1e-10);

    /* The longest sentence goes. */
    decoding_reorder(d, (int[]){4, 0}, 2);
    assert_int_equal(decoding_length(d), 4);
    assert_true(step_error(d, s, trained, 4, (int[]){1, 2}, 2) < 1e-10);
    decoding_reorder(d, (int[]){0}, 1);
    assert_int_equal(decoding_length(d), 2);
    assert_true(step_error(d, s, trained, 5, (int[]){1}, 1) < 1e-10);
    decoding_end(d);
    pass_free(&p);
}

static void weights_are_the_last_layers_mean_over_heads(void **state)
{
    const scene *s = *state;
    decoding *d = decoding_begin(s->m, &s->b.view);
    real logits[SCENE_ROWS * SCENE_TARGET_WORDS], weights[SCENE_ROWS * 5], scores[SCENE_ROWS * 5];
    const int begins[] = {WORD_BEGIN, WORD_BEGIN, WORD_BEGIN};
    decoding_reorder(d, (int[]){1, 2}, 2); /* of lengths 2 and 4 */
    decoding_step(d, begins, logits, NULL, NULL);
    assert_null(transformer_heads(d, 0));
    assert_true(transformer_watch(d));
    decoding_step(d, (int[]){5, 6}, logits, weights, scores);
    for (int layer = 0; layer < 2; layer++) {
        const real *heads = transformer_heads(d, layer);
        for (int row_head = 0; row_head < 4; row_head++) {
            real sum = 0;
            for (int j = 0; j < 4; j++) sum += heads[row_head * 4 + j];
            assert_true(fabs(sum - 1) < 1e-12);
        }
    }
    const real *last = transformer_heads(d, 1);
    for (int r = 0; r < 2; r++) {
        for (int j = 0; j < 4; j++) {
            const real mean = (last[(2 * r) * 4 + j] + last[(2 * r + 1) * 4 + j]) / 2;
            assert_true(fabs(weights[r * 4 + j] - mean) < 1e-15);
            if (r == 0 && j >= 2) {
                assert_true(weights[r * 4 + j] == 0);
                assert_true(isinf(scores[r * 4 + j]) && scores[r * 4 + j] < 0);
            } else {
                assert_true(fabs(scores[r * 4 + j] - log(mean)) < 1e-12);
            }
        }
    }
    decoding_end(d);
}

static void memories_of_long_translations_grow(void **state)
{
    const scene *s = *state;
    enum { STEPS = 70 };
    static int in[STEPS], out[STEPS];
    for (int t = 0; t < STEPS; t++) {
        in[t] = t == 0 ? WORD_BEGIN : WORDS_SPECIAL + t * t % (SCENE_TARGET_WORDS - WORDS_SPECIAL);
        out[t] = WORDS_SPECIAL + t % (SCENE_TARGET_WORDS - WORDS_SPECIAL);
    }
    const batch one = {1, 5, STEPS, s->b.view.source, s->b.view.source_lengths, in, out};
    assert_true(worst_decoding_error(s->m, &one) < 1e-12);
}

static void other_models_have_no_heads(void **state)
{
    const scene *s = *state;
    model *other = scene_model("dot", 1);
    decoding *d = decoding_begin(other, &s->b.view);
    assert_false(transformer_watch(d));
    decoding_end(d);
    model_destroy(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradients_are_those_of_the_loss),
        cmocka_unit_test(gradients_are_right_with_label_smoothing),
        cmocka_unit_test(gradients_are_right_with_dropout),
        cmocka_unit_test(gradients_add_to_what_is_there),
        cmocka_unit_test(a_loss_is_the_same_without_gradient),
        cmocka_unit_test(padding_is_nothing_to_loss_and_gradient),
        cmocka_unit_test(decoding_has_the_loss_of_training),
        cmocka_unit_test(decoding_has_the_logits_of_training_whatever_rows_remain),
        cmocka_unit_test(weights_are_the_last_layers_mean_over_heads),
        cmocka_unit_test(memories_of_long_translations_grow),
        cmocka_unit_test(other_models_have_no_heads),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
