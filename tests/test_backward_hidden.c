/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test_backward_hidden.c: what is hidden stays hidden from the gradients too. NaN or infinity is put into one row of an
 * input or of a gradient that flows in; all that does not see it must have the same bits as before, and what does see
 * a NaN must become one. Who sees whom is asked of the twin.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "backward_scene.h"

/* Where the poison is put: the flows by their own numbers, after them the inputs. */
enum target { INTO_CONTEXT, INTO_WEIGHTS, INTO_LOGSUMEXP, INTO_QUERY, INTO_KEY, INTO_VALUE, INTO_BIAS, TARGETS };
static const char *const target_names[TARGETS] = {"d_context", "d_weights", "d_logsumexp", "query",
                                                  "key",       "value",     "bias"};

enum { PLACES = 6, PLACES_OF_MANY = 2, FEW_PLACES = 1, MOST_SEEDS = 200 };

static const unsigned hiding[] = {
    HAS_MASK,   HAS_LENGTHS, HAS_CAUSAL,
    HAS_WINDOW, HAS_BIAS,    HAS_MASK | HAS_LENGTHS | HAS_CAUSAL | HAS_WINDOW | HAS_BIAS | HAS_ALIBI | HAS_SOFTCAP};
enum { WAYS = sizeof hiding / sizeof *hiding };

struct subject {
    struct scene s;
    struct backward b;
    bool fused;                         /* tiles can do all of it on their way back */
    unsigned wanted;                    /* gradients */
    struct array clean[TWIN_GRADIENTS]; /* the gradients without poison, and what they may be off by */
    double *magnitude[TWIN_GRADIENTS];
    int64_t rows, keys; /* of all sequences and heads */
    bool *row_stained, *key_stained;
    int64_t hidden_from_all, reached; /* how often the poison was */
};

/* ------------------------------------------------------------------------------------- who sees what */

static int64_t key_of(const struct subject *t, int64_t row, int64_t j)
{
    const struct twin_problem *p = &t->s.twin;
    const int64_t head = row / p->queries % p->query_heads, b = row / p->queries / p->query_heads;
    return (b * p->key_heads + head / (p->query_heads / p->key_heads)) * p->keys + j;
}

static bool sees(const struct subject *t, int64_t row, int64_t j)
{
    return t->s.want.scores[TWIN_MASKED][row * t->s.twin.keys + j] != -INFINITY;
}

/* A bias of minus infinity hides a key whose score is a number: a NaN in the score, or in place of the bias, is one. */
static bool might_see(const struct subject *t, int64_t row, int64_t j)
{
    const double *bias = t->s.twin.bias;
    return sees(t, row, j) || (bias && bias[row * t->s.twin.keys + j] == -INFINITY);
}

/* Has the element `place` of the target (a row, key, or score) part in the score of key j for this row? */
static bool touches(const struct subject *t, enum target target, int64_t place, int64_t row, int64_t j)
{
    const int64_t at = row * t->s.twin.keys + j;
    switch (target) {
    case INTO_WEIGHTS:
        return at == place;
    case INTO_KEY:
    case INTO_VALUE:
        return key_of(t, row, j) == place;
    case INTO_BIAS:
        return backward_bias_element(&t->s, at) == place;
    default:
        return row == place;
    }
}

/* Marks the queries that the poison may reach, and the keys that these see. Returns how many queries it must reach. */
static int64_t spread(struct subject *t, enum target target, int64_t place, int64_t *first_reached)
{
    const bool in_score = target == INTO_QUERY || target == INTO_KEY || target == INTO_BIAS;
    const bool unread = target == INTO_KEY && t->s.score == TWIN_LOCATION && t->s.args.value;
    int64_t reached = 0;
    memset(t->row_stained, 0, (size_t)t->rows * sizeof *t->row_stained);
    memset(t->key_stained, 0, (size_t)t->keys * sizeof *t->key_stained);
    for (int64_t row = 0; row < t->rows; row++) {
        bool may = false, must_be = false;
        for (int64_t j = 0; j < t->s.twin.keys; j++) {
            if (!touches(t, target, place, row, j)) continue;
            may = may || (in_score ? might_see(t, row, j) : sees(t, row, j));
            must_be = must_be || (sees(t, row, j) && !unread);
        }
        t->row_stained[row] = may;
        for (int64_t j = 0; j < t->s.twin.keys && may; j++) {
            if (might_see(t, row, j)) t->key_stained[key_of(t, row, j)] = true;
        }
        if (must_be) *first_reached = row;
        reached += must_be;
    }
    return reached;
}

/* -------------------------------------------------------------------------------------------- poison */

static struct array *target_array(struct subject *t, enum target target, int64_t *width)
{
    const struct twin_problem *p = &t->s.twin;
    const int64_t widths[TARGETS] = {p->value_dim, 1, 1, p->query_dim, p->key_dim, p->value_dim, 1};
    *width = widths[target];
    switch (target) {
    case INTO_QUERY:
        return &t->s.query;
    case INTO_KEY:
        return backward_input(&t->s, TWIN_D_KEY);
    case INTO_VALUE:
        return backward_input(&t->s, TWIN_D_VALUE);
    case INTO_BIAS:
        return backward_input(&t->s, TWIN_D_BIAS);
    default:
        return t->b.flow[target].memory != NULL ? &t->b.flow[target] : NULL;
    }
}

/* The same bits; but on the way of tiles queries that are computed together, those of an additive score and all on the
 * way back, are computed by whichever formula suits them all, so that a poisoned one, or there a poisoned key, may
 * change the roundings of the others. */
static void assert_row_kept(const struct subject *t, int g, int64_t row, int64_t width, bool rounded, const char *what)
{
    const bool together = t->s.score == TWIN_ADDITIVE || t->s.score == TWIN_CONCAT || t->fused;
    const double unit = 2 * SCENE_FACTOR * dtype_epsilon(t->s.dtype);
    for (int64_t at = row * width; at < (row + 1) * width; at++) {
        const double got = array_get(&t->b.gradient[g], at), want = array_get(&t->clean[g], at);
        if (array_same_bits(&t->b.gradient[g], &t->clean[g], at, 1)) continue;
        if (rounded && together && t->s.dtype == ATTN_F32 && fabs(got - want) <= unit * t->magnitude[g][at]) continue;
        fail_msg("%s: element %d of %s is %.9g, was %.9g", what, (int)at, gradient_names[g], got, want);
    }
}

static void check_place(struct subject *t, enum target target, int64_t place, double poison)
{
    const struct twin_problem *p = &t->s.twin;
    int64_t width, reached_row = -1;
    struct array *array = target_array(t, target, &width);
    const int64_t reached = spread(t, target, place, &reached_row);
    double *kept = array_read(array);
    const bool rounded = target == INTO_QUERY || t->fused;
    bool any = false;
    char what[128];

    snprintf(what, sizeof what, "%s %s %#x: %g in %s %d", scene_score_names[t->s.score],
             t->s.dtype == ATTN_F32 ? "f32" : "f64", t->s.modifiers, poison, target_names[target], (int)place);
    for (int64_t d = 0; d < width; d++) array_set(array, place * width + d, poison);
    backward_run_forward(&t->b);
    backward_want(&t->b, t->wanted);
    backward_run(&t->b);
    for (int64_t row = 0; row < t->rows; row++) {
        any = any || t->row_stained[row];
        if (!t->row_stained[row]) assert_row_kept(t, TWIN_D_QUERY, row, p->query_dim, rounded, what);
    }
    for (int64_t j = 0; j < t->keys; j++) {
        if (t->key_stained[j]) continue;
        if (t->s.args.key) assert_row_kept(t, TWIN_D_KEY, j, p->key_dim, rounded, what);
        if (t->s.args.value) assert_row_kept(t, TWIN_D_VALUE, j, p->value_dim, rounded, what);
    }
    for (int g = 0; g < TWIN_GRADIENTS && !any; g++) {
        if (t->b.wanted >> g & 1) assert_row_kept(t, g, 0, array_count(&t->clean[g]), rounded, what);
    }
    for (int64_t d = 0; d < p->query_dim && reached > 0 && isnan(poison); d++) {
        if (isnan(array_get(&t->b.gradient[TWIN_D_QUERY], reached_row * p->query_dim + d))) continue;
        fail_msg("%s: has not reached d_query %d", what, (int)reached_row);
    }
    t->hidden_from_all += !any;
    t->reached += reached > 0;
    array_write(array, kept);
    free(kept);
}

/* ------------------------------------------------------------------------------------------- subjects */

static bool create_from_seed(struct subject *t, enum twin_score score, attn_dtype dtype, unsigned modifiers,
                             const struct scene_shape *shape, bool blind, uint64_t seed)
{
    *t = (struct subject){.s = {.score = score,
                                .dtype = dtype,
                                .rng = {seed},
                                .modifiers = modifiers,
                                .layout = LAYOUT_INPUT & ~(unsigned)LAYOUT_BROADCAST}};
    scene_create(&t->s, shape);
    const int64_t pairs = shape->batch * shape->query_heads * shape->queries * shape->keys;
    const int64_t rows = shape->batch * shape->query_heads * shape->queries;
    int64_t seen = 0, blind_rows = 0;
    for (int64_t at = 0; at < pairs; at++) seen += t->s.want.scores[TWIN_MASKED][at] != -INFINITY;
    for (int64_t row = 0; row < rows; row++) blind_rows += t->s.want.logsumexp[row] == -INFINITY;
    if (seen > pairs / 8 && seen < pairs && (blind_rows > 0 || !blind)) return true;
    scene_destroy(&t->s);
    return false;
}

/* The first problem of these modifiers where some see something, and not all see all; or some nothing at all. What is
 * `fused` is asked for what tiles can do on their way back: nothing flows from weights, nor into a bias. */
static void create(struct subject *t, enum twin_score score, attn_dtype dtype, unsigned modifiers,
                   const struct scene_shape *shape, bool blind, bool fused)
{
    uint64_t seed = 70000 + (uint64_t)score * 1000 + modifiers;
    const uint64_t last = seed + MOST_SEEDS;
    while (!create_from_seed(t, score, dtype, modifiers, shape, blind, seed)) {
        if (++seed == last) fail_msg("no problem hides what it should by %#x", modifiers);
    }
    t->s.layout = LAYOUT_PLAIN; /* so that all outputs lie the same */
    t->rows = shape->batch * shape->query_heads * shape->queries;
    t->keys = shape->batch * shape->key_heads * shape->keys;
    t->row_stained = must_allocate((size_t)t->rows * sizeof *t->row_stained);
    t->key_stained = must_allocate((size_t)t->keys * sizeof *t->key_stained);
    t->fused = fused;
    t->wanted = fused ? ALL_GRADIENTS & ~(1U << TWIN_D_BIAS) : ALL_GRADIENTS;
    backward_create(&t->b, &t->s, fused ? ALL_FLOWS & ~(1U << FLOW_WEIGHTS) : ALL_FLOWS);
    backward_want(&t->b, t->wanted);
    backward_run(&t->b);
    memcpy(t->clean, t->b.gradient, sizeof t->clean); /* which own their memory now */
    struct twin_gradient_result twin;
    backward_run_twin(&t->b, &twin);
    for (int g = 0; g < TWIN_GRADIENTS; g++) {
        double *value = NULL;
        if (t->b.wanted >> g & 1) backward_expect(&t->b, &twin, g, &value, &t->magnitude[g]);
        free(value);
    }
    twin_gradient_free(&twin);
    memset(t->b.gradient, 0, sizeof t->b.gradient);
}

static void destroy(struct subject *t)
{
    for (int g = 0; g < TWIN_GRADIENTS; g++) {
        array_destroy(&t->clean[g]);
        free(t->magnitude[g]);
    }
    free(t->row_stained);
    free(t->key_stained);
    backward_destroy(&t->b);
    scene_destroy(&t->s);
}

static const struct scene_shape shapes[] = {{2, 4, 2, 9, 13, 37}, {1, 2, 1, 70, 141, 9}};

static void nan_hidden_by_any_modifier_stays_hidden_and_seen_reaches(void **state)
{
    const enum twin_score score = *(const enum twin_score *)*state;
    const double poisons[] = {NAN, INFINITY, -INFINITY};
    int64_t hidden_from_all = 0, reached = 0;
    struct rng rng = {(uint64_t)score};
    for (int k = 0; k < 3 * 2 * WAYS; k++) {
        struct subject t;
        if (few_cases() && k % 5 > 1) continue;
        create(&t, score, k % 3 == 1 ? ATTN_F64 : ATTN_F32, hiding[k / 6], &shapes[k / 3 % 2], false, k % 3 == 2);
        for (int target = 0; target < TARGETS; target++) {
            int64_t width;
            const struct array *array = target_array(&t, (enum target)target, &width);
            const int places = few_cases() ? FEW_PLACES : t.rows * t.s.twin.keys > 5000 ? PLACES_OF_MANY : PLACES;
            for (int i = 0; i < places && array; i++) {
                const int64_t place = rng_integer(&rng, 0, array_count(array) / width - 1);
                check_place(&t, (enum target)target, place, poisons[(k / 6 + i) % 3]);
            }
        }
        hidden_from_all += t.hidden_from_all;
        reached += t.reached;
        destroy(&t);
    }
    print_message("hidden from all %lld times, seen %lld times\n", (long long)hidden_from_all, (long long)reached);
    assert_true(hidden_from_all > 0 && reached > 0);
}

/* ---------------------------------------------------------------------------------- nothing to be seen */

/* NaN in everything that belongs to a query alone. */
static void poison_query(struct subject *t, int64_t row)
{
    static const enum target of_query[] = {INTO_CONTEXT, INTO_LOGSUMEXP, INTO_QUERY};
    int64_t width;
    for (int i = 0; i < 3; i++) {
        struct array *array = target_array(t, of_query[i], &width);
        for (int64_t d = 0; d < width; d++) array_set(array, row * width + d, NAN);
    }
    if (t->b.flow[FLOW_WEIGHTS].memory == NULL) return;
    for (int64_t j = 0; j < t->s.twin.keys; j++) array_set(&t->b.flow[FLOW_WEIGHTS], row * t->s.twin.keys + j, NAN);
}

static void queries_that_see_nothing_have_zero_gradients_and_disturb_nobody(void **state)
{
    const enum twin_score score = *(const enum twin_score *)*state;
    for (int k = 0; k < 6; k++) {
        const unsigned by = k / 3 ? HAS_LENGTHS | HAS_MASK : HAS_CAUSAL | HAS_MASK;
        struct subject t;
        create(&t, score, k % 3 == 1 ? ATTN_F64 : ATTN_F32, by, &shapes[k / 3], true, k % 3 == 2);
        const int64_t width = t.s.twin.query_dim;
        for (int64_t row = 0; row < t.rows; row++) {
            if (t.s.want.logsumexp[row] == -INFINITY) poison_query(&t, row);
        }
        backward_run_forward(&t.b);
        backward_want(&t.b, t.wanted);
        backward_run(&t.b);
        for (int g = 0; g < TWIN_GRADIENTS; g++) {
            if (t.b.wanted >> g & 1)
                assert_row_kept(&t, g, 0, array_count(&t.clean[g]), true, "blind queries with NaN");
        }
        for (int64_t at = 0; at < t.rows * width; at++) {
            const double got = array_get(&t.b.gradient[TWIN_D_QUERY], at);
            if (t.s.want.logsumexp[at / width] == -INFINITY && got != 0.0) fail_msg("%g in d_query %d", got, (int)at);
        }
        destroy(&t);
    }
}

int main(void)
{
    static const enum twin_score scores[] = {TWIN_DOT,      TWIN_SCALED_DOT, TWIN_GENERAL,
                                             TWIN_ADDITIVE, TWIN_CONCAT,     TWIN_LOCATION};
    static char names[12][120];
    struct CMUnitTest tests[12];
    for (int i = 0; i < 12; i++) {
        const bool blind = i >= 6;
        snprintf(names[i], sizeof names[i], "%s: %s",
                 blind ? "queries_that_see_nothing_have_zero_gradients_and_disturb_nobody"
                       : "nan_hidden_by_any_modifier_stays_hidden_and_seen_reaches",
                 scene_score_names[i % 6]);
        tests[i] = (struct CMUnitTest){names[i],
                                       blind ? queries_that_see_nothing_have_zero_gradients_and_disturb_nobody
                                             : nan_hidden_by_any_modifier_stays_hidden_and_seen_reaches,
                                       NULL, NULL, (void *)(uintptr_t)&scores[i % 6]};
    }
    return cmocka_run_group_tests_name("backward_hidden", tests, engine_setup, engine_teardown);
}
