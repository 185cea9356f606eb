/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test_multihead_memory.c: a layer of heads that decodes over a memory gives what it gives for the whole sequence at
 * once.
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

enum { B = 2, T = 11, E = 20, SOURCE_DIM = 7, HQ = 4, HK = 2, D = 6, DV = 5, SOURCE = 9, PARAMS = 8 };

struct decoder {
    attn_mechanism *mechanism;
    attn_multihead *layer;
    attn_memory *memory;
    struct array params[PARAMS];
    int32_t count;
    attn_dtype dtype;
};

/* Of calls of dtype, with a memory that is kept in another, or in it. */
static void decoder_create(struct decoder *d, attn_engine *own, attn_dtype dtype, attn_dtype kept_in, uint32_t flags,
                           attn_align causal, int64_t key_dim)
{
    struct rng rng = {flags + 3};
    attn_multihead_options options = ATTN_MULTIHEAD_OPTIONS_INIT;
    attn_memory_options kept = ATTN_MEMORY_OPTIONS_INIT;
    *d = (struct decoder){.dtype = dtype};
    MUST(attn_mechanism_create_scaled_dot(own, &d->mechanism));
    MUST(attn_mechanism_set_causal(d->mechanism, causal));
    options.flags = flags;
    options.query_heads = HQ;
    options.key_heads = HK;
    options.query_dim = E;
    options.key_dim = key_dim;
    options.head_dim = D;
    options.value_head_dim = DV;
    MUST(attn_multihead_create(d->mechanism, &options, &d->layer));
    MUST(attn_multihead_param_count(d->layer, &d->count));
    for (int32_t i = 0; i < d->count; i++) {
        attn_param_info info = ATTN_PARAM_INFO_INIT;
        MUST(attn_multihead_param_info(d->layer, i, &info));
        array_create(&d->params[i], dtype_computed(dtype), info.ndim, info.shape, LAYOUT_PLAIN, NULL);
        array_fill_normal(&d->params[i], &rng, 0.3);
        MUST(attn_multihead_bind_param(d->layer, info.name, &d->params[i].tensor));
    }
    kept.dtype = kept_in;
    kept.batch = B;
    kept.key_heads = HK;
    kept.key_dim = D;
    kept.value_dim = DV;
    MUST(attn_memory_create(d->mechanism, &kept, &d->memory));
}

static void decoder_destroy(struct decoder *d)
{
    attn_memory_destroy(d->memory);
    attn_multihead_destroy(d->layer);
    attn_mechanism_destroy(d->mechanism);
    for (int32_t i = 0; i < d->count; i++) array_destroy(&d->params[i]);
}

static struct array rows(attn_dtype dtype, int64_t count, int64_t dim, uint64_t seed)
{
    struct rng rng = {seed};
    struct array array;
    int64_t shape[3] = {B, count, dim};
    array_create(&array, dtype, 3, shape, LAYOUT_PLAIN, NULL);
    array_fill_normal(&array, &rng, 1.0);
    return array;
}

/* Rows first .. first + count - 1 of each sequence. */
static attn_tensor part(const struct array *array, int64_t first, int64_t count)
{
    attn_tensor t = array->tensor;
    t.data = (char *)t.data + first * t.stride[1] * (t.dtype == ATTN_F32 ? 4 : t.dtype == ATTN_F64 ? 8 : 2);
    t.shape[1] = count;
    return t;
}

static void assert_rows_near(const struct array *got, const struct array *want, attn_dtype dtype, const char *what)
{
    for (int64_t i = 0; i < array_count(want); i++) {
        const double x = array_get(got, i), y = array_get(want, i);
        if (!(fabs(x - y) <= 128 * dtype_epsilon(dtype) * (1 + fabs(y)))) fail_msg("%s: %g, wanted %g", what, x, y);
    }
}

static int64_t length_of(const attn_memory *memory)
{
    int64_t lengths[B];
    MUST(attn_memory_lengths(memory, NULL, lengths, B));
    for (int b = 1; b < B; b++) assert_int_equal(lengths[b], lengths[0]);
    return lengths[0];
}

static void decode(attn_dtype dtype, uint32_t flags, const int64_t *steps)
{
    struct decoder d;
    struct array x = rows(dtype, T, E, 1), whole = rows(dtype, T, E, 2), stepwise = rows(dtype, T, E, 3);
    attn_multihead_args args = ATTN_MULTIHEAD_ARGS_INIT;
    decoder_create(&d, engine, dtype, dtype, flags, ATTN_ALIGN_BOTTOM_RIGHT, E);
    args.query = &x.tensor;
    args.output = &whole.tensor;
    MUST(attn_multihead_forward(d.layer, &args));
    args.memory = d.memory;
    for (int64_t at = 0, i = 0; at < T; at += steps[i++]) {
        const attn_tensor in = part(&x, at, steps[i]), out = part(&stepwise, at, steps[i]);
        args.query = &in;
        args.output = &out;
        MUST(attn_multihead_forward(d.layer, &args));
        assert_int_equal(length_of(d.memory), at + steps[i]);
    }
    assert_rows_near(&stepwise, &whole, dtype, "step by step");
    array_destroy(&x);
    array_destroy(&whole);
    array_destroy(&stepwise);
    decoder_destroy(&d);
}

static void decoding_gives_the_numbers_of_the_whole_sequence(void **state)
{
    static const int64_t steps[][T + 1] = {{1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}, {4, 1, 3, 2, 1}, {11}};
    static const uint32_t flags[] = {0, ATTN_MULTIHEAD_BIAS, ATTN_MULTIHEAD_PACKED | ATTN_MULTIHEAD_BIAS};
    (void)state;
    for (int s = 0; s < 3; s++) {
        for (int f = 0; f < 3; f++) {
            decode(ATTN_F32, flags[f], steps[s]);
            decode(ATTN_F64, flags[f], steps[s]);
        }
    }
}

/* The encoder's states, of another dimension too, are projected by the first step alone. */
static void cross_attention_appends_once(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        const attn_dtype dtype = i % 2 ? ATTN_F64 : ATTN_F32;
        const int64_t dim = i < 2 ? E : SOURCE_DIM;
        struct decoder d;
        struct array x = rows(dtype, T, E, 1), source = rows(dtype, SOURCE, dim, 4), whole = rows(dtype, T, E, 2),
                     stepwise = rows(dtype, T, E, 3);
        attn_multihead_args args = ATTN_MULTIHEAD_ARGS_INIT;
        decoder_create(&d, engine, dtype, dtype, i < 2 ? ATTN_MULTIHEAD_PACKED : 0, ATTN_ALIGN_NONE, dim);
        args.query = &x.tensor;
        args.key = &source.tensor;
        args.output = &whole.tensor;
        MUST(attn_multihead_forward(d.layer, &args));
        args.memory = d.memory;
        for (int64_t t = 0; t < T; t++) {
            const attn_tensor in = part(&x, t, 1), out = part(&stepwise, t, 1);
            args.query = &in;
            args.output = &out;
            args.key = t == 0 ? &source.tensor : NULL;
            args.attend_only = t > 0;
            MUST(attn_multihead_forward(d.layer, &args));
            args.attend_only = 1;
            args.key = &source.tensor;
            assert_int_equal(attn_multihead_forward(d.layer, &args), ATTN_ERR_ARGUMENT);
            assert_non_null(strstr(attn_last_error(), "attend_only is 1, but there is a key"));
            assert_int_equal(length_of(d.memory), SOURCE);
        }
        assert_rows_near(&stepwise, &whole, dtype, "cross-attention");
        array_destroy(&x);
        array_destroy(&source);
        array_destroy(&whole);
        array_destroy(&stepwise);
        decoder_destroy(&d);
    }
}

/* --------------------------------------------------------------------------------- memories of other types */

/* Parameters whose products with anything are known: a key is x_a + x_b / 2; so are the values of even dimensions, of a
 * small x_b, and those of odd ones are x_a without it. The output has differences of the two, where what rounding takes
 * from the values is all that there is, as it is without rounding; then contexts. */
enum { PAIRS = DV / 2, FAR = 1024 };

static void fill_known(struct decoder *d)
{
    struct array *keys = &d->params[1], *values = &d->params[2], *out = &d->params[3];
    for (int i = 1; i < 4; i++) array_fill(&d->params[i], 0);
    for (int64_t r = 0; r < HK * D; r++) {
        array_set(keys, r * E + r, 1);
        array_set(keys, r * E + (r + 5) % E, 0.5);
    }
    for (int64_t r = 0; r < HK * DV; r++) {
        const int odd = (int)(r % DV % 2);
        array_set(values, r * E + r - odd, 1);
        if (!odd) array_set(values, r * E + HK * DV + r, 1.0 / FAR);
    }
    for (int64_t r = 0; r < E; r++) {
        const int64_t column = r / PAIRS * DV + r % PAIRS * 2, columns = HQ * DV;
        if (r < HQ * PAIRS) array_set(out, r * columns + column, FAR);
        if (r < HQ * PAIRS) array_set(out, r * columns + column + 1, -FAR);
        if (r >= HQ * PAIRS) array_set(out, r * columns + r, 1);
    }
}

/* The rows that the layer makes of x, [B, HK, T, width], in float32, by what was just filled in. */
static struct array projected(const struct array *weight, const struct array *x, int64_t width)
{
    const int64_t shape[4] = {B, HK, T, width};
    struct array to;
    array_create(&to, ATTN_F32, 4, shape, LAYOUT_PLAIN, NULL);
    for (int64_t i = 0; i < array_count(&to); i++) {
        const int64_t d = i % width, t = i / width % T, h = i / width / T % HK, b = i / width / T / HK;
        float sum = 0;
        for (int64_t e = 0; e < E; e++) {
            sum += (float)(array_get(weight, (h * width + d) * E + e) * array_get(x, (b * T + t) * E + e));
        }
        array_set(&to, i, (double)sum);
    }
    return to;
}

static void quantise_row(struct array *rows, int64_t first, int64_t width)
{
    float greatest = 0;
    for (int64_t d = 0; d < width; d++) greatest = fmaxf(greatest, fabsf((float)array_get(rows, first + d)));
    const float scale = greatest / 127;
    for (int64_t d = 0; d < width; d++) {
        array_set(rows, first + d, (double)(rintf((float)array_get(rows, first + d) / scale) * scale));
    }
}

/* What a memory that is kept in a type has of them. */
static void keep(struct array *rows, attn_dtype kept_in, int64_t width)
{
    struct array narrow;
    if (kept_in == ATTN_I8) {
        for (int64_t i = 0; i < array_count(rows); i += width) quantise_row(rows, i, width);
        return;
    }
    array_create(&narrow, kept_in, rows->tensor.ndim, rows->tensor.shape, LAYOUT_PLAIN, NULL);
    for (int64_t i = 0; i < array_count(rows); i++) {
        array_set(&narrow, i, array_get(rows, i));
        array_set(rows, i, array_get(&narrow, i));
    }
    array_destroy(&narrow);
}

static attn_tensor positions(const struct array *array, int64_t first, int64_t count)
{
    attn_tensor t = array->tensor;
    t.data = (char *)t.data + first * t.stride[2] * (int64_t)sizeof(float);
    t.shape[2] = count;
    return t;
}

/* Outputs are rounded once, or twice in other ways; the rest is of float32. */
static void assert_same_numbers(const struct array *got, const struct array *want, double least, const char *what)
{
    for (int64_t i = 0; i < array_count(want); i++) {
        const double x = array_get(got, i), y = array_get(want, i);
        const double bound = least + 1e-5 * fabs(y) + 2 * dtype_half_step(got->tensor.dtype, y);
        if (!(fabs(x - y) <= bound)) fail_msg("%s %d: %g, wanted %g", what, (int)i, x, y);
    }
}

static void decode_kept(attn_dtype dtype, attn_dtype kept_in)
{
    static const int64_t steps[] = {4, 1, 3, 2, 1};
    struct decoder d;
    attn_memory *known;
    attn_memory_options options = ATTN_MEMORY_OPTIONS_INIT;
    struct array x = rows(dtype, T, E, 1), got = rows(dtype, T, E, 2), want = rows(dtype, T, E, 3);
    decoder_create(&d, engine, dtype, kept_in, 0, ATTN_ALIGN_BOTTOM_RIGHT, E);
    fill_known(&d);
    options.dtype = dtype_computed(dtype), options.batch = B, options.key_heads = HK, options.key_dim = D;
    options.value_dim = DV;
    MUST(attn_memory_create(d.mechanism, &options, &known));
    struct array keys = projected(&d.params[1], &x, D), values = projected(&d.params[2], &x, DV);
    keep(&keys, kept_in, D);
    keep(&values, kept_in, DV);
    for (int64_t at = 0, i = 0; at < T; at += steps[i++]) {
        const int64_t shape[3] = {B, HQ, steps[i]};
        const attn_tensor in = part(&x, at, steps[i]), out = part(&got, at, steps[i]), to = part(&want, at, steps[i]);
        const attn_tensor key = positions(&keys, at, steps[i]), value = positions(&values, at, steps[i]);
        struct array logsumexp, wanted;
        attn_forward_args attention = ATTN_FORWARD_ARGS_INIT;
        attn_multihead_args args = ATTN_MULTIHEAD_ARGS_INIT;
        array_create(&logsumexp, ATTN_F32, 3, shape, LAYOUT_PLAIN, NULL);
        array_create(&wanted, ATTN_F32, 3, shape, LAYOUT_PLAIN, NULL);
        args.query = &in, args.output = &out, args.attention = &attention, args.memory = d.memory;
        attention.logsumexp = &logsumexp.tensor;
        MUST(attn_multihead_forward(d.layer, &args));
        MUST(attn_memory_append(known, &key, &value, NULL));
        args.output = &to, args.memory = known, args.attend_only = 1, attention.logsumexp = &wanted.tensor;
        MUST(attn_multihead_forward(d.layer, &args));
        assert_int_equal(length_of(d.memory), length_of(known));
        assert_same_numbers(&logsumexp, &wanted, 1e-5, "log-sum-exp");
        array_destroy(&logsumexp);
        array_destroy(&wanted);
    }
    assert_same_numbers(&got, &want, FAR * 1e-6, "output");
    attn_memory_destroy(known);
    array_destroy(&keys);
    array_destroy(&values);
    array_destroy(&x);
    array_destroy(&got);
    array_destroy(&want);
    decoder_destroy(&d);
}

static void a_memory_of_another_type_is_one_of_what_it_keeps(void **state)
{
    static const attn_dtype pairs[][2] = {{ATTN_F32, ATTN_I8},  {ATTN_F16, ATTN_F16}, {ATTN_BF16, ATTN_BF16},
                                          {ATTN_F16, ATTN_I8},  {ATTN_BF16, ATTN_I8}, {ATTN_F16, ATTN_F32},
                                          {ATTN_BF16, ATTN_F32}};
    (void)state;
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) decode_kept(pairs[i][0], pairs[i][1]);
}

static void a_memory_of_a_type_that_is_not_taken_is_refused(void **state)
{
    static const attn_dtype pairs[][2] = {{ATTN_F32, ATTN_BF16}, {ATTN_F16, ATTN_BF16}, {ATTN_BF16, ATTN_F64},
                                          {ATTN_F64, ATTN_F32},  {ATTN_F64, ATTN_I8},   {ATTN_F32, ATTN_F64}};
    (void)state;
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        struct decoder d;
        struct array x = rows(pairs[i][0], T, E, 1), out = rows(pairs[i][0], T, E, 2);
        attn_multihead_args args = ATTN_MULTIHEAD_ARGS_INIT;
        decoder_create(&d, engine, pairs[i][0], pairs[i][1], 0, ATTN_ALIGN_NONE, E);
        args.query = &x.tensor, args.output = &out.tensor, args.memory = d.memory;
        assert_int_equal(attn_multihead_forward(d.layer, &args), ATTN_ERR_DTYPE);
        assert_non_null(strstr(attn_last_error(), ", but query is ATTN_"));
        assert_int_equal(length_of(d.memory), 0);
        array_destroy(&x);
        array_destroy(&out);
        decoder_destroy(&d);
    }
}

static int64_t allocations_left;

static void *failing_allocate(void *data, size_t bytes, size_t alignment)
{
    void *block = NULL;
    (void)data;
    if (allocations_left-- <= 0 || posix_memalign(&block, alignment, bytes) != 0) return NULL;
    return block;
}

static void plain_release(void *data, void *pointer, size_t bytes)
{
    (void)data, (void)bytes;
    free(pointer);
}

static void a_call_that_fails_appends_nothing(void **state)
{
    (void)state;
    attn_engine_options options = ATTN_ENGINE_OPTIONS_INIT;
    attn_engine *own;
    struct decoder d;
    options.allocate = failing_allocate;
    options.release = plain_release;
    options.threads = 1;
    allocations_left = INT64_MAX;
    MUST(attn_engine_create(&options, &own));
    decoder_create(&d, own, ATTN_F32, ATTN_F32, ATTN_MULTIHEAD_BIAS, ATTN_ALIGN_BOTTOM_RIGHT, E);
    struct array x = rows(ATTN_F32, T, E, 1), out = rows(ATTN_F32, T, E, 2), want = rows(ATTN_F32, T, E, 3);
    attn_multihead_args args = ATTN_MULTIHEAD_ARGS_INIT;
    args.query = &x.tensor;
    args.output = &want.tensor;
    MUST(attn_multihead_forward(d.layer, &args));
    args.output = &out.tensor;
    args.memory = d.memory;
    int64_t k = 0;
    for (;; k++) {
        allocations_left = k;
        const attn_status status = attn_multihead_forward(d.layer, &args);
        allocations_left = INT64_MAX;
        if (status == ATTN_OK) break;
        assert_int_equal(status, ATTN_ERR_NOMEM);
        assert_int_equal(length_of(d.memory), 0);
    }
    assert_true(k >= 3);
    assert_int_equal(length_of(d.memory), T);
    assert_rows_near(&out, &want, ATTN_F32, "after failures");

    /* Refused: backward, what it would keep, another mechanism's memory, another shape. */
    char kept[64];
    args.saved = kept;
    assert_int_equal(attn_multihead_forward(d.layer, &args), ATTN_ERR_ARGUMENT);
    args.saved = NULL;
    attn_multihead_backward_args back = ATTN_MULTIHEAD_BACKWARD_ARGS_INIT;
    back.forward = &args;
    back.d_output = &want.tensor;
    back.d_query = &out.tensor;
    assert_int_equal(attn_multihead_backward(d.layer, &back), ATTN_ERR_UNSUPPORTED);
    struct decoder other;
    decoder_create(&other, own, ATTN_F32, ATTN_F32, 0, ATTN_ALIGN_NONE, E);
    args.memory = other.memory;
    assert_int_equal(attn_multihead_forward(d.layer, &args), ATTN_ERR_ARGUMENT);
    args.memory = d.memory;
    attn_tensor fewer = x.tensor, fewer_out = out.tensor;
    fewer.shape[0] = fewer_out.shape[0] = 1;
    args.query = &fewer;
    args.output = &fewer_out;
    assert_int_equal(attn_multihead_forward(d.layer, &args), ATTN_ERR_SHAPE);
    assert_int_equal(length_of(d.memory), T);
    decoder_destroy(&other);
    array_destroy(&x);
    array_destroy(&out);
    array_destroy(&want);
    decoder_destroy(&d);
    attn_engine_destroy(own);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decoding_gives_the_numbers_of_the_whole_sequence),
        cmocka_unit_test(cross_attention_appends_once),
        cmocka_unit_test(a_memory_of_another_type_is_one_of_what_it_keeps),
        cmocka_unit_test(a_memory_of_a_type_that_is_not_taken_is_refused),
        cmocka_unit_test(a_call_that_fails_appends_nothing),
    };
    return cmocka_run_group_tests(tests, engine_setup, engine_teardown);
}
