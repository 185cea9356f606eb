/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test_explain.c: what must hold of the experiments whatever a model has learned. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "explain/explain.h"
#include "measure/correlation.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const int premise[] = {4, 5, 6, 7, 8}, hypothesis[] = {5, 7, 9}, premise_length = 5, hypothesis_length = 3;
static const entail_batch batch = {1, {5, premise, &premise_length}, {3, hypothesis, &hypothesis_length}, NULL};

typedef struct fixture {
    entail *model;
    pass pass;
    explain_pair pair;
    double *to[2];
} fixture;

static void begin(fixture *f)
{
    const entail_options o = {.words = 12, .embed = 8, .hidden = 16, .heads = 2};
    memset(f, 0, sizeof *f);
    f->model = entail_create(&o);
    entail_draw(f->model, 11);
    f->pass.value = f->model->parameters.value;
    explain_begin(&f->pair, f->model, &f->pass, &batch);
    for (int k = 0; k < 2; k++) f->to[k] = calloc(15, sizeof(double));
}

static void end(fixture *f)
{
    for (int k = 0; k < 2; k++) free(f->to[k]);
    explain_end(&f->pair);
    pass_free(&f->pass);
    entail_destroy(f->model);
}

static void own_weights_give_the_own_answer(void **state)
{
    (void)state;
    fixture f;
    begin(&f);
    entail_walk w;
    double now[LABELS];
    explain_answer(&f.pair, NULL, now);
    entail_forward(f.model, &f.pass, &batch, &w);
    double sum = 0;
    for (int k = 0; k < LABELS; k++) sum += exp((double)w.logits[k]);
    for (int k = 0; k < LABELS; k++) assert_true(fabs(exp((double)w.logits[k]) / sum - now[k]) < 1e-5);
    end(&f);
}

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void permutations_keep_each_row_and_leave_the_other_kind(void **state)
{
    (void)state;
    fixture f;
    begin(&f);
    random_stream stream = random_begin(1, 1, 1);
    int moved = 0;
    for (int i = 0; i < 20; i++) {
        explain_permute(&f.pair, ROWS_HYPOTHESIS, &stream, f.to);
        assert_memory_equal(f.to[1], f.pair.weights[1], 15 * sizeof(double));
        moved += memcmp(f.to[0], f.pair.weights[0], 15 * sizeof(double)) != 0;
        for (int r = 0; r < 3; r++) {
            double one[5], other[5];
            memcpy(one, f.to[0] + 5 * r, sizeof one);
            memcpy(other, f.pair.weights[0] + 5 * r, sizeof other);
            qsort(one, 5, sizeof *one, compare);
            qsort(other, 5, sizeof *other, compare);
            assert_memory_equal(one, other, sizeof one);
        }
    }
    assert_true(moved > 15);
    end(&f);
}

/* The adversary's weights are weights, move the answer by what is told, and no more than may be. */
static void the_adversary_keeps_its_promise(void **state)
{
    (void)state;
    for (int rows = 0; rows < ROWS_KINDS; rows++) {
        fixture f;
        begin(&f);
        const explain_options o = {.rows = rows, .permutations = 10, .steps = 400, .most = 0.003};
        random_stream stream = random_begin(2, 2, (uint64_t)rows);
        double moved, own[LABELS], now[LABELS];
        const double far = explain_adversary(&f.pair, &o, &stream, f.to, &moved);
        explain_answer(&f.pair, NULL, own);
        explain_answer(&f.pair, f.to, now);
        assert_true(moved <= 0.003);
        assert_true(fabs(total_variation(own, now, LABELS) - moved) < 1e-6);
        assert_true(far > 0 && far <= log(2) + 1e-9);
        double sum = 0;
        int count = 0;
        for (int k = 0; k < 2; k++) {
            if (rows != k && rows != ROWS_BOTH) assert_memory_equal(f.to[k], f.pair.weights[k], 15 * sizeof(double));
            for (int r = 0; r < f.pair.count[k] && (rows == k || rows == ROWS_BOTH); r++, count++) {
                const size_t length = (size_t)f.pair.length[k];
                double whole = 0;
                for (size_t i = 0; i < length; i++) whole += f.to[k][(size_t)r * length + i];
                assert_true(fabs(whole - 1) < 1e-9);
                sum += jensen_shannon(f.to[k] + (size_t)r * length, f.pair.weights[k] + (size_t)r * length, length);
            }
        }
        assert_true(fabs(sum / count - far) < 1e-9);
        end(&f);
    }
}

/* Words of which nothing depends: with G's columns for what is aligned, and its own, at zero for the premise's numbers,
 * leaving a word out moves nothing and its gradient is nothing. */
static void what_does_not_matter_has_no_importance(void **state)
{
    (void)state;
    fixture f;
    begin(&f);
    const parameter *weight = f.model->compare.first[0].weight;
    memset(f.model->parameters.value + weight->offset, 0,
           (size_t)weight->rows * (size_t)weight->columns * sizeof(real));
    const parameter *bias = f.model->compare.first[0].bias;
    memset(f.model->parameters.value + bias->offset, 0, (size_t)bias->columns * sizeof(real));
    double importance[5];
    explain_gradient(&f.pair, ROWS_HYPOTHESIS, importance);
    for (int i = 0; i < 5; i++) assert_true(fabs(importance[i]) < 1e-12);
    explain_left_out(&f.pair, ROWS_HYPOTHESIS, importance);
    for (int i = 0; i < 5; i++) assert_true(fabs(importance[i]) < 1e-6);
    end(&f);
}

/* The answer with the first model's weights where a word's vector is longer by a factor. */
static double answer_with(fixture *f, int word, double factor, int label)
{
    const int embed = f->model->options.embed;
    real *row = f->model->parameters.value + f->model->embedding->offset + (ptrdiff_t)word * embed;
    real kept[64];
    memcpy(kept, row, (size_t)embed * sizeof *row);
    for (int i = 0; i < embed; i++) row[i] = (real)(factor * (double)row[i]);
    pass p = {.value = f->model->parameters.value};
    explain_pair e;
    double now[LABELS];
    explain_begin(&e, f->model, &p, &batch);
    explain_answer(&e, f->pair.weights, now);
    explain_end(&e);
    pass_free(&p);
    memcpy(row, kept, (size_t)embed * sizeof *row);
    return now[label];
}

/* Of words that the premise alone has; for each label in turn the likeliest, by the last layer's bias. */
static void the_gradient_is_that_of_the_answer(void **state)
{
    (void)state;
    for (int label = 0; label < LABELS; label++) {
        fixture f;
        begin(&f);
        double own[LABELS], importance[5], sum = 0;
        explain_answer(&f.pair, NULL, own);
        double greatest = 0;
        for (int k = 0; k < LABELS; k++) greatest = fmax(greatest, own[k]);
        f.model->parameters.value[f.model->output.bias->offset + (size_t)label] +=
            (real)(log(greatest / own[label]) + 0.2);
        explain_answer(&f.pair, NULL, own);
        for (int k = 0; k < LABELS; k++) assert_true(k == label || own[k] < own[label]);
        explain_gradient(&f.pair, ROWS_HYPOTHESIS, importance);
        for (int i = 0; i < 5; i += 2) {
            const double slope =
                (answer_with(&f, premise[i], 1.002, label) - answer_with(&f, premise[i], 0.998, label)) / 0.004;
            assert_true(fabs(fabs(slope) - importance[i]) < 0.02 * importance[i] + 2e-4);
            sum += importance[i];
        }
        assert_true(sum > 1e-3);
        end(&f);
    }
}

static void all_figures_are_in_their_range(void **state)
{
    (void)state;
    fixture f;
    begin(&f);
    const explain_options o = {.rows = ROWS_BOTH, .permutations = 20, .steps = 50, .most = 0.01};
    pass p = {.value = f.model->parameters.value};
    random_stream stream = random_begin(3, 3, 3), again = stream;
    const explained one = explain_all(f.model, &p, &batch, &o, &stream);
    const explained other = explain_all(f.model, &p, &batch, &o, &again);
    assert_memory_equal(&one, &other, sizeof one);
    assert_true(one.greatest >= 0.2 && one.greatest <= 1);
    assert_true(fabs(one.gradient_tau) <= 1 && fabs(one.left_out_tau) <= 1);
    assert_true(one.permuted >= 0 && one.permuted <= 1);
    pass_free(&p);
    end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(own_weights_give_the_own_answer),
        cmocka_unit_test(permutations_keep_each_row_and_leave_the_other_kind),
        cmocka_unit_test(the_adversary_keeps_its_promise),
        cmocka_unit_test(what_does_not_matter_has_no_importance),
        cmocka_unit_test(the_gradient_is_that_of_the_answer),
        cmocka_unit_test(all_figures_are_in_their_range),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
