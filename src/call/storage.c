/* SPDX-License-Identifier: BSD-3-Clause
 *
 * call/storage.c: rows of the caller's tensors, to and from the numbers that a call computes with. */
#include "call/storage.h"

#include "runtime/size.h"

enum { BLOCK = 64 };

attn_i_storage attn_i_storage_of(const attn_engine *engine, attn_dtype dtype)
{
    const attn_dtype computed = attn_i_dtype_computed(dtype);
    return (attn_i_storage){attn_i_engine_kernels(engine, computed),
                            dtype == computed ? NULL : attn_i_engine_stored_kernels(engine, dtype),
                            attn_i_dtype_size(computed)};
}

void attn_i_elements_load(const attn_i_storage *s, int64_t size, int64_t n, const void *from, int64_t stride, void *to)
{
    if (size != s->size) {
        s->narrow->load(n, from, stride, to);
    } else {
        s->kernels->gather(n, from, stride, to);
    }
}

void attn_i_elements_store(const attn_i_storage *s, int64_t size, int64_t n, const void *from, void *to, int64_t stride)
{
    if (size != s->size) {
        s->narrow->store(n, from, to, stride);
    } else {
        s->kernels->scatter(n, from, to, stride);
    }
}

static void add_narrow(const attn_i_storage *s, int64_t size, int64_t n, const float *from, char *to, int64_t stride)
{
    float sum[BLOCK];
    for (int64_t at = 0; at < n; at += BLOCK) {
        const int64_t count = attn_i_min(n - at, BLOCK);
        s->narrow->load(count, to + at * stride * size, stride, sum);
        s->kernels->add_to(count, from + at, sum, 1);
        s->narrow->store(count, sum, to + at * stride * size, stride);
    }
}

void attn_i_elements_add(const attn_i_storage *s, int64_t size, int64_t n, const void *from, void *to, int64_t stride)
{
    if (size != s->size) {
        add_narrow(s, size, n, from, to, stride);
    } else {
        s->kernels->add_to(n, from, to, stride);
    }
}

void attn_i_row_load(const attn_i_storage *s, const attn_i_view *view, const void *place, void *row)
{
    attn_i_elements_load(s, view->size, view->shape[3], place, view->stride[3], row);
}

void attn_i_row_store(const attn_i_storage *s, const attn_i_view *view, const void *row, void *place)
{
    attn_i_elements_store(s, view->size, view->shape[3], row, place, view->stride[3]);
}

void attn_i_row_add(const attn_i_storage *s, const attn_i_view *view, const void *row, void *place)
{
    attn_i_elements_add(s, view->size, view->shape[3], row, place, view->stride[3]);
}
