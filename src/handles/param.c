/* SPDX-License-Identifier: BSD-3-Clause
 *
 * handles/param.c: parameters: the named tensors that a handle borrows from the caller. */
#include "handles/param.h"

#include "handles/status.h"
#include "handles/structs.h"
#include "runtime/size.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

attn_status attn_i_params_add(attn_i_param *params, int32_t *count, const char *name, int64_t rows, int64_t columns)
{
    attn_i_param param = {.name = name, .ndim = columns == 0 ? 1 : 2, .shape = {rows, 1, 1, 1}};
    int64_t total = attn_i_params_total(params, *count), bytes;
    if (columns != 0) param.shape[1] = columns;
    if (!attn_i_multiply(param.shape[0], param.shape[1], &param.elements) ||
        !attn_i_add(total, param.elements, &total) || !attn_i_multiply(total, 8, &bytes)) {
        return attn_i_fail(ATTN_ERR_OVERFLOW, "parameter %s of %" PRId64 " x %" PRId64 " elements cannot be addressed",
                           name, param.shape[0], param.shape[1]);
    }
    assert(*count < ATTN_I_MOST_PARAMS);
    params[(*count)++] = param;
    return ATTN_OK;
}

const attn_i_param *attn_i_params_find(const attn_i_param *params, int32_t count, const char *name)
{
    for (int32_t i = 0; i < count; i++) {
        if (strcmp(params[i].name, name) == 0) return &params[i];
    }
    return NULL;
}

int64_t attn_i_params_total(const attn_i_param *params, int32_t count)
{
    int64_t total = 0;
    for (int32_t i = 0; i < count; i++) total += params[i].elements;
    return total;
}

attn_status attn_i_params_info(const attn_i_param *params, int32_t count, const char *owner, int32_t index,
                               attn_param_info *info)
{
    if (info == NULL) return attn_i_fail(ATTN_ERR_ARGUMENT, "info is NULL");
    if (info->struct_size < sizeof *info || info->struct_size > ATTN_I_LARGEST_STRUCT) {
        return attn_i_fail(ATTN_ERR_STRUCT_SIZE,
                           "struct_size is %" PRIu32 ", but attn_param_info has %zu bytes (was it initialised?)",
                           info->struct_size, sizeof *info);
    }
    if (index < 0 || index >= count) {
        return attn_i_fail(ATTN_ERR_ARGUMENT, "index is %" PRId32 ", but %s has %" PRId32 " parameters", index, owner,
                           count);
    }
    const attn_i_param *param = &params[index];
    *info = (attn_param_info){.struct_size = info->struct_size,
                              .ndim = param->ndim,
                              .elements = param->elements,
                              .name = param->name,
                              .bound = param->dtype != 0};
    memcpy(info->shape, param->shape, sizeof info->shape);
    return ATTN_OK;
}

static attn_status fail_unknown(const attn_i_param *params, int32_t count, const char *owner, const char *name)
{
    char names[128] = "";
    size_t used = 0;
    for (int32_t i = 0; i < count && used < sizeof names; i++) {
        used += (size_t)snprintf(names + used, sizeof names - used, "%s%s", i == 0 ? "" : ", ", params[i].name);
    }
    return attn_i_fail(ATTN_ERR_PARAMETER, "%s has no parameter \"%.40s\"; it has %s", owner, name,
                       count == 0 ? "none" : names);
}

attn_status attn_i_params_bind(attn_i_param *params, int32_t count, const char *owner, const char *name,
                               const attn_tensor *tensor)
{
    if (name == NULL) return attn_i_fail(ATTN_ERR_ARGUMENT, "name is NULL");
    attn_i_param *param = (attn_i_param *)attn_i_params_find(params, count, name);
    if (param == NULL) return fail_unknown(params, count, owner, name);
    if (tensor == NULL) {
        param->dtype = 0;
        return ATTN_OK;
    }
    attn_i_view view;
    attn_status status = attn_i_tensor_check_number(tensor, name, 4, &view);
    if (status != ATTN_OK) return status;
    int fits = tensor->ndim == param->ndim;
    for (int32_t d = 0; fits && d < param->ndim; d++) fits = tensor->shape[d] == param->shape[d];
    if (!fits) {
        char got[ATTN_I_SHAPE_TEXT], wanted[ATTN_I_SHAPE_TEXT];
        return attn_i_fail(ATTN_ERR_SHAPE, "%s has shape %s, but %s's %s is %s", name,
                           attn_i_shape_text(tensor->ndim, tensor->shape, got), owner, name,
                           attn_i_shape_text(param->ndim, param->shape, wanted));
    }
    param->view = view;
    param->dtype = tensor->dtype;
    return ATTN_OK;
}

attn_status attn_i_params_check(const attn_i_param *params, int32_t count, const char *owner, attn_dtype dtype)
{
    for (int32_t i = 0; i < count; i++) {
        const attn_i_param *param = &params[i];
        if (param->dtype == 0) {
            return attn_i_fail(ATTN_ERR_PARAMETER, "parameter %s of %s is not bound", param->name, owner);
        }
        if (param->dtype == dtype || param->dtype == attn_i_dtype_computed(dtype)) continue;
        return attn_i_fail(ATTN_ERR_DTYPE, "parameter %s is %s, but query is %s", param->name,
                           attn_i_dtype_name(param->dtype), attn_i_dtype_name(dtype));
    }
    return ATTN_OK;
}
