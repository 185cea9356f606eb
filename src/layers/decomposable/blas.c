/* SPDX-License-Identifier: BSD-3-Clause
 *
 * layers/decomposable/blas.c: both softmaxes of the decomposable attention by whole matrices. A chunk of rows of a has
 * whole rows of scores, so that beta's softmax is that of rows; alpha's goes down the columns from chunk to chunk, each
 * column relative to the greatest score that it has had. Products run on the calling thread, the rest on the engine's.
 */
#include "layers/decomposable/blas.h"

#include "runtime/blas.h"
#include "runtime/size.h"

#include <math.h>
#include <string.h>

enum {
    CHUNK_SCORES = 1 << 17, /* of a chunk, unless one row has more */
    CHUNK_ROWS = 1024,
    SUM_ROWS = 64,     /* whose weights are summed before the sum goes to float64 */
    LEAST_COLUMNS = 64 /* of a parallel item */
};

/* ---------------------------------------------------------------------------------------------- chunks */

static attn_i_operand operand_of(const attn_i_decomposable *d, const attn_i_view *view, attn_i_arena *arena)
{
    return attn_i_operand_layout_stored(arena, view, 0, &d->storage);
}

void attn_i_pairs_layout(attn_i_pairs *c, const attn_i_decomposable *d, attn_i_arena *arena)
{
    *c = (attn_i_pairs){.d = d};
    /* Lines of 64 bytes, and not all on the same few cache sets. */
    c->score_stride = attn_i_divide_up(attn_i_max(d->b_rows, 1), 16) * 16;
    if (c->score_stride % 256 == 0) c->score_stride += 16;
    c->rows = attn_i_min(attn_i_clamp(CHUNK_SCORES / c->score_stride, 1, CHUNK_ROWS), d->a_rows);
    c->f = operand_of(d, &d->f, arena);
    c->g = operand_of(d, &d->g, arena);
    c->a = d->a_is_f ? c->f : operand_of(d, &d->a, arena);
    c->b = d->b_is_g ? c->g : operand_of(d, &d->b, arena);
}

char *attn_i_pairs_scores(const attn_i_pairs *c, attn_i_arena *arena)
{
    return attn_i_carve_matrix(arena, c->rows, c->score_stride, c->d->size);
}

void attn_i_pairs_load(const attn_i_pairs *c, attn_i_operand *operand, const attn_i_view *view, int64_t rows)
{
    operand->source = attn_i_view_matrix(view, c->head_b, c->head_h);
    operand->source.rows = rows;
    if (!operand->copied) operand->use = operand->source;
    attn_i_operand_load_stored(operand, &c->d->storage);
}

void attn_i_pairs_take(attn_i_pairs *c, int64_t index)
{
    const attn_i_decomposable *d = c->d;
    c->head_b = index / d->heads;
    c->head_h = index % d->heads;
    c->a_rows = attn_i_decomposable_a(d, c->head_b);
    c->b_rows = attn_i_decomposable_b(d, c->head_b);
    attn_i_pairs_load(c, &c->f, &d->f, c->a_rows);
    attn_i_pairs_load(c, &c->g, &d->g, c->b_rows);
    if (!d->a_is_f) attn_i_pairs_load(c, &c->a, &d->a, c->a_rows);
    if (!d->b_is_g) attn_i_pairs_load(c, &c->b, &d->b, c->b_rows);
    if (d->a_is_f) c->a = c->f;
    if (d->b_is_g) c->b = c->g;
}

attn_i_matrix attn_i_pairs_rows(const attn_i_operand *operand, int64_t rows)
{
    attn_i_matrix m = operand->use;
    m.rows = rows;
    return m;
}

attn_i_matrix attn_i_pairs_chunk(const attn_i_pairs *c, const attn_i_operand *operand)
{
    return attn_i_matrix_rows(operand->use, c->first, c->count, c->d->size);
}

attn_i_matrix attn_i_pairs_matrix(const attn_i_pairs *c, char *scores)
{
    return (attn_i_matrix){scores, c->count, c->b_rows, c->score_stride, 1};
}

void attn_i_pairs_take_rows(attn_i_pairs *c, int64_t first, char *scores)
{
    c->first = first;
    c->count = attn_i_min(c->rows, c->a_rows - first);
    attn_i_blas_multiply(c->d->dtype, attn_i_pairs_chunk(c, &c->f),
                         attn_i_matrix_transpose(attn_i_pairs_rows(&c->g, c->b_rows)), attn_i_pairs_matrix(c, scores),
                         0);
}

char *attn_i_pairs_row(const attn_i_pairs *c, const attn_i_view *view, int64_t row)
{
    return attn_i_decomposable_row(view, c->head_b, c->head_h, row);
}

/* ---------------------------------------------------------------------------------------------- forward */

typedef struct run {
    const attn_i_decomposable *d;
    attn_i_pairs pairs;
    int rows, columns;                  /* whether beta or its log-sum-exp, alpha or its, are wanted */
    int64_t beta_dim, alpha_dim;        /* 0 where only the log-sum-exp is */
    char *scores;                       /* then weights down the columns */
    char *weights;                      /* along the rows */
    char *beta;                         /* of a chunk */
    char *alpha;                        /* [Tb, Da], not yet divided by the sums */
    char *reference, *before, *partial; /* [Tb]: the greatest score of a column; that before this chunk; room */
    double *sum;                        /* [Tb] */
    double shrink; /* what weights are multiplied by where alpha would be infinite otherwise: a power of two */
} run;

static void lay_out(run *r, const attn_i_decomposable *d, attn_i_arena *arena)
{
    *r = (run){.d = d};
    r->rows = d->beta.data != NULL || d->a_logsumexp.data != NULL;
    r->columns = d->alpha.data != NULL || d->b_logsumexp.data != NULL;
    r->beta_dim = d->beta.data != NULL ? d->b_dim : 0;
    r->alpha_dim = d->alpha.data != NULL ? d->a_dim : 0;
    attn_i_pairs_layout(&r->pairs, d, arena);
    r->scores = attn_i_pairs_scores(&r->pairs, arena);
    if (r->rows) r->weights = attn_i_pairs_scores(&r->pairs, arena);
    r->beta = attn_i_carve_matrix(arena, r->pairs.rows, r->beta_dim, d->size);
    r->alpha = attn_i_carve_matrix(arena, d->b_rows, r->alpha_dim, d->size);
    r->reference = attn_i_carve(arena, d->b_rows, d->size);
    r->before = attn_i_carve(arena, d->b_rows, d->size);
    r->partial = attn_i_carve(arena, d->b_rows, d->size);
    r->sum = attn_i_carve(arena, d->b_rows, sizeof *r->sum);
}

static double number(const run *r, const char *row, int64_t j)
{
    return r->d->dtype == ATTN_F32 ? (double)((const float *)(const void *)row)[j]
                                   : ((const double *)(const void *)row)[j];
}

static int64_t item_rows(const attn_i_pairs *c)
{
    return attn_i_max(ATTN_I_PAIRS_ITEM / c->score_stride, 1);
}

static void finish_rows(void *data, int64_t item)
{
    const run *r = data;
    const attn_i_decomposable *d = r->d;
    const attn_i_pairs *c = &r->pairs;
    const int64_t first = item * item_rows(c), end = attn_i_min(first + item_rows(c), c->count);
    for (int64_t i = first; i < end; i++) {
        const int64_t at = i * c->score_stride * d->size;
        double logsumexp;
        memcpy(r->weights + at, r->scores + at, (size_t)(c->b_rows * d->size));
        d->kernels->softmax(c->b_rows, 1, r->weights + at, &logsumexp);
        if (d->a_logsumexp.data == NULL) continue;
        d->kernels->fill(1, logsumexp, attn_i_decomposable_one(&d->a_logsumexp, c->head_b, c->head_h, c->first + i), 1);
    }
}

static int64_t item_columns(const attn_i_pairs *c)
{
    return attn_i_max(ATTN_I_PAIRS_ITEM / c->count, LEAST_COLUMNS);
}

/* Columns have a new reference: what was summed relative to the one before is brought to it. */
static void move_columns(const run *r, int64_t first, int64_t end)
{
    for (int64_t j = first; j < end; j++) {
        const double from = number(r, r->before, j), to = number(r, r->reference, j);
        if (from == to || from == -INFINITY) continue;
        const double factor = exp(from - to);
        r->sum[j] *= factor;
        r->d->kernels->scale(r->alpha_dim, factor, r->alpha + j * r->alpha_dim * r->d->size);
    }
}

static void finish_columns(void *data, int64_t item)
{
    const run *r = data;
    const attn_i_kernels *k = r->d->kernels;
    const attn_i_pairs *c = &r->pairs;
    const int64_t first = item * item_columns(c), end = attn_i_min(first + item_columns(c), c->b_rows);
    const int64_t n = end - first, size = r->d->size, at = first * size, step = c->score_stride * size;
    char *scores = r->scores + at;
    memcpy(r->before + at, r->reference + at, (size_t)(n * size));
    for (int64_t i = 0; i < c->count; i++) k->column_maximum(n, scores + i * step, r->reference + at);
    move_columns(r, first, end);
    for (int64_t i = 0, rows; i < c->count; i += rows) {
        rows = attn_i_min(c->count - i, SUM_ROWS);
        k->fill(n, 0, r->partial + at, 1);
        for (int64_t x = i; x < i + rows; x++) {
            k->column_exponentials(n, r->reference + at, scores + x * step, r->partial + at);
        }
        for (int64_t j = first; j < end; j++) r->sum[j] += number(r, r->partial, j);
    }
}

static void run_chunk(run *r, int64_t first)
{
    const attn_i_decomposable *d = r->d;
    attn_i_pairs *c = &r->pairs;
    attn_i_pairs_take_rows(c, first, r->scores);
    const int64_t work = c->count * c->score_stride * ATTN_I_PAIRS_WORK;
    if (r->rows) attn_i_parallel(d->engine->pool, attn_i_divide_up(c->count, item_rows(c)), work, finish_rows, r);
    if (r->columns) {
        attn_i_parallel(d->engine->pool, attn_i_divide_up(c->b_rows, item_columns(c)), work, finish_columns, r);
    }
    if (d->beta.data != NULL) {
        const attn_i_matrix beta = attn_i_matrix_dense(r->beta, c->count, d->b_dim);
        attn_i_blas_multiply(d->dtype, attn_i_pairs_matrix(c, r->weights), attn_i_pairs_rows(&c->b, c->b_rows), beta,
                             0);
        for (int64_t i = 0; i < c->count; i++) {
            attn_i_row_store(&d->storage, &d->beta, r->beta + i * d->b_dim * d->size,
                             attn_i_pairs_row(c, &d->beta, first + i));
        }
    }
    if (d->alpha.data != NULL) {
        for (int64_t i = 0; i < c->count && r->shrink != 1; i++) {
            d->kernels->scale(c->b_rows, r->shrink, r->scores + i * c->score_stride * d->size);
        }
        attn_i_blas_multiply(d->dtype, attn_i_matrix_transpose(attn_i_pairs_matrix(c, r->scores)),
                             attn_i_pairs_chunk(c, &c->a), attn_i_matrix_dense(r->alpha, c->b_rows, d->a_dim), 1);
    }
}

static void end_columns(const run *r)
{
    const attn_i_decomposable *d = r->d;
    const attn_i_pairs *c = &r->pairs;
    for (int64_t j = 0; j < c->b_rows; j++) {
        char *row = r->alpha + j * r->alpha_dim * d->size;
        if (d->alpha.data != NULL) {
            d->kernels->scale(d->a_dim, r->sum[j] == 0 ? 0 : 1 / r->shrink / r->sum[j], row);
            attn_i_row_store(&d->storage, &d->alpha, row, attn_i_pairs_row(c, &d->alpha, j));
        }
        if (d->b_logsumexp.data != NULL) {
            const double all = r->sum[j] == 0 ? -INFINITY : number(r, r->reference, j) + log(r->sum[j]);
            d->kernels->fill(1, all, attn_i_decomposable_one(&d->b_logsumexp, c->head_b, c->head_h, j), 1);
        }
    }
}

static void measure(const attn_i_decomposable *d, attn_i_arena *arena)
{
    run r;
    lay_out(&r, d, arena);
}

static void run_chunks(run *r)
{
    const attn_i_kernels *k = r->d->kernels;
    const int64_t b_rows = r->pairs.b_rows;
    k->fill(b_rows, -INFINITY, r->reference, 1);
    k->fill(b_rows * r->alpha_dim, 0, r->alpha, 1);
    for (int64_t j = 0; j < b_rows; j++) r->sum[j] = 0;
    for (int64_t first = 0; first < r->pairs.a_rows; first += r->pairs.rows) run_chunk(r, first);
}

static void run_all(const attn_i_decomposable *d, void *scratch)
{
    attn_i_arena arena = {.base = scratch};
    run r;
    lay_out(&r, d, &arena);
    for (int64_t index = 0; index < d->batch * d->heads; index++) {
        attn_i_pairs_take(&r.pairs, index);
        r.shrink = 1;
        run_chunks(&r);
        if (r.columns && !d->kernels->is_finite(r.pairs.b_rows * r.alpha_dim, r.alpha)) {
            r.shrink = exp2(-ceil(log2((double)r.pairs.a_rows)));
            run_chunks(&r);
        }
        if (r.columns) end_columns(&r);
    }
}

const attn_i_decomposable_way attn_i_decomposable_blas = {measure, run_all};
