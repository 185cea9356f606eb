/* SPDX-License-Identifier: BSD-3-Clause
 *
 * support.c: the generator, the arrays of any layout, the comparator and the fixtures that the test programs share.
 */
#define _GNU_SOURCE
#include "support.h"

#include <float.h>
#include <math.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { PATTERN = 0xA5, GUARD = 8, NEAR = 128 };

void *must_allocate(size_t bytes)
{
    void *block = malloc(bytes ? bytes : 1);
    if (!block) {
        fprintf(stderr, "support: out of memory (%zu bytes)\n", bytes);
        abort();
    }
    return block;
}

/* ------------------------------------------------------------------------------------------- generator */

uint64_t rng_bits(struct rng *rng)
{
    uint64_t z = (rng->state += UINT64_C(0x9E3779B97F4A7C15));
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

double rng_uniform(struct rng *rng, double low, double high)
{
    return low + (high - low) * ((double)(rng_bits(rng) >> 11) * 0x1p-53);
}

double rng_normal(struct rng *rng)
{
    double sum = 0.0; /* of twelve 21-bit numbers, each evenly between 0 and 1: deviation 1 */
    for (int i = 0; i < 4; i++) {
        const uint64_t bits = rng_bits(rng);
        sum += (double)((bits & 0x1FFFFF) + (bits >> 21 & 0x1FFFFF) + (bits >> 42 & 0x1FFFFF));
    }
    return (sum + 6.0) * 0x1p-21 - 6.0;
}

int64_t rng_integer(struct rng *rng, int64_t low, int64_t high)
{
    return low + (int64_t)(rng_bits(rng) % (uint64_t)(high - low + 1));
}

bool rng_chance(struct rng *rng, double probability)
{
    return rng_uniform(rng, 0.0, 1.0) < probability;
}

void rng_shuffle(struct rng *rng, int64_t *items, int64_t count)
{
    for (int64_t i = count - 1; i > 0; i--) {
        int64_t j = rng_integer(rng, 0, i);
        int64_t kept = items[i];
        items[i] = items[j];
        items[j] = kept;
    }
}

/* ---------------------------------------------------------------------------------------------- arrays */

static size_t dtype_size(attn_dtype dtype)
{
    switch (dtype) {
    case ATTN_F64:
    case ATTN_I64:
        return 8;
    case ATTN_F32:
    case ATTN_I32:
        return 4;
    case ATTN_F16:
    case ATTN_BF16:
        return 2;
    default:
        return 1;
    }
}

void array_create(struct array *array, attn_dtype dtype, int32_t ndim, const int64_t *shape, unsigned layout,
                  struct rng *rng)
{
    bool permuted = (layout & LAYOUT_PERMUTED) && rng_chance(rng, 0.5);
    bool padded = (layout & LAYOUT_PADDED) && rng_chance(rng, 0.5);
    bool reversed = (layout & LAYOUT_REVERSED) && rng_chance(rng, 0.5);
    bool broadcast = (layout & LAYOUT_BROADCAST) && rng_chance(rng, 0.2);
    int64_t order[4] = {0, 1, 2, 3}; /* outermost first */
    int64_t extent = padded && rng_chance(rng, 0.25) ? rng_integer(rng, 2, 3) : 1;
    int64_t start = layout ? rng_integer(rng, 0, GUARD) : GUARD; /* so that data is not always aligned to 16 bytes */

    memset(array, 0, sizeof *array);
    array->tensor.dtype = dtype;
    array->tensor.ndim = ndim;
    if (permuted) rng_shuffle(rng, order, ndim);
    for (int32_t place = ndim - 1; place >= 0; place--) {
        int64_t d = order[place];
        array->tensor.shape[d] = shape[d];
        if (broadcast && rng_chance(rng, 0.5)) continue;
        array->tensor.stride[d] = extent;
        extent *= shape[d] > 0 ? shape[d] : 1;
        if (padded && rng_chance(rng, 0.5)) extent += rng_integer(rng, 1, 5);
    }
    for (int32_t d = 0; d < ndim; d++) {
        if (!reversed || shape[d] == 0 || !rng_chance(rng, 0.5)) continue;
        start += (shape[d] - 1) * array->tensor.stride[d];
        array->tensor.stride[d] = -array->tensor.stride[d];
    }
    array->bytes = (size_t)(extent + 2 * GUARD) * dtype_size(dtype);
    array->memory = must_allocate(array->bytes);
    memset(array->memory, PATTERN, array->bytes);
    array->tensor.data = array->memory + (size_t)start * dtype_size(dtype);
    if (array_count(array) == 0 && layout && rng_chance(rng, 0.5)) array->tensor.data = NULL;
}

void array_destroy(struct array *array)
{
    free(array->memory);
    memset(array, 0, sizeof *array);
}

void array_lower_rank(struct array *array, struct rng *rng)
{
    attn_tensor *t = &array->tensor;
    while (t->ndim > 1 && t->shape[0] == 1 && rng_chance(rng, 0.5)) {
        for (int32_t d = 1; d < t->ndim; d++) {
            t->shape[d - 1] = t->shape[d];
            t->stride[d - 1] = t->stride[d];
        }
        t->ndim--;
        t->shape[t->ndim] = -7; /* entries past ndim are not read */
        t->stride[t->ndim] = INT64_MAX;
    }
}

int64_t array_count(const struct array *array)
{
    int64_t count = 1;
    for (int32_t d = 0; d < array->tensor.ndim; d++) count *= array->tensor.shape[d];
    return count;
}

static unsigned char *element(const struct array *array, int64_t index)
{
    int64_t offset = 0;
    for (int32_t d = array->tensor.ndim - 1; d >= 0; d--) {
        offset += index % array->tensor.shape[d] * array->tensor.stride[d];
        index /= array->tensor.shape[d];
    }
    return (unsigned char *)array->tensor.data + offset * (int64_t)dtype_size(array->tensor.dtype);
}

/* Types of 16 bits: how many bits the fraction has, and the exponent of the least normal number. */
static void half_format(attn_dtype dtype, int *fraction, int *least)
{
    *fraction = dtype == ATTN_F16 ? 10 : 7;
    *least = dtype == ATTN_F16 ? -14 : -126;
}

static double half_step(attn_dtype dtype, double x)
{
    int fraction, least, exponent;
    half_format(dtype, &fraction, &least);
    frexp(x, &exponent); /* |x| < 2^exponent */
    if (x == 0.0) exponent = least;
    return ldexp(1.0, (exponent - 1 > least ? exponent - 1 : least) - fraction);
}

static double half_get(attn_dtype dtype, uint16_t h)
{
    int fraction, least;
    half_format(dtype, &fraction, &least);
    const int rest = h & ((1 << fraction) - 1), exponent = (h & 0x7FFF) >> fraction, most = (1 << (15 - fraction)) - 1;
    const double sign = h & 0x8000 ? -1.0 : 1.0;
    if (exponent == most) return rest ? NAN : sign * HUGE_VAL;
    if (exponent == 0) return sign * ldexp(rest, least - fraction);
    return sign * ldexp(rest + (1 << fraction), least + exponent - 1 - fraction);
}

static uint16_t half_of(attn_dtype dtype, double x)
{
    int fraction, least;
    half_format(dtype, &fraction, &least);
    const uint16_t sign = signbit(x) ? 0x8000 : 0;
    const unsigned infinite = ((1U << (15 - fraction)) - 1) << fraction;
    if (isnan(x)) return (uint16_t)(sign | infinite | 1U << (fraction - 1));
    if (isinf(x)) return (uint16_t)(sign | infinite);
    /* Steps are counted through all exponents: a fraction that is full goes on to the next. */
    const double step = half_step(dtype, x), steps = nearbyint(fabs(x) / step);
    const int exponent = (int)lround(log2(step)) + fraction - least; /* 0: subnormal, or the first normal ones */
    const double count = steps + (double)exponent * (1 << fraction);
    return (uint16_t)(sign | (count < infinite ? (unsigned)count : infinite));
}

double array_get(const struct array *array, int64_t index)
{
    const void *at = element(array, index);
    switch (array->tensor.dtype) {
    case ATTN_F16:
    case ATTN_BF16:
        return half_get(array->tensor.dtype, *(const uint16_t *)at);
    case ATTN_F32:
        return *(const float *)at;
    case ATTN_F64:
        return *(const double *)at;
    case ATTN_I32:
        return *(const int32_t *)at;
    case ATTN_I64:
        return (double)*(const int64_t *)at;
    case ATTN_I8:
        return *(const int8_t *)at;
    default:
        return *(const unsigned char *)at != 0;
    }
}

void array_set(struct array *array, int64_t index, double value)
{
    void *at = element(array, index);
    switch (array->tensor.dtype) {
    case ATTN_F16:
    case ATTN_BF16:
        *(uint16_t *)at = half_of(array->tensor.dtype, value);
        break;
    case ATTN_F32:
        *(float *)at = (float)value;
        break;
    case ATTN_F64:
        *(double *)at = value;
        break;
    case ATTN_I32:
        *(int32_t *)at = (int32_t)value;
        break;
    case ATTN_I64:
        *(int64_t *)at = (int64_t)value;
        break;
    case ATTN_I8:
        *(int8_t *)at = (int8_t)value;
        break;
    default:
        *(unsigned char *)at = (unsigned char)value;
        break;
    }
}

double *array_read(const struct array *array)
{
    int64_t count = array_count(array);
    double *values = must_allocate((size_t)count * sizeof *values);
    for (int64_t i = 0; i < count; i++) values[i] = array_get(array, i);
    return values;
}

void array_write(struct array *array, const double *values)
{
    int64_t count = array_count(array);
    for (int64_t i = 0; i < count; i++) array_set(array, i, values[i]);
}

void array_fill(struct array *array, double value)
{
    for (int64_t i = array_count(array) - 1; i >= 0; i--) array_set(array, i, value);
}

void array_fill_normal(struct array *array, struct rng *rng, double deviation)
{
    int64_t count = array_count(array);
    for (int64_t i = 0; i < count; i++) array_set(array, i, deviation * rng_normal(rng));
}

void array_permute(struct array *array, const int64_t *order, bool by_row)
{
    int64_t width = array->tensor.shape[3], height = array->tensor.shape[2];
    double *values = array_read(array);
    for (int64_t i = 0; i < array_count(array); i++) {
        int64_t column = i % width, row = i / width % height;
        array_set(array, by_row ? i + (order[row] - row) * width : i - column + order[column], values[i]);
    }
    free(values);
}

bool array_gaps_intact(const struct array *array)
{
    size_t size = dtype_size(array->tensor.dtype);
    int64_t count = array_count(array);
    unsigned char *taken = must_allocate(array->bytes);
    bool intact = true;

    memset(taken, 0, array->bytes);
    for (int64_t i = 0; i < count; i++) memset(taken + (element(array, i) - array->memory), 1, size);
    for (size_t i = 0; i < array->bytes && intact; i++) intact = taken[i] || array->memory[i] == PATTERN;
    free(taken);
    return intact;
}

bool array_same_bits(const struct array *a, const struct array *b, int64_t first, int64_t count)
{
    for (int64_t i = first; i < first + count; i++) {
        if (memcmp(element(a, i), element(b, i), dtype_size(a->tensor.dtype)) != 0) return false;
    }
    return true;
}

/* ------------------------------------------------------------------------------------------ comparator */

double dtype_epsilon(attn_dtype dtype)
{
    return dtype == ATTN_F64 ? DBL_EPSILON : (double)FLT_EPSILON;
}

const char *dtype_name(attn_dtype dtype)
{
    static const char *const names[] = {
        [ATTN_F32] = "f32", [ATTN_F64] = "f64", [ATTN_F16] = "f16", [ATTN_BF16] = "bf16"};
    return names[dtype];
}

attn_dtype dtype_computed(attn_dtype dtype)
{
    return dtype == ATTN_F16 || dtype == ATTN_BF16 ? ATTN_F32 : dtype;
}

double dtype_half_step(attn_dtype dtype, double x)
{
    return dtype_computed(dtype) == dtype ? 0.0 : half_step(dtype, x) / 2;
}

/* What is stored in 16 bits was rounded once more. */
static double ratio_of(double got, double want, double magnitude, attn_dtype dtype)
{
    double smallest = dtype == ATTN_F64 ? DBL_MIN : (double)FLT_MIN;
    if (isnan(got) || isnan(want)) return isnan(got) && isnan(want) ? 0.0 : HUGE_VAL;
    if (isinf(got) || isinf(want)) return got == want ? 0.0 : HUGE_VAL;
    if (got == want) return 0.0;
    return fmax(fabs(got - want) - dtype_half_step(dtype, got), 0.0) / (dtype_epsilon(dtype) * magnitude + smallest);
}

struct worst compare(const struct array *got, const double *want, const double *magnitude)
{
    struct worst worst = {0.0, -1, 0.0, 0.0};
    int64_t count = array_count(got);
    for (int64_t i = 0; i < count; i++) {
        double value = array_get(got, i);
        double ratio = ratio_of(value, want[i], magnitude ? magnitude[i] : 1.0 + fabs(want[i]), got->tensor.dtype);
        if (!(ratio <= worst.ratio)) worst = (struct worst){isnan(ratio) ? HUGE_VAL : ratio, i, value, want[i]};
    }
    return worst;
}

double assert_close(const struct array *got, const double *want, const double *magnitude, double bound,
                    const char *what)
{
    struct worst worst = compare(got, want, magnitude);
    if (worst.ratio > bound) {
        print_error("%s: element %lld is %.17g, wanted %.17g: %.3g times the unit, at most %.3g allowed\n", what,
                    (long long)worst.index, worst.got, worst.want, worst.ratio, bound);
        fail();
    }
    return worst.ratio;
}

void must(attn_status status, const char *expression, const char *file, int line)
{
    if (status == ATTN_OK) return;
    print_error("%s\n  is %s\n  %s\n", expression, attn_status_string(status), attn_last_error());
    _fail(file, line);
}

/* -------------------------------------------------------------------------------------------- fixtures */

static void bind(struct rule *r, struct array *array, const char *name, int64_t rows, int64_t columns, struct rng *rng)
{
    int64_t shape[2] = {rows, columns};
    array_create(array, ATTN_F64, columns ? 2 : 1, shape, LAYOUT_INPUT & ~LAYOUT_BROADCAST, rng);
    array_fill_normal(array, rng, 0.6);
    MUST(attn_mechanism_bind_param(r->mechanism, name, &array->tensor));
}

void rule_create(struct rule *r, attn_engine *on, enum rule_kind kind, int64_t dq, int64_t dk)
{
    enum { HIDDEN = 7, MAX_KEYS = 600 };
    struct rng rng = {(uint64_t)kind + 900};
    *r = (struct rule){0};
    switch (kind) {
    case RULE_DOT:
        MUST(attn_mechanism_create_dot(on, &r->mechanism));
        break;
    case RULE_GENERAL:
        MUST(attn_mechanism_create_general(on, dq, dk, &r->mechanism));
        bind(r, &r->W, "W", dq, dk, &rng);
        break;
    case RULE_ADDITIVE:
        MUST(attn_mechanism_create_additive(on, dq, dk, HIDDEN, 0, &r->mechanism));
        bind(r, &r->W, "W", HIDDEN, dq, &rng);
        bind(r, &r->U, "U", HIDDEN, dk, &rng);
        bind(r, &r->v, "v", HIDDEN, 0, &rng);
        break;
    case RULE_CONCAT:
        MUST(attn_mechanism_create_concat(on, dq, dk, HIDDEN, &r->mechanism));
        bind(r, &r->W, "W", HIDDEN, dq + dk, &rng);
        bind(r, &r->v, "v", HIDDEN, 0, &rng);
        break;
    case RULE_LOCATION:
        MUST(attn_mechanism_create_location(on, dq, MAX_KEYS, &r->mechanism));
        bind(r, &r->W, "W", MAX_KEYS, dq, &rng);
        break;
    default:
        MUST(attn_mechanism_create_scaled_dot(on, &r->mechanism));
        break;
    }
}

void rule_destroy(struct rule *r)
{
    attn_mechanism_destroy(r->mechanism);
    array_destroy(&r->W);
    array_destroy(&r->U);
    array_destroy(&r->v);
}

void fixture_create(struct fixture *s, const struct dims *n, uint64_t seed)
{
    struct rng rng = {seed};
    int64_t query[4] = {n->batch, n->query_heads, n->queries, n->dim},
            key[4] = {n->batch, n->key_heads, n->keys, n->dim};
    int64_t value[4] = {n->batch, n->key_heads, n->keys, n->value_dim};
    int64_t score[4] = {n->batch, n->query_heads, n->queries, n->keys};
    int64_t context[4] = {n->batch, n->query_heads, n->queries, n->value_dim};

    s->n = *n;
    array_create(&s->query, ATTN_F64, 4, query, LAYOUT_PLAIN, NULL);
    array_create(&s->key, ATTN_F64, 4, key, LAYOUT_PLAIN, NULL);
    array_create(&s->value, ATTN_F64, 4, value, LAYOUT_PLAIN, NULL);
    array_create(&s->mask, ATTN_BOOL, 4, score, LAYOUT_PLAIN, NULL);
    array_create(&s->bias, ATTN_F64, 4, score, LAYOUT_PLAIN, NULL);
    array_create(&s->lengths, ATTN_I64, 1, score, LAYOUT_PLAIN, NULL);
    array_create(&s->context, ATTN_F64, 4, context, LAYOUT_PLAIN, NULL);
    array_create(&s->weights, ATTN_F64, 4, score, LAYOUT_PLAIN, NULL);
    array_create(&s->scores, ATTN_F64, 4, score, LAYOUT_PLAIN, NULL);
    array_create(&s->logsumexp, ATTN_F64, 3, score, LAYOUT_PLAIN, NULL);
    array_fill_normal(&s->query, &rng, 1.0);
    array_fill_normal(&s->key, &rng, 1.0);
    array_fill_normal(&s->value, &rng, 1.0);
    array_fill(&s->mask, 1.0);
    array_fill(&s->bias, 0.0);
    array_fill(&s->lengths, (double)n->keys);
    s->args = (attn_forward_args)ATTN_FORWARD_ARGS_INIT;
    s->args.scores_stage = ATTN_SCORES_MASKED;
    s->args.query = &s->query.tensor;
    s->args.key = &s->key.tensor;
    s->args.value = &s->value.tensor;
    s->args.context = &s->context.tensor;
    s->args.weights = &s->weights.tensor;
    s->args.scores = &s->scores.tensor;
    s->args.logsumexp = &s->logsumexp.tensor;
}

void fixture_destroy(struct fixture *s)
{
    struct array *arrays[] = {&s->query,   &s->key,     &s->value,   &s->mask,   &s->bias,
                              &s->lengths, &s->context, &s->weights, &s->scores, &s->logsumexp};
    for (size_t i = 0; i < sizeof arrays / sizeof arrays[0]; i++) array_destroy(arrays[i]);
}

void fixture_mask_at_random(struct fixture *f)
{
    struct rng rng = {3};
    for (int64_t i = array_count(&f->mask) - 1; i >= 0; i--) array_set(&f->mask, i, rng_chance(&rng, 0.7));
    f->args.mask = &f->mask.tensor;
}

void array_poison(struct array *array, int64_t j, double number)
{
    const int64_t *shape = array->tensor.shape;
    for (int64_t i = array_count(array) - 1; i >= 0; i--) {
        if (i / shape[3] % shape[2] == j) array_set(array, i, number);
    }
}

double fixture_value(const struct fixture *f, int64_t row, int64_t j, int64_t d)
{
    int64_t key_head = row / f->n.queries / (f->n.query_heads / f->n.key_heads);
    return array_get(&f->value, (key_head * f->n.keys + j) * f->n.value_dim + d);
}

void assert_same_bits(const struct fixture *a, const struct fixture *b, int64_t rows)
{
    assert_true(array_same_bits(&a->context, &b->context, 0, rows * a->n.value_dim));
    assert_true(array_same_bits(&a->weights, &b->weights, 0, rows * a->n.keys));
    assert_true(array_same_bits(&a->scores, &b->scores, 0, rows * a->n.keys));
    assert_true(array_same_bits(&a->logsumexp, &b->logsumexp, 0, rows));
}

void assert_near(const struct array *got, const struct array *want, const char *what)
{
    double *values = array_read(want);
    assert_close(got, values, NULL, NEAR, what);
    free(values);
}

void assert_alike(const struct fixture *a, const struct fixture *b)
{
    assert_near(&a->context, &b->context, "context");
    assert_near(&a->weights, &b->weights, "weights");
    assert_near(&a->scores, &b->scores, "scores");
    assert_near(&a->logsumexp, &b->logsumexp, "logsumexp");
}

void fixture_hide(struct fixture *f, enum blocker way, int64_t first)
{
    for (int64_t i = array_count(&f->mask) - 1; i >= 0; i--) {
        bool seen = i % f->n.keys < first;
        array_set(&f->mask, i, seen);
        array_set(&f->bias, i, seen ? 0.0 : -HUGE_VAL);
    }
    array_fill(&f->lengths, (double)first);
    f->args.mask = way == BY_MASK ? &f->mask.tensor : NULL;
    f->args.bias = way == BY_BIAS ? &f->bias.tensor : NULL;
    f->args.key_lengths = way == BY_LENGTH ? &f->lengths.tensor : NULL;
}

attn_engine *engine;

int engine_setup(void **state)
{
    (void)state;
    return attn_engine_create(NULL, &engine) != ATTN_OK;
}

int engine_teardown(void **state)
{
    (void)state;
    attn_engine_destroy(engine);
    return 0;
}

static bool is_set(const char *name)
{
    const char *word = getenv(name);
    return word != NULL && *word != '\0';
}

bool emulated(void)
{
    return is_set("ATTN_TEST_EMULATED");
}

bool few_cases(void)
{
    return emulated() || is_set("ATTN_TEST_FEWER");
}

bool on_a_lone_cpu(void)
{
    return is_set("ATTN_TEST_LONE_CPU");
}

/* Before main, as what follows it. */
__attribute__((constructor)) static void keep_to_one_cpu(void)
{
#ifdef __linux__
    cpu_set_t all, one;
    if (!on_a_lone_cpu() || sched_getaffinity(0, sizeof all, &all) != 0) return;
    CPU_ZERO(&one);
    for (size_t i = 0; i < CPU_SETSIZE && CPU_COUNT(&one) == 0; i++) {
        if (CPU_ISSET(i, &all)) CPU_SET(i, &one);
    }
    sched_setaffinity(0, sizeof one, &one);
#endif
}

/* Before main, so that no program can forget it: where this CPU lacks the kernels that the environment names, there is
 * nothing to test. The way is given, so that a way that cannot be had is a failure still. */
enum { SKIPPED = 77 }; /* CTest's SKIP_RETURN_CODE */
__attribute__((constructor)) static void skip_without_the_kernels(void)
{
    const char *kernels = getenv("ATTN_KERNELS");
    attn_engine_options options = ATTN_ENGINE_OPTIONS_INIT;
    attn_engine *any = NULL;
    if (kernels == NULL || *kernels == '\0') return;
    options.way = ATTN_WAY_BLAS;
    if (attn_engine_create(&options, &any) == ATTN_ERR_UNSUPPORTED) {
        printf("skipped: %s\n", attn_last_error());
        fflush(stdout);
        _Exit(SKIPPED);
    }
    attn_engine_destroy(any);
}
