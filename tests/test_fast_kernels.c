/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test_fast_kernels.c: the kernels of fast precision one by one, where the CPU has them, against float64. For the error
 * bounds see test_tile_kernels.c: what is rounded to another type first is known, and comes to them. */
#include "fenced.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { MOST = 130, LONG = 1100, FEW = ATTN_I_FEW };

static const int64_t counts[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 13, 15, 16, 17, 31, 32, 33, 64, 70, 126, 127, 128};
static const int64_t deep[] = {127, 128, 129, 510, 511, 512, 513, 514, 575, 576, 1023, 1024, 1025, LONG};

static const attn_i_stored_kernels *stored, *halves;
static const attn_i_fast_kernels *fast;

static int is_integer(void)
{
    return stored->store == NULL;
}

static float magnitude_of(const float *row, int64_t n)
{
    float most = 0;
    for (int64_t i = 0; i < n; i++) most = fmaxf(most, fabsf(row[i]));
    return most;
}

/* ------------------------------------------------------------------------------------------- few queries */

/* What an element of a row is off by when it becomes a whole number, as multiples of the row's greatest: half a step,
 * and what the division errs by. Elements of bfloat16 stay as they are. */
static double step_of(const float *row, int64_t n)
{
    return is_integer() ? 0.51 / 32767 * (double)magnitude_of(row, n) : 0;
}

static float queries[FEW * LONG], keys[MOST * LONG];
static double want[FEW * LONG], error[FEW * LONG];

static void expect_row_products(int64_t depth, int64_t count)
{
    for (int64_t i = 0; i < FEW; i++) {
        const double step = step_of(queries + i * LONG, depth);
        for (int64_t j = 0; j < count; j++) {
            double sum = 0, magnitude = 0, all = 0;
            for (int64_t d = 0; d < depth; d++) {
                const double key = (double)keys[j * LONG + d], product = (double)queries[i * LONG + d] * key;
                sum += product;
                magnitude += fabs(product);
                all += fabs(key);
            }
            want[i * MOST + j] = sum;
            error[i * MOST + j] = (double)(depth + 4) * UNIT * (1 + 1e-4) * magnitude + step * all;
        }
    }
}

static void check_row_products(int64_t depth, int64_t count, int64_t rows)
{
    const int64_t to_stride = count + 1 + rows % 3, end = count > 0 ? (rows - 1) * to_stride + count : 0;
    const attn_i_rows q = fenced_rows(0, queries, LONG, rows, depth, depth + rows % 2 * 3);
    const attn_i_stored_rows k = fenced_stored(stored, 1, keys, LONG, count, depth, depth + count % 3);
    float *to = fenced(2, end);
    fast->rows->products(depth, q, rows, &k, count, to, to_stride);
    assert_rows(to, end, rows, to_stride, 0, count, want, error, MOST,
                (doing){"fast row_products", {depth, count, rows, 0, 0}});
}

static void row_products_are_sums_of_products(void **state)
{
    (void)state;
    fill_numbers(queries, FEW * LONG, 1, -1, 1);
    fill_numbers(keys, MOST * LONG, 2, -1, 1);
    round_to(stored, keys, MOST * LONG);
    if (!is_integer()) round_to(stored, queries, FEW * LONG);
    for (int64_t depth = 0; depth <= 70; depth++) {
        expect_row_products(depth, MOST);
        for
            EACH(int64_t, count, counts)
            {
                for (int64_t rows = 1; rows <= FEW; rows++) check_row_products(depth, *count, rows);
            }
    }
    for
        EACH(int64_t, depth, deep)
        {
            expect_row_products(*depth, 18);
            for (int64_t count = 0; count <= 18; count++) {
                for (int64_t rows = 1; rows <= (*depth > 600 ? 7 : FEW); rows++) {
                    check_row_products(*depth, count, rows);
                }
            }
        }
}

/* The greatest sums that there are, of all signs: whole numbers hold them. */
static void row_products_do_not_overflow(void **state)
{
    (void)state;
    for (int sign = -1; sign <= 1; sign += 2) {
        for (int64_t i = 0; i < FEW * LONG; i++) queries[i] = (float)(i / LONG % 2 == 0 ? sign : -sign);
        for (int64_t i = 0; i < MOST * LONG; i++) keys[i] = i / LONG % 3 == 0 ? 127.0f : -128.0f;
        for
            EACH(int64_t, depth, deep)
            {
                expect_row_products(*depth, 18);
                for (int64_t rows = 1; rows <= 7; rows++) check_row_products(*depth, 18, rows);
            }
    }
}

static float weights_of_rows[FEW * LONG], values[MOST * LONG], before_of_rows[FEW * LONG];

/* A weight as it meets values, and what it may be off by besides. */
static double weight_at(int64_t i, int64_t j)
{
    float weight = weights_of_rows[i * LONG + j];
    if (!is_integer()) round_to(stored, &weight, 1);
    return (double)weight;
}

static void expect_row_context(int64_t count, int64_t dim)
{
    for (int64_t i = 0; i < FEW; i++) {
        const double step = step_of(weights_of_rows + i * LONG, count);
        for (int64_t d = 0; d < dim; d++) {
            double sum = (double)before_of_rows[i * LONG + d], magnitude = fabs(sum), all = 0;
            for (int64_t j = 0; j < count; j++) {
                const double value = (double)values[j % MOST * LONG + d], product = weight_at(i, j) * value;
                sum += product;
                magnitude += fabs(product);
                all += fabs(value);
            }
            want[i * LONG + d] = sum;
            error[i * LONG + d] = (double)(count + 4) * UNIT * (1 + 1e-4) * magnitude + step * all;
        }
    }
}

static void check_row_context(int64_t count, int64_t dim, int64_t rows)
{
    const attn_i_rows w = fenced_rows(0, weights_of_rows, LONG, rows, count, count + rows % 2 * 3);
    const attn_i_stored_rows v = fenced_stored(stored, 1, values, LONG, count, dim, dim + count % 3);
    const attn_i_rows context = fenced_rows(2, before_of_rows, LONG, rows, dim, dim);
    fast->rows->context(count, w, rows, &v, dim, (float *)context.data);
    assert_rows(context.data, rows * dim, rows, dim > 0 ? dim : 1, 0, dim, want, error, LONG,
                (doing){"fast row_context", {count, dim, rows, 0, 0}});
}

static void fill_context(double least)
{
    fill_numbers(weights_of_rows, FEW * LONG, 3, least, 1);
    fill_numbers(values, MOST * LONG, 4, -1, 1);
    round_to(stored, values, MOST * LONG);
    fill_numbers(before_of_rows, FEW * LONG, 5, -4, 4);
}

static void row_context_is_added_to(void **state)
{
    static const int64_t wide[] = {127, 128, 129, 512, 513, 528, 1000, 1003};
    (void)state;
    fill_context(0);
    for
        EACH(int64_t, count, counts)
        {
            expect_row_context(*count, 70);
            for (int64_t dim = 0; dim <= 70; dim++) {
                for (int64_t rows = 1; rows <= FEW; rows++) check_row_context(*count, dim, rows);
            }
        }
    fill_context(-1); /* where scales of integers are negative, weights are */
    for (int64_t count = 0; count <= 18; count++) {
        expect_row_context(count, 1003);
        for
            EACH(int64_t, dim, wide)
            {
                for (int64_t rows = 1; rows <= 7; rows++) check_row_context(count, *dim, rows);
            }
    }
}

/* More weights than whole numbers can add up at a time; values of one element, the greatest. */
static void row_context_does_not_overflow(void **state)
{
    static const int64_t many[] = {511, 512, 513, 1024, 1025, 1090};
    enum { WITHIN = 3 }; /* no more, or parts would be shorter */
    (void)state;
    static float long_values[LONG * WITHIN];
    for (int sign = -1; sign <= 1; sign += 2) {
        for (int64_t i = 0; i < LONG * WITHIN; i++) long_values[i] = -128.0f;
        for (int64_t i = 0; i < FEW * LONG; i++) weights_of_rows[i] = (float)(i / LONG % 2 == 0 ? sign : -sign);
        memset(before_of_rows, 0, sizeof before_of_rows);
        for
            EACH(int64_t, count, many)
            {
                for (int64_t rows = 1; rows <= 7; rows++) {
                    const attn_i_rows w = fenced_rows(0, weights_of_rows, LONG, rows, *count, *count);
                    const attn_i_stored_rows v = fenced_stored(stored, 1, long_values, WITHIN, *count, WITHIN, WITHIN);
                    const attn_i_rows context = fenced_rows(2, before_of_rows, LONG, rows, WITHIN, WITHIN);
                    fast->rows->context(*count, w, rows, &v, WITHIN, (float *)context.data);
                    for (int64_t i = 0; i < rows * WITHIN; i++) {
                        const double sum = -128.0 * (double)*count * (i / WITHIN % 2 == 0 ? sign : -sign);
                        want[i / WITHIN * LONG + i % WITHIN] = sum;
                        error[i / WITHIN * LONG + i % WITHIN] = fabs(sum) * 0x1p-20;
                    }
                    assert_rows(context.data, rows * WITHIN, rows, WITHIN, 0, WITHIN, want, error, LONG,
                                (doing){"fast row_context", {*count, WITHIN, rows, 0, 0}});
                }
            }
    }
}

/* Rows of which some part that is multiplied at a time has nothing, or next to nothing, of what the others have. */
static void set_parts(float *rows, int64_t small, double size)
{
    for (int64_t i = 0; i < FEW; i++) {
        memset(rows + i * LONG, 0, LONG * sizeof *rows);
        rows[i * LONG + 1] = (float)(i % 2 == 0 ? 0x1p-100 : -0x1p-100);
        rows[i * LONG + small] = (float)size;
    }
}

static void allow_subnormal_products(int64_t n, int64_t count)
{
    for (int64_t i = 0; i < n && !is_integer(); i++) error[i] += (double)count * 0x1p-126;
}

static void rows_have_parts_of_any_size(void **state)
{
    static const double sizes[] = {0, 0x1p-90, 0x1p-101, 0x1p-112, 0x1p-113, 0x1p-114, 0x1p-120, 0x1p-126, 0x1p-140};
    enum { COUNT = 112, DIM = 65, KEYS = 18 }; /* such values are multiplied with 56 weights at a time */
    (void)state;
    fill_context(0);
    memset(before_of_rows, 0, sizeof before_of_rows);
    fill_numbers(keys, MOST * LONG, 2, -1, 1);
    round_to(stored, keys, MOST * LONG);
    for
        EACH(double, size, sizes)
        {
            set_parts(weights_of_rows, 60, *size);
            expect_row_context(COUNT, DIM);
            allow_subnormal_products(FEW * LONG, COUNT);
            for (int64_t rows = 1; rows <= FEW; rows++) check_row_context(COUNT, DIM, rows);
            set_parts(queries, 700, *size);
            expect_row_products(LONG, KEYS);
            allow_subnormal_products(FEW * LONG, LONG);
            for (int64_t rows = 1; rows <= 7; rows++) check_row_products(LONG, KEYS, rows);
        }
}

static void the_sum_of_rounded_weights_is_what_they_are(void **state)
{
    (void)state;
    if (fast->rows->rounded_sum == NULL) return;
    fill_numbers(weights_of_rows, LONG, 9, 0, 1);
    double sum = 0;
    for (int64_t n = 0; n <= 300; n++) {
        const attn_i_rows row = fenced_rows(0, weights_of_rows, LONG, 1, n, n);
        const double got = (double)fast->rows->rounded_sum(n, row.data);
        if (!(fabs(got - sum) <= (double)(n + 1) * UNIT * sum)) fail_msg("%d: %.9g, not %.9g", (int)n, got, sum);
        sum += weight_at(0, n);
    }
}

/* ------------------------------------------------------------------------------------------------- tiles */

static const int64_t tile_depths[] = {0,  1,  2,  3,  4,  5,  6,  7,  8,   9,   10,  11,  12,  13,  16,
                                      31, 32, 33, 63, 64, 65, 70, 96, 127, 128, 129, 511, 514, 600, 601};

static expectation e;
static float rows_of_lanes[LANES * LONG], factor;

/* Rows of queries, each alone at the end of a page in turn, become lanes. */
static float *load_queries(int64_t lanes, int64_t depth)
{
    const attn_i_stored_rows q = fenced_stored(halves, 3, rows_of_lanes, LONG, lanes, depth, depth + depth % 3);
    const void *rows[LANES];
    for (int64_t l = 0; l < lanes; l++) rows[l] = (const char *)q.data + l * q.stride * halves->size;
    const int64_t spans = (lanes + SPAN - 1) / SPAN, in_lanes = (depth + 1) / 2 + 1;
    float *to = fenced(4, (in_lanes - 1) * LANES + spans * SPAN);
    fast->tile->load_queries(lanes, depth, rows, factor, to);
    for (int64_t d = 0; d < in_lanes - 1; d++) {
        for (int64_t l = spans * SPAN; l < LANES; l++) assert_true(is_untouched(to + d * LANES + l));
    }
    return to;
}

static void expect_tile_products(int64_t depth, int64_t lanes)
{
    for (int64_t at = 0; at < (int64_t)MOST_ROWS * LANES; at++) {
        const int64_t j = at / LANES, l = at % LANES;
        double sum = 0, magnitude = 0;
        for (int64_t d = 0; d < depth && l < lanes; d++) {
            const double product = (double)keys[j * LONG + d] * (double)rows_of_lanes[l * LONG + d];
            sum += product;
            magnitude += fabs(product);
        }
        e.want[at] = sum * (double)factor;
        e.error[at] = (double)(depth + 2) * UNIT * (1 + 1e-4) * magnitude * fabs((double)factor);
    }
}

static void fill_tile(void)
{
    fill_numbers(rows_of_lanes, LANES * LONG, 11, -1, 1);
    fill_numbers(keys, MOST * LONG, 12, -1, 1);
    round_to(halves, rows_of_lanes, LANES * LONG);
    round_to(halves, keys, MOST * LONG);
    factor = 0.37f;
}

/* Keys are counted from the first of some, which are not always the first. */
static int64_t first_of(int64_t count)
{
    return count < MOST_ROWS ? count % 3 : 0;
}

static void tile_products_are_sums_of_products(void **state)
{
    (void)state;
    if (fast->tile == NULL) return;
    fill_tile();
    for
        EACH(int64_t, depth, tile_depths)
        {
            const int64_t lanes = *depth % 5 == 0 ? LANES : 1 + *depth * 7 % LANES;
            const attn_i_spans all = {0, (int)((lanes + SPAN - 1) / SPAN)};
            expect_tile_products(*depth, lanes);
            const float *own = load_queries(lanes, *depth);
        for
            EACH(int64_t, count, counts)
            {
            for
                EACH_SPANS(s)
                {
                    const int64_t first = first_of(*count), n = tile_elements(*count, s);
                    if (s.end > all.end || (*depth > 300 && *count > 60)) continue;
                    const attn_i_stored_rows k =
                        fenced_stored(halves, 1, keys, LONG, *count + first, *depth, *depth + *count % 3);
                    float *to = fenced(2, n);
                    fast->tile->products(*depth, own, k, first, *count, s, to);
                    assert_rows(to, n, *count, LANES, lane_of(s.first), lane_of(s.end), e.want + first * LANES,
                                e.error + first * LANES, LANES,
                                (doing){"fast products", {*depth, *count, s.first, s.end, lanes}});
                }
            }
        }
}

/* What the products come to as weights, relative to references up to 16 below the greatest. */
static void expect_weights(int64_t count, int64_t first, const attn_i_lanes *lanes, int edges)
{
    for (int64_t at = 0; at < count * LANES; at++) {
        const int64_t j = at / LANES, l = at % LANES, from = at + first * LANES;
        want[at] = exp2(fmax(e.want[from] - (double)lanes->reference[l], -ATTN_I_ROOM));
        error[at] = want[at] * (expm1(log(2) * e.error[from]) + (1.6 + POWER_ERROR) * UNIT);
        if (!edges || (j + first >= lanes->first_key[l] && j + first < lanes->end_key[l])) continue;
        want[at] = error[at] = 0;
    }
}

static void tile_weights_are_powers_of_products(void **state)
{
    attn_i_lanes lanes = {.great = 0};
    const attn_i_exponent product = {0, NULL, NULL};
    attn_i_fetch nothing = {.count = 0};
    (void)state;
    if (fast->tile == NULL) return;
    fill_tile();
    factor = 2.0f;
    for
        EACH(int64_t, depth, tile_depths)
        {
            expect_tile_products(*depth, LANES);
            for (int64_t l = 0; l < LANES; l++) {
                double most = -HUGE_VAL;
                for (int64_t j = 0; j < MOST_ROWS; j++) most = fmax(most, e.want[j * LANES + l]);
                lanes.reference[l] = (float)(ceil(most) - (double)(l % 5) * 4);
                lanes.first_key[l] = (int32_t)(l % 7 * 3);
                lanes.end_key[l] = (int32_t)(l % 11 < 6 ? l % 11 * 2 : l * 2);
            }
            const float *own = load_queries(LANES, *depth);
        for
            EACH(int64_t, count, counts)
            {
                for (int edges = 0; edges < 2; edges++) {
                for
                    EACH_SPANS(s)
                    {
                        const int64_t first = first_of(*count), n = tile_elements(*count, s);
                        if (*depth > 300 && *count > 60) continue;
                        const attn_i_stored_rows k =
                            fenced_stored(halves, 1, keys, LONG, *count + first, *depth, *depth + *count % 3);
                        float *to = fenced(2, n);
                        expect_weights(*count, first, &lanes, edges);
                        assert_int_equal(fast->tile->weights(*depth, own, k, first, *count, s, &product, &lanes, edges,
                                                             &nothing, to),
                                         1);
                        assert_rows(to, n, *count, LANES, lane_of(s.first), lane_of(s.end), want, error, LANES,
                                    (doing){"fast weights", {*depth, *count, s.first, s.end, edges}});
                    }
                }
            }
        }
}

static float tile_weights[MOST_ROWS * LANES], tile_before[(LANES * 5 + 1) * LANES];

static float rounded(float weight)
{
    round_to(halves, &weight, 1);
    return weight;
}

/* Rows of a context in lanes, the last of which is the sum of what weights become. */
static void expect_tile_context(int64_t first, int64_t count, int64_t dim)
{
    for (int64_t at = 0; at < (dim + 1) * LANES; at++) {
        const int64_t d = at / LANES, l = at % LANES;
        double sum = (double)tile_before[at], magnitude = fabs(sum);
        for (int64_t j = 0; j < count; j++) {
            const double value = d < dim ? (double)keys[(first + j) * LONG + d] : 1;
            const double part = (double)rounded(tile_weights[j * LANES + l]) * value;
            sum += part;
            magnitude += fabs(part);
        }
        want[at] = sum;
        error[at] = (double)(count + 2) * UNIT * (1 + 1e-4) * magnitude;
    }
}

static void check_sums(const float *sum, int64_t count, attn_i_spans s)
{
    for (int l = 0; l < LANES; l++) {
        double all = (double)tile_before[l];
        for (int64_t j = 0; j < count; j++) all += (double)tile_weights[j * LANES + l];
        const int within = l >= lane_of(s.first) && l < lane_of(s.end);
        const double off = fabs((double)sum[l] - all);
        if (within ? !(off <= (double)(count + 1) * UNIT * all) : sum[l] != tile_before[l]) {
            fail_msg("%d keys, lane %d: the sum is %.9g, not %.9g", (int)count, l, (double)sum[l], all);
        }
    }
}

/* Values as a context takes them: in no more room than what they are made for. */
static attn_i_stored_rows near_values(int64_t n, int64_t dim, int by_floats)
{
    float *to = fenced(3, (n + 1) / 2 * dim);
    if (by_floats) return fast->tile->load_floats(n, fenced_rows(1, keys, LONG, n, dim, dim + n % 3), dim, to);
    return fast->tile->load_values(n, fenced_stored(halves, 1, keys, LONG, n, dim, dim + n % 3), dim, to);
}

static void assert_loads_are_the_same(int64_t n, int64_t dim)
{
    static float kept[MOST_ROWS / 2 * 160];
    const size_t bytes = (size_t)((n + 1) / 2 * dim) * sizeof(float);
    if (bytes > sizeof kept) return;
    memcpy(kept, near_values(n, dim, 0).data, bytes);
    assert_memory_equal(kept, near_values(n, dim, 1).data, bytes);
}

static void check_tile_context(int64_t first, int64_t count, int64_t dim, attn_i_spans s, int by_floats)
{
    float sum[LANES];
    memcpy(sum, tile_before, sizeof sum);
    const int64_t n = tile_elements(dim + 1, s), of_weights = tile_elements(count, s);
    const attn_i_stored_rows near = near_values(first + count, dim, by_floats);
    float *weights = fenced_tile(2, tile_weights, count, s), *to = fenced_tile(4, tile_before, dim + 1, s);
    fast->tile->context(count, weights, near, first, dim, s, to, sum);
    assert_rows(to, n, dim + 1, LANES, lane_of(s.first), lane_of(s.end), want, error, LANES,
                (doing){"fast context", {count, dim, s.first, s.end, by_floats}});
    check_sums(sum, count, s);
    for (int64_t x = -16; x < of_weights; x++) {
        const int64_t l = x < 0 ? -1 : x % LANES;
        if (l >= lane_of(s.first) && l < lane_of(s.end)) continue;
        assert_true(is_untouched(weights + x));
    }
}

static void tile_context_is_added_to(void **state)
{
    static const int64_t dims[] = {0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 13, 15,  16,
                                   17, 30, 31, 32, 33, 47, 63, 64, 65, 70, 96, 97, 127, 150};
    (void)state;
    if (fast->tile == NULL) return;
    fill_tile();
    fill_numbers(tile_weights, MOST_ROWS * LANES, 13, 0, 1);
    fill_numbers(tile_before, (LANES * 5 + 1) * LANES, 14, 0, 4);
    for
        EACH(int64_t, count, counts)
        {
        for
            EACH(int64_t, dim, dims)
            {
                const int64_t first = *count < 120 ? *count % 4 / 2 * 2 : 0;
                expect_tile_context(first, *count, *dim);
                assert_loads_are_the_same(first + *count, *dim);
                for (int by_floats = 0; by_floats < 2; by_floats++) {
                for
                    EACH_SPANS(s)
                    {
                        if (*dim > 100 && *count > 100) continue;
                        check_tile_context(first, *count, *dim, s, by_floats);
                    }
                }
            }
        }
}

/* ------------------------------------------------------------------------------------------------- all */

static int setup(void **state)
{
    attn_i_cpu cpu;
    const attn_dtype dtype = *(const attn_dtype *)*state;
    attn_i_cpu_detect(&cpu);
    stored = attn_i_stored_kernels_choose(&cpu, tested, dtype);
    halves = attn_i_stored_kernels_choose(&cpu, tested, ATTN_BF16);
    fast = attn_i_fast_kernels_choose(&cpu, tested, dtype);
    return fast == NULL || stored == NULL || halves == NULL ? -1 : 0;
}

/* 1 if the CPU has such kernels that go with the set at hand. */
static int has(attn_dtype dtype)
{
    attn_i_cpu cpu;
    attn_i_cpu_detect(&cpu);
    return attn_i_fast_kernels_choose(&cpu, tested, dtype) != NULL;
}

#define TEST(function) cmocka_unit_test_prestate_setup_teardown(function, setup, NULL, (void *)(uintptr_t)dtype)

static int run(const attn_dtype *dtype)
{
    const struct CMUnitTest tests[] = {TEST(row_products_are_sums_of_products),
                                       TEST(row_products_do_not_overflow),
                                       TEST(row_context_is_added_to),
                                       TEST(row_context_does_not_overflow),
                                       TEST(rows_have_parts_of_any_size),
                                       TEST(the_sum_of_rounded_weights_is_what_they_are),
                                       TEST(tile_products_are_sums_of_products),
                                       TEST(tile_weights_are_powers_of_products),
                                       TEST(tile_context_is_added_to)};
    return cmocka_run_group_tests_name(tested, tests, NULL, NULL);
}

int main(void)
{
    static const attn_dtype dtypes[] = {ATTN_BF16, ATTN_I8};
    int failed = 0, any = 0;
    for (size_t set = 0; take_set(set); set++) {
        for (int i = 0; i < 2; i++) {
            if (!has(dtypes[i])) continue;
            any = 1;
            failed += run(&dtypes[i]);
        }
    }
    return any ? failed : 77; /* CTest's SKIP_RETURN_CODE: this CPU has no such kernels */
}
