/* SPDX-License-Identifier: BSD-3-Clause
 *
 * verbs/forward.h: a forward call once its arguments are checked: the way that it goes, what scratch that takes, and
 * the run. The verb is this; a layer of heads does it in the middle of its own work. */
#ifndef ATTN_I_VERBS_FORWARD_H
#define ATTN_I_VERBS_FORWARD_H

#include "call/problem.h"
#include "call/wide.h"
#include "tiles/forward.h"
#include "verbs/cascade.h"
#include "verbs/sequences.h"

/* Points into itself: not to be copied. */
typedef struct attn_i_forward_plan {
    attn_i_problem problem;   /* checked, before the plan is made */
    attn_i_problem *computed; /* that, or, where its tensors have 16 bits a number, the next: */
    attn_i_problem in_float32;
    attn_i_view params[ATTN_I_MOST_PARAMS]; /* its mechanism's */
    attn_i_wide wide;
    int64_t wide_bytes; /* of the scratch, after the relative biases */
    attn_i_tiles tiles;
    int nothing; /* is wanted, or but the sums over no queries */
    int by_tiles, local;
    int ragged; /* each sequence is a call of its own: */
    attn_i_sequences sequences;
    attn_i_cascade cascade; /* of these, those that share pages; their */
    attn_i_sequences prefixes;
    int64_t cascade_bytes; /* of the scratch, before that of sequences */
    int64_t relative;      /* bytes of the scratch that hold relative biases, the first */
    void *memory;
    int64_t scratch; /* bytes, aligned to ATTN_I_ALIGNMENT; by shapes and strides alone, not where data lies */
} attn_i_forward_plan;

/* Chooses the way. ATTN_ERR_OVERFLOW. */
attn_status attn_i_forward_plan_make(attn_i_forward_plan *forward_plan);

/* Gives it its scratch. Then, any number of times: computes and writes all outputs. Cannot fail. Tensors may lie
 * elsewhere each time, and lengths be others, but where there are relative biases. */
void attn_i_forward_begin(attn_i_forward_plan *forward_plan, void *memory);
void attn_i_forward_run(attn_i_forward_plan *forward_plan);

#endif
