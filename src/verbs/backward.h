/* SPDX-License-Identifier: BSD-3-Clause
 *
 * verbs/backward.h: a backward call once its arguments are checked: as forward.h. */
#ifndef ATTN_I_VERBS_BACKWARD_H
#define ATTN_I_VERBS_BACKWARD_H

#include "call/gradient.h"
#include "call/wide.h"
#include "tiles/backward.h"
#include "verbs/sequences.h"

/* Points into itself: not to be copied. */
typedef struct attn_i_backward_plan {
    attn_i_gradient gradient;  /* checked, before the plan is made */
    attn_i_gradient *computed; /* that, or, where its tensors have 16 bits a number, the next: */
    attn_i_gradient in_float32;
    attn_i_view params[ATTN_I_MOST_PARAMS]; /* its mechanism's */
    attn_i_wide wide;
    int64_t wide_bytes; /* of the scratch, after the relative biases */
    attn_i_tiles_backward tiles;
    int nothing; /* flows: see attn_i_gradient_flows */
    int by_tiles, local;
    int ragged; /* each sequence is a call of its own: */
    attn_i_sequences sequences;
    int64_t relative; /* bytes of the scratch that hold relative biases, the first */
    int64_t scratch;  /* bytes, aligned to ATTN_I_ALIGNMENT; by shapes and strides alone, not where data lies */
} attn_i_backward_plan;

/* Chooses the way. ATTN_ERR_OVERFLOW. */
attn_status attn_i_backward_plan_make(attn_i_backward_plan *backward_plan);

/* Computes and writes all gradients. Cannot fail. */
void attn_i_backward_run(attn_i_backward_plan *backward_plan, void *memory);

#endif
