/* SPDX-License-Identifier: BSD-3-Clause
 *
 * normalise.c: kernels of the normalisers: softmax and hardmax of one row. */
#include "kernels/elementary.h"

/* So many terms are summed in float32 at a time; the sums of these are added in float64. */
enum { BLOCK = 1024 };

static real maximum(int64_t n, const real *x)
{
    real lanes[LANES], most = (real)-INFINITY;
    for (int l = 0; l < LANES; l++) lanes[l] = most;
    int64_t j = 0;
    for (; j + LANES <= n; j += LANES) {
        for (int l = 0; l < LANES; l++) lanes[l] = x[j + l] > lanes[l] ? x[j + l] : lanes[l];
    }
    for (; j < n; j++) most = x[j] > most ? x[j] : most;
    for (int l = 0; l < LANES; l++) most = lanes[l] > most ? lanes[l] : most;
    return most;
}

/* 1 / temperature, kept finite: where the temperature is too small for it, 0 times the result is still 0 and anything
 * below 0 times it is as good as minus infinity. */
static real inverse(double temperature)
{
    double i = 1.0 / temperature;
    return i < REAL_MAX ? (real)i : (real)REAL_MAX;
}

/* p[j] = exp((x[j] - most) inverse), minus zero where x[j] is minus infinity; in place if store. Returns the sum and
 * counts the scores that are minus infinity. */
static double exponentials(int64_t n, real *x, real most, real inverse, int store, int64_t *unseen)
{
    const real hidden = (real)-INFINITY;
    double total = 0;
    int64_t count = 0;
    for (int64_t start = 0; start < n; start += BLOCK) {
        int64_t end = start + BLOCK < n ? start + BLOCK : n, j = start;
        real sums[LANES] = {0};
        int counts[LANES] = {0};
        for (; j + LANES <= end; j += LANES) {
            real p[LANES];
            for (int l = 0; l < LANES; l++) {
                real score = x[j + l];
                real e = real_exp((score - most) * inverse);
                p[l] = score == hidden ? (real)-0.0 : e;
                sums[l] += p[l];
                counts[l] += score == hidden;
            }
            if (store) {
                for (int l = 0; l < LANES; l++) x[j + l] = p[l];
            }
        }
        for (; j < end; j++) {
            real score = x[j];
            real p = score == hidden ? (real)-0.0 : real_exp((score - most) * inverse);
            sums[0] += p;
            counts[0] += score == hidden;
            if (store) x[j] = p;
        }
        real sum = 0;
        for (int l = 0; l < LANES; l++) {
            sum += sums[l];
            count += counts[l];
        }
        total += (double)sum;
    }
    *unseen = count;
    return total;
}

static attn_i_seen seen(int64_t n, int64_t unseen)
{
    return unseen == n ? ATTN_I_SEEN_NONE : unseen > 0 ? ATTN_I_SEEN_SOME : ATTN_I_SEEN_ALL;
}

/* The maximum passes over NaN; where nothing else is seen it is minus infinity, and must not be subtracted from the
 * scores that are. */
static real safe_maximum(int64_t n, const real *x)
{
    real most = maximum(n, x);
    return most == (real)-INFINITY ? 0 : most;
}

attn_i_seen KERNEL(softmax)(int64_t n, double temperature, void *row, double *logsumexp)
{
    real *x = row, most = safe_maximum(n, x), inv = inverse(temperature);
    int64_t unseen;
    double total = exponentials(n, x, most, inv, 1, &unseen);
    if (unseen == n) {
        *logsumexp = -INFINITY;
        return ATTN_I_SEEN_NONE;
    }
    *logsumexp = (double)most * (double)inv + log(total);
    real factor = (real)(1.0 / total);
    if (isnan(total)) { /* the product would take the mark off the unseen */
        for (int64_t j = 0; j < n; j++) x[j] = x[j] == 0 && signbit(x[j]) ? x[j] : factor;
    } else {
        for (int64_t j = 0; j < n; j++) x[j] *= factor;
    }
    return seen(n, unseen);
}

attn_i_seen KERNEL(hardmax)(int64_t n, double temperature, void *row, double *logsumexp)
{
    real *x = row, most = safe_maximum(n, x), inv = inverse(temperature);
    int64_t unseen, first = n;
    double total = exponentials(n, x, most, inv, 0, &unseen);
    *logsumexp = unseen == n ? -INFINITY : (double)most * (double)inv + log(total);
    int poisoned = 0; /* a NaN among the scores makes every weight NaN, as it does in softmax */
    for (int64_t j = 0; j < n; j++) poisoned |= x[j] != x[j];
    for (int64_t j = 0; j < n; j++) {
        const int hidden = x[j] == (real)-INFINITY;
        if (first == n && !hidden && x[j] == most) first = j;
        x[j] = hidden ? (real)-0.0 : poisoned ? (real)NAN : j == first ? 1 : 0;
    }
    return seen(n, unseen);
}
