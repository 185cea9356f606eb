/* SPDX-License-Identifier: BSD-3-Clause
 *
 * score/projection.h: rows times a matrix of parameters: by the BLAS, or by the kernels of tiles on a packed copy, as
 * the engine has it. */
#ifndef ATTN_I_SCORE_PROJECTION_H
#define ATTN_I_SCORE_PROJECTION_H

#include "call/operand.h"
#include "call/problem.h"
#include "runtime/slots.h"

typedef struct attn_i_projection {
    attn_i_operand map; /* [depth, width]; use.data NULL: there is no projection */
    int own;            /* by our kernels, not the BLAS */
    int finite;         /* what is not finite in the map counts as 0 */
    float *packed;      /* room for a slab of the map; NULL where rows are so few that it is read where it lies */
    attn_i_slots slots; /* of pieces of the rows */
    float *pieces;
} attn_i_projection;

/* Lays out the scratch of a projection of no more than `rows` rows at a time. */
attn_i_projection attn_i_projection_layout(const attn_i_problem *problem, attn_i_arena *arena, attn_i_matrix map,
                                           int64_t rows, int own);

/* The same for a sum over the map's rows, as gradients of parameters are: `from`, of any number of rows, may have
 * contiguous columns instead. With `finite`, what is not finite in the map counts as 0. */
attn_i_projection attn_i_projection_layout_sum(const attn_i_problem *problem, attn_i_arena *arena, attn_i_matrix map,
                                               int finite, int own);

/* To be called whenever the map's elements are new. */
void attn_i_projection_load(const attn_i_problem *problem, const attn_i_projection *projection);

/* to = from map. Rows of `to` are contiguous, as are those of `from` if the projection is our own; the BLAS takes any
 * `from` that passes attn_i_blas_takes. */
void attn_i_project(const attn_i_problem *problem, const attn_i_projection *projection, attn_i_matrix from,
                    attn_i_matrix to);

/* to = from map, or to += from map if `accumulate`; and then each row of `to` += row, a contiguous one, unless NULL. */
void attn_i_project_onto(const attn_i_problem *problem, const attn_i_projection *projection, attn_i_matrix from,
                         attn_i_matrix to, const void *row, int accumulate);

#endif
