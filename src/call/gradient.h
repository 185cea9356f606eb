/* SPDX-License-Identifier: BSD-3-Clause
 *
 * call/gradient.h: the arguments of one backward call, checked once, as a plain struct that everything below trusts. */
#ifndef ATTN_I_CALL_GRADIENT_H
#define ATTN_I_CALL_GRADIENT_H

#include "call/problem.h"
#include "runtime/memory.h"

typedef struct attn_i_gradient {
    attn_i_problem problem; /* the forward call's; its context (data NULL if no d_context flows in) and logsumexp are
                               inputs here, and it has no other outputs */
    attn_i_view d_context, d_weights;            /* in; data NULL: none */
    attn_i_view d_logsumexp;                     /* in, [1, B, Hq, Tq] */
    attn_i_view d_query, d_key, d_value, d_bias; /* out; data NULL: not wanted */
    attn_i_view d_alibi;                         /* out, [1, 1, 1, Hq] */
    attn_i_view d_relative;                      /* out, as the table */
    attn_i_view d_sinks;                         /* out, [1, 1, 1, Hq] */
    attn_i_view d_params[ATTN_I_MOST_PARAMS];    /* out */
    int accumulate;                              /* gradients of queries, keys and values are added to */
    int adds_sums;                               /* and so are those of what many queries share: the others */
    int shared;                                  /* the keys are the values */
} attn_i_gradient;

attn_status attn_i_gradient_check(const attn_mechanism *mechanism, const attn_backward_args *args,
                                  attn_i_gradient *gradient);

/* All of it but that outputs lie apart: as attn_i_problem_check_shapes. */
attn_status attn_i_gradient_check_shapes(const attn_mechanism *mechanism, const attn_backward_args *args,
                                         attn_i_gradient *gradient);
/* The same where a layer makes the rows: as attn_i_problem_check_inner. */
attn_status attn_i_gradient_check_inner(const attn_mechanism *mechanism, const attn_backward_args *args,
                                        attn_dtype given, attn_i_gradient *gradient);

/* The tensors of a call that have elements: as attn_i_problem_list, the outputs being the gradients out. */
enum { ATTN_I_MOST_GRADIENT_TENSORS = ATTN_I_MOST_TENSORS + 9 + ATTN_I_MOST_PARAMS };
int attn_i_gradient_list(const attn_i_gradient *gradient, attn_i_named_view list[ATTN_I_MOST_GRADIENT_TENSORS],
                         int *outputs);

/* ATTN_ERR_OVERLAP unless the caller's scratch lies apart from every tensor. */
attn_status attn_i_gradient_check_workspace(const attn_i_gradient *gradient, void *workspace, size_t bytes);

/* 1 if anything flows from what comes in to what is wanted. If nothing does, there is nothing to compute, whatever the
 * sizes are: what is wanted is then cleared, unless it is added to. */
int attn_i_gradient_flows(const attn_i_gradient *gradient);
void attn_i_gradient_clear(const attn_i_gradient *gradient);

/* Those that queries share: 1 if any is wanted; and cleared, unless they are added to. */
int attn_i_gradient_has_sums(const attn_i_gradient *gradient);
void attn_i_gradient_clear_sums(const attn_i_gradient *gradient);

/* A finished row of gradients to the caller's: in place of what is there or added to it. */
void attn_i_gradient_write_row(const attn_i_gradient *gradient, int64_t n, const void *row, void *to, int64_t stride);

/* Gradients of all that biases scores: the bias, summed in place, and ALiBi slopes and the table of relative biases, in
 * float64. */
typedef struct attn_i_bias_sums {
    double *alibi; /* of each query head */
    double *table; /* as the table; NULL: not wanted */
} attn_i_bias_sums;

void attn_i_bias_sums_layout(attn_i_bias_sums *sums, const attn_i_gradient *gradient, attn_i_arena *arena);

/* Zeros, but for a bias that is added to; what one row's gradients of scores, of query i of head h, sequence b and n
 * keys from `first` on, add to bias and table; and slopes and table to where they are wanted, if they are. */
void attn_i_bias_sums_begin(const attn_i_bias_sums *sums, const attn_i_gradient *gradient);
void attn_i_bias_sums_add_row(const attn_i_bias_sums *sums, const attn_i_gradient *gradient, int64_t b, int64_t h,
                              int64_t i, int64_t first, int64_t n, const void *d);
/* What gradients of float32 scores, at the softmax's temperature, add to slopes and table: those of a key head's
 * queries and keys from `first` to `end`, summed over each distance: of query i of head k in the group and key j at
 * [(end - 1 - j + i) group + k]. */
void attn_i_bias_sums_add_distances(const attn_i_bias_sums *sums, const attn_i_gradient *gradient, int64_t b,
                                    int64_t key_head, int64_t first, int64_t end, const float *distances);
void attn_i_bias_sums_end(const attn_i_bias_sums *sums, const attn_i_gradient *gradient);

#endif
