/* SPDX-License-Identifier: BSD-3-Clause
 *
 * twin.c: attention by the formulas, and a first-order bound on the rounding of each result. Its own sums are
 * compensated, so that it is nearly exact against a float64 implementation as well.
 */
#include "reference/twin_parts.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The magnitudes. Let eps be the precision of the implementation under test. Every magnitude below is the sum of the
 * absolute values of everything that was added or multiplied on the way, each term times the derivative of what follows
 * it:
 *
 *   score    dot, location: |scale| sum |q_d k_d|;  general: |scale| |q|^T |W| |k|
 *            additive, concat: |scale| sum_a |v_a| (|t_a| + (1 - t_a^2) z_a), where t_a = tanh(.) and z_a is the sum of
 *            the absolute terms inside it (t_a: the rounding of tanh itself; z_a: what comes through tanh). By tiles,
 *            a key that has a projection past 0.5 is kept as exp(2 k): z_a has 1 more, since a rounding of the
 *            exponential is one of k + 1
 *   softcap  M' = (1 - t^2) M + |e|, t = tanh(r / cap)
 *   bias     M' = M + |bias| + |slope distance| + |e|
 *   weights  x = e / tau carries X_ij = M_ij / tau + |x_ij - max| (the difference is rounded, too), so that
 *            a_ij = exp(x_ij - max) / sum carries A_ij = a_ij (X_ij + sum_j' a_ij' X_ij' + 3): the 3 is one each for
 *            exp, the sum and the quotient. By tiles, no weight is less than 2^-64 of a reference, and the sum is not
 *            less than 2^-38 of that for each of n keys: A_ij has 1 / 8n more. A sink is a score that carries |sink|
 *   context  sum_j A_ij |v_jd| (the 3 above leaves room for this sum)
 *   lse      sum_j a_ij X_ij + |max| + |lse| + 1
 *   entropy  sum_j A_ij (|log a_ij| + 1 + H) + H + 1, the derivative of a log a being log a + 1; by tiles the
 * logarithms are of weights that stand up to 2^17 from the sum, which 12 more allow for. What is less than 2^-64 there
 *            is held with its logarithm, and is nothing in a sum
 *   key sum  sum_i A_ij
 *
 * One rounding is eps / 2, so a chain of n roundings of one term needs a factor n / 2 in the worst case. Sums of n
 * terms do not reach their worst case: roundings have random signs, which makes the error of a sum of mixed signs about
 * eps / 2 times its magnitude, and of a sum of n positive terms added one by one eps / 2 sqrt(n / 3). With 8 or more
 * partial sums (any vector code), 4096 positive terms give about 7 eps, 700 terms 3 eps. The chains beside the sums
 * (scale, cap, 1 / tau, projections, g / |v|) are some six roundings long. A factor of 16 holds both, and a wrong
 * term shows as a ratio of 1 / eps.
 */

double *twin_numbers(int64_t count)
{
    double *block = calloc(count > 0 ? (size_t)count : 1, sizeof *block);
    if (!block) {
        fprintf(stderr, "twin: out of memory\n");
        abort();
    }
    return block;
}

double twin_sum_total(struct twin_sum sum)
{
    return isfinite(sum.rest) ? sum.value + sum.rest : sum.value;
}

/* out = M x + shift for each row x, M [width, dim] in a matrix of stride columns; M NULL: out = x + shift. */
static struct twin_side project(const double *rows, int64_t count, int64_t dim, const double *matrix, int64_t stride,
                                int64_t width, const double *shift)
{
    struct twin_side side = {twin_numbers(count * width), twin_numbers(count * width), width};
    for (int64_t i = 0; i < count; i++) {
        const double *x = rows + i * dim;
        for (int64_t a = 0; a < width; a++) {
            struct twin_sum value = {shift ? shift[a] : 0.0, 0.0};
            double magnitude = fabs(value.value);
            for (int64_t d = matrix ? 0 : a; d < (matrix ? dim : a + 1); d++) {
                double term = matrix ? matrix[a * stride + d] * x[d] : x[d];
                twin_sum_add(&value, term);
                magnitude += fabs(term);
            }
            side.value[i * width + a] = twin_sum_total(value);
            side.magnitude[i * width + a] = magnitude;
        }
    }
    return side;
}

double *twin_score_vector(const struct twin_problem *p)
{
    double *v = twin_numbers(p->hidden_dim);
    struct twin_sum square = {0.0, 0.0};
    for (int64_t a = 0; a < p->hidden_dim; a++) twin_sum_add(&square, p->v[a] * p->v[a]);
    for (int64_t a = 0; a < p->hidden_dim; a++)
        v[a] = p->g ? p->g[0] * p->v[a] / sqrt(twin_sum_total(square)) : p->v[a];
    return v;
}

double twin_scale(const struct twin_problem *p)
{
    if (p->scale_given) return p->scale;
    return p->score == TWIN_SCALED_DOT ? 1.0 / sqrt((double)p->key_dim) : 1.0;
}

static void round_exponentials(struct twin_side *keys, int64_t count)
{
    for (int64_t j = 0; j < count; j++) {
        double most = 0.0;
        for (int64_t a = 0; a < keys->width; a++) most = fmax(most, fabs(keys->value[j * keys->width + a]));
        if (most < 0.4999) continue;
        for (int64_t a = 0; a < keys->width; a++) keys->magnitude[j * keys->width + a] += 1.0;
    }
}

void twin_sides(const struct twin_problem *p, const double *query, const double *key, struct twin_side *left,
                struct twin_side *right)
{
    *right = (struct twin_side){NULL, NULL, 0};
    if (p->score == TWIN_ADDITIVE || p->score == TWIN_CONCAT) {
        bool concat = p->score == TWIN_CONCAT;
        int64_t columns = p->query_dim + p->key_dim;
        *left = project(query, p->queries, p->query_dim, p->W, concat ? columns : p->query_dim, p->hidden_dim,
                        concat ? NULL : p->b);
        *right = project(key, p->keys, p->key_dim, concat ? p->W + p->query_dim : p->U, concat ? columns : p->key_dim,
                         p->hidden_dim, NULL);
        if (p->tiles) round_exponentials(right, p->keys);
    } else if (p->score == TWIN_LOCATION) {
        *left = project(query, p->queries, p->query_dim, p->W, p->query_dim, p->keys, NULL);
    } else {
        *left = project(query, p->queries, p->query_dim, NULL, 0, p->query_dim, NULL);
        *right =
            project(key, p->keys, p->key_dim, p->score == TWIN_GENERAL ? p->W : NULL, p->key_dim, p->query_dim, NULL);
    }
}

void twin_side_free(struct twin_side *side)
{
    free(side->value);
    free(side->magnitude);
}

/* Raw scores and magnitudes of one head. */
static void score_head(const struct twin_problem *p, const double *query, const double *key, double *raw,
                       double *magnitude)
{
    bool hidden = p->score == TWIN_ADDITIVE || p->score == TWIN_CONCAT;
    double *v = hidden ? twin_score_vector(p) : NULL;
    double scale = twin_scale(p);
    struct twin_side left, right;

    twin_sides(p, query, key, &left, &right);
    for (int64_t i = 0; i < p->queries; i++) {
        for (int64_t j = 0; j < p->keys; j++) {
            const double *l = left.value + i * left.width, *lm = left.magnitude + i * left.width;
            const double *r = right.value + j * right.width, *rm = right.magnitude + j * right.width;
            struct twin_sum e = {0.0, 0.0};
            double m = 0.0;
            for (int64_t d = 0; d < right.width; d++) {
                if (hidden) {
                    double t = tanh(l[d] + r[d]);
                    twin_sum_add(&e, v[d] * t);
                    m += fabs(v[d]) * (fabs(t) + (1.0 - t * t) * (lm[d] + rm[d]));
                } else {
                    twin_sum_add(&e, l[d] * r[d]);
                    m += lm[d] * rm[d];
                }
            }
            raw[i * p->keys + j] = scale * (p->score == TWIN_LOCATION ? l[j] : twin_sum_total(e));
            magnitude[i * p->keys + j] = fabs(scale) * (p->score == TWIN_LOCATION ? lm[j] : m);
        }
    }
    free(v);
    twin_side_free(&left);
    twin_side_free(&right);
}

int64_t twin_position(const struct twin_problem *p, int64_t b, int64_t i, enum twin_align align)
{
    if (align == TWIN_TOP_LEFT) return p->query_start + i;
    return (p->key_lengths ? p->key_lengths[b] : p->keys) - p->queries + i;
}

/* The bucket of T5's code: distances below half of the buckets have one each, the rest share by logarithm. */
static int64_t t5_bucket(int64_t distance, int64_t buckets, int64_t max_distance)
{
    int64_t exact = buckets / 2, bucket = exact;
    if (distance < exact) return distance;
    /* The greatest bucket whose range begins at or before the distance, be it that rounded logarithms miss a range that
     * begins right there. */
    double share = log((double)distance / (double)exact) / log((double)max_distance / (double)exact);
    bucket += (int64_t)(share * (double)(buckets - exact) + 1e-9);
    return bucket < buckets ? bucket : buckets - 1;
}

int64_t twin_table_place(const struct twin_problem *p, int64_t b, int64_t h, int64_t i, int64_t j)
{
    int64_t distance = j - twin_position(p, b, i, p->relative_align), m = p->max_distance, column = 0;
    if (p->relative == TWIN_CLIPPED) column = m + (distance < -m ? -m : distance > m ? m : distance);
    if (p->relative == TWIN_T5_CAUSAL) column = t5_bucket(distance < 0 ? -distance : 0, p->table_columns, m);
    if (p->relative == TWIN_T5) {
        column = t5_bucket(distance < 0 ? -distance : distance, p->table_columns / 2, m);
        if (distance > 0) column += p->table_columns / 2;
    }
    return (p->table_rows == 1 ? 0 : h) * p->table_columns + column;
}

static int64_t valid_keys(const struct twin_problem *p, int64_t b)
{
    return p->key_lengths ? p->key_lengths[b] : p->keys;
}

double twin_centre(const struct twin_problem *p, int64_t b, int64_t i, int64_t row)
{
    const double length = (double)valid_keys(p, b);
    if (p->local == TWIN_MONOTONIC) return fmin((double)(p->query_start + i), length - 1.0);
    struct twin_sum u = {0.0, 0.0};
    for (int64_t a = 0; a < p->local_hidden; a++) {
        struct twin_sum inside = {0.0, 0.0};
        for (int64_t d = 0; d < p->query_dim; d++) {
            twin_sum_add(&inside, p->W_p[a * p->query_dim + d] * p->query[row * p->query_dim + d]);
        }
        twin_sum_add(&u, p->v_p[a] * tanh(twin_sum_total(inside)));
    }
    return length / (1.0 + exp(-twin_sum_total(u)));
}

double twin_centre_bound(const struct twin_problem *p, int64_t b, int64_t row)
{
    const double length = (double)valid_keys(p, b), share = twin_centre(p, b, 0, row) / fmax(length, 1.0);
    double bound = 1.0;
    for (int64_t a = 0; a < p->local_hidden; a++) {
        double inside = 0.0, total = 0.0;
        for (int64_t d = 0; d < p->query_dim; d++) {
            const double term = p->W_p[a * p->query_dim + d] * p->query[row * p->query_dim + d];
            inside += term;
            total += fabs(term);
        }
        const double t = tanh(inside);
        bound += fabs(p->v_p[a]) * (fabs(t) + (1.0 - t * t) * total);
    }
    return length * share + length * share * (1.0 - share) * bound;
}

double twin_gaussian(const struct twin_problem *p, double centre, int64_t j)
{
    const double sigma = (double)p->half_width / 2.0, distance = ((double)j - centre) / sigma;
    return p->local >= TWIN_PREDICTIVE ? exp(-0.5 * distance * distance) : 1.0;
}

static bool may_see(const struct twin_problem *p, int64_t b, int64_t i, int64_t j, int64_t at)
{
    if (p->local != TWIN_GLOBAL) {
        double centre = twin_centre(p, b, i, at / p->keys);
        if (p->local == TWIN_PREDICTIVE_FLOOR) centre = floor(centre);
        if (fabs((double)j - centre) > (double)p->half_width) return false;
    }
    if (p->mask && !p->mask[at]) return false;
    if (p->key_lengths && j >= p->key_lengths[b]) return false;
    if (p->causal != TWIN_NONE && j > twin_position(p, b, i, p->causal)) return false;
    if (p->window != TWIN_NONE) {
        int64_t centre = twin_position(p, b, i, p->window);
        if (p->left >= 0 && j < centre - p->left) return false;
        if (p->right >= 0 && j > centre + p->right) return false;
    }
    return true;
}

/* Stages capped and masked of the row of query i, from its raw stage. */
static void modify_row(const struct twin_problem *p, struct twin_result *r, int64_t b, int64_t h, int64_t i,
                       int64_t row)
{
    for (int64_t j = 0; j < p->keys; j++) {
        int64_t at = row * p->keys + j;
        double e = r->scores[TWIN_RAW][at], m = r->scores_magnitude[TWIN_RAW][at];
        if (p->softcap > 0.0) {
            double t = tanh(e / p->softcap);
            e = p->softcap * t;
            m = (1.0 - t * t) * m + fabs(e);
        }
        r->scores[TWIN_CAPPED][at] = e;
        r->scores_magnitude[TWIN_CAPPED][at] = m;
        if (p->bias) {
            e += p->bias[at];
            m += fabs(p->bias[at]) + fabs(e);
        }
        if (p->relative != TWIN_NO_RELATIVE) {
            double shift = p->table[twin_table_place(p, b, h, i, j)];
            e += shift;
            m += fabs(shift) + fabs(e);
        }
        if (p->alibi != TWIN_NONE) {
            double slant = p->slopes[h] * fabs((double)(twin_position(p, b, i, p->alibi) - j));
            e -= slant;
            m += fabs(slant) + fabs(e);
        }
        r->scores[TWIN_MASKED][at] = may_see(p, b, i, j, at) ? e : -INFINITY;
        r->scores_magnitude[TWIN_MASKED][at] = m;
    }
}

/* Word `index` of Philox4x32-10 (Salmon 2011, section 3.3), its state being (left 0, right 0, left 1, right 1). */
static uint32_t philox(const uint32_t counter[4], uint64_t key, int64_t index)
{
    uint32_t l0 = counter[0], r0 = counter[1], l1 = counter[2], r1 = counter[3];
    uint32_t k0 = (uint32_t)(key & 0xffffffffU), k1 = (uint32_t)(key >> 32);
    for (int round = 0; round < 10; round++, k0 += 0x9E3779B9U, k1 += 0xBB67AE85U) {
        uint64_t product0 = 0xD2511F53ULL * l0, product1 = 0xCD9E8D57ULL * l1;
        l0 = (uint32_t)(product1 >> 32) ^ r0 ^ k0;
        l1 = (uint32_t)(product0 >> 32) ^ r1 ^ k1;
        r0 = (uint32_t)(product1 & 0xffffffffU);
        r1 = (uint32_t)(product0 & 0xffffffffU);
    }
    return index == 0 ? l0 : index == 1 ? r0 : index == 2 ? l1 : r1;
}

double twin_keep(const struct twin_problem *p, int64_t row, int64_t j)
{
    uint64_t r = p->dropout_offset + (uint64_t)row, block = (uint64_t)j / 4;
    uint32_t counter[4] = {(uint32_t)(block & 0xffffffffU), (uint32_t)(r & 0xffffffffU), (uint32_t)(r >> 32),
                           (uint32_t)(block >> 32)};
    if (!(p->dropout > 0.0)) return 1.0;
    return philox(counter, p->dropout_seed, j % 4) < floor(p->dropout * 4294967296.0) ? 0.0 : 1.0 / (1.0 - p->dropout);
}

/* Roundings decide which of two scores is the greater. */
static bool rivals(const struct twin_problem *p, const double *e, const double *m, int64_t j, int64_t best)
{
    return e[best] - e[j] <= p->tie * (m[j] + m[best]);
}

/* The weights and the log-sum-exp of one row. A score of minus infinity is a key that is not seen. */
/* Of the weights before dropout, divided by their sum where they are not normalised. */
static void entropy_of_row(const struct twin_problem *p, struct twin_result *r, int64_t row)
{
    const double *weight = r->undropped + row * p->keys, *bound = r->undropped_magnitude + row * p->keys;
    const double held = p->tiles ? 0.125 / (double)p->keys : 0.0;
    struct twin_sum total = {0.0, 0.0}, entropy = {0.0, 0.0};
    double magnitude = p->tiles ? 13.0 : 1.0;
    for (int64_t j = 0; j < p->keys; j++) twin_sum_add(&total, weight[j]);
    const double all = twin_sum_total(total);
    for (int64_t j = 0; j < p->keys; j++) {
        if (weight[j] != 0.0) twin_sum_add(&entropy, -weight[j] / all * log(weight[j] / all));
    }
    r->entropy[row] = twin_sum_total(entropy);
    for (int64_t j = 0; j < p->keys; j++) {
        if (weight[j] == 0.0) continue;
        magnitude += (bound[j] - held) / all * (fabs(log(weight[j] / all)) + 1.0 + r->entropy[row]);
    }
    r->entropy_magnitude[row] = p->hardmax ? 0.0 : magnitude + r->entropy[row];
}

static void normalise_row(const struct twin_problem *p, struct twin_result *r, int64_t row)
{
    const double *e = r->scores[TWIN_MASKED] + row * p->keys, *m = r->scores_magnitude[TWIN_MASKED] + row * p->keys;
    double *weight = r->scores[TWIN_WEIGHTS] + row * p->keys;
    double *bound = r->scores_magnitude[TWIN_WEIGHTS] + row * p->keys;
    double tau = p->temperature > 0.0 ? p->temperature : 1.0;
    int64_t best = -1;
    struct twin_sum total = {0.0, 0.0};
    double mean = 0.0; /* sum_j a_ij X_ij */
    bool tied = false; /* under hardmax: roundings decide whether it is the best that gets the weight */
    const double sink = p->sinks ? p->sinks[row / p->queries % p->query_heads] : -INFINITY;

    for (int64_t j = 0; j < p->keys; j++) {
        bool seen = e[j] != -INFINITY;
        if (seen && (best < 0 || e[j] > e[best] || (isnan(e[j]) && !isnan(e[best])))) best = j;
    }
    if (best < 0) {
        r->logsumexp[row] = sink / tau;
        r->logsumexp_magnitude[row] = p->sinks ? fabs(sink / tau) : 0.0;
        return;
    }
    const double top = sink > e[best] ? sink : e[best];
    for (int64_t j = 0; j < p->keys; j++) {
        if (e[j] == -INFINITY) continue;
        weight[j] = exp((e[j] - top) / tau);
        twin_sum_add(&total, weight[j]);
    }
    if (p->sinks) twin_sum_add(&total, exp((sink - top) / tau));
    for (int64_t j = 0; j < p->keys; j++) {
        if (e[j] == -INFINITY) continue;
        weight[j] /= twin_sum_total(total);
        bound[j] = (m[j] + fabs(e[j] - top)) / tau;
        mean += weight[j] * bound[j];
        tied |= p->hardmax && j != best && rivals(p, e, m, j, best);
    }
    if (p->sinks) mean += exp((sink - top) / tau) / twin_sum_total(total) * (fabs(sink) + top - sink) / tau;
    r->logsumexp[row] = top / tau + log(twin_sum_total(total));
    r->logsumexp_magnitude[row] = mean + fabs(top) / tau + fabs(r->logsumexp[row]) + 1.0;
    for (int64_t j = 0; j < p->keys; j++) {
        if (e[j] == -INFINITY) continue;
        if (p->hardmax) {
            weight[j] = isnan(e[best]) ? e[best] : (j == best ? 1.0 : 0.0);
            bound[j] = j == best ? (tied ? INFINITY : 0.0) : rivals(p, e, m, j, best) ? INFINITY : 0.0;
        } else {
            bound[j] = weight[j] * (bound[j] + mean + 3.0) + (p->tiles ? 0.125 / (double)p->keys : 0.0);
        }
        const double keep = twin_keep(p, row, j);
        if (p->local >= TWIN_PREDICTIVE) {
            /* The centre carries some roundings of the numbers that it is made of, of which S is the greatest. */
            const int64_t i = row % p->queries, b = row / p->queries / p->query_heads;
            const double centre = twin_centre(p, b, i, row), g = twin_gaussian(p, centre, j);
            const double sigma = (double)p->half_width / 2.0, distance = fabs((double)j - centre);
            bound[j] = bound[j] * g +
                       weight[j] * g * (1.0 + distance / sigma / sigma * (distance + twin_centre_bound(p, b, row)));
            weight[j] *= g;
        }
        const int64_t to = row * p->keys + j, sum = row / p->queries * p->keys + j;
        r->undropped[to] = weight[j];
        r->undropped_magnitude[to] = bound[j] + weight[j];
        r->key_sums[sum] += weight[j];
        r->key_sums_magnitude[sum] += r->undropped_magnitude[to];
        weight[j] = keep > 0.0 ? weight[j] * keep : 0.0;
        bound[j] = bound[j] / (1.0 - p->dropout) + weight[j];
    }
    entropy_of_row(p, r, row);
}

static void context_row(const struct twin_problem *p, struct twin_result *r, const double *value, int64_t row)
{
    int64_t dim = p->value ? p->value_dim : p->key_dim;
    const double *e = r->scores[TWIN_MASKED] + row * p->keys;
    const double *weight = r->scores[TWIN_WEIGHTS] + row * p->keys;
    const double *bound = r->scores_magnitude[TWIN_WEIGHTS] + row * p->keys;

    for (int64_t d = 0; d < dim; d++) {
        struct twin_sum total = {0.0, 0.0};
        double magnitude = 0.0;
        for (int64_t j = 0; j < p->keys; j++) {
            if (e[j] == -INFINITY) continue;
            if (twin_keep(p, row, j) == 0.0) {
                /* What is dropped was summed beside the rest: its rounding stays. */
                if (isfinite(value[j * dim + d] * bound[j])) magnitude += bound[j] * fabs(value[j * dim + d]);
                continue;
            }
            twin_sum_add(&total, weight[j] * value[j * dim + d]);
            if (isinf(bound[j]))
                magnitude = INFINITY; /* a tie of hardmax: any finite number is taken */
            else
                magnitude +=
                    (p->hardmax && p->local < TWIN_PREDICTIVE ? weight[j] : bound[j]) * fabs(value[j * dim + d]);
        }
        r->context[row * dim + d] = twin_sum_total(total);
        r->context_magnitude[row * dim + d] = magnitude;
    }
}

void twin_run(const struct twin_problem *p, struct twin_result *result)
{
    int64_t dim = p->value ? p->value_dim : p->key_dim;
    int64_t rows = p->batch * p->query_heads * p->queries;
    const double *values = p->value ? p->value : p->key;

    memset(result, 0, sizeof *result);
    result->context = twin_numbers(rows * dim);
    result->context_magnitude = twin_numbers(rows * dim);
    result->logsumexp = twin_numbers(rows);
    result->logsumexp_magnitude = twin_numbers(rows);
    result->undropped = twin_numbers(rows * p->keys);
    result->undropped_magnitude = twin_numbers(rows * p->keys);
    result->entropy = twin_numbers(rows);
    result->entropy_magnitude = twin_numbers(rows);
    result->key_sums = twin_numbers(p->batch * p->query_heads * p->keys);
    result->key_sums_magnitude = twin_numbers(p->batch * p->query_heads * p->keys);
    for (int stage = 0; stage < TWIN_STAGES; stage++) {
        result->scores[stage] = twin_numbers(rows * p->keys);
        result->scores_magnitude[stage] = twin_numbers(rows * p->keys);
    }
    for (int64_t b = 0; b < p->batch; b++) {
        for (int64_t h = 0; h < p->query_heads; h++) {
            int64_t key_head = b * p->key_heads + h / (p->query_heads / p->key_heads);
            int64_t first = (b * p->query_heads + h) * p->queries;
            score_head(p, p->query + first * p->query_dim, p->key ? p->key + key_head * p->keys * p->key_dim : NULL,
                       result->scores[TWIN_RAW] + first * p->keys,
                       result->scores_magnitude[TWIN_RAW] + first * p->keys);
            for (int64_t i = 0; i < p->queries; i++) {
                modify_row(p, result, b, h, i, first + i);
                normalise_row(p, result, first + i);
                context_row(p, result, values + key_head * p->keys * dim, first + i);
            }
        }
    }
}

void twin_free(struct twin_result *result)
{
    free(result->context);
    free(result->context_magnitude);
    free(result->logsumexp);
    free(result->logsumexp_magnitude);
    free(result->undropped);
    free(result->undropped_magnitude);
    free(result->entropy);
    free(result->entropy_magnitude);
    free(result->key_sums);
    free(result->key_sums_magnitude);
    for (int stage = 0; stage < TWIN_STAGES; stage++) {
        free(result->scores[stage]);
        free(result->scores_magnitude[stage]);
    }
    memset(result, 0, sizeof *result);
}
