/* SPDX-License-Identifier: BSD-3-Clause
 *
 * layer_params.c: which parameters make a layer, and what their shapes say of it. That their shapes fit together is
 * for the library to check, when they are bound.
 */
#include "layer_params.h"

#include "fail.h"

#include <stdio.h>
#include <string.h>

const request_option layer_params_options[] = {{.name = "heads"}, {.name = "key-heads"}, {.name = NULL}};

static const char *const separate[] = {"W_q", "W_k", "W_v", "b_q", "b_k", "b_v", NULL};

static int64_t heads_of(const request *r, const char *option, int64_t otherwise)
{
    int64_t heads = otherwise;
    (void)request_integer(r, option, &heads);
    if (heads < 1 || heads > INT32_MAX) fail("--%s is a number of heads, not %lld", option, (long long)heads);
    return heads;
}

/* A weight, which must be there. */
static const attn_tensor *take_weight(request *r, const char *name)
{
    const attn_tensor *weight = parameters_take(&r->params, name);
    if (weight == NULL) {
        const char *packed = strcmp(name, "W_o") != 0 ? ", or W_qkv for W_q, W_k and W_v in one" : "";
        fail("--heads needs --param %s=FILE%s", name, packed);
    }
    if (weight->ndim != 2) fail("%s is of rank %d, but a weight is [outputs, inputs]", name, (int)weight->ndim);
    return weight;
}

/* The dimension of one of so many heads that share a dimension of a weight. */
static int64_t head_dim_of(const char *name, const char *what, int64_t dimension, int64_t heads)
{
    if (dimension % heads != 0) {
        fail("%s has %lld %s, which are no %lld whole heads", name, (long long)dimension, what, (long long)heads);
    }
    return dimension / heads;
}

static void take_packed(request *r, attn_multihead_options *o)
{
    for (size_t i = 0; separate[i] != NULL; ++i) {
        if (parameters_find(&r->params, separate[i]) == NULL) continue;
        fail("--param W_qkv stands for W_q, W_k and W_v: %s does not go with it", separate[i]);
    }
    const attn_tensor *packed = take_weight(r, "W_qkv"), *joined = take_weight(r, "W_o");
    o->flags |= ATTN_MULTIHEAD_PACKED;
    o->value_head_dim = head_dim_of("W_o", "columns", joined->shape[1], o->query_heads);
    int64_t turned = packed->shape[0] - o->key_heads * o->value_head_dim;
    if (turned < 0) turned = 0;
    o->head_dim = head_dim_of("W_qkv, without the values,", "rows", turned, o->query_heads + o->key_heads);
    o->output_dim = joined->shape[0];
}

static void take_separate(request *r, attn_multihead_options *o)
{
    const attn_tensor *query = take_weight(r, "W_q");
    (void)take_weight(r, "W_k");
    const attn_tensor *value = take_weight(r, "W_v"), *joined = take_weight(r, "W_o");
    if (parameters_find(&r->params, "b_qkv") != NULL) fail("--param b_qkv needs --param W_qkv=FILE");
    o->head_dim = head_dim_of("W_q", "rows", query->shape[0], o->query_heads);
    o->value_head_dim = head_dim_of("W_v", "rows", value->shape[0], o->key_heads);
    o->output_dim = joined->shape[0];
}

/* Biases are all there, or none. */
static void take_biases(request *r, attn_multihead_options *o)
{
    static const char *const of_packed[] = {"b_qkv", "b_o", NULL}, *const of_separate[] = {"b_q", "b_k", "b_v", "b_o",
                                                                                           NULL};
    const char *const *names = (o->flags & ATTN_MULTIHEAD_PACKED) != 0 ? of_packed : of_separate;
    const char *there = NULL, *missing = NULL;
    for (; *names != NULL; ++names) {
        const char **which = parameters_take(&r->params, *names) != NULL ? &there : &missing;
        *which = *names;
    }
    if (there == NULL) return;
    if (missing != NULL) fail("--param %s needs --param %s=FILE: biases are all there or none", there, missing);
    o->flags |= ATTN_MULTIHEAD_BIAS;
}

attn_multihead_options layer_params_take(request *r)
{
    attn_multihead_options o = ATTN_MULTIHEAD_OPTIONS_INIT;
    o.query_heads = heads_of(r, "heads", 1);
    o.key_heads = heads_of(r, "key-heads", o.query_heads);
    if (parameters_find(&r->params, "W_qkv") != NULL) {
        take_packed(r, &o);
    } else {
        take_separate(r, &o);
    }
    take_biases(r, &o);
    return o;
}

static attn_status param_info(const void *layer, int32_t index, attn_param_info *info)
{
    return attn_multihead_param_info(layer, index, info);
}

void layer_params_bind(const request *r, attn_multihead *layer)
{
    int32_t count;
    require(attn_multihead_param_count(layer, &count));
    for (int32_t i = 0; i < count; ++i) {
        attn_param_info info = ATTN_PARAM_INFO_INIT;
        require(attn_multihead_param_info(layer, i, &info));
        require(attn_multihead_bind_param(layer, info.name, parameters_need(&r->params, info.name, "--heads")));
    }
}

const attn_tensor **layer_params_add_gradients(results *all, const char *directory, const request *r,
                                               const attn_multihead *layer)
{
    int32_t count;
    require(attn_multihead_param_count(layer, &count));
    return results_add_params(all, directory, &r->params, param_info, layer, count);
}
