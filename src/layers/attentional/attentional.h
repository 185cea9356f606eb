/* SPDX-License-Identifier: BSD-3-Clause
 *
 * layers/attentional/attentional.h: the arguments of an attentional step, checked once. */
#ifndef ATTN_I_LAYERS_ATTENTIONAL_ATTENTIONAL_H
#define ATTN_I_LAYERS_ATTENTIONAL_ATTENTIONAL_H

#include "call/storage.h"

typedef struct attn_i_step {
    attn_engine *engine;
    const attn_i_kernels *kernels;
    attn_dtype dtype, given; /* that is computed in; of query, context, output and their gradients */
    attn_i_storage storage;
    int backward, accumulate;
    int64_t rows, context_dim, query_dim, output_dim, size; /* size: of an element of dtype */
    attn_i_view weight, query, context, output, d_output;
    attn_i_view bias;                                 /* data NULL: none */
    attn_i_view d_weight, d_bias, d_context, d_query; /* data NULL: not wanted */
} attn_i_step;

attn_status attn_i_step_check(attn_engine *engine, const attn_attentional_args *given, int backward, attn_i_step *step);

#endif
