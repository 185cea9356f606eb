/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test_number.c: numbers of 16 bits as the command reads and writes them: what each of them is, by its sign, exponent
 * and fraction, and which of two neighbours the numbers between are written as.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../tools/number.h"

/* How a type has its bits. */
static const struct format {
    attn_dtype dtype;
    int fraction, bias; /* bits of the one, and what the exponent's are too great by */
} formats[] = {{ATTN_F16, 10, 15}, {ATTN_BF16, 7, 127}};

static double value_of(const struct format *f, unsigned h)
{
    const int fraction = (int)h & ((1 << f->fraction) - 1), exponent = (int)(h & 0x7FFF) >> f->fraction;
    const int most = (1 << (15 - f->fraction)) - 1;
    const double sign = h & 0x8000 ? -1 : 1;
    if (exponent == most) return fraction == 0 ? sign * INFINITY : NAN;
    if (exponent == 0) return sign * ldexp(fraction, 1 - f->bias - f->fraction);
    return sign * ldexp(fraction + (1 << f->fraction), exponent - f->bias - f->fraction);
}

static void expect_written(const struct format *f, double number, unsigned want)
{
    for (unsigned sign = 0; sign <= 0x8000; sign += 0x8000) {
        uint16_t got[3] = {0xABAB, 0xABAB, 0xABAB};
        number_write(f->dtype, got, 1, sign ? -number : number);
        if (got[1] != (sign | want)) fail_msg("%.17g is written as %04x, not %04x", number, got[1], want);
        assert_true(got[0] == 0xABAB && got[2] == 0xABAB);
    }
}

static void every_number_is_read_exactly(void **state)
{
    const struct format *f = *state;
    for (unsigned h = 0; h < 1 << 16; h++) {
        const uint16_t bits[2] = {0, (uint16_t)h};
        const double got = number_read(f->dtype, bits, 1), want = value_of(f, h);
        const int same = isnan(want) ? isnan(got) : got == want && !signbit(got) == !signbit(want);
        if (!same) fail_msg("%04x is %.9g, not %.9g", h, got, want);
        uint16_t back;
        number_write(f->dtype, &back, 0, got);
        if (isnan(want)) {
            assert_true(isnan(value_of(f, back)));
        } else {
            assert_int_equal(back, h);
        }
    }
}

/* A hair beside the middle too, which float32 would take for the middle. */
static void numbers_between_go_to_the_nearest_of_two_to_the_even_one(void **state)
{
    const struct format *f = *state;
    const unsigned infinite = ((1U << (15 - f->fraction)) - 1) << f->fraction;
    for (unsigned h = 0; h < infinite; h++) {
        const double here = value_of(f, h), below = h > 0 ? value_of(f, h - 1) : -value_of(f, 1);
        const double next = h + 1 < infinite ? value_of(f, h + 1) : here + (here - below), middle = (here + next) / 2;
        expect_written(f, middle, h + h % 2);
        expect_written(f, middle * (1 - 0x1p-50), h);
        expect_written(f, middle * (1 + 0x1p-50), h + 1);
        expect_written(f, here + (next - here) * 0x1p-40, h);
    }
    expect_written(f, 1e300, infinite);
    expect_written(f, 1e-300, 0);
    expect_written(f, 0x1p-1074, 0);
}

static void what_is_computed_with_is_known(void **state)
{
    (void)state;
    for (attn_dtype dtype = ATTN_F32; dtype <= ATTN_I64; dtype++) {
        assert_int_equal(number_is_real(dtype), dtype <= ATTN_BF16);
        assert_int_equal(number_beside(dtype), dtype == ATTN_F16 || dtype == ATTN_BF16 ? ATTN_F32 : dtype);
    }
    double number = 0;
    float single = 0;
    number_write(ATTN_F64, &number, 0, 0.1);
    number_write(ATTN_F32, &single, 0, 0.1);
    assert_true(number_read(ATTN_F64, &number, 0) == 0.1 && number_read(ATTN_F32, &single, 0) == (double)0.1F);
}

#define TEST(function, format) cmocka_unit_test_prestate(function, (void *)&formats[format])

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(every_number_is_read_exactly, 0),
        TEST(every_number_is_read_exactly, 1),
        TEST(numbers_between_go_to_the_nearest_of_two_to_the_even_one, 0),
        TEST(numbers_between_go_to_the_nearest_of_two_to_the_even_one, 1),
        cmocka_unit_test(what_is_computed_with_is_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
