/* SPDX-License-Identifier: BSD-3-Clause
 *
 * tensor.c: loops over the elements of a view of rank 4.
 */
#include "tensor.h"

#include "fail.h"

#include <stddef.h>

void tensor_check_real(const attn_tensor *tensor, const char *file)
{
    if (tensor->dtype != ATTN_F32 && tensor->dtype != ATTN_F64) {
        fail("%s holds whole numbers; what is computed with is f4 or f8", file);
    }
}

int64_t tensor_last_dimension(const attn_tensor *tensor)
{
    return tensor->shape[tensor->ndim - 1];
}

attn_tensor tensor_rank4(const attn_tensor *tensor)
{
    attn_tensor view = {.data = tensor->data, .dtype = tensor->dtype, .ndim = 4};
    int32_t missing = 4 - tensor->ndim;
    for (int32_t i = 0; i < 4; ++i) {
        view.shape[i] = i < missing ? 1 : tensor->shape[i - missing];
        view.stride[i] = i < missing ? 0 : tensor->stride[i - missing];
    }
    return view;
}

static int64_t place_of(const attn_tensor *view, const int64_t *at)
{
    return at[0] * view->stride[0] + at[1] * view->stride[1] + at[2] * view->stride[2] + at[3] * view->stride[3];
}

void tensor_add(const attn_tensor *from, const attn_tensor *to)
{
    attn_tensor source = tensor_rank4(from), target = tensor_rank4(to);
    const int64_t *shape = target.shape;
    int64_t count = shape[0] * shape[1] * shape[2] * shape[3];
    for (int64_t i = 0; i < count; ++i) {
        int64_t rest = i, at[4];
        for (int d = 4; d-- > 0; rest /= shape[d]) at[d] = rest % shape[d];
        int64_t there = place_of(&target, at), here = place_of(&source, at);
        if (target.dtype == ATTN_F32) ((float *)target.data)[there] += ((const float *)source.data)[here];
        if (target.dtype == ATTN_F64) ((double *)target.data)[there] += ((const double *)source.data)[here];
    }
}
