/* SPDX-License-Identifier: BSD-3-Clause
 *
 * tensor.c: loops over the elements of a view of rank 4.
 */
#include "tensor.h"

#include "fail.h"
#include "npy_header.h"
#include "number.h"

#include <stddef.h>

void tensor_check_real(const attn_tensor *tensor, const char *file)
{
    if (!number_is_real(tensor->dtype)) {
        fail("%s holds whole numbers; what is computed with is " NUMBER_TYPES, file);
    }
}

int64_t tensor_last_dimension(const attn_tensor *tensor)
{
    return tensor->shape[tensor->ndim - 1];
}

attn_tensor tensor_raised(const attn_tensor *tensor, int32_t rank)
{
    attn_tensor view = {.data = tensor->data, .dtype = tensor->dtype, .ndim = rank};
    int32_t missing = rank - tensor->ndim;
    for (int32_t i = 0; i < rank; ++i) {
        view.shape[i] = i < missing ? 1 : tensor->shape[i - missing];
        view.stride[i] = i < missing ? 0 : tensor->stride[i - missing];
    }
    return view;
}

attn_tensor tensor_part(const attn_tensor *tensor, int32_t dimension, int64_t first, int64_t count)
{
    attn_tensor view = *tensor;
    int64_t bytes = (int64_t)npy_element_bytes(tensor->dtype);
    view.data = (char *)tensor->data + first * tensor->stride[dimension] * bytes;
    view.shape[dimension] = count;
    return view;
}

/* Place i, in row-major order, of a view of rank 4. */
static int64_t place_of(const attn_tensor *view, int64_t i)
{
    int64_t place = 0;
    for (int d = 4; d-- > 0; i /= view->shape[d]) place += i % view->shape[d] * view->stride[d];
    return place;
}

static int64_t count_of(const attn_tensor *view)
{
    return view->shape[0] * view->shape[1] * view->shape[2] * view->shape[3];
}

void tensor_fill(const attn_tensor *tensor, double number)
{
    attn_tensor view = tensor_raised(tensor, 4);
    int64_t count = count_of(&view);
    for (int64_t i = 0; i < count; ++i) number_write(view.dtype, view.data, place_of(&view, i), number);
}

void tensor_add(const attn_tensor *from, const attn_tensor *to)
{
    attn_tensor source = tensor_raised(from, 4), target = tensor_raised(to, 4);
    int64_t count = count_of(&target);
    for (int64_t i = 0; i < count; ++i) {
        int64_t there = place_of(&target, i);
        double sum = number_read(target.dtype, target.data, there) +
                     number_read(source.dtype, source.data, place_of(&source, i));
        number_write(target.dtype, target.data, there, sum);
    }
}
