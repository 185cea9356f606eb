/* SPDX-License-Identifier: BSD-3-Clause
 *
 * call/storage.h: rows of the caller's tensors, whose numbers may have 16 bits, to and from the numbers that a call
 * computes with. Whatever gathers rows or writes them goes through here, and need not know of types. */
#ifndef ATTN_I_CALL_STORAGE_H
#define ATTN_I_CALL_STORAGE_H

#include "handles/engine.h"
#include "handles/tensor.h"

typedef struct attn_i_storage {
    const attn_i_kernels *kernels;       /* of the type that is computed in */
    const attn_i_stored_kernels *narrow; /* of the call's type, if that has 16 bits; else NULL */
    int64_t size;                        /* of an element that is computed with, in bytes */
} attn_i_storage;

/* Of a call whose type is this one. */
attn_i_storage attn_i_storage_of(const attn_engine *engine, attn_dtype dtype);

/* 1 if there is a tensor, of the call's type or of that which is computed in, and it has 16 bits a number. */
static inline int attn_i_is_narrow(const attn_i_storage *storage, const attn_i_view *view)
{
    return storage->narrow != NULL && view->data != NULL && view->size == (int64_t)sizeof(uint16_t);
}

/* A row at `place` of a tensor: row = it, it = row, it += row; narrow numbers are widened as they are, and rounded once
 * when they are written, to the nearest, of two to the even one. Minus zero is written as zero. */
void attn_i_row_load(const attn_i_storage *storage, const attn_i_view *view, const void *place, void *row);
void attn_i_row_store(const attn_i_storage *storage, const attn_i_view *view, const void *row, void *place);
void attn_i_row_add(const attn_i_storage *storage, const attn_i_view *view, const void *row, void *place);

/* The same of n elements, `size` bytes each, a stride apart. */
void attn_i_elements_load(const attn_i_storage *storage, int64_t size, int64_t n, const void *from, int64_t stride,
                          void *to);
void attn_i_elements_store(const attn_i_storage *storage, int64_t size, int64_t n, const void *from, void *to,
                           int64_t stride);
void attn_i_elements_add(const attn_i_storage *storage, int64_t size, int64_t n, const void *from, void *to,
                         int64_t stride);

/* n elements along the last dimension of a tensor, from the one at `place` on, in float32. */
static inline void attn_i_elements_widen(const attn_engine *engine, const attn_i_view *view, const void *place,
                                         int64_t n, float *to)
{
    attn_i_engine_stored_kernels(engine, view->dtype)->load(n, place, view->stride[3], to);
}

#endif
