/* SPDX-License-Identifier: BSD-3-Clause
 *
 * call/wide.c: tensors of 16 bits a number in float32. */
#include "call/wide.h"

#include "call/pages.h"
#include "runtime/parallel.h"
#include "runtime/size.h"

#include <assert.h>

void attn_i_wide_begin(attn_i_wide *wide, const attn_engine *engine, attn_dtype dtype)
{
    wide->engine = engine;
    wide->storage = attn_i_storage_of(engine, dtype);
    wide->count = 0;
}

static void add(attn_i_wide *wide, const attn_i_view *given, const attn_i_view *scales, const attn_i_pages *pages,
                attn_i_view *computed, int use)
{
    assert(wide->count < ATTN_I_MOST_WIDE);
    wide->item[wide->count].given = given;
    wide->item[wide->count].scales = scales;
    wide->item[wide->count].pages = pages;
    wide->item[wide->count].computed = computed;
    wide->item[wide->count++].use = use;
}

void attn_i_wide_add(attn_i_wide *wide, const attn_i_view *given, attn_i_view *computed, int use)
{
    if (attn_i_is_narrow(&wide->storage, given)) add(wide, given, NULL, NULL, computed, use);
}

void attn_i_wide_add_params(attn_i_wide *wide, const attn_i_param *params, int32_t count, attn_i_view *computed)
{
    for (int32_t i = 0; i < count; i++) {
        computed[i] = params[i].view;
        attn_i_wide_add(wide, &params[i].view, &computed[i], ATTN_I_READ);
    }
}

void attn_i_wide_add_mechanism(attn_i_wide *wide, const attn_i_problem *given, attn_i_view *computed)
{
    const attn_mechanism *m = given->mechanism;
    if (given->params == NULL) attn_i_wide_add_params(wide, m->params, m->param_count, computed);
    for (int32_t i = 0; i < m->param_count && given->params != NULL; i++) computed[i] = given->params[i];
}

/* Keys or values, which may be integers, or lie in pages. */
static void add_rows(attn_i_wide *wide, const attn_i_problem *p, const attn_i_view *given, const attn_i_view *scales,
                     attn_i_view *computed)
{
    const attn_i_pages *pages = p->pages.table.data != NULL ? &p->pages : NULL;
    if (given->data == NULL) return;
    if (scales->data != NULL || pages != NULL) {
        add(wide, given, scales->data != NULL ? scales : NULL, pages, computed, ATTN_I_READ);
    } else {
        attn_i_wide_add(wide, given, computed, ATTN_I_READ);
    }
}

void attn_i_wide_add_problem(attn_i_wide *wide, const attn_i_problem *given, attn_i_problem *computed,
                             attn_i_view params[ATTN_I_MOST_PARAMS])
{
    attn_i_wide_add(wide, &given->query, &computed->query, ATTN_I_READ);
    add_rows(wide, given, &given->key, &given->key_scales, &computed->key);
    if (!given->keys_are_values) add_rows(wide, given, &given->value, &given->value_scales, &computed->value);
    attn_i_wide_add(wide, &given->bias, &computed->bias, ATTN_I_READ);
    attn_i_wide_add_mechanism(wide, given, params);
}

/* Dimensions follow each other; one that is broadcast stays so, but for rows that have scales or places of their own.
 */
static attn_i_view copy_of(const attn_i_view *given, int has_own, attn_i_arena *arena)
{
    static char nowhere;
    attn_i_view view = *given;
    int64_t elements = 1;
    if (view.dtype != ATTN_F64) {
        view.dtype = ATTN_F32;
        view.size = (int64_t)sizeof(float);
    }
    for (int d = 3; d >= 0; d--) {
        const int64_t n = view.stride[d] == 0 && !has_own ? attn_i_min(view.shape[d], 1) : view.shape[d];
        view.stride[d] = n > 1 ? elements : 0;
        if (!attn_i_multiply(elements, n, &elements)) arena->overflow = 1;
    }
    char *room = attn_i_carve(arena, elements, view.size);
    view.data = view.first = view.end = room != NULL ? room : &nowhere;
    return view;
}

void attn_i_wide_layout(attn_i_wide *wide, attn_i_arena *arena)
{
    for (int i = 0; i < wide->count; i++) {
        wide->item[i].copy =
            copy_of(wide->item[i].given, wide->item[i].scales != NULL || wide->item[i].pages != NULL, arena);
    }
    attn_i_wide_apply(wide);
}

void attn_i_wide_apply(const attn_i_wide *wide)
{
    for (int i = 0; i < wide->count; i++) *wide->item[i].computed = wide->item[i].copy;
}

enum { ITEM_ELEMENTS = 1 << 14 }; /* of a parallel item, unless one row has more */

typedef struct job {
    const attn_i_wide *wide;
    const attn_i_view *narrow, *scales, *copy;
    const attn_i_pages *pages;
    int loads;
    int64_t rows, blocks; /* of an item, at most; and so many items a matrix has */
} job;

/* How many different ones there are along a dimension. */
static int64_t different(const attn_i_view *view, int d)
{
    return view->stride[d] == 0 ? attn_i_min(view->shape[d], 1) : view->shape[d];
}

/* Row i of a matrix of integers, times its scale. */
static void scale_row(const job *j, int64_t matrix, int64_t i, int64_t n, float *row)
{
    const attn_i_view *scales = j->scales;
    const int64_t heads = scales->shape[2];
    const float *first = (const float *)(const void *)attn_i_view_element(scales, 0, matrix / heads, matrix % heads, 0);
    const float scale = first[j->pages != NULL ? attn_i_page_row(j->pages, i, scales->stride[3], scales->stride[1])
                                               : i * scales->stride[3]];
    for (int64_t d = 0; d < n; d++) row[d] *= scale;
}

static void load_doubles(int64_t n, const double *from, int64_t stride, double *to)
{
    for (int64_t d = 0; d < n; d++) to[d] = from[d * stride];
}

/* The rows of one matrix, or some of them. */
static void convert(void *data, int64_t item)
{
    const job *j = data;
    const attn_i_stored_kernels *kernels = NULL; /* of doubles, which are only ever read */
    if (j->narrow->dtype != ATTN_F64) kernels = attn_i_engine_stored_kernels(j->wide->engine, j->narrow->dtype);
    const int64_t n = different(j->copy, 1), columns = different(j->copy, 3), index = item / j->blocks;
    const int64_t first = item % j->blocks * j->rows, end = attn_i_min(first + j->rows, different(j->copy, 2));
    char *narrow = attn_i_view_at(j->narrow, index / n, index % n),
         *copy = attn_i_view_at(j->copy, index / n, index % n);
    const int64_t step = j->narrow->stride[2] * j->narrow->size, copy_step = j->copy->stride[2] * j->copy->size;
    for (int64_t i = first; i < end; i++) {
        void *from = narrow + i * step, *to = copy + i * copy_step;
        if (j->pages != NULL) {
            from = narrow + attn_i_page_row(j->pages, i, j->narrow->stride[2], j->narrow->stride[0]) * j->narrow->size;
        }
        if (kernels == NULL) {
            load_doubles(columns, from, j->narrow->stride[3], to);
            continue;
        }
        if (j->loads) kernels->load(columns, from, j->narrow->stride[3], to);
        if (j->scales != NULL) scale_row(j, index, i, columns, to);
        if (!j->loads) kernels->store(columns, to, from, j->narrow->stride[3]);
    }
}

static void convert_all(const attn_i_wide *wide, int use, attn_i_pool *pool)
{
    for (int i = 0; i < wide->count; i++) {
        const attn_i_view *copy = &wide->item[i].copy;
        if (!(wide->item[i].use & use)) continue;
        const int64_t matrices = different(copy, 0) * different(copy, 1), rows = different(copy, 2);
        job j = {.wide = wide,
                 .narrow = wide->item[i].given,
                 .scales = wide->item[i].scales,
                 .pages = wide->item[i].pages,
                 .copy = copy,
                 .loads = use == ATTN_I_READ};
        j.rows = attn_i_max(ITEM_ELEMENTS / attn_i_max(different(copy, 3), 1), 1);
        j.blocks = attn_i_divide_up(rows, j.rows);
        attn_i_parallel(pool, matrices * j.blocks, matrices * rows * different(copy, 3), convert, &j);
    }
}

void attn_i_wide_load(const attn_i_wide *wide, attn_i_pool *pool)
{
    convert_all(wide, ATTN_I_READ, pool);
}

void attn_i_wide_store(const attn_i_wide *wide, attn_i_pool *pool)
{
    convert_all(wide, ATTN_I_WRITTEN, pool);
}
