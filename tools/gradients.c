/* SPDX-License-Identifier: BSD-3-Clause
 *
 * gradients.c: from the inputs of a call to a file for the gradient of each.
 */
#include "gradients.h"

#include "fail.h"
#include "npy.h"
#include "output.h"

#include <stdlib.h>
#include <string.h>

/* Gradients that are not of parameters. */
enum { OTHERS = 6 };

static FILE *open_in(const char *directory, const char *name)
{
    size_t bytes = strlen(directory) + strlen(name) + sizeof "/d_.npy";
    char *path = allocate(bytes, 1);
    (void)snprintf(path, bytes, "%s/d_%s.npy", directory, name);
    FILE *stream = output_open(path);
    free(path);
    return stream;
}

/* Adds a gradient of that shape; directory NULL: it is not written. Returns its tensor. */
static const attn_tensor *add(gradients *all, const char *directory, const char *name, attn_dtype dtype, int32_t ndim,
                              const int64_t *shape)
{
    gradient *one = &all->items[all->count++];
    one->stream = directory != NULL ? open_in(directory, name) : NULL;
    one->tensor = npy_create(dtype, ndim, shape);
    return &one->tensor;
}

static const attn_tensor *add_like(gradients *all, const char *directory, const char *name, const attn_tensor *of)
{
    return of != NULL ? add(all, directory, name, of->dtype, of->ndim, of->shape) : NULL;
}

static void add_params(gradients *all, const char *directory, const attn_mechanism *mechanism, int32_t count,
                       attn_dtype dtype)
{
    all->params = allocate((size_t)count, sizeof(const attn_tensor *));
    for (int32_t i = 0; i < count; ++i) {
        attn_param_info info = ATTN_PARAM_INFO_INIT;
        require(attn_mechanism_param_info(mechanism, i, &info));
        all->params[i] = add(all, directory, info.name, dtype, info.ndim, info.shape);
    }
    all->args.d_params = all->params;
}

gradients gradients_open(const char *directory, const attn_mechanism *mechanism, const gradients_of *of)
{
    gradients all = {.args = ATTN_BACKWARD_ARGS_INIT, .value_is_key = of->value_is_key};
    int32_t count;
    require(attn_mechanism_param_count(mechanism, &count));
    all.items = allocate(OTHERS + (size_t)count, sizeof *all.items);
    const attn_forward_args *forward = of->forward;
    all.args.forward = forward;
    all.args.d_query = add_like(&all, directory, "query", forward->query);
    all.args.d_key = add_like(&all, directory, "key", forward->key);
    all.args.d_value = add_like(&all, of->value_is_key ? NULL : directory, "value", forward->value);
    all.args.d_bias = add_like(&all, directory, "bias", forward->bias);
    all.args.d_alibi = add_like(&all, directory, "alibi", of->alibi);
    all.args.d_relative = add_like(&all, directory, "relative", of->relative);
    add_params(&all, directory, mechanism, count, forward->query->dtype);
    return all;
}

/* to += from, both contiguous and of one shape. */
static void add_tensor(const attn_tensor *from, const attn_tensor *to)
{
    size_t elements = 1;
    for (int32_t i = 0; i < to->ndim; ++i) elements *= (size_t)to->shape[i];
    for (size_t i = 0; i < elements; ++i) {
        if (to->dtype == ATTN_F32) ((float *)to->data)[i] += ((const float *)from->data)[i];
        if (to->dtype == ATTN_F64) ((double *)to->data)[i] += ((const double *)from->data)[i];
    }
}

void gradients_write(gradients *all, attn_engine *engine, const attn_mechanism *mechanism, const rotary *turned)
{
    require(attn_backward(mechanism, &all->args));
    if (turned != NULL) {
        rotary_turn_back(engine, &turned->query, all->args.d_query);
        rotary_turn_back(engine, &turned->key, all->args.d_key);
    }
    if (all->value_is_key) add_tensor(all->args.d_value, all->args.d_key);
    for (size_t i = 0; i < all->count; ++i) {
        if (all->items[i].stream != NULL) npy_write(all->items[i].stream, &all->items[i].tensor);
    }
}

void gradients_free(gradients *all)
{
    for (size_t i = 0; i < all->count; ++i) free(all->items[i].tensor.data);
    free(all->items);
    free(all->params);
    *all = (gradients){.items = NULL};
}
