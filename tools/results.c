/* SPDX-License-Identifier: BSD-3-Clause
 *
 * results.c: a list of tensors and streams.
 */
#include "results.h"

#include "fail.h"
#include "npy.h"
#include "output.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct result {
    result *next;
    attn_tensor tensor;
    FILE *stream; /* NULL: not written */
};

attn_tensor *results_add(results *all, const char *path, attn_dtype dtype, int32_t ndim, const int64_t *shape)
{
    result *one = allocate(1, sizeof *one);
    one->stream = path != NULL ? output_open(path) : NULL;
    one->tensor = npy_create(dtype, ndim, shape);
    one->next = all->first;
    all->first = one;
    return &one->tensor;
}

attn_tensor *results_add_asked(results *all, const request *r, const char *option, attn_dtype dtype, int32_t ndim,
                               const int64_t *shape)
{
    const char *path = request_get(r, option);
    return path != NULL ? results_add(all, path, dtype, ndim, shape) : NULL;
}

attn_tensor *results_add_gradient(results *all, const char *directory, const char *name, const attn_tensor *of)
{
    if (of == NULL) return NULL;
    if (directory == NULL) return results_add(all, NULL, of->dtype, of->ndim, of->shape);
    size_t bytes = strlen(directory) + strlen(name) + sizeof "/d_.npy";
    char *path = allocate(bytes, 1);
    (void)snprintf(path, bytes, "%s/d_%s.npy", directory, name);
    attn_tensor *tensor = results_add(all, path, of->dtype, of->ndim, of->shape);
    free(path);
    return tensor;
}

const char *results_directory(const request *r, const char *const *flows, const char *words)
{
    const char *directory = request_get(r, "grad-out");
    if (directory == NULL) return NULL;
    if (directory[0] == '\0') fail("--grad-out does not name a directory");
    if (!request_any(r, flows)) fail("--grad-out needs %s", words);
    return directory;
}

const attn_tensor **results_add_params(results *all, const char *directory, const parameters *list,
                                       results_param_info *info, const void *handle, int32_t count)
{
    const attn_tensor **gradients = allocate((size_t)count, sizeof(const attn_tensor *));
    for (int32_t i = 0; i < count; ++i) {
        attn_param_info told = ATTN_PARAM_INFO_INIT;
        require(info(handle, i, &told));
        gradients[i] =
            results_add_gradient(all, directory, told.name, parameters_need(list, told.name, "the gradient"));
    }
    return gradients;
}

void results_write(const results *all)
{
    for (const result *one = all->first; one != NULL; one = one->next) {
        if (one->stream != NULL) npy_write(one->stream, &one->tensor);
    }
}

void results_free(results *all)
{
    while (all->first != NULL) {
        result *one = all->first;
        all->first = one->next;
        free(one->tensor.data);
        free(one);
    }
}
