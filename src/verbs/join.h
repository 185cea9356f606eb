/* SPDX-License-Identifier: BSD-3-Clause
 *
 * verbs/join.h: results of attention over parts of the keys become that over all of them: see attn_merge. */
#ifndef ATTN_I_VERBS_JOIN_H
#define ATTN_I_VERBS_JOIN_H

#include "handles/engine.h"
#include "handles/tensor.h"

typedef struct attn_i_join {
    attn_engine *engine;
    int64_t parts;
    const attn_tensor *const *contexts, *const *logsumexps; /* of each part */
    attn_i_view context;   /* out: its shape counts, also where it has no columns and no data */
    attn_i_view logsumexp; /* out; data NULL: not wanted */
} attn_i_join;

/* All as attn_merge takes it. Cannot fail. */
void attn_i_join_run(const attn_i_join *join);

#endif
