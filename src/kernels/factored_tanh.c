/* SPDX-License-Identifier: BSD-3-Clause
 *
 * kernels/factored_tanh.c: the kernels of the additive score in factored form. With A = exp(2 q) and B = exp(2 k),
 * which are made once for each row, tanh(q + k) = (A B - 1) / (A B + 1): no exponential per query and key. Up to four
 * such fractions are added over one denominator, so that they share its reciprocal. The numerator is taken as it is,
 * not as 1 - 2 / (A B + 1), so that nothing cancels where A B is not near 1. Near 1 the digits that count are those of
 * A - 1 and B - 1: a key whose elements are all small is kept as B - 1, and the numerator is (A - 1) B + (B - 1), which
 * is as exact for the smallest projections as for others. */
#include "kernels/tile_math.h"
#include "kernels/tiles.h"

/* (exp(r) - 1 - r) / r^2 for |r| <= 0.3475: a fit of equal ripple, 0.03 units in the last place of exp. */
static const float expm1_terms[] = {0x1.6a3fb6p-10f, 0x1.1239e0p-7f, 0x1.5558bep-5f, 0x1.555492p-3f, 0x1.fffffcp-2f};

typedef struct exponentials {
    vec whole, less_one;
} exponentials;

/* exp(2 x) for |x| <= 40, within 0.81 units in the last place (found by trying all x): 1 + r is added with its error
 * kept, so that beside the last sum only r and the polynomial round. And exp(2 x) - 1, from what is added to 1. */
static ALWAYS_INLINE exponentials exp_twice(vec x)
{
    const vec y = x + x, shifted = y * LOG2_E + ROUND, n = shifted - ROUND;
    const vec high = y - n * EXP_HIGH, r = high - n * EXP_LOW; /* n EXP_HIGH is exact */
    vec p = splat(expm1_terms[0]);
    UNROLL for (int i = 1; i < 5; i++) p = p * r + splat(expm1_terms[i]);
    const vec sum = r + 1, lost = r - (sum - 1), square = r * r;
    const vec power = power_of_two((bits_vec)shifted - (bits)ROUND_BITS);
    return (exponentials){(sum + (lost + p * square)) * power, (r + p * square) * power + (power - 1)};
}

/* The bits of |x|, which order numbers as they are, and what is no number above them all. */
static ALWAYS_INLINE truth magnitude_bits(vec x)
{
    return (truth)((bits_vec)x & ~((bits)1 << (ATTN_I_BITS - 1)));
}

static ALWAYS_INLINE truth greater_bits(truth a, truth b)
{
#if defined(__AVX512F__)
    return (truth)_mm512_max_epi32((__m512i)a, (__m512i)b);
#else
    const truth more = a > b;
    return (a & more) | (b & ~more);
#endif
}

/* The number with these bits, if it is one that may be doubled and exponentiated, else infinity. */
static float allowed(truth most)
{
    int32_t lanes[WIDTH], all = 0;
    memcpy(lanes, &most, sizeof lanes);
    for (int l = 0; l < WIDTH; l++) all = lanes[l] > all ? lanes[l] : all;
    float magnitude;
    memcpy(&magnitude, &all, sizeof magnitude);
    return magnitude <= ATTN_I_FACTORED_MOST ? magnitude : INFINITY;
}

/* 1 if some number of these bits is past the limit, or none. */
static int any_past(float limit, truth magnitudes)
{
    int32_t limit_bits;
    memcpy(&limit_bits, &limit, sizeof limit_bits);
    const truth past = magnitudes > (truth){0} + limit_bits;
    uint64_t words[VECTOR_BYTES / sizeof(uint64_t)], any = 0;
    memcpy(words, &past, sizeof words);
    for (size_t i = 0; i < VECTOR_BYTES / sizeof(uint64_t); i++) any |= words[i];
    return any != 0;
}

/* The greatest magnitudes, those of each lane of a vector. */
static truth magnitudes(int64_t n, const float *from)
{
    truth most = {0};
    for (int64_t a = 0; a < n; a += WIDTH) most = greater_bits(magnitude_bits(load_part(from + a, n - a, 0)), most);
    return most;
}

enum {
    FROM_AHEAD = 2048, /* elements; rows mostly follow each other */
    LOOK = 8 * WIDTH   /* elements whose magnitude is looked at before they are converted */
};

float KERNEL(double_exponentials)(int64_t n, const float *from, float *to, float *less_one)
{
    truth most = {0};
    if (from == to && any_past(ATTN_I_FACTORED_MOST, magnitudes(n, from))) return INFINITY;
    int64_t a = 0;
    for (; a + WIDTH <= n; a += WIDTH) {
        const vec x = load(from + a);
        __builtin_prefetch(from + a + FROM_AHEAD);
        most = greater_bits(magnitude_bits(x), most);
        const exponentials e = exp_twice(x);
        store(e.whole, to + a);
        if (less_one != NULL) store(e.less_one, less_one + a);
    }
    if (a < n) {
        const vec x = load_part(from + a, n - a, 0);
        most = greater_bits(magnitude_bits(x), most);
        const exponentials e = exp_twice(x);
        store_part(e.whole, n - a, to + a);
        if (less_one != NULL) store_part(e.less_one, n - a, less_one + a);
    }
    return allowed(most);
}

float KERNEL(double_exponentials_less_one)(int64_t n, const float *from, float *to)
{
    truth all = {0};
    if (from == to && any_past(ATTN_I_FACTORED_NEAR, magnitudes(n, from))) return INFINITY;
    for (int64_t first = 0; first < n; first += LOOK) {
        const int64_t end = n - first < LOOK ? n : first + LOOK;
        const truth most = magnitudes(end - first, from + first);
        if (any_past(ATTN_I_FACTORED_NEAR, most)) return INFINITY; /* mostly at once */
        all = greater_bits(most, all);
        int64_t a = first;
        for (; a + WIDTH <= end; a += WIDTH) {
            __builtin_prefetch(from + a + FROM_AHEAD);
            store(exp_twice(load(from + a)).less_one, to + a);
        }
        if (a < end) store_part(exp_twice(load_part(from + a, end - a, 0)).less_one, end - a, to + a);
    }
    return allowed(all);
}

static ALWAYS_INLINE vec quotient(vec numerator, vec denominator)
{
#if defined(__AVX512F__)
    vec r = (vec)_mm512_rcp14_ps((__m512)denominator);
    r += r * (1 - denominator * r);
    return numerator * r;
#else
    return numerator / denominator;
#endif
}

/* A sum of weighted tanh as one fraction. */
typedef struct fraction {
    vec numerator, denominator;
} fraction;

/* A B - 1 = a b + added: with A and -1, or, where the key is near 0, A - 1 and B - 1. */
static ALWAYS_INLINE fraction weighted_tanh(vec weight, vec a, vec b, vec added)
{
    const vec up = a * b + added;
    return (fraction){weight * up, up + 2};
}

static ALWAYS_INLINE fraction add_fractions(fraction x, fraction y)
{
    return (fraction){x.numerator * y.denominator + y.numerator * x.denominator, x.denominator * y.denominator};
}

enum {
    MOST_QUERIES = 4,
    FETCHING = 2, /* queries, up to which it is memory that is waited for; keys mostly follow each other */
    AHEAD = 4096  /* elements ahead that memory is asked for then */
};

/* sums[i] += the terms of vectors a .. a + 4 WIDTH - 1, `sharing` fractions at a time over one denominator. */
static ALWAYS_INLINE void add_terms(int sharing, int queries, int near, int64_t a, const float *weights,
                                    attn_i_rows query, const float *key, vec sums[MOST_QUERIES])
{
    vec w[4], b[4], added[4];
    UNROLL for (int u = 0; u < 4; u++)
    {
        w[u] = load(weights + a + u * WIDTH);
        b[u] = load(key + a + u * WIDTH);
        added[u] = near ? b[u] : splat(-1);
        if (near) b[u] += 1;
        if (queries <= FETCHING) __builtin_prefetch(key + a + u * WIDTH + AHEAD, 0, 3);
        if (near) continue; /* there are not registers for all */
        IN_REGISTER(w[u]);
        IN_REGISTER(b[u]);
    }
    UNROLL for (int i = 0; i < queries; i++)
    {
        fraction f[4];
        UNROLL for (int u = 0; u < 4; u++)
        {
            f[u] = weighted_tanh(w[u], load(query.data + i * query.stride + a + u * WIDTH), b[u], added[u]);
        }
        if (sharing == 1) {
            UNROLL for (int u = 0; u < 4; u++) sums[i] += quotient(f[u].numerator, f[u].denominator);
            continue;
        }
        f[0] = add_fractions(f[0], f[1]);
        f[2] = add_fractions(f[2], f[3]);
        if (sharing == 2) {
            sums[i] += quotient(f[0].numerator, f[0].denominator) + quotient(f[2].numerator, f[2].denominator);
            continue;
        }
        f[0] = add_fractions(f[0], f[2]);
        sums[i] += quotient(f[0].numerator, f[0].denominator);
    }
}

static ALWAYS_INLINE void score_key(int sharing, int queries, int near, int64_t hidden, const float *weights,
                                    attn_i_rows query, const float *key, float *to)
{
    vec sums[MOST_QUERIES];
    UNROLL for (int i = 0; i < queries; i++) sums[i] = splat(0);
    int64_t a = 0;
    for (; a + 4 * WIDTH <= hidden; a += 4 * WIDTH) add_terms(sharing, queries, near, a, weights, query, key, sums);
    for (; a < hidden; a += WIDTH) {
        const vec w = load(weights + a), from = load(key + a), b = near ? from + 1 : from;
        UNROLL for (int i = 0; i < queries; i++)
        {
            const fraction f = weighted_tanh(w, load(query.data + i * query.stride + a), b, near ? from : splat(-1));
            sums[i] += quotient(f.numerator, f.denominator);
        }
    }
    float lanes[MOST_QUERIES][WIDTH];
    UNROLL for (int i = 0; i < queries; i++)
    {
        store(sums[i], lanes[i]);
        UNROLL for (int step = WIDTH / 2; step > 0; step /= 2)
        {
            UNROLL for (int l = 0; l < step; l++) lanes[i][l] += lanes[i][l + step];
        }
        to[i] = lanes[i][0];
    }
}

#define SCORE_KEYS(sharing, queries, near)                                                                             \
    for (int64_t j = 0; j < count; j++) {                                                                              \
        score_key(sharing, queries, near, hidden, weights, query, keys.data + j * keys.stride, to + j * ATTN_I_LANES); \
    }
#define SCORE_QUERIES(sharing, near)                                                                                   \
    if (queries == 4) {                                                                                                \
        SCORE_KEYS(sharing, 4, near)                                                                                   \
    } else if (queries == 2) {                                                                                         \
        SCORE_KEYS(sharing, 2, near)                                                                                   \
    } else {                                                                                                           \
        SCORE_KEYS(sharing, 1, near)                                                                                   \
    }
#define SCORE_SHARING(near)                                                                                            \
    if (sharing == 4) {                                                                                                \
        SCORE_QUERIES(4, near)                                                                                         \
    } else if (sharing == 2) {                                                                                         \
        SCORE_QUERIES(2, near)                                                                                         \
    } else {                                                                                                           \
        SCORE_QUERIES(1, near)                                                                                         \
    }

static void score_queries(int64_t hidden, int sharing, const float *weights, attn_i_rows query, int queries,
                          attn_i_rows keys, int64_t count, float *to)
{
    SCORE_SHARING(0)
}

static void score_queries_near(int64_t hidden, int sharing, const float *weights, attn_i_rows query, int queries,
                               attn_i_rows keys, int64_t count, float *to)
{
    SCORE_SHARING(1)
}

void KERNEL(factored_tanh)(int64_t hidden, int sharing, int near, const float *weights, attn_i_rows queries,
                           int64_t rows, attn_i_rows keys, int64_t count, float *to)
{
    for (int64_t i = 0, n; i < rows; i += n) {
        n = rows - i >= 4 ? 4 : rows - i >= 2 ? 2 : 1;
        const attn_i_rows some = {queries.data + i * queries.stride, queries.stride};
        if (near) {
            score_queries_near(hidden, sharing, weights, some, (int)n, keys, count, to + i);
        } else {
            score_queries(hidden, sharing, weights, some, (int)n, keys, count, to + i);
        }
    }
}
