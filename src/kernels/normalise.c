/* SPDX-License-Identifier: BSD-3-Clause
 *
 * kernels/normalise.c: kernels of the normalisers: softmax and hardmax of one row. */
#include "kernels/elementary.h"

#include <math.h>

/* So many terms are summed in the lanes of one vector; the sums of these are added in float64. */
enum { BLOCK = 64 * LANES };

#define HIDDEN ((real)-INFINITY)

static vec greater(vec score, vec most)
{
    return choose(score > most, score, most);
}

/* The greatest score. It passes over NaN; where nothing is seen it is 0, to be subtracted from scores all the same. */
static real maximum(int64_t n, const real *x)
{
    enum { CHAINS = 4 }; /* one comparison must not wait for the one before */
    vec most[CHAINS] = {splat(HIDDEN), splat(HIDDEN), splat(HIDDEN), splat(HIDDEN)};
    int64_t j = 0;
    for (; j + CHAINS * WIDTH <= n; j += CHAINS * WIDTH) {
        for (int c = 0; c < CHAINS; c++) most[c] = greater(load(x + j + c * WIDTH), most[c]);
    }
    for (; j < n; j += WIDTH) most[0] = greater(load_part(x + j, n - j, HIDDEN), most[0]);
    real lanes[WIDTH], all = HIDDEN;
    store(greater(greater(most[0], most[1]), greater(most[2], most[3])), lanes);
    for (int l = 0; l < WIDTH; l++) all = lanes[l] > all ? lanes[l] : all;
    return all == HIDDEN ? 0 : all;
}

/* 1 / temperature, kept finite: where the temperature is too small for it, 0 times the result is still 0 and anything
 * below 0 times it is as good as minus infinity. */
static real inverse(double temperature)
{
    double i = 1.0 / temperature;
    return i < REAL_MAX ? (real)i : REAL_MAX;
}

typedef struct total {
    double sum;
    int64_t unseen; /* scores of minus infinity */
} total;

/* exp((x - most) inverse) of each score, minus zero where it is minus infinity: their sum, and in place if store_them.
 * A temperature above 1 divides before the difference is taken, which could overflow, one below 1 after it. */
static inline total exponentials(int64_t n, real *x, real most, real inverse, int store_them)
{
    const real before = inverse < 1 ? inverse : 1, after = inverse < 1 ? 1 : inverse;
    total all = {0, 0};
    for (int64_t start = 0; start < n; start += BLOCK) {
        const int64_t end = start + BLOCK < n ? start + BLOCK : n;
        lane_sums sums = {{{0}}};
        truth unseen = {0};
        for (int64_t j = start; j < end; j += LANES) {
            for (int64_t k = 0, at = j; k < VECTORS && at < end; k++, at += WIDTH) {
                const vec score = load_part(x + at, end - at, HIDDEN);
                const truth hidden = score == splat(HIDDEN);
                const vec p = choose(hidden, splat((real)-0.0), vec_exp((score * before - most * before) * after));
                sums.part[k] += p;
                unseen += hidden;
                if (store_them) store_part(p, end - at, x + at);
            }
        }
        all.sum += (double)sum_lanes(sums);
        for (int l = 0; l < WIDTH; l++) all.unseen -= (int64_t)unseen[l];
    }
    const int64_t padding = (WIDTH - n % WIDTH) % WIDTH;
    all.unseen -= padding;
    return all;
}

static double logarithm(int64_t n, total all, real most, real inverse)
{
    return all.unseen == n ? -INFINITY : (double)most * (double)inverse + log(all.sum);
}

static attn_i_seen seen(int64_t n, total all)
{
    return all.unseen == n ? ATTN_I_SEEN_NONE : all.unseen > 0 ? ATTN_I_SEEN_SOME : ATTN_I_SEEN_ALL;
}

attn_i_seen KERNEL(softmax)(int64_t n, double temperature, void *row, double *logsumexp)
{
    real *x = row, most = maximum(n, x), inv = inverse(temperature);
    const total all = exponentials(n, x, most, inv, 1);
    *logsumexp = logarithm(n, all, most, inv);
    if (all.unseen == n) return ATTN_I_SEEN_NONE;
    const real factor = (real)(1.0 / all.sum);
    if (isnan(factor)) { /* the product would take the mark off the unseen */
        for (int64_t j = 0; j < n; j++) x[j] = x[j] == 0 && signbit(x[j]) ? x[j] : factor;
    } else {
        for (int64_t j = 0; j < n; j++) x[j] *= factor;
    }
    return seen(n, all);
}

/* entropy = log S - M / S, S = sum exp(t_j), M = sum exp(t_j) t_j, t_j = (x_j - most) inverse: as no t is above 0, both
 * parts are at least 0 and nothing cancels. */
void KERNEL(measure)(int64_t n, double temperature, const void *row, double *entropy, int64_t *strongest)
{
    const real *x = row, most = maximum(n, x), inv = inverse(temperature);
    const real before = inv < 1 ? inv : 1, after = inv < 1 ? 1 : inv; /* as in exponentials */
    double sum = 0, moment = 0;
    for (int64_t start = 0; start < n; start += BLOCK) {
        const int64_t end = start + BLOCK < n ? start + BLOCK : n;
        lane_sums sums = {{{0}}}, moments = {{{0}}};
        for (int64_t j = start; j < end; j += LANES) {
            for (int64_t k = 0, at = j; k < VECTORS && at < end; k++, at += WIDTH) {
                const vec score = load_part(x + at, end - at, HIDDEN);
                const truth hidden = score == splat(HIDDEN);
                vec t = (score * before - most * before) * after;
                t = choose(t < splat(EXP_LEAST), splat(EXP_LEAST), t); /* finite, so that 0 times it is 0 */
                const vec p = choose(hidden, splat(0), vec_exp(t));
                sums.part[k] += p;
                moments.part[k] += p * t;
            }
        }
        sum += (double)sum_lanes(sums);
        moment += (double)sum_lanes(moments);
    }
    *entropy = sum;
    *strongest = -1;
    if (!(sum > 0)) return;
    *entropy = log(sum) - moment / sum;
    *strongest = 0;
    while (x[*strongest] != most) ++*strongest;
}

void KERNEL(add_to_sums)(int64_t n, const void *row, double *sums)
{
    const real *x = row;
    for (int64_t j = 0; j < n; j++) sums[j] += (double)x[j];
}

attn_i_seen KERNEL(hardmax)(int64_t n, double temperature, void *row, double *logsumexp)
{
    real *x = row, most = maximum(n, x), inv = inverse(temperature);
    const total all = exponentials(n, x, most, inv, 0);
    *logsumexp = logarithm(n, all, most, inv);
    int poisoned = 0; /* a NaN among the scores makes every weight NaN, as it does in softmax */
    for (int64_t j = 0; j < n; j++) poisoned |= x[j] != x[j];
    if (most == (real)INFINITY && !poisoned) *logsumexp = INFINITY; /* though the sum took infinity from infinity */
    int64_t first = n;
    for (int64_t j = 0; j < n; j++) {
        const int hidden = x[j] == HIDDEN;
        if (first == n && !hidden && x[j] == most) first = j;
        x[j] = hidden ? (real)-0.0 : poisoned ? (real)NAN : j == first ? 1 : 0;
    }
    return seen(n, all);
}
