/* SPDX-License-Identifier: BSD-3-Clause
 *
 * layers/multihead/multihead.h: what a layer of heads is made of. */
#ifndef ATTN_I_LAYERS_MULTIHEAD_MULTIHEAD_H
#define ATTN_I_LAYERS_MULTIHEAD_MULTIHEAD_H

#include "attn/attn.h"
#include "handles/engine.h"
#include "handles/param.h"
#include "runtime/matrix.h"

/* The inputs x, y, z; and what they are projected to. */
enum { ATTN_I_QUERY, ATTN_I_KEY, ATTN_I_VALUE, ATTN_I_PARTS };

struct attn_multihead {
    const attn_mechanism *mechanism; /* the caller's */
    attn_engine *engine;
    uint32_t flags;
    int64_t query_heads, key_heads;
    int64_t input_dim[ATTN_I_PARTS]; /* of x, y, z */
    int64_t head_dim[ATTN_I_PARTS];  /* of a projected query, key, value */
    int64_t width[ATTN_I_PARTS];     /* of the heads of one, side by side */
    int64_t context_width;           /* of the joined contexts */
    int64_t output_dim;
    int turns; /* projected queries and keys, as `rope` says */
    attn_rope_options rope;
    int32_t param_count;
    attn_i_param params[ATTN_I_MOST_PARAMS];
};

/* What the sentences of failures call it. */
extern const char attn_i_multihead_name[];

/* Where the weights of part `part`, W_o for part ATTN_I_PARTS, are among the parameters; and their bias, -1: none. */
int32_t attn_i_multihead_weight_index(const attn_multihead *multihead, int part);
int32_t attn_i_multihead_bias_index(const attn_multihead *multihead, int part);

/* The rows of part `part` in its parameter, packed or not: the first of them. */
int64_t attn_i_multihead_first_row(const attn_multihead *multihead, int part);

#endif
