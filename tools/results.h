/* SPDX-License-Identifier: BSD-3-Clause
 *
 * results.h: what a call of attn run computes, each tensor with the file that it goes to.
 */
#ifndef ATTN_TOOLS_RESULTS_H
#define ATTN_TOOLS_RESULTS_H

#include "request.h"

#include <attn/attn.h>
#include <stdint.h>

typedef struct result result;

typedef struct results {
    result *first;
} results;

/* Adds a tensor, not filled; path NULL: it is computed, but not written. It stays where it is until results_free. */
attn_tensor *results_add(results *all, const char *path, attn_dtype dtype, int32_t ndim, const int64_t *shape);

/* Adds the output that an option names; NULL where it was not given. */
attn_tensor *results_add_asked(results *all, const request *r, const char *option, attn_dtype dtype, int32_t ndim,
                               const int64_t *shape);

/* Adds the gradient by a tensor, of its shape, to be written to d_NAME.npy in that directory, or, where that is NULL,
 * nowhere. NULL for NULL. */
attn_tensor *results_add_gradient(results *all, const char *directory, const char *name, const attn_tensor *of);

/* The directory that --grad-out names, NULL without it; at least one of the gradients that flow in, flows up to a NULL,
 * must be given then. words says which those are. */
const char *results_directory(const request *r, const char *const *flows, const char *words);

/* Gradients by count parameters that --param gave, in the order in which info tells of them; for a list of pointers as
 * the library wants it, which is the caller's to free. */
typedef attn_status results_param_info(const void *handle, int32_t index, attn_param_info *info);
const attn_tensor **results_add_params(results *all, const char *directory, const parameters *list,
                                       results_param_info *info, const void *handle, int32_t count);

/* Writes all of them to their files, which output_commit puts in place. */
void results_write(const results *all);

void results_free(results *all);

#endif
