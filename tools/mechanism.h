/* SPDX-License-Identifier: BSD-3-Clause
 *
 * mechanism.h: the mechanism that a request asks for: its score by name, its modifiers, its parameters.
 */
#ifndef ATTN_TOOLS_MECHANISM_H
#define ATTN_TOOLS_MECHANISM_H

#include "request.h"
#include "results.h"

#include <attn/attn.h>
#include <stdint.h>

/* --score and --param. */
extern const request_option mechanism_options[];

/* Creates it for queries and keys of those dimensions, additive's flags taken from the parameters; key_dim -1: there
 * are no keys. Binds the parameters that nobody has taken. The request must outlive it. */
attn_mechanism *mechanism_create(attn_engine *engine, request *r, int64_t query_dim, int64_t key_dim);

/* Adds the gradients by its parameters; returns them as the library wants them, for the caller to free. */
const attn_tensor **mechanism_add_gradients(results *all, const char *directory, const request *r,
                                            const attn_mechanism *mechanism);

#endif
