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

/* [B, H, T, D]; in memory [B, T, H, D] if the case is strided. */
static attn_tensor rows(const attn_bench_case *c, int64_t heads, int64_t length, int64_t dim, double deviation)
{
    attn_tensor tensor = normal(4, (int64_t[]){c->batch, heads, length, dim}, deviation);
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
    /* Hidden units see numbers around a half, where tanh is neither straight nor flat. */
    double deviation = c->flags & ATTN_BENCH_KEY_PROJECTED ? 0.5 : 1;
    if (c->flags & ATTN_BENCH_HOT) deviation *= 4;
    memset(inputs, 0, sizeof *inputs);
    inputs->c = c;
    inputs->query = rows(c, c->query_heads, c->queries, c->query_dim, deviation);
    inputs->context = rows(c, c->query_heads, c->queries, c->value_dim, 1);
    inputs->memories = 1;
    if (c->flags & ATTN_BENCH_COLD) {
        const double enough = ceil((double)attn_bench_cold_bytes() / attn_bench_bytes(c));
        inputs->memories = enough < ATTN_BENCH_MOST_MEMORIES ? (int)enough : ATTN_BENCH_MOST_MEMORIES;
    }
    for (int m = 0; m < inputs->memories; m++) {
        inputs->key[m] = rows(c, c->key_heads, c->keys, c->key_dim, deviation);
        if (!(c->flags & ATTN_BENCH_KEYS_ARE_VALUES)) {
            inputs->value[m] = rows(c, c->key_heads, c->keys, c->value_dim, deviation);
        }
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
    if (flags & ATTN_BENCH_CAUSAL) status = attn_mechanism_set_causal(mechanism, ATTN_ALIGN_BOTTOM_RIGHT);
    if (status == ATTN_OK && flags & ATTN_BENCH_WINDOW) {
        status = attn_mechanism_set_window(mechanism, 10, 10, ATTN_ALIGN_BOTTOM_RIGHT);
    }
    if (status == ATTN_OK && flags & ATTN_BENCH_ALIBI) {
        status = attn_mechanism_set_alibi(mechanism, &in->slopes, ATTN_ALIGN_BOTTOM_RIGHT);
    }
    if (status == ATTN_OK && flags & ATTN_BENCH_SOFTCAP) status = attn_mechanism_set_softcap(mechanism, 30);
    return status;
}

attn_status attn_bench_subject_create(attn_bench_subject *subject, const attn_bench_inputs *inputs, attn_engine *engine)
{
    *subject = (attn_bench_subject){.inputs = inputs, .args = ATTN_FORWARD_ARGS_INIT};
    attn_forward_args *args = &subject->args;
    args->query = &inputs->query;
    args->key = &inputs->key[0];
    args->value = inputs->value[0].data == NULL ? NULL : &inputs->value[0];
    args->mask = inputs->mask.data == NULL ? NULL : &inputs->mask;
    args->context = &inputs->context;
    attn_status status = create_mechanism(inputs, engine, &subject->mechanism);
    if (status == ATTN_OK) status = set_modifiers(inputs, subject->mechanism);
    if (status == ATTN_OK) status = attn_forward_workspace(subject->mechanism, args, &args->workspace_size);
    if (status != ATTN_OK) return status;
    args->workspace = must_allocate(args->workspace_size + 1);
    memset(args->workspace, 0, args->workspace_size);
    return ATTN_OK;
}

attn_status attn_bench_call(attn_bench_subject *subject, bool allocating)
{
    const attn_bench_inputs *in = subject->inputs;
    if (in->memories > 1) {
        const int64_t m = subject->calls++ % in->memories;
        subject->args.key = &in->key[m];
        subject->args.value = &in->value[m];
    }
    if (!allocating) return attn_forward(subject->mechanism, &subject->args);
    attn_forward_args args = subject->args;
    args.workspace = NULL;
    args.workspace_size = 0;
    return attn_forward(subject->mechanism, &args);
}
