/* SPDX-License-Identifier: BSD-3-Clause
 *
 * modifiers.h: the options between the score and the weights: what scales, bends, shifts and hides scores, and what
 * drops weights.
 */
#ifndef ATTN_TOOLS_MODIFIERS_H
#define ATTN_TOOLS_MODIFIERS_H

#include "request.h"

#include <attn/attn.h>
#include <stdint.h>

extern const request_option modifiers_options[];

/* Where a query stands: for causal, and for window, ALiBi and relative biases; ATTN_ALIGN_NONE where no such thing was
 * asked for. */
typedef struct positions {
    attn_align causal, measured;
} positions;

/* Fails unless the options that speak of positions fit together. */
positions modifiers_positions(const request *r);

/* Sets what belongs to the mechanism. query_dim is that of predictive local attention. */
void modifiers_set(attn_mechanism *mechanism, request *r, int64_t query_dim);

/* Sets what belongs to the call. */
void modifiers_fill(request *r, attn_forward_args *args);

#endif
