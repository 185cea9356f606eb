/* SPDX-License-Identifier: BSD-3-Clause
 *
 * problem.c: problems from bytes (problem.h).
 */
#include "problem.h"

#include "fuzz_twin.h"
#include "store.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --------------------------------------------------------------------------------------------- numbers */

static double special(struct rng *rng)
{
    static const double numbers[] = {INFINITY, -INFINITY, NAN, -0.0, 3e38};
    return numbers[rng_integer(rng, 0, 4)];
}

double problem_number(struct problem *p, double deviation, double small)
{
    struct rng *rng = &p->scene.rng;
    switch (p->numbers) {
    case NUMBERS_INTEGERS:
        return (double)rng_integer(rng, -2, 2);
    case NUMBERS_SPARSE:
        return rng_chance(rng, 0.8) ? 0.0 : deviation * rng_normal(rng);
    case NUMBERS_SMALL:
        return deviation * rng_normal(rng) * small;
    case NUMBERS_SUBNORMAL:
        return deviation * rng_normal(rng) * 1e-39;
    case NUMBERS_SPECIAL:
        return rng_chance(rng, 0.06) ? special(rng) : deviation * rng_normal(rng);
    default:
        return deviation * rng_normal(rng);
    }
}

static void *own(struct scene *s, void *block)
{
    CHECK(s->owned_count < (int)(sizeof s->owned / sizeof s->owned[0]), "too many blocks");
    s->owned[s->owned_count++] = block;
    return block;
}

void *problem_own(struct problem *p, void *block)
{
    return own(&p->scene, block);
}

/* An input of any layout; returns what it holds. */
static const double *input(struct problem *p, struct bytes *b, struct array *array, int32_t ndim, const int64_t *shape,
                           double deviation, double small)
{
    struct scene *s = &p->scene;
    fuzz_array(array, b, s->dtype, ndim, shape, LAYOUT_INPUT);
    for (int64_t i = 0, n = array_count(array); i < n; i++) array_set(array, i, problem_number(p, deviation, small));
    return own(s, array_read(array));
}

/* ----------------------------------------------------------------------------------------------- shapes */

static bool same_dims(enum twin_score score)
{
    return score == TWIN_DOT || score == TWIN_SCALED_DOT;
}

/* What the twin needs, in steps. */
static int64_t cost(const struct twin_problem *t)
{
    const bool hidden = t->score == TWIN_ADDITIVE || t->score == TWIN_CONCAT;
    return t->batch * t->query_heads * t->queries * t->keys *
           ((hidden ? 4 * t->hidden_dim : t->key_dim) + t->value_dim + 8);
}

static void take_shape(struct twin_problem *t, struct bytes *b)
{
    const unsigned mode = take(b) % 16;
    t->batch = 1 + take(b) % 2;
    t->key_heads = 1 + take(b) % 2;
    t->query_heads = t->key_heads * (1 + take(b) % 3);
    if (mode == 15) { /* more than one block of everything, in one head */
        t->batch = t->query_heads = t->key_heads = 1;
        t->queries = take_range(b, 1, 80);
        t->keys = take_range(b, 1, 300);
    } else if (mode == 14 || mode == 11) { /* a step of decoding over many keys */
        t->queries = 1 + take(b) % 2;
        t->keys = take_range(b, 1, mode == 14 ? 2600 : 800);
    } else if (mode == 13) { /* many queries */
        t->queries = take_range(b, 1, 700);
        t->keys = take_range(b, 0, 5);
    } else {
        t->queries = take_range(b, 0, 11);
        t->keys = take_range(b, 0, mode > 9 ? 70 : 20);
    }
    t->query_dim = take_range(b, 1, mode == 12 ? 140 : 20);
    t->key_dim = take_range(b, 1, mode == 12 ? 140 : 20);
    t->value_dim = take_range(b, 0, mode == 12 ? 140 : 20);
    t->hidden_dim = take_range(b, 1, 20);
    if (same_dims(t->score)) t->key_dim = t->query_dim;
    if (take_one_in(b, 24)) t->batch = 0;
    const int64_t most = mode > 12 ? 100000 : mode == 11 ? 50000 : 15000;
    while (cost(t) > most) {
        if (t->batch > 1) {
            t->batch = 1;
        } else if (t->query_heads > 1) {
            t->query_heads = t->key_heads = 1;
        } else if (t->query_dim > 4 || t->value_dim > 4 || t->hidden_dim > 4) {
            t->query_dim = t->query_dim > 4 ? t->query_dim / 2 : t->query_dim;
            t->key_dim = same_dims(t->score) ? t->query_dim : t->key_dim > 4 ? t->key_dim / 2 : t->key_dim;
            t->value_dim = t->value_dim > 4 ? t->value_dim / 2 : t->value_dim;
            t->hidden_dim = t->hidden_dim > 4 ? t->hidden_dim / 2 : t->hidden_dim;
        } else if (t->queries > t->keys) {
            t->queries = (t->queries + 1) / 2;
        } else {
            t->keys = (t->keys + 1) / 2;
        }
    }
}

/* -------------------------------------------------------------------------------------------- mechanism */

static const double *parameter(struct problem *p, struct bytes *b, const char *name, int32_t ndim, int64_t rows,
                               int64_t columns, double small)
{
    struct scene *s = &p->scene;
    const int64_t shape[2] = {rows, columns};
    s->param_names[s->param_count] = name;
    return input(p, b, &s->params[s->param_count++], ndim, shape, ndim == 1 ? 1.0 : 1.0 / sqrt((double)columns), small);
}

static void take_parameters(struct problem *p, struct bytes *b, double small)
{
    struct twin_problem *t = &p->scene.twin;
    const int64_t dq = t->query_dim, dk = t->key_dim, hidden = t->hidden_dim;

    t->tiles = p->scene.dtype == ATTN_F32;
    if (t->score == TWIN_GENERAL) t->W = parameter(p, b, "W", 2, dq, dk, small);
    if (t->score == TWIN_CONCAT) t->W = parameter(p, b, "W", 2, hidden, dq + dk, small);
    if (t->score == TWIN_LOCATION) {
        p->location_rows = t->keys + (t->keys == 0) + take(b) % 3;
        t->W = parameter(p, b, "W", 2, p->location_rows, dq, 1.0);
    }
    if (t->score == TWIN_ADDITIVE) {
        const unsigned flags = take(b);
        p->additive_flags = flags & (ATTN_ADDITIVE_BIAS | ATTN_ADDITIVE_NORMALISED);
        if (dq == hidden) p->additive_flags |= flags & ATTN_ADDITIVE_QUERY_PROJECTED;
        if (dk == hidden) p->additive_flags |= flags & ATTN_ADDITIVE_KEY_PROJECTED;
        if (!(p->additive_flags & ATTN_ADDITIVE_QUERY_PROJECTED)) t->W = parameter(p, b, "W", 2, hidden, dq, 1.0);
        if (!(p->additive_flags & ATTN_ADDITIVE_KEY_PROJECTED)) t->U = parameter(p, b, "U", 2, hidden, dk, 1.0);
    }
    if (t->score == TWIN_ADDITIVE || t->score == TWIN_CONCAT) t->v = parameter(p, b, "v", 1, hidden, 1, 1.0);
    if (p->additive_flags & ATTN_ADDITIVE_NORMALISED) { /* no v without a direction: v / |v| would be NaN */
        struct array *v = &p->scene.params[p->scene.param_count - 1];
        bool any = false;
        for (int64_t i = 0; i < hidden; i++) any |= fabs(array_get(v, i)) > 1e-30;
        if (!any) array_set(v, 0, 1.0);
        if (!any) t->v = own(&p->scene, array_read(v));
    }
    if (p->additive_flags & ATTN_ADDITIVE_BIAS) t->b = parameter(p, b, "b", 1, hidden, 1, small);
    if (p->additive_flags & ATTN_ADDITIVE_NORMALISED) t->g = parameter(p, b, "g", 1, 1, 1, 1.0);
    if (t->local >= TWIN_PREDICTIVE) {
        t->W_p = parameter(p, b, "W_p", 2, t->local_hidden, dq, 1.0);
        t->v_p = parameter(p, b, "v_p", 1, t->local_hidden, 1, 1.0);
        struct array *v = &p->scene.params[p->scene.param_count - 1];
        for (int64_t i = 0; i < t->local_hidden && p->numbers == NUMBERS_INTEGERS; i++) {
            /* Where whole numbers cancel, roundings would choose which of two keys a centre between them sees. */
            array_set(v, i, array_get(v, i) * (1.0 + (double)i / 64.0));
        }
        t->v_p = own(&p->scene, array_read(v));
    }
}

static attn_mechanism *make_mechanism(const struct problem *p, attn_engine *on)
{
    const struct scene *s = &p->scene;
    const struct twin_problem *t = &s->twin;
    static const attn_local locals[] = {ATTN_LOCAL_NONE, ATTN_LOCAL_MONOTONIC, ATTN_LOCAL_PREDICTIVE,
                                        ATTN_LOCAL_PREDICTIVE_FLOOR};
    attn_mechanism *m = NULL;

    if (t->score == TWIN_DOT) OK(attn_mechanism_create_dot(on, &m));
    if (t->score == TWIN_SCALED_DOT) OK(attn_mechanism_create_scaled_dot(on, &m));
    if (t->score == TWIN_GENERAL) OK(attn_mechanism_create_general(on, t->query_dim, t->key_dim, &m));
    if (t->score == TWIN_ADDITIVE) {
        OK(attn_mechanism_create_additive(on, t->query_dim, t->key_dim, t->hidden_dim, p->additive_flags, &m));
    }
    if (t->score == TWIN_CONCAT) OK(attn_mechanism_create_concat(on, t->query_dim, t->key_dim, t->hidden_dim, &m));
    if (t->score == TWIN_LOCATION) OK(attn_mechanism_create_location(on, t->query_dim, p->location_rows, &m));
    if (t->scale_given) OK(attn_mechanism_set_scale(m, t->scale));
    if (t->softcap > 0) OK(attn_mechanism_set_softcap(m, t->softcap));
    if (t->temperature > 0) OK(attn_mechanism_set_temperature(m, t->temperature));
    if (t->hardmax) OK(attn_mechanism_set_normaliser(m, ATTN_HARDMAX));
    if (t->local != TWIN_GLOBAL) {
        OK(attn_mechanism_set_local(m, locals[t->local], t->half_width, t->local_hidden > 0 ? t->query_dim : 0,
                                    t->local_hidden));
    }
    for (int i = 0; i < s->param_count; i++) {
        OK(attn_mechanism_bind_param(m, s->param_names[i], &s->params[i].tensor));
    }
    OK(attn_mechanism_set_precision(m, p->precision));
    OK(attn_mechanism_set_causal(m, (attn_align)t->causal));
    if (t->window != TWIN_NONE) OK(attn_mechanism_set_window(m, t->left, t->right, (attn_align)t->window));
    if (t->alibi != TWIN_NONE) OK(attn_mechanism_set_alibi(m, &s->slopes.tensor, (attn_align)t->alibi));
    if (t->sinks != NULL) OK(attn_mechanism_set_sinks(m, &s->sinks.tensor));
    if (t->relative != TWIN_NO_RELATIVE) {
        OK(attn_mechanism_set_relative_bias(m, &s->table.tensor, (attn_relative)t->relative, t->max_distance,
                                            (attn_align)t->relative_align));
    }
    return m;
}

attn_mechanism *problem_mechanism(struct problem *p, enum fuzz_engine which)
{
    if (p->mechanisms[which] == NULL) p->mechanisms[which] = make_mechanism(p, fuzz_engine(which));
    return p->mechanisms[which];
}

/* The same, every element of a row beside the next. */
static void lay_side_by_side(struct array *array)
{
    const struct array from = *array;
    struct bytes none = {NULL, 0};
    const int32_t last = from.tensor.ndim - 1;
    if (from.memory == NULL || from.tensor.shape[last] < 2 || from.tensor.stride[last] == 1) return;
    fuzz_array(array, &none, from.tensor.dtype, from.tensor.ndim, from.tensor.shape, LAYOUT_PLAIN);
    for (int64_t i = array_count(array) - 1; i >= 0; i--) array_set(array, i, array_get(&from, i));
}

void problem_make_fast(struct problem *p)
{
    p->precision = ATTN_PRECISION_FAST;
    lay_side_by_side(&p->scene.query);
    lay_side_by_side(&p->scene.key);
    lay_side_by_side(&p->scene.value);
    for (int e = 0; e < FUZZ_ENGINES; e++) {
        if (p->mechanisms[e] != NULL) OK(attn_mechanism_set_precision(p->mechanisms[e], p->precision));
    }
    twin_free(&p->scene.want);
    memset(&p->scene.want, 0, sizeof p->scene.want);
}

/* -------------------------------------------------------------------------------------------- modifiers */

static enum twin_align take_align(struct bytes *b)
{
    return take(b) % 2 == 0 ? TWIN_TOP_LEFT : TWIN_BOTTOM_RIGHT; /* the numbers are those of attn_align */
}

/* Sinks take no byte and no number from what follows: inputs that were kept before there were any say the same else. */
static void make_sinks(struct problem *p)
{
    struct scene *s = &p->scene;
    struct bytes none = {NULL, 0};
    const struct rng before = s->rng;
    (void)rng_bits(&s->rng);
    s->twin.sinks = input(p, &none, &s->sinks, 1, &s->twin.query_heads, 2.0, 1.0);
    s->rng = before;
}

static void take_rule(struct problem *p, struct bytes *b)
{
    struct scene *s = &p->scene;
    struct twin_problem *t = &s->twin;
    struct rng *rng = &s->rng;

    if (s->modifiers & HAS_SCALE) {
        const unsigned which = take(b);
        t->scale_given = true;
        t->scale = which % 8 == 7 ? 0.0 : (which % 16 - 8.0) * 0.25;
        if (which == 254) t->scale = 0x1p41; /* left to the BLAS */
        if (p->numbers == NUMBERS_PEAKED && which % 4 == 0) t->scale *= 64.0;
    }
    if (s->modifiers & HAS_SOFTCAP) t->softcap = 0.5 * (1 + take(b) % 64);
    if (s->modifiers & HAS_TEMPERATURE) {
        static const double taus[] = {1.0, 0.5, 2.0, 0.3, 7.0, 0.05, 1e-3, 100.0};
        t->temperature = taus[take(b) % 8];
    }
    if (s->modifiers & HAS_HARDMAX) {
        t->hardmax = true;
        t->tie = SCENE_FACTOR * dtype_epsilon(s->dtype);
    }
    if (s->modifiers & HAS_DROPOUT) {
        s->args.dropout = t->dropout = (1 + take(b) % 15) / 16.0;
        s->args.dropout_seed = t->dropout_seed = rng_bits(rng);
        s->args.dropout_offset = t->dropout_offset = rng_bits(rng) >> take(b) % 64;
    }
    if (s->modifiers & HAS_LOCAL) {
        const unsigned which = 1 + take(b) % 3;
        t->local = which == 1 ? TWIN_MONOTONIC : which == 2 ? TWIN_PREDICTIVE : TWIN_PREDICTIVE_FLOOR;
        t->half_width = take_range(b, which > 1, 12);
        if (which > 1) t->local_hidden = 1 + take(b) % 8;
    }
    if (s->modifiers & HAS_CAUSAL) t->causal = take_align(b);
    if (s->modifiers & HAS_WINDOW) {
        t->window = take_align(b);
        t->left = take_range(b, -1, 8);
        t->right = take_range(b, -1, 8);
    }
    if (s->modifiers & HAS_ALIBI) {
        t->alibi = take_align(b);
        t->slopes = input(p, b, &s->slopes, 1, &t->query_heads, 0.3, 1.0);
    }
    if (s->modifiers & HAS_RELATIVE) {
        int64_t shape[2] = {take(b) % 2 == 0 ? 1 : t->query_heads, 0};
        const unsigned which = take(b) % 3;
        t->relative = which == 0 ? TWIN_CLIPPED : which == 1 ? TWIN_T5 : TWIN_T5_CAUSAL;
        t->relative_align = take_align(b);
        shape[1] = which == 1 ? 2 * take_range(b, 2, 16) : take_range(b, 2, 32);
        t->max_distance = which == 0 ? 1 + take(b) % 12 : shape[1] + 1 + take(b) % 20;
        if (which == 0) shape[1] = 2 * t->max_distance + 1;
        t->table_rows = shape[0];
        t->table_columns = shape[1];
        t->table = input(p, b, &s->table, 2, shape, 1.0, 1.0);
    }
    /* Refused where a modifier is aligned bottom-right. */
    const int64_t start = take(b) % 16;
    if (t->relative_align != TWIN_BOTTOM_RIGHT && t->causal != TWIN_BOTTOM_RIGHT && t->window != TWIN_BOTTOM_RIGHT &&
        t->alibi != TWIN_BOTTOM_RIGHT) {
        s->args.query_start = t->query_start = start;
    }
    if (s->modifiers & HAS_SINKS && !t->hardmax) make_sinks(p);
}

/* ------------------------------------------------------------------------- masks, biases, valid lengths */

/* The shape of what broadcasts to the scores: bits of a byte say which dimensions are 1. */
static void take_broadcast_shape(struct bytes *b, const int64_t *full, int64_t *shape)
{
    const unsigned ones = take(b);
    for (int d = 0; d < 4; d++) shape[d] = full[d] > 0 && (ones >> d & 1) ? 1 : full[d];
}

double *problem_expand(const struct array *array, const int64_t *full)
{
    const int64_t count = full[0] * full[1] * full[2] * full[3];
    double *values = must_allocate((size_t)(count + 1) * sizeof *values);
    for (int64_t at = 0; at < count; at++) {
        int64_t rest = at, index[4], from = 0;
        for (int d = 3; d >= 0; d--) {
            index[d] = array->tensor.shape[d] == 1 ? 0 : rest % full[d];
            rest /= full[d];
        }
        for (int d = 0; d < 4; d++) from = from * array->tensor.shape[d] + index[d];
        values[at] = array_get(array, from);
    }
    return values;
}

static void take_bias(struct problem *p, struct bytes *b)
{
    struct scene *s = &p->scene;
    int64_t shape[4];
    take_broadcast_shape(b, p->shape, shape);
    const unsigned blocking = take(b) % 8;
    input(p, b, &s->bias, 4, shape, 2.0, 1.0);
    for (int64_t i = 0, n = array_count(&s->bias); i < n; i++) {
        if (blocking > 4 && rng_chance(&s->rng, 0.2)) array_set(&s->bias, i, -HUGE_VAL);
        if (p->numbers != NUMBERS_FAR_BIAS) continue;
        static const double far[] = {-(double)FLT_MAX, -2.4e38, 2.4e38, (double)FLT_MAX, 0.0, 1e30};
        array_set(&s->bias, i, far[rng_integer(&s->rng, 0, blocking % 2 == 0 ? 0 : 5)]);
    }
    s->twin.bias = own(s, problem_expand(&s->bias, p->shape));
    fuzz_lower_rank(&s->bias, b);
    s->args.bias = &s->bias.tensor;
}

static void take_mask(struct problem *p, struct bytes *b)
{
    static const int trues[] = {1, 2, 128, 255};
    static const double shares[] = {0.5, 0.9, 0.1, 0.0, 1.0, 0.99, 0.3, 0.7};
    struct scene *s = &p->scene;
    int64_t shape[4];
    take_broadcast_shape(b, p->shape, shape);
    const unsigned share = take(b) % 12, runs = take(b) % 4;
    fuzz_array(&s->mask, b, ATTN_BOOL, 4, shape, LAYOUT_INPUT);
    const int64_t count_of_mask = array_count(&s->mask);
    const int64_t one = count_of_mask > 0 ? rng_integer(&s->rng, 0, count_of_mask - 1) : 0;
    bool seen = true;
    for (int64_t i = 0; i < count_of_mask; i++) { /* all but one, one alone, single keys, or stretches of them */
        if (share >= 8) {
            seen = (i == one) == (share == 11);
        } else if (runs == 0 || rng_chance(&s->rng, runs == 1 ? 0.1 : 0.01)) {
            seen = rng_chance(&s->rng, shares[share]);
        }
        array_set(&s->mask, i, seen ? trues[rng_integer(&s->rng, 0, 3)] : 0);
    }
    double *values = problem_expand(&s->mask, p->shape);
    const int64_t count = p->shape[0] * p->shape[1] * p->shape[2] * p->shape[3];
    unsigned char *seen_bytes = own(s, must_allocate((size_t)count + 1));
    for (int64_t i = 0; i < count; i++) seen_bytes[i] = values[i] != 0.0;
    free(values);
    s->twin.mask = seen_bytes;
    fuzz_lower_rank(&s->mask, b);
    s->args.mask = &s->mask.tensor;
}

static void take_lengths(struct problem *p, struct bytes *b)
{
    struct scene *s = &p->scene;
    struct twin_problem *t = &s->twin;
    int64_t *lengths = own(s, must_allocate((size_t)(t->batch + 1) * sizeof *lengths));
    fuzz_array(&s->lengths, b, take(b) % 2 == 0 ? ATTN_I64 : ATTN_I32, 1, &t->batch, LAYOUT_INPUT);
    for (int64_t i = 0; i < t->batch; i++) array_set(&s->lengths, i, (double)take_range(b, 0, t->keys));
    for (int64_t i = 0; i < t->batch; i++) lengths[i] = (int64_t)array_get(&s->lengths, i);
    t->key_lengths = lengths;
    s->args.key_lengths = &s->lengths.tensor;
}

/* ----------------------------------------------------------------------------------------------- whole */

static void describe(const void *of)
{
    const struct problem *p = of;
    const struct twin_problem *t = &p->scene.twin;
    fprintf(
        stderr,
        "the problem: %s %s%s%s, numbers %d, modifiers %#x; B %d Hq %d Hk %d Tq %d Tk %d Dq %d Dk %d Dv %d A %d%s\n",
        scene_score_names[t->score], dtype_name(p->scene.dtype), p->has_integers ? " with keys of i8" : "",
        p->precision == ATTN_PRECISION_FAST ? ", fast" : "", (int)p->numbers, p->scene.modifiers, (int)t->batch,
        (int)t->query_heads, (int)t->key_heads, (int)t->queries, (int)t->keys, (int)t->query_dim, (int)t->key_dim,
        (int)t->value_dim, (int)t->hidden_dim, t->value == NULL ? ", keys alone" : "");
    fprintf(stderr,
            "scale %g cap %g tau %g dropout %g local %d %d causal %d window %d %d %d alibi %d relative %d start %d%s\n",
            t->scale, t->softcap, t->temperature, t->dropout, (int)t->local, (int)t->half_width, (int)t->causal,
            (int)t->window, (int)t->left, (int)t->right, (int)t->alibi, (int)t->relative, (int)t->query_start,
            t->sinks != NULL ? " sinks" : "");
}

/* What all else depends on. */
static void begin(struct problem *p, struct bytes *b, unsigned allowed)
{
    struct scene *s = &p->scene;
    memset(p, 0, sizeof *p);
    fuzz_describe_with(describe, p);
    const unsigned first = take(b);
    unsigned modifiers = take(b) << 8;
    modifiers |= take(b);
    unsigned also = take(b) << 8; /* a quarter of them at a time, mostly */
    also |= take(b);
    s->score = s->twin.score = (enum twin_score)(first % 6);
    s->dtype = first / 6 % 4 == 3 ? ATTN_F64 : ATTN_F32;
    s->modifiers = modifiers & also & ((1U << HAS_MODIFIERS) - 1) & allowed;
    p->numbers = (enum numbers)(take(b) % 16);
    if (p->numbers >= NUMBERS_KINDS) p->numbers = NUMBERS_NORMAL;
    s->layout = LAYOUT_INPUT;
    s->args = (attn_forward_args)ATTN_FORWARD_ARGS_INIT;
}

void problem_create_rule(struct problem *p, struct bytes *b, const struct twin_problem *shape)
{
    begin(p, b, ~(unsigned)(HAS_BIAS | HAS_MASK | HAS_LENGTHS));
    const enum twin_score score = p->scene.twin.score;
    p->scene.twin = *shape;
    p->scene.twin.score = score;
    if (same_dims(score)) p->scene.twin.key_dim = shape->query_dim;
    if (!problem_in_reach(p) || p->numbers == NUMBERS_SMALL) p->numbers = NUMBERS_NORMAL;
    p->scene.rng = take_rng(b);
    take_rule(p, b);
    take_parameters(p, b, 1.0);
}

void problem_create(struct problem *p, struct bytes *b)
{
    struct scene *s = &p->scene;
    struct twin_problem *t = &s->twin;
    begin(p, b, ~0U);
    take_shape(t, b);
    s->rng = take_rng(b);
    const unsigned optional = take(b);
    const double small = p->numbers == NUMBERS_SMALL ? pow(10.0, -(double)(optional / 8 % 9)) : 1.0;
    const double peaked = p->numbers == NUMBERS_PEAKED ? 1 << optional / 8 % 16 : 1.0;

    const int64_t query[4] = {t->batch, t->query_heads, t->queries, t->query_dim};
    const int64_t key[4] = {t->batch, t->key_heads, t->keys, t->key_dim};
    const int64_t value[4] = {t->batch, t->key_heads, t->keys, t->value_dim};
    t->query = input(p, b, &s->query, 4, query, peaked, small);
    s->args.query = &s->query.tensor;
    if (optional % 4 != 3) {
        const double far = p->numbers == NUMBERS_FAR_VALUES ? 1e38 : 1.0;
        t->value = input(p, b, &s->value, 4, value, far, 1.0);
        for (int64_t i = array_count(&s->value) - 1; i >= 0 && p->numbers == NUMBERS_FAR_VALUES; i--) {
            if (isinf(array_get(&s->value, i))) array_set(&s->value, i, 3e38);
        }
        if (p->numbers == NUMBERS_FAR_VALUES) t->value = own(s, array_read(&s->value));
        s->args.value = &s->value.tensor;
    }
    if (t->value == NULL || t->score != TWIN_LOCATION || optional % 8 > 3) {
        t->key = input(p, b, &s->key, 4, key, 1.0, small);
        s->args.key = &s->key.tensor;
    }
    if (t->value == NULL) t->value_dim = t->key_dim;
    memcpy(p->shape, (int64_t[4]){t->batch, t->query_heads, t->queries, t->keys}, sizeof p->shape);
    memcpy(p->context_shape, (int64_t[4]){t->batch, t->query_heads, t->queries, t->value_dim}, sizeof p->shape);
    take_rule(p, b);
    take_parameters(p, b, small);
    if (s->modifiers & HAS_BIAS) take_bias(p, b);
    if (s->modifiers & HAS_MASK) take_mask(p, b);
    if (s->modifiers & HAS_LENGTHS) take_lengths(p, b);
    fuzz_lower_rank(&s->query, b);
    fuzz_lower_rank(&s->key, b);
    fuzz_lower_rank(&s->value, b);
}

void problem_destroy(struct problem *p)
{
    for (int e = 0; e < FUZZ_ENGINES; e++) attn_mechanism_destroy(p->mechanisms[e]);
    for (int i = 0; i < p->scene.owned_count; i++) free(p->scene.owned[i]);
    twin_free(&p->scene.want);
}

void problem_run_twin(struct problem *p)
{
    if (p->scene.want.context != NULL) return;
    fuzz_run_twin(&p->scene.twin, dtype_computed(p->scene.dtype), &p->scene.want);
    allow_fast(p, &p->scene.twin, &p->scene.want);
}

bool problem_in_reach(const struct problem *p)
{
    return p->numbers < NUMBERS_IN_REACH;
}

bool problem_is_finite(const struct problem *p)
{
    return p->numbers != NUMBERS_SPECIAL;
}
