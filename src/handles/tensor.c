/* SPDX-License-Identifier: BSD-3-Clause
 *
 * handles/tensor.c: the caller's tensors: making, checking, comparing. */
#include "handles/tensor.h"

#include "handles/status.h"
#include "runtime/size.h"

#include <inttypes.h>
#include <stdio.h>

static const struct {
    const char *name;
    int64_t size;
    attn_dtype computed;
} dtypes[] = {
    [ATTN_F32] = {"ATTN_F32", 4, ATTN_F32}, [ATTN_F64] = {"ATTN_F64", 8, ATTN_F64},
    [ATTN_F16] = {"ATTN_F16", 2, ATTN_F32}, [ATTN_BF16] = {"ATTN_BF16", 2, ATTN_F32},
    [ATTN_I8] = {"ATTN_I8", 1, 0},          [ATTN_BOOL] = {"ATTN_BOOL", 1, 0},
    [ATTN_I32] = {"ATTN_I32", 4, 0},        [ATTN_I64] = {"ATTN_I64", 8, 0},
};

static int is_dtype(attn_dtype dtype)
{
    return dtype >= ATTN_F32 && dtype <= ATTN_I64;
}

int64_t attn_i_dtype_size(attn_dtype dtype)
{
    return is_dtype(dtype) ? dtypes[dtype].size : 0;
}

const char *attn_i_dtype_name(attn_dtype dtype)
{
    return is_dtype(dtype) ? dtypes[dtype].name : "no dtype";
}

attn_dtype attn_i_dtype_computed(attn_dtype dtype)
{
    return is_dtype(dtype) ? dtypes[dtype].computed : 0;
}

const char *attn_i_shape_text(int32_t ndim, const int64_t *shape, char text[ATTN_I_SHAPE_TEXT])
{
    int used = 0;
    for (int32_t d = 0; d < ndim; d++) {
        used += snprintf(text + used, (size_t)(ATTN_I_SHAPE_TEXT - used), "%s%" PRId64, d == 0 ? "[" : ", ", shape[d]);
    }
    snprintf(text + used, (size_t)(ATTN_I_SHAPE_TEXT - used), "]");
    return text;
}

/* An empty tensor may have no address and any strides: nothing must be computed from them. */
static void anchor(attn_i_view *view)
{
    static char nothing;
    if (view->data == NULL) view->data = &nothing;
    for (int d = 0; d < 4; d++) view->stride[d] = 0;
    view->first = view->end = view->data;
}

/* The lowest and the highest byte of a view, of which the lowest and one past the highest element are known, counted
 * from data. 0 if they cannot be addressed. */
static int set_extent(attn_i_view *view, int64_t low, int64_t high)
{
    const uintptr_t data = (uintptr_t)view->data;
    if (!attn_i_multiply(low, view->size, &low) || !attn_i_multiply(high, view->size, &high)) return 0;
    if (data < (uintptr_t)0 - (uintptr_t)low || UINTPTR_MAX - data < (uintptr_t)high) return 0;
    view->first = (char *)(data + (uintptr_t)low); /* data may come later */
    view->end = (char *)(data + (uintptr_t)high);
    return 1;
}

/* A number of dimensions that is none: it may say why. */
static attn_status refuse_ndim(const attn_tensor *tensor, const char *name, int32_t most_dims)
{
    const int64_t n = tensor->shape[0], first = tensor->stride[0], last = tensor->stride[1];
    if (tensor->ndim == ATTN_VIEW_BEYOND) {
        return attn_i_fail(ATTN_ERR_SHAPE,
                           "%s reaches from element %" PRId64 " to element %" PRId64 " of memory that has %" PRId64,
                           name, first, last, n);
    }
    if (tensor->ndim == ATTN_VIEW_STRIDES) {
        return attn_i_fail(ATTN_ERR_SHAPE, "%s has %" PRId64 " dimensions, but %" PRId64 " strides", name, n, first);
    }
    return attn_i_fail(ATTN_ERR_SHAPE, "%s has %" PRId32 " dimensions, but %s%" PRId32 " %s taken", name, tensor->ndim,
                       most_dims > 1 ? "1 to " : "", most_dims, most_dims > 1 ? "are" : "is");
}

/* All of attn_i_tensor_check but that data must be there. */
static attn_status check_form(const attn_tensor *tensor, const char *name, int32_t most_dims, attn_i_view *view)
{
    if (tensor == NULL) return attn_i_fail(ATTN_ERR_ARGUMENT, "%s is NULL", name);
    if (!is_dtype(tensor->dtype)) {
        return attn_i_fail(ATTN_ERR_DTYPE, "%s has dtype %" PRId32 ", which is none", name, tensor->dtype);
    }
    if (tensor->ndim < 1 || tensor->ndim > most_dims) {
        return refuse_ndim(tensor, name, most_dims);
    }
    view->data = tensor->data; /* one by one: a struct of zeros takes longer, eight times in a small call */
    view->dtype = tensor->dtype;
    view->size = attn_i_dtype_size(tensor->dtype);
    for (int d = 0; d < 4; d++) view->shape[d] = 1;
    for (int d = 0; d < 4; d++) view->stride[d] = 0;
    int64_t low = 0, high = 1; /* the farthest elements */
    int empty = 0, addressable = 1;
    for (int32_t d = 0; d < tensor->ndim; d++) {
        const int32_t to = 4 - tensor->ndim + d;
        const int64_t n = tensor->shape[d];
        int64_t reach;
        if (n < 0) {
            return attn_i_fail(ATTN_ERR_SHAPE, "%s has %" PRId64 " elements in dimension %" PRId32, name, n, d);
        }
        view->shape[to] = n;
        empty |= n == 0;
        if (n <= 1) continue;
        view->stride[to] = tensor->stride[d];
        addressable &= attn_i_multiply(n - 1, tensor->stride[d], &reach);
        if (addressable) addressable = attn_i_add(reach < 0 ? low : high, reach, reach < 0 ? &low : &high);
    }
    if (!empty && ((uintptr_t)tensor->data & (uintptr_t)(view->size - 1)) != 0) { /* a size is a power of two */
        return attn_i_fail(ATTN_ERR_ARGUMENT,
                           "%s has data at %p, which is not aligned to its %" PRId64 "-byte elements", name,
                           tensor->data, view->size);
    }
    if (empty) {
        anchor(view);
    } else if (!addressable || !set_extent(view, low, high)) {
        return attn_i_fail(ATTN_ERR_OVERFLOW, "%s reaches beyond what can be addressed", name);
    }
    return ATTN_OK;
}

attn_status attn_i_tensor_check(const attn_tensor *tensor, const char *name, int32_t most_dims, attn_i_view *view)
{
    attn_status status = check_form(tensor, name, most_dims, view);
    if (status == ATTN_OK && view->data == NULL) {
        return attn_i_fail(ATTN_ERR_ARGUMENT, "%s has elements, but its data is NULL", name);
    }
    return status;
}

attn_status attn_i_tensor_check_number(const attn_tensor *tensor, const char *name, int32_t most_dims,
                                       attn_i_view *view)
{
    attn_status status = attn_i_tensor_check(tensor, name, most_dims, view);
    if (status == ATTN_OK && attn_i_dtype_computed(tensor->dtype) == 0) {
        return attn_i_fail(ATTN_ERR_DTYPE, "%s is %s, but ATTN_F32, _F64, _F16 or _BF16 is computed with", name,
                           attn_i_dtype_name(tensor->dtype));
    }
    return status;
}

attn_status attn_i_tensor_check_real(const attn_tensor *tensor, const char *name, int32_t most_dims, attn_i_view *view)
{
    attn_status status = attn_i_tensor_check(tensor, name, most_dims, view);
    if (status != ATTN_OK) return status;
    if (tensor->dtype != ATTN_F32 && tensor->dtype != ATTN_F64) {
        return attn_i_fail(ATTN_ERR_DTYPE, "%s is %s, but ATTN_F32 or ATTN_F64 is needed", name,
                           attn_i_dtype_name(tensor->dtype));
    }
    return ATTN_OK;
}

attn_status attn_i_tensor_check_integers(const attn_tensor *tensor, const char *name, int32_t most_dims,
                                         attn_i_view *view)
{
    attn_status status = attn_i_tensor_check(tensor, name, most_dims, view);
    if (status != ATTN_OK || tensor->dtype == ATTN_I32 || tensor->dtype == ATTN_I64) return status;
    return attn_i_fail(ATTN_ERR_DTYPE, "%s is %s, but ATTN_I32 or ATTN_I64 is needed", name,
                       attn_i_dtype_name(tensor->dtype));
}

attn_status attn_i_tensor_check_like(const attn_tensor *tensor, const char *name, int32_t most_dims, attn_dtype dtype,
                                     const char *like, attn_i_view *view)
{
    attn_status status = attn_i_tensor_check(tensor, name, most_dims, view);
    if (status != ATTN_OK) return status;
    if (tensor->dtype != dtype) {
        return attn_i_fail(ATTN_ERR_DTYPE, "%s is %s, but %s is %s", name, attn_i_dtype_name(tensor->dtype), like,
                           attn_i_dtype_name(dtype));
    }
    return ATTN_OK;
}

attn_status attn_i_view_has_shape(const attn_i_view *view, const char *name, const char *layout, const int64_t *shape)
{
    for (int d = 0; d < 4; d++) {
        if (view->shape[d] == shape[d]) continue;
        char got[ATTN_I_SHAPE_TEXT], wanted[ATTN_I_SHAPE_TEXT];
        return attn_i_fail(ATTN_ERR_SHAPE, "%s has shape %s, but %s is %s", name,
                           attn_i_shape_text(4, view->shape, got), layout, attn_i_shape_text(4, shape, wanted));
    }
    return ATTN_OK;
}

attn_status attn_i_view_broadcast(attn_i_view *view, const char *name, const char *layout, const int64_t *shape)
{
    for (int d = 0; d < 4; d++) {
        if (view->shape[d] == shape[d] || view->shape[d] == 1) continue;
        char got[ATTN_I_SHAPE_TEXT], wanted[ATTN_I_SHAPE_TEXT];
        return attn_i_fail(ATTN_ERR_SHAPE, "%s has shape %s, which does not broadcast to %s, %s", name,
                           attn_i_shape_text(4, view->shape, got), layout, attn_i_shape_text(4, shape, wanted));
    }
    for (int d = 0; d < 4; d++) view->shape[d] = shape[d]; /* the stride of a single element is 0 already */
    return ATTN_OK;
}

/* Sorted by stride, each dimension must step past all that the smaller ones cover. */
attn_status attn_i_view_is_output(const attn_i_view *view, const char *name)
{
    if (attn_i_view_is_empty(view)) return ATTN_OK;
    int order[4] = {0, 1, 2, 3};
    int64_t steps[4];
    for (int d = 0; d < 4; d++) steps[d] = view->stride[d] < 0 ? -view->stride[d] : view->stride[d];
    for (int i = 1; i < 4; i++) {
        for (int j = i; j > 0 && steps[order[j]] < steps[order[j - 1]]; j--) {
            int swap = order[j];
            order[j] = order[j - 1];
            order[j - 1] = swap;
        }
    }
    int64_t covered = 0; /* the farthest element of the smaller dimensions */
    for (int i = 0; i < 4; i++) {
        int d = order[i];
        if (view->shape[d] == 1) continue;
        if (steps[d] <= covered) {
            return attn_i_fail(ATTN_ERR_OVERLAP,
                               "%s is an output, but its dimension of stride %" PRId64
                               " does not step past the smaller ones",
                               name, view->stride[d]);
        }
        covered += (view->shape[d] - 1) * steps[d];
    }
    return ATTN_OK;
}

int attn_i_views_meet(const attn_i_view *a, const attn_i_view *b)
{
    return a->first < a->end && b->first < b->end && a->first < b->end && b->first < a->end;
}

attn_status attn_i_views_apart(const attn_i_named_view *list, int outputs, int count)
{
    for (int i = 0; i < outputs; i++) {
        for (int j = i + 1; j < count; j++) {
            if (!attn_i_views_meet(list[i].view, list[j].view)) continue;
            return attn_i_fail(ATTN_ERR_OVERLAP, "%s%s shares memory with %s%s", list[i].kind, list[i].name,
                               list[j].kind, list[j].name);
        }
    }
    return ATTN_OK;
}

int64_t attn_i_view_integer(const attn_i_view *view, const char *element)
{
    return view->size == (int64_t)sizeof(int32_t) ? *(const int32_t *)(const void *)element
                                                  : *(const int64_t *)(const void *)element;
}

attn_status attn_tensor_init(attn_tensor *tensor, void *data, attn_dtype dtype, int32_t ndim, const int64_t *shape)
{
    static const char where[] = "attn_tensor_init";
    if (tensor == NULL || shape == NULL) {
        return attn_i_fail(ATTN_ERR_ARGUMENT, "%s: %s is NULL", where, tensor == NULL ? "tensor" : "shape");
    }
    if (ndim < 1 || ndim > 4) {
        return attn_i_fail(ATTN_ERR_SHAPE, "%s: %" PRId32 " dimensions, but 1 to 4 are taken", where, ndim);
    }
    attn_tensor made = {.data = data, .dtype = dtype, .ndim = ndim, .shape = {1, 1, 1, 1}, .stride = {1, 1, 1, 1}};
    int64_t step = 1;
    for (int32_t d = ndim - 1; d >= 0; d--) {
        made.shape[d] = shape[d];
        made.stride[d] = step;
        if (!attn_i_multiply(step, attn_i_max(shape[d], 1), &step)) {
            return attn_i_fail(ATTN_ERR_OVERFLOW, "%s: more elements than can be addressed", where);
        }
    }
    attn_i_view view;
    attn_status status = check_form(&made, "tensor", 4, &view);
    if (status != ATTN_OK) return attn_i_fail_in(where, status);
    *tensor = made;
    return ATTN_OK;
}

attn_status attn_i_real_first(const attn_tensor *tensor, const char *name, attn_i_view *view, attn_i_reals *reals)
{
    attn_status status = attn_i_tensor_check_number(tensor, name, 4, view);
    if (status == ATTN_OK) *reals = (attn_i_reals){tensor->dtype, name};
    return status;
}

attn_status attn_i_real(attn_i_reals reals, const attn_tensor *tensor, const char *name, attn_i_view *view)
{
    if (tensor == NULL) return ATTN_OK;
    attn_status status = attn_i_tensor_check(tensor, name, 4, view);
    if (status != ATTN_OK) return status;
    if (tensor->dtype != reals.dtype) {
        return attn_i_fail(ATTN_ERR_DTYPE, "%s is %s, but %s is %s", name, attn_i_dtype_name(tensor->dtype),
                           reals.first, attn_i_dtype_name(reals.dtype));
    }
    return ATTN_OK;
}

attn_status attn_i_real_input(attn_i_reals reals, const attn_tensor *tensor, const char *name, const char *layout,
                              const int64_t *shape, attn_i_view *view)
{
    attn_status status = attn_i_real(reals, tensor, name, view);
    if (status != ATTN_OK || tensor == NULL) return status;
    return attn_i_view_has_shape(view, name, layout, shape);
}

attn_status attn_i_real_output(attn_i_reals reals, const attn_tensor *tensor, const char *name, const char *layout,
                               const int64_t *shape, attn_i_view *view)
{
    attn_status status = attn_i_real_input(reals, tensor, name, layout, shape, view);
    return status == ATTN_OK && tensor != NULL ? attn_i_view_is_output(view, name) : status;
}
