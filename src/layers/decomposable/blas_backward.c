/* SPDX-License-Identifier: BSD-3-Clause
 *
 * layers/decomposable/blas_backward.c: the way back of the decomposable attention by whole matrices, a chunk of rows of
 * a at a time: scores, both weights of them by the saved log-sum-exps, their gradient (see
 * layers/decomposable/tiles_backward.c for the formulas), and the products that take it from there. Products run on the
 * calling thread, the rest on the engine's. */
#include "layers/decomposable/blas.h"

#include "runtime/blas.h"
#include "runtime/size.h"

#include <math.h>
#include <string.h>

typedef struct run {
    const attn_i_decomposable *d;
    attn_i_pairs pairs;
    attn_i_operand d_beta, d_alpha;
    int along, across; /* whether a gradient flows in from beta, from alpha */

    /* Of a chunk. */
    char *scores;          /* then the weights of alpha */
    char *weights;         /* of beta */
    char *d_scores, *part; /* their gradient by way of beta, then all of it; by way of alpha */
    char *d_f, *d_a;       /* d_a is d_f where a is f */
    double *mean;          /* of each row */

    /* Of a head. */
    char *d_g, *d_b;               /* d_b is d_g where b is g */
    char *reference, *column_mean; /* [Tb]: the log-sum-exps */
    char *rest, *partial; /* [Tb]; if they are great: 1 / sum of exp(e - reference), the greatest scores; room */
    double *sum;          /* [Tb] */
    int great;
    char *row; /* [max(Da, Db)], twice */
} run;

/* ---------------------------------------------------------------------------------------------- layout */

static void lay_out(run *r, const attn_i_decomposable *d, attn_i_arena *arena)
{
    *r = (run){.d = d, .along = d->d_beta.data != NULL, .across = d->d_alpha.data != NULL};
    attn_i_pairs_layout(&r->pairs, d, arena);
    const int64_t rows = r->pairs.rows;
    if (r->along) r->d_beta = attn_i_operand_layout_stored(arena, &d->d_beta, 0, &d->storage);
    if (r->across) r->d_alpha = attn_i_operand_layout_stored(arena, &d->d_alpha, 0, &d->storage);
    r->scores = attn_i_pairs_scores(&r->pairs, arena);
    if (r->along) r->weights = attn_i_pairs_scores(&r->pairs, arena);
    r->d_scores = attn_i_pairs_scores(&r->pairs, arena);
    if (r->across) r->part = attn_i_pairs_scores(&r->pairs, arena);
    r->d_f = attn_i_carve_matrix(arena, d->d_f.data != NULL ? rows : 0, d->dim, d->size);
    r->d_a = d->a_is_f ? r->d_f : attn_i_carve_matrix(arena, d->d_a.data != NULL ? rows : 0, d->a_dim, d->size);
    r->mean = attn_i_carve(arena, rows, sizeof *r->mean);
    r->d_g = attn_i_carve_matrix(arena, d->d_g.data != NULL ? d->b_rows : 0, d->dim, d->size);
    r->d_b = d->b_is_g ? r->d_g : attn_i_carve_matrix(arena, d->d_b.data != NULL ? d->b_rows : 0, d->b_dim, d->size);
    r->reference = attn_i_carve(arena, d->b_rows, d->size);
    r->rest = attn_i_carve(arena, d->b_rows, d->size);
    r->partial = attn_i_carve(arena, d->b_rows, d->size);
    r->sum = attn_i_carve(arena, d->b_rows, sizeof *r->sum);
    r->column_mean = attn_i_carve(arena, d->b_rows, d->size);
    r->row = attn_i_carve_matrix(arena, 2, attn_i_max(d->a_dim, d->b_dim), d->size);
}

/* ---------------------------------------------------------------------------------------------- rows */

/* The product of row `row` of two tensors of the head. */
static double product(const run *r, const attn_i_view *x, const attn_i_view *y, int64_t row)
{
    const int64_t n = x->shape[3];
    char *other = r->row + n * r->d->size;
    attn_i_row_load(&r->d->storage, x, attn_i_pairs_row(&r->pairs, x, row), r->row);
    attn_i_row_load(&r->d->storage, y, attn_i_pairs_row(&r->pairs, y, row), other);
    return r->d->kernels->weighted_sum(n, r->row, other);
}

static double number(const run *r, const void *at)
{
    return r->d->dtype == ATTN_F32 ? (double)*(const float *)at : *(const double *)at;
}

static int64_t item_rows(const attn_i_pairs *c)
{
    return attn_i_max(ATTN_I_PAIRS_ITEM / c->score_stride, 1);
}

/* Both weights of some rows, and the gradients of their scores. */
static void compute_rows(void *data, int64_t item)
{
    const run *r = data;
    const attn_i_decomposable *d = r->d;
    const attn_i_pairs *c = &r->pairs;
    const int64_t first = item * item_rows(c), end = attn_i_min(first + item_rows(c), c->count), n = c->b_rows;
    for (int64_t i = first; i < end; i++) {
        const int64_t at = i * c->score_stride * d->size;
        char *d_scores = r->d_scores + at;
        if (r->along) {
            char *weights = r->weights + at;
            const double all = number(r, attn_i_decomposable_one(&d->a_logsumexp, c->head_b, c->head_h, c->first + i));
            memcpy(weights, r->scores + at, (size_t)(n * d->size));
            if (attn_i_decomposable_is_great(all)) {
                double again;
                d->kernels->softmax(n, 1, weights, &again);
            } else {
                d->kernels->weights_again(n, 1, all, weights);
            }
            d->kernels->softmax_gradient(n, r->mean[i], 1, weights, d_scores);
        } else {
            d->kernels->fill(n, 0, d_scores, 1);
        }
        if (r->across) {
            d->kernels->column_exponentials(n, r->reference, r->scores + at, NULL);
            if (r->great) d->kernels->multiply(n, r->rest, r->scores + at);
            d->kernels->column_gradient(n, r->column_mean, r->scores + at, r->part + at, d_scores);
        }
    }
}

/* ---------------------------------------------------------------------------------------------- chunks */

static void write_rows(const run *r, const char *rows, const attn_i_view *to, int64_t first, int64_t count)
{
    const attn_i_decomposable *d = r->d;
    const int64_t n = to->shape[3];
    for (int64_t i = 0; i < count && to->data != NULL; i++) {
        attn_i_decomposable_write(d, to, rows + i * n * d->size, attn_i_pairs_row(&r->pairs, to, first + i));
    }
}

static void run_chunk(run *r, int64_t first)
{
    const attn_i_decomposable *d = r->d;
    attn_i_pairs *c = &r->pairs;
    attn_i_pairs_take_rows(c, first, r->scores);
    const attn_i_matrix across = attn_i_pairs_matrix(c, r->scores), along = attn_i_pairs_matrix(c, r->weights);
    const attn_i_matrix d_scores = attn_i_pairs_matrix(c, r->d_scores), part = attn_i_pairs_matrix(c, r->part);
    attn_i_matrix d_beta = {0}, d_alpha = {0};
    if (r->along) {
        d_beta = attn_i_pairs_chunk(c, &r->d_beta);
        attn_i_blas_multiply(d->dtype, d_beta, attn_i_matrix_transpose(attn_i_pairs_rows(&c->b, c->b_rows)), d_scores,
                             0);
        for (int64_t i = 0; i < c->count; i++) r->mean[i] = product(r, &d->beta, &d->d_beta, first + i);
    }
    if (r->across) {
        d_alpha = attn_i_pairs_rows(&r->d_alpha, c->b_rows);
        attn_i_blas_multiply(d->dtype, attn_i_pairs_chunk(c, &c->a), attn_i_matrix_transpose(d_alpha), part, 0);
    }
    attn_i_parallel(d->engine->pool, attn_i_divide_up(c->count, item_rows(c)),
                    c->count * c->score_stride * ATTN_I_PAIRS_WORK, compute_rows, r);
    if (d->d_f.data != NULL) {
        attn_i_blas_multiply(d->dtype, d_scores, attn_i_pairs_rows(&c->g, c->b_rows),
                             attn_i_matrix_dense(r->d_f, c->count, d->dim), 0);
    }
    if (d->d_g.data != NULL) {
        attn_i_blas_multiply(d->dtype, attn_i_matrix_transpose(d_scores), attn_i_pairs_chunk(c, &c->f),
                             attn_i_matrix_dense(r->d_g, c->b_rows, d->dim), 1);
    }
    if (d->a_is_f ? d->d_f.data != NULL && r->across : d->d_a.data != NULL) {
        const attn_i_matrix to = attn_i_matrix_dense(r->d_a, c->count, d->a_dim);
        if (r->across) attn_i_blas_multiply(d->dtype, across, d_alpha, to, d->a_is_f);
        if (!r->across) d->kernels->fill(to.rows * to.columns, 0, to.data, 1);
    }
    if ((d->b_is_g ? d->d_g.data : d->d_b.data) != NULL && r->along) {
        attn_i_blas_multiply(d->dtype, attn_i_matrix_transpose(along), d_beta,
                             attn_i_matrix_dense(r->d_b, c->b_rows, d->b_dim), 1);
    }
    write_rows(r, r->d_f, &d->d_f, first, c->count);
    write_rows(r, r->d_a, &d->d_a, first, c->count);
}

/* ---------------------------------------------------------------------------------------------- heads */

/* The sums down the columns once more, from scores that are rounded as they are here. */
static void sum_columns_anew(run *r)
{
    const attn_i_kernels *k = r->d->kernels;
    attn_i_pairs *c = &r->pairs;
    const int64_t n = c->b_rows, size = r->d->size;
    k->fill(n, -INFINITY, r->reference, 1);
    for (int64_t first = 0; first < c->a_rows; first += c->rows) {
        attn_i_pairs_take_rows(c, first, r->scores);
        for (int64_t i = 0; i < c->count; i++)
            k->column_maximum(n, r->scores + i * c->score_stride * size, r->reference);
    }
    memset(r->sum, 0, (size_t)n * sizeof *r->sum);
    for (int64_t first = 0; first < c->a_rows; first += c->rows) {
        attn_i_pairs_take_rows(c, first, r->scores);
        for (int64_t i = 0; i < c->count; i++) {
            k->fill(n, 0, r->partial, 1);
            k->column_exponentials(n, r->reference, r->scores + i * c->score_stride * size, r->partial);
            for (int64_t j = 0; j < n; j++) r->sum[j] += number(r, r->partial + j * size);
        }
    }
    for (int64_t j = 0; j < n; j++) k->fill(1, r->sum[j] == 0 ? 0 : 1 / r->sum[j], r->rest + j * size, 1);
}

static void begin_head(run *r, int64_t index)
{
    const attn_i_decomposable *d = r->d;
    attn_i_pairs *c = &r->pairs;
    attn_i_pairs_take(c, index);
    r->great = 0;
    if (r->along) attn_i_pairs_load(c, &r->d_beta, &d->d_beta, c->a_rows);
    if (r->across) attn_i_pairs_load(c, &r->d_alpha, &d->d_alpha, c->b_rows);
    for (int64_t j = 0; j < c->b_rows && r->across; j++) {
        d->kernels->fill(1, product(r, &d->alpha, &d->d_alpha, j), r->column_mean + j * d->size, 1);
        const void *all = attn_i_decomposable_one(&d->b_logsumexp, c->head_b, c->head_h, j);
        memcpy(r->reference + j * d->size, all, (size_t)d->size);
        r->great |= attn_i_decomposable_is_great(number(r, all));
    }
    if (r->great) sum_columns_anew(r);
    if (d->d_g.data != NULL) d->kernels->fill(c->b_rows * d->dim, 0, r->d_g, 1);
    if (d->d_b.data != NULL) d->kernels->fill(c->b_rows * d->b_dim, 0, r->d_b, 1);
}

static void measure(const attn_i_decomposable *d, attn_i_arena *arena)
{
    run r;
    lay_out(&r, d, arena);
}

static void run_all(const attn_i_decomposable *d, void *scratch)
{
    attn_i_arena arena = {.base = scratch};
    run r;
    lay_out(&r, d, &arena);
    for (int64_t index = 0; index < d->batch * d->heads; index++) {
        begin_head(&r, index);
        for (int64_t first = 0; first < r.pairs.a_rows; first += r.pairs.rows) run_chunk(&r, first);
        write_rows(&r, r.d_g, &d->d_g, 0, r.pairs.b_rows);
        write_rows(&r, r.d_b, &d->d_b, 0, r.pairs.b_rows);
    }
}

const attn_i_decomposable_way attn_i_decomposable_blas_back = {measure, run_all};
