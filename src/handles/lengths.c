/* SPDX-License-Identifier: BSD-3-Clause
 *
 * handles/lengths.c: tensors of integers, one for each sequence of a batch. */
#include "handles/lengths.h"

#include "handles/status.h"
#include "runtime/size.h"

#include <inttypes.h>

int64_t attn_i_integer(const attn_i_view *view, int64_t index)
{
    return attn_i_view_integer(view, view->data + index * view->stride[3] * view->size);
}

attn_status attn_i_integers_check_from(const attn_tensor *tensor, const char *name, int64_t least, int64_t most,
                                       attn_i_view *view)
{
    attn_status status = attn_i_tensor_check_integers(tensor, name, 1, view);
    if (status != ATTN_OK) return status;
    const int64_t different = view->stride[3] == 0 ? attn_i_min(view->shape[3], 1) : view->shape[3];
    for (int64_t b = 0; b < different; b++) {
        const int64_t x = attn_i_integer(view, b);
        if (x >= least && x <= most) continue;
        return attn_i_fail(ATTN_ERR_ARGUMENT, "%s[%" PRId64 "] is %" PRId64 ", but must be %" PRId64 " .. %" PRId64,
                           name, b, x, least, most);
    }
    return ATTN_OK;
}

attn_status attn_i_integers_check(const attn_tensor *tensor, const char *name, int64_t most, attn_i_view *view)
{
    return attn_i_integers_check_from(tensor, name, 0, most, view);
}

attn_status attn_i_lengths_check(const attn_tensor *tensor, const char *name, int64_t batch, int64_t most,
                                 attn_i_view *lengths)
{
    if (tensor == NULL) return ATTN_OK;
    attn_i_view view;
    attn_status status = attn_i_tensor_check(tensor, name, 1, &view);
    if (status != ATTN_OK) return status;
    if (tensor->shape[0] != batch) {
        return attn_i_fail(ATTN_ERR_SHAPE, "%s has %" PRId64 " elements, but the batch is %" PRId64, name,
                           tensor->shape[0], batch);
    }
    status = attn_i_integers_check(tensor, name, most, lengths);
    return status;
}

int64_t attn_i_length(const attn_i_view *lengths, int64_t b, int64_t most)
{
    return lengths->data == NULL ? most : attn_i_integer(lengths, b);
}

int64_t attn_i_growth_rows(const attn_i_growth *g, int64_t b)
{
    if (g->offsets.data != NULL) return attn_i_integer(&g->offsets, b + 1) - attn_i_integer(&g->offsets, b);
    return attn_i_length(&g->counts, b, g->each);
}

int64_t attn_i_growth_first(const attn_i_growth *g, int64_t b)
{
    return g->offsets.data != NULL ? attn_i_integer(&g->offsets, b) : 0;
}

int64_t attn_i_growth_batch(const attn_i_growth *g, int64_t b)
{
    return g->offsets.data != NULL ? 0 : b;
}
