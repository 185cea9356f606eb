/* SPDX-License-Identifier: BSD-3-Clause
 *
 * twin_scene.c: random problems, built for the twin and for the library at once.
 */
#include "twin_scene.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

const char *const scene_score_names[] = {"dot", "scaled-dot", "general", "additive", "concat", "location"};

struct scene_shape scene_any_shape(struct rng *rng)
{
    struct scene_shape any;
    any.batch = rng_integer(rng, 1, 3);
    any.key_heads = rng_integer(rng, 1, 3);
    any.query_heads = any.key_heads * rng_integer(rng, 1, 3);
    any.queries = rng_chance(rng, 0.15) ? 1 : rng_integer(rng, 1, 21);
    any.keys = rng_chance(rng, 0.1) ? 1 : rng_integer(rng, 1, 37);
    any.dim = rng_chance(rng, 0.1) ? 1 : rng_integer(rng, 1, 33);
    if (rng_chance(rng, 0.3)) any.batch = any.query_heads = any.key_heads = 1;
    return any;
}

static void *own(struct scene *s, void *block)
{
    assert_true(s->owned_count < (int)(sizeof s->owned / sizeof s->owned[0]));
    s->owned[s->owned_count++] = block;
    return block;
}

/* A normal input of any layout; returns what it holds. */
static const double *input_of(struct scene *s, attn_dtype dtype, struct array *array, int32_t ndim,
                              const int64_t *shape, double deviation)
{
    array_create(array, dtype, ndim, shape, s->layout, &s->rng);
    array_fill_normal(array, &s->rng, deviation);
    return own(s, array_read(array));
}

static const double *input(struct scene *s, struct array *array, int32_t ndim, const int64_t *shape, double deviation)
{
    return input_of(s, s->dtype, array, ndim, shape, deviation);
}

/* Parameters of a problem of 16 bits are of its type or of what is computed with; and so are their gradients. */
attn_dtype scene_param_dtype(struct scene *s)
{
    const attn_dtype computed = dtype_computed(s->dtype);
    return computed != s->dtype && rng_chance(&s->rng, 0.5) ? s->dtype : computed;
}

static const double *parameter(struct scene *s, const char *name, int32_t ndim, int64_t rows, int64_t columns)
{
    struct array *array = &s->params[s->param_count];
    int64_t shape[2] = {rows, columns};
    double deviation = ndim == 1 ? 1.0 : 1.0 / sqrt((double)columns);
    s->param_names[s->param_count++] = name;
    const double *values = input_of(s, scene_param_dtype(s), array, ndim, shape, deviation);
    MUST(attn_mechanism_bind_param(s->mechanism, name, &array->tensor));
    return values;
}

static void build_mechanism(struct scene *s)
{
    struct twin_problem *t = &s->twin;
    int64_t dq = t->query_dim, dk = t->key_dim, hidden = t->hidden_dim, rows;
    unsigned flags = 0;

    switch (t->score) {
    case TWIN_DOT:
        MUST(attn_mechanism_create_dot(engine, &s->mechanism));
        break;
    case TWIN_SCALED_DOT:
        MUST(attn_mechanism_create_scaled_dot(engine, &s->mechanism));
        break;
    case TWIN_GENERAL:
        MUST(attn_mechanism_create_general(engine, dq, dk, &s->mechanism));
        t->W = parameter(s, "W", 2, dq, dk);
        break;
    case TWIN_ADDITIVE:
        if (rng_chance(&s->rng, 0.5)) flags |= ATTN_ADDITIVE_BIAS;
        if (rng_chance(&s->rng, 0.3)) flags |= ATTN_ADDITIVE_NORMALISED;
        if (dq == hidden) flags |= ATTN_ADDITIVE_QUERY_PROJECTED;
        if (dk == hidden) flags |= ATTN_ADDITIVE_KEY_PROJECTED;
        MUST(attn_mechanism_create_additive(engine, dq, dk, hidden, flags, &s->mechanism));
        if (!(flags & ATTN_ADDITIVE_QUERY_PROJECTED)) t->W = parameter(s, "W", 2, hidden, dq);
        if (!(flags & ATTN_ADDITIVE_KEY_PROJECTED)) t->U = parameter(s, "U", 2, hidden, dk);
        t->v = parameter(s, "v", 1, hidden, 1);
        if (flags & ATTN_ADDITIVE_BIAS) t->b = parameter(s, "b", 1, hidden, 1);
        if (flags & ATTN_ADDITIVE_NORMALISED) t->g = parameter(s, "g", 1, 1, 1);
        break;
    case TWIN_CONCAT:
        MUST(attn_mechanism_create_concat(engine, dq, dk, hidden, &s->mechanism));
        t->W = parameter(s, "W", 2, hidden, dq + dk);
        t->v = parameter(s, "v", 1, hidden, 1);
        break;
    case TWIN_LOCATION:
        rows = t->keys + rng_integer(&s->rng, t->keys == 0, 3);
        MUST(attn_mechanism_create_location(engine, dq, rows, &s->mechanism));
        t->W = parameter(s, "W", 2, rows, dq);
        break;
    }
}

/* The elements of a tensor whose dimensions are each 1 or those of the scores, broadcast to the scores' shape. */
static double *expand(const struct array *array, const int64_t *full)
{
    const int64_t *own_shape = array->tensor.shape;
    int64_t count = full[0] * full[1] * full[2] * full[3];
    double *values = must_allocate((size_t)count * sizeof *values);
    for (int64_t at = 0; at < count; at++) {
        int64_t rest = at, index[4], from = 0;
        for (int d = 3; d >= 0; d--) {
            index[d] = own_shape[d] == 1 ? 0 : rest % full[d];
            rest /= full[d];
        }
        for (int d = 0; d < 4; d++) from = from * own_shape[d] + index[d];
        values[at] = array_get(array, from);
    }
    return values;
}

static void build_mask_and_bias(struct scene *s)
{
    struct twin_problem *t = &s->twin;
    int64_t full[4] = {t->batch, t->query_heads, t->queries, t->keys}, shape[4];
    int64_t count = full[0] * full[1] * full[2] * full[3];

    if (s->modifiers & HAS_BIAS) {
        bool blocking = rng_chance(&s->rng, 0.3);
        for (int d = 0; d < 4; d++) shape[d] = full[d] > 0 && rng_chance(&s->rng, 0.3) ? 1 : full[d];
        array_create(&s->bias, s->dtype, 4, shape, s->layout, &s->rng);
        array_fill_normal(&s->bias, &s->rng, 2.0);
        for (int64_t i = array_count(&s->bias) - 1; blocking && i >= 0; i--) {
            if (rng_chance(&s->rng, 0.2)) array_set(&s->bias, i, -HUGE_VAL);
        }
        t->bias = own(s, expand(&s->bias, full));
        array_lower_rank(&s->bias, &s->rng);
        s->args.bias = &s->bias.tensor;
    }
    if (s->modifiers & HAS_MASK) {
        static const int trues[] = {1, 2, 128, 255};
        double share = rng_uniform(&s->rng, 0.3, 1.0);
        for (int d = 0; d < 4; d++) shape[d] = full[d] > 0 && rng_chance(&s->rng, 0.3) ? 1 : full[d];
        array_create(&s->mask, ATTN_BOOL, 4, shape, s->layout, &s->rng);
        for (int64_t i = array_count(&s->mask) - 1; i >= 0; i--) {
            array_set(&s->mask, i, rng_chance(&s->rng, share) ? trues[rng_integer(&s->rng, 0, 3)] : 0);
        }
        double *values = expand(&s->mask, full);
        unsigned char *bytes = own(s, must_allocate((size_t)count));
        for (int64_t i = 0; i < count; i++) bytes[i] = values[i] != 0.0;
        free(values);
        t->mask = bytes;
        array_lower_rank(&s->mask, &s->rng);
        s->args.mask = &s->mask.tensor;
    }
}

static enum twin_align any_align(struct scene *s)
{
    return rng_chance(&s->rng, 0.5) ? TWIN_TOP_LEFT : TWIN_BOTTOM_RIGHT; /* the numbers are those of attn_align */
}

static void build_modifiers(struct scene *s)
{
    struct twin_problem *t = &s->twin;
    struct rng *rng = &s->rng;

    if (s->modifiers & HAS_SCALE) {
        t->scale_given = true;
        t->scale = rng_chance(rng, 0.1) ? 0.0 : rng_uniform(rng, -1.5, 1.5);
        MUST(attn_mechanism_set_scale(s->mechanism, t->scale));
    }
    if (s->modifiers & HAS_SOFTCAP) {
        t->softcap = rng_uniform(rng, 0.5, 30.0);
        MUST(attn_mechanism_set_softcap(s->mechanism, t->softcap));
    }
    if (s->modifiers & HAS_TEMPERATURE) {
        t->temperature = rng_uniform(rng, 0.25, 4.0);
        MUST(attn_mechanism_set_temperature(s->mechanism, t->temperature));
    }
    if (s->modifiers & HAS_HARDMAX) {
        t->hardmax = true;
        t->tie = SCENE_FACTOR * dtype_epsilon(s->dtype);
        MUST(attn_mechanism_set_normaliser(s->mechanism, ATTN_HARDMAX));
    }
    if (s->modifiers & HAS_DROPOUT) {
        s->args.dropout = t->dropout = rng_uniform(rng, 0.05, 0.9);
        s->args.dropout_seed = t->dropout_seed = rng_bits(rng);
        s->args.dropout_offset = t->dropout_offset = rng_bits(rng) >> rng_integer(rng, 0, 60);
    }
    if (s->modifiers & HAS_LOCAL) {
        static const attn_local locals[] = {ATTN_LOCAL_MONOTONIC, ATTN_LOCAL_PREDICTIVE, ATTN_LOCAL_PREDICTIVE_FLOOR};
        int which = (int)rng_integer(rng, 0, 2);
        t->local = which == 0 ? TWIN_MONOTONIC : which == 1 ? TWIN_PREDICTIVE : TWIN_PREDICTIVE_FLOOR;
        t->half_width = rng_integer(rng, which > 0, 12);
        t->local_hidden = which > 0 ? rng_integer(rng, 1, 9) : 0;
        MUST(attn_mechanism_set_local(s->mechanism, locals[which], t->half_width, which > 0 ? t->query_dim : 0,
                                      t->local_hidden));
        if (which > 0) {
            t->W_p = parameter(s, "W_p", 2, t->local_hidden, t->query_dim);
            t->v_p = parameter(s, "v_p", 1, t->local_hidden, 1);
        }
    }
    if (s->modifiers & HAS_CAUSAL) {
        t->causal = any_align(s);
        MUST(attn_mechanism_set_causal(s->mechanism, (attn_align)t->causal));
    }
    if (s->modifiers & HAS_WINDOW) {
        t->window = any_align(s);
        t->left = rng_integer(rng, -1, 8);
        t->right = rng_integer(rng, -1, 8);
        MUST(attn_mechanism_set_window(s->mechanism, t->left, t->right, (attn_align)t->window));
    }
    if (s->modifiers & HAS_ALIBI) {
        t->alibi = any_align(s);
        t->slopes = input_of(s, dtype_computed(s->dtype), &s->slopes, 1, &t->query_heads, 0.3);
        MUST(attn_mechanism_set_alibi(s->mechanism, &s->slopes.tensor, (attn_align)t->alibi));
    }
    if (s->modifiers & HAS_SINKS && !(s->modifiers & HAS_HARDMAX)) {
        t->sinks = input_of(s, scene_param_dtype(s), &s->sinks, 1, &t->query_heads, 2.0);
        MUST(attn_mechanism_set_sinks(s->mechanism, &s->sinks.tensor));
    }
    if (s->modifiers & HAS_RELATIVE) {
        int64_t shape[2] = {rng_chance(rng, 0.5) ? 1 : t->query_heads, 0};
        t->relative = rng_chance(rng, 0.4) ? TWIN_CLIPPED : rng_chance(rng, 0.5) ? TWIN_T5 : TWIN_T5_CAUSAL;
        t->relative_align = any_align(s);
        shape[1] = t->relative == TWIN_T5 ? 2 * rng_integer(rng, 2, 16) : rng_integer(rng, 2, 32);
        t->max_distance = shape[1] + rng_integer(rng, 1, 20);
        if (t->relative == TWIN_CLIPPED) t->max_distance = rng_integer(rng, 1, 12);
        if (t->relative == TWIN_CLIPPED) shape[1] = 2 * t->max_distance + 1;
        t->table_rows = shape[0];
        t->table_columns = shape[1];
        t->table = input_of(s, dtype_computed(s->dtype), &s->table, 2, shape, 1.0);
        MUST(attn_mechanism_set_relative_bias(s->mechanism, &s->table.tensor, (attn_relative)t->relative,
                                              t->max_distance, (attn_align)t->relative_align));
    }
    /* Refused where a modifier is aligned bottom-right. */
    if (t->relative_align != TWIN_BOTTOM_RIGHT && t->causal != TWIN_BOTTOM_RIGHT && t->window != TWIN_BOTTOM_RIGHT &&
        t->alibi != TWIN_BOTTOM_RIGHT) {
        s->args.query_start = t->query_start = rng_chance(rng, 0.5) ? rng_integer(rng, 1, 12) : 0;
    }
    if (s->modifiers & HAS_LENGTHS) {
        int64_t *lengths = own(s, must_allocate((size_t)(t->batch + 1) * sizeof *lengths));
        array_create(&s->lengths, rng_chance(rng, 0.5) ? ATTN_I32 : ATTN_I64, 1, &t->batch, s->layout, rng);
        for (int64_t b = 0; b < t->batch; b++) {
            array_set(&s->lengths, b, rng_chance(rng, 0.1) ? 0.0 : (double)rng_integer(rng, 0, t->keys));
        }
        for (int64_t b = 0; b < t->batch; b++) lengths[b] = (int64_t)array_get(&s->lengths, b);
        t->key_lengths = lengths;
        s->args.key_lengths = &s->lengths.tensor;
    }
}

double scene_spread(const struct twin_problem *t, const struct twin_result *want, int64_t row, int64_t d)
{
    const int64_t b = row / (t->query_heads * t->queries), h = row / t->queries % t->query_heads;
    const double *values = t->value ? t->value : t->key, context = want->context[row * t->value_dim + d];
    const int64_t first = (b * t->key_heads + h / (t->query_heads / t->key_heads)) * t->keys;
    double sum = 0;
    for (int64_t j = 0; j < t->keys; j++) {
        const double weight = want->scores[TWIN_WEIGHTS][row * t->keys + j];
        sum += weight == 0 ? 0 : weight * fabs(values[(first + j) * t->value_dim + d] - context);
    }
    return sum;
}

void scene_allow_rounded_weights(const struct twin_problem *t, struct twin_result *want)
{
    const int64_t count = t->batch * t->query_heads * t->queries * t->value_dim;
    if (t->score != TWIN_DOT && t->score != TWIN_SCALED_DOT) return;
    for (int64_t i = 0; i < count; i++) {
        const double spread = scene_spread(t, want, i / t->value_dim, i % t->value_dim);
        want->context_magnitude[i] += 1.01 * 0x1p-8 * spread / (SCENE_FACTOR * dtype_epsilon(ATTN_F32));
    }
}

/* For the types that a CPU may multiply as they are, if elements lie side by side, which they then do mostly. */
static bool draw_precision(struct scene *s)
{
    if (!s->may_be_fast || dtype_computed(s->dtype) == s->dtype || rng_chance(&s->rng, 0.5)) return false;
    if (rng_chance(&s->rng, 0.7)) s->layout = rng_chance(&s->rng, 0.6) ? LAYOUT_PLAIN : LAYOUT_PADDED;
    return true;
}

void scene_create(struct scene *s, const struct scene_shape *shape)
{
    struct twin_problem *t = &s->twin;
    struct rng *rng = &s->rng;
    bool same_dims = s->score == TWIN_DOT || s->score == TWIN_SCALED_DOT;
    bool large = shape->queries * shape->keys > 10000;
    const bool fast = draw_precision(s);

    t->score = s->score;
    t->batch = shape->batch;
    t->query_heads = shape->query_heads;
    t->key_heads = shape->key_heads;
    t->queries = shape->queries;
    t->keys = shape->keys;
    t->query_dim = shape->dim;
    t->key_dim = same_dims ? shape->dim : rng_integer(rng, 1, 2 * shape->dim);
    t->value_dim = rng_integer(rng, 1, 2 * shape->dim);
    t->hidden_dim = rng_integer(rng, 1, large ? 16 : 40);
    if (rng_chance(rng, 0.2)) t->query_dim = same_dims ? t->query_dim : t->hidden_dim;
    if (rng_chance(rng, 0.2)) t->key_dim = same_dims ? t->key_dim : t->hidden_dim;

    int64_t query[4] = {t->batch, t->query_heads, t->queries, t->query_dim};
    int64_t key[4] = {t->batch, t->key_heads, t->keys, t->key_dim};
    int64_t value[4] = {t->batch, t->key_heads, t->keys, t->value_dim};
    s->args = (attn_forward_args)ATTN_FORWARD_ARGS_INIT;
    t->query = input(s, &s->query, 4, query, 1.0);
    s->args.query = &s->query.tensor;
    array_lower_rank(&s->query, rng);
    if (rng_chance(rng, 0.7)) {
        t->value = input(s, &s->value, 4, value, 1.0);
        s->args.value = &s->value.tensor;
        array_lower_rank(&s->value, rng);
    }
    if (!t->value || t->score != TWIN_LOCATION || rng_chance(rng, 0.5)) {
        t->key = input(s, &s->key, 4, key, 1.0);
        s->args.key = &s->key.tensor;
        array_lower_rank(&s->key, rng);
    }
    if (!t->value) t->value_dim = t->key_dim;
    build_mechanism(s);
    build_modifiers(s);
    build_mask_and_bias(s);
    if (!s->without_twin) twin_run(t, &s->want);
    if (!fast) return;
    MUST(attn_mechanism_set_precision(s->mechanism, ATTN_PRECISION_FAST));
    if (s->dtype == ATTN_BF16 && !s->without_twin) scene_allow_rounded_weights(t, &s->want);
}

void scene_destroy(struct scene *s)
{
    struct array *arrays[] = {&s->query,   &s->key,    &s->value, &s->mask, &s->bias,
                              &s->lengths, &s->slopes, &s->sinks, &s->table};
    attn_mechanism_destroy(s->mechanism);
    for (size_t i = 0; i < sizeof arrays / sizeof arrays[0]; i++) array_destroy(arrays[i]);
    for (int i = 0; i < s->param_count; i++) array_destroy(&s->params[i]);
    for (int i = 0; i < s->owned_count; i++) free(s->owned[i]);
    twin_free(&s->want);
}
