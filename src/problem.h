/* SPDX-License-Identifier: BSD-3-Clause
 *
 * problem.h: the arguments of one call, checked once, as a plain struct that everything below trusts. */
#ifndef ATTN_I_PROBLEM_H
#define ATTN_I_PROBLEM_H

#include "attn/attn.h"
#include "engine.h"
#include "mechanism.h"
#include "tensor.h"

typedef struct attn_i_problem {
    const attn_mechanism *mechanism;
    const attn_i_modifiers *modifiers;
    attn_engine *engine;
    const attn_i_kernels *kernels;
    attn_dtype dtype; /* ATTN_F32 or ATTN_F64 */
    int64_t size;     /* of an element, in bytes */

    int64_t batch, query_heads, key_heads, group; /* group = query_heads / key_heads */
    int64_t queries, keys;                        /* Tq, Tk */
    int64_t query_dim, key_dim, value_dim;        /* Dq, Dk, Dv; key_dim 0: there is no key */

    attn_i_view query, key, value;
    attn_i_view mask, bias; /* broadcast to [B, Hq, Tq, Tk]; data NULL: none */
    attn_i_view lengths;    /* [1, 1, 1, B]; data NULL: none */
    int64_t query_start;
    double scale;

    attn_i_view context, weights, scores; /* data NULL: not wanted */
    attn_i_view logsumexp;                /* [1, B, Hq, Tq] */
    attn_scores_stage scores_stage;
} attn_i_problem;

/* The caller's struct, as this version has it. ATTN_ERR_ARGUMENT for a NULL, ATTN_ERR_STRUCT_SIZE. */
attn_status attn_i_forward_args_read(const attn_forward_args *given, attn_forward_args *args);

attn_status attn_i_problem_check(const attn_mechanism *mechanism, const attn_forward_args *args,
                                 attn_i_problem *problem);

/* All of it but that outputs lie apart: of a call whose tensors are not all there yet. */
attn_status attn_i_problem_check_shapes(const attn_mechanism *mechanism, const attn_forward_args *args,
                                        attn_i_problem *problem);
/* And that. */
attn_status attn_i_problem_check_overlap(const attn_i_problem *problem);

/* An optional tensor of the problem's dtype; view->data stays NULL where there is none. And one that is of this shape,
 * and, if it is an output, has elements that lie apart. `layout` says what the dimensions are. */
attn_status attn_i_problem_real(const attn_i_problem *problem, const attn_tensor *tensor, const char *name,
                                attn_i_view *view);
attn_status attn_i_problem_input(const attn_i_problem *problem, const attn_tensor *tensor, const char *name,
                                 const char *layout, const int64_t *shape, attn_i_view *view);
attn_status attn_i_problem_output(const attn_i_problem *problem, const attn_tensor *tensor, const char *name,
                                  const char *layout, const int64_t *shape, attn_i_view *view);

/* A tensor of a call, for sentences; kind is "parameter " or nothing. */
typedef struct attn_i_named {
    const char *kind, *name;
    const attn_i_view *view;
} attn_i_named;

enum { ATTN_I_MOST_TENSORS = 16 + ATTN_I_MOST_PARAMS };

/* The tensors of a call that have elements, the outputs first, of which it tells how many. Returns the number of all.
 */
int attn_i_problem_list(const attn_i_problem *problem, attn_i_named list[ATTN_I_MOST_TENSORS], int *outputs);

/* ATTN_ERR_OVERLAP unless the first `outputs` of the list lie apart from all others; or a piece of scratch from all. */
attn_status attn_i_check_apart(const attn_i_named *list, int outputs, int count);
attn_status attn_i_check_scratch_apart(const attn_i_named *list, int count, void *workspace, size_t bytes);

/* ATTN_ERR_OVERLAP unless the caller's scratch lies apart from every tensor. */
attn_status attn_i_problem_check_workspace(const attn_i_problem *problem, void *workspace, size_t bytes);

/* The valid keys of sequence b. */
int64_t attn_i_problem_length(const attn_i_problem *problem, int64_t b);

#endif
