/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test_stored_kernels.c: numbers of 16 bits, of every set of kernels: what each of the 65536 is, by its sign, exponent
 * and fraction; and which of them every float32 near one, or halfway between two, is rounded to.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/kernels.h"

enum { ALL = 1 << 16, MOST = 1 << 18 };

/* How a type has its bits. */
static const struct format {
    attn_dtype dtype;
    int fraction, bias; /* bits of the one, and what the exponent's are too great by */
} formats[] = {{ATTN_F16, 10, 15}, {ATTN_BF16, 7, 127}};

static const attn_i_stored_kernels *kernels;
static uint16_t stored[MOST];
static float numbers[MOST];

static double value_of(const struct format *f, unsigned h)
{
    const int fraction = (int)h & ((1 << f->fraction) - 1), exponent = (int)(h & 0x7FFF) >> f->fraction;
    const int most = (1 << (15 - f->fraction)) - 1;
    const double sign = h & 0x8000 ? -1 : 1;
    if (exponent == most) return fraction == 0 ? sign * INFINITY : NAN;
    if (exponent == 0) return sign * ldexp(fraction, 1 - f->bias - f->fraction);
    return sign * ldexp(fraction + (1 << f->fraction), exponent - f->bias - f->fraction);
}

static void assert_float(float got, double want, unsigned h)
{
    const int same = isnan(want) ? isnan(got) : (double)got == want && !signbit(got) == !signbit(want);
    if (!same) fail_msg("%04x is %.9g, not %.9g", h, (double)got, want);
}

static const int64_t strides[] = {1, 2, 3};
static const int64_t counts[] = {0, 1, 7, 8, 9, 15, 16, 17, 31, 33, 100};

static void every_number_is_loaded_exactly(void **state)
{
    const struct format *f = *state;
    static uint16_t wide[ALL * 3];
    for (size_t s = 0; s < sizeof strides / sizeof *strides; s++) {
        memset(wide, 0, sizeof wide);
        for (int64_t h = 0; h < ALL; h++) wide[h * strides[s]] = (uint16_t)h;
        kernels->load(ALL, wide, strides[s], numbers);
        for (unsigned h = 0; h < ALL; h++) assert_float(numbers[h], value_of(f, h), h);
    }
    for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) { /* and no more than are asked for */
        for (int64_t j = 0; j < ALL; j++) numbers[j] = 7;
        kernels->load(counts[c], wide + 3 * 0x3C01, 3, numbers);
        kernels->load(counts[c], stored, 1, numbers + 200);
        assert_true(numbers[counts[c]] == 7 && numbers[200 + counts[c]] == 7);
    }
}

static void every_number_comes_back(void **state)
{
    const struct format *f = *state;
    for (unsigned h = 0; h < ALL; h++) stored[h] = (uint16_t)h;
    kernels->load(ALL, stored, 1, numbers);
    kernels->store(ALL, numbers, stored, 1);
    for (unsigned h = 0; h < ALL; h++) {
        if (isnan(value_of(f, h))) {
            assert_true(isnan(value_of(f, stored[h])));
        } else {
            assert_int_equal(stored[h], h == 0x8000 ? 0 : h);
        }
    }
}

/* The positive number of two neighbours that x is nearer to, or the even one. What lies half a step or more above the
 * greatest is infinite. */
static unsigned rounded(const struct format *f, double x)
{
    unsigned low = 0, high = ((1U << (15 - f->fraction)) - 1) << f->fraction; /* zero and infinity */
    while (high - low > 1) {
        const unsigned middle = (low + high) / 2;
        *(value_of(f, middle) <= x ? &low : &high) = middle;
    }
    const double below = value_of(f, low), step = below - value_of(f, low - (low > 0));
    const double above = isinf(value_of(f, high)) ? below + step : value_of(f, high);
    if (x - below != above - x) return x - below < above - x ? low : high;
    return low % 2 == 0 ? low : high;
}

static void check_rounding(const struct format *f, int64_t n)
{
    for (size_t s = 0; s < sizeof strides / sizeof *strides; s++) {
        static uint16_t wide[MOST * 3];
        memset(wide, 0xAB, sizeof wide);
        kernels->store(n, numbers, wide, strides[s]);
        for (int64_t j = 0; j < n; j++) {
            const unsigned sign = numbers[j] < 0 ? 0x8000 : 0, want = sign | rounded(f, fabs((double)numbers[j]));
            if (wide[j * strides[s]] != want) {
                fail_msg("%.9g is stored as %04x, not %04x", (double)numbers[j], wide[j * strides[s]], want);
            }
            for (int64_t k = 1; k < strides[s] && j + 1 < n; k++) assert_int_equal(wide[j * strides[s] + k], 0xABAB);
        }
    }
}

static void numbers_between_go_to_the_nearest_of_two_to_the_even_one(void **state)
{
    const struct format *f = *state;
    const unsigned infinite = ((1U << (15 - f->fraction)) - 1) << f->fraction;
    int64_t n = 0;
    for (unsigned h = 0; h < infinite; h++) {
        const double here = value_of(f, h), below = h > 0 ? value_of(f, h - 1) : -value_of(f, 1);
        const double next = h + 1 < infinite ? value_of(f, h + 1) : here + (here - below);
        const float middle = (float)((here + next) / 2);
        const float all[] = {middle, nextafterf(middle, 0), nextafterf(middle, INFINITY),
                             nextafterf((float)here, INFINITY)};
        for (size_t i = 0; i < sizeof all / sizeof *all && n < MOST; i++)
            numbers[n++] = h % 2 == i % 2 ? all[i] : -all[i];
    }
    check_rounding(f, n);
}

static void any_number_goes_to_the_nearest(void **state)
{
    const struct format *f = *state;
    uint32_t word = 1;
    int64_t n = 0;
    while (n < MOST) {
        word = word * 1664525 + 1013904223;
        memcpy(&numbers[n], &word, sizeof word);
        if (!isnan(numbers[n]) && word != 0x80000000) n++;
    }
    numbers[0] = INFINITY, numbers[1] = -INFINITY, numbers[2] = 3.4e38F, numbers[3] = 0, numbers[4] = 1e-45F;
    check_rounding(f, n);
}

static void what_is_no_number_stays_none(void **state)
{
    const struct format *f = *state;
    static const uint32_t words[] = {0x7F800001, 0x7FC00000, 0xFFFFFFFF, 0xFF800001, 0x7F80FFFF, 0x7FFFFFFF};
    enum { WORDS = sizeof words / sizeof *words };
    for (int64_t j = 0; j < 64; j++) memcpy(&numbers[j], &words[j % WORDS], sizeof words[0]);
    kernels->store(64, numbers, stored, 1);
    for (int64_t j = 0; j < 64; j++) assert_true(isnan(value_of(f, stored[j])));
}

static int setup(void **state)
{
    attn_i_cpu cpu;
    attn_i_cpu_detect(&cpu);
    const struct format *f = *state;
    kernels = attn_i_stored_kernels_choose(&cpu, getenv("ATTN_KERNELS"), f->dtype);
    return kernels == NULL ? -1 : 0;
}

#define TEST(function, format) cmocka_unit_test_prestate_setup_teardown(function, setup, NULL, (void *)&formats[format])

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(every_number_is_loaded_exactly, 0),
        TEST(every_number_is_loaded_exactly, 1),
        TEST(every_number_comes_back, 0),
        TEST(every_number_comes_back, 1),
        TEST(numbers_between_go_to_the_nearest_of_two_to_the_even_one, 0),
        TEST(numbers_between_go_to_the_nearest_of_two_to_the_even_one, 1),
        TEST(any_number_goes_to_the_nearest, 0),
        TEST(any_number_goes_to_the_nearest, 1),
        TEST(what_is_no_number_stays_none, 0),
        TEST(what_is_no_number_stays_none, 1),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
