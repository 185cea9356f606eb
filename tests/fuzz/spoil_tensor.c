/* SPDX-License-Identifier: BSD-3-Clause
 *
 * spoil_tensor.c: tensors made wrong (spoil_tensor.h).
 */
#include "spoil_tensor.h"

int64_t tensor_count(const attn_tensor *t)
{
    int64_t count = 1;
    for (int32_t d = 0; d < t->ndim; d++) count *= t->shape[d];
    return count;
}

bool spoil_tensor(attn_tensor *t, unsigned way)
{
    const int32_t last = t->ndim - 1;
    const bool empty = tensor_count(t) == 0;
    switch (way % TENSOR_WAYS) {
    case 0:
        t->ndim = 0;
        return true;
    case 1:
        t->ndim = 5;
        return true;
    case 2:
        t->ndim = -1;
        return true;
    case 3:
        t->dtype = 0;
        return true;
    case 4:
        t->dtype = 99;
        return true;
    case TENSOR_OF_HALVES:
        t->dtype = ATTN_F16;
        return true;
    case 6:
        t->shape[last] = -1;
        return true;
    case 7:
        t->shape[0] = INT64_MIN;
        return true;
    case 8: /* misaligned */
        if (empty || t->data == NULL || t->dtype == ATTN_BOOL || t->dtype == ATTN_I8) return false;
        t->data = (char *)t->data + 1;
        return true;
    case 9:
        if (empty) return false;
        t->data = NULL;
        return true;
    case 10: /* reaches past all addresses */
        if (empty || t->shape[last] < 2) return false;
        t->stride[last] = INT64_MAX - 1;
        return true;
    default:
        if (empty || t->shape[0] < 2) return false;
        t->stride[0] = INT64_MIN;
        return true;
    }
}

bool spoil_tensor_of(attn_dtype dtype, attn_tensor *t, unsigned way)
{
    if (dtype_computed(dtype) == dtype || way % TENSOR_WAYS != TENSOR_OF_HALVES) return spoil_tensor(t, way);
    t->dtype = t->dtype == ATTN_BOOL ? ATTN_F16 : ATTN_BOOL;
    return true;
}
