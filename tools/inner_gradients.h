/* SPDX-License-Identifier: BSD-3-Clause
 *
 * inner_gradients.h: what the gradients of attention and those of a layer around it have in common: what flows in by
 * weights and log-sum-exp, and what comes out by the mechanism and its modifiers.
 */
#ifndef ATTN_TOOLS_INNER_GRADIENTS_H
#define ATTN_TOOLS_INNER_GRADIENTS_H

#include "request.h"
#include "results.h"

#include <attn/attn.h>

/* Their options, and --grad-out. */
extern const request_option inner_gradients_options[];

typedef struct inner_gradients {
    const attn_tensor *d_weights, *d_logsumexp; /* flow in; NULL where not given */
    const attn_tensor *d_bias, *d_alibi, *d_relative, *d_sinks;
    const attn_tensor **d_params; /* of the mechanism; the caller's to free */
} inner_gradients;

/* args: the attention, whose modifiers have been filled in. */
inner_gradients inner_gradients_add(results *all, const char *directory, request *r, const attn_forward_args *args,
                                    const attn_mechanism *mechanism);

#endif
