/* SPDX-License-Identifier: BSD-3-Clause
 *
 * call/problem.h: the arguments of one call, checked once, as a plain struct that everything below trusts. */
#ifndef ATTN_I_CALL_PROBLEM_H
#define ATTN_I_CALL_PROBLEM_H

#include "attn/attn.h"
#include "handles/engine.h"
#include "handles/mechanism.h"
#include "handles/memory.h"
#include "handles/tensor.h"

/* Which weights are dropped: see attn_forward. */
typedef struct attn_i_dropout {
    double keep; /* what the others are multiplied by; 0: there is no dropout */
    attn_i_draw draw;
    int64_t first_row, head_rows; /* how rows of weights are counted: see attn_i_problem_row */
} attn_i_dropout;

/* Biases of distances: see call/relative.h. */
typedef struct attn_i_relative {
    char *rows;           /* [heads of the table][count]; NULL: none */
    int32_t *columns;     /* of the table, for each distance */
    float *diagonals;     /* [Hk][count][group], backwards; of float32 alone */
    int64_t first, count; /* distances first .. first + count - 1 */
} attn_i_relative;

/* What the weights are to say of themselves: see call/stats.h. data NULL: not wanted. */
typedef struct attn_i_stats {
    attn_i_view entropy, strongest; /* [1, B, Hq, Tq]; the latter of integers */
    attn_i_view key_sums;           /* [1, B, Hq, Tk] */
    int wanted;                     /* any of them */
} attn_i_stats;

/* Where sequences begin, if they lie in one row of them: see call/ragged.h. [1, 1, 1, B + 1], of integers; data NULL:
 * they do not. */
typedef struct attn_i_offsets {
    attn_i_view queries, keys;
} attn_i_offsets;

/* Where a sequence's keys and values are, if these lie in pages: see call/pages.h. */
typedef struct attn_i_pages {
    attn_i_view table;   /* of integers: of a slice [1, 1, 1, pages]; data NULL: there are none */
    attn_i_view offsets; /* of the table's, [1, 1, 1, B + 1]; data NULL: the table is [1, 1, B, most] */
    int64_t rows;        /* of a page */
} attn_i_pages;

typedef struct attn_i_problem {
    const attn_mechanism *mechanism;
    const attn_i_modifiers *modifiers;
    attn_engine *engine;
    int alone; /* one thread computes it, whatever the engine has */
    const attn_i_kernels *kernels;
    attn_dtype dtype;  /* that is computed in: ATTN_F32 or ATTN_F64 */
    attn_dtype stored; /* of query, key, value and context, which may be of dtype too: that, or one of 16 bits */
    attn_dtype given;  /* of the caller's bias and, where they are not of dtype, parameters: stored, but where a layer
                          makes the rows, in dtype */
    int64_t size;      /* of an element that is computed with, in bytes */
    const attn_i_view *params; /* of the mechanism, in dtype; NULL: as they are bound */

    int is_slice; /* one sequence of a ragged batch */
    int is_part;  /* of the keys of a call: its log-sum-exp is to be joined with others', and no gradient's */
    int64_t batch, query_heads, key_heads, group; /* group = query_heads / key_heads */
    int64_t queries, keys;                        /* Tq, Tk; of a ragged batch: all queries, and the most keys of one */
    int64_t query_dim, key_dim, value_dim;        /* Dq, Dk, Dv; key_dim 0: there is no key */

    attn_i_view query, key, value; /* in pages: element (n, h, j, d) is of page n; of a slice, n is 0 and j of all keys,
                                      which are where call/pages.h says */
    attn_i_view key_scales, value_scales; /* [1, B, Hk, Tk], of float32, of rows of integers; data NULL: none */
    int keys_are_values;                  /* there is no value: then the views are alike */
    attn_i_ready ready;                   /* what the rows of key are */
    attn_i_view mask, bias;               /* broadcast to [B, Hq, Tq, Tk]; data NULL: none */
    int64_t mask_columns;                 /* as given: of the last keys, if the mask is aligned to these; else 0 */
    attn_i_view lengths;                  /* [1, 1, 1, B]; data NULL: none */
    attn_i_offsets offsets;
    attn_i_pages pages;
    int64_t query_start;
    double scale;
    attn_i_dropout dropout;
    attn_i_relative relative;

    attn_i_view context, weights, scores; /* data NULL: not wanted */
    attn_i_view logsumexp;                /* [1, B, Hq, Tq]; of float64 also where the call is of float32 */
    attn_scores_stage scores_stage;
    attn_i_stats stats;
} attn_i_problem;

/* The caller's struct, as this version has it. ATTN_ERR_ARGUMENT for a NULL, ATTN_ERR_STRUCT_SIZE. And where it is: the
 * caller's own, if it is of this version already, or a copy in `room`. */
attn_status attn_i_forward_args_read(const attn_forward_args *given, attn_forward_args *args);
attn_status attn_i_forward_args_find(const attn_forward_args *given, attn_forward_args *room,
                                     const attn_forward_args **args);

attn_status attn_i_problem_check(const attn_mechanism *mechanism, const attn_forward_args *args,
                                 attn_i_problem *problem);

/* Whether queries can stand there. */
attn_status attn_i_query_start_check(const attn_mechanism *mechanism, int64_t query_start);

/* All of it but that outputs lie apart: of a call whose tensors are not all there yet. */
attn_status attn_i_problem_check_shapes(const attn_mechanism *mechanism, const attn_forward_args *args,
                                        attn_i_problem *problem);
/* The same where a layer makes the rows, in what its caller's type is computed in. */
attn_status attn_i_problem_check_inner(const attn_mechanism *mechanism, const attn_forward_args *args, attn_dtype given,
                                       attn_i_problem *problem);
/* ATTN_ERR_DTYPE unless the call takes a memory that is kept in this type: its caller's, the one that its tensors are
 * stored in, which a layer has of its own, or integers of what it is computed in. */
attn_status attn_i_problem_check_kept(const attn_i_problem *problem, const attn_memory *memory);

/* And that. */
attn_status attn_i_problem_check_overlap(const attn_i_problem *problem);

/* attn_i_real_input and attn_i_real_output, of the dtype that its tensors are stored in; of the caller's; of that
 * which it is computed in; and, for gradients of parameters, of either of the latter. */
attn_status attn_i_problem_stored_input(const attn_i_problem *problem, const attn_tensor *tensor, const char *name,
                                        const char *layout, const int64_t *shape, attn_i_view *view);
attn_status attn_i_problem_stored_output(const attn_i_problem *problem, const attn_tensor *tensor, const char *name,
                                         const char *layout, const int64_t *shape, attn_i_view *view);
attn_status attn_i_problem_given_input(const attn_i_problem *problem, const attn_tensor *tensor, const char *name,
                                       const char *layout, const int64_t *shape, attn_i_view *view);
attn_status attn_i_problem_given_output(const attn_i_problem *problem, const attn_tensor *tensor, const char *name,
                                        const char *layout, const int64_t *shape, attn_i_view *view);
attn_status attn_i_problem_input(const attn_i_problem *problem, const attn_tensor *tensor, const char *name,
                                 const char *layout, const int64_t *shape, attn_i_view *view);
attn_status attn_i_problem_output(const attn_i_problem *problem, const attn_tensor *tensor, const char *name,
                                  const char *layout, const int64_t *shape, attn_i_view *view);

attn_status attn_i_problem_param_output(const attn_i_problem *problem, const attn_tensor *tensor, const char *name,
                                        const char *layout, const int64_t *shape, attn_i_view *view);

/* 1 if tensors of the caller's may not be of what is computed in. */
static inline int attn_i_problem_is_narrow(const attn_i_problem *problem)
{
    return problem->given != problem->dtype || problem->key_scales.data != NULL || problem->value_scales.data != NULL;
}

/* How many threads may compute it at once. */
static inline int64_t attn_i_problem_threads(const attn_i_problem *problem)
{
    return problem->alone ? 1 : problem->engine->threads;
}

/* 1 if sequences are computed one by one. */
static inline int attn_i_problem_is_ragged(const attn_i_problem *problem)
{
    return problem->offsets.queries.data != NULL || problem->offsets.keys.data != NULL ||
           (problem->pages.table.data != NULL && !problem->is_slice);
}

/* The shapes of what goes by queries and by keys: [.., Hq, Tq, columns], [1, .., Hq, Tq]; of what goes by both. Of a
 * ragged batch the view has as many columns as it likes, from the longest sequence's on. */
void attn_i_problem_query_shape(const attn_i_problem *problem, int64_t columns, int64_t shape[4]);
void attn_i_problem_row_shape(const attn_i_problem *problem, int64_t shape[4]);
void attn_i_problem_score_shape(const attn_i_problem *problem, const attn_tensor *tensor, int64_t shape[4]);

/* 1 if there is an output with elements: otherwise there is nothing to do, whatever the other sizes are. */
int attn_i_problem_is_wanted(const attn_i_problem *problem);

/* 1 if the rows and the scores of all heads can be counted. */
int attn_i_countable(int64_t batch, int64_t heads, int64_t queries, int64_t keys);

enum { ATTN_I_MOST_TENSORS = 23 + ATTN_I_MOST_PARAMS };

/* The tensors of a call that have elements, the outputs first, of which it tells how many. Returns the number of all.
 */
int attn_i_problem_list(const attn_i_problem *problem, attn_i_named_view list[ATTN_I_MOST_TENSORS], int *outputs);

/* ATTN_ERR_OVERLAP unless a piece of scratch lies apart from all of a list. */
attn_status attn_i_check_scratch_apart(const attn_i_named_view *list, int count, void *workspace, size_t bytes);

/* ATTN_ERR_OVERLAP unless the caller's scratch lies apart from every tensor. */
attn_status attn_i_problem_check_workspace(const attn_i_problem *problem, void *workspace, size_t bytes);

/* The row of weights that query i of head h, sequence b has, counted through all of the call that the caller made. */
static inline uint64_t attn_i_problem_row(const attn_i_problem *problem, int64_t b, int64_t h, int64_t i)
{
    const attn_i_dropout *d = &problem->dropout;
    return (uint64_t)(d->first_row + (b * problem->query_heads + h) * d->head_rows + i);
}

/* The valid keys of sequence b. */
int64_t attn_i_problem_length(const attn_i_problem *problem, int64_t b);

/* A query's log-sum-exp, of whichever type its tensor is. */
static inline char *attn_i_logsumexp_at(const attn_i_view *view, int64_t b, int64_t h, int64_t i)
{
    return attn_i_view_at(view, 0, b) + (h * view->stride[2] + i * view->stride[3]) * view->size;
}
static inline double attn_i_logsumexp_get(const attn_i_view *view, int64_t b, int64_t h, int64_t i)
{
    const void *at = attn_i_logsumexp_at(view, b, h, i);
    return view->size == (int64_t)sizeof(double) ? *(const double *)at : (double)*(const float *)at;
}
static inline void attn_i_logsumexp_set(const attn_i_view *view, int64_t b, int64_t h, int64_t i, double x)
{
    void *at = attn_i_logsumexp_at(view, b, h, i);
    if (view->size == (int64_t)sizeof(double)) *(double *)at = x;
    if (view->size != (int64_t)sizeof(double)) *(float *)at = (float)x;
}

/* The rows of one key head, heads being counted through all sequences; without data where the tensor has none. */
static inline attn_i_matrix attn_i_head_matrix(const attn_i_problem *problem, const attn_i_view *view, int64_t head)
{
    return attn_i_view_matrix(view, head / problem->key_heads, head % problem->key_heads);
}

#endif
