/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test_precision.c: ATTN_PRECISION_FAST. What it rounds is known, hence how far a context may lie from the twin's; all
 * else is as exact as ever, bit for bit where the CPU has nothing faster, or the call is none that it is for.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "twin_scene.h"

/* Whether this engine's CPU multiplies numbers of a type as they are kept, as attn_engine_describe says. */
static bool multiplies(const char *type)
{
    char text[8192], exact[32];
    size_t bytes = sizeof text;
    MUST(attn_engine_describe(engine, text, &bytes));
    snprintf(exact, sizeof exact, "\"%s\":\"exact\"", type);
    const char *fast = strstr(text, "\"fast\":{");
    assert_non_null(fast);
    return strstr(fast, exact) == NULL;
}

static bool by_tiles(void)
{
    const char *way = getenv("ATTN_WAY");
    return way == NULL || strcmp(way, "blas") != 0;
}

struct call {
    struct array context, logsumexp;
};

static struct call attend(const struct scene *s, attn_precision precision, attn_dtype dtype)
{
    const struct twin_problem *t = &s->twin;
    const int64_t shape[4] = {t->batch, t->query_heads, t->queries, t->value_dim};
    struct call c;
    attn_forward_args args = s->args;
    array_create(&c.context, dtype, 4, shape, LAYOUT_PLAIN, NULL);
    array_create(&c.logsumexp, dtype_computed(s->dtype), 3, shape, LAYOUT_PLAIN, NULL);
    args.context = &c.context.tensor;
    args.logsumexp = &c.logsumexp.tensor;
    MUST(attn_mechanism_set_precision(s->mechanism, precision));
    MUST(attn_forward(s->mechanism, &args));
    return c;
}

static void call_destroy(struct call *c)
{
    array_destroy(&c->context);
    array_destroy(&c->logsumexp);
}

static bool same(const struct array *a, const struct array *b)
{
    return array_same_bits(a, b, 0, array_count(a));
}

/* A weight is off by 2^-8 of itself at most, and so is the sum that all are divided by. */
static void assert_rounded_weights(const struct scene *s, const struct array *context)
{
    const struct twin_problem *t = &s->twin;
    for (int64_t i = 0; i < array_count(context); i++) {
        const double spread = scene_spread(t, &s->want, i / t->value_dim, i % t->value_dim);
        const double bound = 1.01 * 0x1p-8 * spread + SCENE_FACTOR * 0x1p-23 * s->want.context_magnitude[i];
        const double got = array_get(context, i), want = s->want.context[i];
        if (!(fabs(got - want) <= bound)) {
            fail_msg("element %lld is %.9g, not %.9g: off by %g, but %g is the most", (long long)i, got, want,
                     got - want, bound);
        }
    }
}

static const unsigned modifier_sets[] = {0,
                                         HAS_CAUSAL,
                                         HAS_WINDOW | HAS_SCALE,
                                         HAS_MASK,
                                         HAS_BIAS,
                                         HAS_SOFTCAP | HAS_CAUSAL,
                                         HAS_ALIBI | HAS_CAUSAL,
                                         HAS_RELATIVE | HAS_LENGTHS,
                                         HAS_TEMPERATURE | HAS_MASK | HAS_LENGTHS,
                                         HAS_DROPOUT,
                                         HAS_LOCAL};
enum { MODIFIER_SETS = sizeof modifier_sets / sizeof modifier_sets[0] };

static const struct scene_shape shapes[] = {
    {1, 1, 1, 1, 1, 1},      {2, 4, 2, 1, 37, 16},  {1, 4, 1, 1, 1100, 65},  {1, 6, 2, 2, 67, 33},
    {1, 16, 1, 1, 300, 96},  {1, 2, 2, 17, 5, 7},   {2, 3, 1, 40, 131, 31},  {1, 2, 1, 70, 260, 80},
    {1, 1, 1, 150, 300, 17}, {1, 2, 2, 3, 40, 530}, {1, 1, 1, 20, 140, 600},
};
enum { SHAPES = sizeof shapes / sizeof shapes[0] };

/* Calls fast and exact; how many contexts differ. */
static int compare_precisions(enum twin_score score, attn_dtype dtype, unsigned layout, bool judged)
{
    int differ = 0;
    for (int shape = 0; shape < SHAPES; shape++) {
        for (int set = 0; set < MODIFIER_SETS; set++) {
            struct scene s = {.score = score,
                              .dtype = dtype,
                              .rng = {(uint64_t)(shape * MODIFIER_SETS + set + 1)},
                              .modifiers = modifier_sets[set],
                              .layout = layout,
                              .without_twin = !judged};
            if (few_cases() && (shape + set) % 3 != 0) continue;
            scene_create(&s, &shapes[shape]);
            const attn_dtype computed = dtype_computed(dtype);
            struct call fast = attend(&s, ATTN_PRECISION_FAST, computed);
            struct call exact = attend(&s, ATTN_PRECISION_EXACT, computed);
            differ += !same(&fast.context, &exact.context);
            if (judged) {
                assert_rounded_weights(&s, &fast.context);
                assert_close(&fast.logsumexp, s.want.logsumexp, s.want.logsumexp_magnitude, SCENE_FACTOR, "logsumexp");
            }
            call_destroy(&fast);
            call_destroy(&exact);
            scene_destroy(&s);
        }
    }
    return differ;
}

static void fast_rounds_weights_of_bfloat16_alone(void **state)
{
    (void)state;
    const int differ = compare_precisions(TWIN_SCALED_DOT, ATTN_BF16, LAYOUT_PLAIN, true);
    if (multiplies("bf16") && by_tiles()) {
        assert_true(differ > (few_cases() ? 10 : 50));
    } else {
        assert_int_equal(differ, 0);
    }
}

static void fast_takes_any_layout(void **state)
{
    (void)state;
    compare_precisions(TWIN_DOT, ATTN_BF16, LAYOUT_INPUT, true);
}

static void fast_is_exact_of_all_else(void **state)
{
    (void)state;
    assert_int_equal(compare_precisions(TWIN_SCALED_DOT, ATTN_F32, LAYOUT_PLAIN, false), 0);
    assert_int_equal(compare_precisions(TWIN_SCALED_DOT, ATTN_F16, LAYOUT_PLAIN, false), 0);
    assert_int_equal(compare_precisions(TWIN_SCALED_DOT, ATTN_F64, LAYOUT_PLAIN, false), 0);
    assert_int_equal(compare_precisions(TWIN_GENERAL, ATTN_BF16, LAYOUT_PLAIN, false), 0);
    assert_int_equal(compare_precisions(TWIN_ADDITIVE, ATTN_BF16, LAYOUT_PLAIN, false), 0);
    assert_int_equal(compare_precisions(TWIN_LOCATION, ATTN_BF16, LAYOUT_PLAIN, false), 0);
}

/* ------------------------------------------------------------------------------------------------ integers */

enum { HQ = 4, HK = 2, KEYS = 700 };

/* A query over integers of the caller's: the query is off by 2^-16 of its greatest element, and a weight by 2^-16 of
 * the greatest that is added up with it. */
static void check_integers(int64_t queries, int64_t dim, int64_t value_dim, bool negative)
{
    struct rng rng = {(uint64_t)(queries * 1000 + dim)};
    const int64_t q[4] = {1, HQ, queries, dim}, k[4] = {1, HK, KEYS, dim}, v[4] = {1, HK, KEYS, value_dim};
    const int64_t c[4] = {1, HQ, queries, value_dim};
    struct array query, key, value, key_scales, value_scales, context[2];
    attn_forward_args args = ATTN_FORWARD_ARGS_INIT;
    attn_mechanism *mechanism = NULL;
    double worst = 0;
    MUST(attn_mechanism_create_scaled_dot(engine, &mechanism));
    array_create(&query, ATTN_F32, 4, q, LAYOUT_PLAIN, NULL);
    array_create(&key, ATTN_I8, 4, k, LAYOUT_PLAIN, NULL);
    array_create(&value, ATTN_I8, 4, v, LAYOUT_PLAIN, NULL);
    array_create(&key_scales, ATTN_F32, 3, k, LAYOUT_PLAIN, NULL);
    array_create(&value_scales, ATTN_F32, 3, v, LAYOUT_PLAIN, NULL);
    array_fill_normal(&query, &rng, 1.0);
    for (int64_t i = 0; i < array_count(&key); i++) array_set(&key, i, (double)rng_integer(&rng, -128, 127));
    for (int64_t i = 0; i < array_count(&value); i++) array_set(&value, i, (double)rng_integer(&rng, -128, 127));
    for (int64_t i = 0; i < HK * KEYS; i++) array_set(&key_scales, i, rng_uniform(&rng, 0.005, 0.05));
    for (int64_t i = 0; i < HK * KEYS; i++) {
        array_set(&value_scales, i, rng_uniform(&rng, negative ? -0.02 : 0.0, 0.02));
    }
    args.query = &query.tensor, args.key = &key.tensor, args.value = &value.tensor;
    args.key_scales = &key_scales.tensor, args.value_scales = &value_scales.tensor;
    for (int p = 0; p < 2; p++) {
        array_create(&context[p], ATTN_F32, 4, c, LAYOUT_PLAIN, NULL);
        args.context = &context[p].tensor;
        MUST(attn_mechanism_set_precision(mechanism, p == 0 ? ATTN_PRECISION_EXACT : ATTN_PRECISION_FAST));
        MUST(attn_forward(mechanism, &args));
    }
    for (int64_t i = 0; i < array_count(&context[0]); i++) {
        worst = fmax(worst, fabs(array_get(&context[0], i) - array_get(&context[1], i)));
    }
    /* Keys are at most 128 x 0.05, queries 5: a score is off by 128 x 0.05 x 5 x 2^-16 sqrt(dim) or less, and a context
     * by twice that of the values, which are at most 128 x 0.02. */
    const double bound = 2 * (128 * 0.05 * 5 * sqrt((double)dim) + KEYS / 8) * 0x1p-16 * 128 * 0.02;
    if (!(worst <= bound)) fail_msg("off by %g, but %g is the most", worst, bound);
    const bool fast = multiplies("i8") && by_tiles() && HQ / HK * queries <= 8;
    assert_int_equal(same(&context[0], &context[1]), !fast);
    for (int p = 0; p < 2; p++) array_destroy(&context[p]);
    array_destroy(&query);
    array_destroy(&key);
    array_destroy(&value);
    array_destroy(&key_scales);
    array_destroy(&value_scales);
    attn_mechanism_destroy(mechanism);
}

static void integers_are_multiplied_as_they_are(void **state)
{
    (void)state;
    check_integers(1, 128, 128, false);
    check_integers(1, 64, 33, true);
    check_integers(3, 17, 80, false);
    check_integers(4, 700, 600, true);
    check_integers(40, 64, 64, false);
}

/* What no integer stands for: the context is as it is when exact. */
static void integers_take_what_has_none(void **state)
{
    (void)state;
    enum { DIM = 40, MANY = 300 };
    static const double queries[] = {0, 1e-37, 1e37, HUGE_VAL, NAN}, scales[] = {1, -1, 0, 1e-38, 1e30, NAN};
    const int64_t q[4] = {1, 1, 1, DIM}, k[4] = {1, 1, MANY, DIM};
    for (size_t i = 0; i < sizeof queries / sizeof queries[0]; i++) {
        for (size_t j = 0; j < sizeof scales / sizeof scales[0]; j++) {
            struct rng rng = {i * 10 + j};
            struct array query, key, key_scales, value_scales, context[2];
            attn_forward_args args = ATTN_FORWARD_ARGS_INIT;
            attn_mechanism *mechanism = NULL;
            MUST(attn_mechanism_create_scaled_dot(engine, &mechanism));
            array_create(&query, ATTN_F32, 4, q, LAYOUT_PLAIN, NULL);
            array_create(&key, ATTN_I8, 4, k, LAYOUT_PLAIN, NULL);
            array_create(&key_scales, ATTN_F32, 3, k, LAYOUT_PLAIN, NULL);
            array_create(&value_scales, ATTN_F32, 3, k, LAYOUT_PLAIN, NULL);
            array_fill(&query, 0.5);
            array_set(&query, 3, queries[i]);
            for (int64_t x = 0; x < array_count(&key); x++) array_set(&key, x, (double)rng_integer(&rng, -127, 127));
            array_fill(&key_scales, 0.01);
            array_fill(&value_scales, 0.01);
            array_set(&value_scales, 7, scales[j]);
            args.query = &query.tensor, args.key = args.value = &key.tensor;
            args.key_scales = &key_scales.tensor, args.value_scales = &value_scales.tensor;
            for (int p = 0; p < 2; p++) {
                array_create(&context[p], ATTN_F32, 4, q, LAYOUT_PLAIN, NULL);
                args.context = &context[p].tensor;
                MUST(attn_mechanism_set_precision(mechanism, p == 0 ? ATTN_PRECISION_EXACT : ATTN_PRECISION_FAST));
                MUST(attn_forward(mechanism, &args));
            }
            for (int64_t d = 0; d < DIM; d++) {
                const double exact = array_get(&context[0], d), fast = array_get(&context[1], d);
                const double off = fabs(exact - fast), most = 1e-2 * fmax(fabs(exact), 1);
                if (isnan(exact) != isnan(fast) || isinf(exact) != isinf(fast) || (isfinite(exact) && !(off <= most))) {
                    fail_msg("query %g, scale %g: %g, not %g", queries[i], scales[j], fast, exact);
                }
            }
            for (int p = 0; p < 2; p++) array_destroy(&context[p]);
            array_destroy(&query);
            array_destroy(&key);
            array_destroy(&key_scales);
            array_destroy(&value_scales);
            attn_mechanism_destroy(mechanism);
        }
    }
}

/* ------------------------------------------------------------------------------------------------ promises */

/* Of bfloat16 and any numbers, whose results the twin is not asked for. */
static struct scene plain_scene(enum twin_score score, int shape)
{
    return (struct scene){
        .score = score, .dtype = ATTN_BF16, .rng = {(uint64_t)shape + 1}, .layout = LAYOUT_PLAIN, .without_twin = true};
}

/* Values that nobody sees change no bit, whatever they are. */
static void what_is_hidden_changes_no_bit(void **state)
{
    (void)state;
    static const double poisons[] = {NAN, HUGE_VAL};
    for (int shape = 0; shape < SHAPES; shape++) {
        for (int p = 0; p < 2; p++) {
            struct scene s = plain_scene(TWIN_SCALED_DOT, shape);
            if (shapes[shape].keys < 5) continue;
            scene_create(&s, &shapes[shape]);
            const int64_t n[4] = {1, 1, 1, s.twin.keys};
            struct array mask;
            array_create(&mask, ATTN_BOOL, 4, n, LAYOUT_PLAIN, NULL);
            array_fill(&mask, 1);
            array_set(&mask, 3, 0);
            s.args.mask = &mask.tensor;
            struct call clean = attend(&s, ATTN_PRECISION_FAST, ATTN_F32);
            struct array *values = s.twin.value ? &s.value : &s.key;
            array_set(values, 3 * s.twin.value_dim, poisons[p]);
            struct call poisoned = attend(&s, ATTN_PRECISION_FAST, ATTN_F32);
            assert_true(same(&clean.context, &poisoned.context));
            assert_true(same(&clean.logsumexp, &poisoned.logsumexp));
            call_destroy(&clean);
            call_destroy(&poisoned);
            array_destroy(&mask);
            scene_destroy(&s);
        }
    }
}

/* Nobody has to want a context. */
static void fast_takes_no_context(void **state)
{
    (void)state;
    for (int shape = 0; shape < SHAPES; shape++) {
        for (int set = 0; set < MODIFIER_SETS; set++) {
            struct scene s = {.score = TWIN_SCALED_DOT,
                              .dtype = ATTN_BF16,
                              .rng = {(uint64_t)(shape * MODIFIER_SETS + set + 1)},
                              .modifiers = modifier_sets[set],
                              .layout = LAYOUT_PLAIN};
            struct array alone;
            if (few_cases() && (shape + set) % 3 != 0) continue;
            scene_create(&s, &shapes[shape]);
            const int64_t rows[3] = {s.twin.batch, s.twin.query_heads, s.twin.queries};
            array_create(&alone, ATTN_F32, 3, rows, LAYOUT_PLAIN, NULL);
            s.args.logsumexp = &alone.tensor;
            MUST(attn_mechanism_set_precision(s.mechanism, ATTN_PRECISION_FAST));
            MUST(attn_forward(s.mechanism, &s.args));
            assert_close(&alone, s.want.logsumexp, s.want.logsumexp_magnitude, SCENE_FACTOR, "logsumexp");
            array_destroy(&alone);
            scene_destroy(&s);
        }
    }
}

/* And what is seen is told. */
static void what_is_seen_is_told(void **state)
{
    (void)state;
    for (int shape = 0; shape < SHAPES; shape++) {
        struct scene s = plain_scene(TWIN_SCALED_DOT, shape);
        scene_create(&s, &shapes[shape]);
        array_set(s.twin.value ? &s.value : &s.key, 0, NAN);
        struct call fast = attend(&s, ATTN_PRECISION_FAST, ATTN_F32);
        assert_true(isnan(array_get(&fast.context, 0)));
        call_destroy(&fast);
        scene_destroy(&s);
    }
}

/* Scores that are infinite as exponents, and values whose sum is no float. */
static void fast_holds_great_numbers(void **state)
{
    (void)state;
    for (int shape = 0; shape < SHAPES; shape++) {
        struct scene s = plain_scene(TWIN_DOT, shape);
        scene_create(&s, &shapes[shape]);
        struct array *value = &s.value;
        if (s.twin.value == NULL) {
            scene_destroy(&s);
            continue;
        }
        for (int64_t i = 0; i < array_count(&s.query); i++) array_set(&s.query, i, array_get(&s.query, i) * 1e18);
        for (int64_t i = 0; i < array_count(value); i++) array_set(value, i, array_get(value, i) < 0 ? 2e38 : 3e38);
        struct call fast = attend(&s, ATTN_PRECISION_FAST, ATTN_F32);
        for (int64_t i = 0; i < array_count(&fast.context); i++) {
            const double got = array_get(&fast.context, i);
            if (!(got >= 1.99e38 && got <= 3.01e38)) fail_msg("shape %d: element %lld is %g", shape, (long long)i, got);
        }
        call_destroy(&fast);
        scene_destroy(&s);
    }
}

static void fast_depends_on_no_threads_and_no_plan(void **state)
{
    (void)state;
    for (int shape = 0; shape < SHAPES; shape++) {
        struct scene s = plain_scene(TWIN_SCALED_DOT, shape);
        struct array context[3];
        scene_create(&s, &shapes[shape]);
        const int64_t n[4] = {s.twin.batch, s.twin.query_heads, s.twin.queries, s.twin.value_dim};
        for (int i = 0; i < 3; i++) {
            attn_engine_options options = ATTN_ENGINE_OPTIONS_INIT;
            attn_engine *own = NULL;
            attn_mechanism *m = NULL;
            attn_plan *plan = NULL;
            options.threads = i == 0 ? 1 : 3;
            MUST(attn_engine_create(&options, &own));
            MUST(attn_mechanism_create_scaled_dot(own, &m));
            MUST(attn_mechanism_set_precision(m, ATTN_PRECISION_FAST));
            array_create(&context[i], ATTN_BF16, 4, n, LAYOUT_PLAIN, NULL);
            s.args.context = &context[i].tensor;
            if (i < 2) {
                MUST(attn_forward(m, &s.args));
            } else {
                MUST(attn_plan_create(m, &s.args, &plan));
                MUST(attn_plan_run(plan, NULL));
                attn_plan_destroy(plan);
            }
            assert_true(same(&context[0], &context[i]));
            attn_mechanism_destroy(m);
            attn_engine_destroy(own);
        }
        for (int i = 0; i < 3; i++) array_destroy(&context[i]);
        scene_destroy(&s);
    }
}

/* A plan that was made before notices that its mechanism's precision is another. */
static void a_plan_follows_its_mechanism(void **state)
{
    (void)state;
    struct scene s = {.score = TWIN_SCALED_DOT, .dtype = ATTN_BF16, .rng = {5}, .layout = LAYOUT_PLAIN};
    attn_plan *plan = NULL;
    s.without_twin = true;
    scene_create(&s, &shapes[SHAPES - 5]);
    struct call exact = attend(&s, ATTN_PRECISION_EXACT, ATTN_F32), fast = attend(&s, ATTN_PRECISION_FAST, ATTN_F32);
    struct call planned = attend(&s, ATTN_PRECISION_EXACT, ATTN_F32);
    s.args.context = &planned.context.tensor;
    MUST(attn_plan_create(s.mechanism, &s.args, &plan));
    MUST(attn_plan_run(plan, NULL));
    assert_true(same(&planned.context, &exact.context));
    MUST(attn_mechanism_set_precision(s.mechanism, ATTN_PRECISION_FAST));
    MUST(attn_plan_run(plan, NULL));
    assert_true(same(&planned.context, &fast.context));
    attn_plan_destroy(plan);
    call_destroy(&exact);
    call_destroy(&fast);
    call_destroy(&planned);
    scene_destroy(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fast_rounds_weights_of_bfloat16_alone),
        cmocka_unit_test(fast_takes_any_layout),
        cmocka_unit_test(fast_is_exact_of_all_else),
        cmocka_unit_test(integers_are_multiplied_as_they_are),
        cmocka_unit_test(integers_take_what_has_none),
        cmocka_unit_test(what_is_hidden_changes_no_bit),
        cmocka_unit_test(fast_takes_no_context),
        cmocka_unit_test(what_is_seen_is_told),
        cmocka_unit_test(fast_holds_great_numbers),
        cmocka_unit_test(fast_depends_on_no_threads_and_no_plan),
        cmocka_unit_test(a_plan_follows_its_mechanism),
    };
    return cmocka_run_group_tests(tests, engine_setup, engine_teardown);
}
