/* SPDX-License-Identifier: BSD-3-Clause
 *
 * call/ragged.c: batches whose sequences lie one behind the other: their offsets, and each as a problem of its own. */
#include "call/ragged.h"

#include "call/pages.h"
#include "call/visible.h"
#include "handles/lengths.h"
#include "handles/status.h"
#include "runtime/size.h"

#include <inttypes.h>
#include <math.h>

/* ---------------------------------------------------------------------------------------------- checks */

attn_status attn_i_ragged_read_offsets(const attn_tensor *tensor, const char *name, attn_i_view *view)
{
    if (tensor == NULL) return ATTN_OK;
    attn_status status = attn_i_integers_check(tensor, name, ATTN_I_MOST_POSITIONS, view);
    if (status != ATTN_OK) return status;
    if (view->shape[3] == 0) return attn_i_fail(ATTN_ERR_SHAPE, "%s is empty, but must have B + 1 elements", name);
    for (int64_t b = 1; b < view->shape[3]; b++) {
        const int64_t before = attn_i_integer(view, b - 1), here = attn_i_integer(view, b);
        if (here >= before) continue;
        return attn_i_fail(ATTN_ERR_ARGUMENT,
                           "%s[%" PRId64 "] is %" PRId64 ", less than the %" PRId64 " of the sequence before", name, b,
                           here, before);
    }
    return ATTN_OK;
}

attn_status attn_i_ragged_read(attn_i_problem *p, const attn_forward_args *args)
{
    const attn_i_view *queries = &p->offsets.queries, *keys = &p->offsets.keys;
    if (args->query_offsets == NULL && args->key_offsets == NULL) return ATTN_OK;
    attn_status status = attn_i_ragged_read_offsets(args->query_offsets, "query_offsets", &p->offsets.queries);
    if (status == ATTN_OK) status = attn_i_ragged_read_offsets(args->key_offsets, "key_offsets", &p->offsets.keys);
    if (status != ATTN_OK) return status;
    if (queries->data != NULL) p->batch = queries->shape[3] - 1;
    if (queries->data != NULL && keys->data != NULL && queries->shape[3] != keys->shape[3]) {
        return attn_i_fail(ATTN_ERR_SHAPE, "key_offsets has %" PRId64 " elements, but query_offsets %" PRId64,
                           keys->shape[3], queries->shape[3]);
    }
    return ATTN_OK;
}

attn_status attn_i_ragged_check_end(const attn_i_view *offsets, const char *offsets_name, const char *name,
                                    const char *of, int64_t count)
{
    const int64_t last = attn_i_integer(offsets, offsets->shape[3] - 1);
    if (last <= count) return ATTN_OK;
    return attn_i_fail(ATTN_ERR_ARGUMENT, "%s ends with %" PRId64 ", but %s has %" PRId64 " %s", offsets_name, last,
                       name, count, of);
}

static attn_status check_rows(const attn_i_view *offsets, const char *offsets_name, const char *name,
                              const int64_t shape[4])
{
    if (shape[0] != 1) {
        return attn_i_fail(ATTN_ERR_SHAPE, "%s has batch %" PRId64 ", but with %s it must be 1", name, shape[0],
                           offsets_name);
    }
    return attn_i_ragged_check_end(offsets, offsets_name, name, "rows", shape[2]);
}

attn_status attn_i_ragged_check_queries(const attn_i_problem *p)
{
    const attn_i_view *offsets = &p->offsets.queries;
    if (offsets->data != NULL) return check_rows(offsets, "query_offsets", "query", p->query.shape);
    if (p->offsets.keys.data == NULL || p->offsets.keys.shape[3] - 1 == p->batch) return ATTN_OK;
    return attn_i_fail(ATTN_ERR_SHAPE, "key_offsets has %" PRId64 " elements, but query has batch %" PRId64,
                       p->offsets.keys.shape[3], p->batch);
}

/* How far sequence b reaches, and where it begins. */
static attn_i_span rows_of(const attn_i_view *offsets, int64_t b)
{
    return (attn_i_span){attn_i_integer(offsets, b), attn_i_integer(offsets, b + 1)};
}

attn_status attn_i_ragged_check_keys(attn_i_problem *p, const char *name, const int64_t shape[4])
{
    attn_status status = check_rows(&p->offsets.keys, "key_offsets", name, shape);
    p->keys = 0;
    for (int64_t b = 0; b < p->batch; b++) {
        const attn_i_span rows = rows_of(&p->offsets.keys, b);
        p->keys = attn_i_max(p->keys, rows.end - rows.first);
    }
    return status;
}

attn_status attn_i_ragged_check_lengths(const attn_i_problem *p)
{
    for (int64_t b = 0; b < p->batch && p->lengths.data != NULL; b++) {
        const attn_i_span rows = rows_of(&p->offsets.keys, b);
        const int64_t length = attn_i_integer(&p->lengths, b);
        if (length <= rows.end - rows.first) continue;
        return attn_i_fail(ATTN_ERR_ARGUMENT,
                           "key_lengths[%" PRId64 "] is %" PRId64 ", but the sequence has %" PRId64 " keys", b, length,
                           rows.end - rows.first);
    }
    return ATTN_OK;
}

/* ---------------------------------------------------------------------------------------------- slices */

enum { WORK_OF_SCORE = 4, VECTOR_ELEMENTS = 16 };

/* Leaves of dimension d of a view, if there is one, the elements from `first` on. */
static void narrow(attn_i_view *view, int d, int64_t first, int64_t count)
{
    if (view->data == NULL) return;
    view->data += first * view->stride[d] * view->size;
    view->shape[d] = count;
    if (count == 1) view->stride[d] = 0; /* as a tensor of its own would have it */
}

/* Which rows of a tensor are the sequence's, and where its dimensions are of sequences and rows. */
typedef struct part {
    int64_t b;
    const attn_i_view *offsets;
    attn_i_span rows; /* if there are offsets */
} part;

static part part_of(const attn_i_view *offsets, int64_t b)
{
    part p = {.b = b, .offsets = offsets};
    if (offsets->data != NULL) p.rows = rows_of(offsets, b);
    return p;
}

static void take(attn_i_view *view, part p, int batch, int row)
{
    if (p.offsets->data == NULL) {
        narrow(view, batch, p.b, 1);
    } else {
        narrow(view, row, p.rows.first, p.rows.end - p.rows.first);
    }
}

/* Of a tensor that is broadcast to [B, Hq, Tq, Tk], or of the gradient of one, whose dimensions of 1 are summed over.
 */
static void take_broadcast(attn_i_view *view, part p)
{
    if (view->shape[0] > 1) narrow(view, 0, p.b, 1);
    if (p.offsets->data != NULL && view->shape[2] > 1) narrow(view, 2, p.rows.first, p.rows.end - p.rows.first);
}

/* Columns of the sequence's own keys. */
static void take_columns(attn_i_view *view, int64_t keys)
{
    if (view->shape[3] > keys && view->shape[3] > 1) narrow(view, 3, 0, keys);
}

int64_t attn_i_ragged_queries(const attn_i_problem *whole, int64_t b)
{
    const part queries = part_of(&whole->offsets.queries, b);
    return queries.offsets->data != NULL ? queries.rows.end - queries.rows.first : whole->queries;
}

double attn_i_ragged_work_of(const attn_i_problem *whole, int64_t queries, int64_t keys)
{
    const double of_score = WORK_OF_SCORE + (double)(whole->query_dim + whole->value_dim) / VECTOR_ELEMENTS;
    return (double)whole->query_heads * (double)queries * (double)(keys + 1) * of_score;
}

double attn_i_ragged_work(const attn_i_problem *whole, int64_t b)
{
    const part keys = part_of(&whole->offsets.keys, b);
    const int64_t most = keys.offsets->data != NULL ? keys.rows.end - keys.rows.first : whole->keys;
    return attn_i_ragged_work_of(whole, attn_i_ragged_queries(whole, b), attn_i_length(&whole->lengths, b, most));
}

/* Rows stay where they are: the slice's table says which are its own. */
static void take_keys_in_pages(attn_i_problem *p)
{
    p->key.shape[0] = p->value.shape[0] = p->key_scales.shape[1] = p->value_scales.shape[1] = 1;
    p->key.shape[2] = p->value.shape[2] = p->key_scales.shape[3] = p->value_scales.shape[3] = p->keys;
}

void attn_i_ragged_slice(const attn_i_problem *whole, int64_t b, int alone, attn_i_problem *slice)
{
    attn_i_problem *p = slice;
    const part queries = part_of(&whole->offsets.queries, b), keys = part_of(&whole->offsets.keys, b);
    *p = *whole;
    p->offsets.queries.data = p->offsets.keys.data = NULL;
    p->is_slice = 1;
    p->batch = 1;
    p->alone = alone;
    if (queries.offsets->data != NULL) {
        p->queries = queries.rows.end - queries.rows.first;
        p->dropout.first_row = queries.rows.first;
    } else {
        p->dropout.first_row = b * p->query_heads * p->queries;
    }
    if (keys.offsets->data != NULL) p->keys = keys.rows.end - keys.rows.first;
    if (p->pages.table.data != NULL) p->keys = attn_i_integer(&p->lengths, b);
    attn_i_view *const by_queries[] = {&p->query, &p->context, &p->weights, &p->scores};
    attn_i_view *const by_query_rows[] = {&p->logsumexp, &p->stats.entropy, &p->stats.strongest};
    attn_i_view *const by_keys[] = {&p->key, &p->value}, *const by_key_rows[] = {&p->key_scales, &p->value_scales};
    for (int i = 0; i < 4; i++) take(by_queries[i], queries, 0, 2);
    for (int i = 0; i < 3; i++) take(by_query_rows[i], queries, 1, 3);
    if (p->pages.table.data != NULL) {
        attn_i_pages_slice(&p->pages, b);
        take_keys_in_pages(p);
    } else {
        for (int i = 0; i < 2; i++) take(by_keys[i], keys, 0, 2);
        for (int i = 0; i < 2; i++) take(by_key_rows[i], keys, 1, 3);
    }
    take(&p->stats.key_sums, keys, 1, 3);
    take_columns(&p->stats.key_sums, p->keys);
    narrow(&p->lengths, 3, b, 1);
    take_broadcast(&p->mask, queries);
    take_broadcast(&p->bias, queries);
    take_columns(&p->weights, p->keys);
    take_columns(&p->scores, p->keys);
    take_columns(&p->bias, p->keys);
    if (p->mask_columns == 0) take_columns(&p->mask, p->keys);
}

/* The rows of so many sequences, from `first` on, as those of one. */
static void take_together(attn_i_view *view, const attn_i_view *offsets, int64_t first, int64_t count)
{
    if (offsets->data != NULL) {
        const int64_t row = attn_i_integer(offsets, first);
        narrow(view, 2, row, attn_i_integer(offsets, first + count) - row);
        return;
    }
    const int64_t rows = view->shape[2], step = rows == 1 ? view->stride[0] : view->stride[2];
    narrow(view, 0, first, 1);
    view->shape[2] = rows * count;
    view->stride[2] = step;
}

void attn_i_ragged_slice_shared(const attn_i_problem *whole, int64_t first, int64_t count, int64_t pages, int alone,
                                attn_i_problem *slice)
{
    attn_i_problem *p = slice;
    *p = *whole;
    p->offsets.queries.data = p->offsets.keys.data = p->mask.data = p->lengths.data = NULL;
    p->mask_columns = 0;
    p->is_slice = 1;
    p->batch = 1;
    p->alone = alone;
    take_together(&p->query, &whole->offsets.queries, first, count);
    p->queries = p->query.shape[2];
    attn_i_pages_slice(&p->pages, first);
    p->pages.table.shape[3] = pages;
    p->keys = pages * p->pages.rows;
    take_keys_in_pages(p);
}

void attn_i_ragged_skip_pages(attn_i_problem *slice, int64_t pages)
{
    attn_i_problem *p = slice;
    attn_i_view *table = &p->pages.table;
    table->data += pages * table->stride[3] * table->size;
    table->shape[3] -= pages;
    p->keys -= pages * p->pages.rows;
    p->lengths.data = NULL; /* all are valid */
    take_keys_in_pages(p);
}

void attn_i_ragged_slice_gradient(const attn_i_gradient *whole, int64_t b, int alone, attn_i_gradient *slice)
{
    const attn_i_problem *all = &whole->problem;
    attn_i_gradient *g = slice;
    const part queries = part_of(&all->offsets.queries, b), keys = part_of(&all->offsets.keys, b);
    *g = *whole;
    attn_i_ragged_slice(all, b, alone, &g->problem);
    attn_i_view *const by_queries[] = {&g->d_context, &g->d_weights, &g->d_query};
    for (int i = 0; i < 3; i++) take(by_queries[i], queries, 0, 2);
    take(&g->d_logsumexp, queries, 1, 3);
    take(&g->d_key, keys, 0, 2);
    take(&g->d_value, keys, 0, 2);
    take_broadcast(&g->d_bias, queries);
    take_columns(&g->d_weights, g->problem.keys);
    g->adds_sums = 1;
}

/* Columns of a slice's scores, or weights, from its last key on. */
static void fill(const attn_i_problem *p, const attn_i_view *whole, attn_i_view view, double x)
{
    const int64_t past = view.data == NULL ? 0 : whole->shape[3] - p->keys;
    view.stride[3] = whole->stride[3];
    for (int64_t h = 0; past > 0 && h < p->query_heads; h++) {
        for (int64_t i = 0; i < p->queries; i++) {
            p->kernels->fill(past, x, attn_i_view_element(&view, 0, h, i, p->keys), view.stride[3]);
        }
    }
}

void attn_i_ragged_fill(const attn_i_problem *whole, const attn_i_problem *slice)
{
    const attn_i_problem *p = slice;
    fill(p, &whole->weights, p->weights, 0);
    fill(p, &whole->scores, p->scores, p->scores_stage == ATTN_SCORES_WEIGHTS ? 0 : -INFINITY);
    const attn_i_view *sums = &p->stats.key_sums, *all = &whole->stats.key_sums;
    const int64_t past = p->pages.table.data == NULL || sums->data == NULL ? 0 : all->shape[3] - p->keys;
    for (int64_t h = 0; past > 0 && h < p->query_heads; h++) {
        char *row = sums->data + (h * sums->stride[2] + p->keys * all->stride[3]) * sums->size;
        p->kernels->fill(past, 0, row, all->stride[3]);
    }
}
