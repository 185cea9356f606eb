/* SPDX-License-Identifier: BSD-3-Clause
 *
 * handles/tensor.h: checking the caller's tensors, and the rank-4 view that everything below works on. */
#ifndef ATTN_I_HANDLES_TENSOR_H
#define ATTN_I_HANDLES_TENSOR_H

#include "attn/attn.h"
#include "runtime/matrix.h"

/* A checked tensor with its missing leading dimensions filled in. */
typedef struct attn_i_view {
    char *data; /* NULL: no such tensor */
    int64_t shape[4];
    int64_t stride[4]; /* in elements; 0 along a dimension of one element */
    attn_dtype dtype;
    int64_t size;      /* of an element, in bytes */
    char *first, *end; /* the bytes that its elements lie between; first == end when there are none */
} attn_i_view;

/* The bytes of an element, 0 for what is no dtype; and its name. */
int64_t attn_i_dtype_size(attn_dtype dtype);
const char *attn_i_dtype_name(attn_dtype dtype);

/* What numbers of a dtype are computed in: ATTN_F32 or ATTN_F64; 0 for what is not computed with. */
attn_dtype attn_i_dtype_computed(attn_dtype dtype);

/* "[2, 3, 4, 5]", for sentences. Returns text. */
enum { ATTN_I_SHAPE_TEXT = 96 };
const char *attn_i_shape_text(int32_t ndim, const int64_t *shape, char text[ATTN_I_SHAPE_TEXT]);

/* Checks that a tensor is well formed: not NULL, a known dtype, rank 1 to most_dims, no negative shape, data present
 * and aligned unless empty, and all of it addressable. `name` is the argument's. */
attn_status attn_i_tensor_check(const attn_tensor *tensor, const char *name, int32_t most_dims, attn_i_view *view);

/* The same, and ATTN_ERR_DTYPE unless the tensor is of a type that is computed with; unless it is ATTN_F32 or ATTN_F64;
 * unless it is ATTN_I32 or ATTN_I64; or unless it is `dtype`, which that of the argument `like` is. */
attn_status attn_i_tensor_check_number(const attn_tensor *tensor, const char *name, int32_t most_dims,
                                       attn_i_view *view);
attn_status attn_i_tensor_check_real(const attn_tensor *tensor, const char *name, int32_t most_dims, attn_i_view *view);
attn_status attn_i_tensor_check_integers(const attn_tensor *tensor, const char *name, int32_t most_dims,
                                         attn_i_view *view);
attn_status attn_i_tensor_check_like(const attn_tensor *tensor, const char *name, int32_t most_dims, attn_dtype dtype,
                                     const char *like, attn_i_view *view);

/* ATTN_ERR_SHAPE unless the view has exactly this shape; `layout` says what the dimensions are, for the sentence. */
attn_status attn_i_view_has_shape(const attn_i_view *view, const char *name, const char *layout, const int64_t *shape);

/* ATTN_ERR_SHAPE unless each dimension is that of the shape or 1; then sets the strides of the latter to 0. */
attn_status attn_i_view_broadcast(attn_i_view *view, const char *name, const char *layout, const int64_t *shape);

/* ATTN_ERR_OVERLAP if elements of one tensor lie on each other. */
attn_status attn_i_view_is_output(const attn_i_view *view, const char *name);

/* An optional tensor of a call whose tensors have one dtype, that of the one called `first`; view->data stays NULL
 * where there is none. One that is of this shape too; and one that may be written to. */
typedef struct attn_i_reals {
    attn_dtype dtype; /* that is computed with */
    const char *first;
} attn_i_reals;
attn_status attn_i_real(attn_i_reals reals, const attn_tensor *tensor, const char *name, attn_i_view *view);
attn_status attn_i_real_input(attn_i_reals reals, const attn_tensor *tensor, const char *name, const char *layout,
                              const int64_t *shape, attn_i_view *view);
attn_status attn_i_real_output(attn_i_reals reals, const attn_tensor *tensor, const char *name, const char *layout,
                               const int64_t *shape, attn_i_view *view);

/* The tensor that sets the dtype: not NULL, and of one that is computed with. */
attn_status attn_i_real_first(const attn_tensor *tensor, const char *name, attn_i_view *view, attn_i_reals *reals);

/* 1 if there is no such tensor, or none of its elements. */
static inline int attn_i_view_is_empty(const attn_i_view *view)
{
    const int64_t *n = view->shape;
    return view->data == NULL || n[0] == 0 || n[1] == 0 || n[2] == 0 || n[3] == 0;
}

/* 1 if the two may share memory: if the bytes that they lie between meet. */
int attn_i_views_meet(const attn_i_view *a, const attn_i_view *b);

/* A tensor of a call, for sentences about it. */
typedef struct attn_i_named_view {
    const char *kind, *name; /* kind: "parameter " or nothing */
    const attn_i_view *view;
} attn_i_named_view;

/* Adds one that has elements to a list of `count`; returns how many there are. */
static inline int attn_i_list_add(attn_i_named_view *list, int count, const char *kind, const char *name,
                                  const attn_i_view *view)
{
    if (view->first < view->end) list[count++] = (attn_i_named_view){kind, name, view};
    return count;
}

/* ATTN_ERR_OVERLAP unless each of the first `outputs` of a list lies apart from all that follow it. */
attn_status attn_i_views_apart(const attn_i_named_view *list, int outputs, int count);

/* An element of a view of ATTN_I32 or ATTN_I64. */
int64_t attn_i_view_integer(const attn_i_view *view, const char *element);

/* Element (i, j, 0, 0), and the matrix of the last two dimensions there; without data where the tensor has none. */
static inline char *attn_i_view_at(const attn_i_view *view, int64_t i, int64_t j)
{
    return attn_i_moved(view->data, (i * view->stride[0] + j * view->stride[1]) * view->size);
}

/* Element (i, j, k, l) of a tensor that there is. */
static inline char *attn_i_view_element(const attn_i_view *view, int64_t i, int64_t j, int64_t k, int64_t l)
{
    return attn_i_view_at(view, i, j) + (k * view->stride[2] + l * view->stride[3]) * view->size;
}

static inline attn_i_matrix attn_i_view_matrix(const attn_i_view *view, int64_t i, int64_t j)
{
    return (attn_i_matrix){attn_i_view_at(view, i, j), view->shape[2], view->shape[3], view->stride[2],
                           view->stride[3]};
}

#endif
