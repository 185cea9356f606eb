/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test_backward.c: what holds of gradients whatever their numbers: they are the adjoint of how the results move, they
 * have the same bits for any number of threads, they need no more memory than is told, they are 0 where there is
 * nothing, and hardmax has none.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "backward_scene.h"

static const enum twin_score scores[] = {TWIN_DOT,      TWIN_SCALED_DOT, TWIN_GENERAL,
                                         TWIN_ADDITIVE, TWIN_CONCAT,     TWIN_LOCATION};
enum { SCORES = sizeof scores / sizeof *scores };

/* Tests put engines of their own in the place of the program's; each begins with that one. */
static attn_engine *shared;

static int group_setup(void **state)
{
    const int failed = engine_setup(state);
    shared = engine;
    return failed;
}

static int use_shared_engine(void **state)
{
    (void)state;
    engine = shared;
    return 0;
}

static int group_teardown(void **state)
{
    engine = shared;
    return engine_teardown(state);
}

static const unsigned no_broadcast = LAYOUT_INPUT & ~(unsigned)LAYOUT_BROADCAST;

/* Every gradient that the scene has, from every flow. */
static void create(struct backward *b, struct scene *s, const struct scene_shape *shape)
{
    scene_create(s, shape);
    backward_create(b, s, ALL_FLOWS);
    backward_want(b, ALL_GRADIENTS);
}

static void destroy(struct backward *b)
{
    backward_destroy(b);
    scene_destroy(b->scene);
}

/* ------------------------------------------------------------------------------------------- adjoint */

/* All inputs and parameters, and a direction in which they are moved at once. */
struct path {
    struct array *input[TWIN_GRADIENTS];
    double *start[TWIN_GRADIENTS], *direction[TWIN_GRADIENTS];
};

static void path_create(struct path *path, struct scene *s)
{
    int64_t numbers = 0;
    for (int g = 0; g < TWIN_GRADIENTS; g++) {
        path->input[g] = backward_input(s, g);
        if (path->input[g]) numbers += array_count(path->input[g]);
    }
    for (int g = 0; g < TWIN_GRADIENTS; g++) {
        if (!path->input[g]) continue;
        path->start[g] = array_read(path->input[g]);
        path->direction[g] = array_read(path->input[g]);
        for (int64_t i = 0; i < array_count(path->input[g]); i++) {
            path->direction[g][i] = rng_normal(&s->rng) / sqrt((double)numbers);
        }
    }
}

/* A bias of minus infinity stays what it is. */
static void path_move(struct path *path, double way)
{
    for (int g = 0; g < TWIN_GRADIENTS; g++) {
        for (int64_t i = 0; path->input[g] && i < array_count(path->input[g]); i++) {
            array_set(path->input[g], i, path->start[g][i] + way * path->direction[g][i]);
        }
    }
}

static void path_destroy(struct path *path)
{
    for (int g = 0; g < TWIN_GRADIENTS; g++) {
        if (!path->input[g]) continue;
        free(path->start[g]);
        free(path->direction[g]);
    }
}

/* What flows in, times what comes out; and which weights are not 0, as one number. */
static double loss(struct backward *b, uint64_t *seen)
{
    const struct array *out[FLOWS] = {&b->context, NULL, &b->logsumexp};
    const struct twin_problem *t = &b->scene->twin;
    const int64_t shape[4] = {t->batch, t->query_heads, t->queries, t->keys};
    struct array weights;
    double sum = 0.0;
    array_create(&weights, b->scene->dtype, 4, shape, LAYOUT_PLAIN, NULL);
    out[FLOW_WEIGHTS] = &weights;
    b->forward.weights = &weights.tensor;
    backward_run_forward(b);
    b->forward.weights = NULL;
    *seen = 0;
    for (int64_t i = 0; i < array_count(&weights); i++) *seen = *seen * 31 + (array_get(&weights, i) != 0.0);
    for (int f = 0; f < FLOWS; f++) {
        for (int64_t i = 0; i < array_count(out[f]); i++) {
            const double value = array_get(out[f], i);
            if (value != -INFINITY) sum += array_get(&b->flow[f], i) * value;
        }
    }
    array_destroy(&weights);
    return sum;
}

static int tried, jumped; /* cases */

static void check_adjoint(enum twin_score score, unsigned modifiers, uint64_t seed)
{
    const double step = 2e-4, tolerance = 1e-7;
    struct scene s = {.score = score, .dtype = ATTN_F64, .rng = {seed}, .modifiers = modifiers, .layout = no_broadcast};
    const struct scene_shape shape = scene_any_shape(&s.rng);
    struct backward b;
    struct path path;
    double around[4], inner = 0.0, size = 1.0;
    uint64_t seen[4];
    create(&b, &s, &shape);
    path_create(&path, &s);
    backward_run(&b);
    for (int g = 0; g < TWIN_GRADIENTS; g++) {
        for (int64_t i = 0; path.input[g] && i < array_count(path.input[g]); i++) {
            const double term = array_get(&b.gradient[g], i) * path.direction[g][i];
            inner += term;
            size += fabs(term);
        }
    }
    for (int i = 0; i < 4; i++) {
        path_move(&path, step * (i < 2 ? i - 2 : i - 1));
        around[i] = loss(&b, &seen[i]);
    }
    const double moved = (around[0] - 8.0 * around[1] + 8.0 * around[2] - around[3]) / (12.0 * step);
    /* Where a key comes into a predicted window on the way, or leaves it, there is no derivative. */
    const bool jumps = modifiers & HAS_LOCAL && (seen[0] != seen[1] || seen[1] != seen[2] || seen[2] != seen[3]);
    jumped += jumps;
    tried++;
    if (!jumps && !(fabs(moved - inner) <= tolerance * size)) {
        fail_msg("%s, seed %d, modifiers %#x: moves by %.12g, but the gradients say %.12g", scene_score_names[score],
                 (int)seed, modifiers, moved, inner);
    }
    path_destroy(&path);
    destroy(&b);
}

/* <J x, y> = <x, J^T y>. */
static void gradients_are_the_adjoint_of_how_the_results_move(void **state)
{
    enum { CASES = 40 };
    (void)state;
    for (int k = 0; k < SCORES; k++) {
        struct rng rng = {(uint64_t)k};
        for (int i = 0; i < (few_cases() ? CASES / 10 : CASES); i++) {
            const unsigned any = (unsigned)rng_bits(&rng) & (HAS_HARDMAX - 1);
            check_adjoint(scores[k], i == 0 ? 0 : any, 9000 + (uint64_t)(100 * k + i));
        }
    }
    print_message("%d of %d cases jump\n", jumped, tried);
    assert_true(jumped <= tried / 20);
}

/* ------------------------------------------------------------------------------------------- threads */

/* Counts, and fails where it is told to. */
struct meter {
    atomic_llong asked, bytes;
    atomic_bool failing;
};

/* Memory with NaN in every element: nothing may be read that was not written. */
static void *allocate_filled(void *data, size_t bytes, size_t alignment)
{
    struct meter *meter = data;
    if (meter != NULL) {
        atomic_fetch_add(&meter->asked, 1);
        atomic_fetch_add(&meter->bytes, (long long)bytes);
        if (atomic_load(&meter->failing)) return NULL;
    }
    const size_t whole = (bytes + alignment - 1) / alignment * alignment;
    unsigned char *memory = aligned_alloc(alignment, whole);
    if (memory != NULL) memset(memory, 0xFF, whole);
    return memory;
}

static void release(void *data, void *memory, size_t bytes)
{
    (void)data, (void)bytes;
    free(memory);
}

static void execute_backwards(void *data, int64_t count, attn_task_fn task, void *task_data)
{
    (void)data;
    for (int64_t i = count - 1; i >= 0; i--) task(task_data, i);
}

static const struct {
    struct scene_shape shape;
    unsigned modifiers;
} large[] = {
    {{2, 8, 4, 70, 300, 24}, HAS_CAUSAL},                                     /* many heads */
    {{1, 1, 1, 90, 2100, 12}, 0},                                             /* one head, many keys */
    {{1, 2, 1, 900, 130, 12}, HAS_MASK | HAS_BIAS | HAS_ALIBI | HAS_SOFTCAP}, /* many queries that share keys */
    {{3, 4, 2, 1, 1500, 32}, HAS_LENGTHS},                                    /* a decoder's step */
    {{1, 1, 1, 400, 500, 16}, HAS_WINDOW | HAS_BIAS | HAS_TEMPERATURE},       /* one head */
};
enum { LARGE = sizeof large / sizeof *large };

/* The same problem on an engine of its own; its gradients stay. */
static void run_on_engine(struct backward *b, struct scene *s, const struct scene_shape *shape, int number)
{
    static const int32_t threads[] = {1, 2, 3, 3, 7};
    attn_engine_options options = ATTN_ENGINE_OPTIONS_INIT;
    void *block = NULL;
    options.threads = threads[number];
    options.allocate = allocate_filled;
    options.release = release;
    options.execute = number == 4 ? execute_backwards : NULL;
    MUST(attn_engine_create(&options, &engine));
    create(b, s, shape);
    if (number == 3) {
        size_t bytes;
        MUST(attn_backward_workspace(s->mechanism, &b->args, &bytes));
        b->args.workspace = block = must_allocate(bytes);
        b->args.workspace_size = bytes;
        memset(block, 0xFF, bytes);
    }
    backward_run(b);
    attn_engine_destroy(engine); /* the mechanism keeps it */
    engine = shared;
    free(block);
}

static void gradients_have_the_same_bits_for_any_number_of_threads(void **state)
{
    enum { RUNS = 5 };
    const enum twin_score score = *(const enum twin_score *)*state;
    for (int k = 0; k < 2 * LARGE; k++) {
        struct scene scenes[RUNS];
        struct backward calls[RUNS];
        if (few_cases() && k % 3 != 0) continue;
        for (int run = 0; run < RUNS; run++) {
            scenes[run] = (struct scene){.score = score,
                                         .dtype = k % 2 ? ATTN_F64 : ATTN_F32,
                                         .rng = {(uint64_t)k},
                                         .modifiers = large[k / 2].modifiers,
                                         .layout = LAYOUT_INPUT,
                                         .without_twin = true};
            run_on_engine(&calls[run], &scenes[run], &large[k / 2].shape, run);
            for (int g = 0; g < TWIN_GRADIENTS && run > 0; g++) {
                const struct array *first = &calls[0].gradient[g];
                if (!(calls[0].wanted >> g & 1)) continue;
                if (array_same_bits(first, &calls[run].gradient[g], 0, array_count(first))) continue;
                fail_msg("%s: %s of call %d differs in run %d", scene_score_names[score], gradient_names[g], k, run);
            }
        }
        for (int run = 0; run < RUNS; run++) destroy(&calls[run]);
    }
}

/* -------------------------------------------------------------------------------------------- memory */

static void fill_gradients(struct backward *b, double value)
{
    for (int g = 0; g < TWIN_GRADIENTS; g++) {
        if (b->wanted >> g & 1) array_fill(&b->gradient[g], value);
    }
}

static void assert_gradients_hold(const struct backward *b, double value)
{
    for (int g = 0; g < TWIN_GRADIENTS; g++) {
        for (int64_t i = 0; b->wanted >> g & 1 && i < array_count(&b->gradient[g]); i++) {
            const double got = array_get(&b->gradient[g], i);
            if (got != value) fail_msg("%s[%d] is %g, not %g", gradient_names[g], (int)i, got, value);
        }
    }
}

/* On an engine that is warm: its threads are there. Returns how often a call without a workspace allocates. */
static int64_t check_memory(struct backward *b, struct meter *meter)
{
    const attn_mechanism *mechanism = b->scene->mechanism;
    size_t bytes = 0;
    backward_run(b);
    atomic_store(&meter->asked, 0);
    atomic_store(&meter->bytes, 0);
    MUST(attn_backward_workspace(mechanism, &b->args, &bytes));
    backward_run(b);
    const int64_t asked = atomic_load(&meter->asked);
    assert_in_range(asked, 0, 1);
    assert_true(atomic_load(&meter->bytes) <= (long long)bytes);

    /* Exactly as much as is asked for is enough, and then nothing is allocated; a byte less is refused. */
    unsigned char *block = must_allocate(bytes);
    fill_gradients(b, 7.0);
    b->args.workspace = block;
    b->args.workspace_size = bytes - 1;
    if (bytes > 0) assert_int_equal(attn_backward(mechanism, &b->args), ATTN_ERR_BUFFER);
    if (bytes > 0) assert_gradients_hold(b, 7.0);
    b->args.workspace_size = bytes;
    atomic_store(&meter->failing, true);
    backward_run(b);
    assert_int_equal(atomic_load(&meter->asked), asked);
    b->args.workspace = NULL;
    b->args.workspace_size = 0;
    free(block);

    fill_gradients(b, 7.0);
    if (asked > 0) assert_int_equal(attn_backward(mechanism, &b->args), ATTN_ERR_NOMEM);
    if (asked > 0) assert_gradients_hold(b, 7.0);
    atomic_store(&meter->failing, false);
    backward_run(b);
    return asked;
}

static void memory_is_asked_for_once_or_not_at_all_with_a_workspace(void **state)
{
    static const struct scene_shape shape = {2, 4, 2, 70, 300, 16};
    int64_t asked = 0;
    (void)state;
    for (int k = 0; k < 4 * SCORES; k++) {
        static struct meter meter;
        attn_engine_options options = ATTN_ENGINE_OPTIONS_INIT;
        struct scene s = {.score = scores[k / 4],
                          .dtype = k & 1 ? ATTN_F64 : ATTN_F32,
                          .rng = {(uint64_t)k},
                          .modifiers = HAS_MASK | HAS_BIAS,
                          .layout = LAYOUT_INPUT,
                          .without_twin = true};
        struct backward b;
        if (few_cases() && k % 3 != 0) continue;
        atomic_store(&meter.failing, false);
        options.threads = k & 2 ? 3 : 1;
        options.allocate = allocate_filled;
        options.release = release;
        options.allocator_data = &meter;
        MUST(attn_engine_create(&options, &engine));
        create(&b, &s, &shape);
        asked += check_memory(&b, &meter);
        destroy(&b);
        attn_engine_destroy(engine);
        engine = shared;
    }
    assert_true(asked > 0); /* or nothing has failed */
}

/* --------------------------------------------------------------------------------- keys that are values */

static void keys_that_are_the_values_get_the_sum_of_both_gradients(void **state)
{
    (void)state;
    for (int k = 0; k < 2 * SCORES; k++) {
        struct scene both = {0};
        struct backward as_one, as_two;
        for (uint64_t seed = 300; !both.mechanism; seed++) { /* until it has no value */
            const struct scene_shape shape = {2, 4, 2, 9, 70, 5};
            both = (struct scene){.score = scores[k / 2],
                                  .dtype = k % 2 ? ATTN_F64 : ATTN_F32,
                                  .rng = {seed},
                                  .modifiers = HAS_CAUSAL,
                                  .layout = no_broadcast};
            scene_create(&both, &shape);
            if (both.args.value) scene_destroy(&both), both.mechanism = NULL;
        }
        struct scene apart = both; /* the same tensor twice */
        apart.args.value = apart.args.key;
        apart.value = apart.key;
        backward_create(&as_one, &both, ALL_FLOWS);
        apart.rng = both.rng;
        backward_create(&as_two, &apart, ALL_FLOWS);
        for (int f = 0; f < FLOWS; f++) {
            double *flow = array_read(&as_one.flow[f]);
            array_write(&as_two.flow[f], flow);
            free(flow);
        }
        backward_want(&as_one, ALL_GRADIENTS);
        backward_want(&as_two, ALL_GRADIENTS);
        backward_run(&as_one);
        backward_run(&as_two);
        double *want = array_read(&as_two.gradient[TWIN_D_KEY]), *magnitude = array_read(&as_two.gradient[TWIN_D_KEY]);
        double value_size = 0.0;
        struct twin_gradient_result twin;
        backward_run_twin(&as_one, &twin);
        for (int64_t i = 0; i < array_count(&as_two.gradient[TWIN_D_KEY]); i++) {
            want[i] += array_get(&as_two.gradient[TWIN_D_VALUE], i);
            magnitude[i] = twin.magnitude[TWIN_D_KEY][i];
            value_size += fabs(array_get(&as_two.gradient[TWIN_D_VALUE], i));
        }
        assert_close(&as_one.gradient[TWIN_D_KEY], want, magnitude, 2 * SCENE_FACTOR, "d_key of both");
        assert_true(value_size > 1.0);
        twin_gradient_free(&twin);
        free(want);
        free(magnitude);
        backward_destroy(&as_two);
        destroy(&as_one);
    }
}

/* ------------------------------------------------------------------------------------------- exactness */

/* The greatest part by which weights that the way back makes of large scores do not add up to 1: values' gradients are
 * weights here, the context's being 1. */
static double excess_of_weights(int64_t queries, double size, attn_dtype of_logsumexp)
{
    enum { KEYS = 90, DIM = 16, MOST = 70 };
    static float query[MOST * DIM], key[KEYS * DIM], value[KEYS], context[MOST], d_context[MOST], d_value[KEYS];
    static double logsumexp[MOST];
    struct rng rng = {17};
    attn_mechanism *mechanism;
    attn_forward_args args = ATTN_FORWARD_ARGS_INIT;
    attn_backward_args back = ATTN_BACKWARD_ARGS_INIT;
    attn_tensor q, k, v, c, l, d_c, d_v;
    double most = 0.0;
    for (int i = 0; i < MOST * DIM; i++) query[i] = (float)(size * rng_normal(&rng));
    for (int i = 0; i < KEYS * DIM; i++) key[i] = (float)(5 * rng_normal(&rng));
    MUST(attn_mechanism_create_dot(engine, &mechanism));
    MUST(attn_tensor_init(&q, query, ATTN_F32, 2, (int64_t[]){queries, DIM}));
    MUST(attn_tensor_init(&k, key, ATTN_F32, 2, (int64_t[]){KEYS, DIM}));
    MUST(attn_tensor_init(&v, value, ATTN_F32, 2, (int64_t[]){KEYS, 1}));
    MUST(attn_tensor_init(&c, context, ATTN_F32, 2, (int64_t[]){queries, 1}));
    MUST(attn_tensor_init(&l, logsumexp, of_logsumexp, 1, &queries));
    MUST(attn_tensor_init(&d_c, d_context, ATTN_F32, 2, (int64_t[]){queries, 1}));
    MUST(attn_tensor_init(&d_v, d_value, ATTN_F32, 2, (int64_t[]){KEYS, 1}));
    args.query = &q, args.key = &k, args.value = &v, args.context = &c, args.logsumexp = &l;
    back.forward = &args, back.d_context = &d_c, back.d_value = &d_v;
    MUST(attn_forward(mechanism, &args));
    for (int64_t i = 0; i < queries; i++) { /* one query after the other */
        double sum = 0.0;
        for (int64_t j = 0; j < queries; j++) d_context[j] = j == i;
        MUST(attn_backward(mechanism, &back));
        for (int j = 0; j < KEYS; j++) sum += (double)d_value[j];
        most = fmax(most, fabs(sum - 1.0));
    }
    attn_mechanism_destroy(mechanism);
    return most;
}

static void from_an_exact_log_sum_exp_weights_add_up_to_one(void **state)
{
    static const int64_t queries[] = {1, 3, 8, 9, 70};
    const char *way = getenv("ATTN_WAY");
    const bool is_blas = way && strcmp(way, "blas") == 0;
    (void)state;
    for (int i = 0; i < 5; i++) {
        const double exact = excess_of_weights(queries[i], 2.5, ATTN_F64);
        const double rounded = excess_of_weights(queries[i], 2.5, ATTN_F32);
        if (!(exact <= 1e-6)) fail_msg("%d queries: off by %g", (int)queries[i], exact);
        if (is_blas) assert_true(rounded <= 1e-6);                 /* which has whole rows, and needs no log-sum-exp */
        assert_true(is_blas || queries[i] < 70 || rounded > 2e-6); /* or there would be nothing to see */
    }
}

/* A rounding of theirs is a factor to be seen; they are added up anew. */
static void weights_of_great_scores_add_up_to_one_from_any_log_sum_exp(void **state)
{
    static const int64_t queries[] = {1, 3, 8, 9, 70};
    (void)state;
    for (int i = 0; i < 5; i++) {
        for (int exact = 0; exact < 2; exact++) {
            const double off = excess_of_weights(queries[i], 2000, exact ? ATTN_F64 : ATTN_F32);
            if (!(off <= 1e-6)) fail_msg("%d queries, %s: off by %g", (int)queries[i], exact ? "exact" : "float", off);
        }
    }
}

/* ------------------------------------------------------------------------------------------- nothing */

static void where_there_is_nothing_gradients_are_zero_or_stay(void **state)
{
    static const struct scene_shape empty[] = {{0, 2, 1, 3, 4, 5}, {2, 4, 2, 0, 4, 5}, {2, 4, 2, 3, 0, 5}};
    const unsigned all = HAS_BIAS | HAS_ALIBI | HAS_MASK | HAS_LENGTHS | HAS_CAUSAL | HAS_SOFTCAP;
    (void)state;
    for (int k = 0; k < SCORES * 3 * 4; k++) {
        const int32_t accumulate = k & 1;
        struct backward b;
        struct scene s = {.score = scores[k / 12],
                          .dtype = k & 2 ? ATTN_F64 : ATTN_F32,
                          .rng = {(uint64_t)k},
                          .modifiers = all,
                          .layout = no_broadcast};
        int64_t elements = 0;
        create(&b, &s, &empty[k / 4 % 3]);
        b.args.accumulate = accumulate;
        fill_gradients(&b, 7.0);
        backward_run(&b);
        assert_gradients_hold(&b, accumulate ? 7.0 : 0.0);
        for (int g = 0; g < TWIN_GRADIENTS; g++) elements += b.wanted >> g & 1 ? array_count(&b.gradient[g]) : 0;
        assert_true(elements > 0); /* the slopes, at least */
        destroy(&b);
    }
}

/* ------------------------------------------------------------------------------------------- hardmax */

static void hardmax_is_refused_and_nothing_is_written(void **state)
{
    (void)state;
    for (int k = 0; k < SCORES; k++) {
        const struct scene_shape shape = {1, 2, 1, 5, 6, 4};
        struct scene s = {.score = scores[k], .dtype = ATTN_F32, .rng = {1}, .modifiers = HAS_HARDMAX};
        struct backward b;
        size_t bytes = 77;
        create(&b, &s, &shape);
        fill_gradients(&b, 7.0);
        assert_int_equal(attn_backward(s.mechanism, &b.args), ATTN_ERR_UNSUPPORTED);
        assert_non_null(strstr(attn_last_error(), "hardmax"));
        assert_int_equal(attn_backward_workspace(s.mechanism, &b.args, &bytes), ATTN_ERR_UNSUPPORTED);
        assert_int_equal(bytes, 77);
        assert_gradients_hold(&b, 7.0);
        destroy(&b);
    }
}

#define AFRESH(test) cmocka_unit_test_setup(test, use_shared_engine)

int main(void)
{
    static char names[SCORES][96];
    struct CMUnitTest tests[SCORES + 7] = {
        AFRESH(gradients_are_the_adjoint_of_how_the_results_move),
        AFRESH(memory_is_asked_for_once_or_not_at_all_with_a_workspace),
        AFRESH(keys_that_are_the_values_get_the_sum_of_both_gradients),
        AFRESH(from_an_exact_log_sum_exp_weights_add_up_to_one),
        AFRESH(weights_of_great_scores_add_up_to_one_from_any_log_sum_exp),
        AFRESH(where_there_is_nothing_gradients_are_zero_or_stay),
        AFRESH(hardmax_is_refused_and_nothing_is_written),
    };
    for (int k = 0; k < SCORES; k++) {
        snprintf(names[k], sizeof names[k], "gradients_have_the_same_bits_for_any_number_of_threads: %s",
                 scene_score_names[scores[k]]);
        tests[7 + k] = (struct CMUnitTest){names[k], gradients_have_the_same_bits_for_any_number_of_threads,
                                           use_shared_engine, NULL, (void *)(uintptr_t)&scores[k]};
    }
    return cmocka_run_group_tests_name("backward", tests, group_setup, group_teardown);
}
