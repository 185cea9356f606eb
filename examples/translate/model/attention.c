/* SPDX-License-Identifier: BSD-3-Clause
 *
 * attention.c: see attention.h. What an additive score makes of a key (U k) is the same for every step, so it is made
 * once for the whole sentence, and the mechanism is one whose keys come projected. Concat is an additive score too,
 * whose W is cut into the query's columns and the key's. */
#include "model/attention.h"

#include "refuse.h"

static void has_parameter(attention *a, const parameter *of, int first)
{
    a->of[a->count] = of, a->first[a->count++] = first;
}

void attention_set_even(attention *a, bool even)
{
    attn_must(attn_mechanism_set_scale(a->mechanism, even ? 0 : 1));
}

attention attention_create(attn_engine *engine, parameter_set *set, score kind, const attention_sizes *sizes)
{
    const int q = sizes->query_dim, k = sizes->key_dim, hidden = sizes->hidden;
    attention a = {.kind = kind, .query_dim = q, .key_dim = k, .ready_dim = k};
    if (kind == SCORE_ADDITIVE || kind == SCORE_CONCAT) {
        const bool concat = kind == SCORE_CONCAT;
        attn_must(attn_mechanism_create_additive(
            engine, q, hidden, hidden, ATTN_ADDITIVE_KEY_PROJECTED | (concat ? 0u : ATTN_ADDITIVE_BIAS), &a.mechanism));
        const parameter *w = parameters_add(set, START_GLOROT, hidden, concat ? q + k : q, "attention.W");
        const parameter *u = concat ? w : parameters_add(set, START_GLOROT, hidden, k, "attention.U");
        has_parameter(&a, w, 0);
        has_parameter(&a, parameters_add(set, START_UNIFORM, 1, hidden, "attention.v"), 0);
        if (!concat) has_parameter(&a, parameters_add(set, START_ZERO, 1, hidden, "attention.b"), 0);
        a.projects = true, a.ready_dim = hidden;
        a.key_projection = dense_part(u, concat ? q : 0, k);
    } else if (kind == SCORE_DOT || kind == SCORE_EVEN) {
        if (q != k) refuse("dot wants a decoder's state of the size of the encoder's: %d, not %d", k, q);
        attn_must(attn_mechanism_create_dot(engine, &a.mechanism));
        if (kind == SCORE_EVEN) attention_set_even(&a, true);
    } else if (kind == SCORE_LOCATION) {
        attn_must(attn_mechanism_create_location(engine, q, sizes->most_keys, &a.mechanism));
        has_parameter(&a, parameters_add(set, START_UNIFORM, sizes->most_keys, q, "attention.W"), 0);
    } else {
        attn_must(attn_mechanism_create_general(engine, q, k, &a.mechanism));
        has_parameter(&a, parameters_add(set, START_GLOROT, q, k, "attention.W"), 0);
    }
    if (kind == SCORE_LOCAL_M) {
        attn_must(attn_mechanism_set_local(a.mechanism, ATTN_LOCAL_MONOTONIC, sizes->half_width, 0, 0));
    }
    if (kind == SCORE_LOCAL_P) {
        attn_must(attn_mechanism_set_local(a.mechanism, ATTN_LOCAL_PREDICTIVE, sizes->half_width, q, hidden));
        has_parameter(&a, parameters_add(set, START_GLOROT, hidden, q, "attention.W_p"), 0);
        has_parameter(&a, parameters_add(set, START_UNIFORM, 1, hidden, "attention.v_p"), 0);
    }
    return a;
}

/* The mechanism's parameter i as a view of numbers that have the layout of all parameters. */
static attn_tensor parameter_view(const attention *a, int i, const real *numbers, const char **name)
{
    attn_param_info info = ATTN_PARAM_INFO_INIT;
    attn_must(attn_mechanism_param_info(a->mechanism, i, &info));
    attn_tensor view;
    attn_must(
        attn_tensor_init(&view, (real *)numbers + a->of[i]->offset + a->first[i], REAL_DTYPE, info.ndim, info.shape));
    if (info.ndim == 2) view.stride[0] = a->of[i]->columns;
    if (name != NULL) *name = info.name;
    return view;
}

void attention_bind(attention *a, const parameter_set *set)
{
    for (int i = 0; i < a->count; i++) {
        const char *name;
        const attn_tensor view = parameter_view(a, i, set->value, &name);
        attn_must(attn_mechanism_bind_param(a->mechanism, name, &view));
    }
}

void attention_free(attention *a)
{
    attn_mechanism_destroy(a->mechanism);
    a->mechanism = NULL;
}

attention_keys attention_keys_begin(pass *p, const attention *a, int rows, int length, const int *lengths,
                                    const real *states)
{
    attention_keys keys = {.rows = rows, .length = length, .lengths = lengths, .states = states};
    keys.ready = (real *)states;
    if (a->projects) {
        keys.ready = pass_reals(p, (size_t)rows * (size_t)length * (size_t)a->ready_dim);
        dense_forward(p, &a->key_projection, rows * length, states, a->key_dim, false, keys.ready, a->ready_dim);
    }
    return keys;
}

void attention_keys_back_begin(pass *p, const attention *a, attention_keys *keys)
{
    const size_t count = (size_t)keys->rows * (size_t)keys->length;
    keys->d_states = pass_zeros(p, count * (size_t)a->key_dim);
    keys->d_ready = a->projects ? pass_zeros(p, count * (size_t)a->ready_dim) : keys->d_states;
}

void attention_keys_back_end(const pass *p, const attention *a, attention_keys *keys)
{
    if (!a->projects) return;
    const int count = keys->rows * keys->length;
    dense_backward_weight(p, &a->key_projection, count, keys->d_ready, a->ready_dim, keys->states, a->key_dim);
    dense_backward_input(p, &a->key_projection, count, keys->d_ready, a->ready_dim, true, keys->d_states, a->key_dim);
}

/* [rows, 1, 1, columns], of rows that lie together. */
static attn_tensor of_queries(const real *data, int rows, int columns)
{
    return (attn_tensor){(real *)data, REAL_DTYPE, 4, {rows, 1, 1, columns}, {columns, columns, columns, 1}};
}

/* [rows, 1, length, columns], of what is time-major. */
static attn_tensor of_keys(const attention_keys *keys, const real *data, int columns)
{
    const int64_t step = (int64_t)keys->rows * columns;
    return (attn_tensor){
        (real *)data, REAL_DTYPE, 4, {keys->rows, 1, keys->length, columns}, {columns, columns, step, 1}};
}

/* One call's views; filled by call_begin, to which its args point. */
typedef struct call {
    attn_tensor query, key, value, lengths, bias, context, logsumexp, weights;
    attn_forward_args args;
} call;

static void call_begin(call *c, const attention *a, int rows, int length, int step, const real *query, const real *bias,
                       real *context, real *logsumexp, real *weights)
{
    c->args = (attn_forward_args)ATTN_FORWARD_ARGS_INIT;
    c->query = of_queries(query, rows, a->query_dim), c->args.query = &c->query;
    c->context = of_queries(context, rows, a->key_dim), c->args.context = &c->context;
    if (a->kind == SCORE_LOCAL_M) c->args.query_start = step;
    if (bias != NULL) c->bias = of_queries(bias, rows, length), c->args.bias = &c->bias;
    if (weights != NULL) c->weights = of_queries(weights, rows, length), c->args.weights = &c->weights;
    if (logsumexp != NULL) {
        c->logsumexp = (attn_tensor){logsumexp, REAL_DTYPE, 3, {rows, 1, 1}, {1, 1, 1}};
        c->args.logsumexp = &c->logsumexp;
    }
}

static void call_takes_keys(call *c, const attention *a, const attention_keys *keys)
{
    c->key = of_keys(keys, keys->ready, a->ready_dim), c->args.key = &c->key;
    if (a->projects) c->value = of_keys(keys, keys->states, a->key_dim), c->args.value = &c->value;
    c->lengths = (attn_tensor){(int *)keys->lengths, ATTN_I32, 1, {keys->rows}, {1}}, c->args.key_lengths = &c->lengths;
}

void attention_forward(const attention *a, const attention_keys *keys, int step, const real *query, const real *bias,
                       real *context, real *logsumexp, real *weights)
{
    call c;
    call_begin(&c, a, keys->rows, keys->length, step, query, bias, context, logsumexp, weights);
    call_takes_keys(&c, a, keys);
    attn_must(attn_forward(a->mechanism, &c.args));
}

void attention_backward(const pass *p, const attention *a, attention_keys *keys, int step, const real *query,
                        const real *bias, const real *context, const real *logsumexp, const real *d_context,
                        const real *d_weights, real *d_query)
{
    call c;
    call_begin(&c, a, keys->rows, keys->length, step, query, bias, (real *)context, (real *)logsumexp, NULL);
    call_takes_keys(&c, a, keys);
    attn_backward_args args = ATTN_BACKWARD_ARGS_INIT;
    attn_tensor flowing, flowing_weights, to_query, to_key, to_value, to[ATTENTION_PARAMETERS_MOST];
    const attn_tensor *to_params[ATTENTION_PARAMETERS_MOST];
    args.forward = &c.args, args.accumulate = 1;
    if (d_context != NULL) flowing = of_queries(d_context, keys->rows, a->key_dim), args.d_context = &flowing;
    if (d_weights != NULL) {
        flowing_weights = of_queries(d_weights, keys->rows, keys->length), args.d_weights = &flowing_weights;
    }
    if (d_query != NULL) to_query = of_queries(d_query, keys->rows, a->query_dim), args.d_query = &to_query;
    if (keys->d_ready != NULL) to_key = of_keys(keys, keys->d_ready, a->ready_dim), args.d_key = &to_key;
    if (keys->d_states != NULL && a->projects) {
        to_value = of_keys(keys, keys->d_states, a->key_dim), args.d_value = &to_value;
    }
    if (p != NULL && a->count > 0) {
        for (int i = 0; i < a->count; i++) {
            to[i] = parameter_view(a, i, p->gradient, NULL);
            to_params[i] = &to[i];
        }
        args.d_params = to_params;
    }
    attn_must(attn_backward(a->mechanism, &args));
}

attn_memory *attention_memory(const attention *a, const attention_keys *keys)
{
    attn_memory_options options = ATTN_MEMORY_OPTIONS_INIT;
    const bool location = a->kind == SCORE_LOCATION;
    options.flags = ATTN_MEMORY_FIXED | (a->projects || location ? 0u : ATTN_MEMORY_KEYS_ALONE);
    options.dtype = REAL_DTYPE;
    options.batch = keys->rows, options.capacity = keys->length;
    options.key_dim = location ? 0 : a->ready_dim;
    options.value_dim = a->projects || location ? a->key_dim : 0;
    attn_memory *memory;
    attn_must(attn_memory_create(a->mechanism, &options, &memory));
    const attn_tensor key = of_keys(keys, keys->ready, a->ready_dim), value = of_keys(keys, keys->states, a->key_dim);
    const attn_tensor counts = {(int *)keys->lengths, ATTN_I32, 1, {keys->rows}, {1}};
    attn_must(attn_memory_append(memory, location ? NULL : &key, options.value_dim > 0 ? &value : NULL, &counts));
    return memory;
}

void attention_recall(const attention *a, const attn_memory *memory, int rows, int length, int step, const real *query,
                      real *context, real *weights, real *scores)
{
    call c;
    call_begin(&c, a, rows, length, step, query, NULL, context, NULL, weights);
    attn_tensor stage;
    c.args.memory = memory;
    if (scores != NULL) {
        stage = of_queries(scores, rows, length);
        c.args.scores = &stage, c.args.scores_stage = ATTN_SCORES_MASKED;
    }
    attn_must(attn_forward(a->mechanism, &c.args));
}
