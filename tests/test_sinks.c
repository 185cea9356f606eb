/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test_sinks.c: sinks beside what they are equal to: a key more, whose score is the sink and whose value is 0; and
 * where they stand at the ends: of no keys, of great and infinite logits, of layers, memories and plans.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support.h"

enum { B = 2, HQ = 4, HK = 2, DIM = 24, DV = 20 };

/* One call with sinks, or with a key more in front of the others in their place. */
struct call {
    attn_mechanism *mechanism;
    struct array query, key, value, bias, sinks, context, logsumexp, weights;
    struct array d_context, d_logsumexp, d_query, d_key, d_value, d_sinks, d_bias;
    attn_forward_args args;
    attn_backward_args back;
};

struct shape {
    int64_t queries, keys;
    double temperature, sink; /* which all heads' sinks are near */
};

static void create(struct array *a, attn_dtype dtype, int32_t n, int64_t s0, int64_t s1, int64_t s2, int64_t s3)
{
    const int64_t shape[4] = {s0, s1, s2, s3};
    array_create(a, dtype, n, n == 1 ? &shape[3] : shape, LAYOUT_PLAIN, NULL);
}

/* Numbers that every float type holds, the same for each. */
static void fill(struct array *a, uint64_t seed)
{
    struct rng rng = {seed};
    for (int64_t i = 0; i < array_count(a); i++) array_set(a, i, (double)rng_integer(&rng, -32, 32) / 32);
}

/* `more`: a key more, the first, which all see. */
static void call_create(struct call *c, attn_engine *of, attn_dtype dtype, const struct shape *n, bool more)
{
    const int64_t keys = n->keys + more;
    struct array key, value;
    memset(c, 0, sizeof *c);
    MUST(attn_mechanism_create_scaled_dot(of, &c->mechanism));
    MUST(attn_mechanism_set_temperature(c->mechanism, n->temperature));
    create(&c->query, dtype, 4, B, HQ, n->queries, DIM);
    create(&c->key, dtype, 4, B, HK, keys, DIM);
    create(&c->value, dtype, 4, B, HK, keys, DV);
    create(&key, dtype, 4, B, HK, n->keys, DIM);
    create(&value, dtype, 4, B, HK, n->keys, DV);
    create(&c->sinks, dtype, 1, 0, 0, 0, HQ);
    create(&c->context, dtype, 4, B, HQ, n->queries, DV);
    create(&c->logsumexp, dtype_computed(dtype), 3, B, HQ, n->queries, 0);
    fill(&c->query, 1);
    fill(&key, 2);
    fill(&value, 3);
    for (int64_t h = 0; h < HQ; h++) array_set(&c->sinks, h, n->sink + (double)h / 4);
    for (int64_t row = 0; row < (int64_t)B * HK * keys; row++) {
        const int64_t head = row / keys, j = row % keys - more;
        for (int64_t d = 0; d < DIM; d++) {
            array_set(&c->key, row * DIM + d, j < 0 ? 0 : array_get(&key, (head * n->keys + j) * DIM + d));
        }
        for (int64_t d = 0; d < DV; d++) {
            array_set(&c->value, row * DV + d, j < 0 ? 0 : array_get(&value, (head * n->keys + j) * DV + d));
        }
    }
    array_destroy(&key);
    array_destroy(&value);
    c->args = (attn_forward_args)ATTN_FORWARD_ARGS_INIT;
    c->args.query = &c->query.tensor, c->args.key = &c->key.tensor, c->args.value = &c->value.tensor;
    c->args.context = &c->context.tensor, c->args.logsumexp = &c->logsumexp.tensor;
    if (more) {
        create(&c->bias, dtype, 4, 1, HQ, 1, keys);
        for (int64_t i = 0; i < HQ * keys; i++) {
            array_set(&c->bias, i, i % keys == 0 ? array_get(&c->sinks, i / keys) : 0);
        }
        c->args.bias = &c->bias.tensor;
    } else {
        MUST(attn_mechanism_set_sinks(c->mechanism, &c->sinks.tensor));
    }
}

static void call_forward(struct call *c)
{
    MUST(attn_forward(c->mechanism, &c->args));
}

static void call_backward(struct call *c, attn_dtype dtype, const struct shape *n, bool more)
{
    const int64_t keys = n->keys + more;
    create(&c->d_context, dtype, 4, B, HQ, n->queries, DV);
    create(&c->d_logsumexp, dtype_computed(dtype), 3, B, HQ, n->queries, 0);
    create(&c->d_query, dtype, 4, B, HQ, n->queries, DIM);
    create(&c->d_key, dtype, 4, B, HK, keys, DIM);
    create(&c->d_value, dtype, 4, B, HK, keys, DV);
    create(&c->d_sinks, dtype_computed(dtype), 1, 0, 0, 0, HQ);
    fill(&c->d_context, 4);
    fill(&c->d_logsumexp, 5);
    c->back = (attn_backward_args)ATTN_BACKWARD_ARGS_INIT;
    c->back.forward = &c->args;
    c->back.d_context = &c->d_context.tensor, c->back.d_logsumexp = &c->d_logsumexp.tensor;
    c->back.d_query = &c->d_query.tensor, c->back.d_key = &c->d_key.tensor, c->back.d_value = &c->d_value.tensor;
    if (more) {
        create(&c->d_bias, dtype, 4, 1, HQ, 1, keys);
        c->back.d_bias = &c->d_bias.tensor;
    } else {
        c->back.d_sinks = &c->d_sinks.tensor;
    }
    MUST(attn_backward(c->mechanism, &c->back));
}

static void call_destroy(struct call *c)
{
    struct array *all[] = {&c->query,   &c->key,       &c->value,   &c->bias,      &c->sinks,
                           &c->context, &c->logsumexp, &c->weights, &c->d_context, &c->d_logsumexp,
                           &c->d_query, &c->d_key,     &c->d_value, &c->d_sinks,   &c->d_bias};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) array_destroy(all[i]);
    attn_mechanism_destroy(c->mechanism);
}

static void assert_number(double got, double want, double most, const char *what, int64_t at)
{
    if (!(fabs(got - want) <= most)) fail_msg("%s: element %lld is %.9g, not %.9g", what, (long long)at, got, want);
}

/* Elements of a, and of b without the key more; `most`: that may be off, in units of 1 + the magnitude. */
static void assert_rows(const struct array *a, const struct array *b, int64_t keys, int64_t width, double most,
                        const char *what)
{
    for (int64_t i = 0; i < array_count(a); i++) {
        const int64_t row = i / width,
                      at = keys == 0 ? i : (row / keys * (keys + 1) + row % keys + 1) * width + i % width;
        const double want = array_get(b, at);
        assert_number(array_get(a, i), want, most * (1 + fabs(want)), what, i);
    }
}

static const struct shape shapes[] = {
    {1, 37, 1, 0.5}, {3, 700, 1, 2},  {70, 150, 0.5, 1}, {5, 9, 2, -1.5},
    {1, 2500, 1, 6}, {2, 40, 1, 100}, {20, 40, 1, -100},
};
enum { SHAPES = sizeof shapes / sizeof *shapes };
static const attn_dtype dtypes[] = {ATTN_F64, ATTN_F32, ATTN_F16, ATTN_BF16};
static const double steps[] = {0x1p-46, 0x1p-17, 0x1p-8, 0x1p-5}; /* that results may be off by */

static void a_sink_is_a_key_more(void **state)
{
    (void)state;
    for (int i = 0; i < 4 * SHAPES; i++) {
        const struct shape *n = &shapes[i / 4];
        struct call with, more;
        call_create(&with, engine, dtypes[i % 4], n, false);
        call_create(&more, engine, dtypes[i % 4], n, true);
        call_forward(&with);
        call_forward(&more);
        assert_rows(&with.context, &more.context, 0, 1, steps[i % 4], "context");
        assert_rows(&with.logsumexp, &more.logsumexp, 0, 1, i % 4 == 0 ? 0x1p-46 : 0x1p-19, "logsumexp");
        call_backward(&with, dtypes[i % 4], n, false);
        call_backward(&more, dtypes[i % 4], n, true);
        const double most = 16 * steps[i % 4];
        assert_rows(&with.d_query, &more.d_query, 0, 1, most, "d_query");
        assert_rows(&with.d_key, &more.d_key, n->keys, DIM, most, "d_key");
        assert_rows(&with.d_value, &more.d_value, n->keys, DV, most, "d_value");
        for (int64_t h = 0; h < HQ; h++) {
            const double want = array_get(&more.d_bias, h * (n->keys + 1));
            assert_number(array_get(&with.d_sinks, h), want, most * (double)n->queries * (1 + fabs(want)), "d_sinks",
                          h);
        }
        call_destroy(&with);
        call_destroy(&more);
    }
}

/* The gradient alone, added to what is there; and where there are no keys. */
static void d_sinks_can_be_had_alone(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        const struct shape n = {6, i % 2 == 0 ? 30 : 0, 1, 0.25};
        struct call c;
        double once[HQ];
        call_create(&c, engine, i < 2 ? ATTN_F32 : ATTN_BF16, &n, false);
        call_forward(&c);
        call_backward(&c, i < 2 ? ATTN_F32 : ATTN_BF16, &n, false);
        for (int64_t h = 0; h < HQ; h++) once[h] = array_get(&c.d_sinks, h);
        c.back.d_query = c.back.d_key = c.back.d_value = NULL;
        c.back.accumulate = 1;
        MUST(attn_backward(c.mechanism, &c.back));
        for (int64_t h = 0; h < HQ; h++) {
            double all = 0; /* without keys, all of a query is its sink */
            for (int64_t r = 0; r < (int64_t)B * HQ * n.queries; r++) {
                if (r / n.queries % HQ == h) all += array_get(&c.d_logsumexp, r);
            }
            assert_number(array_get(&c.d_sinks, h), 2 * once[h], 1e-5 * (1 + fabs(once[h])), "twice", h);
            if (n.keys == 0) assert_number(once[h], all, 1e-5 * (1 + fabs(all)), "of no keys", h);
        }
        call_destroy(&c);
    }
}

/* A query that sees no key, and logits at the ends: whatever is finite stays so. */
static void ends_are_kept(void **state)
{
    (void)state;
    static const double sinks[] = {0, 100, -100, 1e4, -1e4, 1e38, -1e38, HUGE_VAL, -HUGE_VAL, NAN};
    for (size_t i = 0; i < sizeof sinks / sizeof *sinks; i++) {
        for (int k = 0; k < 6; k++) {
            const struct shape n = {k % 2 == 0 ? 2 : 40, k / 2 == 0 ? 0 : k / 2 == 1 ? 20 : 1300, 1, 0};
            struct call c;
            call_create(&c, engine, ATTN_F32, &n, false);
            for (int64_t h = 0; h < HQ; h++) array_set(&c.sinks, h, sinks[i]);
            call_forward(&c);
            for (int64_t r = 0; r < array_count(&c.logsumexp); r++) {
                const double lse = array_get(&c.logsumexp, r), context = array_get(&c.context, r * DV);
                if (isnan(sinks[i])) {
                    assert_true(isnan(lse));
                    if (n.keys > 0) assert_true(isnan(context));
                    continue;
                }
                assert_true(isfinite(context));
                if (n.keys == 0 || sinks[i] >= 100) {
                    if (isinf(sinks[i])) assert_true(lse == sinks[i]);
                    if (!isinf(sinks[i])) assert_number(lse, sinks[i], 1e-6 * fabs(sinks[i]), "logsumexp", r);
                    assert_number(context, 0, 1e-20, "context", r);
                } else {
                    assert_true(lse > 0 && lse < 10);
                }
            }
            call_destroy(&c);
        }
    }
}

/* Weights add up to less than 1 by what the sink has; sums by key are of these; the entropy is the keys' own. */
static void weights_and_stats_have_their_part(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        const struct shape n = {i % 2 == 0 ? 3 : 30, 90, 1, 2};
        const int64_t rows = B * HQ * n.queries, sums[3] = {B, HQ, n.keys}, entropies[3] = {B, HQ, n.queries};
        struct call c, without;
        struct array key_sums, entropy, plain;
        attn_weights_stats stats = ATTN_WEIGHTS_STATS_INIT, own = ATTN_WEIGHTS_STATS_INIT;
        const attn_dtype dtype = i < 2 ? ATTN_F32 : ATTN_F64;
        call_create(&c, engine, dtype, &n, false);
        call_create(&without, engine, dtype, &n, false);
        MUST(attn_mechanism_set_sinks(without.mechanism, NULL));
        create(&c.weights, dtype, 4, B, HQ, n.queries, n.keys);
        array_create(&key_sums, dtype, 3, sums, LAYOUT_PLAIN, NULL);
        array_create(&entropy, dtype, 3, entropies, LAYOUT_PLAIN, NULL);
        array_create(&plain, dtype, 3, entropies, LAYOUT_PLAIN, NULL);
        stats.key_sums = &key_sums.tensor, stats.entropy = &entropy.tensor, own.entropy = &plain.tensor;
        c.args.weights = &c.weights.tensor;
        call_forward(&c);
        c.args.weights = NULL;
        c.args.stats = &stats;
        call_forward(&c);
        without.args.stats = &own;
        call_forward(&without);
        for (int64_t r = 0; r < rows; r++) {
            double sum = 0;
            for (int64_t j = 0; j < n.keys; j++) sum += array_get(&c.weights, r * n.keys + j);
            const double sink = exp(array_get(&c.sinks, r / n.queries % HQ) - array_get(&c.logsumexp, r));
            assert_number(sum + sink, 1, 1e-5, "weights", r);
            assert_number(array_get(&entropy, r), array_get(&plain, r), 1e-5, "entropy", r);
        }
        for (int64_t s = 0; s < B * HQ * n.keys; s++) {
            double sum = 0;
            for (int64_t q = 0; q < n.queries; q++) {
                sum += array_get(&c.weights, (s / n.keys * n.queries + q) * n.keys + s % n.keys);
            }
            assert_number(array_get(&key_sums, s), sum, 1e-5, "key_sums", s);
        }
        array_destroy(&key_sums);
        array_destroy(&entropy);
        array_destroy(&plain);
        call_destroy(&c);
        call_destroy(&without);
    }
}

/* Fast precision has them as well, planned calls follow them, and no bit depends on threads. */
static void all_ways_to_call_have_them(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        const struct shape n = {i % 2 == 0 ? 2 : 40, 1200, 1, 1};
        double *contexts[2], *sums[2];
        for (int k = 0; k < 2; k++) {
            attn_engine_options options = ATTN_ENGINE_OPTIONS_INIT;
            attn_engine *own = NULL;
            attn_plan *plan = NULL;
            struct call c;
            options.threads = 1 + 2 * k;
            MUST(attn_engine_create(&options, &own));
            call_create(&c, own, ATTN_BF16, &n, false);
            if (i >= 2) MUST(attn_mechanism_set_precision(c.mechanism, ATTN_PRECISION_FAST));
            MUST(attn_plan_create(c.mechanism, &c.args, &plan));
            MUST(attn_plan_run(plan, NULL));
            contexts[k] = array_read(&c.context);
            sums[k] = array_read(&c.logsumexp);
            array_set(&c.sinks, 0, 50); /* they are read anew */
            MUST(attn_plan_run(plan, NULL));
            assert_number(array_get(&c.logsumexp, 0), 50, 1e-5, "changed", 0);
            MUST(attn_mechanism_set_sinks(c.mechanism, NULL)); /* and so is whether there are any */
            MUST(attn_plan_run(plan, NULL));
            assert_true(array_get(&c.logsumexp, 0) < sums[k][0]);
            attn_plan_destroy(plan);
            attn_engine_destroy(own);
            call_destroy(&c);
        }
        assert_memory_equal(contexts[0], contexts[1], (size_t)(B * HQ * n.queries * DV) * sizeof(double));
        assert_memory_equal(sums[0], sums[1], (size_t)(B * HQ * n.queries) * sizeof(double));
        for (int k = 0; k < 2; k++) {
            free(contexts[k]);
            free(sums[k]);
        }
    }
}

/* Scores of 2^24 and somewhat more, and a sink among them: exponents so great that what is beside them is in no digit.
 */
static void great_scores_have_their_sink_beside_them(void **state)
{
    (void)state;
    enum { KEYS = 3 };
    static const double scores[KEYS] = {0x1p12, 0x1p12 + 1, 0x1p12 + 2}, sink = 0x1p12 + 1;
    for (int queries = 1; queries <= 30; queries += 29) {
        const int64_t q[4] = {1, 1, queries, 1}, k[4] = {1, 1, KEYS, 1};
        struct array query, key, value, sinks, context, logsumexp, d_context, d_query, d_value, d_sinks;
        attn_mechanism *m = NULL;
        attn_forward_args args = ATTN_FORWARD_ARGS_INIT;
        attn_backward_args back = ATTN_BACKWARD_ARGS_INIT;
        struct array *const of_queries[] = {&query, &context, &d_context, &d_query};
        struct array *const of_keys[] = {&key, &value, &d_value};
        for (int i = 0; i < 4; i++) array_create(of_queries[i], ATTN_F32, 4, q, LAYOUT_PLAIN, NULL);
        for (int i = 0; i < 3; i++) array_create(of_keys[i], ATTN_F32, 4, k, LAYOUT_PLAIN, NULL);
        array_create(&logsumexp, ATTN_F64, 3, q, LAYOUT_PLAIN, NULL);
        array_create(&sinks, ATTN_F32, 1, q, LAYOUT_PLAIN, NULL);
        array_create(&d_sinks, ATTN_F32, 1, q, LAYOUT_PLAIN, NULL);
        array_fill(&query, 1);
        array_fill(&d_context, 1);
        array_set(&sinks, 0, sink);
        double sum = 1, mean = 0; /* relative to the sink */
        for (int j = 0; j < KEYS; j++) {
            array_set(&key, j, scores[j]);
            array_set(&value, j, j + 1);
            sum += exp(scores[j] - sink);
            mean += (j + 1) * exp(scores[j] - sink);
        }
        MUST(attn_mechanism_create_dot(engine, &m));
        MUST(attn_mechanism_set_sinks(m, &sinks.tensor));
        args.query = &query.tensor, args.key = &key.tensor, args.value = &value.tensor;
        args.context = &context.tensor, args.logsumexp = &logsumexp.tensor;
        MUST(attn_forward(m, &args));
        back.forward = &args, back.d_context = &d_context.tensor, back.d_query = &d_query.tensor;
        back.d_value = &d_value.tensor, back.d_sinks = &d_sinks.tensor;
        MUST(attn_backward(m, &back));
        assert_number(array_get(&context, 0), mean / sum, 1e-3, "context", 0);
        assert_number(array_get(&logsumexp, 0) - sink, log(sum), 1e-3, "logsumexp", 0);
        for (int j = 0; j < KEYS; j++) {
            assert_number(array_get(&d_value, j), queries * exp(scores[j] - sink) / sum, 1e-3 * queries, "d_value", j);
        }
        assert_number(array_get(&d_sinks, 0), -queries / sum * mean / sum, 1e-3 * queries, "d_sinks", 0);
        for (int i = 0; i < 4; i++) array_destroy(of_queries[i]);
        for (int i = 0; i < 3; i++) array_destroy(of_keys[i]);
        array_destroy(&logsumexp);
        array_destroy(&sinks);
        array_destroy(&d_sinks);
        attn_mechanism_destroy(m);
    }
}

/* A program that was compiled before there were any has shorter structs, and gets all else. */
static void older_programs_go_backward(void **state)
{
    (void)state;
    const struct shape n = {6, 30, 1, 0.25};
    struct call c;
    call_create(&c, engine, ATTN_F32, &n, false);
    call_forward(&c);
    call_backward(&c, ATTN_F32, &n, false);
    double *d_query = array_read(&c.d_query), was = array_get(&c.d_sinks, 0);
    array_fill(&c.d_query, 0);
    array_set(&c.d_sinks, 0, 12345);
    c.back.struct_size = (uint32_t)offsetof(attn_backward_args, d_sinks);
    MUST(attn_backward(c.mechanism, &c.back));
    for (int64_t i = 0; i < array_count(&c.d_query); i++) assert_true(array_get(&c.d_query, i) == d_query[i]);
    assert_true(array_get(&c.d_sinks, 0) == 12345 &&
                was != 12345); /* it lies past the end of what such a program has */
    c.back.struct_size--;
    assert_int_equal(attn_backward(c.mechanism, &c.back), ATTN_ERR_STRUCT_SIZE);
    free(d_query);
    call_destroy(&c);
}

static void what_does_not_suit_is_refused(void **state)
{
    (void)state;
    const struct shape n = {2, 5, 1, 0};
    const int64_t three = HQ - 1, two[2] = {HQ, 1};
    struct call c;
    struct array wrong, whole, flat;
    call_create(&c, engine, ATTN_F32, &n, false);
    array_create(&wrong, ATTN_F32, 1, &three, LAYOUT_PLAIN, NULL);
    array_create(&whole, ATTN_I32, 1, &(int64_t){HQ}, LAYOUT_PLAIN, NULL);
    array_create(&flat, ATTN_F32, 2, two, LAYOUT_PLAIN, NULL);
    assert_int_equal(attn_mechanism_set_sinks(NULL, NULL), ATTN_ERR_ARGUMENT);
    assert_int_equal(attn_mechanism_set_sinks(c.mechanism, &whole.tensor), ATTN_ERR_DTYPE);
    assert_int_equal(attn_mechanism_set_sinks(c.mechanism, &flat.tensor), ATTN_ERR_SHAPE);
    call_forward(&c); /* what was refused changed nothing */
    MUST(attn_mechanism_set_normaliser(c.mechanism, ATTN_HARDMAX));
    assert_int_equal(attn_forward(c.mechanism, &c.args), ATTN_ERR_UNSUPPORTED);
    assert_non_null(strstr(attn_last_error(), "sinks"));
    MUST(attn_mechanism_set_normaliser(c.mechanism, ATTN_SOFTMAX));
    MUST(attn_mechanism_set_sinks(c.mechanism, &wrong.tensor));
    assert_int_equal(attn_forward(c.mechanism, &c.args), ATTN_ERR_SHAPE);
    assert_non_null(strstr(attn_last_error(), "sinks"));
    array_destroy(&wrong);
    array_create(&wrong, ATTN_BF16, 1, &(int64_t){HQ}, LAYOUT_PLAIN, NULL);
    MUST(attn_mechanism_set_sinks(c.mechanism, &wrong.tensor));
    assert_int_equal(attn_forward(c.mechanism, &c.args), ATTN_ERR_DTYPE);
    call_destroy(&c);
    array_destroy(&wrong);
    array_destroy(&whole);
    array_destroy(&flat);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sink_is_a_key_more),
        cmocka_unit_test(d_sinks_can_be_had_alone),
        cmocka_unit_test(ends_are_kept),
        cmocka_unit_test(weights_and_stats_have_their_part),
        cmocka_unit_test(all_ways_to_call_have_them),
        cmocka_unit_test(great_scores_have_their_sink_beside_them),
        cmocka_unit_test(older_programs_go_backward),
        cmocka_unit_test(what_does_not_suit_is_refused),
    };
    return cmocka_run_group_tests(tests, engine_setup, engine_teardown);
}
