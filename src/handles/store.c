/* SPDX-License-Identifier: BSD-3-Clause
 *
 * handles/store.c: where the rows of a block lie. */
#include "handles/store.h"

#include "handles/status.h"
#include "runtime/size.h"

#include <inttypes.h>

attn_status attn_i_store_bytes(const attn_i_store *store, int64_t pieces, int64_t heads, int64_t rows, int64_t *bytes,
                               int64_t *scales)
{
    int64_t all;
    if (attn_i_multiply(pieces, heads, &all) && attn_i_multiply(all, rows, &all) &&
        attn_i_multiply(all, store->width, bytes) && attn_i_multiply(*bytes, store->size, bytes) &&
        attn_i_add(*bytes, ATTN_I_ALIGNMENT - 1, bytes)) {
        *scales = *bytes = *bytes / ATTN_I_ALIGNMENT * ATTN_I_ALIGNMENT;
        const int has = store->dtype == ATTN_I8 && store->width > 0;
        if (!has) return ATTN_OK;
        if (attn_i_multiply(all, (int64_t)sizeof(float), &all) && attn_i_add(*bytes, all, bytes)) return ATTN_OK;
    }
    return attn_i_fail(ATTN_ERR_OVERFLOW, "%" PRId64 " times %" PRId64 " positions cannot be addressed", pieces, rows);
}

void *attn_i_store_allocate(const attn_i_allocator *allocator, int64_t bytes, attn_status *status)
{
    return attn_i_store_allocate_rows(allocator, bytes, INT64_MAX, status);
}

void *attn_i_store_allocate_rows(const attn_i_allocator *allocator, int64_t bytes, int64_t places, attn_status *status)
{
    if (*status != ATTN_OK || bytes == 0) return NULL;
    void *block = attn_i_allocate_rows(allocator, (size_t)bytes, places);
    if (block == NULL) *status = attn_i_fail(ATTN_ERR_NOMEM, "no memory for %" PRId64 " bytes", bytes);
    return block;
}

float *attn_i_store_scales(const attn_i_store *store, int64_t pieces, int64_t heads, int64_t rows, char *block)
{
    int64_t bytes = 0, scales = 0;
    if (block == NULL || store->dtype != ATTN_I8) return NULL;
    attn_i_store_bytes(store, pieces, heads, rows, &bytes, &scales);
    return (float *)(void *)(block + scales);
}

attn_i_view attn_i_store_view(const attn_i_store *store, int64_t pieces, int64_t heads, int64_t rows, int64_t seen,
                              int64_t width)
{
    const int64_t row = store->width;
    attn_i_view view = {.data = store->data,
                        .shape = {pieces, heads, seen, width},
                        .stride = {heads * rows * row, rows * row, row, 1},
                        .dtype = store->dtype,
                        .size = store->size,
                        .first = store->data,
                        .end = store->data};
    if (store->data != NULL) view.end = store->data + pieces * view.stride[0] * store->size;
    return view;
}

attn_i_view attn_i_store_scales_view(const attn_i_store *store, int64_t pieces, int64_t heads, int64_t rows,
                                     int64_t seen)
{
    char *data = (char *)store->scales;
    if (data == NULL) return (attn_i_view){.data = NULL};
    return (attn_i_view){.data = data,
                         .shape = {1, pieces, heads, seen},
                         .stride = {0, heads * rows, rows, 1},
                         .dtype = ATTN_F32,
                         .size = (int64_t)sizeof(float),
                         .first = data,
                         .end = data + pieces * heads * rows * (int64_t)sizeof(float)};
}
