/* SPDX-License-Identifier: BSD-3-Clause
 *
 * parameters.h: the arguments of --param: tensors by name, for whatever part of a call has a parameter of that name.
 */
#ifndef ATTN_TOOLS_PARAMETERS_H
#define ATTN_TOOLS_PARAMETERS_H

#include <attn/attn.h>
#include <stdbool.h>
#include <stddef.h>

typedef struct parameter {
    char *name;       /* the part before the '=' */
    const char *file; /* the part behind it */
    attn_tensor tensor;
    bool taken; /* by a part of the call; the mechanism has the others */
} parameter;

typedef struct parameters {
    parameter *items;
    size_t count;
} parameters;

/* Adds NAME=FILE, whose file parameters_read reads. */
void parameters_add(parameters *list, const char *argument);

/* Reads the files of all; u2 as for npy_read. */
void parameters_read(parameters *list, attn_dtype u2);

void parameters_free(parameters *list);

/* NULL where there is none of that name. */
const attn_tensor *parameters_find(const parameters *list, const char *name);

/* The same for one that must be there, because of what is called subject in the sentence that says so. */
const attn_tensor *parameters_need(const parameters *list, const char *name, const char *subject);

/* Finds one and keeps it from the mechanism. */
const attn_tensor *parameters_take(parameters *list, const char *name);

#endif
