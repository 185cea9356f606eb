/* SPDX-License-Identifier: BSD-3-Clause
 *
 * handles/param.h: parameters: the named tensors that a handle borrows from the caller, of shapes that it knows
 * beforehand. */
#ifndef ATTN_I_HANDLES_PARAM_H
#define ATTN_I_HANDLES_PARAM_H

#include "attn/attn.h"
#include "handles/tensor.h"

enum { ATTN_I_MOST_PARAMS = 8 };

typedef struct attn_i_param {
    const char *name;
    int32_t ndim;
    int64_t shape[4]; /* 1 past ndim */
    int64_t elements;
    attn_dtype dtype; /* of what is bound; 0: nothing is */
    attn_i_view view; /* its shape ends with the parameter's */
} attn_i_param;

/* Adds a parameter of `rows` x `columns`, or of `rows` alone when columns is 0, to *count others. ATTN_ERR_OVERFLOW. */
attn_status attn_i_params_add(attn_i_param *params, int32_t *count, const char *name, int64_t rows, int64_t columns);

/* The parameter of that name, or NULL. */
const attn_i_param *attn_i_params_find(const attn_i_param *params, int32_t count, const char *name);

/* The number of elements of all. */
int64_t attn_i_params_total(const attn_i_param *params, int32_t count);

/* What the public functions of that kind do; `owner` is the name of what has the parameters. */
attn_status attn_i_params_info(const attn_i_param *params, int32_t count, const char *owner, int32_t index,
                               attn_param_info *info);
attn_status attn_i_params_bind(attn_i_param *params, int32_t count, const char *owner, const char *name,
                               const attn_tensor *tensor);

/* ATTN_ERR_PARAMETER unless all are bound, ATTN_ERR_DTYPE unless each has the query's dtype or that which it is
 * computed in. */
attn_status attn_i_params_check(const attn_i_param *params, int32_t count, const char *owner, attn_dtype dtype);

#endif
