/* SPDX-License-Identifier: BSD-3-Clause
 *
 * kernels/rope.c: kernels of rotary positions: the cosines and sines of a position's angles, in float64 whatever the
 * rows are of, and the turning of a row's pairs by them. */
#include "kernels/vector.h"

#include <math.h>

typedef double wide __attribute__((vector_size(VECTOR_BYTES)));
typedef uint64_t wide_bits __attribute__((vector_size(VECTOR_BYTES)));
typedef int64_t wide_truth __attribute__((vector_size(VECTOR_BYTES)));
enum { WIDE = VECTOR_BYTES / (int)sizeof(double) };

/* pi / 2 in three parts. The first two have 30 bits each, so that a whole number up to 2^23 times one of them is exact;
 * an angle up to MOST_ANGLE has no more quarter turns. */
#define QUARTER_HIGH   0x1.921fb54p+0
#define QUARTER_MIDDLE 0x1.10b46118p-30
#define QUARTER_LOW    0x1.313198a2e037p-61
#define TO_QUARTERS    0x1.45f306dc9c883p-1
#define MOST_ANGLE     0x1p23
/* Has its last bit at 1: adding it to a number leaves the nearest whole number in the low bits. */
#define TO_WHOLE 0x1.8p52

/* Taylor's terms, of r^17 .. r^3 and r^16 .. r^2; up to pi / 4 what is left out is below 2^-58. */
static const double sine_terms[] = {1 / 355687428096000.0, -1 / 1307674368000.0, 1 / 6227020800.0, -1 / 39916800.0,
                                    1 / 362880.0,          -1 / 5040.0,          1 / 120.0,        -1 / 6.0};
static const double cosine_terms[] = {1 / 20922789888000.0, -1 / 87178291200.0, 1 / 479001600.0, -1 / 3628800.0,
                                      1 / 40320.0,          -1 / 720.0,         1 / 24.0,        -1 / 2.0};
enum { TERMS = 8 };

/* The terms' polynomial in x, without its constant. */
static inline wide wide_polynomial(const double *terms, wide x)
{
    wide p = terms[0] * x;
    for (int i = 1; i < TERMS; i++) p = (p + terms[i]) * x;
    return p;
}

static inline wide wide_choose(wide_bits mask, wide a, wide b)
{
    return (wide)((mask & (wide_bits)a) | (~mask & (wide_bits)b));
}

static inline void narrow(wide v, real *to)
{
    double lanes[WIDE];
    memcpy(lanes, &v, sizeof v);
    for (int l = 0; l < WIDE; l++) to[l] = (real)lanes[l];
}

void KERNEL(angles)(int64_t n, double position, const double *frequencies, void *cosines, void *sines)
{
    real *c = cosines, *s = sines;
    wide_truth any_far = {0};
    for (int64_t i = 0; i < n; i += WIDE) {
        wide x;
        memcpy(&x, frequencies + i, sizeof x);
        x *= position;
        any_far |= (x > MOST_ANGLE) | (x < -MOST_ANGLE);
        const wide shifted = x * TO_QUARTERS + TO_WHOLE;
        const wide quarters = shifted - TO_WHOLE;
        const wide r = ((x - quarters * QUARTER_HIGH) - quarters * QUARTER_MIDDLE) - quarters * QUARTER_LOW;
        const wide square = r * r;
        const wide sine = r + r * wide_polynomial(sine_terms, square);
        const wide cosine = 1 + wide_polynomial(cosine_terms, square);
        /* Each quarter turn: (cosine, sine) becomes (- sine, cosine). */
        const wide_bits whole = (wide_bits)shifted, odd = -(whole & 1);
        narrow((wide)((wide_bits)wide_choose(odd, sine, cosine) ^ (((whole >> 1) ^ whole) << 63)), c + i);
        narrow((wide)((wide_bits)wide_choose(odd, cosine, sine) ^ ((whole >> 1) << 63)), s + i);
    }
    int64_t far = 0, lanes[WIDE];
    memcpy(lanes, &any_far, sizeof lanes);
    for (int l = 0; l < WIDE; l++) far |= lanes[l];
    for (int64_t i = 0; i < n && far != 0; i++) {
        const double x = position * frequencies[i];
        if (fabs(x) <= MOST_ANGLE) continue;
        c[i] = (real)cos(x);
        s[i] = (real)sin(x);
    }
}

enum { BLOCK = 64 };

/* Each of these turns at most BLOCK pairs, and reads all before it writes any. */
static void turn_block(int64_t pairs, const real *c, const real *s, const real *from, int64_t step, int64_t apart,
                       real *to, int64_t to_step, int64_t to_apart)
{
    real a[BLOCK] = {0}, b[BLOCK] = {0};
    KERNEL(gather)(pairs, from, step, a);
    KERNEL(gather)(pairs, from + apart, step, b);
    for (int64_t i = 0; i < pairs; i += WIDTH) {
        const vec x = load(a + i), y = load(b + i), cosine = load(c + i), sine = load(s + i);
        store(x * cosine - y * sine, a + i);
        store(y * cosine + x * sine, b + i);
    }
    KERNEL(move)(pairs, a, 1, to, to_step);
    KERNEL(move)(pairs, b, 1, to + to_apart, to_step);
}

static void turn_neighbours(int64_t pairs, const real *restrict c, const real *restrict s, const real *from, real *to)
{
    real a[BLOCK], b[BLOCK];
    for (int64_t i = 0; i < pairs; i++) {
        a[i] = from[2 * i];
        b[i] = from[2 * i + 1];
    }
    for (int64_t i = 0; i < pairs; i++) {
        to[2 * i] = a[i] * c[i] - b[i] * s[i];
        to[2 * i + 1] = b[i] * c[i] + a[i] * s[i];
    }
}

/* The CPU sees no stream in two that take turns. What lies so far behind them are mostly the next rows; to ask for what
 * is nowhere does no harm. */
enum { AHEAD = 2048, LINE = 64 };

static void fetch_ahead(const real *run, int64_t n)
{
    for (uintptr_t at = 0; at < (uintptr_t)n * sizeof(real); at += LINE) {
        __builtin_prefetch((const void *)((uintptr_t)run + AHEAD + at));
    }
}

/* Elements that lie side by side. */
static void turn_halves(int64_t pairs, const real *c, const real *s, const real *from, int64_t apart, real *to,
                        int64_t to_apart)
{
    int64_t i = 0;
    fetch_ahead(from, pairs);
    fetch_ahead(from + apart, pairs);
    if (to != from) {
        fetch_ahead(to, pairs);
        fetch_ahead(to + to_apart, pairs);
    }
    for (; i + WIDTH <= pairs; i += WIDTH) {
        const vec a = load(from + i), b = load(from + i + apart), cosine = load(c + i), sine = load(s + i);
        store(a * cosine - b * sine, to + i);
        store(b * cosine + a * sine, to + i + to_apart);
    }
    if (i < pairs) turn_block(pairs - i, c + i, s + i, from + i, 1, apart, to + i, 1, to_apart);
}

void KERNEL(turn)(int64_t pairs, const void *cosines, const void *sines, const void *from, int64_t step, int64_t apart,
                  void *to, int64_t to_step, int64_t to_apart)
{
    const real *c = cosines, *s = sines, *x = from;
    real *y = to;
    if (step == 1 && to_step == 1) {
        turn_halves(pairs, c, s, x, apart, y, to_apart);
        return;
    }
    const int neighbours = step == 2 && apart == 1 && to_step == 2 && to_apart == 1;
    for (int64_t i = 0; i < pairs; i += BLOCK) {
        const int64_t n = pairs - i < BLOCK ? pairs - i : BLOCK;
        if (neighbours) {
            turn_neighbours(n, c + i, s + i, x + 2 * i, y + 2 * i);
        } else {
            turn_block(n, c + i, s + i, x + i * step, step, apart, y + i * to_step, to_step, to_apart);
        }
    }
}
