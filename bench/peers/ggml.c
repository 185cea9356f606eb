/* SPDX-License-Identifier: BSD-3-Clause
 *
 * ggml.c: ggml's fused attention (llama.cpp's), for with_ggml.py: graph, plan, scratch and threads are made once, and a
 * run computes. Built against ggml's headers and libraries by scripts/bench-peers, where these can be had. */
#include "ggml.h"
#include "ggml-cpu.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef struct peers_ggml_shape {
    int64_t batch, heads, key_heads, queries, keys, dim;
    int32_t causal; /* from the bottom right */
    float softcap;  /* 0: none */
} peers_ggml_shape;

typedef struct peers_ggml {
    struct ggml_context *context;
    struct ggml_cgraph *graph;
    struct ggml_cplan plan;
    const float *output;
} peers_ggml;

const char *peers_ggml_version(void);
int peers_ggml_start(int threads);
peers_ggml *peers_ggml_create(const char *type, const peers_ggml_shape *shape, const float *query, const float *key,
                              const float *value);
int peers_ggml_run(peers_ggml *call);
const float *peers_ggml_output(const peers_ggml *call);
void peers_ggml_destroy(peers_ggml *call);

static struct ggml_threadpool *pool;
static int pool_threads;

const char *peers_ggml_version(void)
{
    return ggml_version();
}

/* Threads that sleep between runs. Returns 0 when they are there. */
int peers_ggml_start(int threads)
{
    struct ggml_threadpool_params parameters = ggml_threadpool_params_default(threads);
    parameters.poll = 0;
    pool = ggml_threadpool_new(&parameters);
    pool_threads = threads;
    return pool == NULL;
}

static enum ggml_type type_named(const char *name)
{
    for (int type = 0; type < GGML_TYPE_COUNT; type++) {
        const char *known = ggml_type_name((enum ggml_type)type);
        if (known != NULL && strcmp(known, name) == 0) return (enum ggml_type)type;
    }
    return GGML_TYPE_COUNT;
}

/* [batch, key heads, keys, dim], rounded to the type. */
static struct ggml_tensor *stored(struct ggml_context *context, enum ggml_type type, const peers_ggml_shape *s,
                                  const float *from)
{
    struct ggml_tensor *tensor = ggml_new_tensor_4d(context, type, s->dim, s->keys, s->key_heads, s->batch);
    if (type == GGML_TYPE_F32) {
        memcpy(tensor->data, from, ggml_nbytes(tensor));
    } else {
        ggml_quantize_chunk(type, from, tensor->data, 0, ggml_nrows(tensor), s->dim, NULL);
    }
    return tensor;
}

static struct ggml_tensor *causal_mask(struct ggml_context *context, const peers_ggml_shape *s)
{
    struct ggml_tensor *mask = ggml_new_tensor_2d(context, GGML_TYPE_F16, s->keys, s->queries);
    const ggml_fp16_t seen = ggml_fp32_to_fp16(0), hidden = ggml_fp32_to_fp16(-INFINITY);
    ggml_fp16_t *row = mask->data;
    for (int64_t i = 0; i < s->queries; i++, row += s->keys) {
        for (int64_t j = 0; j < s->keys; j++) row[j] = j <= i + s->keys - s->queries ? seen : hidden;
    }
    return mask;
}

/* Room for the tensors of a call, and for what ggml says of them. */
static size_t room(enum ggml_type type, const peers_ggml_shape *s)
{
    const size_t rows = (size_t)(s->batch * s->key_heads * s->keys);
    const size_t outer = (size_t)(s->batch * s->heads * s->queries * s->dim) * sizeof(float);
    const size_t mask = s->causal ? (size_t)(s->queries * s->keys) * sizeof(ggml_fp16_t) : 0;
    return 2 * rows * ggml_row_size(type, s->dim) + 2 * outer + mask + 16 * ggml_tensor_overhead() +
           ggml_graph_overhead() + 4096;
}

/* NULL: no such type, or no memory. */
peers_ggml *peers_ggml_create(const char *type_name, const peers_ggml_shape *s, const float *query, const float *key,
                              const float *value)
{
    const enum ggml_type type = type_named(type_name);
    peers_ggml *call = type == GGML_TYPE_COUNT ? NULL : calloc(1, sizeof *call);
    if (call == NULL) return NULL;
    call->context = ggml_init((struct ggml_init_params){.mem_size = room(type, s)});
    if (call->context == NULL) {
        free(call);
        return NULL;
    }
    struct ggml_tensor *q = ggml_new_tensor_4d(call->context, GGML_TYPE_F32, s->dim, s->queries, s->heads, s->batch);
    memcpy(q->data, query, ggml_nbytes(q));
    struct ggml_tensor *k = stored(call->context, type, s, key), *v = stored(call->context, type, s, value);
    struct ggml_tensor *mask = s->causal ? causal_mask(call->context, s) : NULL;
    struct ggml_tensor *out =
        ggml_flash_attn_ext(call->context, q, k, v, mask, 1 / sqrtf((float)s->dim), 0, s->softcap);
    call->graph = ggml_new_graph(call->context);
    ggml_build_forward_expand(call->graph, out);
    call->plan = ggml_graph_plan(call->graph, pool_threads, pool);
    call->plan.work_data = malloc(call->plan.work_size + 1);
    call->output = out->data;
    if (call->plan.work_data != NULL) return call;
    peers_ggml_destroy(call);
    return NULL;
}

/* Returns 0 when it has computed. */
int peers_ggml_run(peers_ggml *call)
{
    return ggml_graph_compute(call->graph, &call->plan) != GGML_STATUS_SUCCESS;
}

/* [batch, queries, heads, dim], as long as the call is there. */
const float *peers_ggml_output(const peers_ggml *call)
{
    return call->output;
}

void peers_ggml_destroy(peers_ggml *call)
{
    free(call->plan.work_data);
    ggml_free(call->context);
    free(call);
}
