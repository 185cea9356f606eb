/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test_failure.c: memory and threads that cannot be had. The allocator fails the k-th allocation for k = 0, 1, ...
 * until the call succeeds; pthread_create, and malloc to hear of direct use, are interposed by this program.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support.h"

#ifndef __has_feature
#define __has_feature(feature) 0
#endif
#if defined(__SANITIZE_THREAD__) || __has_feature(thread_sanitizer)
#define UNDER_TSAN 1
#else
#define UNDER_TSAN 0
#endif

/* ------------------------------------------------------------------------------------ the failing allocator */

enum { MOST_BLOCKS = 64 };

static struct {
    int64_t fail_at; /* the number of the allocation that fails; -1: none */
    int64_t asked, alive;
    int broken; /* a rule of attn_allocate_fn or attn_release_fn was not kept */
    struct {
        void *pointer;
        size_t bytes;
    } blocks[MOST_BLOCKS];
} memory = {.fail_at = -1};

static void *memory_allocate(void *data, size_t bytes, size_t alignment)
{
    void *block = NULL;
    memory.broken |= data != &memory || bytes == 0 || alignment > 64 || (alignment & (alignment - 1)) != 0;
    if (memory.asked++ == memory.fail_at) return NULL;
    if (posix_memalign(&block, alignment, bytes) != 0) return NULL;
    memset(block, 0xFF, bytes); /* NaN: memory does not come clean */
    int i = 0;
    while (i < MOST_BLOCKS && memory.blocks[i].pointer != NULL) i++;
    if (i == MOST_BLOCKS) abort();
    memory.blocks[i].pointer = block;
    memory.blocks[i].bytes = bytes;
    memory.alive++;
    return block;
}

static void memory_release(void *data, void *pointer, size_t bytes)
{
    int i = 0;
    memory.broken |= data != &memory || pointer == NULL;
    while (i < MOST_BLOCKS && (memory.blocks[i].pointer != pointer || memory.blocks[i].bytes != bytes)) i++;
    memory.broken |= i == MOST_BLOCKS;
    if (i == MOST_BLOCKS) return;
    memory.blocks[i].pointer = NULL;
    memory.alive--;
    free(pointer);
}

static attn_engine_options own_memory(int32_t threads)
{
    attn_engine_options options = ATTN_ENGINE_OPTIONS_INIT;
    options.threads = threads;
    options.allocate = memory_allocate;
    options.release = memory_release;
    options.allocator_data = &memory;
    return options;
}

static void assert_all_given_back(void)
{
    assert_int_equal(memory.alive, 0);
    assert_false(memory.broken);
}

/* ------------------------------------------------------------------------------------------- interposition */

/* Calls of pthread_create number first .. end - 1 fail. */
static struct {
    int64_t asked, first, end;
} threads;

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *), void *argument)
{
    int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    void *symbol = dlsym(RTLD_NEXT, "pthread_create");
    memcpy(&real, &symbol, sizeof real);
    const int64_t number = threads.asked++;
    if (number >= threads.first && number < threads.end) return EAGAIN;
    return real(thread, attributes, start, argument);
}

#if defined(__GLIBC__) && !UNDER_TSAN && !defined(__SANITIZE_ADDRESS__) && !__has_feature(address_sanitizer)
#define HEARS_MALLOC 1

static _Thread_local int listening;
static _Thread_local int64_t heard;

void *__libc_malloc(size_t);
void *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t);
void *__libc_memalign(size_t, size_t);

/* Counts what the library itself asks for: the BLAS may have its own needs. */
static void hear(const void *caller)
{
    Dl_info from, library;
    void *function = dlsym(RTLD_DEFAULT, "attn_forward");
    if (function == NULL) { /* linked statically */
        attn_status (*forward)(const attn_mechanism *, const attn_forward_args *) = attn_forward;
        memcpy(&function, &forward, sizeof function);
    }
    if (dladdr(caller, &from) && dladdr(function, &library) && from.dli_fbase == library.dli_fbase) heard++;
}

void *malloc(size_t bytes)
{
    if (listening) hear(__builtin_return_address(0));
    return __libc_malloc(bytes);
}

void *calloc(size_t count, size_t bytes)
{
    if (listening) hear(__builtin_return_address(0));
    return __libc_calloc(count, bytes);
}

void *realloc(void *block, size_t bytes)
{
    if (listening) hear(__builtin_return_address(0));
    return __libc_realloc(block, bytes);
}

int posix_memalign(void **block, size_t alignment, size_t bytes)
{
    if (listening) hear(__builtin_return_address(0));
    *block = __libc_memalign(alignment, bytes);
    return *block == NULL ? ENOMEM : 0;
}

#else
#define HEARS_MALLOC 0
static int listening;
static int64_t heard;
#endif

/* ----------------------------------------------------------------------------------------------- problems */

/* Large enough for the engine's threads: more than 2^16 operations in every step that they share. */
enum { B = 2, HQ = 4, HK = 2, TQ = 64, FEW = 8, TK = 70, DIM = 8, DV = 6, HIDDEN = 8, MOST_PARAMS = 5 };

/* What a call's numbers are: their type, and whether keys and values are integers with scales; and how many queries
 * there are. What is fast lies side by side, and writes no weights nor scores. */
enum { FORMS = 8, WAYS = 2 };
static const struct form {
    attn_dtype dtype;
    bool has_integers;
    int64_t queries;
    attn_precision precision;
} forms[FORMS] = {{ATTN_F32, false, TQ, ATTN_PRECISION_EXACT},  {ATTN_F64, false, TQ, ATTN_PRECISION_EXACT},
                  {ATTN_F16, false, TQ, ATTN_PRECISION_EXACT},  {ATTN_F32, true, TQ, ATTN_PRECISION_EXACT},
                  {ATTN_BF16, true, TQ, ATTN_PRECISION_EXACT},  {ATTN_BF16, false, TQ, ATTN_PRECISION_FAST},
                  {ATTN_BF16, false, FEW, ATTN_PRECISION_FAST}, {ATTN_F32, true, FEW, ATTN_PRECISION_FAST}};

/* By the BLAS a call has copies of all that has fewer than 32 bits. */
static const attn_way ways[WAYS] = {ATTN_WAY_TILES, ATTN_WAY_BLAS};

enum kind { DOT, SCALED_DOT, GENERAL, ADDITIVE, ADDITIVE_ALL, ADDITIVE_PROJECTED, CONCAT, LOCATION, KINDS };

static attn_status mechanism_create(attn_engine *means, enum kind kind, attn_mechanism **mechanism)
{
    static const uint32_t flags[] = {0, ATTN_ADDITIVE_BIAS | ATTN_ADDITIVE_NORMALISED,
                                     ATTN_ADDITIVE_QUERY_PROJECTED | ATTN_ADDITIVE_KEY_PROJECTED};
    switch (kind) {
    case DOT:
        return attn_mechanism_create_dot(means, mechanism);
    case SCALED_DOT:
        return attn_mechanism_create_scaled_dot(means, mechanism);
    case GENERAL:
        return attn_mechanism_create_general(means, DIM, DIM, mechanism);
    case ADDITIVE:
    case ADDITIVE_ALL:
    case ADDITIVE_PROJECTED:
        return attn_mechanism_create_additive(means, DIM, DIM, HIDDEN, flags[kind - ADDITIVE], mechanism);
    case CONCAT:
        return attn_mechanism_create_concat(means, DIM, DIM, HIDDEN, mechanism);
    default:
        return attn_mechanism_create_location(means, DIM, TK, mechanism);
    }
}

struct problem {
    attn_mechanism *mechanism;
    struct array params[MOST_PARAMS], query, key, value, key_scales, value_scales, outputs[4];
    attn_forward_args args;
    bool is_fast;
};

/* Where exact every other element, so that no BLAS can read it where it lies. */
static void scattered(struct array *array, attn_dtype dtype, int32_t ndim, const int64_t *shape, struct rng *rng,
                      attn_precision precision)
{
    const int64_t step = precision == ATTN_PRECISION_FAST ? 1 : 2;
    int64_t wide[4];
    memcpy(wide, shape, (size_t)ndim * sizeof *shape);
    wide[ndim - 1] *= step;
    array_create(array, dtype, ndim, wide, LAYOUT_PLAIN, NULL);
    array->tensor.shape[ndim - 1] = shape[ndim - 1];
    array->tensor.stride[ndim - 1] = step;
    array_fill_normal(array, rng, 0.7);
}

/* Rows of integers, and what each is to be multiplied by. */
static void scattered_integers(struct array *array, struct array *scales, const int64_t *shape, struct rng *rng,
                               attn_precision precision)
{
    scattered(array, ATTN_I8, 4, shape, rng, precision);
    scattered(scales, ATTN_F32, 3, shape, rng, precision);
    for (int64_t i = array_count(array) - 1; i >= 0; i--) array_set(array, i, (double)rng_integer(rng, -127, 127));
    for (int64_t i = array_count(scales) - 1; i >= 0; i--) array_set(scales, i, rng_uniform(rng, 0.005, 0.02));
}

static void outputs_create(struct problem *p, attn_dtype dtype)
{
    const int64_t queries = p->query.tensor.shape[2];
    const int64_t scores[4] = {B, HQ, queries, TK}, context[4] = {B, HQ, queries, DV};
    const attn_tensor **const arguments[] = {&p->args.context, &p->args.weights, &p->args.scores, &p->args.logsumexp};
    for (int i = 0; i < 4; i++) {
        array_create(&p->outputs[i], i == 0 ? dtype : dtype_computed(dtype), i == 3 ? 3 : 4,
                     i % 3 == 0 ? context : scores, LAYOUT_PLAIN, NULL);
        *arguments[i] = p->is_fast && i % 3 != 0 ? NULL : &p->outputs[i].tensor;
    }
}

static void outputs_destroy(struct problem *p)
{
    for (int i = 0; i < 4; i++) array_destroy(&p->outputs[i]);
}

static void problem_create(struct problem *p, attn_engine *means, enum kind kind, struct form form)
{
    const attn_dtype dtype = form.dtype;
    const int64_t query[4] = {B, HQ, form.queries, DIM}, key[4] = {B, HK, TK, DIM}, value[4] = {B, HK, TK, DV};
    struct rng rng = {77};
    int32_t count;
    memset(p, 0, sizeof *p);
    p->is_fast = form.precision == ATTN_PRECISION_FAST;
    MUST(mechanism_create(means, kind, &p->mechanism));
    MUST(attn_mechanism_set_precision(p->mechanism, form.precision));
    MUST(attn_mechanism_param_count(p->mechanism, &count));
    assert_true(count <= MOST_PARAMS);
    for (int32_t i = 0; i < count; i++) {
        attn_param_info info = ATTN_PARAM_INFO_INIT;
        MUST(attn_mechanism_param_info(p->mechanism, i, &info));
        scattered(&p->params[i], dtype, info.ndim, info.shape, &rng, form.precision);
        MUST(attn_mechanism_bind_param(p->mechanism, info.name, &p->params[i].tensor));
    }
    scattered(&p->query, dtype, 4, query, &rng, form.precision);
    if (form.has_integers) {
        scattered_integers(&p->key, &p->key_scales, key, &rng, form.precision);
        scattered_integers(&p->value, &p->value_scales, value, &rng, form.precision);
    } else {
        scattered(&p->key, dtype, 4, key, &rng, form.precision);
        scattered(&p->value, dtype, 4, value, &rng, form.precision);
    }
    p->args = (attn_forward_args)ATTN_FORWARD_ARGS_INIT;
    p->args.query = &p->query.tensor;
    p->args.key = &p->key.tensor;
    p->args.value = &p->value.tensor;
    p->args.key_scales = form.has_integers ? &p->key_scales.tensor : NULL;
    p->args.value_scales = form.has_integers ? &p->value_scales.tensor : NULL;
    outputs_create(p, dtype);
}

static void problem_destroy(struct problem *p)
{
    attn_mechanism_destroy(p->mechanism);
    for (int i = 0; i < MOST_PARAMS; i++) array_destroy(&p->params[i]);
    array_destroy(&p->query);
    array_destroy(&p->key);
    array_destroy(&p->value);
    array_destroy(&p->key_scales);
    array_destroy(&p->value_scales);
    outputs_destroy(p);
}

/* New outputs for what was computed undisturbed, which is kept in *kept. */
static void keep_outputs(struct problem *p, struct problem *kept)
{
    *kept = *p;
    outputs_create(p, p->query.tensor.dtype);
}

static void forget_outputs(struct problem *p)
{
    attn_dtype dtype = p->query.tensor.dtype;
    outputs_destroy(p);
    outputs_create(p, dtype);
}

static void assert_same(const struct problem *a, const struct problem *b)
{
    for (int i = 0; i < 4; i++) {
        assert_memory_equal(a->outputs[i].memory, b->outputs[i].memory, a->outputs[i].bytes);
    }
}

/* Arrays begin as one pattern. */
static void assert_untouched(const struct problem *p)
{
    for (int i = 0; i < 4; i++) {
        const struct array *output = &p->outputs[i];
        for (size_t k = 1; k < output->bytes; k++) assert_int_equal(output->memory[k], output->memory[0]);
    }
}

static void assert_out_of_memory(attn_status status, const char *function)
{
    assert_int_equal(status, ATTN_ERR_NOMEM);
    assert_memory_equal(attn_last_error(), function, strlen(function));
}

/* -------------------------------------------------------------------------------------------------- tests */

static void an_engine_that_cannot_be_made_leaves_nothing(void **state)
{
    attn_engine_options options = own_memory(4);
    attn_engine *const untouched = (attn_engine *)(void *)&options, *means = untouched;
    (void)state;
    for (memory.fail_at = 0;; memory.fail_at++) {
        memory.asked = 0;
        attn_status status = attn_engine_create(&options, &means);
        if (status == ATTN_OK) break;
        assert_out_of_memory(status, "attn_engine_create: ");
        assert_ptr_equal(means, untouched);
        assert_all_given_back();
    }
    assert_true(memory.fail_at >= 1);
    memory.fail_at = -1;
    attn_engine_destroy(means);
    assert_all_given_back();
}

static void a_mechanism_that_cannot_be_made_leaves_nothing(void **state)
{
    attn_engine_options options = own_memory(1);
    attn_engine *means;
    (void)state;
    MUST(attn_engine_create(&options, &means));
    const int64_t alive = memory.alive;
    for (enum kind kind = 0; kind < KINDS; kind++) {
        attn_mechanism *const untouched = (attn_mechanism *)(void *)&options, *mechanism = untouched;
        for (memory.fail_at = 0;; memory.fail_at++) {
            memory.asked = 0;
            attn_status status = mechanism_create(means, kind, &mechanism);
            if (status == ATTN_OK) break;
            assert_out_of_memory(status, "attn_mechanism_create_");
            assert_ptr_equal(mechanism, untouched);
            assert_int_equal(memory.alive, alive);
        }
        assert_true(memory.fail_at >= 1);
        memory.fail_at = -1;
        attn_mechanism_destroy(mechanism);
        assert_int_equal(memory.alive, alive);
    }
    attn_engine_destroy(means);
    assert_all_given_back();
}

static void forward_without_memory_writes_nothing_and_can_be_repeated(void **state)
{
    attn_engine_options options = own_memory(2);
    attn_engine *means;
    options.way = *(const attn_way *)*state;
    MUST(attn_engine_create(&options, &means));
    for (int k = 0; k < FORMS * KINDS; k++) {
        struct problem p, undisturbed;
        problem_create(&p, means, (enum kind)(k / FORMS), forms[k % FORMS]);
        MUST(attn_forward(p.mechanism, &p.args));
        keep_outputs(&p, &undisturbed);
        const int64_t alive = memory.alive;
        for (memory.fail_at = 0;; memory.fail_at++) {
            memory.asked = 0;
            attn_status status = attn_forward(p.mechanism, &p.args);
            if (status == ATTN_OK) break;
            assert_out_of_memory(status, "attn_forward: ");
            assert_untouched(&p);
            assert_int_equal(memory.alive, alive);
        }
        assert_true(memory.fail_at >= 1);
        memory.fail_at = -1;
        assert_int_equal(memory.alive, alive);
        assert_same(&p, &undisturbed);
        outputs_destroy(&undisturbed);
        problem_destroy(&p);
    }
    attn_engine_destroy(means);
    assert_all_given_back();
}

static void forward_with_a_workspace_allocates_nothing(void **state)
{
    attn_engine_options options = own_memory(3);
    attn_engine *means, *plain;
    options.way = *(const attn_way *)*state;
    MUST(attn_engine_create(&options, &means));
    options.allocate = NULL, options.release = NULL;
    MUST(attn_engine_create(&options, &plain));
    for (int k = 0; k < 2 * FORMS * KINDS; k++) {
        const bool by_plain = k / FORMS % 2 == 0;
        struct problem p, undisturbed;
        size_t bytes;
        problem_create(&p, by_plain ? plain : means, (enum kind)(k / 2 / FORMS), forms[k % FORMS]);
        MUST(attn_forward(p.mechanism, &p.args)); /* what the BLAS and the threads need once, they have now */
        keep_outputs(&p, &undisturbed);
        MUST(attn_forward_workspace(p.mechanism, &p.args, &bytes));
        unsigned char *workspace = must_allocate(bytes + 2);
        memset(workspace, 0xFF, bytes + 2);
        p.args.workspace = workspace + 1; /* any alignment will do */
        p.args.workspace_size = bytes;
        memory.asked = 0;
        heard = 0;
        listening = 1;
        attn_status status = attn_forward(p.mechanism, &p.args);
        listening = 0;
        MUST(status);
        assert_int_equal(memory.asked, 0);
        assert_int_equal(heard, 0);
        assert_int_equal(workspace[0], 0xFF);
        assert_int_equal(workspace[bytes + 1], 0xFF);
        assert_same(&p, &undisturbed);
        if (HEARS_MALLOC && by_plain) { /* without one it does, and this program hears of it */
            p.args.workspace = NULL;
            listening = 1;
            status = attn_forward(p.mechanism, &p.args);
            listening = 0;
            MUST(status);
            assert_true(heard > 0);
        }
        free(workspace);
        outputs_destroy(&undisturbed);
        problem_destroy(&p);
    }
    attn_engine_destroy(plain);
    attn_engine_destroy(means);
    assert_all_given_back();
}

/* What a plan needs it takes when it is made, or not at all; then its runs take nothing. */
static void a_plan_takes_its_memory_when_it_is_made(void **state)
{
    attn_engine_options options = own_memory(2);
    attn_engine *means;
    options.way = *(const attn_way *)*state;
    MUST(attn_engine_create(&options, &means));
    for (int k = 0; k < FORMS * KINDS; k++) {
        struct problem p, undisturbed;
        attn_plan *const untouched = (attn_plan *)(void *)&options, *plan = untouched;
        problem_create(&p, means, (enum kind)(k / FORMS), forms[k % FORMS]);
        MUST(attn_forward(p.mechanism, &p.args));
        keep_outputs(&p, &undisturbed);
        const int64_t alive = memory.alive;
        for (memory.fail_at = 0;; memory.fail_at++) {
            memory.asked = 0;
            attn_status status = attn_plan_create(p.mechanism, &p.args, &plan);
            if (status == ATTN_OK) break;
            assert_out_of_memory(status, "attn_plan_create: ");
            assert_ptr_equal(plan, untouched);
            assert_int_equal(memory.alive, alive);
        }
        assert_int_equal(memory.fail_at, 2);
        memory.asked = memory.fail_at = heard = 0;
        listening = 1;
        attn_status status = attn_plan_run(plan, NULL);
        if (status == ATTN_OK) status = attn_plan_run(plan, &p.args);
        listening = 0;
        MUST(status);
        assert_int_equal(memory.asked + heard, 0);
        assert_same(&p, &undisturbed);
        attn_plan_destroy(plan);
        memory.fail_at = -1;
        assert_int_equal(memory.alive, alive);
        outputs_destroy(&undisturbed);
        problem_destroy(&p);
    }
    attn_engine_destroy(means);
    assert_all_given_back();
}

/* The k-th thread, or all from the k-th, cannot be had. The call does without; the next one tries again. */
static void threads_that_cannot_be_had_change_no_result(void **state)
{
    enum { THREADS = 5 };
    attn_engine_options options = own_memory(1);
    attn_engine *alone, *means;
    struct problem p, undisturbed;
    (void)state;
    if (UNDER_TSAN) skip();
    MUST(attn_engine_create(&options, &alone));
    options.threads = THREADS;
    for (int k = 0; k < 2 * THREADS; k++) {
        problem_create(&p, alone, k % 2 ? DOT : ADDITIVE, forms[0]);
        MUST(attn_forward(p.mechanism, &p.args));
        keep_outputs(&p, &undisturbed);
        attn_mechanism_destroy(p.mechanism);

        MUST(attn_engine_create(&options, &means));
        MUST(mechanism_create(means, k % 2 ? DOT : ADDITIVE, &p.mechanism));
        for (int i = 0; k % 2 == 0 && i < 3; i++) {
            static const char *const names[] = {"W", "U", "v"};
            MUST(attn_mechanism_bind_param(p.mechanism, names[i], &p.params[i].tensor));
        }
        threads.first = k / 2;
        threads.end = k % 2 ? k / 2 + 1 : INT64_MAX;
        threads.asked = 0;
        attn_status status = attn_forward(p.mechanism, &p.args);
        const int64_t asked = threads.asked;
        threads.first = threads.end = 0;
        MUST(status);
        assert_true(asked > k / 2 || asked == THREADS - 1); /* it came to the failing one, or had all */
        assert_same(&p, &undisturbed);
        threads.asked = 0;
        forget_outputs(&p);
        MUST(attn_forward(p.mechanism, &p.args));
        if (k / 2 < THREADS - 1 && k % 2 == 0) assert_int_equal(threads.asked, THREADS - 1 - k / 2);
        assert_same(&p, &undisturbed);
        outputs_destroy(&undisturbed);
        attn_engine_destroy(means);
        problem_destroy(&p);
    }
    attn_engine_destroy(alone);
    assert_all_given_back();
}

static void an_engine_lives_until_its_last_mechanism_is_destroyed(void **state)
{
    attn_engine_options options = own_memory(3);
    attn_engine *means;
    struct problem first, second, undisturbed;
    (void)state;
    MUST(attn_engine_create(&options, &means));
    problem_create(&first, means, GENERAL, forms[0]);
    problem_create(&second, means, CONCAT, forms[1]);
    MUST(attn_forward(second.mechanism, &second.args));
    keep_outputs(&second, &undisturbed);
    attn_engine_destroy(means);
    MUST(attn_forward(first.mechanism, &first.args));
    problem_destroy(&first);
    assert_true(memory.alive > 1);
    MUST(attn_forward(second.mechanism, &second.args));
    assert_same(&second, &undisturbed);
    outputs_destroy(&undisturbed);
    problem_destroy(&second);
    assert_all_given_back();
    attn_engine_destroy(NULL);
    attn_mechanism_destroy(NULL);
}

#define BY(way, test) cmocka_unit_test_prestate(test, (void *)(uintptr_t)&ways[way])

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_engine_that_cannot_be_made_leaves_nothing),
        cmocka_unit_test(a_mechanism_that_cannot_be_made_leaves_nothing),
        BY(0, forward_without_memory_writes_nothing_and_can_be_repeated),
        BY(1, forward_without_memory_writes_nothing_and_can_be_repeated),
        BY(0, forward_with_a_workspace_allocates_nothing),
        BY(1, forward_with_a_workspace_allocates_nothing),
        BY(0, a_plan_takes_its_memory_when_it_is_made),
        BY(1, a_plan_takes_its_memory_when_it_is_made),
        cmocka_unit_test(threads_that_cannot_be_had_change_no_result),
        cmocka_unit_test(an_engine_lives_until_its_last_mechanism_is_destroyed),
    };
    return cmocka_run_group_tests_name("failure", tests, NULL, NULL);
}
