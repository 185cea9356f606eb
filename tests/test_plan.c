/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test_plan.c: a planned call (attn_plan) has the bits of attn_forward wherever its tensors lie, with other lengths, a
 * memory that grows and a mechanism that changes; what is not as it was planned is refused, and loses nothing.
 * test_forward_twin.c runs plans of every score and modifier; the numbers here are those of attn_forward.
 */
#define _POSIX_C_SOURCE 200809L
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support.h"
#include "twin_scene.h"

/* ------------------------------------------------------------------------------------------- one scene */

enum { CONTEXT, WEIGHTS, SCORES, LOGSUMEXP, ENTROPY, STRONGEST, KEY_SUMS, OUTPUTS };

/* Outputs of a call, every one that there is, and arguments that name them. */
struct outputs {
    struct array array[OUTPUTS];
    attn_weights_stats stats;
    attn_forward_args args;
};

static void outputs_create(struct outputs *o, const struct scene *s)
{
    const struct twin_problem *t = &s->twin;
    const int64_t context[4] = {t->batch, t->query_heads, t->queries, t->value_dim};
    const int64_t scores[4] = {t->batch, t->query_heads, t->queries, t->keys};
    const int64_t sums[3] = {t->batch, t->query_heads, t->keys};
    const int64_t *const shapes[OUTPUTS] = {context, scores, scores, scores, scores, scores, sums};
    for (int i = 0; i < OUTPUTS; i++) {
        const attn_dtype dtype = i == CONTEXT ? s->dtype : i == STRONGEST ? ATTN_I64 : dtype_computed(s->dtype);
        array_create(&o->array[i], dtype, i < LOGSUMEXP ? 4 : 3, shapes[i], LAYOUT_PLAIN, NULL);
        array_fill(&o->array[i], -7);
    }
    o->stats = (attn_weights_stats)ATTN_WEIGHTS_STATS_INIT;
    o->stats.entropy = &o->array[ENTROPY].tensor;
    o->stats.strongest = &o->array[STRONGEST].tensor;
    o->stats.key_sums = &o->array[KEY_SUMS].tensor;
    o->args = s->args;
    o->args.context = &o->array[CONTEXT].tensor;
    o->args.weights = &o->array[WEIGHTS].tensor;
    o->args.scores = &o->array[SCORES].tensor;
    o->args.scores_stage = ATTN_SCORES_MASKED;
    o->args.logsumexp = &o->array[LOGSUMEXP].tensor;
    o->args.stats = &o->stats;
}

static void outputs_destroy(struct outputs *o)
{
    for (int i = 0; i < OUTPUTS; i++) array_destroy(&o->array[i]);
}

static void assert_same(const struct outputs *got, const struct outputs *want)
{
    for (int i = 0; i < OUTPUTS; i++) {
        if (array_same_bits(&got->array[i], &want->array[i], 0, array_count(&want->array[i]))) continue;
        fail_msg("output %d has other bits than attn_forward's", i);
    }
}

static void assert_untouched(const struct outputs *o)
{
    for (int i = 0; i < OUTPUTS; i++) {
        for (int64_t k = 0; k < array_count(&o->array[i]); k++) assert_true(array_get(&o->array[i], k) == -7);
    }
}

static void clear(struct outputs *o)
{
    for (int i = 0; i < OUTPUTS; i++) array_fill(&o->array[i], -7);
}

/* A copy of the same form, elsewhere, with other numbers. */
static struct array elsewhere(const struct array *like, struct rng *rng)
{
    struct array copy;
    array_create(&copy, like->tensor.dtype, like->tensor.ndim, like->tensor.shape, LAYOUT_PLAIN, NULL);
    array_fill_normal(&copy, rng, 1);
    return copy;
}

/* Two queries' rows and many, lanes that stay empty, keys in parts, heads that share. */
static const struct scene_shape shapes[] = {{2, 4, 2, 3, 37, 20}, {1, 2, 1, 70, 133, 17}, {2, 4, 1, 1, 2100, 24}};
enum { SHAPES = sizeof shapes / sizeof *shapes };

static const unsigned modifiers[] = {0,
                                     HAS_MASK | HAS_BIAS,
                                     HAS_CAUSAL | HAS_LENGTHS,
                                     HAS_ALIBI | HAS_SOFTCAP,
                                     HAS_RELATIVE | HAS_LENGTHS,
                                     HAS_LOCAL | HAS_TEMPERATURE,
                                     HAS_DROPOUT,
                                     HAS_HARDMAX | HAS_WINDOW};
enum { MODIFIERS = sizeof modifiers / sizeof *modifiers };

static void scene_of(struct scene *s, int k, attn_dtype dtype)
{
    *s = (struct scene){.score = (enum twin_score)(k % (TWIN_LOCATION + 1)),
                        .dtype = dtype,
                        .rng = {(uint64_t)k},
                        .modifiers = modifiers[k / SHAPES % MODIFIERS],
                        .layout = LAYOUT_PLAIN,
                        .without_twin = true};
    scene_create(s, &shapes[k % SHAPES]);
}

/* ----------------------------------------------------------------------------------------------- moved */

static void runs_are_forward_calls_wherever_tensors_lie(void **state)
{
    (void)state;
    for (int k = 0; k < SHAPES * MODIFIERS * 2; k++) {
        struct scene s;
        struct outputs at, want;
        struct rng rng = {(uint64_t)k};
        attn_plan *plan = NULL;
        static const attn_dtype dtypes[] = {ATTN_F64, ATTN_F32, ATTN_F32, ATTN_F16, ATTN_BF16};
        scene_of(&s, k, dtypes[k % 5]);
        outputs_create(&at, &s);
        outputs_create(&want, &s);
        MUST(attn_plan_create(s.mechanism, &at.args, &plan));
        assert_untouched(&at);

        MUST(attn_forward(s.mechanism, &want.args));
        MUST(attn_plan_run(plan, NULL));
        assert_same(&at, &want);

        struct outputs other;
        struct array query = elsewhere(&s.query, &rng), key = elsewhere(&s.key, &rng);
        outputs_create(&other, &s);
        other.args.query = want.args.query = &query.tensor;
        if (s.args.key != NULL) other.args.key = want.args.key = &key.tensor;
        other.args.dropout_seed = want.args.dropout_seed = 77;
        other.args.dropout_offset = want.args.dropout_offset = 5;
        MUST(attn_forward(s.mechanism, &want.args));
        clear(&at);
        MUST(attn_plan_run(plan, &other.args));
        assert_same(&other, &want);
        assert_untouched(&at);

        clear(&other); /* the last place is remembered */
        MUST(attn_plan_run(plan, NULL));
        assert_same(&other, &want);

        for (int i = 0; i < s.param_count; i++) { /* a training program has taken a step */
            for (int64_t e = 0; e < array_count(&s.params[i]); e++) {
                array_set(&s.params[i], e, array_get(&s.params[i], e) / 2);
            }
        }
        MUST(attn_forward(s.mechanism, &at.args));
        for (int i = 0; i < OUTPUTS; i++) {
            double *numbers = array_read(&at.array[i]);
            array_write(&want.array[i], numbers);
            free(numbers);
        }
        clear(&at);
        MUST(attn_plan_run(plan, &at.args));
        assert_same(&at, &want);

        attn_plan_destroy(plan);
        outputs_destroy(&at);
        outputs_destroy(&want);
        outputs_destroy(&other);
        array_destroy(&query);
        array_destroy(&key);
        scene_destroy(&s);
    }
}

/* ------------------------------------------------------------------------- what may change between runs */

enum { B = 2, HQ = 4, HK = 2, TQ = 3, TK = 40, D = 16, DV = 12 };
static const struct dims sizes = {B, HQ, HK, TQ, TK, D, DV};

struct pair {
    struct rule rule;
    struct fixture plan, want; /* the same numbers */
};

static void pair_create(struct pair *p, enum rule_kind kind)
{
    rule_create(&p->rule, engine, kind, D, D);
    fixture_create(&p->plan, &sizes, 3);
    fixture_create(&p->want, &sizes, 3);
}

static void pair_destroy(struct pair *p)
{
    fixture_destroy(&p->plan);
    fixture_destroy(&p->want);
    rule_destroy(&p->rule);
}

static void check(struct pair *p, attn_plan *plan, const attn_forward_args *args)
{
    MUST(attn_forward(p->rule.mechanism, &p->want.args));
    MUST(attn_plan_run(plan, args));
    assert_same_bits(&p->plan, &p->want, B * HQ * TQ);
}

static void lengths_and_positions_may_change(void **state)
{
    (void)state;
    struct pair p;
    attn_plan *plan;
    pair_create(&p, RULE_SCALED_DOT);
    MUST(attn_mechanism_set_causal(p.rule.mechanism, ATTN_ALIGN_TOP_LEFT));
    p.plan.args.key_lengths = &p.plan.lengths.tensor;
    p.want.args.key_lengths = &p.want.lengths.tensor;
    MUST(attn_plan_create(p.rule.mechanism, &p.plan.args, &plan));
    for (int64_t length = 0; length <= TK; length += 13) {
        array_set(&p.plan.lengths, 1, (double)length);
        array_set(&p.want.lengths, 1, (double)length);
        p.plan.args.query_start = p.want.args.query_start = length / 2;
        check(&p, plan, &p.plan.args);
        check(&p, plan, NULL);
    }

    array_fill(&p.plan.context, -7);
    array_set(&p.plan.lengths, 1, TK + 1); /* whatever is in it now was not there when the call was planned */
    for (int i = 0; i < 2; i++) {
        assert_int_equal(attn_plan_run(plan, i == 0 ? NULL : &p.plan.args), ATTN_ERR_ARGUMENT);
        assert_non_null(strstr(attn_last_error(), "attn_plan_run: key_lengths[1] is 41, but must be 0 .. 40"));
        assert_true(array_get(&p.plan.context, 0) == -7);
    }
    array_set(&p.plan.lengths, 1, 13);
    array_set(&p.want.lengths, 1, 13);
    p.plan.args.query_start = INT64_MAX;
    assert_int_equal(attn_plan_run(plan, &p.plan.args), ATTN_ERR_ARGUMENT);
    check(&p, plan, NULL); /* where it was before */
    attn_plan_destroy(plan);
    pair_destroy(&p);
}

/* Where nothing else moves, too. */
static void what_is_drawn_may_change_alone(void **state)
{
    (void)state;
    struct pair p;
    attn_plan *plan;
    pair_create(&p, RULE_SCALED_DOT);
    p.plan.args.dropout = p.want.args.dropout = 0.5;
    MUST(attn_plan_create(p.rule.mechanism, &p.plan.args, &plan));
    for (uint64_t i = 0; i < 4; i++) {
        p.plan.args.dropout_seed = p.want.args.dropout_seed = i / 2;
        p.plan.args.dropout_offset = p.want.args.dropout_offset = i % 3 > 0 ? TK : 0; /* one of the two */
        check(&p, plan, &p.plan.args);
    }
    attn_plan_destroy(plan);
    pair_destroy(&p);
}

/* The farther apart sequences end, the more distances there are: they need more scratch than was planned. */
static void relative_biases_follow_the_lengths(void **state)
{
    (void)state;
    struct pair p;
    attn_plan *plan;
    attn_tensor table;
    double numbers[HQ * (2 * TK + 1)];
    pair_create(&p, RULE_SCALED_DOT);
    for (int i = 0; i < HQ * (2 * TK + 1); i++) numbers[i] = 0.01 * i;
    MUST(attn_tensor_init(&table, numbers, ATTN_F64, 2, (int64_t[]){HQ, 2 * TK + 1}));
    MUST(
        attn_mechanism_set_relative_bias(p.rule.mechanism, &table, ATTN_RELATIVE_CLIPPED, TK, ATTN_ALIGN_BOTTOM_RIGHT));
    p.plan.args.key_lengths = &p.plan.lengths.tensor;
    p.want.args.key_lengths = &p.want.lengths.tensor;
    MUST(attn_plan_create(p.rule.mechanism, &p.plan.args, &plan));
    for (int64_t length = TK; length >= 0; length -= 10) {
        array_set(&p.plan.lengths, 1, (double)length);
        array_set(&p.want.lengths, 1, (double)length);
        check(&p, plan, length % 20 == 0 ? NULL : &p.plan.args);
    }
    attn_plan_destroy(plan);
    pair_destroy(&p);
}

static void a_changed_mechanism_is_followed(void **state)
{
    (void)state;
    for (int kind = RULE_SCALED_DOT; kind <= RULE_ADDITIVE; kind++) {
        struct pair p;
        attn_plan *plan;
        pair_create(&p, (enum rule_kind)kind);
        attn_mechanism *m = p.rule.mechanism;
        MUST(attn_plan_create(m, &p.plan.args, &plan));
        check(&p, plan, NULL);
        MUST(attn_mechanism_set_scale(m, 0.3));
        check(&p, plan, NULL);
        MUST(attn_mechanism_set_softcap(m, 2));
        check(&p, plan, &p.plan.args);
        MUST(attn_mechanism_set_temperature(m, 0.5));
        check(&p, plan, NULL);
        MUST(attn_mechanism_set_causal(m, ATTN_ALIGN_BOTTOM_RIGHT));
        check(&p, plan, NULL);
        MUST(attn_mechanism_set_window(m, 5, 0, ATTN_ALIGN_BOTTOM_RIGHT));
        check(&p, plan, NULL);
        double slopes[HQ] = {0.5, 0.25, 0.125, 1}, table[HQ * 5] = {1, 2, 3, 4, 5, -1, -2};
        attn_tensor tensor;
        MUST(attn_tensor_init(&tensor, slopes, ATTN_F64, 1, (int64_t[]){HQ}));
        MUST(attn_mechanism_set_alibi(m, &tensor, ATTN_ALIGN_BOTTOM_RIGHT));
        check(&p, plan, NULL);
        MUST(attn_tensor_init(&tensor, table, ATTN_F64, 2, (int64_t[]){HQ, 5}));
        MUST(attn_mechanism_set_relative_bias(m, &tensor, ATTN_RELATIVE_CLIPPED, 2, ATTN_ALIGN_BOTTOM_RIGHT));
        check(&p, plan, NULL); /* which takes more scratch */
        MUST(attn_mechanism_set_relative_bias(m, NULL, ATTN_RELATIVE_NONE, 0, ATTN_ALIGN_NONE));
        MUST(attn_mechanism_set_local(m, ATTN_LOCAL_MONOTONIC, 4, 0, 0));
        check(&p, plan, NULL);
        MUST(attn_mechanism_set_local(m, ATTN_LOCAL_NONE, 0, 0, 0));
        MUST(attn_mechanism_set_normaliser(m, ATTN_HARDMAX));
        check(&p, plan, NULL);
        if (kind != RULE_SCALED_DOT) {
            MUST(attn_mechanism_bind_param(m, "W", NULL));
            array_fill(&p.plan.context, -7);
            assert_int_equal(attn_plan_run(plan, NULL), ATTN_ERR_PARAMETER);
            assert_int_equal(attn_plan_run(plan, &p.plan.args), ATTN_ERR_PARAMETER);
            assert_true(array_get(&p.plan.context, 0) == -7);
            MUST(attn_mechanism_bind_param(m, "W", &p.rule.W.tensor));
            check(&p, plan, NULL);
        }
        attn_plan_destroy(plan);
        pair_destroy(&p);
    }
}

/* A table or slopes whose numbers change in place, as learned ones do. */
static void numbers_of_parameters_are_read_by_each_run(void **state)
{
    (void)state;
    struct scene s;
    struct outputs at, want;
    attn_plan *plan;
    for (int which = 0; which < 2; which++) {
        s = (struct scene){.score = TWIN_SCALED_DOT,
                           .dtype = ATTN_F32,
                           .rng = {9},
                           .modifiers = which == 0 ? HAS_ALIBI : HAS_RELATIVE,
                           .layout = LAYOUT_PLAIN,
                           .without_twin = true};
        scene_create(&s, &shapes[1]);
        outputs_create(&at, &s);
        outputs_create(&want, &s);
        MUST(attn_plan_create(s.mechanism, &at.args, &plan));
        static const double factors[] = {1, 1e30, 0.5, -3}; /* slopes so great take another way within */
        for (int i = 0; i < 4; i++) {
            struct array *numbers = which == 0 ? &s.slopes : &s.table;
            for (int64_t j = 0; j < array_count(numbers); j++) {
                array_set(numbers, j, (double)(j + 1) * 0.1 * (which == 0 ? factors[i] : (double)i));
            }
            MUST(attn_forward(s.mechanism, &want.args));
            MUST(attn_plan_run(plan, i % 2 == 0 ? NULL : &at.args));
            assert_same(&at, &want);
        }
        attn_plan_destroy(plan);
        outputs_destroy(&at);
        outputs_destroy(&want);
        scene_destroy(&s);
    }
}

static attn_memory *memory_of(const struct pair *p, int64_t batch, int64_t capacity)
{
    attn_memory_options options = ATTN_MEMORY_OPTIONS_INIT;
    attn_memory *memory;
    options.dtype = ATTN_F64;
    options.batch = batch;
    options.key_heads = HK;
    options.key_dim = D;
    options.value_dim = DV;
    options.capacity = capacity;
    MUST(attn_memory_create(p->rule.mechanism, &options, &memory));
    return memory;
}

static void reorder(attn_memory *memory)
{
    int64_t rows[B] = {1, 0};
    attn_tensor tensor;
    MUST(attn_tensor_init(&tensor, rows, ATTN_I64, 1, (int64_t[]){B}));
    MUST(attn_memory_reorder(memory, &tensor));
}

static void a_memory_may_grow_and_be_another(void **state)
{
    (void)state;
    for (int kind = RULE_SCALED_DOT; kind <= RULE_ADDITIVE; kind++) {
        struct pair p;
        attn_plan *plan;
        pair_create(&p, (enum rule_kind)kind);
        attn_memory *memories[2] = {memory_of(&p, B, 0), memory_of(&p, B, 700)};
        MUST(attn_mechanism_set_causal(p.rule.mechanism, ATTN_ALIGN_BOTTOM_RIGHT));
        p.plan.args.key = p.plan.args.value = p.want.args.key = p.want.args.value = NULL;
        p.plan.args.weights = p.plan.args.scores = p.want.args.weights = p.want.args.scores = NULL;
        p.plan.args.memory = memories[0];
        MUST(attn_plan_create(p.rule.mechanism, &p.plan.args, &plan));
        p.want.args.memory = memories[0]; /* empty as it is, it may have its lengths elsewhere afterwards */
        reorder(memories[0]);
        check(&p, plan, NULL);
        for (int step = 0; step < 12; step++) {
            attn_memory *memory = memories[step % 2];
            p.plan.args.memory = p.want.args.memory = memory;
            MUST(attn_memory_append(memory, &p.plan.key.tensor, &p.plan.value.tensor, NULL));
            check(&p, plan, &p.plan.args);
            MUST(attn_memory_append(memory, &p.plan.key.tensor, &p.plan.value.tensor, NULL));
            check(&p, plan, NULL);
            int64_t lengths[B] = {7 * step + 1, 3};
            attn_tensor tensor;
            reorder(memory);
            MUST(attn_tensor_init(&tensor, lengths, ATTN_I64, 1, (int64_t[]){B}));
            if (step % 3 == 2) MUST(attn_memory_truncate(memory, &tensor));
            check(&p, plan, NULL);
        }
        attn_memory *other = memory_of(&p, B + 1, 1);
        p.plan.args.memory = other;
        assert_int_equal(attn_plan_run(plan, &p.plan.args), ATTN_ERR_SHAPE);
        assert_non_null(strstr(attn_last_error(), "memory has batch 3"));
        check(&p, plan, NULL); /* with the one before */
        attn_memory_destroy(other);
        attn_plan_destroy(plan);
        attn_memory_destroy(memories[0]);
        attn_memory_destroy(memories[1]);
        pair_destroy(&p);
    }
}

/* Where all sequences are as long as the longest nothing says how long they are. */
static void one_sequence_of_a_memory_may_be_cut(void **state)
{
    int64_t lengths[B] = {TK, 1};
    attn_tensor tensor;
    struct pair p;
    attn_plan *plan;
    (void)state;
    pair_create(&p, RULE_SCALED_DOT);
    attn_memory *memory = memory_of(&p, B, 0);
    MUST(attn_memory_append(memory, &p.plan.key.tensor, &p.plan.value.tensor, NULL));
    p.plan.args.key = p.plan.args.value = p.want.args.key = p.want.args.value = NULL;
    p.plan.args.memory = p.want.args.memory = memory;
    MUST(attn_plan_create(p.rule.mechanism, &p.plan.args, &plan));
    check(&p, plan, NULL);
    MUST(attn_tensor_init(&tensor, lengths, ATTN_I64, 1, (int64_t[]){B}));
    MUST(attn_memory_truncate(memory, &tensor));
    check(&p, plan, NULL);
    attn_plan_destroy(plan);
    attn_memory_destroy(memory);
    pair_destroy(&p);
}

/* Memory that was given back is what is next asked for in that size. */
static struct {
    void *block;
    size_t bytes;
} spare[8];
enum { SPARE = sizeof spare / sizeof *spare };

static void *allocate_again(void *data, size_t bytes, size_t alignment)
{
    void *block = NULL;
    (void)data;
    for (int i = 0; i < SPARE && block == NULL; i++) {
        if (spare[i].bytes == bytes) block = spare[i].block, spare[i].block = NULL, spare[i].bytes = 0;
    }
    if (block == NULL && posix_memalign(&block, alignment, bytes) != 0) abort();
    return block;
}

static void release_for_again(void *data, void *block, size_t bytes)
{
    int i = 0;
    (void)data;
    while (i < SPARE - 1 && spare[i].block != NULL) i++;
    free(spare[i].block);
    spare[i].block = block;
    spare[i].bytes = bytes;
}

static attn_memory *keys_of(const attn_mechanism *m, int64_t heads, int64_t width)
{
    static double numbers[4 * 16];
    attn_memory_options options = ATTN_MEMORY_OPTIONS_INIT;
    attn_memory *memory;
    attn_tensor keys;
    options.flags = ATTN_MEMORY_KEYS_ALONE;
    options.dtype = ATTN_F64;
    options.batch = 1;
    options.key_heads = heads;
    options.key_dim = width;
    options.capacity = 4;
    MUST(attn_memory_create(m, &options, &memory));
    MUST(attn_tensor_init(&keys, numbers, ATTN_F64, 4, (int64_t[]){1, heads, 4, width}));
    MUST(attn_memory_append(memory, &keys, NULL, NULL));
    return memory;
}

/* Whose numbers lie where those of the one before lay, which is gone. */
static void another_memory_at_the_same_addresses_is_looked_at(void **state)
{
    (void)state;
    attn_engine *means;
    attn_mechanism *m, *other;
    attn_plan *plan;
    attn_tensor query, context;
    double in[16] = {1, 2, 3}, out[16];
    attn_engine_options options = ATTN_ENGINE_OPTIONS_INIT;
    options.allocate = allocate_again;
    options.release = release_for_again;
    MUST(attn_engine_create(&options, &means));
    MUST(attn_mechanism_create_dot(means, &m));
    MUST(attn_mechanism_create_dot(means, &other));
    MUST(attn_tensor_init(&query, in, ATTN_F64, 4, (int64_t[]){1, 2, 1, 8}));
    MUST(attn_tensor_init(&context, out, ATTN_F64, 4, (int64_t[]){1, 2, 1, 8}));
    attn_memory *memory = keys_of(m, 2, 8);
    attn_forward_args args = ATTN_FORWARD_ARGS_INIT;
    args.query = &query;
    args.context = &context;
    args.memory = memory;
    MUST(attn_plan_create(m, &args, &plan));
    attn_memory_destroy(memory);
    for (int i = 0; i < 4; i++) {
        const attn_status wants[] = {ATTN_ERR_SHAPE, ATTN_OK, ATTN_ERR_ARGUMENT, ATTN_OK};
        args.memory = memory = keys_of(i == 2 ? other : m, i == 0 ? 1 : 2, i == 0 ? 16 : 8);
        assert_int_equal(attn_plan_run(plan, &args), wants[i]);
        attn_memory_destroy(memory);
    }
    attn_plan_destroy(plan);
    attn_mechanism_destroy(other);
    attn_mechanism_destroy(m);
    attn_engine_destroy(means);
    for (int i = 0; i < SPARE; i++) free(spare[i].block);
}

static void the_plan_keeps_its_mechanism(void **state)
{
    (void)state;
    struct pair p;
    attn_plan *plan;
    attn_mechanism *m;
    pair_create(&p, RULE_DOT);
    MUST(attn_mechanism_create_dot(engine, &m));
    MUST(attn_plan_create(m, &p.plan.args, &plan));
    attn_mechanism_destroy(m);
    check(&p, plan, NULL);
    attn_plan_destroy(plan);
    attn_plan_destroy(NULL);
    pair_destroy(&p);
}

/* -------------------------------------------------------------------------------------------- refusals */

struct refusal {
    struct pair pair;
    attn_plan *plan;
};

static void refused(struct refusal *r, const attn_forward_args *args, attn_status status, const char *part)
{
    array_fill(&r->pair.plan.context, -7);
    assert_int_equal(attn_plan_run(r->plan, args), status);
    if (strstr(attn_last_error(), part) == NULL) fail_msg("\"%s\" does not say \"%s\"", attn_last_error(), part);
    assert_memory_equal(attn_last_error(), "attn_plan_run: ", strlen("attn_plan_run: "));
    for (int64_t i = 0; i < array_count(&r->pair.plan.context); i++) {
        assert_true(array_get(&r->pair.plan.context, i) == -7);
    }
    check(&r->pair, r->plan, NULL); /* the plan is as it was */
}

static void what_was_not_planned_is_refused(void **state)
{
    (void)state;
    struct refusal r;
    struct fixture *f = &r.pair.plan;
    pair_create(&r.pair, RULE_SCALED_DOT);
    MUST(attn_plan_create(r.pair.rule.mechanism, &f->args, &r.plan));
    const attn_forward_args good = f->args;
    attn_forward_args args;

    args = good, args.bias = &f->bias.tensor;
    refused(&r, &args, ATTN_ERR_ARGUMENT, "bias was not planned");
    args = good, args.weights = NULL;
    refused(&r, &args, ATTN_ERR_ARGUMENT, "weights is NULL, but was planned");
    args = good, args.dropout = 0.5;
    refused(&r, &args, ATTN_ERR_ARGUMENT, "dropout is 0.5, but was planned as 0");
    args = good, args.scores_stage = ATTN_SCORES_RAW;
    refused(&r, &args, ATTN_ERR_ARGUMENT, "scores_stage is");
    args = good, args.struct_size = 3;
    refused(&r, &args, ATTN_ERR_STRUCT_SIZE, "struct_size is 3");
    attn_weights_stats stats = ATTN_WEIGHTS_STATS_INIT;
    args = good, args.stats = &stats;
    stats.reserved = 1;
    refused(&r, &args, ATTN_ERR_ARGUMENT, "stats->reserved is not 0");
    stats.reserved = 0, stats.struct_size = 3;
    refused(&r, &args, ATTN_ERR_STRUCT_SIZE, "stats: struct_size is 3");
    attn_memory *memory = memory_of(&r.pair, B, 1);
    args = good, args.memory = memory;
    refused(&r, &args, ATTN_ERR_ARGUMENT, "memory is there, but was");
    attn_memory_destroy(memory);

    attn_tensor tensor = *good.key;
    args = good, args.key = &tensor;
    tensor.dtype = ATTN_F32;
    refused(&r, &args, ATTN_ERR_DTYPE, "key is ATTN_F32, but was planned as ATTN_F64");
    tensor = *good.key, tensor.shape[2]--;
    refused(&r, &args, ATTN_ERR_SHAPE, "key has shape [2, 2, 39, 16]");
    tensor = *good.key, tensor.stride[0] = 0;
    refused(&r, &args, ATTN_ERR_SHAPE, "key has shape");
    tensor = *good.key, tensor.ndim = 3;
    refused(&r, &args, ATTN_ERR_SHAPE, "key has shape");
    tensor = *good.key, tensor.ndim = ATTN_VIEW_BEYOND;
    refused(&r, &args, ATTN_ERR_SHAPE, "key has 101 dimensions");
    tensor = *good.key, tensor.data = NULL;
    refused(&r, &args, ATTN_ERR_ARGUMENT, "key has elements, but its data is NULL");
    tensor = *good.key, tensor.data = (char *)tensor.data + 1;
    refused(&r, &args, ATTN_ERR_ARGUMENT, "which is not aligned");
    tensor = *good.key, tensor.data = (void *)(UINTPTR_MAX - 7);
    refused(&r, &args, ATTN_ERR_OVERFLOW, "key reaches beyond");

    attn_tensor on_query = *good.context;
    on_query.data = good.query->data;
    args = good, args.context = &on_query;
    refused(&r, &args, ATTN_ERR_OVERLAP, "context shares memory with query");

    attn_plan *none = NULL;
    assert_int_equal(attn_plan_run(NULL, NULL), ATTN_ERR_ARGUMENT);
    assert_int_equal(attn_plan_create(NULL, &good, &none), ATTN_ERR_ARGUMENT);
    assert_int_equal(attn_plan_create(r.pair.rule.mechanism, NULL, &none), ATTN_ERR_ARGUMENT);
    assert_int_equal(attn_plan_create(r.pair.rule.mechanism, &good, NULL), ATTN_ERR_ARGUMENT);
    args = good, args.query = NULL;
    assert_int_equal(attn_plan_create(r.pair.rule.mechanism, &args, &none), ATTN_ERR_ARGUMENT);
    assert_non_null(strstr(attn_last_error(), "attn_plan_create: query is NULL"));
    assert_null(none);

    attn_plan_destroy(r.plan);
    pair_destroy(&r.pair);
}

/* An executor that runs a plan, of which it does the work, once more meanwhile. */
struct nested {
    attn_plan *plan;
    attn_status status;
};

static void execute(void *data, int64_t count, attn_task_fn task, void *task_data)
{
    struct nested *n = data;
    if (n->plan != NULL) n->status = attn_plan_run(n->plan, NULL);
    for (int64_t i = 0; i < count; i++) task(task_data, i);
}

static void a_plan_that_runs_is_not_run_beside_itself(void **state)
{
    (void)state;
    struct nested n = {.status = ATTN_OK};
    struct fixture f;
    attn_engine *means;
    attn_mechanism *m;
    attn_engine_options options = ATTN_ENGINE_OPTIONS_INIT;
    options.threads = 2;
    options.execute = execute;
    options.executor_data = &n;
    MUST(attn_engine_create(&options, &means));
    MUST(attn_mechanism_create_scaled_dot(means, &m));
    fixture_create(&f, &(struct dims){2, 8, 8, 100, 120, 32, 32}, 1); /* enough for an executor */
    MUST(attn_plan_create(m, &f.args, &n.plan));
    MUST(attn_plan_run(n.plan, NULL));
    assert_int_equal(n.status, ATTN_ERR_ARGUMENT);
    attn_plan *plan = n.plan;
    n.plan = NULL;
    MUST(attn_plan_run(plan, NULL));
    attn_plan_destroy(plan);
    fixture_destroy(&f);
    attn_mechanism_destroy(m);
    attn_engine_destroy(means);
}

/* Arguments of a newer program, whose struct ends later. */
static void a_longer_struct_is_taken(void **state)
{
    (void)state;
    struct pair p;
    attn_plan *plan;
    pair_create(&p, RULE_SCALED_DOT);
    MUST(attn_plan_create(p.rule.mechanism, &p.plan.args, &plan));
    struct {
        attn_forward_args args;
        int64_t tail;
    } longer = {p.plan.args, 0};
    longer.args.struct_size += (uint32_t)sizeof longer.tail;
    check(&p, plan, &longer.args);
    attn_plan_destroy(plan);
    pair_destroy(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(runs_are_forward_calls_wherever_tensors_lie),
        cmocka_unit_test(lengths_and_positions_may_change),
        cmocka_unit_test(what_is_drawn_may_change_alone),
        cmocka_unit_test(relative_biases_follow_the_lengths),
        cmocka_unit_test(a_changed_mechanism_is_followed),
        cmocka_unit_test(numbers_of_parameters_are_read_by_each_run),
        cmocka_unit_test(a_memory_may_grow_and_be_another),
        cmocka_unit_test(one_sequence_of_a_memory_may_be_cut),
        cmocka_unit_test(another_memory_at_the_same_addresses_is_looked_at),
        cmocka_unit_test(the_plan_keeps_its_mechanism),
        cmocka_unit_test(what_was_not_planned_is_refused),
        cmocka_unit_test(a_longer_struct_is_taken),
        cmocka_unit_test(a_plan_that_runs_is_not_run_beside_itself),
    };
    return cmocka_run_group_tests(tests, engine_setup, engine_teardown);
}
