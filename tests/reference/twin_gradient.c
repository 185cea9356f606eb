/* SPDX-License-Identifier: BSD-3-Clause
 *
 * twin_gradient.c: gradients of attention by the formulas, and a first-order bound on the rounding of each.
 */
#include "reference/twin_gradient.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "reference/twin_parts.h"

/* The magnitudes, continued from twin.c: M that of a score after all modifiers, R of a raw one, L of the log-sum-exp.
 *
 *   weights  a_ij = exp(x_ij - lse), x = e / tau, carries A_ij = a_ij (M_ij / tau + |x_ij| + L + |x_ij - lse| + 2):
 *            the log-sum-exp has been stored, so that its error is in every weight of the row
 *   da       T_ij = sum_d |d_context_d value_jd| + |d_weights_ij|
 *   D        sum_j a_ij da_ij - d_logsumexp carries S = sum_j A_ij T_ij + |D|; a context that has been stored carries
 * no more, as its magnitude is sum_j A_ij |v_jd| with a smaller A de       E_ij = (A_ij |da_ij - D| + a_ij (T_ij + S))
 * / tau softcap  de (1 - t^2), t = tanh(r / cap): (1 - t^2) E + |de| F, where F = 2 |t| ((1 - t^2) R / cap + |t|) + 1
 * is what 1 - t^2 carries: the rounding of t and what comes through it, and that of the difference tanh     of additive
 * and concat: the same with the magnitude of what is inside in place of R / cap sums     as they are, each term with
 * its magnitude
 */

/* A number that is being summed up, and its magnitude. */
struct tally {
    struct twin_sum sum;
    double magnitude;
};

static void tally_add(struct tally *tally, double term, double magnitude)
{
    twin_sum_add(&tally->sum, term);
    tally->magnitude += magnitude;
}

static struct tally *tallies(int64_t count)
{
    struct tally *block = calloc(count > 0 ? (size_t)count : 1, sizeof *block);
    if (!block) {
        fprintf(stderr, "twin_gradient: out of memory\n");
        abort();
    }
    return block;
}

struct work {
    const struct twin_problem *p;
    const struct twin_result *forward;
    const struct twin_flow *flow;
    int64_t value_dim;
    double tau;
    struct tally *out[TWIN_GRADIENTS];
    double *de, *de_magnitude; /* of one head: of scores after the modifiers, then of scores before them */
};

static bool seen(const struct work *w, int64_t row, int64_t j)
{
    return w->forward->scores[TWIN_MASKED][row * w->p->keys + j] != -INFINITY;
}

/* What 1 - t^2 carries, for a t whose argument carries inside. */
static double slope_magnitude(double t, double inside)
{
    return 2.0 * fabs(t) * ((1.0 - t) * (1.0 + t) * inside + fabs(t)) + 1.0;
}

/* de of one row, and what the row adds to d_value. */
static void normaliser_row(struct work *w, int64_t row, int64_t key_head, double *de, double *de_magnitude,
                           struct tally *d_centre)
{
    const struct twin_problem *p = w->p;
    const double *value = (p->value ? p->value : p->key) + key_head * p->keys * w->value_dim;
    struct tally *d_value = w->out[p->value ? TWIN_D_VALUE : TWIN_D_KEY] + key_head * p->keys * w->value_dim;
    const double *flow = w->flow->d_context ? w->flow->d_context + row * w->value_dim : NULL;
    const double d_lse = w->flow->d_logsumexp ? w->flow->d_logsumexp[row] : 0.0;
    const double lse = w->forward->logsumexp[row], lse_magnitude = w->forward->logsumexp_magnitude[row];
    double *bounds = twin_numbers(p->keys);
    const int64_t b = row / p->queries / p->query_heads;
    const bool predicts = p->local >= TWIN_PREDICTIVE;
    const double centre = predicts ? twin_centre(p, b, row % p->queries, row) : 0.0;
    const double centre_bound = predicts ? twin_centre_bound(p, b, row) : 0.0;
    const double spread = predicts ? 2.0 / (double)p->half_width : 0.0; /* 1 / sigma */
    struct tally mean = {{0.0, 0.0}, 0.0};

    for (int64_t j = 0; j < p->keys; j++) {
        if (!seen(w, row, j)) continue;
        const int64_t at = row * p->keys + j;
        const double x = w->forward->scores[TWIN_MASKED][at] / w->tau, a = exp(x - lse);
        const double gaussian = twin_gaussian(p, centre, j), keep = twin_keep(p, row, j) * gaussian;
        const double bound = w->forward->scores_magnitude[TWIN_MASKED][at] / w->tau;
        struct tally da = {{0.0, 0.0}, 0.0};
        bounds[j] = a * (bound + fabs(x) + lse_magnitude + fabs(x - lse) + 2.0);
        for (int64_t d = 0; flow && keep > 0.0 && d < w->value_dim; d++) {
            const double term = keep * flow[d] * value[j * w->value_dim + d];
            tally_add(&da, term, fabs(term));
            tally_add(&d_value[j * w->value_dim + d], a * keep * flow[d],
                      (bounds[j] + a) * keep * fabs(flow[d]) *
                          (1.0 + spread * spread * (fabs((double)j - centre) + centre_bound)));
        }
        if (w->flow->d_weights && keep > 0.0) {
            tally_add(&da, keep * w->flow->d_weights[at], keep * fabs(w->flow->d_weights[at]));
        }
        const double off = spread * (fabs((double)j - centre) + centre_bound) * spread;
        de[j] = twin_sum_total(da.sum);
        de_magnitude[j] = da.magnitude * (1.0 + off);
        if (p->local >= TWIN_PREDICTIVE) {
            const double by = ((double)j - centre) * spread * spread;
            tally_add(d_centre, a * de[j] * by,
                      (bounds[j] * de_magnitude[j] + a * de_magnitude[j]) * fabs(by) +
                          a * fabs(de[j]) * centre_bound * spread * spread);
        }
        tally_add(&mean, a * de[j], bounds[j] * de_magnitude[j]);
    }
    double rounded = 0.0; /* what comes of a context that was */
    for (int64_t d = 0; flow && w->flow->context && d < w->value_dim; d++) {
        const int64_t at = row * w->value_dim + d;
        rounded += flow[d] * (w->flow->context[at] - w->forward->context[at]);
    }
    const double shift = twin_sum_total(mean.sum) - d_lse;
    const double shift_magnitude = mean.magnitude + fabs(shift) + fabs(d_lse) + fabs(rounded) * w->flow->context_unit;
    for (int64_t j = 0; j < p->keys; j++) {
        if (!seen(w, row, j)) continue;
        const double a = exp(w->forward->scores[TWIN_MASKED][row * p->keys + j] / w->tau - lse);
        const double difference = de[j] - shift;
        de[j] = a * difference / w->tau;
        de_magnitude[j] = (bounds[j] * fabs(difference) + a * (de_magnitude[j] + shift_magnitude)) / w->tau;
    }
    free(bounds);
}

/* From the gradient of a centre, S sigmoid(v_p^T tanh(W_p q)), to what it is made of. */
static void centre_row(struct work *w, int64_t b, int64_t row, const struct tally *d_centre)
{
    const struct twin_problem *p = w->p;
    const double *q = p->query + row * p->query_dim;
    const double length = p->key_lengths ? (double)p->key_lengths[b] : (double)p->keys;
    const double share = length > 0.0 ? twin_centre(p, b, 0, row) / length : 0.0,
                 slope = length * share * (1.0 - share);
    const double d_u = twin_sum_total(d_centre->sum) * slope;
    const double inner = length > 0.0 ? twin_centre_bound(p, b, row) / length : 0.0;
    const double bound = d_centre->magnitude * slope + fabs(twin_sum_total(d_centre->sum)) * length * (inner + share);
    if (d_u == 0.0) return;
    for (int64_t a = 0; a < p->local_hidden; a++) {
        double inside = 0.0, total = 0.0;
        for (int64_t d = 0; d < p->query_dim; d++) {
            inside += p->W_p[a * p->query_dim + d] * q[d];
            total += fabs(p->W_p[a * p->query_dim + d] * q[d]);
        }
        const double t = tanh(inside), through = (1.0 - t) * (1.0 + t);
        const double of = bound * through + fabs(d_u) * slope_magnitude(t, total);
        tally_add(&w->out[TWIN_D_VP][a], d_u * t, bound * fabs(t) + fabs(d_u) * (fabs(t) + through * total));
        for (int64_t d = 0; d < p->query_dim; d++) {
            const double m = p->W_p[a * p->query_dim + d], v = p->v_p[a];
            tally_add(&w->out[TWIN_D_WP][a * p->query_dim + d], d_u * v * through * q[d], of * fabs(v * q[d]));
            tally_add(&w->out[TWIN_D_QUERY][row * p->query_dim + d], d_u * v * through * m, of * fabs(v * m));
        }
    }
}

/* From the gradient of the scores after the modifiers to that of the scores before them, before the scale as well. */
static void modifiers_row(struct work *w, int64_t b, int64_t h, int64_t i, int64_t row, double *de,
                          double *de_magnitude)
{
    const struct twin_problem *p = w->p;
    const double scale = twin_scale(p);

    for (int64_t j = 0; j < p->keys; j++) {
        if (!seen(w, row, j)) continue;
        const int64_t at = row * p->keys + j;
        tally_add(&w->out[TWIN_D_BIAS][at], de[j], de_magnitude[j]);
        if (p->relative != TWIN_NO_RELATIVE) {
            tally_add(&w->out[TWIN_D_TABLE][twin_table_place(p, b, h, i, j)], de[j], de_magnitude[j]);
        }
        if (p->alibi != TWIN_NONE) {
            const double distance = fabs((double)(twin_position(p, b, i, p->alibi) - j));
            tally_add(&w->out[TWIN_D_SLOPES][h], -distance * de[j], distance * de_magnitude[j]);
        }
        if (p->softcap > 0.0) {
            const double t = tanh(w->forward->scores[TWIN_RAW][at] / p->softcap), slope = (1.0 - t) * (1.0 + t);
            const double inside = w->forward->scores_magnitude[TWIN_RAW][at] / p->softcap;
            de_magnitude[j] = slope * de_magnitude[j] + fabs(de[j]) * slope_magnitude(t, inside);
            de[j] *= slope;
        }
        de[j] *= scale;
        de_magnitude[j] *= fabs(scale);
    }
}

/* From the gradient of a side's rows M x (M [width, dim] in a matrix of stride columns; NULL: x itself) to those of x
 * and M. Rows that take part in no score are left out, whatever they hold. */
static void unproject(const struct tally *side, const bool *used, const double *rows, int64_t count, int64_t dim,
                      const double *matrix, int64_t stride, int64_t width, struct tally *d_rows, struct tally *d_matrix)
{
    for (int64_t i = 0; i < count; i++) {
        for (int64_t a = 0; a < width && used[i]; a++) {
            const double flow = twin_sum_total(side[i * width + a].sum), magnitude = side[i * width + a].magnitude;
            if (!matrix) tally_add(&d_rows[i * dim + a], flow, magnitude);
            for (int64_t d = 0; matrix && d < dim; d++) {
                const double m = matrix[a * stride + d], x = rows[i * dim + d];
                tally_add(&d_rows[i * dim + d], flow * m, magnitude * fabs(m));
                tally_add(&d_matrix[a * stride + d], flow * x, magnitude * fabs(x));
            }
        }
    }
}

/* Through the score of one head. first is its first row; query and key, its queries and keys. */
static void score_head(struct work *w, int64_t first, int64_t key_head)
{
    const struct twin_problem *p = w->p;
    const bool hidden = p->score == TWIN_ADDITIVE || p->score == TWIN_CONCAT, concat = p->score == TWIN_CONCAT;
    const double *query = p->query + first * p->query_dim;
    const double *key = p->key ? p->key + key_head * p->keys * p->key_dim : NULL;
    double *v = hidden ? twin_score_vector(p) : NULL;
    struct twin_side left, right;
    twin_sides(p, query, key, &left, &right);
    const int64_t width = right.width;
    struct tally *d_left = tallies(p->queries * width), *d_right = tallies(p->keys * width);
    bool *query_used = calloc((size_t)p->queries + 1, sizeof *query_used);
    bool *key_used = calloc((size_t)p->keys + 1, sizeof *key_used);
    if (!query_used || !key_used) abort();

    for (int64_t i = 0; i < p->queries; i++) {
        for (int64_t j = 0; j < p->keys; j++) {
            if (!seen(w, first + i, j)) continue;
            const double de = w->de[i * p->keys + j], magnitude = w->de_magnitude[i * p->keys + j];
            query_used[i] = key_used[j] = true;
            for (int64_t a = 0; a < width; a++) {
                const double l = left.value[i * width + a], lm = left.magnitude[i * width + a];
                const double r = right.value[j * width + a], rm = right.magnitude[j * width + a];
                if (hidden) {
                    const double t = tanh(l + r), slope = (1.0 - t) * (1.0 + t);
                    const double bound = fabs(v[a]) * (magnitude * slope + fabs(de) * slope_magnitude(t, lm + rm));
                    tally_add(&d_left[i * width + a], de * v[a] * slope, bound);
                    tally_add(&d_right[j * width + a], de * v[a] * slope, bound);
                    tally_add(&w->out[TWIN_D_V][a], de * t,
                              magnitude * fabs(t) + fabs(de) * (slope * (lm + rm) + fabs(t)));
                } else {
                    tally_add(&d_left[i * width + a], de * r, magnitude * rm);
                    tally_add(&d_right[j * width + a], de * l, magnitude * lm);
                }
            }
            for (int64_t d = 0; p->score == TWIN_LOCATION && d < p->query_dim; d++) {
                const double m = p->W[j * p->query_dim + d], x = query[i * p->query_dim + d];
                tally_add(&w->out[TWIN_D_QUERY][(first + i) * p->query_dim + d], de * m, magnitude * fabs(m));
                tally_add(&w->out[TWIN_D_W][j * p->query_dim + d], de * x, magnitude * fabs(x));
            }
        }
    }
    if (p->score != TWIN_LOCATION) {
        const int64_t columns = p->query_dim + p->key_dim;
        const double *of_query = hidden ? p->W : NULL, *of_key = p->score == TWIN_GENERAL ? p->W : p->U;
        struct tally *d_of_key = w->out[p->score == TWIN_GENERAL ? TWIN_D_W : TWIN_D_U];
        if (concat) of_key = p->W + p->query_dim, d_of_key = w->out[TWIN_D_W] + p->query_dim;
        unproject(d_left, query_used, query, p->queries, p->query_dim, of_query, concat ? columns : p->query_dim, width,
                  w->out[TWIN_D_QUERY] + first * p->query_dim, w->out[TWIN_D_W]);
        unproject(d_right, key_used, key, p->keys, p->key_dim, of_key, concat ? columns : p->key_dim, width,
                  w->out[TWIN_D_KEY] + key_head * p->keys * p->key_dim, d_of_key);
        for (int64_t at = 0; hidden && p->b && at < p->queries * width; at++) {
            tally_add(&w->out[TWIN_D_B][at % width], twin_sum_total(d_left[at].sum), d_left[at].magnitude);
        }
    }
    free(v);
    free(d_left);
    free(d_right);
    free(query_used);
    free(key_used);
    twin_side_free(&left);
    twin_side_free(&right);
}

/* From the gradient of u = g v / |v| to those of v and g: with n = v / |v|, d_g = d_u . n and
 * d_v = g / |v| (d_u - (d_u . n) n). */
static void normalised_vector(struct work *w)
{
    const struct twin_problem *p = w->p;
    struct twin_sum square = {0.0, 0.0};
    struct tally *d_v = w->out[TWIN_D_V], along = {{0.0, 0.0}, 0.0};

    for (int64_t a = 0; a < p->hidden_dim; a++) twin_sum_add(&square, p->v[a] * p->v[a]);
    const double length = sqrt(twin_sum_total(square));
    for (int64_t a = 0; a < p->hidden_dim; a++) {
        const double n = p->v[a] / length;
        tally_add(&along, twin_sum_total(d_v[a].sum) * n, d_v[a].magnitude * fabs(n));
    }
    w->out[TWIN_D_G][0] = along;
    for (int64_t a = 0; a < p->hidden_dim; a++) {
        const double n = p->v[a] / length, factor = p->g[0] / length;
        tally_add(&d_v[a], -twin_sum_total(along.sum) * n, along.magnitude * fabs(n));
        const double value = twin_sum_total(d_v[a].sum) * factor;
        d_v[a] = (struct tally){{value, 0.0}, d_v[a].magnitude * fabs(factor)};
    }
}

static void count_elements(const struct twin_problem *p, int64_t count[TWIN_GRADIENTS])
{
    const int64_t rows = p->batch * p->query_heads * p->queries, keys = p->batch * p->key_heads * p->keys;
    const bool hidden = p->score == TWIN_ADDITIVE || p->score == TWIN_CONCAT;
    const int64_t W[] = {0,
                         0,
                         p->query_dim * p->key_dim,
                         p->W ? p->hidden_dim * p->query_dim : 0,
                         p->hidden_dim * (p->query_dim + p->key_dim),
                         p->keys * p->query_dim};
    count[TWIN_D_QUERY] = rows * p->query_dim;
    count[TWIN_D_KEY] = p->key ? keys * p->key_dim : 0;
    count[TWIN_D_VALUE] = p->value ? keys * p->value_dim : 0;
    count[TWIN_D_BIAS] = rows * p->keys;
    count[TWIN_D_SLOPES] = p->alibi != TWIN_NONE ? p->query_heads : 0;
    count[TWIN_D_W] = W[p->score];
    count[TWIN_D_U] = p->score == TWIN_ADDITIVE && p->U ? p->hidden_dim * p->key_dim : 0;
    count[TWIN_D_V] = hidden ? p->hidden_dim : 0;
    count[TWIN_D_B] = p->score == TWIN_ADDITIVE && p->b ? p->hidden_dim : 0;
    count[TWIN_D_TABLE] = p->relative != TWIN_NO_RELATIVE ? p->table_rows * p->table_columns : 0;
    count[TWIN_D_WP] = p->local >= TWIN_PREDICTIVE ? p->local_hidden * p->query_dim : 0;
    count[TWIN_D_VP] = p->local >= TWIN_PREDICTIVE ? p->local_hidden : 0;
    count[TWIN_D_G] = p->score == TWIN_ADDITIVE && p->g ? 1 : 0;
}

void twin_gradient_run(const struct twin_problem *p, const struct twin_result *forward, const struct twin_flow *flow,
                       struct twin_gradient_result *result)
{
    struct work w = {.p = p, .forward = forward, .flow = flow};
    w.value_dim = p->value ? p->value_dim : p->key_dim;
    w.tau = p->temperature > 0.0 ? p->temperature : 1.0;
    w.de = twin_numbers(p->queries * p->keys);
    w.de_magnitude = twin_numbers(p->queries * p->keys);
    count_elements(p, result->count);
    for (int g = 0; g < TWIN_GRADIENTS; g++) w.out[g] = tallies(result->count[g]);

    for (int64_t b = 0; b < p->batch; b++) {
        for (int64_t h = 0; h < p->query_heads; h++) {
            const int64_t key_head = b * p->key_heads + h / (p->query_heads / p->key_heads);
            const int64_t first = (b * p->query_heads + h) * p->queries;
            for (int64_t i = 0; i < p->queries; i++) {
                double *de = w.de + i * p->keys, *de_magnitude = w.de_magnitude + i * p->keys;
                struct tally d_centre = {{0.0, 0.0}, 0.0};
                normaliser_row(&w, first + i, key_head, de, de_magnitude, &d_centre);
                if (p->local >= TWIN_PREDICTIVE) centre_row(&w, b, first + i, &d_centre);
                modifiers_row(&w, b, h, i, first + i, de, de_magnitude);
            }
            score_head(&w, first, key_head);
        }
    }
    if (result->count[TWIN_D_G] > 0) normalised_vector(&w);
    for (int g = 0; g < TWIN_GRADIENTS; g++) {
        result->value[g] = twin_numbers(result->count[g]);
        result->magnitude[g] = twin_numbers(result->count[g]);
        for (int64_t at = 0; at < result->count[g]; at++) {
            result->value[g][at] = twin_sum_total(w.out[g][at].sum);
            result->magnitude[g][at] = w.out[g][at].magnitude;
        }
        free(w.out[g]);
    }
    free(w.de);
    free(w.de_magnitude);
}

void twin_gradient_free(struct twin_gradient_result *result)
{
    for (int g = 0; g < TWIN_GRADIENTS; g++) {
        free(result->value[g]);
        free(result->magnitude[g]);
    }
    memset(result, 0, sizeof *result);
}
