/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test_position.c: sinusoids, ALiBi slopes and rotary positions against loops in long double written from the formulas,
 * over random shapes and strides; what rotations promise (in place, inverse, relative); what is refused.
 */
#define _POSIX_C_SOURCE 200809L
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "own_means.h"
#include "support.h"

static struct rng rng = {2021};

static attn_dtype some_dtype(void)
{
    return rng_chance(&rng, 0.5) ? ATTN_F32 : ATTN_F64;
}

/* Of rows that are turned: a share of 16 bits. */
static attn_dtype row_dtype(void)
{
    if (rng_chance(&rng, 0.7)) return some_dtype();
    return rng_chance(&rng, 0.5) ? ATTN_F16 : ATTN_BF16;
}

/* ----------------------------------------------------------------------------------------------- tables */

/* An angle is off by its own size times 2^-52 or so, and its frequency by what pow's exponent is; then a rounding. */
static double angle_error(attn_dtype dtype, double angle)
{
    return 1 + 4 * fabs(angle) * 0x1p-52 / dtype_epsilon(dtype);
}

static void check_sinusoids(attn_dtype dtype, int64_t rows, int64_t columns, int64_t first, double base)
{
    const int64_t shape[2] = {rows, columns};
    struct array table;
    array_create(&table, dtype, 2, shape, LAYOUT_OUTPUT, &rng);
    array_lower_rank(&table, &rng);
    MUST(attn_position_sinusoidal(&table.tensor, first, base));
    double *want = must_allocate((size_t)(rows * columns + 1) * sizeof *want);
    double *error = must_allocate((size_t)(rows * columns + 1) * sizeof *error);
    for (int64_t e = 0; e < rows * columns; e++) {
        const int64_t d = e % columns, i = d / 2;
        const long double p = (long double)(first + e / columns);
        const long double angle = p / powl((long double)base, 2.0L * (long double)i / (long double)columns);
        want[e] = (double)(d % 2 == 0 ? sinl(angle) : cosl(angle));
        error[e] = angle_error(dtype, (double)angle);
    }
    assert_close(&table, want, error, 1, "sinusoids");
    assert_true(array_gaps_intact(&table));
    free(want), free(error);
    array_destroy(&table);
}

static void sinusoids_are_those_of_the_paper(void **state)
{
    (void)state;
    for (int i = 0; i < 200; i++) {
        check_sinusoids(some_dtype(), rng_integer(&rng, 0, 9), rng_integer(&rng, 0, 9), rng_integer(&rng, -5, 50),
                        i % 2 ? 10000 : rng_uniform(&rng, 0.5, 100));
    }
    check_sinusoids(ATTN_F32, 3, 300, 1000000, 10000);
    check_sinusoids(ATTN_F32, 7, 129, -1000000, 10000);
    check_sinusoids(ATTN_F64, 40, 257, 5, 10000);
}

static void the_first_sinusoid_is_of_the_position_itself(void **state)
{
    float data[2][4];
    attn_tensor table;
    (void)state;
    MUST(attn_tensor_init(&table, data, ATTN_F32, 2, (int64_t[]){2, 4}));
    MUST(attn_position_sinusoidal(&table, 0, 10000));
    assert_true(data[0][0] == 0 && data[0][1] == 1 && data[0][2] == 0 && data[0][3] == 1);
    assert_true(data[1][0] == (float)sin(1.0) && data[1][1] == (float)cos(1.0));
    assert_true(data[1][2] == (float)sin(0.01) && data[1][3] == (float)cos(0.01));
}

/* The released code, word for word: get_slopes(n). */
static void released_slopes(int64_t n, double *slopes)
{
    const double power = log2((double)n);
    if (floor(power) == power) {
        const double start = pow(2, -pow(2, -(power - 3)));
        for (int64_t i = 0; i < n; i++) slopes[i] = start * pow(start, (double)i);
        return;
    }
    const int64_t closest = (int64_t)1 << (int)floor(power);
    double wider[256];
    released_slopes(closest, slopes);
    released_slopes(2 * closest, wider);
    for (int64_t i = 0; i < n - closest; i++) slopes[closest + i] = wider[2 * i];
}

static void alibi_slopes_are_those_of_the_released_code(void **state)
{
    (void)state;
    for (int64_t n = 0; n <= 128; n++) {
        struct array slopes;
        double want[128];
        array_create(&slopes, n % 3 ? ATTN_F32 : ATTN_F64, 1, &n, LAYOUT_OUTPUT, &rng);
        MUST(attn_position_alibi_slopes(&slopes.tensor));
        if (n > 0) released_slopes(n, want);
        double error[128];
        for (int64_t h = 0; h < n; h++) error[h] = want[h];
        assert_close(&slopes, want, error, n % 3 ? 1 : 200, "slopes"); /* theirs is a power of a rounded number */
        assert_true(array_gaps_intact(&slopes));
        array_destroy(&slopes);
    }
}

static void eight_heads_have_slopes_from_a_half_to_a_256th(void **state)
{
    double data[8];
    attn_tensor slopes;
    (void)state;
    MUST(attn_tensor_init(&slopes, data, ATTN_F64, 1, (int64_t[]){8}));
    MUST(attn_position_alibi_slopes(&slopes));
    for (int h = 0; h < 8; h++) assert_true(data[h] == ldexp(1, -h - 1));
}

/* ----------------------------------------------------------------------------------------------- rotations */

struct turned {
    struct array from, to, positions;
    attn_rope_options options;
    int64_t b, h, t, d;
};

static int64_t position_in(const struct turned *r, int64_t b, int64_t t)
{
    if (r->options.positions == NULL) return r->options.first + t;
    return (int64_t)array_get(&r->positions, r->positions.tensor.ndim == 2 ? b * r->t + t : t);
}

/* from is what was there before the call; what is wanted, and the units by which it may be missed. */
static void reference(const struct turned *r, attn_dtype dtype, const double *from, double *want, double *error)
{
    const int64_t n = r->options.dimensions != 0 ? r->options.dimensions : r->d;
    const double base = r->options.base != 0 ? r->options.base : 10000;
    for (int64_t e = 0; e < r->b * r->h * r->t * r->d; e++) {
        const int64_t column = e % r->d, row = e - column, t = e / r->d % r->t, b = e / r->d / r->t / r->h;
        const int halves = r->options.layout == ATTN_ROPE_HALVES;
        want[e] = from[e];
        error[e] = 0;
        if (column >= n) continue;
        const int64_t i = halves ? column % (n / 2) : column / 2;
        const int second = halves ? column >= n / 2 : column % 2 != 0;
        const double a = from[row + (halves ? i : 2 * i)], c = from[row + (halves ? i + n / 2 : 2 * i + 1)];
        long double angle = (long double)position_in(r, b, t);
        angle *= powl((long double)base, -2.0L * (long double)i / (long double)n);
        if (r->options.inverse) angle = -angle;
        want[e] = (double)(second ? c * cosl(angle) + a * sinl(angle) : a * cosl(angle) - c * sinl(angle));
        error[e] = (fabs(a) + fabs(c)) * (1 + angle_error(dtype, (double)angle));
    }
}

static void check_turned(const struct turned *r, const struct array *to, const double *from, const char *what)
{
    const size_t count = (size_t)(r->b * r->h * r->t * r->d + 1);
    double *want = must_allocate(count * sizeof *want), *error = must_allocate(count * sizeof *error);
    reference(r, to->tensor.dtype, from, want, error);
    assert_close(to, want, error, 1, what);
    assert_true(array_gaps_intact(to));
    free(want), free(error);
}

static void create_positions(struct turned *r, int64_t low, int64_t high)
{
    const int64_t both[2] = {r->b, r->t};
    const int32_t ndim = rng_chance(&rng, 0.5) ? 2 : 1;
    array_create(&r->positions, rng_chance(&rng, 0.5) ? ATTN_I32 : ATTN_I64, ndim, ndim == 2 ? both : both + 1,
                 LAYOUT_INPUT, &rng);
    for (int64_t i = 0; i < array_count(&r->positions); i++) {
        array_set(&r->positions, i, (double)rng_integer(&rng, low, high));
    }
    r->options.positions = &r->positions.tensor;
    r->options.first = 0;
}

static const attn_rope_layout layouts[] = {ATTN_ROPE_INTERLEAVED, ATTN_ROPE_HALVES};

static attn_rope_options options_of(attn_rope_layout layout)
{
    attn_rope_options options = ATTN_ROPE_OPTIONS_INIT;
    options.layout = layout;
    return options;
}

static void create(struct turned *r, attn_dtype dtype, int64_t b, int64_t h, int64_t t, int64_t d, unsigned layout)
{
    const int64_t shape[4] = {b, h, t, d};
    *r = (struct turned){.options = options_of(ATTN_ROPE_INTERLEAVED), .b = b, .h = h, .t = t, .d = d};
    array_create(&r->from, dtype, 4, shape, layout, &rng);
    array_fill_normal(&r->from, &rng, 1);
    array_create(&r->to, dtype, 4, shape, layout & LAYOUT_OUTPUT, &rng);
}

static void destroy(struct turned *r)
{
    array_destroy(&r->from);
    array_destroy(&r->to);
    if (r->positions.memory != NULL) array_destroy(&r->positions);
}

static void random_options(struct turned *r)
{
    r->options.layout = layouts[rng_integer(&rng, 0, 1)];
    if (r->d % 2 != 0 || rng_chance(&rng, 0.3)) r->options.dimensions = 2 * rng_integer(&rng, 1, r->d / 2);
    if (rng_chance(&rng, 0.5)) r->options.base = rng_uniform(&rng, 0.9, 500000);
    r->options.first = rng_integer(&rng, -100, 1000);
    r->options.inverse = rng_chance(&rng, 0.3);
    if (rng_chance(&rng, 0.5)) create_positions(r, -1000, 1000);
}

static void rope_turns_pairs_by_their_angles(void **state)
{
    (void)state;
    for (int i = 0; i < (few_cases() ? 120 : 600); i++) {
        struct turned r;
        create(&r, row_dtype(), rng_integer(&rng, 1, 3), rng_integer(&rng, 1, 4), rng_integer(&rng, 1, 20),
               rng_integer(&rng, 2, 70), i % 3 ? LAYOUT_INPUT : LAYOUT_PLAIN);
        random_options(&r);
        double *from = array_read(&r.from);
        array_lower_rank(&r.from, &rng);
        array_lower_rank(&r.to, &rng);
        MUST(attn_rope(engine, &r.options, &r.from.tensor, &r.to.tensor));
        check_turned(&r, &r.to, from, "rope");
        free(from);
        destroy(&r);
    }
}

/* More pairs than a table holds; and so many positions that a table holds several, with an end. */
static void long_rows_and_long_sequences_are_turned_too(void **state)
{
    static const int64_t shapes[][4] = {{2, 3, 2, 4500}, {1, 2, 3, 2048}, {1, 2, 1000, 6},
                                        {2, 5, 67, 34},  {1, 40, 1, 64},  {2, 33, 3, 130}};
    (void)state;
    static const attn_dtype dtypes[] = {ATTN_F32, ATTN_F64, ATTN_F16, ATTN_BF16};
    for (int i = 0; i < 48; i++) {
        if (few_cases() && i % 5 != 0) continue;
        const int64_t *s = shapes[i % 6];
        struct turned r;
        create(&r, dtypes[i / 12], s[0], s[1], s[2], s[3], i % 4 < 2 ? LAYOUT_PLAIN : LAYOUT_INPUT);
        r.options.layout = layouts[i / 6 % 2];
        if (i % 3 == 0) create_positions(&r, 0, 4000);
        double *from = array_read(&r.from);
        MUST(attn_rope(engine, &r.options, &r.from.tensor, &r.to.tensor));
        check_turned(&r, &r.to, from, "long rope");
        free(from);
        destroy(&r);
    }
}

static void other_options_than_the_layout_are_those_of_the_paper(void **state)
{
    double from[2] = {1, 0}, to[2];
    attn_tensor x, y;
    (void)state;
    MUST(attn_tensor_init(&x, from, ATTN_F64, 2, (int64_t[]){1, 2}));
    MUST(attn_tensor_init(&y, to, ATTN_F64, 2, (int64_t[]){1, 2}));
    attn_rope_options options = options_of(ATTN_ROPE_INTERLEAVED);
    MUST(attn_rope(engine, &options, &x, &y));
    assert_true(to[0] == 1 && to[1] == 0);
    options.first = 2;
    MUST(attn_rope(engine, &options, &x, &y));
    assert_true(fabs(to[0] - cos(2.0)) <= 0x1p-52 && fabs(to[1] - sin(2.0)) <= 0x1p-52);
}

static void in_place_has_the_bits_of_apart(void **state)
{
    (void)state;
    for (int i = 0; i < 200; i++) {
        struct turned r;
        create(&r, row_dtype(), rng_integer(&rng, 1, 3), rng_integer(&rng, 1, 4), rng_integer(&rng, 1, 9),
               rng_integer(&rng, 2, 150), i % 3 ? LAYOUT_OUTPUT : LAYOUT_PLAIN);
        random_options(&r);
        MUST(attn_rope(engine, &r.options, &r.from.tensor, &r.to.tensor));
        attn_tensor same = r.from.tensor; /* another struct, the same view */
        MUST(attn_rope(engine, &r.options, &r.from.tensor, &same));
        assert_true(array_same_bits(&r.from, &r.to, 0, array_count(&r.to)));
        assert_true(array_gaps_intact(&r.from));
        destroy(&r);
    }
}

static void what_is_past_the_dimensions_is_copied_bit_by_bit(void **state)
{
    (void)state;
    for (int layout = 0; layout < 2; layout++) {
        float from[5] = {1, 2, -0.0f, NAN, -INFINITY}, to[5];
        attn_tensor x, y;
        attn_rope_options options = ATTN_ROPE_OPTIONS_INIT;
        const uint32_t odd = 0xffc01234;
        memcpy(&from[3], &odd, sizeof odd);
        MUST(attn_tensor_init(&x, from, ATTN_F32, 1, (int64_t[]){5}));
        MUST(attn_tensor_init(&y, to, ATTN_F32, 1, (int64_t[]){5}));
        options.layout = layouts[layout];
        options.dimensions = 2;
        options.first = 1;
        MUST(attn_rope(engine, &options, &x, &y));
        assert_memory_equal(from + 2, to + 2, 3 * sizeof *to);
        assert_true(to[0] != 1);
    }
    for (int i = 0; i < 8; i++) { /* so too with 16 bits, one after the other and not */
        const int64_t step = 1 + i / 4;
        const uint16_t rest[3] = {0x8000, 0xfe12, 0x7d34}; /* minus zero, and what is no number in either type */
        uint16_t from[10] = {0}, to[10];
        attn_rope_options options = options_of(layouts[i / 2 % 2]);
        attn_tensor x = {from, i % 2 ? ATTN_F16 : ATTN_BF16, 1, {5, 0, 0, 0}, {step, 0, 0, 0}}, y = x;
        memset(to, 0xA5, sizeof to);
        from[0] = 0x3c00;
        for (int64_t k = 0; k < 3; k++) from[(k + 2) * step] = rest[k];
        y.data = to;
        options.dimensions = 2;
        options.first = 1;
        MUST(attn_rope(engine, &options, &x, &y));
        for (int64_t k = 0; k < 3; k++) assert_int_equal(to[(k + 2) * step], rest[k]);
        assert_true(to[0] != from[0]);
        assert_int_equal(to[9], 0xA5A5);
    }
}

static double inner_product(const struct array *a, const struct array *b)
{
    double sum = 0;
    for (int64_t i = 0; i < array_count(a); i++) sum += array_get(a, i) * array_get(b, i);
    return sum;
}

static void inverse_undoes_it_and_is_the_adjoint(void **state)
{
    (void)state;
    for (int i = 0; i < 60; i++) {
        struct turned x, y;
        const attn_dtype dtype = some_dtype();
        create(&x, dtype, 2, 3, 5, 2 * rng_integer(&rng, 1, 40), LAYOUT_PLAIN);
        create(&y, dtype, 2, 3, 5, x.d, LAYOUT_PLAIN);
        random_options(&x);
        x.options.inverse = 0;
        attn_rope_options back = x.options;
        back.inverse = 1;
        MUST(attn_rope(engine, &x.options, &x.from.tensor, &x.to.tensor));
        MUST(attn_rope(engine, &back, &y.from.tensor, &y.to.tensor));
        const double turned = inner_product(&x.to, &y.from), gradient = inner_product(&x.from, &y.to);
        assert_true(fabs(turned - gradient) <= 16 * dtype_epsilon(dtype) * (double)array_count(&x.from));

        double *want = array_read(&x.from);
        MUST(attn_rope(engine, &back, &x.to.tensor, &x.to.tensor));
        double *size = must_allocate((size_t)array_count(&x.from) * sizeof *size);
        for (int64_t e = 0; e < array_count(&x.from); e++) size[e] = 5; /* of a normal number, and its pair's */
        assert_close(&x.to, want, size, 4, "turned back");
        free(want), free(size);
        destroy(&x), destroy(&y);
    }
}

/* The angle of pair 0 is the position: no frequency is in the way. */
static void a_million_is_as_exact_as_one(void **state)
{
    static const int64_t positions[] = {1,
                                        2,
                                        3,
                                        100,
                                        -1000000,
                                        1000000,
                                        8388607,
                                        8388608,
                                        8388609,
                                        -8388610,
                                        13176794, /* near a whole number of quarter turns: 8388608 of them */
                                        INT64_C(1) << 31,
                                        (INT64_C(1) << 40) + 1,
                                        INT64_C(1) << 53,
                                        -(INT64_C(1) << 53)};
    (void)state;
    for (size_t i = 0; i < sizeof positions / sizeof *positions; i++) {
        const long double c = cosl((long double)positions[i]), s = sinl((long double)positions[i]);
        float from[2] = {1, 0}, to[2];
        double wide_from[2] = {1, 0}, wide[2];
        attn_tensor x, y;
        attn_rope_options options = options_of(ATTN_ROPE_HALVES);
        options.first = positions[i];
        MUST(attn_tensor_init(&x, from, ATTN_F32, 1, (int64_t[]){2}));
        MUST(attn_tensor_init(&y, to, ATTN_F32, 1, (int64_t[]){2}));
        MUST(attn_rope(engine, &options, &x, &y));
        assert_true(to[0] == (float)c && to[1] == (float)s);
        x.data = wide_from, x.dtype = ATTN_F64;
        y.data = wide, y.dtype = ATTN_F64;
        MUST(attn_rope(engine, &options, &x, &y));
        if (sizeof c == sizeof *wide) continue; /* what is wanted is not known better */
        assert_true(fabsl(wide[0] - c) <= 0x1p-52L && fabsl(wide[1] - s) <= 0x1p-52L);
    }
}

/* All of a row in float32, in which 2 roundings of 2^-24 and what little an angle of 10^6 is off are seen. */
static void rows_at_a_million_are_exact(void **state)
{
    (void)state;
    for (int layout = 0; layout < 2; layout++) {
        struct turned r;
        create(&r, ATTN_F32, 1, 2, 30, 128, LAYOUT_PLAIN);
        r.options.first = 1000000;
        r.options.layout = layouts[layout];
        double *from = array_read(&r.from), want[2 * 30 * 128], error[2 * 30 * 128];
        MUST(attn_rope(engine, &r.options, &r.from.tensor, &r.to.tensor));
        reference(&r, ATTN_F64, from, want, error);
        for (size_t e = 0; e < sizeof want / sizeof *want; e++) error[e] = 1e-10 / 0x1p-23 + 6;
        assert_close(&r.to, want, error, 1, "at a million");
        free(from);
        destroy(&r);
    }
}

static double score(attn_dtype dtype, const struct array *q, const struct array *k, int64_t m, int64_t n,
                    attn_rope_layout layout)
{
    struct array turned_q, turned_k;
    attn_rope_options options = options_of(layout);
    array_create(&turned_q, dtype, 1, q->tensor.shape, LAYOUT_PLAIN, NULL);
    array_create(&turned_k, dtype, 1, q->tensor.shape, LAYOUT_PLAIN, NULL);
    options.first = m;
    MUST(attn_rope(engine, &options, &q->tensor, &turned_q.tensor));
    options.first = n;
    MUST(attn_rope(engine, &options, &k->tensor, &turned_k.tensor));
    const double product = inner_product(&turned_q, &turned_k);
    array_destroy(&turned_q), array_destroy(&turned_k);
    return product;
}

static void a_score_depends_on_the_distance_alone(void **state)
{
    (void)state;
    for (int i = 0; i < 100; i++) {
        const attn_dtype dtype = some_dtype();
        const int64_t dim = 2 * rng_integer(&rng, 1, 64), m = rng_integer(&rng, 0, 500), n = rng_integer(&rng, 0, 500);
        const int64_t shift = rng_integer(&rng, -3000, 3000);
        struct array q, k;
        array_create(&q, dtype, 1, &dim, LAYOUT_PLAIN, NULL);
        array_create(&k, dtype, 1, &dim, LAYOUT_PLAIN, NULL);
        array_fill_normal(&q, &rng, 1), array_fill_normal(&k, &rng, 1);
        const double here = score(dtype, &q, &k, m, n, layouts[i % 2]),
                     there = score(dtype, &q, &k, m + shift, n + shift, layouts[i % 2]);
        const double size = sqrt(inner_product(&q, &q) * inner_product(&k, &k));
        const double unit = dtype == ATTN_F32 ? dtype_epsilon(dtype) : 0x1p-40; /* angles of 3500 are off by 2^-41 */
        if (fabs(here - there) > 8 * unit * size) fail_msg("%.17g here, %.17g there", here, there);
        if (i < 50 && dim > 8 && m != n) { /* and on the distance indeed */
            assert_true(fabs(here - score(dtype, &q, &k, m, m, layouts[i % 2])) > 1e-6);
        }
        array_destroy(&q), array_destroy(&k);
    }
}

static void a_row_is_the_same_however_its_position_is_given(void **state)
{
    (void)state;
    for (int i = 0; i < 40; i++) {
        struct turned r;
        const int64_t start = rng_integer(&rng, -50, 9000000);
        create(&r, row_dtype(), 2, 3, 37, 2 * rng_integer(&rng, 1, 70), LAYOUT_PLAIN);
        r.options.layout = layouts[i % 2];
        r.options.first = start;
        MUST(attn_rope(engine, &r.options, &r.from.tensor, &r.to.tensor));
        struct array given = r.to;
        given.memory = must_allocate(given.bytes);
        given.tensor.data = given.memory + ((unsigned char *)r.to.tensor.data - r.to.memory);
        array_create(&r.positions, i % 4 < 2 ? ATTN_I32 : ATTN_I64, 2, (int64_t[]){2, 37}, LAYOUT_OUTPUT, &rng);
        r.options.positions = &r.positions.tensor;
        r.options.first = 0;
        for (int64_t e = 0; e < array_count(&r.positions); e++) array_set(&r.positions, e, (double)(start + e % r.t));
        MUST(attn_rope(engine, &r.options, &r.from.tensor, &given.tensor));
        assert_true(array_same_bits(&r.to, &given, 0, array_count(&given)));

        attn_tensor row = r.from.tensor, alone = given.tensor; /* decoding: the last row of each head */
        const int64_t size = row.dtype == ATTN_F32 ? 4 : row.dtype == ATTN_F64 ? 8 : 2, last = r.t - 1;
        row.data = (char *)row.data + last * row.stride[2] * size;
        alone.data = (char *)alone.data + last * alone.stride[2] * size;
        row.shape[2] = alone.shape[2] = 1;
        array_fill(&given, 0);
        r.options.positions = NULL;
        r.options.first = start + last;
        MUST(attn_rope(engine, &r.options, &row, &alone));
        for (int64_t e = 0; e < array_count(&given); e++) {
            if (e / r.d % r.t == last) assert_true(array_same_bits(&r.to, &given, e, 1));
        }
        free(given.memory);
        destroy(&r);
    }
}

static void of_nothing_nothing_is_turned(void **state)
{
    static const int64_t shapes[][4] = {{0, 2, 3, 4}, {2, 0, 3, 4}, {2, 2, 0, 4}, {2, 2, 3, 0}};
    (void)state;
    attn_rope_options options = options_of(ATTN_ROPE_INTERLEAVED);
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        attn_tensor nothing;
        MUST(attn_tensor_init(&nothing, NULL, ATTN_F32, 4, shapes[i]));
        MUST(attn_rope(engine, &options, &nothing, &nothing));
    }
    int32_t one = 7; /* the position of very many rows of no heads */
    attn_tensor positions = {&one, ATTN_I32, 1, {INT64_C(1) << 50, 0, 0, 0}, {0, 0, 0, 0}};
    attn_tensor rows = {NULL, ATTN_F32, 3, {0, INT64_C(1) << 50, 4, 0}, {0, 4, 1, 0}};
    options.positions = &positions;
    MUST(attn_rope(engine, &options, &rows, &rows));
}

/* --------------------------------------------------------------------------------------- threads and memory */

static attn_status run_rope(attn_engine *on, void *data)
{
    struct turned *r = data;
    return attn_rope(on, &r->options, &r->from.tensor, &r->to.tensor);
}

static void threads_change_no_bit_of_a_rotation(void **state)
{
    static const int64_t shapes[][4] = {{2, 6, 300, 64}, {64, 32, 1, 70}, {1, 3, 40, 4200}, {3, 16, 9, 512}};
    (void)state;
    for (int i = 0; i < 16; i++) {
        const int64_t *s = shapes[i % 4];
        struct turned r;
        const attn_dtype dtype = i % 7 == 5 ? ATTN_F16 : i % 7 == 6 ? ATTN_BF16 : i % 3 ? ATTN_F32 : ATTN_F64;
        create(&r, dtype, s[0], s[1], s[2], s[3], i < 8 ? LAYOUT_PLAIN : LAYOUT_INPUT);
        r.options.layout = layouts[i / 4 % 2];
        if (i % 5 < 2) create_positions(&r, 0, 10000);
        assert_int_equal(assert_threads_change_no_bit(&(struct own_call){run_rope, &r, {&r.to, NULL}}), 1);
        destroy(&r);
    }
}

static void rope_without_memory_writes_nothing(void **state)
{
    (void)state;
    for (int i = 0; i < 8; i++) {
        const attn_dtype dtype = i < 4 ? ATTN_F32 : ATTN_F16;
        struct turned r;
        create(&r, dtype, 2, 3, 99, 64, i % 2 ? LAYOUT_OUTPUT : LAYOUT_PLAIN);
        if (i % 4 < 2) create_positions(&r, 0, 100);
        assert_int_equal(assert_failures_touch_nothing(&(struct own_call){run_rope, &r, {&r.to, NULL}}), 1);
        destroy(&r);
        create(&r, dtype, 2, 3, 9, 10, i % 2 ? LAYOUT_OUTPUT : LAYOUT_PLAIN); /* few numbers: it asks for none */
        assert_int_equal(assert_failures_touch_nothing(&(struct own_call){run_rope, &r, {&r.to, NULL}}), 0);
        destroy(&r);
    }
}

/* ----------------------------------------------------------------------------------------------- bad input */

struct bad {
    float from[2 * 3 * 4], to[2 * 3 * 4];
    int64_t at[3];
    attn_tensor x, y, positions;
    attn_rope_options options;
    unsigned char tail[16];
    attn_tensor *from_given, *to_given;
    attn_engine *engine;
    attn_rope_options *options_given;
};

static void bad_create(struct bad *bad)
{
    memset(bad, 0, sizeof *bad);
    bad->options = options_of(ATTN_ROPE_INTERLEAVED);
    MUST(attn_tensor_init(&bad->x, bad->from, ATTN_F32, 3, (int64_t[]){2, 3, 4}));
    MUST(attn_tensor_init(&bad->y, bad->to, ATTN_F32, 3, (int64_t[]){2, 3, 4}));
    MUST(attn_tensor_init(&bad->positions, bad->at, ATTN_I64, 1, (int64_t[]){3}));
    for (int i = 0; i < 24; i++) bad->from[i] = 1, bad->to[i] = -7;
    bad->from_given = &bad->x, bad->to_given = &bad->y, bad->engine = engine, bad->options_given = &bad->options;
}

#define REFUSED(status, word, ...)                                                                                     \
    do {                                                                                                               \
        bad_create(&b);                                                                                                \
        __VA_ARGS__;                                                                                                   \
        struct bad before = b;                                                                                         \
        attn_status got = attn_rope(b.engine, b.options_given, b.from_given, b.to_given);                              \
        check_refused(got, status, "attn_rope", word, #__VA_ARGS__);                                                   \
        assert_memory_equal(&before, &b, sizeof b);                                                                    \
    } while (0)

static void check_refused(attn_status got, attn_status wanted, const char *function, const char *word, const char *what)
{
    if (got != wanted) fail_msg("%s: %s", what, attn_status_string(got));
    if (strncmp(attn_last_error(), function, strlen(function)) != 0 || strstr(attn_last_error(), word) == NULL) {
        fail_msg("%s: %s", what, attn_last_error());
    }
}

static void rope_refuses_what_is_wrong_and_touches_nothing(void **state)
{
    static struct bad b;
    (void)state;
    bad_create(&b);
    MUST(attn_rope(b.engine, b.options_given, b.from_given, b.to_given));
    REFUSED(ATTN_ERR_ARGUMENT, "engine", b.engine = NULL);
    REFUSED(ATTN_ERR_ARGUMENT, "options is NULL", b.options_given = NULL);
    REFUSED(ATTN_ERR_ARGUMENT, "from", b.from_given = NULL);
    REFUSED(ATTN_ERR_ARGUMENT, "to", b.to_given = NULL);
    REFUSED(ATTN_ERR_STRUCT_SIZE, "struct_size", b.options.struct_size = 0);
    REFUSED(ATTN_ERR_STRUCT_SIZE, "struct_size", b.options.struct_size -= 1);
    REFUSED(ATTN_ERR_STRUCT_SIZE, "struct_size", b.options.struct_size += 8; b.tail[7] = 1);
    REFUSED(ATTN_ERR_ARGUMENT, "layout is not set", b.options.layout = 0);
    REFUSED(ATTN_ERR_ARGUMENT, "layout", b.options.layout = 3);
    REFUSED(ATTN_ERR_ARGUMENT, "layout", b.options.layout = -1);
    REFUSED(ATTN_ERR_ARGUMENT, "dimensions", b.options.dimensions = -2);
    REFUSED(ATTN_ERR_ARGUMENT, "dimensions", b.options.dimensions = 3);
    REFUSED(ATTN_ERR_ARGUMENT, "dimensions", b.options.dimensions = 6);
    REFUSED(ATTN_ERR_ARGUMENT, "dimensions", b.options.dimensions = INT64_MIN);
    REFUSED(ATTN_ERR_ARGUMENT, "base", b.options.base = -1);
    REFUSED(ATTN_ERR_ARGUMENT, "base", b.options.base = NAN);
    REFUSED(ATTN_ERR_ARGUMENT, "base", b.options.base = INFINITY);
    REFUSED(ATTN_ERR_ARGUMENT, "inverse", b.options.inverse = 2);
    REFUSED(ATTN_ERR_ARGUMENT, "reserved", b.options.reserved = 1);
    REFUSED(ATTN_ERR_ARGUMENT, "first", b.options.first = (INT64_C(1) << 53) - 1);
    REFUSED(ATTN_ERR_ARGUMENT, "first", b.options.first = INT64_MAX);
    REFUSED(ATTN_ERR_ARGUMENT, "first", b.options.first = INT64_MIN);
    REFUSED(ATTN_ERR_ARGUMENT, "first", b.options.first = 1; b.options.positions = &b.positions);
    REFUSED(ATTN_ERR_ARGUMENT, "positions", b.at[2] = (INT64_C(1) << 53) + 1; b.options.positions = &b.positions);
    REFUSED(ATTN_ERR_ARGUMENT, "positions", b.at[1] = INT64_MIN; b.options.positions = &b.positions);
    REFUSED(ATTN_ERR_DTYPE, "positions", b.positions.dtype = ATTN_F64; b.options.positions = &b.positions);
    REFUSED(ATTN_ERR_SHAPE, "positions", b.positions.shape[0] = 2; b.options.positions = &b.positions);
    REFUSED(ATTN_ERR_SHAPE, "positions", b.positions.ndim = 3; b.options.positions = &b.positions);
    REFUSED(ATTN_ERR_ARGUMENT, "positions", b.positions.data = NULL; b.options.positions = &b.positions);
    REFUSED(ATTN_ERR_DTYPE, "from", b.x.dtype = ATTN_I32);
    REFUSED(ATTN_ERR_DTYPE, "to", b.y.dtype = ATTN_F64; b.y.data = b.at; b.y.shape[0] = 0);
    REFUSED(ATTN_ERR_SHAPE, "to", b.y.shape[1] = 2);
    REFUSED(ATTN_ERR_SHAPE, "to", b.y.ndim = 2; b.y.shape[0] = 3; b.y.shape[1] = 4);
    REFUSED(ATTN_ERR_SHAPE, "from", b.x.ndim = 5);
    REFUSED(ATTN_ERR_SHAPE, "from", b.x.shape[2] = b.y.shape[2] = 3);
    REFUSED(ATTN_ERR_OVERFLOW, "from", b.x.stride[0] = INT64_MAX);
    REFUSED(ATTN_ERR_OVERLAP, "to", b.y.stride[1] = 0);
    REFUSED(ATTN_ERR_OVERLAP, "to shares memory with from", b.y.data = b.from + 4);
    REFUSED(ATTN_ERR_OVERLAP, "to shares memory with from", b.y.data = b.from; b.y.stride[0] = 4; b.y.stride[1] = 8);
    REFUSED(ATTN_ERR_OVERLAP, "to shares memory with positions", b.positions.data = b.to; b.positions.dtype = ATTN_I32;
            b.to[0] = b.to[1] = b.to[2] = 0; b.options.positions = &b.positions);
}

static void tables_refuse_what_is_wrong_and_touch_nothing(void **state)
{
    static const struct {
        attn_dtype dtype;
        int32_t ndim;
        int64_t shape[2], stride[2], first;
        double base;
        attn_status status;
        const char *word;
    } rows[] = {
        {ATTN_I32, 2, {2, 4}, {4, 1}, 0, 10000, ATTN_ERR_DTYPE, "table"},
        {ATTN_F32, 3, {2, 4}, {4, 1}, 0, 10000, ATTN_ERR_SHAPE, "table"},
        {ATTN_F32, 2, {2, -4}, {4, 1}, 0, 10000, ATTN_ERR_SHAPE, "table"},
        {ATTN_F32, 2, {2, 4}, {0, 1}, 0, 10000, ATTN_ERR_OVERLAP, "table"},
        {ATTN_F32, 2, {2, 4}, {INT64_MAX, 1}, 0, 10000, ATTN_ERR_OVERFLOW, "table"},
        {ATTN_F32, 2, {2, 4}, {4, 1}, 0, 0, ATTN_ERR_ARGUMENT, "base"},
        {ATTN_F32, 2, {2, 4}, {4, 1}, 0, -10000, ATTN_ERR_ARGUMENT, "base"},
        {ATTN_F32, 2, {2, 4}, {4, 1}, 0, 1e300, ATTN_ERR_ARGUMENT, "base"},
        {ATTN_F32, 2, {2, 4}, {4, 1}, INT64_C(1) << 53, 10000, ATTN_ERR_ARGUMENT, "first"},
        {ATTN_F32, 2, {2, 4}, {4, 1}, INT64_MAX, 10000, ATTN_ERR_ARGUMENT, "first"},
        {ATTN_F32, 2, {2, 4}, {4, 1}, INT64_MIN, 10000, ATTN_ERR_ARGUMENT, "first"},
    };
    float data[8] = {1, 2, 3, 4, 5, 6, 7, 8}, before[8];
    attn_tensor t;
    (void)state;
    memcpy(before, data, sizeof data);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        t = (attn_tensor){data, rows[i].dtype, rows[i].ndim, {0}, {0}};
        memcpy(t.shape, rows[i].shape, sizeof rows[i].shape);
        memcpy(t.stride, rows[i].stride, sizeof rows[i].stride);
        check_refused(attn_position_sinusoidal(&t, rows[i].first, rows[i].base), rows[i].status,
                      "attn_position_sinusoidal", rows[i].word, rows[i].word);
        assert_memory_equal(before, data, sizeof data);
    }
    check_refused(attn_position_sinusoidal(NULL, 0, 10000), ATTN_ERR_ARGUMENT, "attn_position_sinusoidal", "table", "");
    check_refused(attn_position_alibi_slopes(NULL), ATTN_ERR_ARGUMENT, "attn_position_alibi_slopes", "slopes", "");
    t = (attn_tensor){data, ATTN_F32, 2, {2, 4, 0, 0}, {4, 1, 0, 0}};
    check_refused(attn_position_alibi_slopes(&t), ATTN_ERR_SHAPE, "attn_position_alibi_slopes", "slopes", "rank");
    t = (attn_tensor){data, ATTN_I64, 1, {2, 0, 0, 0}, {1, 0, 0, 0}};
    check_refused(attn_position_alibi_slopes(&t), ATTN_ERR_DTYPE, "attn_position_alibi_slopes", "slopes", "dtype");
    t = (attn_tensor){data, ATTN_F32, 1, {2, 0, 0, 0}, {0, 0, 0, 0}};
    check_refused(attn_position_alibi_slopes(&t), ATTN_ERR_OVERLAP, "attn_position_alibi_slopes", "slopes", "stride");
    assert_memory_equal(before, data, sizeof data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sinusoids_are_those_of_the_paper),
        cmocka_unit_test(the_first_sinusoid_is_of_the_position_itself),
        cmocka_unit_test(alibi_slopes_are_those_of_the_released_code),
        cmocka_unit_test(eight_heads_have_slopes_from_a_half_to_a_256th),
        cmocka_unit_test(rope_turns_pairs_by_their_angles),
        cmocka_unit_test(long_rows_and_long_sequences_are_turned_too),
        cmocka_unit_test(other_options_than_the_layout_are_those_of_the_paper),
        cmocka_unit_test(in_place_has_the_bits_of_apart),
        cmocka_unit_test(what_is_past_the_dimensions_is_copied_bit_by_bit),
        cmocka_unit_test(inverse_undoes_it_and_is_the_adjoint),
        cmocka_unit_test(a_million_is_as_exact_as_one),
        cmocka_unit_test(rows_at_a_million_are_exact),
        cmocka_unit_test(a_score_depends_on_the_distance_alone),
        cmocka_unit_test(a_row_is_the_same_however_its_position_is_given),
        cmocka_unit_test(of_nothing_nothing_is_turned),
        cmocka_unit_test(threads_change_no_bit_of_a_rotation),
        cmocka_unit_test(rope_without_memory_writes_nothing),
        cmocka_unit_test(rope_refuses_what_is_wrong_and_touches_nothing),
        cmocka_unit_test(tables_refuse_what_is_wrong_and_touch_nothing),
    };
    return cmocka_run_group_tests_name("position", tests, engine_setup, engine_teardown);
}
