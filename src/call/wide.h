/* SPDX-License-Identifier: BSD-3-Clause
 *
 * call/wide.h: a call whose tensors have 16 bits a number, as one of float32: in its scratch there is a copy of each
 * that is read, or room for one that is written, which is rounded in the end. */
#ifndef ATTN_I_CALL_WIDE_H
#define ATTN_I_CALL_WIDE_H

#include "call/problem.h"
#include "runtime/memory.h"

/* What is done with a tensor: a bit each. */
enum { ATTN_I_READ = 1, ATTN_I_WRITTEN = 2 };

enum { ATTN_I_MOST_WIDE = 12 };

/* Views are told by where they lie in a struct, of which there are two: as the caller has it, and as it is computed. */
typedef struct attn_i_wide {
    const attn_i_stored_kernels *kernels;
    int count;
    struct {
        size_t at;
        int use;          /* ATTN_I_READ, ATTN_I_WRITTEN, or both */
        attn_i_view view; /* of the copy */
    } item[ATTN_I_MOST_WIDE];
} attn_i_wide;

/* 1 if the tensors of a problem are not what is computed with. */
static inline int attn_i_wide_wanted(const attn_i_problem *problem)
{
    return problem->stored != problem->dtype;
}

/* Begins a list; and adds the view that lies there in `given`, if there is such a tensor and it is not of float32. */
attn_i_wide attn_i_wide_begin(const attn_i_problem *problem);
void attn_i_wide_add(attn_i_wide *wide, const void *given, size_t at, int use);

/* Finds room for all copies; without memory their views only tell how they lie. */
void attn_i_wide_layout(attn_i_wide *wide, attn_i_arena *arena);

/* Puts the copies' views in place of the caller's. */
void attn_i_wide_apply(const attn_i_wide *wide, void *computed);

/* Fills the copies that are read, and writes those that are written to where the caller has them. */
void attn_i_wide_load(const attn_i_wide *wide, const void *given, attn_i_pool *pool);
void attn_i_wide_store(const attn_i_wide *wide, const void *given, attn_i_pool *pool);

#endif
