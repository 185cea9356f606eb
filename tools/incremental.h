/* SPDX-License-Identifier: BSD-3-Clause
 *
 * incremental.h: attn run --incremental: the queries one by one over a memory, as a decoder has them, with the numbers
 * that all of them at once have.
 */
#ifndef ATTN_TOOLS_INCREMENTAL_H
#define ATTN_TOOLS_INCREMENTAL_H

#include "request.h"

#include <attn/attn.h>
#include <stdbool.h>

extern const request_option incremental_options[];

typedef struct incremental {
    bool wanted;       /* false: there is no --incremental */
    attn_align causal; /* the memory grows with the queries, up to their positions; ATTN_ALIGN_NONE: all keys are
                          there from the beginning */
    attn_dtype kept;   /* what the memory keeps keys and values in; 0: what they come in */
    int64_t page;      /* positions of a page of the memory; 0: it has none */
} incremental;

/* Fails unless every other option means the same query by query. */
incremental incremental_read(const request *r);

/* What attn_forward(mechanism, whole) is for, or, where incremental was not asked for, just that. */
void incremental_forward(const incremental *way, const attn_mechanism *mechanism, const attn_forward_args *whole);

/* Likewise for attn_multihead_forward; shape is what the layer was made with, around that mechanism. */
void incremental_layer(const incremental *way, const attn_multihead *layer, const attn_mechanism *mechanism,
                       const attn_multihead_options *shape, const attn_multihead_args *whole);

#endif
