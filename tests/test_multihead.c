/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test_multihead.c: layers of heads. Forward against plain loops in float64; gradients against differences of forward
 * calls; the same bits whatever is saved and however many threads there are; memory that is asked for once or not at
 * all. What is refused is in test_multihead_refused.c.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "multihead_scene.h"

enum { BIASED = ATTN_MULTIHEAD_BIAS, PACKED = ATTN_MULTIHEAD_PACKED, BOTH = GIVES_KEY | GIVES_VALUE };

static const struct setup setups[] = {
    {"self, packed, biased", BIASED | PACKED, 0, 2, 5, 5, 2, 2, {6, 6, 6}, 3, 3, 6, 0, 0, LAYOUT_PLAIN},
    {"self, separate, no bias", 0, 0, 2, 4, 4, 2, 2, {6, 6, 6}, 3, 3, 6, 0, LAYER_CAUSAL, LAYOUT_PLAIN},
    {"self, separate, biased", BIASED, 0, 1, 6, 6, 3, 1, {5, 5, 5}, 2, 4, 7, 0, LAYER_MASK, LAYOUT_OUTPUT},
    {"cross, packed", BIASED | PACKED, GIVES_KEY, 2, 3, 5, 2, 2, {4, 4, 4}, 2, 2, 4, 0, LAYER_LENGTHS, LAYOUT_PLAIN},
    {"cross, packed, grouped, strided",
     PACKED,
     GIVES_KEY,
     3,
     4,
     6,
     4,
     2,
     {5, 5, 5},
     3,
     2,
     5,
     0,
     LAYER_BIAS,
     LAYOUT_OUTPUT},
    {"three inputs, separate",
     BIASED,
     BOTH,
     2,
     3,
     4,
     2,
     1,
     {4, 5, 3},
     3,
     5,
     6,
     0,
     LAYER_MASK | LAYER_BIAS,
     LAYOUT_OUTPUT},
    {"three inputs, packed", BIASED | PACKED, BOTH, 2, 3, 4, 2, 2, {4, 4, 4}, 3, 5, 2, 0, LAYER_CAUSAL, LAYOUT_OUTPUT},
    {"queries as keys, own values",
     BIASED | PACKED,
     GIVES_VALUE,
     2,
     4,
     4,
     2,
     2,
     {4, 4, 4},
     3,
     2,
     4,
     0,
     0,
     LAYOUT_OUTPUT},
    {"additive, grouped",
     BIASED,
     GIVES_KEY,
     2,
     3,
     5,
     4,
     2,
     {6, 5, 5},
     3,
     4,
     6,
     LAYER_ADDITIVE,
     LAYER_LENGTHS,
     LAYOUT_OUTPUT},
    {"general, packed",
     BIASED | PACKED,
     0,
     2,
     5,
     5,
     2,
     2,
     {6, 6, 6},
     4,
     3,
     6,
     LAYER_GENERAL,
     LAYER_CAUSAL | LAYER_BIAS,
     LAYOUT_OUTPUT},
    {"location", BIASED, GIVES_KEY, 2, 3, 4, 2, 1, {4, 5, 5}, 3, 2, 4, LAYER_LOCATION, LAYER_MASK, LAYOUT_OUTPUT},
    {"distances, grouped",
     BIASED,
     GIVES_KEY,
     2,
     4,
     6,
     4,
     2,
     {5, 4, 4},
     3,
     2,
     5,
     0,
     LAYER_CAUSAL | LAYER_DISTANCES,
     LAYOUT_OUTPUT},
    {"turned, packed, grouped",
     BIASED | PACKED,
     0,
     2,
     5,
     5,
     4,
     2,
     {6, 6, 6},
     4,
     3,
     6,
     0,
     LAYER_CAUSAL | LAYER_TURNED,
     LAYOUT_PLAIN},
    {"turned in part, somewhere",
     0,
     0,
     3,
     4,
     4,
     2,
     1,
     {5, 5, 5},
     6,
     4,
     5,
     LAYER_GENERAL,
     LAYER_MASK | LAYER_TURNED_IN_PART | LAYER_PLACED,
     LAYOUT_OUTPUT},
    {"cross, turned",
     BIASED,
     GIVES_KEY,
     2,
     3,
     5,
     2,
     2,
     {6, 4, 4},
     6,
     3,
     5,
     0,
     LAYER_CAUSAL | LAYER_TURNED_IN_PART,
     LAYOUT_OUTPUT},
    {"cross, turned somewhere",
     0,
     BOTH,
     2,
     3,
     5,
     2,
     2,
     {6, 4, 3},
     4,
     3,
     5,
     0,
     LAYER_LENGTHS | LAYER_TURNED | LAYER_PLACED,
     LAYOUT_OUTPUT},
    {"one of everything", BIASED, 0, 1, 1, 1, 1, 1, {1, 1, 1}, 1, 1, 1, 0, 0, LAYOUT_PLAIN},
};
enum { SETUPS = sizeof setups / sizeof *setups };

/* Products of several pieces, panels and slabs, attention of several tiles. */
static const struct setup large[] = {
    {"large, self", BIASED | PACKED, 0, 2, 150, 150, 3, 3, {96, 96, 96}, 32, 32, 96, 0, LAYER_CAUSAL, LAYOUT_PLAIN},
    {"large, deep", BIASED, GIVES_KEY, 3, 90, 200, 4, 2, {530, 70, 70}, 20, 33, 140, 0, LAYER_LENGTHS, LAYOUT_OUTPUT},
    {"large, distances", PACKED, 0, 2, 130, 130, 4, 2, {64, 64, 64}, 16, 16, 64, 0, LAYER_DISTANCES, LAYOUT_PLAIN},
    {"large, turned",
     BIASED | PACKED,
     0,
     2,
     150,
     150,
     4,
     2,
     {96, 96, 96},
     32,
     32,
     96,
     0,
     LAYER_CAUSAL | LAYER_TURNED,
     LAYOUT_PLAIN},
    {"large, one query", PACKED, GIVES_KEY, 1, 1, 900, 4, 2, {64, 64, 64}, 16, 16, 64, 0, 0, LAYOUT_PLAIN},
};
enum { LARGE = sizeof large / sizeof *large };

enum { DTYPES = 4 };
static const attn_dtype dtypes[DTYPES] = {ATTN_F32, ATTN_F64, ATTN_F16, ATTN_BF16};

/* A number that every output and gradient is compared by: what they may be off by, in epsilons of 1 + |want|. */
static const double forward_bound = 60.0, gradient_bound = 400.0;

/* ------------------------------------------------------------------------------------------- forward */

static void check_forward(const struct setup *setup, attn_dtype dtype)
{
    struct layer l;
    double *output, *weights;
    layer_create(&l, engine, setup, dtype, 5);
    layer_reference(&l, &output, &weights);
    layer_forward(&l);
    assert_close(&l.output, output, NULL, forward_bound, setup->name);
    assert_close(&l.weights, weights, NULL, forward_bound, setup->name);
    assert_true(array_gaps_intact(&l.output) && array_gaps_intact(&l.weights));
    free(output), free(weights);
    layer_destroy(&l);
}

static void the_layer_is_what_plain_loops_say(void **state)
{
    (void)state;
    for (int i = 0; i < DTYPES * SETUPS; i++) check_forward(&setups[i / DTYPES], dtypes[i % DTYPES]);
    for (int i = 0; i < DTYPES * LARGE; i++) check_forward(&large[i / DTYPES], dtypes[i % DTYPES]);
}

static void packed_and_separate_parameters_are_the_same_layer(void **state)
{
    (void)state;
    for (int dtype = ATTN_F32; dtype <= ATTN_F64; dtype++) {
        struct setup setup = setups[0];
        struct layer packed, separate;
        layer_create(&packed, engine, &setup, dtype, 6);
        setup.flags = BIASED;
        layer_create(&separate, engine, &setup, dtype, 6);
        for (int32_t i = 0; i < separate.param_count; i++) { /* W_q, W_k, W_v, W_o, b_q, ... */
            const int from = i / 4 * 2 + (i % 4 == 3), rows = (int)array_count(&separate.param[i]);
            for (int64_t k = 0; k < rows; k++) {
                const int64_t first = i % 4 == 3 ? 0 : i % 4 * rows;
                array_set(&separate.param[i], k, array_get(&packed.param[from], first + k));
            }
        }
        double *x = array_read(&packed.input[0]);
        array_write(&separate.input[0], x);
        free(x);
        layer_forward(&packed);
        layer_forward(&separate);
        double *want = array_read(&packed.output);
        assert_close(&separate.output, want, NULL, forward_bound, "separate");
        free(want);
        layer_destroy(&packed);
        layer_destroy(&separate);
    }
}

/* ------------------------------------------------------------------------------------------ gradients */

static double loss(struct layer *l)
{
    double sum = 0.0;
    layer_forward(l);
    for (int64_t i = 0; i < array_count(&l->output); i++) sum += array_get(&l->d_output, i) * array_get(&l->output, i);
    for (int64_t i = 0; i < array_count(&l->weights) && l->backward.d_weights; i++) {
        sum += array_get(&l->d_weights, i) * array_get(&l->weights, i);
    }
    for (int64_t i = 0; i < array_count(&l->logsumexp) && l->backward.d_logsumexp; i++) {
        const double all = array_get(&l->logsumexp, i);
        if (isfinite(all)) sum += array_get(&l->d_logsumexp, i) * all;
    }
    return sum;
}

/* Each element of each gradient. */
static void gradients_are_differences_of_forward_calls(void **state)
{
    const double step = 1e-3, tolerance = 1e-8;
    (void)state;
    for (int i = 0; i < 2 * SETUPS; i++) {
        struct layer l;
        layer_create(&l, engine, &setups[i / 2], ATTN_F64, 7);
        if (i % 2) l.backward.d_weights = NULL;
        layer_backward(&l);
        for (int g = 0; g < GRADIENTS; g++) {
            struct array *of = layer_source(&l, g);
            for (int64_t k = 0; of && k < array_count(of); k++) {
                const double at = array_get(of, k), got = array_get(&l.gradient[g], k);
                double around[4];
                for (int s = 0; s < 4; s++) {
                    array_set(of, k, at + step * (s < 2 ? s - 2 : s - 1));
                    around[s] = loss(&l);
                }
                array_set(of, k, at);
                const double want = (around[0] - 8 * around[1] + 8 * around[2] - around[3]) / (12 * step);
                if (!(fabs(got - want) <= tolerance * (10 + fabs(want)))) {
                    fail_msg("%s: %s[%d] is %.12g, but the loss moves by %.12g", setups[i / 2].name,
                             layer_gradient_name(&l, g), (int)k, got, want);
                }
            }
            if (of) assert_true(array_gaps_intact(&l.gradient[g]));
        }
        layer_destroy(&l);
    }
}

/* All inputs and parameters move at once: <J x, y> = <x, J^T y>. */
static void gradients_are_the_adjoint_of_how_the_output_moves(void **state)
{
    const double step = 2e-4, tolerance = 1e-7;
    (void)state;
    for (int i = 0; i < LARGE; i++) {
        struct rng rng = {11};
        struct layer l;
        double *start[GRADIENTS], *direction[GRADIENTS], around[4], inner = 0.0, size = 1.0;
        layer_create(&l, engine, &large[i], ATTN_F64, 8);
        layer_backward(&l);
        for (int g = 0; g < GRADIENTS; g++) {
            struct array *of = layer_source(&l, g);
            if (!of) continue;
            start[g] = array_read(of);
            direction[g] = array_read(of);
            for (int64_t k = 0; k < array_count(of); k++) {
                direction[g][k] = rng_normal(&rng) / 300;
                inner += direction[g][k] * array_get(&l.gradient[g], k);
                size += fabs(direction[g][k] * array_get(&l.gradient[g], k));
            }
        }
        for (int s = 0; s < 4; s++) {
            for (int g = 0; g < GRADIENTS; g++) {
                struct array *of = layer_source(&l, g);
                for (int64_t k = 0; of && k < array_count(of); k++) {
                    array_set(of, k, start[g][k] + step * (s < 2 ? s - 2 : s - 1) * direction[g][k]);
                }
            }
            around[s] = loss(&l);
        }
        const double moved = (around[0] - 8 * around[1] + 8 * around[2] - around[3]) / (12 * step);
        if (!(fabs(moved - inner) <= tolerance * size)) {
            fail_msg("%s: moves by %.12g, but the gradients say %.12g", large[i].name, moved, inner);
        }
        for (int g = 0; g < GRADIENTS; g++) {
            if (layer_source(&l, g)) free(start[g]), free(direction[g]);
        }
        layer_destroy(&l);
    }
}

static void check_gradients(const struct setup *setup, attn_dtype dtype, bool flow, bool accumulate)
{
    struct layer single, twice;
    layer_create(&single, engine, setup, dtype, 9);
    layer_create(&twice, engine, setup, ATTN_F64, 9);
    layer_copy_numbers(&twice, &single);
    layer_fill_gradients(&single, -2.0);
    layer_fill_gradients(&twice, -2.0);
    single.backward.accumulate = twice.backward.accumulate = accumulate;
    if (!flow) single.backward.d_weights = twice.backward.d_weights = NULL;
    layer_backward(&single);
    layer_backward(&twice);
    for (int g = 0; g < GRADIENTS; g++) {
        if (!layer_source(&single, g)) continue;
        double *want = array_read(&twice.gradient[g]), most = 1.0;
        const int64_t count = array_count(&twice.gradient[g]);
        for (int64_t k = 0; k < count; k++) most = fmax(most, fabs(want[k]));
        double *magnitude = must_allocate((size_t)count * sizeof *magnitude);
        for (int64_t k = 0; k < count; k++) magnitude[k] = most;
        assert_close(&single.gradient[g], want, magnitude, gradient_bound, layer_gradient_name(&single, g));
        assert_true(array_gaps_intact(&single.gradient[g]));
        free(want), free(magnitude);
    }
    layer_destroy(&single);
    layer_destroy(&twice);
}

/* Those of 16 bits have numbers that are of their type, and are rounded but once, whatever they are added to. */
static void gradients_in_other_types_are_those_in_float64(void **state)
{
    (void)state;
    for (int i = 0; i < 4 * DTYPES * (SETUPS + LARGE); i++) {
        const int k = i / 4 / DTYPES;
        const attn_dtype dtype = dtypes[i / 4 % DTYPES];
        if (dtype == ATTN_F64 || (few_cases() && i % 5 != 0)) continue;
        check_gradients(k < SETUPS ? &setups[k] : &large[k - SETUPS], dtype, i % 2, i / 2 % 2);
    }
}

static double *gradient_values(const struct layer *l, int g)
{
    return l->gradient[g].memory ? array_read(&l->gradient[g]) : NULL;
}

static void accumulated_gradients_are_added_to_what_is_there(void **state)
{
    (void)state;
    for (int i = 0; i < 2 * SETUPS; i++) {
        struct layer l;
        double *once[GRADIENTS];
        layer_create(&l, engine, &setups[i / 2], i % 2 ? ATTN_F64 : ATTN_F32, 10);
        layer_backward(&l);
        for (int g = 0; g < GRADIENTS; g++) once[g] = gradient_values(&l, g);
        layer_fill_gradients(&l, 3.0);
        l.backward.accumulate = 1;
        layer_backward(&l);
        for (int g = 0; g < GRADIENTS; g++) {
            if (!once[g]) continue;
            for (int64_t k = 0; k < array_count(&l.gradient[g]); k++) once[g][k] += 3.0;
            assert_close(&l.gradient[g], once[g], NULL, 40, layer_gradient_name(&l, g));
            free(once[g]);
        }
        layer_destroy(&l);
    }
}

/* A program that was compiled before there were sinks has a shorter struct. */
static void older_programs_go_backward(void **state)
{
    (void)state;
    struct layer l;
    double *now[GRADIENTS];
    layer_create(&l, engine, &setups[0], ATTN_F32, 10);
    layer_backward(&l);
    for (int g = 0; g < GRADIENTS; g++) now[g] = gradient_values(&l, g);
    layer_fill_gradients(&l, 3.0);
    l.backward.struct_size = (uint32_t)offsetof(attn_multihead_backward_args, d_sinks);
    layer_backward(&l);
    for (int g = 0; g < GRADIENTS; g++) {
        if (!now[g]) continue;
        assert_close(&l.gradient[g], now[g], NULL, 0, layer_gradient_name(&l, g));
        free(now[g]);
    }
    layer_destroy(&l);
}

/* Each gradient alone is what it is among all; those that are not wanted are not touched. */
static void any_gradient_can_be_had_alone(void **state)
{
    (void)state;
    for (int i = 0; i < DTYPES * SETUPS; i++) {
        struct layer l;
        double *all[GRADIENTS];
        layer_create(&l, engine, &setups[i / DTYPES], dtypes[i % DTYPES], 12);
        layer_backward(&l);
        const attn_multihead_backward_args whole = l.backward;
        for (int g = 0; g < GRADIENTS; g++) all[g] = gradient_values(&l, g);
        for (int g = 0; g < GRADIENTS; g++) {
            const attn_tensor *params[LAYER_PARAMS] = {NULL}, *rule[LAYER_RULE_PARAMS] = {NULL};
            const attn_tensor *tensor = &l.gradient[g].tensor;
            if (!all[g]) continue;
            for (int other = 0; other < GRADIENT_PARAM; other++) *layer_gradient_slot(&l, other) = NULL;
            l.backward.d_params = params;
            l.backward.d_mechanism_params = g >= GRADIENT_RULE ? rule : NULL;
            if (g < GRADIENT_PARAM) *layer_gradient_slot(&l, g) = tensor;
            if (g >= GRADIENT_PARAM && g < GRADIENT_RULE) params[g - GRADIENT_PARAM] = tensor;
            if (g >= GRADIENT_RULE) rule[g - GRADIENT_RULE] = tensor;
            layer_fill_gradients(&l, 7.0);
            layer_backward(&l);
            for (int64_t k = 0; k < array_count(&l.gradient[g]); k++) { /* of 16 bits, both have been rounded */
                const double half_step = dtype_half_step(l.gradient[g].tensor.dtype, all[g][k]);
                const double off = fabs(array_get(&l.gradient[g], k) - all[g][k]);
                const double most = 40 * dtype_epsilon(l.dtype) * (1 + fabs(all[g][k])) + 2 * half_step;
                if (!(off <= most)) fail_msg("%s alone is off by %g", layer_gradient_name(&l, g), off);
            }
            for (int other = 0; other < GRADIENTS; other++) {
                for (int64_t k = 0; other != g && all[other] && k < array_count(&l.gradient[other]); k++) {
                    assert_true(array_get(&l.gradient[other], k) == 7.0);
                }
            }
        }
        l.backward = whole;
        for (int g = 0; g < GRADIENTS; g++) free(all[g]);
        layer_destroy(&l);
    }
}

/* ----------------------------------------------------------------------------------------- same bits */

static void assert_same_gradients(const struct layer *a, const struct layer *b, const char *what)
{
    for (int g = 0; g < GRADIENTS; g++) {
        const struct array *one = &a->gradient[g];
        if (!one->memory || array_same_bits(one, &b->gradient[g], 0, array_count(one))) continue;
        fail_msg("%s, %s: %s differs", a->s.name, what, layer_gradient_name(a, g));
    }
}

static void what_is_saved_gives_the_same_bits_as_what_is_computed_again(void **state)
{
    (void)state;
    for (int i = 0; i < 2 * DTYPES * (SETUPS + LARGE); i++) {
        const int k = i / 2 / DTYPES;
        const struct setup *setup = k < SETUPS ? &setups[k] : &large[k - SETUPS];
        const attn_dtype dtype = dtypes[i / 2 % DTYPES];
        struct layer with, without;
        struct array logsumexp;
        const int64_t shape[3] = {setup->batch, setup->query_heads, setup->queries};
        layer_create(&with, engine, setup, dtype, 13);
        layer_create(&without, engine, setup, dtype, 13);
        array_create(&logsumexp, dtype_computed(dtype), 3, shape, LAYOUT_PLAIN, NULL);
        with.attention.weights = NULL;
        if (i % 2) with.attention.logsumexp = &logsumexp.tensor; /* it is kept all the same */
        layer_save(&with);
        layer_forward(&with);
        array_fill(&with.output, NAN); /* not looked at */
        array_fill(&logsumexp, NAN);
        with.args.output = NULL;
        layer_backward(&with);
        layer_backward(&without);
        assert_same_gradients(&with, &without, "saved");
        layer_backward(&with); /* what is saved is only read */
        assert_same_gradients(&with, &without, "again");
        array_destroy(&logsumexp);
        layer_destroy(&with);
        layer_destroy(&without);
    }
}

/* But for few queries, which, with something to save, are computed as those of the way back are. */
static void saving_changes_no_bit_of_the_output(void **state)
{
    enum { FEW = 8 };
    (void)state;
    for (int i = 0; i < 2 * LARGE; i++) {
        struct layer with, without;
        const struct setup *setup = &large[i / 2];
        const bool few = setup->queries * setup->query_heads / setup->key_heads <= FEW;
        layer_create(&with, engine, &large[i / 2], i % 2 ? ATTN_F64 : ATTN_F32, 14);
        layer_create(&without, engine, &large[i / 2], i % 2 ? ATTN_F64 : ATTN_F32, 14);
        with.attention.weights = without.attention.weights = NULL;
        layer_save(&with);
        layer_forward(&with);
        layer_forward(&without);
        assert_true(few || array_same_bits(&with.output, &without.output, 0, array_count(&with.output)));
        double *want = array_read(&without.output);
        assert_close(&with.output, want, NULL, forward_bound, setup->name);
        free(want);
        layer_destroy(&with);
        layer_destroy(&without);
    }
}

/* Counts, and fails where it is told to. */
struct meter {
    atomic_llong asked, alive, fail_at; /* the number of the allocation that fails; -1: none */
};

/* Memory with NaN in every element: nothing may be read that was not written. */
static void *allocate_filled(void *data, size_t bytes, size_t alignment)
{
    struct meter *meter = data;
    if (atomic_fetch_add(&meter->asked, 1) == atomic_load(&meter->fail_at)) return NULL;
    const size_t whole = (bytes + alignment - 1) / alignment * alignment;
    unsigned char *memory = aligned_alloc(alignment, whole);
    if (memory == NULL) return NULL;
    memset(memory, 0xFF, whole);
    atomic_fetch_add(&meter->alive, 1);
    return memory;
}

static void release(void *data, void *memory, size_t bytes)
{
    struct meter *meter = data;
    (void)bytes;
    atomic_fetch_sub(&meter->alive, 1);
    free(memory);
}

static attn_engine_options metered(struct meter *meter, int32_t threads)
{
    attn_engine_options options = ATTN_ENGINE_OPTIONS_INIT;
    atomic_store(&meter->asked, 0);
    atomic_store(&meter->alive, 0);
    atomic_store(&meter->fail_at, -1);
    options.threads = threads;
    options.allocate = allocate_filled;
    options.release = release;
    options.allocator_data = meter;
    return options;
}

static void execute_backwards(void *data, int64_t count, attn_task_fn task, void *task_data)
{
    (void)data;
    for (int64_t i = count - 1; i >= 0; i--) task(task_data, i);
}

static void bits_are_the_same_for_any_number_of_threads(void **state)
{
    enum { RUNS = 4 };
    static const int32_t threads[RUNS] = {1, 2, 3, 7};
    (void)state;
    for (int i = 0; i < DTYPES * LARGE; i++) {
        struct layer l[RUNS];
        struct meter meter;
        if (few_cases() && i % 3 != 0) continue;
        for (int run = 0; run < RUNS; run++) {
            attn_engine_options options = metered(&meter, threads[run]);
            attn_engine *own;
            options.execute = run == 3 ? execute_backwards : NULL;
            MUST(attn_engine_create(&options, &own));
            layer_create(&l[run], own, &large[i / DTYPES], dtypes[i % DTYPES], 15);
            attn_engine_destroy(own); /* mechanism and layer keep it */
            l[run].backward.d_weights = NULL;
            layer_forward(&l[run]);
            layer_backward(&l[run]);
            assert_true(array_same_bits(&l[0].output, &l[run].output, 0, array_count(&l[0].output)));
            assert_same_gradients(&l[0], &l[run], "threads");
        }
        for (int run = 0; run < RUNS; run++) layer_destroy(&l[run]);
    }
}

/* --------------------------------------------------------------------------------------------- memory */

static void assert_outputs_hold(const struct layer *l, double value)
{
    for (int64_t i = 0; i < array_count(&l->output); i++) assert_true(array_get(&l->output, i) == value);
    for (int g = 0; g < GRADIENTS; g++) {
        for (int64_t i = 0; l->gradient[g].memory && i < array_count(&l->gradient[g]); i++) {
            assert_true(array_get(&l->gradient[g], i) == value);
        }
    }
}

enum { FENCE = 256, SHIFT = 9 };

/* A workspace of exactly the size, at an odd place between fences. */
struct fenced {
    unsigned char *block;
    size_t bytes;
};

static void *fence(struct fenced *f, size_t bytes)
{
    f->bytes = bytes;
    f->block = must_allocate(bytes + 2 * FENCE);
    memset(f->block, 0xA5, bytes + 2 * FENCE);
    return f->block + FENCE + SHIFT - FENCE / 2;
}

static void unfence(struct fenced *f)
{
    const unsigned char *first = f->block + FENCE + SHIFT - FENCE / 2;
    for (const unsigned char *c = f->block; c < first; c++) assert_int_equal(*c, 0xA5);
    for (const unsigned char *c = first + f->bytes; c < f->block + f->bytes + 2 * FENCE; c++)
        assert_int_equal(*c, 0xA5);
    free(f->block);
}

static void check_workspace(struct layer *l, struct meter *meter, bool saving)
{
    struct fenced forward, backward, saved = {NULL, 0};
    size_t bytes;
    if (saving) {
        MUST(attn_multihead_saved(l->multihead, &l->args, &bytes));
        l->args.saved = fence(&saved, bytes);
        l->args.saved_size = bytes - 1;
        array_fill(&l->output, 7.0);
        layer_fill_gradients(l, 7.0);
        assert_int_equal(attn_multihead_forward(l->multihead, &l->args), ATTN_ERR_BUFFER);
        assert_int_equal(attn_multihead_backward(l->multihead, &l->backward), ATTN_ERR_BUFFER);
        assert_non_null(strstr(attn_last_error(), "saved_size"));
        l->args.saved_size = bytes;
    }
    MUST(attn_multihead_workspace(l->multihead, &l->args, &bytes));
    l->args.workspace = fence(&forward, bytes);
    array_fill(&l->output, 7.0);
    layer_fill_gradients(l, 7.0);
    l->args.workspace_size = bytes - 1;
    if (bytes > 0) assert_int_equal(attn_multihead_forward(l->multihead, &l->args), ATTN_ERR_BUFFER);
    l->args.workspace_size = bytes;
    MUST(attn_multihead_backward_workspace(l->multihead, &l->backward, &bytes));
    l->backward.workspace = fence(&backward, bytes);
    l->backward.workspace_size = bytes - 1;
    if (bytes > 0) assert_int_equal(attn_multihead_backward(l->multihead, &l->backward), ATTN_ERR_BUFFER);
    l->backward.workspace_size = bytes;
    assert_outputs_hold(l, 7.0);

    const long long asked = atomic_load(&meter->asked);
    layer_forward(l);
    layer_backward(l);
    assert_true(atomic_load(&meter->asked) == asked);
    unfence(&forward);
    unfence(&backward);
    if (saving) unfence(&saved);
}

static void with_a_workspace_of_just_the_size_nothing_is_allocated(void **state)
{
    (void)state;
    for (int i = 0; i < 2 * DTYPES * (SETUPS + LARGE); i++) {
        const int k = i / 2 / DTYPES;
        const struct setup *setup = k < SETUPS ? &setups[k] : &large[k - SETUPS];
        struct meter meter;
        const attn_engine_options options = metered(&meter, 2);
        attn_engine *own;
        struct layer l;
        MUST(attn_engine_create(&options, &own));
        layer_create(&l, own, setup, dtypes[i / 2 % DTYPES], 16);
        check_workspace(&l, &meter, i % 2);
        layer_destroy(&l);
        attn_engine_destroy(own);
        assert_true(atomic_load(&meter.alive) == 0);
    }
}

static void when_memory_runs_out_nothing_has_happened(void **state)
{
    (void)state;
    for (int i = 0; i < DTYPES * (SETUPS + LARGE); i++) {
        const int at = i / DTYPES;
        const struct setup *setup = at < SETUPS ? &setups[at] : &large[at - SETUPS];
        struct meter meter;
        const attn_engine_options options = metered(&meter, 2);
        attn_multihead_options layer_options = ATTN_MULTIHEAD_OPTIONS_INIT;
        attn_multihead *none = (attn_multihead *)(void *)&meter;
        attn_engine *own;
        struct layer l;
        MUST(attn_engine_create(&options, &own));
        layer_create(&l, own, setup, dtypes[i % DTYPES], 17);
        layer_options.query_heads = layer_options.head_dim = setup->head_dim;
        layer_options.query_dim = 4;
        atomic_store(&meter.fail_at, atomic_load(&meter.asked));
        assert_int_equal(attn_multihead_create(l.mechanism, &layer_options, &none), ATTN_ERR_NOMEM);
        assert_ptr_equal(none, (void *)&meter);

        array_fill(&l.output, 7.0);
        layer_fill_gradients(&l, 7.0);
        for (int k = 0; k < 2; k++) { /* each call asks at most once */
            const long long before = atomic_load(&meter.asked);
            atomic_store(&meter.fail_at, before);
            const attn_status status =
                k ? attn_multihead_backward(l.multihead, &l.backward) : attn_multihead_forward(l.multihead, &l.args);
            const long long asked = atomic_load(&meter.asked) - before;
            atomic_store(&meter.fail_at, -1);
            assert_in_range(asked, 0, 1);
            assert_int_equal(status, asked ? ATTN_ERR_NOMEM : ATTN_OK);
            if (setup->dim[0] > 60) assert_int_equal(asked, 1); /* or nothing has failed */
            if (asked == 0 && k == 0) array_fill(&l.output, 7.0);
            if (asked == 0 && k == 1) layer_fill_gradients(&l, 7.0);
            assert_outputs_hold(&l, 7.0);
        }
        layer_forward(&l);
        layer_backward(&l);
        layer_destroy(&l);
        attn_engine_destroy(own);
        assert_true(atomic_load(&meter.alive) == 0);
    }
}

/* --------------------------------------------------------------------------------------------- edges */

/* Rows of keys and values past the lengths: whatever is in them has no part in anything. */
static void what_is_not_seen_may_be_nan(void **state)
{
    (void)state;
    for (int i = 0; i < DTYPES * (SETUPS + LARGE); i++) {
        const int at = i / DTYPES;
        const struct setup *setup = at < SETUPS ? &setups[at] : &large[at - SETUPS];
        struct layer clean, spoilt;
        if (!(setup->modifiers & LAYER_LENGTHS) || !(setup->gives & GIVES_KEY)) continue;
        layer_create(&clean, engine, setup, dtypes[i % DTYPES], 18);
        layer_create(&spoilt, engine, setup, dtypes[i % DTYPES], 18);
        clean.backward.d_weights = spoilt.backward.d_weights = NULL;
        for (int64_t b = 0; b < setup->batch; b++) {
            for (int64_t j = (int64_t)array_get(&clean.lengths, b); j < setup->keys; j++) {
                for (int64_t d = 0; d < setup->dim[1]; d++) {
                    const int64_t element = (b * setup->keys + j) * setup->dim[1] + d;
                    array_set(&clean.input[1], element, 0.0);
                    array_set(&spoilt.input[1], element, j % 2 ? NAN : INFINITY);
                }
            }
        }
        layer_forward(&clean);
        layer_forward(&spoilt);
        layer_backward(&clean);
        layer_backward(&spoilt);
        double *want = array_read(&clean.output);
        assert_close(&spoilt.output, want, NULL, forward_bound, setup->name);
        free(want);
        for (int g = 0; g < GRADIENTS; g++) {
            if (!clean.gradient[g].memory) continue;
            want = array_read(&clean.gradient[g]);
            assert_close(&spoilt.gradient[g], want, NULL, gradient_bound, layer_gradient_name(&clean, g));
            free(want);
        }
        layer_destroy(&clean);
        layer_destroy(&spoilt);
    }
}

/* A value that is seen is not cleared away: it reaches the output, and the gradient of the weights that it passes. */
static void what_is_seen_and_nan_reaches_output_and_gradients(void **state)
{
    (void)state;
    for (int i = 0; i < DTYPES; i++) {
        struct layer l;
        layer_create(&l, engine, &large[0], dtypes[i], 21);
        array_set(&l.input[0], 5, NAN);
        layer_forward(&l);
        layer_backward(&l);
        const int g[] = {GRADIENT_INPUT, GRADIENT_PARAM, GRADIENT_PARAM + 1};
        assert_true(isnan(array_get(&l.output, 0)) != 0);
        for (int k = 0; k < 3; k++) assert_true(isnan(array_get(&l.gradient[g[k]], 0)) != 0);
        assert_true(isnan(array_get(&l.gradient[GRADIENT_PARAM + 3], 0)) == 0); /* b_o meets no context */
        layer_destroy(&l);
    }
}

/* Without keys the output is its bias; without queries, or a batch, gradients are 0 or stay. */
static void where_there_is_nothing_the_layer_is_its_bias(void **state)
{
    (void)state;
    for (int i = 0; i < 6 * DTYPES; i++) {
        struct setup setup = setups[i % 3 == 0 ? 5 : 8];
        struct layer l;
        if (i % 3 == 0) setup.keys = 0;
        if (i % 3 == 1) setup.queries = 0;
        if (i % 3 == 2) setup.batch = 0;
        setup.modifiers = 0;
        const attn_dtype dtype = dtypes[i / 6];
        layer_create(&l, engine, &setup, dtype, 19);
        layer_save(&l);
        layer_forward(&l);
        l.backward.accumulate = i / 3 % 2;
        layer_fill_gradients(&l, 7.0);
        layer_backward(&l);
        for (int64_t k = 0; k < array_count(&l.output); k++) {
            const double bias = array_get(&l.param[7], k % setup.output_dim);
            assert_true(fabs(array_get(&l.output, k) - bias) <= dtype_half_step(dtype, bias));
        }
        for (int g = 0; g < GRADIENTS; g++) {
            const bool last_bias = g == GRADIENT_PARAM + 7 && i % 3 == 0; /* of what does flow in */
            for (int64_t k = 0; l.gradient[g].memory && !last_bias && k < array_count(&l.gradient[g]); k++) {
                assert_true(array_get(&l.gradient[g], k) == (l.backward.accumulate ? 7.0 : 0.0));
            }
        }
        layer_destroy(&l);
    }
}

/* The engine outlives neither the caller's handle nor the layer's mechanism: it goes with the last. */
static void the_layer_keeps_its_mechanism_and_that_its_engine(void **state)
{
    struct meter meter;
    const attn_engine_options options = metered(&meter, 2);
    attn_engine *own;
    struct layer l;
    (void)state;
    MUST(attn_engine_create(&options, &own));
    layer_create(&l, own, &large[0], ATTN_F32, 20);
    attn_engine_destroy(own);
    layer_forward(&l);
    attn_mechanism_destroy(l.mechanism);
    l.mechanism = NULL;
    layer_forward(&l);
    layer_backward(&l);
    assert_true(atomic_load(&meter.alive) > 0);
    layer_destroy(&l);
    assert_true(atomic_load(&meter.alive) == 0);
    attn_multihead_destroy(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_layer_is_what_plain_loops_say),
        cmocka_unit_test(packed_and_separate_parameters_are_the_same_layer),
        cmocka_unit_test(gradients_are_differences_of_forward_calls),
        cmocka_unit_test(gradients_are_the_adjoint_of_how_the_output_moves),
        cmocka_unit_test(gradients_in_other_types_are_those_in_float64),
        cmocka_unit_test(accumulated_gradients_are_added_to_what_is_there),
        cmocka_unit_test(older_programs_go_backward),
        cmocka_unit_test(any_gradient_can_be_had_alone),
        cmocka_unit_test(what_is_saved_gives_the_same_bits_as_what_is_computed_again),
        cmocka_unit_test(saving_changes_no_bit_of_the_output),
        cmocka_unit_test(bits_are_the_same_for_any_number_of_threads),
        cmocka_unit_test(with_a_workspace_of_just_the_size_nothing_is_allocated),
        cmocka_unit_test(when_memory_runs_out_nothing_has_happened),
        cmocka_unit_test(what_is_not_seen_may_be_nan),
        cmocka_unit_test(what_is_seen_and_nan_reaches_output_and_gradients),
        cmocka_unit_test(where_there_is_nothing_the_layer_is_its_bias),
        cmocka_unit_test(the_layer_keeps_its_mechanism_and_that_its_engine),
    };
    return cmocka_run_group_tests_name("multihead", tests, engine_setup, engine_teardown);
}
