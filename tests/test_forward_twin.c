/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test_forward_twin.c: attn_forward against its twin (reference/twin.h): every score function with every modifier in
 * both dtypes, on hundreds of seeded random problems of every shape and layout. Every result must be within
 * FACTOR * epsilon * magnitude of the twin's; twin.c says where the magnitudes and the factor come from.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "twin_scene.h"

enum { FACTOR = SCENE_FACTOR, COMBINATIONS = 300, SINGLES = 8 };
enum {
    FEW_SHARE = 11,
    STORED_SHARE = 3
}; /* of few cases, and of 16 bits, one in so many; no multiple of 2, as cases come in fours */

enum { CONTEXT, WEIGHTS, SCORES, LOGSUMEXP, OUTPUTS };

struct group {
    enum twin_score score;
    attn_dtype dtype;
    int64_t cases;
    double worst[OUTPUTS];
    char doing[160]; /* the case under way, for the report of a failure */
};

static const struct scene_shape special_shapes[] = {
    {0, 2, 1, 3, 4, 5},                               /* empty batch */
    {2, 2, 2, 3, 0, 4},                               /* no keys */
    {1, 3, 1, 0, 5, 4},                               /* no queries */
    {2, 3, 3, 5, 1, 7},                               /* one key */
    {1, 1, 1, 1, 1, 1},                               /* one of everything */
    {1, 2, 1, 1, 4099, 24},                           /* a decoder's step over a long memory */
    {1, 1, 1, 2003, 3, 5},                            /* many queries */
    {1, 1, 1, 5, 9, 1031},                            /* many dimensions */
    {2, 3, 3, 13, 37, 330},                           /* wide values, and more queries than a few */
    {2, 4, 2, 130, 257, 33}, {1, 1, 1, 700, 900, 64}, /* more than one block, however they are cut */
};
enum { SPECIAL = sizeof special_shapes / sizeof special_shapes[0] };

/* Calls attn_forward in a workspace of exactly the size it asks for, at any alignment, between two guards. */
static void forward_in_workspace(struct scene *s)
{
    size_t bytes = 0, before = (size_t)rng_integer(&s->rng, 1, 63);
    enum { AFTER = 16, PATTERN = 0x5A };
    MUST(attn_forward_workspace(s->mechanism, &s->args, &bytes));
    unsigned char *block = must_allocate(before + bytes + AFTER);
    memset(block, PATTERN, before + bytes + AFTER);
    s->args.workspace = block + before;
    s->args.workspace_size = bytes;
    MUST(attn_forward(s->mechanism, &s->args));
    for (size_t i = 0; i < before; i++) assert_int_equal(block[i], PATTERN);
    for (size_t i = before + bytes; i < before + bytes + AFTER; i++) assert_int_equal(block[i], PATTERN);
    s->args.workspace = NULL;
    s->args.workspace_size = 0;
    free(block);
}

static void forward_by_plan(const struct scene *s)
{
    attn_plan *plan = NULL;
    MUST(attn_plan_create(s->mechanism, &s->args, &plan));
    MUST(attn_plan_run(plan, NULL));
    MUST(attn_plan_run(plan, &s->args));
    attn_plan_destroy(plan);
}

/* Asks for the outputs in wanted (bits of CONTEXT ..), and compares each with the twin's. */
static void run(struct group *group, struct scene *s, unsigned wanted, int stage)
{
    static const char *const names[OUTPUTS] = {"context", "weights", "scores", "logsumexp"};
    const struct twin_problem *t = &s->twin;
    int64_t shape[4] = {t->batch, t->query_heads, t->queries, t->keys};
    int64_t context_shape[4] = {t->batch, t->query_heads, t->queries, t->value_dim};
    const double *want[OUTPUTS] = {s->want.context, s->want.scores[TWIN_WEIGHTS], s->want.scores[stage],
                                   s->want.logsumexp};
    const double *magnitude[OUTPUTS] = {s->want.context_magnitude, s->want.scores_magnitude[TWIN_WEIGHTS],
                                        s->want.scores_magnitude[stage], s->want.logsumexp_magnitude};
    struct array outputs[OUTPUTS];
    const attn_tensor **slots[OUTPUTS] = {&s->args.context, &s->args.weights, &s->args.scores, &s->args.logsumexp};

    if (t->local >= TWIN_PREDICTIVE && stage < TWIN_MASKED) { /* which is refused */
        stage = TWIN_MASKED;
        want[SCORES] = s->want.scores[stage];
        magnitude[SCORES] = s->want.scores_magnitude[stage];
    }
    s->args.scores_stage = stage; /* the twin's stages have the library's numbers */
    for (int o = 0; o < OUTPUTS; o++) {
        *slots[o] = NULL;
        if (!(wanted >> o & 1)) continue;
        const bool is_stored = o == CONTEXT && (dtype_computed(s->dtype) == s->dtype || rng_chance(&s->rng, 0.7));
        array_create(&outputs[o], is_stored ? s->dtype : dtype_computed(s->dtype), o == LOGSUMEXP ? 3 : 4,
                     o == CONTEXT ? context_shape : shape, LAYOUT_OUTPUT, &s->rng);
        array_lower_rank(&outputs[o], &s->rng);
        *slots[o] = &outputs[o].tensor;
    }
    switch (rng_integer(&s->rng, 0, 2)) {
    case 0:
        forward_in_workspace(s);
        break;
    case 1:
        forward_by_plan(s);
        break;
    default:
        MUST(attn_forward(s->mechanism, &s->args));
    }
    for (int o = 0; o < OUTPUTS; o++) {
        if (!(wanted >> o & 1)) continue;
        double worst = assert_close(&outputs[o], want[o], magnitude[o], FACTOR, names[o]);
        if (worst > group->worst[o]) group->worst[o] = worst;
        if (!array_gaps_intact(&outputs[o])) fail_msg("%s: written outside the tensor", names[o]);
        array_destroy(&outputs[o]);
    }
}

/* Everything that a case is made of follows from these. */
static void one_case(struct group *group, uint64_t seed, unsigned modifiers, const struct scene_shape *shape)
{
    struct scene s = {.score = group->score,
                      .dtype = group->dtype,
                      .rng = {seed},
                      .modifiers = modifiers,
                      .layout = LAYOUT_INPUT,
                      .may_be_fast = true};
    struct scene_shape any;
    bool large = shape && shape->queries * shape->keys > 10000;

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
    run(group, &s, 15, (int)rng_integer(&s.rng, 0, 3));
    if (!large) {
        unsigned some =
            rng_chance(&s.rng, 0.7) ? 1U << rng_integer(&s.rng, 0, 3) : (unsigned)rng_integer(&s.rng, 1, 14);
        run(group, &s, some, (int)rng_integer(&s.rng, 0, 3));
    } else {
        run(group, &s, 1, 0);
    }
    scene_destroy(&s);
    group->doing[0] = 0;
}

static void forward_agrees_with_its_twin(void **state)
{
    struct group *group = *state;
    uint64_t seed = (uint64_t)group->score * 1000000 + (uint64_t)group->dtype * 100000;
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
    if (g->doing[0]) print_error("while doing: %s\n", g->doing);
    print_message("%s %s: %lld cases, worst context %.2f, weights %.2f, scores %.2f, logsumexp %.2f (of %d eps x "
                  "magnitude)\n",
                  scene_score_names[g->score], dtype_name(g->dtype), (long long)g->cases, g->worst[CONTEXT],
                  g->worst[WEIGHTS], g->worst[SCORES], g->worst[LOGSUMEXP], FACTOR);
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
        snprintf(names[i], sizeof names[i], "%s_%s_agrees_with_its_twin", scene_score_names[i / DTYPES],
                 dtype_name(groups[i].dtype));
        tests[i] = (struct CMUnitTest){names[i], forward_agrees_with_its_twin, NULL, report, &groups[i]};
    }
    return cmocka_run_group_tests_name("forward_twin", tests, engine_setup, engine_teardown);
}
