/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test_kernels.c: the kernels of kernels.h one by one: exp and tanh within 2 ulp of a correctly rounded result, as a
 * row sees them (through softmax and softcap), the same at every place in a row and on every set, and the edges of the
 * normalisers. Those of tile.h have tests of their own (test_tile_kernels.c, test_tile_passes.c, test_row_kernels.c).
 */
#include "kernels/kernels.h"
#include "kernels/philox.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* |got - want| in units of float32's last place at want. */
static double ulps(float got, double want)
{
    if (isnan(want)) return isnan(got) ? 0 : HUGE_VAL;
    if (isinf((float)want) || isinf(got)) return (float)want == got ? 0 : HUGE_VAL;
    int exponent;
    frexp(want, &exponent);
    return fabs((double)got - want) / ldexp(1, exponent < -125 ? -149 : exponent - 24);
}

static float from_bits(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static attn_i_cpu cpu;

/* Or the set that the environment names. */
static const attn_i_kernels *widest(attn_dtype dtype)
{
    return attn_i_kernels_choose(&cpu, getenv("ATTN_KERNELS"), dtype);
}

static void tanh_is_within_two_ulp(void **state)
{
    (void)state;
    const attn_i_kernels *kernels = widest(ATTN_F32);
    enum { COUNT = 37 };
    double worst = 0;
    for (uint32_t bits = 0; bits < 0x7f800000u; bits += 9973u * COUNT) {
        float row[COUNT], x[COUNT];
        for (uint32_t j = 0; j < COUNT; j++) x[j] = row[j] = from_bits((bits + j * 9973u) | (j & 1) << 31);
        kernels->softcap(COUNT, 1.0, row);
        for (int j = 0; j < COUNT; j++) {
            if (isfinite(x[j])) worst = fmax(worst, ulps(row[j], tanh((double)x[j])));
        }
    }
    print_message("tanh: %.2f ulp\n", worst);
    assert_true(worst <= 2);
}

static void exp_is_within_two_ulp(void **state)
{
    (void)state;
    const attn_i_kernels *kernels = widest(ATTN_F32);
    double worst = 0;
    /* Beside a 0, e^x has a weight of e^x / (1 + e^x), rounded twice more; where x is low enough, of e^x. */
    for (uint32_t bits = 0x41900000u; bits < 0x42d20000u; bits += 97) { /* 18 to 105 */
        float x = -from_bits(bits), row[2] = {0, x};
        double logsumexp;
        kernels->softmax(2, 1.0, row, &logsumexp);
        worst = fmax(worst, ulps(row[1], exp((double)x)));
    }
    print_message("exp: %.2f ulp\n", worst);
    assert_true(worst <= 2);
}

/* The same in float64, against the wider type where there is one. */
static void float64_is_within_two_ulp(void **state)
{
    (void)state;
    const attn_i_kernels *kernels = widest(ATTN_F64);
    double worst_exp = 0, worst_tanh = 0, logsumexp;
    if (sizeof(long double) == sizeof(double)) skip();
    for (int i = 0; i < 200000; i++) {
        int exponent;
        double x = ldexp(1.0 + i * 4.9e-6, i % 36 - 30), row[2] = {x, -x};
        kernels->softcap(2, 1.0, row);
        long double want = tanhl((long double)x);
        frexp((double)want, &exponent);
        worst_tanh = fmax(worst_tanh, (double)fabsl(row[0] - want) / ldexp(1, exponent - 53));
        assert_true(row[1] == -row[0]);

        double low = -37.0 - i * 0.0035, pair[2] = {0, low}; /* to -737, where results are subnormal */
        kernels->softmax(2, 1.0, pair, &logsumexp);
        want = expl((long double)low);
        frexp((double)want, &exponent);
        worst_exp = fmax(worst_exp, (double)fabsl(pair[1] - want) / ldexp(1, exponent < -1021 ? -1074 : exponent - 53));
    }
    print_message("float64: exp %.2f ulp, tanh %.2f ulp\n", worst_exp, worst_tanh);
    assert_true(worst_exp <= 2 && worst_tanh <= 2);
}

/* Small and large, of either sign, and next to whole numbers of quarter turns, where the sine or the cosine has few
 * bits left; past 2^23 the C library computes. */
static void sines_and_cosines_are_within_an_epsilon(void **state)
{
    (void)state;
    enum { COUNT = 16 };
    const attn_i_kernels *kernels = widest(ATTN_F64);
    double worst = 0;
    if (sizeof(long double) == sizeof(double)) skip();
    for (int i = 0; i < 200000; i++) {
        double x[COUNT], cosines[COUNT], sines[COUNT];
        const double quarters = floor(ldexp(1 + i * 4.9e-6, i % 24)) * 1.5707963267948966;
        for (int j = 0; j < COUNT; j++)
            x[j] = j % 2 ? quarters * (1 + j * 0x1p-52) : ldexp(1 + i * 4.9e-6, i % 54 - 27);
        const double sign = i % 2 ? -1 : 1;
        kernels->angles(COUNT, sign, x, cosines, sines);
        for (int j = 0; j < COUNT; j++) {
            worst = fmax(worst, (double)fabsl(cosines[j] - cosl((long double)x[j])));
            worst = fmax(worst, (double)fabsl(sines[j] - (long double)sign * sinl((long double)x[j])));
        }
    }
    print_message("sine and cosine: %.2f epsilon\n", worst * 0x1p52);
    assert_true(worst <= 0x1p-52);
}

static void softcap_keeps_the_sign_of_zero(void **state)
{
    (void)state;
    for (int64_t n = 1; n <= 70; n++) {
        float narrow[70];
        double wide[70];
        for (int64_t j = 0; j < n; j++) wide[j] = narrow[j] = j % 2 ? 0.0f : -0.0f;
        widest(ATTN_F32)->softcap(n, 3.0, narrow);
        widest(ATTN_F64)->softcap(n, 3.0, wide);
        for (int64_t j = 0; j < n; j++) {
            assert_true(narrow[j] == 0 && (signbit(narrow[j]) != 0) == (j % 2 == 0));
            assert_true(wide[j] == 0 && (signbit(wide[j]) != 0) == (j % 2 == 0));
        }
    }
}

/* The rest of a row must not be computed by another rule than its vectors. */
static void a_number_comes_out_the_same_at_every_place(void **state)
{
    (void)state;
    const attn_i_kernels *kernels = widest(ATTN_F32);
    for (int64_t n = 1; n <= 70; n++) {
        float row[70], first;
        for (int64_t j = 0; j < n; j++) row[j] = 0.37f;
        kernels->softcap(n, 1.5, row);
        first = row[0];
        for (int64_t j = 0; j < n; j++) assert_memory_equal(&row[j], &first, sizeof first);
        double logsumexp;
        kernels->softmax(n, 0.7, row, &logsumexp);
        first = row[0];
        for (int64_t j = 0; j < n; j++) assert_memory_equal(&row[j], &first, sizeof first);
    }
}

static void unseen_weights_are_marked_and_written_as_zero(void **state)
{
    (void)state;
    const attn_i_kernels *kernels = widest(ATTN_F32);
    for (int64_t n = 2; n <= 40; n++) {
        float row[40], out[40];
        double logsumexp;
        for (int64_t j = 0; j < n; j++) row[j] = j % 2 ? -INFINITY : j == 0 ? 0 : -500.0f;
        assert_int_equal(kernels->softmax(n, 1.0, row, &logsumexp), ATTN_I_SEEN_SOME);
        assert_true(logsumexp == 0);
        assert_true(row[0] == 1);
        for (int64_t j = 1; j < n; j++) assert_true(row[j] == 0 && !signbit(row[j]) == (j % 2 == 0));
        kernels->scatter(n, row, out, 1);
        for (int64_t j = 1; j < n; j++) assert_true(out[j] == 0 && !signbit(out[j]));
    }
}

static void normalisers_meet_infinity_and_nan(void **state)
{
    (void)state;
    for (attn_dtype dtype = ATTN_F32; dtype <= ATTN_F64; dtype++) {
        const attn_i_kernels *kernels = widest(dtype);
        const struct {
            double in[3], hard[3]; /* what hardmax makes of it; softmax makes NaN of an infinity */
            attn_i_seen seen;
        } cases[] = {
            {{-INFINITY, -INFINITY, -INFINITY}, {0, 0, 0}, ATTN_I_SEEN_NONE},
            {{-INFINITY, NAN, -INFINITY}, {0, NAN, 0}, ATTN_I_SEEN_SOME},
            {{NAN, 1, 2}, {NAN, NAN, NAN}, ATTN_I_SEEN_ALL},
            {{1, INFINITY, INFINITY}, {0, 1, 0}, ATTN_I_SEEN_ALL},
            {{2, 7, 7}, {0, 1, 0}, ATTN_I_SEEN_ALL},
            {{-1e30, -INFINITY, -1e30}, {1, 0, 0}, ATTN_I_SEEN_SOME},
        };
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            double wide[3], logsumexp;
            float narrow[3];
            void *row = dtype == ATTN_F32 ? (void *)narrow : (void *)wide;
            for (int pass = 0; pass < 2; pass++) {
                for (int j = 0; j < 3; j++) {
                    wide[j] = cases[i].in[j];
                    narrow[j] = (float)wide[j];
                }
                attn_i_seen seen =
                    pass ? kernels->hardmax(3, 1e-300, row, &logsumexp) : kernels->softmax(3, 1.0, row, &logsumexp);
                assert_int_equal(seen, cases[i].seen);
                for (int j = 0; pass && j < 3; j++) {
                    double got = dtype == ATTN_F32 ? (double)narrow[j] : wide[j], want = cases[i].hard[j];
                    if (!(got == want || (isnan(got) && isnan(want)))) fail_msg("case %zu, weight %d: %g", i, j, got);
                }
            }
        }
    }
}

enum { LONGEST = 1300 };

typedef union numbers {
    float f32[LONGEST];
    double f64[LONGEST];
} numbers;

/* Between -4 and 4, every ninth minus infinity if holes. */
static void fill(numbers *to, attn_dtype dtype, unsigned seed, int holes)
{
    for (int j = 0; j < LONGEST; j++) {
        seed = seed * 1664525u + 1013904223u;
        double x = (double)(seed >> 8) / 2097152.0 - 4.0;
        if (holes && j % 9 == 5) x = -INFINITY;
        if (dtype == ATTN_F32) to->f32[j] = (float)x;
        if (dtype == ATTN_F64) to->f64[j] = x;
    }
}

static void compare_sets(const attn_i_kernels *const two[2], attn_dtype dtype, int64_t n)
{
    static numbers rows[10][2], other, keys;
    uint8_t mask[LONGEST];
    double logsumexp[2][2], entropy[2], sums[2][LONGEST];
    int64_t strongest[2];
    int flags[2];
    fill(&other, dtype, 1, 0);
    fill(&keys, dtype, 2, 0);
    for (int j = 0; j < LONGEST; j++) mask[j] = (uint8_t)(j % 5);
    memset(rows, 0, sizeof rows);
    for (int s = 0; s < 2; s++) {
        const attn_i_kernels *k = two[s];
        for (int r = 0; r < 6; r++) fill(&rows[r][s], dtype, 7 + (unsigned)r, r < 2);
        for (int r = 8; r < 10; r++) fill(&rows[r][s], dtype, 7 + (unsigned)r, 1);
        memset(sums[s], 0, sizeof sums[s]);
        k->measure(n, 0.7, &rows[0][s], &entropy[s], &strongest[s]);
        k->softmax(n, 0.7, &rows[0][s], &logsumexp[0][s]);
        k->add_to_sums(n, &rows[0][s], sums[s]);
        k->add_to_sums(n / 2, &rows[0][s], sums[s]);
        k->hardmax(n, 0.7, &rows[1][s], &logsumexp[1][s]);
        k->scale(n, 0.3, &rows[2][s]);
        k->softcap(n, 2.5, &rows[2][s]);
        k->add_bias(n / 2, &other, 2, &rows[3][s]);
        k->add_bias(n, &other, 1, &rows[3][s]);
        k->column_exponentials(n, &other, &rows[8][s], &rows[9][s]);
        k->column_maximum(n, &keys, &rows[9][s]);
        k->column_gradient(n, &other, &rows[8][s], &keys, &rows[2][s]);
        k->add_alibi(n, &other, -n / 2, &rows[4][s]);
        k->hide(n, mask, 1, &rows[5][s]);
        k->tanh_scores(n, &other, &rows[3][s], LONGEST - n < 40 ? LONGEST - n : 40, &keys, 1, &rows[6][s]);
        flags[s] = k->gather_finite(n, &rows[5][s], 1, &rows[7][s], 1);
        k->add_not_finite(n, &other, &rows[5][s], 1, &rows[3][s]);
        k->scatter(n / 2, &rows[0][s], &rows[4][s], 2);
        k->gather(n / 2, &rows[4][s], 2, &rows[5][s]);
    }
    for (int r = 0; r < 10; r++) assert_memory_equal(&rows[r][0], &rows[r][1], sizeof rows[r][0]);
    for (int l = 0; l < 2; l++) assert_memory_equal(&logsumexp[l][0], &logsumexp[l][1], sizeof(double));
    assert_memory_equal(&entropy[0], &entropy[1], sizeof(double));
    assert_memory_equal(sums[0], sums[1], sizeof sums[0]);
    assert_int_equal(strongest[0], strongest[1]);
    assert_int_equal(flags[0], flags[1]);
}

/* The kernels of the backward pass, of dropout, and of local attention. */
static void compare_gradients(const attn_i_kernels *const two[2], attn_dtype dtype, int64_t n)
{
    static numbers rows[9][2], other, keys;
    const int64_t few = n < 30 ? n : 30, depth = n < 40 ? n : 40;
    const attn_i_draw draw = {0x123456789abcdefULL, 77, 0x40000000u};
    double sums[3][2];
    attn_i_seen seen[2];
    fill(&other, dtype, 1, 0);
    fill(&keys, dtype, 2, 0);
    memset(rows, 0, sizeof rows);
    for (int s = 0; s < 2; s++) {
        const attn_i_kernels *k = two[s];
        for (int r = 0; r < 9; r++) fill(&rows[r][s], dtype, 7 + (unsigned)r, r == 0);
        seen[s] = k->weights_again(n, 0.7, 3.1, &rows[0][s]);
        sums[0][s] = k->weighted_sum(n, &rows[0][s], &other);
        k->softmax_gradient(n, 0.25, 1.5, &rows[0][s], &rows[1][s]);
        k->cap_gradient(n, -0.3, 5, &other, &rows[1][s]);
        k->cap_gradient(n, 2, 0, NULL, &rows[2][s]);
        sums[1][s] = k->alibi_gradient(n, -n / 2, &rows[1][s]);
        k->add_to(n / 2, &other, &rows[2][s], 2);
        k->add_sum(n, &other, &rows[3][s]);
        k->drop(n, &draw, 5, 3, 2, -0.0, &rows[3][s]);
        k->tanh_gradients(depth, &other, &keys, few, &keys, 3, &rows[1][s], &rows[4][s], &rows[5][s], 41, &rows[6][s]);
        k->dots(depth, &other, few, &keys, 5, &rows[6][s]);
        k->add_rows(few, &rows[0][s], &keys, 7, depth, &rows[7][s]);
        k->add_outer(few < 20 ? few : 20, &rows[0][s], &other, depth, &rows[8][s], 43);
        k->multiply(n, &other, &rows[7][s]);
        sums[2][s] = k->weighted_sum(n, &rows[1][s], &rows[7][s]);
    }
    for (int r = 0; r < 9; r++) assert_memory_equal(&rows[r][0], &rows[r][1], sizeof rows[r][0]);
    for (int r = 0; r < 3; r++) assert_memory_equal(&sums[r][0], &sums[r][1], sizeof(double));
    assert_int_equal(seen[0], seen[1]);
}

/* The first of the published known answers of Random123: everything 0. */
static void philox_gives_its_known_answer(void **state)
{
    const uint32_t want[4] = {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8};
    uint32_t words[4];
    (void)state;
    attn_i_draw_words(0, 0, 0, words);
    assert_memory_equal(words, want, sizeof want);
}

/* Pairs side by side, as neighbours, and far apart, in place and not. */
static void compare_turns(const attn_i_kernels *const two[2], attn_dtype dtype, int64_t n)
{
    static numbers rows[6][2], from, angles[2][2];
    const int64_t padded = (n + 15) / 16 * 16;
    double frequencies[LONGEST];
    if (3 * n > LONGEST) return;
    fill(&from, dtype, 3, 0);
    for (int64_t i = 0; i < padded; i++) frequencies[i] = ldexp(1 + (double)i / 7, (int)(i % 40) - 20);
    memset(rows, 0, sizeof rows);
    memset(angles, 0, sizeof angles);
    for (int s = 0; s < 2; s++) {
        const attn_i_kernels *k = two[s];
        k->angles(padded, 1000.0 - (double)n, frequencies, &angles[0][s], &angles[1][s]);
        k->turn(n, &angles[0][s], &angles[1][s], &from, 1, n, &rows[0][s], 1, n + 1);
        k->turn(n, &angles[0][s], &angles[1][s], &rows[0][s], 1, n + 1, &rows[0][s], 1, n + 1);
        k->turn(n, &angles[0][s], &angles[1][s], &from, 2, 1, &rows[1][s], 2, 1);
        k->turn(n, &angles[0][s], &angles[1][s], &rows[1][s], 2, 1, &rows[1][s], 2, 1);
        k->turn(n, &angles[0][s], &angles[1][s], &from, 1, n, &rows[2][s], 3, 2);
        k->tanh_gradient(n, &from, &rows[0][s], &rows[3][s]);
        k->move(n, &from, 1, &rows[4][s], 3);
        k->move(n, &from, 1, &rows[5][s], 1);
    }
    for (int r = 0; r < 6; r++) assert_memory_equal(&rows[r][0], &rows[r][1], sizeof rows[r][0]);
    for (int r = 0; r < 2; r++) assert_memory_equal(&angles[r][0], &angles[r][1], sizeof angles[r][0]);
}

/* A hidden score weighs nothing and is no maximum; nor is NaN, which weighs NaN. */
static void columns_meet_infinity_and_nan(void **state)
{
    (void)state;
    const attn_i_kernels *kernels = widest(ATTN_F32);
    float most[4] = {-INFINITY, -INFINITY, 1, 2}, sum[4] = {0, 0, 0, 1}, to[4] = {5, 5, 5, 5};
    float row[4] = {-INFINITY, NAN, 3, 1};
    const float want[4] = {-INFINITY, -INFINITY, 3, 2}, mean[4] = {NAN, 0, 1, 2}, d[4] = {INFINITY, 0, 3, 4};
    kernels->column_maximum(4, row, most);
    assert_memory_equal(most, want, sizeof want);
    kernels->column_exponentials(4, most, row, sum);
    assert_true(row[0] == 0 && isnan(row[1]) && row[2] == 1 && ulps(row[3], exp(-1)) <= 2);
    assert_true(sum[0] == 0 && isnan(sum[1]) && sum[2] == 1 && sum[3] == 1 + row[3]);
    kernels->column_gradient(4, mean, row, d, to);
    assert_true(to[0] == 5 && isnan(to[1]) && to[2] == 7 && to[3] == 5 + row[3] * 2);
}

/* Every kernel of kernels.h that computes, over rows of every length up to two registers and some: in them sums are cut
 * the same way on every instruction set, and no product and sum are contracted, so that the bits are the portable
 * set's. Of tiles' kernels neither is true: those that have FMA use it, and a vector's width decides how a row is cut.
 */
static void every_set_gives_the_bits_of_the_portable_one(void **state)
{
    (void)state;
    for (size_t set = 1; attn_i_kernels_name(&cpu, set) != NULL; set++) {
        print_message("%s against portable\n", attn_i_kernels_name(&cpu, set));
        for (attn_dtype dtype = ATTN_F32; dtype <= ATTN_F64; dtype++) {
            const attn_i_kernels *two[2] = {attn_i_kernels_choose(&cpu, "portable", dtype),
                                            attn_i_kernels_choose(&cpu, attn_i_kernels_name(&cpu, set), dtype)};
            for (int64_t n = 0; n < 1200; n = n < 70 ? n + 1 : n * 2 + 1) {
                compare_sets(two, dtype, n);
                compare_turns(two, dtype, n);
                compare_gradients(two, dtype, n);
            }
        }
    }
}

int main(void)
{
    attn_i_cpu_detect(&cpu);
    if (widest(ATTN_F32) == NULL) return 77; /* CTest's SKIP_RETURN_CODE: this CPU has not that set */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tanh_is_within_two_ulp),
        cmocka_unit_test(exp_is_within_two_ulp),
        cmocka_unit_test(float64_is_within_two_ulp),
        cmocka_unit_test(sines_and_cosines_are_within_an_epsilon),
        cmocka_unit_test(softcap_keeps_the_sign_of_zero),
        cmocka_unit_test(a_number_comes_out_the_same_at_every_place),
        cmocka_unit_test(unseen_weights_are_marked_and_written_as_zero),
        cmocka_unit_test(normalisers_meet_infinity_and_nan),
        cmocka_unit_test(philox_gives_its_known_answer),
        cmocka_unit_test(columns_meet_infinity_and_nan),
        cmocka_unit_test(every_set_gives_the_bits_of_the_portable_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
