/* SPDX-License-Identifier: BSD-3-Clause
 *
 * call/wide.h: tensors of 16 bits a number as ones of float32: in a call's scratch there is a copy of each that is
 * read, or room for one that is written, which is rounded in the end. For what is not gathered row by row anyway. */
#ifndef ATTN_I_CALL_WIDE_H
#define ATTN_I_CALL_WIDE_H

#include "call/problem.h"
#include "call/storage.h"
#include "runtime/memory.h"

/* What is done with a tensor: a bit each. */
enum { ATTN_I_READ = 1, ATTN_I_WRITTEN = 2 };

enum { ATTN_I_MOST_WIDE = 12 + 2 * ATTN_I_MOST_PARAMS };

/* A list of tensors. It points to both views of each: as the caller has it, and as it is computed with. */
typedef struct attn_i_wide {
    const attn_engine *engine;
    attn_i_storage storage;
    int count;
    struct {
        const attn_i_view *given, *scales; /* scales: of rows of integers, or NULL */
        const attn_i_pages *pages;         /* that the rows lie in; or NULL */
        attn_i_view *computed;
        int use;          /* ATTN_I_READ, ATTN_I_WRITTEN, or both */
        attn_i_view copy; /* what `computed` is to be */
    } item[ATTN_I_MOST_WIDE];
} attn_i_wide;

/* Begins a list, of a call of this type; and adds a tensor to it, if there is one and it has 16 bits a number: what is
 * not added is computed with as it is given, *computed being that already. */
void attn_i_wide_begin(attn_i_wide *wide, const attn_engine *engine, attn_dtype dtype);
void attn_i_wide_add(attn_i_wide *wide, const attn_i_view *given, attn_i_view *computed, int use);

/* The same of parameters: computed[i] is set to what is bound, and is a copy later where that has 16 bits. */
void attn_i_wide_add_params(attn_i_wide *wide, const attn_i_param *params, int32_t count, attn_i_view *computed);

/* The same of those of a problem's mechanism, unless the problem has them widened already. */
void attn_i_wide_add_mechanism(attn_i_wide *wide, const attn_i_problem *given, attn_i_view *computed);

/* The same of a problem: all that it reads but its context, and the parameters of its mechanism. */
void attn_i_wide_add_problem(attn_i_wide *wide, const attn_i_problem *given, attn_i_problem *computed,
                             attn_i_view params[ATTN_I_MOST_PARAMS]);

/* Finds room for all copies, and puts them in place of the caller's; without memory they only tell how they lie. */
void attn_i_wide_layout(attn_i_wide *wide, attn_i_arena *arena);

/* Puts them there once more, where *computed has been set anew. */
void attn_i_wide_apply(const attn_i_wide *wide);

/* Fills the copies that are read, and writes those that are written to where the caller has them. */
void attn_i_wide_load(const attn_i_wide *wide, attn_i_pool *pool);
void attn_i_wide_store(const attn_i_wide *wide, attn_i_pool *pool);

#endif
