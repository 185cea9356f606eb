/* SPDX-License-Identifier: BSD-3-Clause
 *
 * verbs/join.c: results of attention over parts of the keys become that over all of them. An item of work is a block of
 * rows: the weights of all of its rows are made at once, part by part, and then each part's rows are added up. */
#include "verbs/join.h"

#include "call/storage.h"
#include "runtime/parallel.h"
#include "runtime/size.h"

#include <assert.h>
#include <float.h>
#include <math.h>
#include <string.h>

enum {
    SUM_BYTES = 16384, /* of an item's sums */
    MOST_ROWS = 32,    /* of an item, */
    LEAST_ROWS = 4,    /* below which vectors of weights stay empty */
    MANY_ITEMS = 32,
    KEPT = 8,   /* parts whose exponentials are kept until they are weights */
    PIECE = 256 /* elements of a row at a time, copied if they are not side by side */
};

/* One join, and how it is cut. */
typedef struct plan {
    attn_i_join join;
    attn_i_storage storage; /* of context */
    const attn_i_kernels *doubles;
    int64_t row_count;
    int64_t rows, columns; /* of an item; and of these rows at a time */
} plan;

/* Rows of one item: of each its sequence, head and query. */
typedef struct block {
    const plan *plan;
    int64_t rows;
    int64_t places[MOST_ROWS][3];
    double reference[MOST_ROWS], sum[MOST_ROWS]; /* the greatest log-sum-exp, or 0 where it has none; of exponentials */
    double share[MOST_ROWS];                     /* of the weights that rows are added up with: 1, or see take_again */
    double kept[KEPT][MOST_ROWS]; /* of the first parts, while they are wanted: log-sum-exps, then exponentials */
} block;

/* A part's tensor, and the bytes from one sequence, head and query to the next. */
typedef struct steps {
    const char *data;
    int64_t step[3];
} steps;

/* `inner` dimensions belong to a row. Of the outer ones it has not, or that are 1, the index is always 0. */
static steps steps_of(const attn_tensor *tensor, int32_t inner)
{
    steps s = {tensor->data, {0, 0, 0}};
    const int64_t size = attn_i_dtype_size(tensor->dtype);
    for (int32_t d = tensor->ndim - inner - 1, i = 2; d >= 0; d--, i--) {
        if (tensor->shape[d] > 1) s.step[i] = tensor->stride[d] * size;
    }
    return s;
}

static inline const void *element_at(const steps *s, const int64_t *at)
{
    return s->data + at[0] * s->step[0] + at[1] * s->step[1] + at[2] * s->step[2];
}

static void load_logsumexps(const block *b, int64_t k, double *to)
{
    const attn_tensor *from = b->plan->join.logsumexps[k];
    const steps s = steps_of(from, 0);
    if (from->dtype == ATTN_F64) {
        for (int64_t r = 0; r < b->rows; r++) to[r] = *(const double *)element_at(&s, b->places[r]);
    } else {
        for (int64_t r = 0; r < b->rows; r++) to[r] = *(const float *)element_at(&s, b->places[r]);
    }
}

/* Log-sum-exps of a part become exponentials, of rows that saw none of its keys minus zero: the mark of the unseen. */
static void make_exponentials(const block *b, double *row, double *sum)
{
    int unseen[MOST_ROWS] = {0};
    for (int64_t r = 0; r < b->rows; r++) unseen[r] = row[r] == -INFINITY;
    b->plan->doubles->column_exponentials(b->rows, b->reference, row, sum);
    for (int64_t r = 0; r < b->rows; r++) row[r] = unseen[r] ? -0.0 : row[r];
}

static int is_unseen(double weight)
{
    return weight == 0 && signbit(weight);
}

/* What exponentials are taken from, and their sum: NaN where there is a NaN or plus infinity. */
static void sum_exponentials(block *b)
{
    double other[MOST_ROWS];
    for (int64_t r = 0; r < b->rows; r++) b->reference[r] = -INFINITY, b->sum[r] = 0;
    for (int64_t k = 0; k < b->plan->join.parts; k++) {
        double *row = k < KEPT ? b->kept[k] : other;
        load_logsumexps(b, k, row);
        b->plan->doubles->column_maximum(b->rows, row, b->reference);
    }
    for (int64_t r = 0; r < b->rows; r++) b->reference[r] = b->reference[r] == -INFINITY ? 0 : b->reference[r];
    for (int64_t k = 0; k < b->plan->join.parts; k++) {
        double *row = k < KEPT ? b->kept[k] : other;
        if (k >= KEPT) load_logsumexps(b, k, row);
        make_exponentials(b, row, b->sum);
    }
}

/* The weights of a part's rows, with the mark, which those have too whose share is 0. */
static void make_weights(const block *b, int64_t k, double *weights)
{
    if (k < KEPT) {
        memcpy(weights, b->kept[k], (size_t)b->rows * sizeof *weights);
    } else {
        load_logsumexps(b, k, weights);
        make_exponentials(b, weights, NULL);
    }
    for (int64_t r = 0; r < b->rows; r++) {
        weights[r] *= b->share[r] / (b->sum[r] == 0 ? 1 : b->sum[r]);
        if (b->share[r] == 0) weights[r] = -0.0;
    }
}

/* Some columns of a part's context. */
typedef struct column_block {
    steps from; /* to the first of them in each row */
    int64_t stride;
} column_block;

static void add_doubles(const block *b, const column_block *c, int64_t n, const double *weights, char *to)
{
    const attn_i_kernels *kernels = b->plan->doubles;
    double *sums = (double *)(void *)to, gathered[PIECE];
    for (int64_t r = 0; r < b->rows; r++, sums += n) {
        const double *row = element_at(&c->from, b->places[r]);
        for (int64_t j = 0; j < n; j += PIECE) { /* the kernel passes over the unseen */
            const int64_t count = attn_i_min(n - j, PIECE);
            const double *piece = row + j * c->stride;
            if (c->stride != 1) kernels->gather(count, piece, c->stride, gathered);
            kernels->add_rows(1, &weights[r], c->stride == 1 ? piece : gathered, count, count, sums + j);
        }
    }
}

static column_block columns_of(const block *b, int64_t k, int64_t first, int64_t n)
{
    const attn_tensor *context = b->plan->join.contexts[k];
    const int64_t stride = context->stride[context->ndim - 1];
    column_block c = {.from = steps_of(context, 1), .stride = n == 1 ? 1 : stride};
    if (first > 0) c.from.data += first * stride * attn_i_dtype_size(context->dtype);
    return c;
}

/* Some parts, whose rows are added up at once: those of one type where they lie, others widened, which changes no bit.
 */
typedef struct some_parts {
    int64_t first, count;
    column_block part[KEPT];
    double weights[KEPT][MOST_ROWS];
    const attn_i_stored_kernels *type[KEPT], *mixed; /* of each; of all, or, where they differ, NULL */
} some_parts;

static void mix_row(const block *b, const some_parts *s, int64_t r, int64_t n, float *sums)
{
    const attn_i_stored_kernels *floats = attn_i_engine_stored_kernels(b->plan->join.engine, ATTN_F32);
    const int64_t size = s->mixed != NULL ? n : PIECE;
    float widened[KEPT][PIECE], weights[KEPT];
    for (int64_t j = 0, count; j < n; j += count) {
        const void *rows[KEPT];
        int64_t seen = 0;
        count = attn_i_min(n - j, size);
        for (int64_t k = 0; k < s->count; k++) {
            const column_block *c = &s->part[k];
            assert(s->type[k] != NULL); /* all types are kept that contexts may have */
            if (is_unseen(s->weights[k][r])) continue;
            rows[seen] = (const char *)element_at(&c->from, b->places[r]) + j * c->stride * s->type[k]->size;
            if (s->mixed == NULL) {
                s->type[k]->load(count, rows[seen], c->stride, widened[seen]);
                rows[seen] = widened[seen];
            }
            weights[seen++] = (float)s->weights[k][r];
        }
        (s->mixed != NULL ? s->mixed : floats)->mix(count, seen, rows, weights, s->first == 0, sums + j);
    }
}

static void add_some_parts(const block *b, int64_t first_part, int64_t first, int64_t n, char *sums)
{
    some_parts s; /* not zeros, which take a while to write */
    s.first = first_part;
    s.count = attn_i_min(b->plan->join.parts - first_part, KEPT);
    for (int64_t k = 0; k < s.count; k++) {
        s.part[k] = columns_of(b, first_part + k, first, n);
        s.type[k] = attn_i_engine_stored_kernels(b->plan->join.engine, b->plan->join.contexts[first_part + k]->dtype);
        s.mixed = (k == 0 || s.mixed == s.type[k]) && s.part[k].stride == 1 ? s.type[k] : NULL;
        make_weights(b, first_part + k, s.weights[k]);
    }
    for (int64_t r = 0; r < b->rows; r++) {
        if (b->share[r] != 0) mix_row(b, &s, r, n, (float *)(void *)sums + r * n);
    }
}

/* Adds up columns first .. first + n - 1 of the rows of all parts whose share is not 0; those of numbers in float64 to
 * what is there, others from nothing. */
static void add_parts(const block *b, int64_t first, int64_t n, char *sums)
{
    const int is_double = b->plan->storage.size == (int64_t)sizeof(double);
    for (int64_t k = 0; k < b->plan->join.parts; k += is_double ? 1 : KEPT) {
        if (is_double) {
            double weights[MOST_ROWS];
            column_block c = columns_of(b, k, first, n);
            make_weights(b, k, weights);
            add_doubles(b, &c, n, weights, sums);
        } else {
            add_some_parts(b, k, first, n, sums);
        }
    }
}

/* Rows whose sums are not finite, which those of numbers at the end of their type may become by roundings alone, are to
 * be added up again, with half of the weights. 1 if there are any. */
static int take_again(block *b, int64_t n, char *sums)
{
    const attn_i_storage *storage = &b->plan->storage;
    int any = 0;
    for (int64_t r = 0; r < b->rows; r++) {
        char *row = sums + r * n * storage->size;
        b->share[r] = storage->kernels->is_finite(n, row) ? 0 : 0.5;
        if (b->share[r] == 0) continue;
        memset(row, 0, (size_t)(n * storage->size));
        any = 1;
    }
    return any;
}

/* Twice x, which is half of a mean of numbers: finite if it is. */
static double doubled(double x, double most)
{
    return isfinite(x) && fabs(x) > most / 2 ? copysign(most, x) : 2 * x;
}

static void double_sums(const block *b, int64_t n, char *sums)
{
    const int64_t size = b->plan->storage.size;
    for (int64_t r = 0; r < b->rows; r++) {
        char *row = sums + r * n * size;
        for (int64_t j = 0; j < n && b->share[r] != 0; j++) {
            void *at = row + j * size;
            if (size == (int64_t)sizeof(double)) *(double *)at = doubled(*(double *)at, DBL_MAX);
            if (size != (int64_t)sizeof(double)) *(float *)at = (float)doubled(*(float *)at, (double)FLT_MAX);
        }
    }
}

static void store_contexts(const block *b, int64_t first, int64_t n, const char *sums)
{
    const attn_i_view *to = &b->plan->join.context;
    const attn_i_storage *storage = &b->plan->storage;
    for (int64_t r = 0; r < b->rows; r++) {
        const int64_t *at = b->places[r];
        attn_i_elements_store(storage, to->size, n, sums + r * n * storage->size,
                              attn_i_view_element(to, at[0], at[1], at[2], first), to->stride[3]);
    }
}

static void store_logsumexps(const block *b)
{
    const attn_i_view *view = &b->plan->join.logsumexp;
    for (int64_t r = 0; r < b->rows && view->data != NULL; r++) {
        const int64_t *at = b->places[r];
        const double logsumexp = b->sum[r] == 0 ? -INFINITY : b->reference[r] + log(b->sum[r]);
        void *element = attn_i_view_element(view, 0, at[0], at[1], at[2]);
        if (view->dtype == ATTN_F64) *(double *)element = logsumexp;
        if (view->dtype != ATTN_F64) *(float *)element = (float)logsumexp;
    }
}

static void find_places(block *b, int64_t first)
{
    const int64_t *n = b->plan->join.context.shape, rows = n[1] * n[2];
    int64_t at[3] = {first / rows, first % rows / n[2], first % n[2]};
    for (int64_t r = 0; r < b->rows; r++) {
        for (int d = 0; d < 3; d++) b->places[r][d] = at[d];
        if (++at[2] == n[2]) at[2] = 0, at[1]++;
        if (at[1] == n[1]) at[1] = 0, at[0]++;
    }
}

/* Log-sum-exps are written last: in place they are read for every block of columns. */
static void run_item(void *data, int64_t item)
{
    const plan *p = data;
    const int64_t first = item * p->rows, columns = p->join.context.shape[3];
    _Alignas(64) char sums[SUM_BYTES];
    block b; /* not zeros, which take a while to write */
    b.plan = p;
    b.rows = attn_i_min(p->row_count - first, p->rows);
    find_places(&b, first);
    sum_exponentials(&b);
    for (int64_t d = 0; d < columns; d += p->columns) {
        const int64_t n = attn_i_min(columns - d, p->columns);
        if (p->storage.size == (int64_t)sizeof(double)) memset(sums, 0, (size_t)(b.rows * n) * sizeof(double));
        for (int64_t r = 0; r < b.rows; r++) b.share[r] = 1;
        add_parts(&b, d, n, sums);
        if (take_again(&b, n, sums)) {
            add_parts(&b, d, n, sums);
            double_sums(&b, n, sums);
        }
        store_contexts(&b, d, n, sums);
    }
    store_logsumexps(&b);
}

/* By shape alone. An output that has elements can be addressed: its rows can be counted. */
void attn_i_join_run(const attn_i_join *join)
{
    plan p = {.join = *join};
    const int64_t *n = join->context.shape;
    p.storage = attn_i_storage_of(join->engine, join->context.dtype);
    p.doubles = attn_i_engine_kernels(join->engine, ATTN_F64);
    p.row_count = n[0] * n[1] * n[2];
    p.columns = attn_i_clamp(n[3], 1, SUM_BYTES / p.storage.size);
    p.rows = attn_i_min(SUM_BYTES / p.storage.size / p.columns, MOST_ROWS);
    p.rows = attn_i_min(p.rows, attn_i_max(attn_i_divide_up(p.row_count, MANY_ITEMS), LEAST_ROWS));
    const int64_t elements = attn_i_multiply_most(p.row_count, n[3] + 1);
    attn_i_parallel(join->engine->pool, attn_i_divide_up(p.row_count, p.rows),
                    attn_i_multiply_most(elements, join->parts), run_item, &p);
}
