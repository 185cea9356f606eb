/* SPDX-License-Identifier: BSD-3-Clause
 *
 * handles/store.h: rows of one kind that a memory keeps, keys or values, in one block: [pieces, heads, rows, width],
 * a piece being a sequence or a page, and behind them what each row of integers is to be multiplied by. */
#ifndef ATTN_I_HANDLES_STORE_H
#define ATTN_I_HANDLES_STORE_H

#include "attn/attn.h"
#include "handles/tensor.h"
#include "runtime/memory.h"

typedef struct attn_i_store {
    char *data;    /* NULL: there are none, or no room yet */
    float *scales; /* [pieces, heads, rows], behind the data; NULL: rows are no integers */
    int64_t width; /* elements; 0: there are none */
    attn_dtype dtype;
    int64_t size; /* of an element, in bytes */
} attn_i_store;

/* The bytes of so many pieces of so many heads and rows, and those before its scales. ATTN_ERR_OVERFLOW. */
attn_status attn_i_store_bytes(const attn_i_store *store, int64_t pieces, int64_t heads, int64_t rows, int64_t *bytes,
                               int64_t *scales);

/* A block of so many bytes; NULL for none, or after an earlier failure. *status becomes ATTN_ERR_NOMEM if it cannot be
 * had. */
void *attn_i_store_allocate(const attn_i_allocator *allocator, int64_t bytes, attn_status *status);
/* One for rows, which follow each other from so many places on: see attn_i_allocate_rows. */
void *attn_i_store_allocate_rows(const attn_i_allocator *allocator, int64_t bytes, int64_t places, attn_status *status);

/* The scales in such a block; NULL where there are none. */
float *attn_i_store_scales(const attn_i_store *store, int64_t pieces, int64_t heads, int64_t rows, char *block);

/* The block as a view, [pieces, heads, rows, width], of which there are `seen` rows, and so its scales, [1, pieces,
 * heads, seen]. */
attn_i_view attn_i_store_view(const attn_i_store *store, int64_t pieces, int64_t heads, int64_t rows, int64_t seen,
                              int64_t width);
attn_i_view attn_i_store_scales_view(const attn_i_store *store, int64_t pieces, int64_t heads, int64_t rows,
                                     int64_t seen);

#endif
