/* SPDX-License-Identifier: BSD-3-Clause
 *
 * lengths.c: the valid rows of each sequence of a batch. */
#include "lengths.h"

#include "runtime/size.h"
#include "status.h"

#include <inttypes.h>

attn_status attn_i_lengths_check(const attn_tensor *tensor, const char *name, int64_t batch, int64_t most,
                                 const char *rows, attn_i_view *lengths)
{
    if (tensor == NULL) return ATTN_OK;
    attn_status status = attn_i_tensor_check(tensor, name, 1, lengths);
    if (status != ATTN_OK) return status;
    if (tensor->dtype != ATTN_I32 && tensor->dtype != ATTN_I64) {
        return attn_i_fail(ATTN_ERR_DTYPE, "%s is %s, but ATTN_I32 or ATTN_I64 is needed", name,
                           attn_i_dtype_name(tensor->dtype));
    }
    if (tensor->shape[0] != batch) {
        return attn_i_fail(ATTN_ERR_SHAPE, "%s has %" PRId64 " elements, but the batch is %" PRId64, name,
                           tensor->shape[0], batch);
    }
    const int64_t different = lengths->stride[3] == 0 ? attn_i_min(batch, 1) : batch;
    for (int64_t b = 0; b < different; b++) {
        const int64_t length = attn_i_length(lengths, b, most);
        if (length < 0 || length > most) {
            return attn_i_fail(ATTN_ERR_ARGUMENT, "%s[%" PRId64 "] is %" PRId64 ", but there are %" PRId64 " %s", name,
                               b, length, most, rows);
        }
    }
    return ATTN_OK;
}

int64_t attn_i_length(const attn_i_view *lengths, int64_t b, int64_t most)
{
    if (lengths->data == NULL) return most;
    const char *element = lengths->data + b * lengths->stride[3] * lengths->size;
    return lengths->size == (int64_t)sizeof(int32_t) ? *(const int32_t *)(const void *)element
                                                     : *(const int64_t *)(const void *)element;
}
