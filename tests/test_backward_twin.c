/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test_backward_twin.c: attn_backward against its twin (reference/twin_gradient.h): the gradients of every score
 * function with every modifier in both dtypes, on hundreds of seeded random problems of every shape and layout. Every
 * gradient must be within FACTOR * epsilon * magnitude of the twin's; twin.c says where the factor comes from,
 * twin_gradient.c the magnitudes.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "backward_scene.h"

enum { FACTOR = SCENE_FACTOR, COMBINATIONS = 150, SINGLES = 6 };
enum { FEW_SHARE = 11, STORED_SHARE = 3 };             /* of few cases, and of 16 bits, one in so many */
enum { ALL = (1 << HAS_MODIFIERS) - 1 - HAS_HARDMAX }; /* which has no gradient */

struct group {
    enum twin_score score;
    attn_dtype dtype;
    int64_t cases;
    double worst[TWIN_GRADIENTS];
    char doing[240]; /* the case under way, for the report of a failure */
};

static const struct scene_shape special_shapes[] = {
    {0, 2, 1, 3, 4, 5},     /* empty batch */
    {2, 2, 2, 3, 0, 4},     /* no keys */
    {1, 3, 1, 0, 5, 4},     /* no queries */
    {2, 3, 3, 5, 1, 7},     /* one key */
    {1, 1, 1, 1, 1, 1},     /* one of everything */
    {1, 2, 1, 1, 2099, 24}, /* a decoder's step over a long memory */
    {1, 1, 1, 1003, 3, 5},  /* many queries */
    {1, 1, 1, 5, 9, 531},   /* many dimensions */
    {2, 3, 3, 13, 37, 130}, /* wide values, and more queries than a few */
    {2, 4, 2, 70, 141, 33}, /* more than one block, however they are cut */
    {1, 1, 1, 260, 390, 48},
};
enum { SPECIAL = sizeof special_shapes / sizeof special_shapes[0] };

/* Calls attn_backward in a workspace of exactly the size it asks for, at any alignment, between two guards. */
static void run_in_workspace(struct backward *b)
{
    size_t bytes = 0, before = (size_t)rng_integer(&b->scene->rng, 1, 63);
    enum { AFTER = 16, PATTERN = 0x5A };
    MUST(attn_backward_workspace(b->scene->mechanism, &b->args, &bytes));
    unsigned char *block = must_allocate(before + bytes + AFTER);
    memset(block, PATTERN, before + bytes + AFTER);
    b->args.workspace = block + before;
    b->args.workspace_size = bytes;
    backward_run(b);
    for (size_t i = 0; i < before; i++) assert_int_equal(block[i], PATTERN);
    for (size_t i = before + bytes; i < before + bytes + AFTER; i++) assert_int_equal(block[i], PATTERN);
    free(block);
}

/* One call; every gradient that is wanted is compared with the twin's, added to what was there before if accumulate. */
static void check(struct group *group, struct scene *s, unsigned flows, unsigned wanted, bool accumulate)
{
    struct backward b;
    struct twin_gradient_result twin;
    double *before[TWIN_GRADIENTS] = {NULL};
    attn_tensor not_looked_at = {.ndim = -3, .dtype = 99};

    const size_t length = strlen(group->doing);
    snprintf(group->doing + length, sizeof group->doing - length, "; flows %d, wanted %#x%s", (int)flows, wanted,
             accumulate ? ", accumulated" : "");
    backward_create(&b, s, flows);
    backward_run_twin(&b, &twin);
    backward_want(&b, wanted);
    b.args.accumulate = accumulate;
    for (int g = 0; g < TWIN_GRADIENTS && accumulate; g++) {
        if (!(b.wanted >> g & 1)) continue;
        array_fill_normal(&b.gradient[g], &s->rng, 3.0);
        before[g] = array_read(&b.gradient[g]);
    }
    if (rng_chance(&s->rng, 0.3)) {
        b.forward.weights = b.forward.scores = &not_looked_at;
        b.forward.workspace = &not_looked_at;
        b.forward.workspace_size = 1;
        if (!(flows >> FLOW_CONTEXT & 1)) b.forward.context = NULL;
    }
    if (rng_chance(&s->rng, 0.5))
        run_in_workspace(&b);
    else
        backward_run(&b);
    for (int g = 0; g < TWIN_GRADIENTS; g++) {
        if (!(b.wanted >> g & 1)) continue;
        double *want, *magnitude;
        backward_expect(&b, &twin, g, &want, &magnitude);
        for (int64_t i = array_count(&b.gradient[g]) - 1; i >= 0 && accumulate; i--) {
            want[i] += before[g][i];
            magnitude[i] += fabs(want[i]);
        }
        /* By tiles no weight of a key that is seen is less than 2^-126, the least normal float: what would be less is
         * of no account, be it that nothing else adds to an element. */
        for (int64_t i = 0; i < array_count(&b.gradient[g]) && dtype_computed(s->dtype) == ATTN_F32; i++)
            magnitude[i] += 1e-28;
        double worst = assert_close(&b.gradient[g], want, magnitude, FACTOR, gradient_names[g]);
        if (worst > group->worst[g]) group->worst[g] = worst;
        if (!array_gaps_intact(&b.gradient[g])) fail_msg("%s: written outside the tensor", gradient_names[g]);
        free(want);
        free(magnitude);
        free(before[g]);
    }
    twin_gradient_free(&twin);
    backward_destroy(&b);
    group->doing[length] = 0;
}

/* Everything that a case is made of follows from these. */
static void one_case(struct group *group, uint64_t seed, unsigned modifiers, const struct scene_shape *shape)
{
    struct scene s = {
        .score = group->score, .dtype = group->dtype, .rng = {seed}, .modifiers = modifiers, .layout = LAYOUT_INPUT};
    struct scene_shape any = scene_any_shape(&s.rng);
    bool large = shape && shape->queries * shape->keys > 10000;

    if (!shape) shape = &any;
    if (few_cases() && seed % FEW_SHARE != 0) return;
    if (dtype_computed(group->dtype) != group->dtype && seed % STORED_SHARE != 0) return;
    group->cases++;
    snprintf(group->doing, sizeof group->doing, "seed %llu, modifiers %#x, B %d Hq %d Hk %d Tq %d Tk %d D %d",
             (unsigned long long)seed, modifiers, (int)shape->batch, (int)shape->query_heads, (int)shape->key_heads,
             (int)shape->queries, (int)shape->keys, (int)shape->dim);
    scene_create(&s, shape);
    check(group, &s, rng_chance(&s.rng, 0.4) ? 1U << FLOW_CONTEXT : (unsigned)rng_integer(&s.rng, 1, ALL_FLOWS),
          ALL_GRADIENTS, rng_chance(&s.rng, 0.3));
    if (!large) {
        unsigned has = backward_has(&s), some = 0;
        while ((some & has) == 0) {
            some = rng_chance(&s.rng, 0.5) ? 1U << rng_integer(&s.rng, 0, TWIN_GRADIENTS - 1)
                                           : (unsigned)rng_integer(&s.rng, 1, ALL_GRADIENTS);
        }
        check(group, &s, (unsigned)rng_integer(&s.rng, 1, ALL_FLOWS), some, rng_chance(&s.rng, 0.3));
    }
    scene_destroy(&s);
    group->doing[0] = 0;
}

static void backward_agrees_with_its_twin(void **state)
{
    struct group *group = *state;
    uint64_t seed = 50000000 + (uint64_t)group->score * 1000000 + (uint64_t)group->dtype * 100000;
    struct rng choice = {seed};

    for (int i = 0; i < SINGLES; i++) one_case(group, ++seed, 0, NULL);
    for (int bit = 0; 1U << bit < HAS_SINKS; bit++) {
        if (!(ALL >> bit & 1)) continue;
        for (int i = 0; i < SINGLES; i++) one_case(group, ++seed, 1U << bit, NULL);
    }
    for (int i = 0; i < COMBINATIONS; i++) {
        unsigned modifiers = (unsigned)rng_bits(&choice) & (unsigned)rng_bits(&choice) & ALL;
        one_case(group, ++seed, modifiers | (i % 4 ? 0 : HAS_CAUSAL) | (i % 5 ? 0 : HAS_LENGTHS), NULL);
    }
    for (int i = 0; i < SPECIAL; i++) {
        static const unsigned sets[] = {HAS_CAUSAL, 0, HAS_BIAS | HAS_MASK | HAS_LENGTHS,
                                        HAS_SOFTCAP | HAS_ALIBI | HAS_WINDOW};
        bool large = special_shapes[i].queries * special_shapes[i].keys > 10000; /* half of the sets, for time */
        for (int set = 0; set < 4; set += 1 + large) one_case(group, ++seed, sets[set], &special_shapes[i]);
    }
    /* Last, so that the others are what they were before there were any. */
    for (int i = 0; i < 2 * SINGLES; i++) one_case(group, ++seed, HAS_SINKS, NULL);
    one_case(group, ++seed, HAS_SINKS | HAS_CAUSAL, &special_shapes[SPECIAL - 1]);
}

static int report(void **state)
{
    struct group *g = *state;
    char line[200] = "";
    if (g->doing[0]) print_error("while doing: %s\n", g->doing);
    for (int i = 0; i < TWIN_GRADIENTS; i++) {
        const size_t length = strlen(line);
        if (g->worst[i] > 0.0) {
            snprintf(line + length, sizeof line - length, " %s %.2f", gradient_names[i], g->worst[i]);
        }
    }
    print_message("%s %s: %lld cases, worst%s (of %d eps x magnitude)\n", scene_score_names[g->score],
                  dtype_name(g->dtype), (long long)g->cases, line, FACTOR);
    return 0;
}

int main(void)
{
    enum { DTYPES = 4, GROUPS = 6 * DTYPES };
    static const attn_dtype dtypes[DTYPES] = {ATTN_F32, ATTN_F64, ATTN_F16, ATTN_BF16};
    static struct group groups[GROUPS];
    static char names[GROUPS][64];
    struct CMUnitTest tests[GROUPS];
    for (int i = 0; i < GROUPS; i++) {
        groups[i].score = (enum twin_score)(i / DTYPES);
        groups[i].dtype = dtypes[i % DTYPES];
        snprintf(names[i], sizeof names[i], "gradients_of_%s_%s_agree_with_the_twin", scene_score_names[i / DTYPES],
                 dtype_name(groups[i].dtype));
        tests[i] = (struct CMUnitTest){names[i], backward_agrees_with_its_twin, NULL, report, &groups[i]};
    }
    return cmocka_run_group_tests_name("backward_twin", tests, engine_setup, engine_teardown);
}
