/* SPDX-License-Identifier: BSD-3-Clause
 *
 * subject.c: makes inputs, mechanisms and arguments of cases. */
#include "subject.h"

#include "limits.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

size_t attn_bench_cold_bytes(void)
{
    const size_t least = (size_t)256 << 20, most = (size_t)2 << 30, caches = 8 * attn_bench_last_cache();
    return caches < least ? least : caches > most ? most : caches;
}

static void *must_allocate(size_t bytes)
{
    void *memory = aligned_alloc(64, (bytes + 63) / 64 * 64);
    if (memory != NULL) return memory;
    fprintf(stderr, "attn_bench: no memory for %zu bytes\n", bytes);
    exit(1);
}

static uint64_t next_random(void)
{
    static uint64_t state = 1;
    uint64_t z = state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* Normal numbers by Box and Muller. A million of them are made and then repeated, from another place in each tensor:
 * making a gigabyte of them would take longer than the measurement. Their number is prime, so that rows differ. */
static void fill_normal(float *to, size_t count, double deviation)
{
    enum { POOL = 1000003 };
    static float *pool = NULL;
    static const double turn = 6.283185307179586;
    if (pool == NULL) {
        pool = must_allocate((POOL + 1) * sizeof *pool);
        for (size_t i = 0; i < POOL; i += 2) {
            const double radius = sqrt(-2 * log(((double)(next_random() >> 11) + 1) * 0x1p-53));
            const double angle = turn * (double)(next_random() >> 11) * 0x1p-53;
            pool[i] = (float)(radius * cos(angle));
            pool[i + 1] = (float)(radius * sin(angle));
        }
    }
    size_t at = next_random() % POOL;
    for (size_t i = 0; i < count; i++) {
        to[i] = pool[at] * (float)deviation;
        if (++at == POOL) at = 0;
    }
}

static void must(attn_status status)
{
    if (status == ATTN_OK) return;
    fprintf(stderr, "attn_bench: %s\n", attn_last_error());
    exit(1);
}

static attn_tensor normal(int ndim, const int64_t *shape, double deviation)
{
    attn_tensor tensor;
    size_t count = 1;
    for (int d = 0; d < ndim; d++) count *= (size_t)shape[d];
    float *data = must_allocate(count * sizeof *data);
    fill_normal(data, count, deviation);
    must(attn_tensor_init(&tensor, data, ATTN_F32, ndim, shape));
    return tensor;
}

/* The bits of a float32 rounded to the nearest, to the even one of two. No normal number is too large for either. */
static uint16_t half_bits(float number, attn_dtype dtype)
{
    uint32_t bits;
    memcpy(&bits, &number, sizeof bits);
    if (dtype == ATTN_BF16) return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
    const uint32_t sign = bits >> 16 & 0x8000;
    if (fabsf(number) < 0x1p-14f) return (uint16_t)(sign | (uint32_t)lrintf(fabsf(number) * 0x1p24f)); /* subnormal */
    bits &= 0x7fffffff;
    return (uint16_t)(sign | (bits + 0xfff + (bits >> 13 & 1) - ((127u - 15u) << 23)) >> 13);
}

/* The tensor in the case's type, which all but float32 are rounded to. */
static attn_tensor stored(const attn_bench_case *c, attn_tensor tensor)
{
    tensor.dtype = attn_bench_dtype(c);
    if (tensor.dtype == ATTN_F32) return tensor;
    size_t count = 1;
    for (int d = 0; d < tensor.ndim; d++) count *= (size_t)tensor.shape[d];
    float *from = tensor.data;
    uint16_t *to = must_allocate(count * sizeof *to);
    for (size_t i = 0; i < count; i++) to[i] = half_bits(from[i], tensor.dtype);
    free(from);
    tensor.data = to;
    return tensor;
}

/* [B, H, T, D] of the case's type; in memory [B, T, H, D] if the case is strided. */
static attn_tensor rows(const attn_bench_case *c, int64_t heads, int64_t length, int64_t dim, double deviation)
{
    attn_tensor tensor = stored(c, normal(4, (int64_t[]){c->batch, heads, length, dim}, deviation));
    if (c->flags & ATTN_BENCH_STRIDED) {
        tensor.stride[1] = dim;
        tensor.stride[2] = heads * dim;
    }
    return tensor;
}

static attn_tensor make_mask(const attn_bench_case *c)
{
    attn_tensor tensor;
    unsigned char *mask = must_allocate((size_t)(c->queries * c->keys));
    for (int64_t i = 0; i < c->queries; i++) {
        for (int64_t j = 0; j < c->keys; j++) mask[i * c->keys + j] = attn_bench_sees(c, i, j);
    }
    must(attn_tensor_init(&tensor, mask, ATTN_BOOL, 2, (int64_t[]){c->queries, c->keys}));
    return tensor;
}

/* The slopes of Press 2022: a geometric series down to 2^-8. */
static attn_tensor make_slopes(const attn_bench_case *c)
{
    attn_tensor tensor = normal(1, &c->query_heads, 1);
    float *slopes = tensor.data;
    for (int64_t h = 0; h < c->query_heads; h++) {
        slopes[h] = (float)exp2(-8.0 * (double)(h + 1) / (double)c->query_heads);
    }
    return tensor;
}

void attn_bench_inputs_create(attn_bench_inputs *inputs, const attn_bench_case *c)
{
    /* Hidden units see numbers around a half, where tanh is neither straight nor flat; scores that are not scaled
     * around 2. */
    double deviation = c->flags & ATTN_BENCH_KEY_PROJECTED ? 0.5 : 1;
    if (c->flags & (ATTN_BENCH_LOCAL | ATTN_BENCH_DOT)) deviation = 0.25;
    if (c->flags & ATTN_BENCH_HOT) deviation *= 4;
    memset(inputs, 0, sizeof *inputs);
    inputs->c = c;
    inputs->memories = inputs->queries = c->flags & ATTN_BENCH_PLAN ? ATTN_BENCH_MOST_MEMORIES : 1;
    for (int q = 0; q < inputs->queries; q++) {
        inputs->query[q] = rows(c, c->query_heads, c->queries, c->query_dim, deviation);
        inputs->context[q] = rows(c, c->query_heads, c->queries, c->value_dim, 1);
    }
    if (c->flags & ATTN_BENCH_COLD) {
        const double enough = ceil((double)attn_bench_cold_bytes() / attn_bench_bytes(c));
        inputs->memories = enough < ATTN_BENCH_MOST_MEMORIES ? (int)enough : ATTN_BENCH_MOST_MEMORIES;
    }
    const int64_t keys = c->keys + (c->flags & ATTN_BENCH_DECODE ? ATTN_BENCH_TOKENS : 0);
    for (int m = 0; m < inputs->memories; m++) {
        inputs->key[m] = rows(c, c->key_heads, keys, c->key_dim, deviation);
        if (!(c->flags & ATTN_BENCH_KEYS_ARE_VALUES)) {
            inputs->value[m] = rows(c, c->key_heads, keys, c->value_dim, deviation);
        }
    }
    if (c->flags & (ATTN_BENCH_BACKWARD | ATTN_BENCH_TRAIN)) {
        inputs->logsumexp = normal(3, (int64_t[]){c->batch, c->query_heads, c->queries}, 1);
        inputs->d_context = rows(c, c->query_heads, c->queries, c->value_dim, 1);
        inputs->d_query = rows(c, c->query_heads, c->queries, c->query_dim, 1);
        inputs->d_key = rows(c, c->key_heads, c->keys, c->key_dim, 1);
        inputs->d_value = rows(c, c->key_heads, c->keys, c->value_dim, 1);
        if (c->hidden > 0) inputs->d_v = normal(1, &c->hidden, 1);
    }
    if (c->flags & ATTN_BENCH_LOCAL) {
        inputs->W_p = normal(2, (int64_t[]){c->query_dim, c->query_dim}, 2 / sqrt((double)c->query_dim));
        inputs->v_p = normal(1, &c->query_dim, 2 / sqrt((double)c->query_dim));
    }
    if (c->flags & (ATTN_BENCH_MASK_HALF | ATTN_BENCH_MASK_ALL)) inputs->mask = make_mask(c);
    if (c->flags & ATTN_BENCH_ALIBI) inputs->slopes = make_slopes(c);
    if (c->hidden > 0) {
        inputs->v = normal(1, &c->hidden, 1 / sqrt((double)c->hidden));
        inputs->W = normal(2, (int64_t[]){c->hidden, c->query_dim}, 0.5 / sqrt((double)c->query_dim));
        inputs->U = normal(2, (int64_t[]){c->hidden, c->key_dim}, 0.5 / sqrt((double)c->key_dim));
    }
}

static attn_status create_mechanism(const attn_bench_inputs *in, attn_engine *engine, attn_mechanism **mechanism)
{
    const attn_bench_case *c = in->c;
    if (c->flags & (ATTN_BENCH_LOCAL | ATTN_BENCH_DOT)) return attn_mechanism_create_dot(engine, mechanism);
    if (c->hidden == 0) return attn_mechanism_create_scaled_dot(engine, mechanism);
    const bool no_w = c->flags & ATTN_BENCH_QUERY_PROJECTED, no_u = c->flags & ATTN_BENCH_KEY_PROJECTED;
    const uint32_t flags =
        (no_w ? (uint32_t)ATTN_ADDITIVE_QUERY_PROJECTED : 0) | (no_u ? (uint32_t)ATTN_ADDITIVE_KEY_PROJECTED : 0);
    attn_status status = attn_mechanism_create_additive(engine, c->query_dim, c->key_dim, c->hidden, flags, mechanism);
    if (status == ATTN_OK) status = attn_mechanism_bind_param(*mechanism, "v", &in->v);
    if (status == ATTN_OK && !no_w) status = attn_mechanism_bind_param(*mechanism, "W", &in->W);
    if (status == ATTN_OK && !no_u) status = attn_mechanism_bind_param(*mechanism, "U", &in->U);
    return status;
}

static attn_status set_modifiers(const attn_bench_inputs *in, attn_mechanism *mechanism)
{
    const unsigned flags = in->c->flags;
    attn_status status = ATTN_OK;
    if (flags & ATTN_BENCH_FAST) status = attn_mechanism_set_precision(mechanism, ATTN_PRECISION_FAST);
    if (status == ATTN_OK && flags & ATTN_BENCH_CAUSAL)
        status = attn_mechanism_set_causal(mechanism, ATTN_ALIGN_BOTTOM_RIGHT);
    if (status == ATTN_OK && flags & ATTN_BENCH_WINDOW) {
        status = attn_mechanism_set_window(mechanism, 10, 10, ATTN_ALIGN_BOTTOM_RIGHT);
    }
    if (status == ATTN_OK && flags & ATTN_BENCH_ALIBI) {
        status = attn_mechanism_set_alibi(mechanism, &in->slopes, ATTN_ALIGN_BOTTOM_RIGHT);
    }
    if (status == ATTN_OK && flags & ATTN_BENCH_SOFTCAP) status = attn_mechanism_set_softcap(mechanism, 30);
    if (status != ATTN_OK || !(flags & ATTN_BENCH_LOCAL)) return status;
    const int64_t dim = in->c->query_dim;
    status = attn_mechanism_set_local(mechanism, ATTN_LOCAL_PREDICTIVE, 10, dim, dim);
    if (status == ATTN_OK) status = attn_mechanism_bind_param(mechanism, "W_p", &in->W_p);
    if (status == ATTN_OK) status = attn_mechanism_bind_param(mechanism, "v_p", &in->v_p);
    return status;
}

static void *make_workspace(size_t bytes)
{
    return memset(must_allocate(bytes + 1), 0, bytes + 1);
}

/* The keys from..to of a tensor of keys or values. */
static attn_tensor positions(const attn_bench_case *c, attn_tensor tensor, int64_t from, int64_t count)
{
    tensor.data = (char *)tensor.data + from * tensor.stride[2] * attn_bench_number_bytes(c);
    tensor.shape[2] = count;
    return tensor;
}

/* A memory with what the case has from the beginning, and room for what comes. */
static attn_status create_memory(attn_bench_subject *subject)
{
    const attn_bench_inputs *in = subject->inputs;
    const attn_bench_case *c = in->c;
    const bool alone = in->value[0].data == NULL;
    attn_memory_options options = ATTN_MEMORY_OPTIONS_INIT;
    options.flags = (uint32_t)ATTN_MEMORY_FIXED | (alone ? (uint32_t)ATTN_MEMORY_KEYS_ALONE : 0);
    options.dtype = attn_bench_dtype(c);
    options.batch = c->batch;
    options.key_heads = c->key_heads;
    options.key_dim = c->key_dim;
    options.value_dim = alone ? 0 : c->value_dim;
    options.capacity = in->key[0].shape[2];
    attn_status status = attn_memory_create(subject->mechanism, &options, &subject->memory);
    const attn_tensor key = positions(c, in->key[0], 0, c->keys);
    const attn_tensor value = alone ? key : positions(c, in->value[0], 0, c->keys);
    if (status == ATTN_OK) status = attn_memory_append(subject->memory, &key, alone ? NULL : &value, NULL);
    subject->args.key = subject->args.value = NULL;
    subject->args.memory = subject->memory;
    return status;
}

/* Position number `at` joins the memory. */
static attn_status append(attn_bench_subject *subject, int64_t at)
{
    const attn_bench_inputs *in = subject->inputs;
    const attn_tensor key = positions(in->c, in->key[0], at, 1);
    const attn_tensor value = positions(in->c, in->value[0], at, 1);
    return attn_memory_append(subject->memory, &key, &value, NULL);
}

static attn_status truncate_memory(attn_bench_subject *subject)
{
    attn_tensor lengths;
    int64_t length = subject->inputs->c->keys;
    must(attn_tensor_init(&lengths, &length, ATTN_I64, 1, (int64_t[]){1}));
    return attn_memory_truncate(subject->memory, &lengths);
}

/* The workspace of the largest call there will be. */
static attn_status reserve(attn_bench_subject *subject)
{
    attn_forward_args *args = &subject->args;
    const attn_bench_case *c = subject->inputs->c;
    attn_status status = ATTN_OK;
    if (c->flags & ATTN_BENCH_DECODE) {
        for (int64_t t = 0; t < ATTN_BENCH_TOKENS && status == ATTN_OK; t++) status = append(subject, c->keys + t);
    }
    if (status == ATTN_OK) status = attn_forward_workspace(subject->mechanism, args, &args->workspace_size);
    if (status == ATTN_OK) args->workspace = make_workspace(args->workspace_size);
    return status;
}

static attn_status prepare_backward(attn_bench_subject *subject)
{
    const attn_bench_inputs *in = subject->inputs;
    static const attn_tensor *d_params[1]; /* v, the only parameter where inputs come projected */
    attn_backward_args *args = &subject->backward;
    d_params[0] = &in->d_v;
    *args = (attn_backward_args)ATTN_BACKWARD_ARGS_INIT;
    args->forward = &subject->args;
    args->d_context = &in->d_context;
    args->d_query = &in->d_query;
    args->d_key = &in->d_key;
    args->d_value = &in->d_value;
    args->d_params = in->c->hidden > 0 ? d_params : NULL;
    attn_status status = attn_backward_workspace(subject->mechanism, args, &args->workspace_size);
    if (status != ATTN_OK) return status;
    args->workspace = make_workspace(args->workspace_size);
    return attn_forward(subject->mechanism, &subject->args);
}

attn_status attn_bench_subject_create(attn_bench_subject *subject, const attn_bench_inputs *inputs, attn_engine *engine)
{
    *subject = (attn_bench_subject){.inputs = inputs, .args = ATTN_FORWARD_ARGS_INIT};
    attn_forward_args *args = &subject->args;
    args->query = &inputs->query[0];
    args->key = &inputs->key[0];
    args->value = inputs->value[0].data == NULL ? NULL : &inputs->value[0];
    args->mask = inputs->mask.data == NULL ? NULL : &inputs->mask;
    args->context = &inputs->context[0];
    args->logsumexp = inputs->logsumexp.data == NULL ? NULL : &inputs->logsumexp;
    const unsigned flags = inputs->c->flags;
    attn_status status = create_mechanism(inputs, engine, &subject->mechanism);
    if (status == ATTN_OK) status = set_modifiers(inputs, subject->mechanism);
    if (status == ATTN_OK && flags & (ATTN_BENCH_MEMORY | ATTN_BENCH_DECODE)) status = create_memory(subject);
    if (status == ATTN_OK) status = reserve(subject);
    if (status == ATTN_OK && flags & ATTN_BENCH_PLAN) {
        status = attn_plan_create(subject->mechanism, args, &subject->plan);
    }
    if (status == ATTN_OK && flags & (ATTN_BENCH_BACKWARD | ATTN_BENCH_TRAIN)) status = prepare_backward(subject);
    return status;
}

static attn_status decode(attn_bench_subject *subject, const attn_forward_args *args)
{
    const int64_t first = subject->inputs->c->keys;
    attn_status status = truncate_memory(subject);
    for (int64_t t = 0; t < ATTN_BENCH_TOKENS && status == ATTN_OK; t++) {
        status = append(subject, first + t);
        if (status == ATTN_OK) status = attn_forward(subject->mechanism, args);
    }
    return status;
}

attn_status attn_bench_call(attn_bench_subject *subject, bool allocating)
{
    const attn_bench_inputs *in = subject->inputs;
    const unsigned flags = in->c->flags;
    attn_status status = ATTN_OK;
    if (in->memories > 1) {
        const int64_t m = subject->calls++ % in->memories;
        subject->args.query = &in->query[m % in->queries];
        subject->args.context = &in->context[m % in->queries];
        subject->args.key = &in->key[m];
        subject->args.value = &in->value[m];
    }
    if (flags & ATTN_BENCH_PLAN) return attn_plan_run(subject->plan, &subject->args);
    attn_forward_args args = subject->args;
    attn_backward_args backward = subject->backward;
    if (allocating) {
        args.workspace = backward.workspace = NULL;
        args.workspace_size = backward.workspace_size = 0;
    }
    if (flags & ATTN_BENCH_DECODE) return decode(subject, &args);
    if (!(flags & ATTN_BENCH_BACKWARD)) status = attn_forward(subject->mechanism, &args);
    if (status != ATTN_OK || !(flags & (ATTN_BENCH_BACKWARD | ATTN_BENCH_TRAIN))) return status;
    return attn_backward(subject->mechanism, &backward);
}
