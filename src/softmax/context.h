/* SPDX-License-Identifier: BSD-3-Clause
 *
 * softmax/context.h: the last stage of the pipeline by whole matrices: weights times values. */
#ifndef ATTN_I_SOFTMAX_CONTEXT_H
#define ATTN_I_SOFTMAX_CONTEXT_H

#include "call/problem.h"
#include "runtime/memory.h"

/* Scratch for one product. */
typedef struct attn_i_context_scratch {
    char *values;          /* a tile of values without what is not finite */
    unsigned char *finite; /* for each key of the tile, whether all of its value is */
    int64_t tile;          /* keys of a tile, at most */
    int64_t leading;       /* from one row of the copy to the next, or from one column */
} attn_i_context_scratch;

/* values: those of any key head, as the product will read them. */
attn_i_context_scratch attn_i_context_layout(const attn_i_problem *problem, attn_i_matrix values, attn_i_arena *arena);

/* contexts = weights values. seen[i] is an attn_i_seen of row i. What a row does not see adds nothing to it, whatever
 * its value is. */
void attn_i_context_compute(const attn_i_problem *problem, const attn_i_context_scratch *scratch, attn_i_matrix weights,
                            const unsigned char *seen, attn_i_matrix values, attn_i_matrix contexts);

/* A tile of rows, of at most `tile` rows, without what is not finite: as it lies if it all is. */
attn_i_matrix attn_i_context_clean(const attn_i_problem *problem, const attn_i_context_scratch *scratch,
                                   attn_i_matrix tile);

#endif
