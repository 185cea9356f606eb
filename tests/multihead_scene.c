/* SPDX-License-Identifier: BSD-3-Clause
 *
 * multihead_scene.c: a layer of heads for tests, and the same by plain loops.
 */
#include "multihead_scene.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { HIDDEN = 5, QUERY_START = 1, MAX_DISTANCE = 2 };
static const double rope_base = 50.0;

/* Numbers that float32 holds, too. */
static void fill(struct array *array, struct rng *rng, double deviation)
{
    for (int64_t i = 0; i < array_count(array); i++) array_set(array, i, (double)(float)(deviation * rng_normal(rng)));
}

static void make_of(struct layer *l, attn_dtype dtype, struct array *array, int32_t ndim, const int64_t *shape,
                    struct rng *places)
{
    array_create(array, dtype, ndim, shape, l->s.layout & LAYOUT_OUTPUT, places);
}

static void make(struct layer *l, struct array *array, int32_t ndim, const int64_t *shape, struct rng *places)
{
    make_of(l, l->dtype, array, ndim, shape, places);
}

/* Of what is computed with. */
static void make_wide(struct layer *l, struct array *array, int32_t ndim, const int64_t *shape, struct rng *places)
{
    make_of(l, dtype_computed(l->dtype), array, ndim, shape, places);
}

/* Of a parameter or of its gradient: some of the one type, some of the other. */
static attn_dtype param_dtype(const struct layer *l, int number)
{
    return number % 2 ? dtype_computed(l->dtype) : l->dtype;
}

static void create_rule(struct layer *l, attn_engine *own, struct rng *numbers, struct rng *places)
{
    static const char *const names[] = {"W", "U", "v"};
    const int64_t d = l->s.head_dim;
    const int64_t general[1][2] = {{d, d}}, additive[3][2] = {{HIDDEN, d}, {HIDDEN, d}, {HIDDEN, 0}};
    const int64_t location[1][2] = {{l->s.keys + 1, d}};
    const int64_t(*shapes)[2] = general;
    switch (l->s.score) {
    case LAYER_SCALED_DOT:
        MUST(attn_mechanism_create_scaled_dot(own, &l->mechanism));
        break;
    case LAYER_GENERAL:
        MUST(attn_mechanism_create_general(own, d, d, &l->mechanism));
        break;
    case LAYER_ADDITIVE:
        MUST(attn_mechanism_create_additive(own, d, d, HIDDEN, 0, &l->mechanism));
        shapes = additive;
        break;
    case LAYER_LOCATION:
        MUST(attn_mechanism_create_location(own, d, l->s.keys + 1, &l->mechanism));
        shapes = location;
        break;
    }
    MUST(attn_mechanism_param_count(l->mechanism, &l->rule_count));
    for (int32_t i = 0; i < l->rule_count; i++) {
        make_of(l, param_dtype(l, i), &l->rule[i], shapes[i][1] ? 2 : 1, shapes[i], places);
        fill(&l->rule[i], numbers, 0.5);
        MUST(attn_mechanism_bind_param(l->mechanism, names[i], &l->rule[i].tensor));
    }
    if (l->s.modifiers & LAYER_CAUSAL) MUST(attn_mechanism_set_causal(l->mechanism, ATTN_ALIGN_TOP_LEFT));
}

static void create_distances(struct layer *l, struct rng *numbers, struct rng *places)
{
    const int64_t table[2] = {l->s.query_heads, 2 * MAX_DISTANCE + 1};
    if (!(l->s.modifiers & LAYER_DISTANCES)) return;
    make_wide(l, &l->alibi, 1, table, places);
    make_wide(l, &l->relative, 2, table, places);
    fill(&l->alibi, numbers, 0.05);
    fill(&l->relative, numbers, 1.0);
    MUST(attn_mechanism_set_alibi(l->mechanism, &l->alibi.tensor, ATTN_ALIGN_TOP_LEFT));
    MUST(attn_mechanism_set_relative_bias(l->mechanism, &l->relative.tensor, ATTN_RELATIVE_CLIPPED, MAX_DISTANCE,
                                          ATTN_ALIGN_TOP_LEFT));
}

static bool halves(const struct setup *s)
{
    return (s->modifiers & LAYER_TURNED) != 0;
}

/* 0: the layer does not turn. */
static int64_t turned_dimensions(const struct setup *s)
{
    return halves(s) ? s->head_dim : s->modifiers & LAYER_TURNED_IN_PART ? s->head_dim - 2 : 0;
}

static void create_params(struct layer *l, struct rng *numbers, struct rng *places)
{
    attn_multihead_options options = ATTN_MULTIHEAD_OPTIONS_INIT;
    options.flags = l->s.flags;
    options.query_heads = l->s.query_heads;
    options.key_heads = l->s.key_heads;
    options.query_dim = l->s.dim[0];
    options.key_dim = l->s.dim[1];
    options.value_dim = l->s.dim[2];
    options.head_dim = l->s.head_dim;
    options.value_head_dim = l->s.value_head_dim;
    options.output_dim = l->s.output_dim;
    attn_rope_options rope = ATTN_ROPE_OPTIONS_INIT;
    rope.layout = halves(&l->s) ? ATTN_ROPE_HALVES : ATTN_ROPE_INTERLEAVED;
    rope.dimensions = halves(&l->s) ? 0 : turned_dimensions(&l->s);
    rope.base = rope_base;
    if (turned_dimensions(&l->s) > 0) options.rope = &rope;
    MUST(attn_multihead_create(l->mechanism, &options, &l->multihead));
    MUST(attn_multihead_param_count(l->multihead, &l->param_count));
    for (int32_t i = 0; i < l->param_count; i++) {
        attn_param_info info = ATTN_PARAM_INFO_INIT;
        MUST(attn_multihead_param_info(l->multihead, i, &info));
        assert_false(info.bound);
        l->param_name[i] = info.name;
        make_of(l, param_dtype(l, i / 2), &l->param[i], info.ndim, info.shape, places);
        fill(&l->param[i], numbers, info.ndim == 2 ? fmin(0.6, 1.2 / sqrt((double)info.shape[1])) : 0.6);
        MUST(attn_multihead_bind_param(l->multihead, info.name, &l->param[i].tensor));
    }
}

static void create_modifiers(struct layer *l, struct rng *numbers, struct rng *places)
{
    const struct setup *s = &l->s;
    const int64_t scores[4] = {s->batch, s->query_heads, s->queries, s->keys}, mask[3] = {s->batch, 1, s->keys};
    l->attention = (attn_forward_args)ATTN_FORWARD_ARGS_INIT;
    if (s->modifiers & LAYER_CAUSAL) l->attention.query_start = QUERY_START;
    if (s->modifiers & LAYER_MASK) {
        const int64_t shape[4] = {mask[0], 1, 1, mask[2]};
        array_create(&l->mask, ATTN_BOOL, 4, shape, LAYOUT_PLAIN, NULL);
        for (int64_t i = 0; i < array_count(&l->mask); i++) array_set(&l->mask, i, rng_chance(numbers, 0.8));
        l->attention.mask = &l->mask.tensor;
    }
    if (s->modifiers & LAYER_LENGTHS) {
        array_create(&l->lengths, ATTN_I32, 1, &s->batch, LAYOUT_PLAIN, NULL);
        for (int64_t b = 0; b < s->batch; b++) array_set(&l->lengths, b, (double)(b ? s->keys / 2 : s->keys - 1));
        l->attention.key_lengths = &l->lengths.tensor;
    }
    if (s->modifiers & LAYER_BIAS) {
        make(l, &l->bias, 3, scores + 1, places);
        fill(&l->bias, numbers, 1.0);
        l->attention.bias = &l->bias.tensor;
    }
    make_wide(l, &l->weights, 4, scores, places);
    make_wide(l, &l->d_weights, 4, scores, places);
    make_wide(l, &l->logsumexp, 3, scores, places);
    make_wide(l, &l->d_logsumexp, 3, scores, places);
    fill(&l->d_weights, numbers, 1.0);
    fill(&l->d_logsumexp, numbers, 1.0);
    l->attention.weights = &l->weights.tensor;
    l->attention.logsumexp = &l->logsumexp.tensor;
}

/* Of queries [B, Tq], of keys that are not these [Tk], for all sequences. */
static void create_positions(struct layer *l, struct rng *numbers)
{
    const struct setup *s = &l->s;
    const int64_t shapes[2][2] = {{s->batch, s->queries}, {s->keys, 0}};
    if (!(s->modifiers & LAYER_PLACED)) return;
    for (int side = 0; side < (s->gives & GIVES_KEY ? 2 : 1); side++) {
        struct array *array = &l->positions[side];
        array_create(array, side ? ATTN_I64 : ATTN_I32, side ? 1 : 2, shapes[side], LAYOUT_PLAIN, NULL);
        for (int64_t i = 0; i < array_count(array); i++) array_set(array, i, (double)rng_integer(numbers, -9, 90));
    }
    l->args.positions = &l->positions[0].tensor;
    if (s->gives & GIVES_KEY) l->args.key_positions = &l->positions[1].tensor;
}

struct array *layer_source(struct layer *l, int g)
{
    struct array *of = g < GRADIENT_BIAS        ? &l->input[g]
                       : g == GRADIENT_BIAS     ? &l->bias
                       : g == GRADIENT_ALIBI    ? &l->alibi
                       : g == GRADIENT_RELATIVE ? &l->relative
                       : g < GRADIENT_RULE      ? &l->param[g - GRADIENT_PARAM]
                                                : &l->rule[g - GRADIENT_RULE];
    return of->memory ? of : NULL;
}

const char *layer_gradient_name(const struct layer *l, int g)
{
    static const char *const inputs[] = {"d_query", "d_key", "d_value", "d_bias", "d_alibi", "d_relative"},
                             *const rule[] = {"d_W", "d_U", "d_v"};
    return g < GRADIENT_PARAM  ? inputs[g]
           : g < GRADIENT_RULE ? l->param_name[g - GRADIENT_PARAM]
                               : rule[g - GRADIENT_RULE];
}

const attn_tensor **layer_gradient_slot(struct layer *l, int g)
{
    const attn_tensor **slots[] = {&l->backward.d_query, &l->backward.d_key,   &l->backward.d_value,
                                   &l->backward.d_bias,  &l->backward.d_alibi, &l->backward.d_relative};
    return slots[g];
}

static void create_gradients(struct layer *l, struct rng *places)
{
    l->backward = (attn_multihead_backward_args)ATTN_MULTIHEAD_BACKWARD_ARGS_INIT;
    l->backward.forward = &l->args;
    l->backward.d_output = &l->d_output.tensor;
    l->backward.d_weights = &l->d_weights.tensor;
    l->backward.d_logsumexp = &l->d_logsumexp.tensor;
    l->backward.d_params = l->d_params;
    l->backward.d_mechanism_params = l->d_rule;
    for (int g = 0; g < GRADIENTS; g++) {
        const struct array *of = layer_source(l, g);
        if (!of) continue;
        make_of(l, g < GRADIENT_PARAM ? of->tensor.dtype : param_dtype(l, g), &l->gradient[g], of->tensor.ndim,
                of->tensor.shape, places);
        const attn_tensor *tensor = &l->gradient[g].tensor;
        if (g < GRADIENT_PARAM) {
            *layer_gradient_slot(l, g) = tensor;
        } else if (g < GRADIENT_RULE) {
            l->d_params[g - GRADIENT_PARAM] = tensor;
        } else {
            l->d_rule[g - GRADIENT_RULE] = tensor;
        }
    }
}

void layer_create(struct layer *l, attn_engine *own, const struct setup *setup, attn_dtype dtype, uint64_t seed)
{
    struct rng numbers = {seed}, places = {seed + 77};
    const attn_tensor **slots[] = {&l->args.query, &l->args.key, &l->args.value};
    memset(l, 0, sizeof *l);
    l->s = *setup;
    l->dtype = dtype;
    create_rule(l, own, &numbers, &places);
    create_distances(l, &numbers, &places);
    create_params(l, &numbers, &places);
    l->args = (attn_multihead_args)ATTN_MULTIHEAD_ARGS_INIT;
    for (int i = 0; i < LAYER_INPUTS; i++) {
        const int64_t shape[3] = {setup->batch, i ? setup->keys : setup->queries, setup->dim[i]};
        if (i > 0 && !(setup->gives & i)) continue;
        make(l, &l->input[i], 3, shape, &places);
        fill(&l->input[i], &numbers, 1.0);
        *slots[i] = &l->input[i].tensor;
    }
    create_modifiers(l, &numbers, &places);
    create_positions(l, &numbers);
    const int64_t output[3] = {setup->batch, setup->queries, setup->output_dim};
    make(l, &l->output, 3, output, &places);
    make(l, &l->d_output, 3, output, &places);
    fill(&l->d_output, &numbers, 1.0);
    l->args.attention = &l->attention;
    l->args.output = &l->output.tensor;
    create_gradients(l, &places);
}

void layer_destroy(struct layer *l)
{
    struct array *others[] = {&l->mask,        &l->lengths,      &l->bias,        &l->alibi,    &l->relative,
                              &l->output,      &l->weights,      &l->logsumexp,   &l->d_output, &l->d_weights,
                              &l->d_logsumexp, &l->positions[0], &l->positions[1]};
    attn_multihead_destroy(l->multihead);
    attn_mechanism_destroy(l->mechanism);
    for (int i = 0; i < LAYER_INPUTS; i++) array_destroy(&l->input[i]);
    for (int i = 0; i < LAYER_PARAMS; i++) array_destroy(&l->param[i]);
    for (int i = 0; i < LAYER_RULE_PARAMS; i++) array_destroy(&l->rule[i]);
    for (int i = 0; i < GRADIENTS; i++) array_destroy(&l->gradient[i]);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) array_destroy(others[i]);
    free(l->saved);
}

void layer_copy_numbers(struct layer *to, struct layer *from)
{
    struct array *const others[][2] = {
        {&to->d_output, &from->d_output}, {&to->d_weights, &from->d_weights}, {&to->d_logsumexp, &from->d_logsumexp}};
    for (int i = 0; i < GRADIENTS + 3; i++) {
        struct array *source = i < GRADIENTS ? layer_source(from, i) : others[i - GRADIENTS][1];
        if (!source) continue;
        double *numbers = array_read(source);
        array_write(i < GRADIENTS ? layer_source(to, i) : others[i - GRADIENTS][0], numbers);
        free(numbers);
    }
}

void layer_save(struct layer *l)
{
    free(l->saved);
    MUST(attn_multihead_saved(l->multihead, &l->args, &l->args.saved_size));
    l->args.saved = l->saved = must_allocate(l->args.saved_size);
    memset(l->saved, 0xFF, l->args.saved_size);
}

void layer_forward(struct layer *l)
{
    MUST(attn_multihead_forward(l->multihead, &l->args));
}

void layer_backward(struct layer *l)
{
    MUST(attn_multihead_backward(l->multihead, &l->backward));
}

void layer_fill_gradients(struct layer *l, double value)
{
    for (int g = 0; g < GRADIENTS; g++) {
        if (l->gradient[g].memory) array_fill(&l->gradient[g], value);
    }
}

/* ------------------------------------------------------------------------------------------ plain loops */

/* The parameter of that name as doubles, or NULL. */
static double *named(const struct layer *l, const char *name)
{
    for (int32_t i = 0; i < l->param_count; i++) {
        if (strcmp(l->param_name[i], name) == 0) return array_read(&l->param[i]);
    }
    return NULL;
}

/* rows [count, from] times weights^T [to, from], and the bias: a new block. */
static double *project(const double *rows, int64_t count, int64_t from, const double *weights, const double *bias,
                       int64_t to)
{
    double *result = must_allocate((size_t)(count * to) * sizeof *result + 1);
    for (int64_t r = 0; r < count; r++) {
        for (int64_t o = 0; o < to; o++) {
            long double sum = bias ? (long double)bias[o] : 0.0L;
            for (int64_t k = 0; k < from; k++)
                sum += (long double)rows[r * from + k] * (long double)weights[o * from + k];
            result[r * to + o] = (double)sum;
        }
    }
    return result;
}

static double score_of(const struct layer *l, double *const rule[], const double *q, const double *k, int64_t j)
{
    const int64_t n = l->s.head_dim;
    double e = 0.0;
    if (l->s.score == LAYER_SCALED_DOT) {
        for (int64_t d = 0; d < n; d++) e += q[d] * k[d];
        return e / sqrt((double)n);
    }
    if (l->s.score == LAYER_LOCATION) {
        for (int64_t d = 0; d < n; d++) e += rule[0][j * n + d] * q[d];
        return e;
    }
    if (l->s.score == LAYER_GENERAL) {
        for (int64_t c = 0; c < n; c++) {
            for (int64_t d = 0; d < n; d++) e += q[c] * rule[0][c * n + d] * k[d];
        }
        return e;
    }
    for (int64_t a = 0; a < HIDDEN; a++) {
        double inside = 0.0;
        for (int64_t d = 0; d < n; d++) inside += rule[0][a * n + d] * q[d] + rule[1][a * n + d] * k[d];
        e += rule[2][a] * tanh(inside);
    }
    return e;
}

static double distance_bias(const struct layer *l, int64_t h, int64_t i, int64_t j)
{
    const int64_t distance = j - i - (l->s.modifiers & LAYER_CAUSAL ? QUERY_START : 0);
    const int64_t cut = distance < -MAX_DISTANCE ? -MAX_DISTANCE : distance > MAX_DISTANCE ? MAX_DISTANCE : distance;
    if (!(l->s.modifiers & LAYER_DISTANCES)) return 0.0;
    return array_get(&l->relative, h * (2 * MAX_DISTANCE + 1) + MAX_DISTANCE + cut) -
           array_get(&l->alibi, h) * fabs((double)distance);
}

static bool sees(const struct layer *l, int64_t b, int64_t i, int64_t j)
{
    const struct setup *s = &l->s;
    if (s->modifiers & LAYER_CAUSAL && j > i + QUERY_START) return false;
    if (s->modifiers & LAYER_LENGTHS && (double)j >= array_get(&l->lengths, b)) return false;
    return !(s->modifiers & LAYER_MASK) || array_get(&l->mask, b * s->keys + j) != 0.0;
}

/* q, k, v: rows of all heads. */
static void attend(const struct layer *l, const double *q, const double *k, const double *v, double *context,
                   double *weights)
{
    const struct setup *s = &l->s;
    const int64_t n = s->head_dim, m = s->value_head_dim, group = s->query_heads / s->key_heads;
    double *rule[LAYER_RULE_PARAMS] = {NULL};
    for (int32_t i = 0; i < l->rule_count; i++) rule[i] = array_read(&l->rule[i]);
    for (int64_t b = 0; b < s->batch; b++) {
        for (int64_t h = 0; h < s->query_heads; h++) {
            for (int64_t i = 0; i < s->queries; i++) {
                double *row = weights + ((b * s->query_heads + h) * s->queries + i) * s->keys, sum = 0.0,
                       most = -INFINITY;
                double *to = context + ((b * s->queries + i) * s->query_heads + h) * m;
                const double *query = q + ((b * s->queries + i) * s->query_heads + h) * n;
                for (int64_t j = 0; j < s->keys; j++) {
                    const double *key = k + ((b * s->keys + j) * s->key_heads + h / group) * n;
                    row[j] = score_of(l, rule, query, key, j);
                    row[j] += distance_bias(l, h, i, j);
                    if (s->modifiers & LAYER_BIAS) row[j] += array_get(&l->bias, (h * s->queries + i) * s->keys + j);
                    if (!sees(l, b, i, j)) row[j] = -INFINITY;
                    most = fmax(most, row[j]);
                }
                for (int64_t j = 0; j < s->keys; j++) sum += row[j] = row[j] == -INFINITY ? 0.0 : exp(row[j] - most);
                for (int64_t d = 0; d < m; d++) to[d] = 0.0;
                for (int64_t j = 0; j < s->keys; j++) {
                    const double *value = v + ((b * s->keys + j) * s->key_heads + h / group) * m;
                    if (sum > 0.0) row[j] /= sum;
                    for (int64_t d = 0; d < m && row[j] != 0.0; d++) to[d] += row[j] * value[d];
                }
            }
        }
    }
    for (int32_t i = 0; i < l->rule_count; i++) free(rule[i]);
}

static double position_of(const struct layer *l, bool is_key, int64_t b, int64_t i)
{
    const struct setup *s = &l->s;
    const bool cross = (s->gives & GIVES_KEY) != 0;
    if (!(s->modifiers & LAYER_PLACED)) return (double)(i + (cross && !is_key ? l->attention.query_start : 0));
    return is_key && cross ? array_get(&l->positions[1], i) : array_get(&l->positions[0], b * s->queries + i);
}

/* Rows of queries or keys, of all heads. */
static void turn(const struct layer *l, double *rows, bool is_key)
{
    const struct setup *s = &l->s;
    const int64_t length = is_key ? s->keys : s->queries, heads = is_key ? s->key_heads : s->query_heads;
    const int64_t n = turned_dimensions(s);
    for (int64_t r = 0; r < s->batch * length * heads; r++) {
        const double position = position_of(l, is_key, r / heads / length, r / heads % length);
        for (int64_t i = 0; i < n / 2; i++) {
            double *a = rows + r * s->head_dim + (halves(s) ? i : 2 * i), *b = a + (halves(s) ? n / 2 : 1);
            const double angle = position * pow(rope_base, -2.0 * (double)i / (double)n), x = *a, y = *b;
            *a = x * cos(angle) - y * sin(angle);
            *b = y * cos(angle) + x * sin(angle);
        }
    }
}

void layer_reference(const struct layer *l, double **output, double **weights)
{
    static const char *const names[] = {"W_q", "W_k", "W_v"}, *const biases[] = {"b_q", "b_k", "b_v"};
    const struct setup *s = &l->s;
    const int64_t widths[] = {s->query_heads * s->head_dim, s->key_heads * s->head_dim,
                              s->key_heads * s->value_head_dim};
    double *packed = named(l, "W_qkv"), *packed_bias = named(l, "b_qkv"), *part[LAYER_INPUTS];
    const struct array *source = NULL;
    int64_t first = 0;
    for (int i = 0; i < LAYER_INPUTS; i++) {
        if (l->input[i].memory) source = &l->input[i];
        double *rows = array_read(source), *own = named(l, names[i]), *bias = named(l, biases[i]);
        part[i] =
            project(rows, s->batch * (i ? s->keys : s->queries), s->dim[i], packed ? packed + first * s->dim[0] : own,
                    packed_bias ? packed_bias + first : bias, widths[i]);
        first += widths[i];
        if (i < 2) turn(l, part[i], i == 1);
        free(rows), free(own), free(bias);
    }
    const int64_t rows = s->batch * s->queries, width = s->query_heads * s->value_head_dim;
    double *context = must_allocate((size_t)(rows * width) * sizeof *context + 1);
    *weights = must_allocate((size_t)(rows * s->query_heads * s->keys) * sizeof **weights + 1);
    attend(l, part[0], part[1], part[2], context, *weights);
    double *last = named(l, "W_o"), *last_bias = named(l, "b_o");
    *output = project(context, rows, width, last, last_bias, s->output_dim);
    for (int i = 0; i < LAYER_INPUTS; i++) free(part[i]);
    free(packed), free(packed_bias), free(context), free(last), free(last_bias);
}
