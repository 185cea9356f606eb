/* SPDX-License-Identifier: BSD-3-Clause
 *
 * kernels/gradient.c: kernels of the backward pass, each over one row of scores: weights from the log-sum-exp, and the
 * derivatives of softmax and of the modifiers. */
#include "kernels/elementary.h"

#include <math.h>

#define HIDDEN ((real)-INFINITY)

/* So many terms are summed in the lanes of one vector; the sums of these are added in float64. */
enum { BLOCK = 64 * LANES };

static vec seen_only(vec weight, vec x)
{
    return choose((truth)((bits_vec)weight == (bits_vec)splat((real)-0.0)), splat(0), x);
}

attn_i_seen KERNEL(weights_again)(int64_t n, double temperature, double logsumexp, void *row)
{
    real *x = row;
    const double i = 1.0 / temperature;
    const real inverse = i < REAL_MAX ? (real)i : REAL_MAX, all = (real)logsumexp;
    int64_t unseen = 0;
    for (int64_t start = 0; start < n; start += BLOCK) {
        const int64_t end = start + BLOCK < n ? start + BLOCK : n;
        truth hidden = {0};
        for (int64_t j = start; j < end; j += WIDTH) {
            const vec score = load_part(x + j, end - j, 0);
            const truth one = score == splat(HIDDEN);
            hidden += one;
            store_part(choose(one, splat((real)-0.0), vec_exp(score * inverse - all)), end - j, x + j);
        }
        for (int l = 0; l < WIDTH; l++) unseen -= (int64_t)hidden[l];
    }
    return unseen == n ? ATTN_I_SEEN_NONE : unseen > 0 ? ATTN_I_SEEN_SOME : ATTN_I_SEEN_ALL;
}

double KERNEL(weighted_sum)(int64_t n, const void *weights, const void *row)
{
    const real *w = weights, *x = row;
    double all = 0;
    for (int64_t start = 0; start < n; start += BLOCK) {
        const int64_t end = start + BLOCK < n ? start + BLOCK : n;
        lane_sums sums = {{{0}}};
        for (int64_t j = start; j < end; j += LANES) {
            for (int64_t k = 0, at = j; k < VECTORS && at < end; k++, at += WIDTH) {
                const vec weight = load_part(w + at, end - at, (real)-0.0);
                sums.part[k] += seen_only(weight, weight * load_part(x + at, end - at, 0));
            }
        }
        all += (double)sum_lanes(sums);
    }
    return all;
}

void KERNEL(softmax_gradient)(int64_t n, double mean, double factor, const void *weights, void *row)
{
    const real *w = weights;
    real *x = row;
    const vec m = splat((real)mean), f = splat(factor < REAL_MAX ? (real)factor : REAL_MAX);
    for (int64_t j = 0; j < n; j += WIDTH) {
        const vec weight = load_part(w + j, n - j, 0);
        const vec d = weight * (load_part(x + j, n - j, 0) - m) * f;
        store_part(choose((truth)((bits_vec)weight == (bits_vec)splat((real)-0.0)), splat((real)-0.0), d), n - j,
                   x + j);
    }
}

void KERNEL(cap_gradient)(int64_t n, double scale, double cap, const void *capped, void *row)
{
    const real *c = capped;
    real *x = row;
    const vec most = splat(cap > REAL_MAX ? REAL_MAX : cap < REAL_MIN ? REAL_MIN : (real)cap);
    const vec factor = splat(scale > REAL_MAX ? REAL_MAX : scale < -REAL_MAX ? -REAL_MAX : (real)scale);
    for (int64_t j = 0; j < n; j += WIDTH) {
        const vec d = load_part(x + j, n - j, 0);
        vec slope = factor;
        if (capped != NULL) {
            const vec t = load_part(c + j, n - j, 0) / most;
            slope *= 1 - t * t;
        }
        store_part(choose((truth)(d == splat(0)), d, d * slope), n - j, x + j);
    }
}

double KERNEL(alibi_gradient)(int64_t n, int64_t distance, const void *row)
{
    const real *x = row;
    double sum = 0;
    for (int64_t j = 0; j < n; j++) {
        const int64_t d = distance + j;
        sum -= (double)x[j] * (double)(d < 0 ? -d : d);
    }
    return sum;
}

void KERNEL(add_to)(int64_t n, const void *row, void *to, int64_t stride)
{
    const real *x = row;
    real *target = to;
    if (stride == 1) {
        for (int64_t j = 0; j < n; j++) target[j] += x[j];
    } else {
        for (int64_t j = 0; j < n; j++) target[j * stride] += x[j];
    }
}

void KERNEL(add_sum)(int64_t n, const void *row, void *to)
{
    const real *x = row;
    double sum = 0;
    for (int64_t j = 0; j < n; j++) sum += (double)x[j];
    *(real *)to += (real)sum;
}

void KERNEL(tanh_gradients)(int64_t hidden, const void *v, const void *query, int64_t n, const void *keys,
                            int64_t key_stride, const void *d_scores, void *d_query, void *d_keys, int64_t d_key_stride,
                            void *d_v)
{
    const real *w = v, *q = query, *c = d_scores;
    for (int64_t a = 0; a < hidden; a += WIDTH) {
        const int64_t rest = hidden - a;
        const vec x = load_part(q + a, rest, 0), weight = load_part(w + a, rest, 0);
        vec of_query = splat(0), of_v = splat(0);
        for (int64_t j = 0; j < n; j++) {
            if (c[j] == 0) continue; /* not seen, or as good */
            const vec t = vec_tanh(x + load_part((const real *)keys + j * key_stride + a, rest, 0));
            const vec through = c[j] * (1 - t * t);
            of_v += c[j] * t;
            of_query += through;
            if (d_keys == NULL) continue;
            real *to = (real *)d_keys + j * d_key_stride + a;
            store_part(load_part(to, rest, 0) + weight * through, rest, to);
        }
        if (d_query != NULL) {
            real *to = (real *)d_query + a;
            store_part(load_part(to, rest, 0) + weight * of_query, rest, to);
        }
        if (d_v != NULL) {
            real *to = (real *)d_v + a;
            store_part(load_part(to, rest, 0) + of_v, rest, to);
        }
    }
}
