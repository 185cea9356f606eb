/* SPDX-License-Identifier: BSD-3-Clause
 *
 * multihead.c: see multihead.h. The parameters' names and shapes are those that the library tells. */
#include "model/multihead.h"

#include "refuse.h"

multihead multihead_create(parameter_set *set, const attn_mechanism *mechanism, int states, int heads, bool self,
                           const char *name)
{
    multihead a = {.mechanism = mechanism, .states = states, .heads = heads};
    attn_multihead_options options = ATTN_MULTIHEAD_OPTIONS_INIT;
    options.flags = ATTN_MULTIHEAD_BIAS | (self ? ATTN_MULTIHEAD_PACKED : 0u);
    options.query_heads = heads, options.query_dim = states;
    attn_must(attn_multihead_create(mechanism, &options, &a.layer));
    int32_t count;
    attn_must(attn_multihead_param_count(a.layer, &count));
    for (a.count = 0; a.count < count; a.count++) {
        attn_param_info info = ATTN_PARAM_INFO_INIT;
        attn_must(attn_multihead_param_info(a.layer, a.count, &info));
        const bool matrix = info.ndim == 2;
        a.of[a.count] = parameters_add(set, matrix ? START_GLOROT : START_ZERO, matrix ? (int)info.shape[0] : 1,
                                       matrix ? (int)info.shape[1] : (int)info.shape[0], "%s.%s", name, info.name);
    }
    return a;
}

/* The layer's parameter i as a view of numbers that have the layout of all parameters. */
static attn_tensor parameter_view(const multihead *a, int i, real *numbers, const char **name)
{
    attn_param_info info = ATTN_PARAM_INFO_INIT;
    attn_must(attn_multihead_param_info(a->layer, i, &info));
    attn_tensor view;
    attn_must(attn_tensor_init(&view, numbers + a->of[i]->offset, REAL_DTYPE, info.ndim, info.shape));
    if (name != NULL) *name = info.name;
    return view;
}

void multihead_bind(multihead *a, const parameter_set *set)
{
    for (int i = 0; i < a->count; i++) {
        const char *name;
        const attn_tensor view = parameter_view(a, i, set->value, &name);
        attn_must(attn_multihead_bind_param(a->layer, name, &view));
    }
}

void multihead_free(multihead *a)
{
    attn_multihead_destroy(a->layer);
    a->layer = NULL;
}

static attn_tensor of_rows(const real *data, int rows, int length, int states)
{
    return (attn_tensor){(real *)data, REAL_DTYPE, 3, {rows, length, states}, {(int64_t)length * states, states, 1}};
}

/* One call's views; filled by call_begin, to which its args point. */
typedef struct call {
    attn_tensor query, key, lengths, weights, output;
    attn_forward_args attention;
    attn_multihead_args args;
} call;

static void call_begin(call *c, const multihead *a, const multihead_walk *w)
{
    c->args = (attn_multihead_args)ATTN_MULTIHEAD_ARGS_INIT;
    c->attention = (attn_forward_args)ATTN_FORWARD_ARGS_INIT;
    c->args.attention = &c->attention;
    c->query = of_rows(w->query, w->rows, w->queries, a->states), c->args.query = &c->query;
    if (w->key != NULL) c->key = of_rows(w->key, w->rows, w->keys, a->states), c->args.key = &c->key;
    if (w->lengths != NULL) {
        c->lengths = (attn_tensor){(int *)w->lengths, ATTN_I32, 1, {w->rows}, {1}};
        c->attention.key_lengths = &c->lengths;
    }
    c->args.memory = w->memory, c->args.attend_only = w->recalls;
    c->args.saved = w->saved, c->args.saved_size = w->saved_size;
}

void multihead_forward(pass *p, const multihead *a, multihead_walk *w, real *output)
{
    call c;
    call_begin(&c, a, w);
    c.output = of_rows(output, w->rows, w->queries, a->states), c.args.output = &c.output;
    if (w->weights != NULL) {
        const int64_t row = w->keys, head = row * w->queries;
        c.weights = (attn_tensor){
            w->weights, REAL_DTYPE, 4, {w->rows, a->heads, w->queries, w->keys}, {a->heads * head, head, row, 1}};
        c.attention.weights = &c.weights;
    }
    if (p->gradient != NULL) {
        attn_must(attn_multihead_saved(a->layer, &c.args, &w->saved_size));
        w->saved = pass_bytes(p, w->saved_size);
        c.args.saved = w->saved, c.args.saved_size = w->saved_size;
    }
    attn_must(attn_multihead_workspace(a->layer, &c.args, &c.args.workspace_size));
    c.args.workspace = pass_scratch(p, c.args.workspace_size);
    attn_must(attn_multihead_forward(a->layer, &c.args));
}

void multihead_backward(pass *p, const multihead *a, const multihead_walk *w, const real *d_output, real *d_query,
                        real *d_key)
{
    call c;
    call_begin(&c, a, w);
    attn_multihead_backward_args args = ATTN_MULTIHEAD_BACKWARD_ARGS_INIT;
    args.forward = &c.args, args.accumulate = 1;
    const attn_tensor flowing = of_rows(d_output, w->rows, w->queries, a->states);
    const attn_tensor to_query = of_rows(d_query, w->rows, w->queries, a->states);
    const attn_tensor to_key = of_rows(d_key, w->rows, w->keys, a->states);
    args.d_output = &flowing, args.d_query = &to_query;
    if (d_key != NULL) args.d_key = &to_key;
    attn_tensor to[MULTIHEAD_PARAMETERS_MOST];
    const attn_tensor *to_params[MULTIHEAD_PARAMETERS_MOST];
    for (int i = 0; i < a->count; i++) {
        to[i] = parameter_view(a, i, p->gradient, NULL);
        to_params[i] = &to[i];
    }
    args.d_params = to_params;
    attn_must(attn_multihead_backward_workspace(a->layer, &args, &args.workspace_size));
    args.workspace = pass_scratch(p, args.workspace_size);
    attn_must(attn_multihead_backward(a->layer, &args));
}

attn_memory *multihead_memory(const multihead *a, int rows, int capacity, bool fixed)
{
    attn_memory_options options = ATTN_MEMORY_OPTIONS_INIT;
    options.flags = fixed ? ATTN_MEMORY_FIXED : 0u;
    options.dtype = REAL_DTYPE;
    options.batch = rows, options.key_heads = a->heads, options.capacity = capacity;
    options.key_dim = options.value_dim = a->states / a->heads;
    attn_memory *memory;
    attn_must(attn_memory_create(a->mechanism, &options, &memory));
    return memory;
}
