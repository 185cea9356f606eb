/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test_stats_twin.c: what a call tells of its weights (attn_weights_stats) against the twin, on random problems of
 * every score and modifier.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "twin_scene.h"

enum { FACTOR = SCENE_FACTOR, COMBINATIONS = 120, SINGLES = 4, FEW_SHARE = 11 };
enum { STORED_SHARE = 3 }; /* of 16 bits, one in so many */

struct group {
    enum twin_score score;
    attn_dtype dtype;
    int64_t cases;
    double worst_entropy, worst_sum;
    char doing[160]; /* the case under way, for the report of a failure */
};

static const struct scene_shape special_shapes[] = {{2, 2, 1, 3, 0, 4},     /* no keys */
                                                    {1, 3, 1, 0, 5, 4},     /* no queries */
                                                    {1, 1, 1, 1, 1, 1},     /* one of everything */
                                                    {1, 2, 1, 1, 4099, 24}, /* a decoder's step over a long memory */
                                                    {1, 4, 2, 4, 2100, 12}, /* all rows that still are few, in parts */
                                                    {1, 1, 1, 2003, 3, 5},  /* many queries */
                                                    {1, 70, 1, 2, 140, 6},  /* more heads to a key head than lanes */
                                                    {1, 66, 1, 1, 5, 3},
                                                    {1, 6, 2, 41, 700, 16}, /* heads that share a tile; parts */
                                                    {2, 3, 3, 13, 37, 330}, /* wide values */
                                                    {1, 1, 1, 300, 1700, 40}};
enum { SPECIAL = sizeof special_shapes / sizeof special_shapes[0] };

/* The index of the greatest weight is that of one which roundings could have made the greatest, and is seen. */
static void check_strongest(const struct scene *s, const struct array *got)
{
    const struct twin_problem *t = &s->twin;
    for (int64_t row = 0; row < t->batch * t->query_heads * t->queries; row++) {
        const double *weight = s->want.undropped + row * t->keys, *bound = s->want.undropped_magnitude + row * t->keys;
        const double *score = s->want.scores[TWIN_MASKED] + row * t->keys;
        const int64_t at = (int64_t)array_get(got, row);
        int64_t best = -1;
        for (int64_t j = 0; j < t->keys; j++) {
            if (score[j] != -INFINITY && (best < 0 || weight[j] > weight[best])) best = j;
        }
        if (best < 0 && at == -1) continue;
        if (best < 0 || at < 0 || at >= t->keys || score[at] == -INFINITY) {
            fail_msg("row %d: strongest %d, wanted %d", (int)row, (int)at, (int)best);
        }
        const double room = FACTOR * dtype_epsilon(s->dtype) * (bound[at] + bound[best]);
        if (!(weight[best] - weight[at] <= room)) {
            fail_msg("row %d: strongest %d (%.9g), wanted %d (%.9g)", (int)row, (int)at, weight[at], (int)best,
                     weight[best]);
        }
    }
}

enum { ENTROPY = 1, STRONGEST = 2, KEY_SUMS = 4, ALL = 7 };

/* Calls attn_forward in a workspace of exactly the size it asks for, or without one. */
static void forward(struct scene *s)
{
    size_t bytes = 0;
    unsigned char *block = NULL;
    if (rng_chance(&s->rng, 0.5)) {
        enum { AFTER = 16, PATTERN = 0x5A };
        MUST(attn_forward_workspace(s->mechanism, &s->args, &bytes));
        block = must_allocate(bytes + AFTER);
        memset(block, PATTERN, bytes + AFTER);
        s->args.workspace = block;
        s->args.workspace_size = bytes;
        MUST(attn_forward(s->mechanism, &s->args));
        for (size_t i = bytes; i < bytes + AFTER; i++) assert_int_equal(block[i], PATTERN);
        s->args.workspace = NULL;
        s->args.workspace_size = 0;
    } else {
        MUST(attn_forward(s->mechanism, &s->args));
    }
    free(block);
}

/* Asks for these stats beside other outputs that a coin each chooses. */
static void run(struct group *group, struct scene *s, unsigned wanted)
{
    const struct twin_problem *t = &s->twin;
    const int64_t rows[3] = {t->batch, t->query_heads, t->queries}, keys[3] = {t->batch, t->query_heads, t->keys};
    const int64_t context_shape[4] = {t->batch, t->query_heads, t->queries, t->value_dim};
    const int64_t weights_shape[4] = {t->batch, t->query_heads, t->queries, t->keys};
    struct array entropy, strongest, sums, context, weights, scores, logsumexp;
    attn_weights_stats stats = ATTN_WEIGHTS_STATS_INIT;
    struct rng *rng = &s->rng;
    const attn_dtype computed = dtype_computed(s->dtype);
    array_create(&entropy, computed, 3, rows, LAYOUT_OUTPUT, rng);
    array_create(&strongest, rng_chance(rng, 0.5) ? ATTN_I32 : ATTN_I64, 3, rows, LAYOUT_OUTPUT, rng);
    array_create(&sums, computed, 3, keys, LAYOUT_OUTPUT, rng);
    array_create(&context, s->dtype, 4, context_shape, LAYOUT_OUTPUT, rng);
    array_create(&weights, computed, 4, weights_shape, LAYOUT_OUTPUT, rng);
    array_create(&scores, computed, 4, weights_shape, LAYOUT_OUTPUT, rng);
    array_create(&logsumexp, computed, 3, rows, LAYOUT_OUTPUT, rng);
    for (struct array **a = (struct array *[]){&entropy, &strongest, &sums, NULL}; *a != NULL; a++) {
        array_lower_rank(*a, rng);
    }
    stats.entropy = wanted & ENTROPY ? &entropy.tensor : NULL;
    stats.strongest = wanted & STRONGEST ? &strongest.tensor : NULL;
    stats.key_sums = wanted & KEY_SUMS ? &sums.tensor : NULL;
    s->args.stats = &stats;
    s->args.context = rng_chance(rng, 0.7) ? &context.tensor : NULL;
    s->args.weights = rng_chance(rng, 0.2) ? &weights.tensor : NULL;
    s->args.scores = rng_chance(rng, 0.2) ? &scores.tensor : NULL;
    s->args.logsumexp = rng_chance(rng, 0.3) ? &logsumexp.tensor : NULL;
    s->args.scores_stage = t->local >= TWIN_PREDICTIVE ? ATTN_SCORES_MASKED : (attn_scores_stage)rng_integer(rng, 0, 3);
    forward(s);
    if (wanted & ENTROPY) {
        group->worst_entropy = fmax(group->worst_entropy, assert_close(&entropy, s->want.entropy,
                                                                       s->want.entropy_magnitude, FACTOR, "entropy"));
    }
    if (wanted & STRONGEST) check_strongest(s, &strongest);
    if (wanted & KEY_SUMS) {
        /* A tile has no weight that is less than 2^-64 of a reference, the sum of which is not less than half of it. */
        const double held = computed == ATTN_F32 ? (double)t->queries * 0x1p-63 / dtype_epsilon(ATTN_F32) : 0;
        for (int64_t j = 0; j < t->batch * t->query_heads * t->keys; j++) s->want.key_sums_magnitude[j] += held;
        group->worst_sum = fmax(group->worst_sum,
                                assert_close(&sums, s->want.key_sums, s->want.key_sums_magnitude, FACTOR, "key_sums"));
    }
    if (s->args.context) assert_close(&context, s->want.context, s->want.context_magnitude, FACTOR, "context");
    if (s->args.weights) {
        assert_close(&weights, s->want.scores[TWIN_WEIGHTS], s->want.scores_magnitude[TWIN_WEIGHTS], FACTOR, "weights");
    }
    if (s->args.scores) {
        assert_close(&scores, s->want.scores[s->args.scores_stage], s->want.scores_magnitude[s->args.scores_stage],
                     FACTOR, "scores");
    }
    if (s->args.logsumexp) {
        assert_close(&logsumexp, s->want.logsumexp, s->want.logsumexp_magnitude, FACTOR, "logsumexp");
    }
    struct array *all[] = {&entropy, &strongest, &sums, &context, &weights, &scores, &logsumexp};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        if (!array_gaps_intact(all[i])) fail_msg("output %d: written outside the tensor", (int)i);
        array_destroy(all[i]);
    }
    s->args.stats = NULL;
}

static void one_case(struct group *group, uint64_t seed, unsigned modifiers, const struct scene_shape *shape)
{
    struct scene s = {.score = group->score,
                      .dtype = group->dtype,
                      .rng = {seed},
                      .modifiers = modifiers,
                      .layout = LAYOUT_INPUT,
                      .may_be_fast = true};
    struct scene_shape any;
    if (!shape) {
        any = scene_any_shape(&s.rng);
        shape = &any;
    }
    if (few_cases() && seed % FEW_SHARE != 0) return;
    if (dtype_computed(group->dtype) != group->dtype && seed % STORED_SHARE != 0) return;
    group->cases++;
    snprintf(group->doing, sizeof group->doing, "seed %llu, modifiers %#x, B %d Hq %d Hk %d Tq %d Tk %d D %d",
             (unsigned long long)seed, modifiers, (int)shape->batch, (int)shape->query_heads, (int)shape->key_heads,
             (int)shape->queries, (int)shape->keys, (int)shape->dim);
    scene_create(&s, shape);
    run(group, &s, ALL);
    run(group, &s, (unsigned)rng_integer(&s.rng, 1, ALL - 1));
    scene_destroy(&s);
    group->doing[0] = 0;
}

static void stats_agree_with_the_twin(void **state)
{
    struct group *group = *state;
    uint64_t seed = (uint64_t)group->score * 1000000 + (uint64_t)group->dtype * 100000 + 50000;
    struct rng choice = {seed};
    one_case(group, ++seed, 0, NULL);
    for (int bit = 0; 1U << bit < HAS_SINKS; bit++) {
        for (int i = 0; i < SINGLES; i++) one_case(group, ++seed, 1U << bit, NULL);
    }
    for (int i = 0; i < COMBINATIONS; i++) {
        unsigned modifiers = (unsigned)rng_bits(&choice) & (unsigned)rng_bits(&choice) & ((1U << HAS_MODIFIERS) - 1);
        one_case(group, ++seed, modifiers | (i % 4 ? 0 : HAS_CAUSAL) | (i % 5 ? 0 : HAS_LENGTHS), NULL);
    }
    for (int i = 0; i < SPECIAL; i++) {
        static const unsigned sets[] = {0, HAS_CAUSAL, HAS_BIAS | HAS_MASK | HAS_LENGTHS,
                                        HAS_SOFTCAP | HAS_ALIBI | HAS_WINDOW};
        for (int set = 0; set < 4; set++) one_case(group, ++seed, sets[set], &special_shapes[i]);
    }
    /* Last, so that the others are what they were before there were any. */
    for (int i = 0; i < 2 * SINGLES; i++) one_case(group, ++seed, HAS_SINKS, NULL);
    one_case(group, ++seed, HAS_SINKS | HAS_CAUSAL, &special_shapes[SPECIAL - 1]);
}

static int report(void **state)
{
    struct group *g = *state;
    if (g->doing[0]) print_error("while doing: %s\n", g->doing);
    print_message("%s %s: %lld cases, worst entropy %.2f, sums by key %.2f (of %d eps x magnitude)\n",
                  scene_score_names[g->score], dtype_name(g->dtype), (long long)g->cases, g->worst_entropy,
                  g->worst_sum, FACTOR);
    return 0;
}

int main(void)
{
    enum { DTYPES = 3, GROUPS = 6 * DTYPES };
    static const attn_dtype dtypes[DTYPES] = {ATTN_F32, ATTN_F64, ATTN_BF16};
    static struct group groups[GROUPS];
    static char names[GROUPS][64];
    struct CMUnitTest tests[GROUPS];
    for (int i = 0; i < GROUPS; i++) {
        groups[i].score = (enum twin_score)(i / DTYPES);
        groups[i].dtype = dtypes[i % DTYPES];
        snprintf(names[i], sizeof names[i], "%s_%s_stats_agree_with_the_twin", scene_score_names[i / DTYPES],
                 dtype_name(dtypes[i % DTYPES]));
        tests[i] = (struct CMUnitTest){names[i], stats_agree_with_the_twin, NULL, report, &groups[i]};
    }
    return cmocka_run_group_tests_name("stats_twin", tests, engine_setup, engine_teardown);
}
