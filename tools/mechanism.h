/* SPDX-License-Identifier: BSD-3-Clause
 *
 * mechanism.h: a mechanism from its name and its parameter files.
 */
#ifndef ATTN_TOOLS_MECHANISM_H
#define ATTN_TOOLS_MECHANISM_H

#include <attn/attn.h>
#include <stddef.h>

/* The arguments of --param. */
typedef struct parameter {
    char *name; /* the part before the '=' */
    attn_tensor tensor;
} parameter;

typedef struct parameters {
    parameter *items;
    size_t count;
} parameters;

/* Reads NAME=FILE and adds it. */
void parameters_add(parameters *list, const char *argument);

void parameters_free(parameters *list);

/* Which keys a query looks at by local attention. */
typedef struct locality {
    attn_local local;
    int64_t half_width;
} locality;

/* Creates the mechanism called score, its dimensions and additive's flags taken from the query, the key (NULL where
 * none is read) and the parameters, makes it local, and binds the parameters, which must outlive it. */
attn_mechanism *mechanism_create(attn_engine *engine, const char *score, const locality *local,
                                 const attn_tensor *query, const attn_tensor *key, const parameters *list);

#endif
