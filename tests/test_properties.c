/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test_properties.c: what holds of attention by its definition, without a reference: statements about weights,
 * contexts, masks and equivalent mechanisms.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "support.h"

/* Every property gets two calls with the same inputs, a rule, and room for another rule. */
struct pair {
    enum rule_kind kind;
    struct fixture a, b;
    struct rule rule, other;
};

static const struct dims usual = {2, 4, 2, 6, 9, 5, 3};
static const int64_t keys = 9, queries = 6, dim = 5, value_dim = 3, rows = 2 * 4 * 6;

static void run_both(struct pair *p)
{
    MUST(attn_forward(p->rule.mechanism, &p->a.args));
    MUST(attn_forward(p->other.mechanism ? p->other.mechanism : p->rule.mechanism, &p->b.args));
}

static void weights_are_not_negative_and_sum_to_one(struct pair *p)
{
    fixture_mask_at_random(&p->a);
    run_both(p);
    for (int64_t row = 0; row < rows; row++) {
        double sum = 0.0;
        for (int64_t i = row * keys; i < (row + 1) * keys; i++) {
            double weight = array_get(&p->a.weights, i);
            assert_true(array_get(&p->a.mask, i) != 0.0 ? weight >= 0.0 : weight == 0.0);
            sum += weight;
        }
        assert_true(fabs(sum - 1.0) < 1e-14);
    }
}

static void context_lies_in_the_hull_of_the_values(struct pair *p)
{
    run_both(p);
    for (int64_t i = 0; i < rows * value_dim; i++) {
        double low = HUGE_VAL, high = -HUGE_VAL, got = array_get(&p->a.context, i);
        for (int64_t j = 0; j < keys; j++) {
            low = fmin(low, fixture_value(&p->a, i / value_dim, j, i % value_dim));
            high = fmax(high, fixture_value(&p->a, i / value_dim, j, i % value_dim));
        }
        assert_true(got >= low - 1e-14 && got <= high + 1e-14);
    }
}

static void context_is_weights_times_values(struct pair *p)
{
    fixture_mask_at_random(&p->a);
    run_both(p);
    for (int64_t i = 0; i < rows * value_dim; i++) {
        int64_t row = i / value_dim;
        double sum = 0.0;
        for (int64_t j = 0; j < keys; j++) {
            sum += array_get(&p->a.weights, row * keys + j) * fixture_value(&p->a, row, j, i % value_dim);
        }
        array_set(&p->b.context, i, sum);
    }
    assert_near(&p->a.context, &p->b.context, "context");
}

static void weights_are_exp_of_scores_less_logsumexp(struct pair *p)
{
    const double tau = 0.6;
    fixture_mask_at_random(&p->a);
    MUST(attn_mechanism_set_temperature(p->rule.mechanism, tau));
    run_both(p);
    for (int64_t i = 0; i < rows * keys; i++) {
        array_set(&p->b.weights, i, exp(array_get(&p->a.scores, i) / tau - array_get(&p->a.logsumexp, i / keys)));
    }
    assert_near(&p->a.weights, &p->b.weights, "weights");
}

static void weights_are_the_last_stage_of_the_scores(struct pair *p)
{
    p->a.args.scores_stage = ATTN_SCORES_WEIGHTS;
    for (int hard = 0; hard < 2; hard++) {
        MUST(attn_mechanism_set_normaliser(p->rule.mechanism, hard ? ATTN_HARDMAX : ATTN_SOFTMAX));
        run_both(p);
        assert_true(array_same_bits(&p->a.weights, &p->a.scores, 0, rows * keys));
    }
}

static void a_constant_per_query_moves_only_the_logsumexp(struct pair *p)
{
    const double tau = 2.0;
    MUST(attn_mechanism_set_temperature(p->rule.mechanism, tau));
    for (int64_t i = 0; i < rows * keys; i++) array_set(&p->b.bias, i, (double)(i / keys % 7) - 3.0);
    p->b.args.bias = &p->b.bias.tensor;
    run_both(p);
    for (int64_t row = 0; row < rows; row++) {
        array_set(&p->a.logsumexp, row, array_get(&p->a.logsumexp, row) + ((double)(row % 7) - 3.0) / tau);
    }
    assert_near(&p->b.context, &p->a.context, "context");
    assert_near(&p->b.weights, &p->a.weights, "weights");
    assert_near(&p->b.logsumexp, &p->a.logsumexp, "logsumexp");
}

static void order_of_the_keys_does_not_matter(struct pair *p)
{
    int64_t order[9] = {0, 1, 2, 3, 4, 5, 6, 7, 8};
    struct rng rng = {6};
    rng_shuffle(&rng, order, keys);
    fixture_mask_at_random(&p->a);
    fixture_mask_at_random(&p->b);
    array_permute(&p->b.key, order, true);
    array_permute(&p->b.value, order, true);
    array_permute(&p->b.mask, order, false);
    run_both(p);
    array_permute(&p->a.weights, order, false);
    array_permute(&p->a.scores, order, false);
    assert_alike(&p->b, &p->a);
}

static void causal_ignores_future_nan(struct pair *p)
{
    static const struct dims one_head = {1, 1, 1, 9, 9, 5, 3};
    MUST(attn_mechanism_set_causal(p->rule.mechanism, ATTN_ALIGN_TOP_LEFT));
    for (int64_t now = 0; now < one_head.keys - 1; now++) {
        struct fixture a, b;
        fixture_create(&a, &one_head, 8);
        fixture_create(&b, &one_head, 8);
        for (int64_t j = now + 1; j < one_head.keys; j++) {
            array_poison(&b.key, j, j % 2 ? NAN : HUGE_VAL);
            array_poison(&b.value, j, NAN);
        }
        MUST(attn_forward(p->rule.mechanism, &a.args));
        MUST(attn_forward(p->rule.mechanism, &b.args));
        assert_same_bits(&a, &b, now + 1);
        fixture_destroy(&a);
        fixture_destroy(&b);
    }
}

static void what_is_invisible_changes_nothing(struct pair *p)
{
    static const double poisons[] = {NAN, HUGE_VAL, -HUGE_VAL};
    struct array key = p->b.key;
    for (int way = 0; way < BY_CAUSAL; way++) {
        /* With a right of 1 the last query, at 5, sees key 6. */
        if (way == BY_WINDOW) MUST(attn_mechanism_set_window(p->rule.mechanism, 2, 1, ATTN_ALIGN_TOP_LEFT));
        fixture_hide(&p->a, (enum blocker)way, 7);
        fixture_hide(&p->b, (enum blocker)way, 7);
        array_write(&p->b.key, p->a.key.tensor.data);
        for (int64_t j = 7; j < keys; j++) {
            if (way != BY_BIAS)
                array_poison(&key, j, poisons[(j + way) % 3]); /* NaN less infinity is NaN: it is seen */
            array_poison(&p->b.value, j, poisons[j % 3]);
        }
        run_both(p);
        assert_same_bits(&p->a, &p->b, rows);
    }
}

static void a_visible_nan_reaches_the_output(struct pair *p)
{
    fixture_mask_at_random(&p->a);
    fixture_mask_at_random(&p->b);
    array_poison(&p->a.value, 4, NAN);
    array_poison(&p->b.key, 4, NAN);
    run_both(p);
    for (int64_t row = 0; row < rows; row++) {
        bool seen = array_get(&p->a.mask, row * keys + 4) != 0.0;
        for (int64_t i = row * value_dim; i < (row + 1) * value_dim; i++) {
            assert_int_equal(isnan(array_get(&p->a.context, i)) != 0, seen);
            assert_int_equal(isnan(array_get(&p->b.context, i)) != 0, seen);
        }
        assert_true(!isnan(array_get(&p->a.logsumexp, row)));
        assert_int_equal(isnan(array_get(&p->b.logsumexp, row)) != 0, seen);
    }
}

static void rows_that_see_nothing_are_zero(struct pair *p)
{
    for (int way = 0; way < BLOCKERS * 2; way++) {
        attn_align align = way % BLOCKERS == BY_CAUSAL ? ATTN_ALIGN_TOP_LEFT : ATTN_ALIGN_NONE;
        attn_align window = way % BLOCKERS == BY_WINDOW ? ATTN_ALIGN_TOP_LEFT : ATTN_ALIGN_NONE;
        p->a.args.query_start = align ? -queries : 100; /* all positions before the first key, or past the last */
        MUST(attn_mechanism_set_causal(p->rule.mechanism, align));
        MUST(attn_mechanism_set_window(p->rule.mechanism, 2, 2, window));
        MUST(attn_mechanism_set_normaliser(p->rule.mechanism, way < BLOCKERS ? ATTN_SOFTMAX : ATTN_HARDMAX));
        fixture_hide(&p->a, (enum blocker)(way % BLOCKERS), 0);
        run_both(p);
        for (int64_t i = 0; i < rows * value_dim; i++) assert_true(array_get(&p->a.context, i) == 0.0);
        for (int64_t i = 0; i < rows * keys; i++) assert_true(array_get(&p->a.weights, i) == 0.0);
        for (int64_t i = 0; i < rows; i++) assert_true(array_get(&p->a.logsumexp, i) == -HUGE_VAL);
    }
}

static void bottom_right_lets_the_last_query_see_the_last_valid_key(struct pair *p)
{
    rule_create(&p->other, engine, p->kind, dim, dim);
    MUST(attn_mechanism_set_causal(p->rule.mechanism, ATTN_ALIGN_BOTTOM_RIGHT));
    array_set(&p->a.lengths, 0, 8.0);
    array_set(&p->a.lengths, 1, 3.0); /* less than Tq: the first queries see nothing */
    p->a.args.key_lengths = &p->a.lengths.tensor;
    for (int64_t i = 0; i < rows * keys; i++) {
        int64_t row = i / keys, length = row < rows / 2 ? 8 : 3;
        array_set(&p->b.mask, i, i % keys <= length - queries + row % queries);
    }
    p->b.args.mask = &p->b.mask.tensor;
    run_both(p);
    assert_alike(&p->a, &p->b);
}

static void one_query_at_a_time_equals_the_whole_causal_pass(struct pair *p)
{
    MUST(attn_mechanism_set_causal(p->rule.mechanism, ATTN_ALIGN_TOP_LEFT));
    run_both(p);
    for (int64_t i = 0; i < queries; i++) {
        attn_tensor parts[5] = {p->b.query.tensor, p->b.context.tensor, p->b.weights.tensor, p->b.scores.tensor,
                                p->b.logsumexp.tensor};
        attn_forward_args args = p->b.args;
        for (int t = 0; t < 5; t++) {
            parts[t].data = (double *)parts[t].data + i * parts[t].stride[2];
            parts[t].shape[2] = 1;
        }
        args.query = &parts[0];
        args.context = &parts[1];
        args.weights = &parts[2];
        args.scores = &parts[3];
        args.logsumexp = &parts[4];
        args.query_start = i;
        MUST(attn_forward(p->rule.mechanism, &args));
    }
    assert_alike(&p->b, &p->a);
}

static void causal_and_window_each_measure_from_their_own_align(struct pair *p)
{
    rule_create(&p->other, engine, p->kind, dim, dim);
    MUST(attn_mechanism_set_causal(p->rule.mechanism, ATTN_ALIGN_TOP_LEFT));
    MUST(attn_mechanism_set_window(p->rule.mechanism, 4, 0, ATTN_ALIGN_BOTTOM_RIGHT));
    for (int64_t i = 0; i < rows * keys; i++) {
        int64_t query = i / keys % queries, j = i % keys;
        array_set(&p->b.mask, i, j <= query && j >= keys - queries + query - 4);
    }
    p->b.args.mask = &p->b.mask.tensor;
    run_both(p);
    assert_alike(&p->a, &p->b);
}

static void a_temperature_near_zero_equals_hardmax(struct pair *p)
{
    rule_create(&p->other, engine, p->kind, dim, dim);
    MUST(attn_mechanism_set_temperature(p->rule.mechanism, 1e-6));
    MUST(attn_mechanism_set_normaliser(p->other.mechanism, ATTN_HARDMAX));
    run_both(p);
    assert_near(&p->a.weights, &p->b.weights, "weights");
    assert_near(&p->a.context, &p->b.context, "context");
}

static void hardmax_takes_the_lowest_index_on_a_tie(struct pair *p)
{
    MUST(attn_mechanism_set_scale(p->rule.mechanism, 0.0)); /* every score is 0 */
    MUST(attn_mechanism_set_normaliser(p->rule.mechanism, ATTN_HARDMAX));
    p->a.args.mask = &p->a.mask.tensor;
    for (int64_t first = 0; first < 4; first++) {
        for (int64_t i = 0; i < rows * keys; i++) array_set(&p->a.mask, i, i % keys >= first);
        run_both(p);
        for (int64_t i = 0; i < rows * keys; i++) assert_true(array_get(&p->a.weights, i) == (i % keys == first));
    }
}

static void concat_is_additive_with_its_matrix_split(struct pair *p)
{
    attn_tensor left = p->rule.W.tensor, right = left;
    left.shape[1] = right.shape[1] = dim;
    right.data = (double *)right.data + dim * right.stride[1];
    rule_create(&p->other, engine, RULE_ADDITIVE, dim, dim);
    MUST(attn_mechanism_bind_param(p->other.mechanism, "W", &left));
    MUST(attn_mechanism_bind_param(p->other.mechanism, "U", &right));
    MUST(attn_mechanism_bind_param(p->other.mechanism, "v", &p->rule.v.tensor));
    run_both(p);
    assert_alike(&p->a, &p->b);
}

static void general_with_the_identity_is_dot(struct pair *p)
{
    rule_create(&p->other, engine, RULE_DOT, dim, dim);
    for (int64_t i = 0; i < dim * dim; i++) array_set(&p->rule.W, i, i % (dim + 1) == 0);
    run_both(p);
    assert_alike(&p->a, &p->b);
}

static void normalised_additive_with_g_the_norm_of_v_is_additive(struct pair *p)
{
    static double g;
    const int64_t one = 1;
    double square = 0.0;
    attn_tensor norm;
    int64_t hidden = array_count(&p->rule.v);
    for (int64_t a = 0; a < hidden; a++) square += array_get(&p->rule.v, a) * array_get(&p->rule.v, a);
    g = sqrt(square);
    MUST(attn_tensor_init(&norm, &g, ATTN_F64, 1, &one));
    MUST(attn_mechanism_create_additive(engine, dim, dim, hidden, ATTN_ADDITIVE_NORMALISED, &p->other.mechanism));
    MUST(attn_mechanism_bind_param(p->other.mechanism, "W", &p->rule.W.tensor));
    MUST(attn_mechanism_bind_param(p->other.mechanism, "U", &p->rule.U.tensor));
    MUST(attn_mechanism_bind_param(p->other.mechanism, "v", &p->rule.v.tensor));
    MUST(attn_mechanism_bind_param(p->other.mechanism, "g", &norm));
    run_both(p);
    assert_alike(&p->a, &p->b);
}

static void grouped_heads_equal_repeated_heads(struct pair *p)
{
    struct dims repeated = usual;
    struct fixture all;
    repeated.key_heads = repeated.query_heads;
    fixture_create(&all, &repeated, 1); /* the same seed: the same queries */
    for (int64_t i = 0; i < array_count(&all.key); i++) {
        array_set(&all.key, i, array_get(&p->a.key, i / (keys * dim) / 2 * keys * dim + i % (keys * dim)));
    }
    for (int64_t i = 0; i < array_count(&all.value); i++) {
        array_set(&all.value, i,
                  fixture_value(&p->a, i / (keys * value_dim) * queries, i / value_dim % keys, i % value_dim));
    }
    run_both(p);
    MUST(attn_forward(p->rule.mechanism, &all.args));
    assert_alike(&p->a, &all);
    fixture_destroy(&all);
}

static void without_a_value_the_keys_are_the_values(struct pair *p)
{
    struct array contexts[2];
    const int64_t shape[4] = {usual.batch, usual.query_heads, queries, dim};
    for (int i = 0; i < 2; i++) array_create(&contexts[i], ATTN_F64, 4, shape, LAYOUT_PLAIN, NULL);
    p->a.args.value = NULL;
    p->b.args.value = p->b.args.key;
    p->a.args.context = &contexts[0].tensor;
    p->b.args.context = &contexts[1].tensor;
    run_both(p);
    assert_near(&contexts[0], &contexts[1], "context");
    for (int i = 0; i < 2; i++) array_destroy(&contexts[i]);
}

static void scaling_keeps_the_variance_of_the_scores_at_one(struct pair *p)
{
    for (int64_t d = 16; d <= 1024; d *= 4) {
        struct dims n = {1, 1, 1, 200, 200, d, 1};
        struct fixture f;
        double square = 0.0;
        fixture_create(&f, &n, 12);
        f.args.scores_stage = ATTN_SCORES_RAW;
        MUST(attn_forward(p->rule.mechanism, &f.args));
        for (int64_t i = 0; i < array_count(&f.scores); i++) square += pow(array_get(&f.scores, i), 2.0);
        assert_true(fabs(square / 40000.0 / (p->kind == RULE_SCALED_DOT ? 1.0 : (double)d) - 1.0) < 0.15);
        fixture_destroy(&f);
    }
}

static void assert_total(attn_mechanism *mechanism, int64_t want)
{
    int64_t total = -1;
    MUST(attn_mechanism_param_total(mechanism, &total));
    assert_int_equal(total, want);
}

static void parameter_totals_are_the_textbooks(struct pair *p)
{
    enum { BOTH = ATTN_ADDITIVE_BIAS | ATTN_ADDITIVE_NORMALISED };
    attn_mechanism *m[6];
    MUST(attn_mechanism_create_scaled_dot(engine, &m[0]));
    MUST(attn_mechanism_create_general(engine, 30, 40, &m[1]));
    MUST(attn_mechanism_create_additive(engine, 1000, 2000, 1000, 0, &m[2])); /* Bahdanau 2014: RNNsearch */
    MUST(attn_mechanism_create_additive(engine, 30, 40, 50, BOTH, &m[3]));
    MUST(attn_mechanism_create_concat(engine, 30, 40, 50, &m[4]));
    MUST(attn_mechanism_create_location(engine, 30, 60, &m[5]));
    assert_total(p->rule.mechanism, 0); /* dot */
    assert_total(m[0], 0);
    assert_total(m[1], 30 * 40);
    assert_total(m[2], 1000 * (1000 + 2000 + 1));
    assert_total(m[3], 50 * (30 + 40 + 1) + 50 + 1);
    assert_total(m[4], 50 * (30 + 40 + 1));
    assert_total(m[5], 60 * 30);
    for (int i = 0; i < 6; i++) attn_mechanism_destroy(m[i]);
}

static void the_same_call_twice_gives_the_same_bits(struct pair *p)
{
    run_both(p);
    assert_same_bits(&p->a, &p->b, rows);
}

struct property {
    const char *name;
    void (*holds)(struct pair *p);
    unsigned kinds; /* those that it holds of, one bit each */
};

static void property_holds(void **state)
{
    const struct property *property = *state;
    for (int kind = 0; kind < RULE_KINDS; kind++) {
        struct pair p = {.kind = (enum rule_kind)kind};
        if (!(property->kinds >> kind & 1)) continue;
        fixture_create(&p.a, &usual, 1);
        fixture_create(&p.b, &usual, 1);
        rule_create(&p.rule, engine, p.kind, dim, dim);
        property->holds(&p);
        rule_destroy(&p.rule);
        rule_destroy(&p.other);
        fixture_destroy(&p.a);
        fixture_destroy(&p.b);
    }
}

#define PROPERTY(statement, kinds)                                                                                     \
    {                                                                                                                  \
#statement, statement, kinds                                                                                   \
    }

int main(void)
{
    enum { ANY = (1 << RULE_KINDS) - 1, ORDERLESS = ANY & ~(1 << RULE_LOCATION) };
    static struct property properties[] = {
        PROPERTY(weights_are_not_negative_and_sum_to_one, ANY),
        PROPERTY(context_lies_in_the_hull_of_the_values, ANY),
        PROPERTY(context_is_weights_times_values, ANY),
        PROPERTY(weights_are_exp_of_scores_less_logsumexp, ANY),
        PROPERTY(weights_are_the_last_stage_of_the_scores, ANY),
        PROPERTY(a_constant_per_query_moves_only_the_logsumexp, ANY),
        PROPERTY(order_of_the_keys_does_not_matter, ORDERLESS),
        PROPERTY(causal_ignores_future_nan, ANY),
        PROPERTY(what_is_invisible_changes_nothing, ANY),
        PROPERTY(a_visible_nan_reaches_the_output, ORDERLESS),
        PROPERTY(rows_that_see_nothing_are_zero, ANY),
        PROPERTY(bottom_right_lets_the_last_query_see_the_last_valid_key, ANY),
        PROPERTY(one_query_at_a_time_equals_the_whole_causal_pass, ANY),
        PROPERTY(causal_and_window_each_measure_from_their_own_align, ANY),
        PROPERTY(a_temperature_near_zero_equals_hardmax, ANY),
        PROPERTY(hardmax_takes_the_lowest_index_on_a_tie, ANY),
        PROPERTY(concat_is_additive_with_its_matrix_split, 1 << RULE_CONCAT),
        PROPERTY(general_with_the_identity_is_dot, 1 << RULE_GENERAL),
        PROPERTY(normalised_additive_with_g_the_norm_of_v_is_additive, 1 << RULE_ADDITIVE),
        PROPERTY(grouped_heads_equal_repeated_heads, ANY),
        PROPERTY(without_a_value_the_keys_are_the_values, ANY),
        PROPERTY(scaling_keeps_the_variance_of_the_scores_at_one, 1 << RULE_DOT | 1 << RULE_SCALED_DOT),
        PROPERTY(parameter_totals_are_the_textbooks, 1 << RULE_DOT),
        PROPERTY(the_same_call_twice_gives_the_same_bits, ANY),
    };
    enum { COUNT = sizeof properties / sizeof properties[0] };
    struct CMUnitTest tests[COUNT];
    for (int i = 0; i < COUNT; i++) {
        tests[i] = (struct CMUnitTest){properties[i].name, property_holds, NULL, NULL, &properties[i]};
    }
    return cmocka_run_group_tests_name("properties", tests, engine_setup, engine_teardown);
}
