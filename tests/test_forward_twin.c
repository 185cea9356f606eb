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

#include "reference/twin.h"
#include "support.h"

enum { FACTOR = 16, COMBINATIONS = 300, SINGLES = 8 };
enum { EMULATED_SHARE = 5 }; /* under an emulator one case in so many; no multiple of 2, as cases come in fours */

/* Modifiers, one bit each. */
enum {
    SCALE = 1,
    SOFTCAP = 2,
    BIAS = 4,
    ALIBI = 8,
    MASK = 16,
    LENGTHS = 32,
    CAUSAL = 64,
    WINDOW = 128,
    TEMPERATURE = 256,
    HARDMAX = 512,
    MODIFIERS = 10
};

enum { CONTEXT, WEIGHTS, SCORES, LOGSUMEXP, OUTPUTS };

struct group {
    enum twin_score score;
    attn_dtype dtype;
    int64_t cases;
    double worst[OUTPUTS];
    char doing[160]; /* the case under way, for the report of a failure */
};

static const char *const score_names[] = {"dot", "scaled-dot", "general", "additive", "concat", "location"};

struct shape {
    int64_t batch, query_heads, key_heads, queries, keys, dim;
};

static const struct shape special_shapes[] = {
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

/* One case: the problem as the twin sees it and as the library does. */
struct scene {
    struct group *group;
    struct rng rng;
    unsigned modifiers;
    struct twin_problem twin;
    struct twin_result want;
    struct array query, key, value, mask, bias, lengths, slopes;
    struct array params[5];
    attn_mechanism *mechanism;
    attn_forward_args args;
    void *owned[24];
    int owned_count;
};

/* ---------------------------------------------------------------------------------- building a case */

static void *own(struct scene *s, void *block)
{
    assert_true(s->owned_count < (int)(sizeof s->owned / sizeof s->owned[0]));
    s->owned[s->owned_count++] = block;
    return block;
}

/* A normal input of any layout; returns what it holds. */
static const double *input(struct scene *s, struct array *array, int32_t ndim, const int64_t *shape, double deviation)
{
    array_create(array, s->group->dtype, ndim, shape, LAYOUT_INPUT, &s->rng);
    array_fill_normal(array, &s->rng, deviation);
    return own(s, array_read(array));
}

static const double *parameter(struct scene *s, const char *name, int32_t ndim, int64_t rows, int64_t columns)
{
    struct array *array = s->params;
    int64_t shape[2] = {rows, columns};
    double deviation = ndim == 1 ? 1.0 : 1.0 / sqrt((double)columns);
    while (array->memory) array++;
    const double *values = input(s, array, ndim, shape, deviation);
    MUST(attn_mechanism_bind_param(s->mechanism, name, &array->tensor));
    return values;
}

static void build_mechanism(struct scene *s)
{
    struct twin_problem *t = &s->twin;
    int64_t dq = t->query_dim, dk = t->key_dim, hidden = t->hidden_dim, rows;
    unsigned flags = 0;

    switch (t->score) {
    case TWIN_DOT:
        MUST(attn_mechanism_create_dot(engine, &s->mechanism));
        break;
    case TWIN_SCALED_DOT:
        MUST(attn_mechanism_create_scaled_dot(engine, &s->mechanism));
        break;
    case TWIN_GENERAL:
        MUST(attn_mechanism_create_general(engine, dq, dk, &s->mechanism));
        t->W = parameter(s, "W", 2, dq, dk);
        break;
    case TWIN_ADDITIVE:
        if (rng_chance(&s->rng, 0.5)) flags |= ATTN_ADDITIVE_BIAS;
        if (rng_chance(&s->rng, 0.3)) flags |= ATTN_ADDITIVE_NORMALISED;
        if (dq == hidden) flags |= ATTN_ADDITIVE_QUERY_PROJECTED;
        if (dk == hidden) flags |= ATTN_ADDITIVE_KEY_PROJECTED;
        MUST(attn_mechanism_create_additive(engine, dq, dk, hidden, flags, &s->mechanism));
        if (!(flags & ATTN_ADDITIVE_QUERY_PROJECTED)) t->W = parameter(s, "W", 2, hidden, dq);
        if (!(flags & ATTN_ADDITIVE_KEY_PROJECTED)) t->U = parameter(s, "U", 2, hidden, dk);
        t->v = parameter(s, "v", 1, hidden, 1);
        if (flags & ATTN_ADDITIVE_BIAS) t->b = parameter(s, "b", 1, hidden, 1);
        if (flags & ATTN_ADDITIVE_NORMALISED) t->g = parameter(s, "g", 1, 1, 1);
        break;
    case TWIN_CONCAT:
        MUST(attn_mechanism_create_concat(engine, dq, dk, hidden, &s->mechanism));
        t->W = parameter(s, "W", 2, hidden, dq + dk);
        t->v = parameter(s, "v", 1, hidden, 1);
        break;
    case TWIN_LOCATION:
        rows = t->keys + rng_integer(&s->rng, t->keys == 0, 3);
        MUST(attn_mechanism_create_location(engine, dq, rows, &s->mechanism));
        t->W = parameter(s, "W", 2, rows, dq);
        break;
    }
}

/* The elements of a tensor whose dimensions are each 1 or those of the scores, broadcast to the scores' shape. */
static double *expand(const struct array *array, const int64_t *full)
{
    const int64_t *own_shape = array->tensor.shape;
    int64_t count = full[0] * full[1] * full[2] * full[3];
    double *values = must_allocate((size_t)count * sizeof *values);
    for (int64_t at = 0; at < count; at++) {
        int64_t rest = at, index[4], from = 0;
        for (int d = 3; d >= 0; d--) {
            index[d] = own_shape[d] == 1 ? 0 : rest % full[d];
            rest /= full[d];
        }
        for (int d = 0; d < 4; d++) from = from * own_shape[d] + index[d];
        values[at] = array_get(array, from);
    }
    return values;
}

static void build_mask_and_bias(struct scene *s)
{
    struct twin_problem *t = &s->twin;
    int64_t full[4] = {t->batch, t->query_heads, t->queries, t->keys}, shape[4];
    int64_t count = full[0] * full[1] * full[2] * full[3];

    if (s->modifiers & BIAS) {
        bool blocking = rng_chance(&s->rng, 0.3);
        for (int d = 0; d < 4; d++) shape[d] = full[d] > 0 && rng_chance(&s->rng, 0.3) ? 1 : full[d];
        array_create(&s->bias, s->group->dtype, 4, shape, LAYOUT_INPUT, &s->rng);
        array_fill_normal(&s->bias, &s->rng, 2.0);
        for (int64_t i = array_count(&s->bias) - 1; blocking && i >= 0; i--) {
            if (rng_chance(&s->rng, 0.2)) array_set(&s->bias, i, -HUGE_VAL);
        }
        t->bias = own(s, expand(&s->bias, full));
        array_lower_rank(&s->bias, &s->rng);
        s->args.bias = &s->bias.tensor;
    }
    if (s->modifiers & MASK) {
        static const int trues[] = {1, 2, 128, 255};
        double share = rng_uniform(&s->rng, 0.3, 1.0);
        for (int d = 0; d < 4; d++) shape[d] = full[d] > 0 && rng_chance(&s->rng, 0.3) ? 1 : full[d];
        array_create(&s->mask, ATTN_BOOL, 4, shape, LAYOUT_INPUT, &s->rng);
        for (int64_t i = array_count(&s->mask) - 1; i >= 0; i--) {
            array_set(&s->mask, i, rng_chance(&s->rng, share) ? trues[rng_integer(&s->rng, 0, 3)] : 0);
        }
        double *values = expand(&s->mask, full);
        unsigned char *bytes = own(s, must_allocate((size_t)count));
        for (int64_t i = 0; i < count; i++) bytes[i] = values[i] != 0.0;
        free(values);
        t->mask = bytes;
        array_lower_rank(&s->mask, &s->rng);
        s->args.mask = &s->mask.tensor;
    }
}

static enum twin_align any_align(struct scene *s)
{
    return rng_chance(&s->rng, 0.5) ? TWIN_TOP_LEFT : TWIN_BOTTOM_RIGHT; /* the numbers are those of attn_align */
}

static void build_modifiers(struct scene *s)
{
    struct twin_problem *t = &s->twin;
    struct rng *rng = &s->rng;

    if (s->modifiers & SCALE) {
        t->scale_given = true;
        t->scale = rng_chance(rng, 0.1) ? 0.0 : rng_uniform(rng, -1.5, 1.5);
        MUST(attn_mechanism_set_scale(s->mechanism, t->scale));
    }
    if (s->modifiers & SOFTCAP) {
        t->softcap = rng_uniform(rng, 0.5, 30.0);
        MUST(attn_mechanism_set_softcap(s->mechanism, t->softcap));
    }
    if (s->modifiers & TEMPERATURE) {
        t->temperature = rng_uniform(rng, 0.25, 4.0);
        MUST(attn_mechanism_set_temperature(s->mechanism, t->temperature));
    }
    if (s->modifiers & HARDMAX) {
        t->hardmax = true;
        t->tie = FACTOR * dtype_epsilon(s->group->dtype);
        MUST(attn_mechanism_set_normaliser(s->mechanism, ATTN_HARDMAX));
    }
    if (s->modifiers & CAUSAL) {
        t->causal = any_align(s);
        MUST(attn_mechanism_set_causal(s->mechanism, (attn_align)t->causal));
    }
    if (s->modifiers & WINDOW) {
        t->window = any_align(s);
        t->left = rng_integer(rng, -1, 8);
        t->right = rng_integer(rng, -1, 8);
        MUST(attn_mechanism_set_window(s->mechanism, t->left, t->right, (attn_align)t->window));
    }
    if (s->modifiers & ALIBI) {
        t->alibi = any_align(s);
        t->slopes = input(s, &s->slopes, 1, &t->query_heads, 0.3);
        MUST(attn_mechanism_set_alibi(s->mechanism, &s->slopes.tensor, (attn_align)t->alibi));
    }
    /* Refused where a modifier is aligned bottom-right. */
    if (t->causal != TWIN_BOTTOM_RIGHT && t->window != TWIN_BOTTOM_RIGHT && t->alibi != TWIN_BOTTOM_RIGHT) {
        s->args.query_start = t->query_start = rng_chance(rng, 0.5) ? rng_integer(rng, 1, 12) : 0;
    }
    if (s->modifiers & LENGTHS) {
        int64_t *lengths = own(s, must_allocate((size_t)(t->batch + 1) * sizeof *lengths));
        array_create(&s->lengths, rng_chance(rng, 0.5) ? ATTN_I32 : ATTN_I64, 1, &t->batch, LAYOUT_INPUT, rng);
        for (int64_t b = 0; b < t->batch; b++) {
            array_set(&s->lengths, b, rng_chance(rng, 0.1) ? 0.0 : (double)rng_integer(rng, 0, t->keys));
        }
        for (int64_t b = 0; b < t->batch; b++) lengths[b] = (int64_t)array_get(&s->lengths, b);
        t->key_lengths = lengths;
        s->args.key_lengths = &s->lengths.tensor;
    }
}

static void build(struct scene *s, const struct shape *shape)
{
    struct twin_problem *t = &s->twin;
    struct rng *rng = &s->rng;
    bool same_dims = s->group->score == TWIN_DOT || s->group->score == TWIN_SCALED_DOT;
    bool large = shape->queries * shape->keys > 10000;

    t->score = s->group->score;
    t->batch = shape->batch;
    t->query_heads = shape->query_heads;
    t->key_heads = shape->key_heads;
    t->queries = shape->queries;
    t->keys = shape->keys;
    t->query_dim = shape->dim;
    t->key_dim = same_dims ? shape->dim : rng_integer(rng, 1, 2 * shape->dim);
    t->value_dim = rng_integer(rng, 1, 2 * shape->dim);
    t->hidden_dim = rng_integer(rng, 1, large ? 16 : 40);
    if (rng_chance(rng, 0.2)) t->query_dim = same_dims ? t->query_dim : t->hidden_dim;
    if (rng_chance(rng, 0.2)) t->key_dim = same_dims ? t->key_dim : t->hidden_dim;

    int64_t query[4] = {t->batch, t->query_heads, t->queries, t->query_dim};
    int64_t key[4] = {t->batch, t->key_heads, t->keys, t->key_dim};
    int64_t value[4] = {t->batch, t->key_heads, t->keys, t->value_dim};
    s->args = (attn_forward_args)ATTN_FORWARD_ARGS_INIT;
    t->query = input(s, &s->query, 4, query, 1.0);
    s->args.query = &s->query.tensor;
    array_lower_rank(&s->query, rng);
    if (rng_chance(rng, 0.7)) {
        t->value = input(s, &s->value, 4, value, 1.0);
        s->args.value = &s->value.tensor;
        array_lower_rank(&s->value, rng);
    }
    if (!t->value || t->score != TWIN_LOCATION || rng_chance(rng, 0.5)) {
        t->key = input(s, &s->key, 4, key, 1.0);
        s->args.key = &s->key.tensor;
        array_lower_rank(&s->key, rng);
    }
    if (!t->value) t->value_dim = t->key_dim;
    build_mechanism(s);
    build_modifiers(s);
    build_mask_and_bias(s);
}

static void destroy(struct scene *s)
{
    struct array *arrays[] = {&s->query, &s->key, &s->value, &s->mask, &s->bias, &s->lengths, &s->slopes};
    attn_mechanism_destroy(s->mechanism);
    for (size_t i = 0; i < sizeof arrays / sizeof arrays[0]; i++) array_destroy(arrays[i]);
    for (int i = 0; i < 5; i++) array_destroy(&s->params[i]);
    for (int i = 0; i < s->owned_count; i++) free(s->owned[i]);
    twin_free(&s->want);
}

/* ---------------------------------------------------------------------------------- running a case */

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

/* Asks for the outputs in wanted (bits of CONTEXT ..), and compares each with the twin's. */
static void run(struct scene *s, unsigned wanted, int stage)
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

    s->args.scores_stage = stage; /* the twin's stages have the library's numbers */
    for (int o = 0; o < OUTPUTS; o++) {
        *slots[o] = NULL;
        if (!(wanted >> o & 1)) continue;
        array_create(&outputs[o], s->group->dtype, o == LOGSUMEXP ? 3 : 4, o == CONTEXT ? context_shape : shape,
                     LAYOUT_OUTPUT, &s->rng);
        array_lower_rank(&outputs[o], &s->rng);
        *slots[o] = &outputs[o].tensor;
    }
    if (rng_chance(&s->rng, 0.5))
        forward_in_workspace(s);
    else
        MUST(attn_forward(s->mechanism, &s->args));
    for (int o = 0; o < OUTPUTS; o++) {
        if (!(wanted >> o & 1)) continue;
        double worst = assert_close(&outputs[o], want[o], magnitude[o], FACTOR, names[o]);
        if (worst > s->group->worst[o]) s->group->worst[o] = worst;
        if (!array_gaps_intact(&outputs[o])) fail_msg("%s: written outside the tensor", names[o]);
        array_destroy(&outputs[o]);
    }
}

/* Everything that a case is made of follows from these. */
static void one_case(struct group *group, uint64_t seed, unsigned modifiers, const struct shape *shape)
{
    struct scene s = {.group = group, .rng = {seed}, .modifiers = modifiers};
    struct shape any;
    bool large = shape && shape->queries * shape->keys > 10000;

    if (!shape) {
        any.batch = rng_integer(&s.rng, 1, 3);
        any.key_heads = rng_integer(&s.rng, 1, 3);
        any.query_heads = any.key_heads * rng_integer(&s.rng, 1, 3);
        any.queries = rng_chance(&s.rng, 0.15) ? 1 : rng_integer(&s.rng, 1, 21);
        any.keys = rng_chance(&s.rng, 0.1) ? 1 : rng_integer(&s.rng, 1, 37);
        any.dim = rng_chance(&s.rng, 0.1) ? 1 : rng_integer(&s.rng, 1, 33);
        if (rng_chance(&s.rng, 0.3)) any.batch = any.query_heads = any.key_heads = 1;
        shape = &any;
    }
    if (emulated() && seed % EMULATED_SHARE != 0) return;
    group->cases++;
    snprintf(group->doing, sizeof group->doing, "seed %llu, modifiers %#x, B %d Hq %d Hk %d Tq %d Tk %d D %d",
             (unsigned long long)seed, modifiers, (int)shape->batch, (int)shape->query_heads, (int)shape->key_heads,
             (int)shape->queries, (int)shape->keys, (int)shape->dim);
    build(&s, shape);
    twin_run(&s.twin, &s.want);
    run(&s, 15, (int)rng_integer(&s.rng, 0, 3));
    if (!large) {
        unsigned some =
            rng_chance(&s.rng, 0.7) ? 1U << rng_integer(&s.rng, 0, 3) : (unsigned)rng_integer(&s.rng, 1, 14);
        run(&s, some, (int)rng_integer(&s.rng, 0, 3));
    } else {
        run(&s, 1, 0);
    }
    destroy(&s);
    group->doing[0] = 0;
}

static void forward_agrees_with_its_twin(void **state)
{
    struct group *group = *state;
    uint64_t seed = (uint64_t)group->score * 1000000 + (uint64_t)group->dtype * 100000;
    struct rng choice = {seed};

    one_case(group, ++seed, 0, NULL);
    for (int bit = 0; bit < MODIFIERS; bit++) {
        for (int i = 0; i < SINGLES; i++) one_case(group, ++seed, 1U << bit, NULL);
    }
    for (int i = 0; i < COMBINATIONS; i++) {
        unsigned modifiers = (unsigned)rng_bits(&choice) & (unsigned)rng_bits(&choice) & ((1U << MODIFIERS) - 1);
        one_case(group, ++seed, modifiers | (i % 4 ? 0 : CAUSAL) | (i % 5 ? 0 : LENGTHS), NULL);
    }
    for (int i = 0; i < SPECIAL; i++) {
        static const unsigned sets[] = {CAUSAL, 0, BIAS | MASK | LENGTHS, SOFTCAP | ALIBI | WINDOW};
        bool large = special_shapes[i].queries * special_shapes[i].keys > 10000; /* half of the sets, for time */
        for (int set = 0; set < 4; set += 1 + large) one_case(group, ++seed, sets[set], &special_shapes[i]);
    }
}

static int report(void **state)
{
    struct group *g = *state;
    if (g->doing[0]) print_error("while doing: %s\n", g->doing);
    print_message("%s %s: %lld cases, worst context %.2f, weights %.2f, scores %.2f, logsumexp %.2f (of %d eps x "
                  "magnitude)\n",
                  score_names[g->score], g->dtype == ATTN_F32 ? "f32" : "f64", (long long)g->cases, g->worst[CONTEXT],
                  g->worst[WEIGHTS], g->worst[SCORES], g->worst[LOGSUMEXP], FACTOR);
    return 0;
}

int main(void)
{
    static struct group groups[12];
    static char names[12][64];
    struct CMUnitTest tests[12];
    for (int i = 0; i < 12; i++) {
        groups[i].score = (enum twin_score)(i / 2);
        groups[i].dtype = i % 2 ? ATTN_F64 : ATTN_F32;
        snprintf(names[i], sizeof names[i], "%s_%s_agrees_with_its_twin", score_names[i / 2], i % 2 ? "f64" : "f32");
        tests[i] = (struct CMUnitTest){names[i], forward_agrees_with_its_twin, NULL, report, &groups[i]};
    }
    return cmocka_run_group_tests_name("forward_twin", tests, engine_setup, engine_teardown);
}
