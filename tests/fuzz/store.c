/* SPDX-License-Identifier: BSD-3-Clause
 *
 * store.c: see store.h.
 */
#include "store.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct stored stored_of(unsigned choice)
{
    static const struct stored all[] = {{0, false},       {ATTN_F16, false}, {ATTN_BF16, false},
                                        {ATTN_F32, true}, {ATTN_F16, true},  {ATTN_BF16, true}};
    return all[choice % 6];
}

/* An array of four dimensions, whatever leading ones it has lost. */
static struct array of_four(const struct array *array)
{
    struct array four = *array;
    const int32_t missing = 4 - array->tensor.ndim;
    four.tensor.ndim = 4;
    for (int32_t d = 3; d >= 0; d--) {
        four.tensor.shape[d] = d < missing ? 1 : array->tensor.shape[d - missing];
        four.tensor.stride[d] = d < missing ? 0 : array->tensor.stride[d - missing];
    }
    return four;
}

/* A number that the type has no infinity for. */
static double within(attn_dtype dtype, double x)
{
    const double most = dtype == ATTN_F16 ? 65504.0 : dtype == ATTN_BF16 ? 0x1.FEp127 : 3e38;
    return isfinite(x) && fabs(x) > most ? copysign(most, x) : x;
}

/* The array of another type, in any layout; returns what it holds then. */
static const double *store(struct problem *p, struct bytes *b, struct array *array, attn_dtype dtype)
{
    const struct array from = *array;
    fuzz_array(array, b, dtype, from.tensor.ndim, from.tensor.shape, LAYOUT_INPUT);
    for (int64_t i = 0, n = array_count(array); i < n; i++) array_set(array, i, within(dtype, array_get(&from, i)));
    return problem_own(p, array_read(array));
}

/* ------------------------------------------------------------------------------------------------ integers */

static float scale_of(const double *row, int64_t width)
{
    float greatest = 0;
    for (int64_t d = 0; d < width; d++) greatest = fmaxf(greatest, fabsf((float)row[d]));
    return greatest / 127;
}

void quantise_row(double *row, int64_t width)
{
    const float scale = scale_of(row, width);
    for (int64_t d = 0; d < width; d++) {
        row[d] = scale > 0 ? (double)rintf((float)row[d] / scale) * (double)scale : 0.0;
    }
}

/* Rows become integers with scales. Some scales are negative, and some integers are -128, which no memory makes. */
static const double *store_integers(struct problem *p, struct bytes *b, struct array *array, struct array *scales)
{
    const struct array from = *array;
    const struct array rows = of_four(array);
    const int64_t width = rows.tensor.shape[3], count = array_count(array);
    double *numbers = array_read(&from), *meant = problem_own(p, must_allocate((size_t)(count + 1) * sizeof *meant));
    const unsigned odd = take(b);
    for (int64_t i = 0; i < count; i++) numbers[i] = within(ATTN_F32, numbers[i]);
    fuzz_array(array, b, ATTN_I8, from.tensor.ndim, from.tensor.shape, LAYOUT_INPUT);
    fuzz_array(scales, b, ATTN_F32, 3, rows.tensor.shape, LAYOUT_INPUT);
    for (int64_t row = 0; row < array_count(scales); row++) {
        float scale = scale_of(numbers + row * width, width);
        if (odd % 4 == 3 && rng_chance(&p->scene.rng, 0.3)) scale = -scale;
        array_set(scales, row, (double)scale);
        for (int64_t d = 0; d < width; d++) {
            const double steps = scale != 0 ? rint(numbers[row * width + d] / (double)scale) : 0;
            array_set(array, row * width + d, steps <= 127 ? fmax(steps, -127) : steps > 127 ? 127 : 1);
            if (odd / 4 % 4 == 3 && d == row % width) array_set(array, row * width + d, -128);
        }
    }
    for (int64_t i = 0; i < count; i++) meant[i] = array_get(array, i) * array_get(scales, i / width);
    free(numbers);
    fuzz_lower_rank(scales, b);
    return meant;
}

/* What a score of row `row` of the queries is off by at most, from 2^-16 of the query's greatest element. */
static double score_error(const struct twin_problem *t, int64_t row, int64_t key_head)
{
    const double scale = t->scale_given ? t->scale : t->score == TWIN_SCALED_DOT ? 1 / sqrt((double)t->key_dim) : 1;
    double greatest = 0, most = 0;
    for (int64_t d = 0; d < t->query_dim; d++) greatest = fmax(greatest, fabs(t->query[row * t->query_dim + d]));
    for (int64_t j = 0; j < t->keys; j++) {
        double sum = 0;
        for (int64_t d = 0; d < t->key_dim; d++) sum += fabs(t->key[(key_head * t->keys + j) * t->key_dim + d]);
        most = fmax(most, sum);
    }
    return 1.01 * 0x1p-16 * fabs(scale) * greatest * most / (t->temperature > 0 ? t->temperature : 1.0);
}

static void allow_whole_numbers(const struct problem *p, const struct twin_problem *t, struct twin_result *want)
{
    const double unit = SCENE_FACTOR * dtype_epsilon(p->scene.dtype);
    const double *values = t->value != NULL ? t->value : t->key;
    if (t->score != TWIN_DOT && t->score != TWIN_SCALED_DOT) return;
    for (int64_t row = 0; row < t->batch * t->query_heads * t->queries; row++) {
        const int64_t b = row / t->queries / t->query_heads, h = row / t->queries % t->query_heads;
        const int64_t key_head = b * t->key_heads + h / (t->query_heads / t->key_heads);
        const double off = score_error(t, row, key_head), share = fmin(2, expm1(2 * off));
        double most = 0;
        for (int64_t i = 0; i < t->keys * t->value_dim; i++) {
            most = fmax(most, fabs(values[key_head * t->keys * t->value_dim + i]));
        }
        want->logsumexp_magnitude[row] += off / unit;
        for (int64_t d = 0; d < t->value_dim; d++) {
            want->context_magnitude[row * t->value_dim + d] += most * (share + (double)t->keys * 0x1p-15) / unit;
        }
    }
}

void allow_fast(const struct problem *p, const struct twin_problem *t, struct twin_result *want)
{
    if (p->precision != ATTN_PRECISION_FAST) return;
    if (p->has_integers) {
        allow_whole_numbers(p, t, want);
    } else if (p->scene.dtype == ATTN_BF16) {
        scene_allow_rounded_weights(t, want);
    }
}

/* ------------------------------------------------------------------------------------------------- problems */

/* Where numbers cancel, roundings would choose which of two keys a centre between them sees (take_parameters): none are
 * alike, nor lie on each other. */
static const double *spread(struct problem *p, struct bytes *b, struct array *array)
{
    const struct array from = *array;
    fuzz_array(array, b, from.tensor.dtype, 1, from.tensor.shape, LAYOUT_OUTPUT);
    for (int64_t i = 0, n = array_count(array); i < n; i++) {
        array_set(array, i, array_get(&from, i) * (1.0 + (double)i / 64.0));
    }
    return problem_own(p, array_read(array));
}

static void store_params(struct problem *p, struct bytes *b)
{
    struct scene *s = &p->scene;
    struct twin_problem *t = &s->twin;
    const struct {
        const char *name;
        const double **numbers;
    } all[] = {{"W", &t->W}, {"U", &t->U},     {"v", &t->v},    {"b", &t->b},
               {"g", &t->g}, {"W_p", &t->W_p}, {"v_p", &t->v_p}};
    for (int i = 0; i < s->param_count; i++) {
        struct array *array = &s->params[i];
        const double *numbers = store(p, b, array, take(b) % 2 == 0 ? s->dtype : dtype_computed(s->dtype));
        if (strcmp(s->param_names[i], "v_p") == 0) numbers = spread(p, b, array);
        bool any = false;
        for (int64_t d = 0, n = array_count(array); d < n; d++) any |= fabs(numbers[d]) > 1e-30;
        if (!any && strcmp(s->param_names[i], "v") == 0) { /* as in take_parameters */
            array_set(array, 0, 1.0);
            numbers = problem_own(p, array_read(array));
        }
        for (size_t k = 0; k < sizeof all / sizeof *all; k++) {
            if (strcmp(s->param_names[i], all[k].name) == 0) *all[k].numbers = numbers;
        }
    }
}

static void store_rows(struct problem *p, struct bytes *b)
{
    struct scene *s = &p->scene;
    struct twin_problem *t = &s->twin;
    if (s->key.memory != NULL) {
        t->key = p->has_integers ? store_integers(p, b, &s->key, &p->key_scales) : store(p, b, &s->key, s->dtype);
        if (p->has_integers) s->args.key_scales = &p->key_scales.tensor;
    }
    if (s->value.memory != NULL) {
        t->value =
            p->has_integers ? store_integers(p, b, &s->value, &p->value_scales) : store(p, b, &s->value, s->dtype);
        if (p->has_integers) s->args.value_scales = &p->value_scales.tensor;
    }
}

void problem_store(struct problem *p, struct bytes *b, struct stored stored)
{
    struct scene *s = &p->scene;
    struct twin_problem *t = &s->twin;
    const attn_dtype computed = dtype_computed(stored.dtype);
    for (int e = 0; e < FUZZ_ENGINES; e++) {
        attn_mechanism_destroy(p->mechanisms[e]);
        p->mechanisms[e] = NULL;
    }
    twin_free(&s->want);
    memset(&s->want, 0, sizeof s->want);
    p->is_stored = true;
    p->has_integers = stored.has_integers;
    s->dtype = stored.dtype;
    t->tiles = true;
    /* Scores that were equal differ by roundings now, or the other way round: so scaled, weights follow these. */
    if (fabs(t->scale) > 0x1p40 && problem_in_reach(p)) p->numbers = NUMBERS_IN_REACH;
    if (t->hardmax) t->tie = SCENE_FACTOR * dtype_epsilon(s->dtype);
    if (s->query.memory != NULL) t->query = store(p, b, &s->query, s->dtype);
    store_rows(p, b);
    if (s->bias.memory != NULL) {
        store(p, b, &s->bias, s->dtype);
        const struct array bias = of_four(&s->bias);
        t->bias = problem_own(p, problem_expand(&bias, p->shape));
    }
    if (s->slopes.memory != NULL) t->slopes = store(p, b, &s->slopes, computed);
    if (s->sinks.memory != NULL) t->sinks = store(p, &(struct bytes){NULL, 0}, &s->sinks, computed);
    if (s->table.memory != NULL) t->table = store(p, b, &s->table, computed);
    store_params(p, b);
}
