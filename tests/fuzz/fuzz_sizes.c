/* SPDX-License-Identifier: BSD-3-Clause
 *
 * fuzz_sizes.c: absurd dimensions. What asks how much memory is needed gets tensors of up to 2^63 elements in each
 * dimension, at addresses that nobody may touch; what computes gets such tensors where there is nothing to compute: an
 * output without elements, inputs with strides of 0. Each must come back at once, with an answer or a refusal.
 */
#define _POSIX_C_SOURCE 200809L
#include <string.h>
#include <time.h>

#include "fuzz.h"

/* ------------------------------------------------------------------------------------------------- sizes */

/* Small, or near a power of two. */
static int64_t take_size(struct bytes *b)
{
    const unsigned choice = take(b);
    if (choice < 128) return choice % 16;
    const int64_t power = (int64_t)((uint64_t)1 << (choice % 64));
    if (choice % 64 == 63) return INT64_MAX - (int64_t)(choice / 64 % 2);
    return power + (choice / 64 % 2) - 1;
}

struct sizes {
    int64_t batch, query_heads, key_heads, queries, keys, query_dim, key_dim, value_dim, hidden_dim;
};

static int64_t times(int64_t a, int64_t b)
{
    int64_t product;
    return __builtin_mul_overflow(a, b, &product) ? INT64_MAX : product;
}

static struct sizes take_sizes(struct bytes *b)
{
    struct sizes n;
    n.batch = take_size(b);
    n.key_heads = take_size(b);
    n.query_heads = times(n.key_heads, 1 + take(b) % 4);
    n.queries = take_size(b);
    n.keys = take_size(b);
    n.query_dim = take_size(b);
    n.key_dim = take(b) % 2 == 0 ? n.query_dim : take_size(b);
    n.value_dim = take_size(b);
    n.hidden_dim = take_size(b);
    return n;
}

/* ----------------------------------------------------------------------------------------------- tensors */

enum { TENSORS = 48 };
static attn_tensor tensors[TENSORS];
static int tensors_taken;
static bool computes; /* data will be read and written, where there is any */

static int64_t elements(const attn_tensor *t)
{
    int64_t count = 1;
    for (int32_t d = 0; d < t->ndim; d++) {
        if (t->shape[d] == 0) return 0;
        count = times(count, t->shape[d]);
    }
    return count;
}

/* A tensor of this shape. Where data will be read it is one element, again and again; elsewhere it is contiguous, at an
 * address far from all others, or has any strides. */
static attn_tensor *input(struct bytes *b, attn_dtype dtype, int32_t ndim, int64_t s0, int64_t s1, int64_t s2,
                          int64_t s3)
{
    _Alignas(64) static const double zeros[8];
    const int64_t shape[4] = {s0, s1, s2, s3};
    attn_tensor *t = &tensors[tensors_taken++];
    const unsigned choice = take(b);
    CHECK(tensors_taken <= TENSORS, "too many tensors");
    *t = (attn_tensor){.data = (void *)(uintptr_t)zeros, .dtype = dtype, .ndim = ndim};
    int64_t stride = 1;
    for (int32_t d = ndim - 1; d >= 0; d--) {
        t->shape[d] = shape[d];
        t->stride[d] = computes || (choice >> d & 1) ? 0 : stride;
        stride = times(stride, shape[d] > 0 ? shape[d] : 1);
    }
    if (choice >= 250) t->shape[take(b) % (unsigned)ndim] = take_size(b);
    if (computes) return t;
    if (choice >= 240) t->stride[take(b) % (unsigned)ndim] = take_size(b);
    t->data = (void *)((uintptr_t)tensors_taken << 42);
    return t;
}

/* An output: NULL where it would have elements that cannot be written. */
static attn_tensor *output(struct bytes *b, attn_dtype dtype, int32_t ndim, int64_t s0, int64_t s1, int64_t s2,
                           int64_t s3)
{
    const unsigned wanted = take(b);
    const int64_t shape[4] = {s0, s1, s2, s3};
    if (wanted % 4 == 3) return NULL;
    attn_tensor *t = &tensors[tensors_taken++];
    *t = (attn_tensor){.dtype = dtype, .ndim = ndim};
    int64_t stride = 1;
    for (int32_t d = ndim - 1; d >= 0; d--) {
        t->shape[d] = shape[d];
        t->stride[d] = stride;
        stride = times(stride, shape[d] > 0 ? shape[d] : 1);
    }
    if (!computes) {
        t->data = (void *)((uintptr_t)tensors_taken << 42);
    } else if (elements(t) > 4096) {
        return NULL;
    } else if (elements(t) > 0) {
        t->data = fuzz_block(b, (size_t)elements(t) * (dtype == ATTN_F64 ? 8 : 4));
    }
    return t;
}

/* --------------------------------------------------------------------------------------------- mechanism */

static attn_mechanism *mechanism;

static void bind(struct bytes *b, const char *name, attn_dtype dtype, int32_t ndim, int64_t rows, int64_t columns)
{
    (void)attn_mechanism_bind_param(mechanism, name, input(b, dtype, ndim, rows, columns, 0, 0));
}

/* NULL if it is refused. */
static attn_mechanism *take_mechanism(struct bytes *b, const struct sizes *n, attn_dtype dtype, enum fuzz_engine on)
{
    attn_engine *engine_of = fuzz_engine(on);
    attn_status status = ATTN_OK;
    const unsigned score = take(b) % 6, flags = take(b) % 16, modifiers = take(b);
    mechanism = NULL;
    if (score == 0) status = attn_mechanism_create_dot(engine_of, &mechanism);
    if (score == 1) status = attn_mechanism_create_scaled_dot(engine_of, &mechanism);
    if (score == 2) status = attn_mechanism_create_general(engine_of, n->query_dim, n->key_dim, &mechanism);
    if (score == 3) {
        status = attn_mechanism_create_additive(engine_of, n->query_dim, n->key_dim, n->hidden_dim, flags, &mechanism);
    }
    if (score == 4)
        status = attn_mechanism_create_concat(engine_of, n->query_dim, n->key_dim, n->hidden_dim, &mechanism);
    if (score == 5) status = attn_mechanism_create_location(engine_of, n->query_dim, n->keys, &mechanism);
    if (status != ATTN_OK) {
        fuzz_check_sentence(status);
        CHECK(mechanism == NULL, "a refused call made a mechanism");
        return NULL;
    }
    if (modifiers & 1) (void)attn_mechanism_set_causal(mechanism, ATTN_ALIGN_BOTTOM_RIGHT);
    if (modifiers & 2) (void)attn_mechanism_set_window(mechanism, take_size(b), take_size(b), ATTN_ALIGN_TOP_LEFT);
    if (modifiers & 4) {
        (void)attn_mechanism_set_local(mechanism, 1 + (attn_local)(take(b) % 3), take_size(b), n->query_dim,
                                       take_size(b));
    }
    if (modifiers & 8) { /* their numbers are looked at, to choose a way */
        const bool computed = computes;
        computes = true;
        (void)attn_mechanism_set_alibi(mechanism, input(b, dtype, 1, n->query_heads, 0, 0, 0), ATTN_ALIGN_TOP_LEFT);
        computes = computed;
    }
    if (modifiers & 16) {
        const int64_t distance = take_size(b), width = take(b) % 2 ? take_size(b) : times(distance, 2) | 1;
        (void)attn_mechanism_set_relative_bias(mechanism, input(b, dtype, 2, n->query_heads, width, 0, 0),
                                               1 + (attn_relative)(take(b) % 3), distance, ATTN_ALIGN_TOP_LEFT);
    }
    if (modifiers & 32) (void)attn_mechanism_set_normaliser(mechanism, ATTN_HARDMAX);
    int32_t count = 0;
    OK(attn_mechanism_param_count(mechanism, &count));
    for (int32_t i = 0; i < count; i++) {
        attn_param_info info = ATTN_PARAM_INFO_INIT;
        OK(attn_mechanism_param_info(mechanism, i, &info));
        bind(b, info.name, dtype, info.ndim, info.shape[0], info.shape[1]);
    }
    return mechanism;
}

/* --------------------------------------------------------------------------------------------- attention */

static attn_forward_args forward_args(struct bytes *b, const struct sizes *n, attn_dtype dtype)
{
    attn_forward_args args = ATTN_FORWARD_ARGS_INIT;
    const unsigned choice = take(b);
    args.query = input(b, dtype, 4, n->batch, n->query_heads, n->queries, n->query_dim);
    args.key = input(b, dtype, 4, n->batch, n->key_heads, n->keys, n->key_dim);
    args.value = choice & 1 ? NULL : input(b, dtype, 4, n->batch, n->key_heads, n->keys, n->value_dim);
    if (choice & 2) args.mask = input(b, ATTN_BOOL, 2, n->queries, n->keys, 0, 0);
    if (choice & 4) args.bias = input(b, dtype, 4, n->batch, n->query_heads, n->queries, n->keys);
    if (choice & 8) args.dropout = 0.25;
    args.context = output(b, dtype, 4, n->batch, n->query_heads, n->queries, choice & 1 ? n->key_dim : n->value_dim);
    args.weights = output(b, dtype, 4, n->batch, n->query_heads, n->queries, n->keys);
    args.scores = output(b, dtype, 4, n->batch, n->query_heads, n->queries, n->keys);
    args.logsumexp = output(b, dtype, 3, n->batch, n->query_heads, n->queries, 0);
    return args;
}

static attn_backward_args backward_args(struct bytes *b, const struct sizes *n, attn_dtype dtype,
                                        attn_forward_args *forward)
{
    static const attn_tensor *params[8];
    attn_backward_args args = ATTN_BACKWARD_ARGS_INIT;
    const int64_t value_dim = forward->value != NULL ? n->value_dim : n->key_dim;
    /* What forward wrote is read here. */
    forward->context = input(b, dtype, 4, n->batch, n->query_heads, n->queries, value_dim);
    forward->logsumexp = input(b, dtype, 3, n->batch, n->query_heads, n->queries, 0);
    forward->weights = forward->scores = NULL;
    args.forward = forward;
    args.d_context = input(b, dtype, 4, n->batch, n->query_heads, n->queries, value_dim);
    args.d_query = output(b, dtype, 4, n->batch, n->query_heads, n->queries, n->query_dim);
    args.d_key = output(b, dtype, 4, n->batch, n->key_heads, n->keys, n->key_dim);
    if (forward->value != NULL) args.d_value = output(b, dtype, 4, n->batch, n->key_heads, n->keys, n->value_dim);
    if (forward->bias != NULL) {
        args.d_bias = output(b, dtype, 4, n->batch, n->query_heads, n->queries, n->keys);
    }
    int32_t count = 0;
    memset(params, 0, sizeof params);
    OK(attn_mechanism_param_count(mechanism, &count));
    for (int32_t i = 0; i < count; i++) {
        attn_param_info info = ATTN_PARAM_INFO_INIT;
        OK(attn_mechanism_param_info(mechanism, i, &info));
        params[i] = output(b, dtype, info.ndim, info.shape[0], info.shape[1], 0, 0);
        if (params[i] != NULL) args.d_params = params;
    }
    return args;
}

/* An answer is the same a second time; a refusal has a sentence and touches nothing. */
static void check_answer(attn_status status, size_t bytes, size_t before)
{
    if (status == ATTN_OK) {
        CHECK(bytes < (size_t)1 << 63, "%zu bytes are needed", bytes);
        fuzz_counted(COUNT_CALLS);
    } else {
        fuzz_check_sentence(status);
        CHECK(bytes == before, "a refused call has written a size");
    }
}

static void attention(struct bytes *b, struct sizes n, attn_dtype dtype, enum fuzz_engine on, bool backward)
{
    enum { BEFORE = 4711 };
    size_t bytes = BEFORE;
    if (take_mechanism(b, &n, dtype, on) == NULL) return;
    attn_forward_args forward = forward_args(b, &n, dtype);
    attn_backward_args args;
    if (backward) args = backward_args(b, &n, dtype, &forward);
    if (!computes) {
        const attn_status status = backward ? attn_backward_workspace(mechanism, &args, &bytes)
                                            : attn_forward_workspace(mechanism, &forward, &bytes);
        check_answer(status, bytes, BEFORE);
    } else {
        const attn_status status = backward ? attn_backward(mechanism, &args) : attn_forward(mechanism, &forward);
        if (status != ATTN_OK) fuzz_check_sentence(status);
    }
    attn_mechanism_destroy(mechanism);
}

/* ------------------------------------------------------------------------------------------------- layers */

static void layer(struct bytes *b, struct sizes n, attn_dtype dtype, enum fuzz_engine on)
{
    enum { BEFORE = 4711 };
    attn_multihead *multihead = NULL;
    attn_multihead_options options = ATTN_MULTIHEAD_OPTIONS_INIT;
    const unsigned choice = take(b), function = take(b) % 4;
    const int64_t inputs[3] = {take_size(b), take_size(b), take_size(b)}, outputs = take_size(b);
    options.flags = choice % 4;
    options.query_heads = n.query_heads, options.key_heads = n.key_heads;
    options.query_dim = inputs[0], options.key_dim = inputs[1], options.value_dim = inputs[2];
    options.head_dim = n.query_dim, options.value_head_dim = n.value_dim, options.output_dim = outputs;
    if (choice & 4) options.key_dim = options.value_dim = options.query_dim;
    if (take_mechanism(b, &n, dtype, on) == NULL) return;
    attn_status status = attn_multihead_create(mechanism, &options, &multihead);
    if (status != ATTN_OK) {
        fuzz_check_sentence(status);
        CHECK(multihead == NULL, "a refused call made a layer");
        attn_mechanism_destroy(mechanism);
        return;
    }
    int32_t count = 0;
    OK(attn_multihead_param_count(multihead, &count));
    for (int32_t i = 0; i < count; i++) {
        attn_param_info info = ATTN_PARAM_INFO_INIT;
        OK(attn_multihead_param_info(multihead, i, &info));
        (void)attn_multihead_bind_param(multihead, info.name,
                                        input(b, dtype, info.ndim, info.shape[0], info.shape[1], 0, 0));
    }
    const int64_t key_dim = options.key_dim > 0 ? options.key_dim : options.query_dim;
    const int64_t value_dim = options.value_dim > 0 ? options.value_dim : key_dim;
    const int64_t out = outputs > 0 ? outputs : options.query_dim;
    attn_multihead_args args = ATTN_MULTIHEAD_ARGS_INIT;
    size_t bytes = BEFORE;
    args.query = input(b, dtype, 3, n.batch, n.queries, options.query_dim, 0);
    if (!(choice & 8)) args.key = input(b, dtype, 3, n.batch, n.keys, key_dim, 0);
    if (!(choice & 8) && (choice & 16)) args.value = input(b, dtype, 3, n.batch, n.keys, value_dim, 0);
    args.output = output(b, dtype, 3, n.batch, n.queries, out, 0);
    attn_multihead_backward_args backward = ATTN_MULTIHEAD_BACKWARD_ARGS_INIT;
    backward.forward = &args;
    if (function == 2 || (computes && function == 3)) {
        args.output = NULL;
        backward.d_output = input(b, dtype, 3, n.batch, n.queries, out, 0);
        backward.d_query = output(b, dtype, 3, n.batch, n.queries, options.query_dim, 0);
        if (args.key != NULL) backward.d_key = output(b, dtype, 3, n.batch, n.keys, key_dim, 0);
        if (args.value != NULL) backward.d_value = output(b, dtype, 3, n.batch, n.keys, value_dim, 0);
    }
    if (computes) {
        status =
            function >= 2 ? attn_multihead_backward(multihead, &backward) : attn_multihead_forward(multihead, &args);
        if (status != ATTN_OK) fuzz_check_sentence(status);
    } else {
        status = function == 0   ? attn_multihead_workspace(multihead, &args, &bytes)
                 : function == 1 ? attn_multihead_saved(multihead, &args, &bytes)
                                 : attn_multihead_backward_workspace(multihead, &backward, &bytes);
        check_answer(status, bytes, BEFORE);
    }
    attn_multihead_destroy(multihead);
    attn_mechanism_destroy(mechanism);
}

/* ------------------------------------------------------------------------------------------------ the rest */

/* Pairs that go into something are work: too much of it, where there are as many. */
static bool is_work(int64_t pairs, const attn_tensor *const *outputs, int count)
{
    bool any = false;
    for (int i = 0; i < count; i++) any = any || (outputs[i] != NULL && elements(outputs[i]) > 0);
    return computes && any && pairs > 1 << 20;
}

static void decomposable(struct bytes *b, const struct sizes *n, attn_dtype dtype, enum fuzz_engine on)
{
    attn_decomposable_args args = ATTN_DECOMPOSABLE_ARGS_INIT;
    const unsigned choice = take(b);
    const int64_t batch = n->batch, heads = n->key_heads, ta = n->queries, tb = n->keys;
    const int64_t da = choice & 1 ? n->query_dim : n->key_dim, db = choice & 2 ? n->query_dim : n->value_dim;
    args.f = input(b, dtype, 4, batch, heads, ta, n->query_dim);
    args.g = input(b, dtype, 4, batch, heads, tb, n->query_dim);
    if (!(choice & 1)) args.a = input(b, dtype, 4, batch, heads, ta, da);
    if (!(choice & 2)) args.b = input(b, dtype, 4, batch, heads, tb, db);
    attn_status status = ATTN_OK;
    const int64_t *f = args.f->shape, pairs = times(times(f[0], f[1]), times(f[2], args.g->shape[2] | 1));
    if (choice & 4) {
        args.beta = input(b, dtype, 4, batch, heads, ta, db);
        args.alpha = input(b, dtype, 4, batch, heads, tb, da);
        args.a_logsumexp = input(b, dtype, 3, batch, heads, ta, 0);
        args.b_logsumexp = input(b, dtype, 3, batch, heads, tb, 0);
        args.d_beta = input(b, dtype, 4, batch, heads, ta, db);
        if (choice & 8) args.d_alpha = input(b, dtype, 4, batch, heads, tb, da);
        args.d_f = output(b, dtype, 4, batch, heads, ta, n->query_dim);
        args.d_g = output(b, dtype, 4, batch, heads, tb, n->query_dim);
        if (args.a != NULL) args.d_a = output(b, dtype, 4, batch, heads, ta, da);
        if (args.b != NULL) args.d_b = output(b, dtype, 4, batch, heads, tb, db);
        const attn_tensor *const wanted[] = {args.d_f, args.d_g, args.d_a, args.d_b};
        if (!is_work(pairs, wanted, 4)) status = attn_decomposable_backward(fuzz_engine(on), &args);
    } else {
        args.beta = output(b, dtype, 4, batch, heads, ta, db);
        args.alpha = output(b, dtype, 4, batch, heads, tb, da);
        args.a_logsumexp = output(b, dtype, 3, batch, heads, ta, 0);
        args.b_logsumexp = output(b, dtype, 3, batch, heads, tb, 0);
        const attn_tensor *const wanted[] = {args.beta, args.alpha, args.a_logsumexp, args.b_logsumexp};
        if (!is_work(pairs, wanted, 4)) status = attn_decomposable_forward(fuzz_engine(on), &args);
    }
    if (status != ATTN_OK) fuzz_check_sentence(status);
}

static void attentional(struct bytes *b, const struct sizes *n, attn_dtype dtype, enum fuzz_engine on)
{
    attn_attentional_args args = ATTN_ATTENTIONAL_ARGS_INIT;
    const unsigned choice = take(b);
    const int64_t dv = n->value_dim, dq = n->query_dim, h = n->hidden_dim;
    int64_t columns;
    if (__builtin_add_overflow(dv, dq, &columns)) columns = INT64_MAX;
    args.weight = input(b, dtype, 2, h, columns, 0, 0);
    if (choice & 1) args.bias = input(b, dtype, 1, h, 0, 0, 0);
    args.context = input(b, dtype, 4, n->batch, n->key_heads, n->queries, dv);
    args.query = input(b, dtype, 4, n->batch, n->key_heads, n->queries, dq);
    attn_status status;
    if (choice & 2) {
        args.output = input(b, dtype, 4, n->batch, n->key_heads, n->queries, h);
        args.d_output = input(b, dtype, 4, n->batch, n->key_heads, n->queries, h);
        args.d_weight = output(b, dtype, 2, h, columns, 0, 0);
        if (choice & 1) args.d_bias = output(b, dtype, 1, h, 0, 0, 0);
        args.d_context = output(b, dtype, 4, n->batch, n->key_heads, n->queries, dv);
        args.d_query = output(b, dtype, 4, n->batch, n->key_heads, n->queries, dq);
        status = attn_attentional_backward(fuzz_engine(on), &args);
    } else {
        args.output = output(b, dtype, 4, n->batch, n->key_heads, n->queries, h);
        status = attn_attentional_forward(fuzz_engine(on), &args);
    }
    if (status != ATTN_OK) fuzz_check_sentence(status);
}

static void positions(struct bytes *b, const struct sizes *n, attn_dtype dtype, enum fuzz_engine on)
{
    const unsigned choice = take(b) % 4;
    attn_status status;
    if (choice == 0) {
        status = attn_position_sinusoidal(output(b, dtype, 2, n->queries, n->query_dim, 0, 0), take_size(b), 10000.0);
    } else if (choice == 1) {
        status = attn_position_alibi_slopes(output(b, dtype, 1, n->query_heads, 0, 0, 0));
    } else {
        attn_rope_options options = ATTN_ROPE_OPTIONS_INIT;
        options.dimensions = take_size(b);
        options.first = take_size(b);
        options.layout = take(b) % 2 != 0 ? ATTN_ROPE_HALVES : ATTN_ROPE_INTERLEAVED;
        if (choice == 3) options.positions = input(b, ATTN_I64, 2, n->batch, n->queries, 0, 0);
        if (choice == 3) options.first = 0;
        status =
            attn_rope(fuzz_engine(on), &options, input(b, dtype, 4, n->batch, n->key_heads, n->queries, n->query_dim),
                      output(b, dtype, 4, n->batch, n->key_heads, n->queries, n->query_dim));
    }
    if (status != ATTN_OK) fuzz_check_sentence(status);
}

static void memories(struct bytes *b, struct sizes n, attn_dtype dtype, enum fuzz_engine on)
{
    attn_memory_options options = ATTN_MEMORY_OPTIONS_INIT;
    attn_memory *memory = NULL, *copy = NULL;
    options.flags = take(b) % 4;
    options.dtype = dtype;
    options.batch = n.batch;
    options.key_heads = n.key_heads;
    options.key_dim = n.key_dim;
    options.value_dim = options.flags & ATTN_MEMORY_KEYS_ALONE ? 0 : n.value_dim;
    options.capacity = take_size(b);
    if (n.batch > 1 << 12 && n.batch < (int64_t)1 << 32) n.batch = 1 << 12; /* every sequence has a length to be kept */
    if (n.key_heads > 1 << 12 && n.key_heads < (int64_t)1 << 32) n.key_heads = 1 << 12;
    options.batch = n.batch;
    options.key_heads = n.key_heads;
    if (take_mechanism(b, &n, dtype, on) == NULL) return;
    attn_status status = attn_memory_create(mechanism, &options, &memory);
    if (status == ATTN_OK) {
        const attn_tensor *key = input(b, dtype, 4, n.batch, n.key_heads, n.keys, n.key_dim);
        const attn_tensor *value = input(b, dtype, 4, n.batch, n.key_heads, n.keys, n.value_dim);
        int64_t batch = 0;
        /* Positions that have to be copied, or projected, are work. */
        const int64_t one = times(n.key_dim | 1, times(n.value_dim | 1, n.hidden_dim | 1));
        if (times(times(n.batch, n.key_heads), times(n.keys, one)) < 1 << 14) {
            status = attn_memory_append(memory, key, options.value_dim > 0 ? value : NULL, NULL);
            if (status != ATTN_OK) fuzz_check_sentence(status);
        }
        OK(attn_memory_lengths(memory, &batch, NULL, 0));
        CHECK(batch == n.batch, "%lld sequences", (long long)batch);
        status = attn_memory_fork(memory, &copy);
    }
    if (status != ATTN_OK) fuzz_check_sentence(status);
    attn_memory_destroy(memory);
    attn_memory_destroy(copy);
    attn_mechanism_destroy(mechanism);
}

/* ------------------------------------------------------------------------------------------------- whole */

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

void fuzz_one(struct bytes *b)
{
    static const enum fuzz_engine on[] = {TILES_ONE, BLAS_ONE, TILES_THREE, BLAS_THREE};
    const unsigned function = take(b), choice = take(b);
    const attn_dtype dtype = choice % 4 == 3 ? ATTN_F64 : ATTN_F32;
    const enum fuzz_engine which = on[choice / 4 % 4];
    struct sizes n = take_sizes(b);
    const double start = seconds();

    tensors_taken = 0;
    computes = function % 10 >= 3;
    if (computes && function % 10 != 9) { /* nothing to compute */
        if (choice / 16 % 4 == 0)
            n.batch = 0;
        else if (choice / 16 % 4 == 1 && n.value_dim > 0)
            n.queries = 0;
        else if (choice / 16 % 4 == 2)
            n.key_heads = n.query_heads = 1, n.queries = 0;
        else
            n.queries = 0;
    }
    switch (function % 10) {
    case 0:
    case 3:
        attention(b, n, dtype, which, false);
        break;
    case 1:
    case 4:
        attention(b, n, dtype, which, true);
        break;
    case 2:
    case 5:
        layer(b, n, dtype, which);
        break;
    case 6:
        decomposable(b, &n, dtype, which);
        break;
    case 7:
        attentional(b, &n, dtype, which);
        break;
    case 8:
        positions(b, &n, dtype, which);
        break;
    default:
        memories(b, n, dtype, which);
        break;
    }
    CHECK(seconds() - start < 5.0, "it took %.1f seconds", seconds() - start);
}
