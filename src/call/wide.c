/* SPDX-License-Identifier: BSD-3-Clause
 *
 * call/wide.c: tensors of 16 bits a number in float32. */
#include "call/wide.h"

#include "runtime/parallel.h"
#include "runtime/size.h"

attn_i_wide attn_i_wide_begin(const attn_i_problem *p)
{
    attn_i_wide wide;
    wide.kernels = attn_i_engine_stored_kernels(p->engine, p->stored);
    wide.count = 0;
    return wide;
}

static const attn_i_view *view_in(const void *given, size_t at)
{
    return (const attn_i_view *)(const void *)((const char *)given + at);
}

void attn_i_wide_add(attn_i_wide *wide, const void *given, size_t at, int use)
{
    if (view_in(given, at)->data == NULL || view_in(given, at)->size == (int64_t)sizeof(float)) return;
    wide->item[wide->count].at = at;
    wide->item[wide->count].use = use;
    wide->item[wide->count++].view = *view_in(given, at);
}

/* Dimensions follow each other; one that is broadcast stays so. */
void attn_i_wide_layout(attn_i_wide *wide, attn_i_arena *arena)
{
    static char nowhere;
    for (int i = 0; i < wide->count; i++) {
        attn_i_view *view = &wide->item[i].view;
        int64_t elements = 1;
        view->size = (int64_t)sizeof(float);
        for (int d = 3; d >= 0; d--) {
            const int64_t n = view->stride[d] == 0 ? attn_i_min(view->shape[d], 1) : view->shape[d];
            view->stride[d] = n > 1 ? elements : 0;
            if (!attn_i_multiply(elements, n, &elements)) arena->overflow = 1;
        }
        char *room = attn_i_carve(arena, elements, view->size);
        view->data = view->first = view->end = room != NULL ? room : &nowhere;
    }
}

void attn_i_wide_apply(const attn_i_wide *wide, void *computed)
{
    for (int i = 0; i < wide->count; i++) {
        *(attn_i_view *)(void *)((char *)computed + wide->item[i].at) = wide->item[i].view;
    }
}

typedef struct job {
    const attn_i_wide *wide;
    const attn_i_view *narrow, *copy;
    int loads;
} job;

/* How many different ones there are along a dimension. */
static int64_t different(const attn_i_view *view, int d)
{
    return view->stride[d] == 0 ? attn_i_min(view->shape[d], 1) : view->shape[d];
}

/* The rows of one matrix. */
static void convert(void *data, int64_t index)
{
    const job *j = data;
    const int64_t n = different(j->copy, 1), rows = different(j->copy, 2), columns = different(j->copy, 3);
    char *narrow = attn_i_view_at(j->narrow, index / n, index % n),
         *copy = attn_i_view_at(j->copy, index / n, index % n);
    const int64_t step = j->narrow->stride[2] * j->narrow->size, copy_step = j->copy->stride[2] * j->copy->size;
    for (int64_t i = 0; i < rows; i++) {
        void *from = narrow + i * step, *to = copy + i * copy_step;
        if (j->loads) j->wide->kernels->load(columns, from, j->narrow->stride[3], to);
        if (!j->loads) j->wide->kernels->store(columns, to, from, j->narrow->stride[3]);
    }
}

static void convert_all(const attn_i_wide *wide, const void *given, int use, attn_i_pool *pool)
{
    for (int i = 0; i < wide->count; i++) {
        const attn_i_view *copy = &wide->item[i].view;
        if (!(wide->item[i].use & use)) continue;
        job j = {wide, view_in(given, wide->item[i].at), copy, use == ATTN_I_READ};
        const int64_t matrices = different(copy, 0) * different(copy, 1);
        attn_i_parallel(pool, matrices, matrices * different(copy, 2) * different(copy, 3), convert, &j);
    }
}

void attn_i_wide_load(const attn_i_wide *wide, const void *given, attn_i_pool *pool)
{
    convert_all(wide, given, ATTN_I_READ, pool);
}

void attn_i_wide_store(const attn_i_wide *wide, const void *given, attn_i_pool *pool)
{
    convert_all(wide, given, ATTN_I_WRITTEN, pool);
}
