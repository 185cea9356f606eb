/* SPDX-License-Identifier: BSD-3-Clause
 *
 * layers/multihead/call.h: one call of a layer of heads: its arguments, checked once; the rows that it makes and where
 * they lie; and the products that take it from one to the next. */
#ifndef ATTN_I_LAYERS_MULTIHEAD_CALL_H
#define ATTN_I_LAYERS_MULTIHEAD_CALL_H

#include "call/wide.h"
#include "layers/multihead/multihead.h"
#include "runtime/memory.h"
#include "score/projection.h"
#include "verbs/forward.h"

/* Rows of a tensor [1, batch, length, dim], and of what the layer makes of them, one after the other: in order those of
 * each sequence, `length` of them or, in a ragged batch, those from offset b to the next. */
typedef struct attn_i_multihead_extent {
    attn_i_view offsets; /* [1, 1, 1, B + 1], of a ragged batch, whose `batch` is 1; else without data */
    int64_t batch, length;
    int64_t first, count;  /* rows that sequences have */
    attn_i_view positions; /* the caller's, [1, 1, batch, length]; data NULL: there are none */
} attn_i_multihead_extent;

/* Rows that the layer makes. The parts of one input share their rows, one beside
 * the other, so that a packed parameter makes them all by one product; heads are views of them. */
typedef struct attn_i_multihead_rows {
    attn_i_matrix part[ATTN_I_PARTS]; /* projected queries, keys, values; or their gradients */
    attn_i_matrix context;            /* the joined contexts */
    double *logsumexp;                /* [B, Hq, Tq] */
} attn_i_multihead_rows;

/* Parts that one product makes: first .. first + count - 1. */
typedef struct attn_i_multihead_group {
    int first, count;
} attn_i_multihead_group;

typedef struct attn_i_multihead_call {
    const attn_multihead *m;
    attn_multihead_args args;
    attn_forward_args attention; /* the caller's, or zeros */
    attn_dtype dtype, given;     /* that is computed in; of the caller's tensors, that or one of 16 bits */
    attn_i_storage storage;
    int64_t size, batch;                          /* of an element; sequences */
    attn_i_view input[ATTN_I_PARTS];              /* [1, B, T, dim]; data NULL: not given */
    int source[ATTN_I_PARTS];                     /* which input each part is projected from */
    attn_i_multihead_extent extent[ATTN_I_PARTS]; /* of each part's rows */
    attn_i_multihead_group groups[ATTN_I_PARTS];
    int group_count;
    attn_i_view output;  /* data NULL in a backward call */
    attn_memory *memory; /* attended to, once the keys are appended, as `growth` says; NULL: the projected keys are */
    attn_i_growth growth;
    attn_i_view saved;                      /* what the caller keeps of the rows, aligned; data NULL: nothing */
    attn_i_view params[ATTN_I_MOST_PARAMS]; /* the layer's, in dtype, from when a run has loaded them */
    attn_i_wide wide;                       /* of those, and of their gradients */
    attn_i_problem means;                   /* no problem: engine, kernels and dtypes, for products and checks */
    attn_i_forward_plan plan; /* of the attention in the middle; its query, key, value, context and, unless the caller
                                 gets it, log-sum-exp have no extent */
} attn_i_multihead_call;

/* The caller's struct, as this version has it. ATTN_ERR_ARGUMENT for a NULL of that name, ATTN_ERR_STRUCT_SIZE. */
attn_status attn_i_multihead_args_read(const attn_multihead_args *given, const char *name, attn_multihead_args *args);

/* Checks the arguments of a forward call, or for a backward call of the forward call that it goes back from: its
 * outputs are then not looked at. All but that outputs lie apart. */
attn_status attn_i_multihead_check(const attn_multihead *multihead, const attn_multihead_args *args, int backward,
                                   attn_i_multihead_call *call);

/* The bytes of `saved`, with room for any alignment. ATTN_ERR_OVERFLOW. */
attn_status attn_i_multihead_saved_bytes(const attn_i_multihead_call *call, size_t *bytes);

/* Adds the inputs to a list of tensors: x, y, z, their positions and the parameters; returns their number then. */
int attn_i_multihead_list_inputs(const attn_i_multihead_call *call, attn_i_named_view *list, int count);
enum { ATTN_I_MOST_MULTIHEAD_TENSORS = ATTN_I_PARTS + 2 + ATTN_I_MOST_PARAMS };

/* The scratch of a call: rows that last, and above them what each stage has for itself. */
typedef struct attn_i_multihead_scratch {
    attn_i_arena arena; /* what lasts; without memory everything is measured and nothing computed */
    int64_t most;       /* bytes, of all so far */
} attn_i_multihead_scratch;

/* A stage's own arena, and its end. */
static inline attn_i_arena attn_i_multihead_begin(const attn_i_multihead_scratch *scratch)
{
    return scratch->arena;
}
void attn_i_multihead_end(attn_i_multihead_scratch *scratch, const attn_i_arena *stage);

/* Rows of scratch, or of what the caller saves, for the parts; then for contexts and log-sum-exp. */
void attn_i_multihead_lay_out_parts(const attn_i_multihead_call *call, attn_i_arena *arena,
                                    attn_i_multihead_rows *rows);
void attn_i_multihead_lay_out_context(const attn_i_multihead_call *call, attn_i_arena *arena,
                                      attn_i_multihead_rows *rows);
void attn_i_multihead_lay_out_logsumexp(const attn_i_multihead_call *call, attn_i_arena *arena,
                                        attn_i_multihead_rows *rows);

/* The tensors that the attention in the middle takes for them: [B, H, T, dim]. Where the rows are not there yet, at a
 * place that nothing is to be read from. */
attn_tensor attn_i_multihead_heads(const attn_i_multihead_call *call, const attn_i_multihead_rows *rows, int part);
attn_tensor attn_i_multihead_context(const attn_i_multihead_call *call, const attn_i_multihead_rows *rows);
attn_tensor attn_i_multihead_logsumexp(const attn_i_multihead_call *call, const attn_i_multihead_rows *rows);

/* 1 if there is a query: otherwise nothing is attended to, whatever the other sizes are. The attention in the middle is
 * then checked with rows that are nowhere, laid out by an arena that is thrown away. */
static inline int attn_i_multihead_attends(const attn_i_multihead_call *call)
{
    return call->extent[ATTN_I_QUERY].count > 0;
}

/* Those rows of a part's, or with ATTN_I_QUERY of the contexts, that sequences have. */
attn_i_matrix attn_i_multihead_used(const attn_i_multihead_call *call, int part, attn_i_matrix rows);

/* The columns of a group of parts, side by side, of such rows. */
attn_i_matrix attn_i_multihead_columns(const attn_i_multihead_call *call, const attn_i_multihead_rows *rows,
                                       attn_i_multihead_group group);

/* A parameter's rows for a group; ATTN_I_PARTS stands for the output's. A view without data: there is none. */
attn_i_matrix attn_i_multihead_weight(const attn_i_multihead_call *call, attn_i_multihead_group group);
attn_i_view attn_i_multihead_bias(const attn_i_multihead_call *call, attn_i_multihead_group group);
/* The same rows of a tensor that is shaped like the parameter. */
attn_i_matrix attn_i_multihead_weight_of(const attn_i_multihead_call *call, attn_i_multihead_group group,
                                         const attn_i_view *view);
attn_i_view attn_i_multihead_bias_of(const attn_i_multihead_call *call, attn_i_multihead_group group,
                                     const attn_i_view *view);

/* The rows that sequences have of [1, batch, length, dim], a tensor like a part's input, as one matrix, where they lie
 * if products can read them there; otherwise, and where their numbers have 16 bits, `scratch` has room for a copy. And
 * the copy, made or, from scratch, brought to where it belongs. */
typedef struct attn_i_multihead_sequence {
    attn_i_view view;
    attn_i_matrix use;
    int copied;
} attn_i_multihead_sequence;
attn_i_view attn_i_multihead_narrowed(const attn_i_multihead_call *call, int part, const attn_i_view *view);
attn_i_multihead_sequence attn_i_multihead_sequence_layout(const attn_i_multihead_call *call, int part,
                                                           const attn_i_view *view, attn_i_arena *arena);
void attn_i_multihead_sequence_read(const attn_i_multihead_call *call, const attn_i_multihead_sequence *sequence);
void attn_i_multihead_sequence_write(const attn_i_multihead_call *call, const attn_i_multihead_sequence *sequence,
                                     int accumulate);

/* A stage: to = or += from map, each row and the bias, if that has data. */
void attn_i_multihead_product(const attn_i_multihead_call *call, attn_i_multihead_scratch *scratch, attn_i_matrix from,
                              attn_i_matrix map, const attn_i_view *bias, attn_i_matrix to, int accumulate);

/* A stage: to = or += from map, as gradients of parameters are: sums over the rows of the map, which do not count where
 * they are not finite, with `finite`. */
void attn_i_multihead_sum(const attn_i_multihead_call *call, attn_i_multihead_scratch *scratch, attn_i_matrix from,
                          attn_i_matrix map, int finite, attn_i_matrix to, int accumulate);
/* A stage: to = or += the sum of rows. */
void attn_i_multihead_sum_rows(const attn_i_multihead_call *call, attn_i_multihead_scratch *scratch, attn_i_matrix rows,
                               const attn_i_view *to, int accumulate);

/* Checks the positions of queries and keys. A stage: where the layer turns, queries and keys, or such of them as are
 * wanted, are turned; or turned back, as gradients are. */
attn_status attn_i_multihead_check_positions(attn_i_multihead_call *call);
void attn_i_multihead_turn(const attn_i_multihead_call *call, attn_i_multihead_scratch *scratch,
                           const attn_i_multihead_rows *rows, int queries, int keys, int back);

/* The parameters as they are computed with. A backward call adds their gradients to the list first. */
void attn_i_multihead_params(attn_i_multihead_call *call, attn_i_multihead_scratch *scratch);

/* The inputs of the call; then the stages from there to projected rows and to contexts, for the forward call or for a
 * backward call that nothing was saved for. With `outputs`, the caller's too. */
void attn_i_multihead_inputs(const attn_i_multihead_call *call, attn_i_multihead_scratch *scratch,
                             attn_i_multihead_sequence inputs[ATTN_I_PARTS]);
void attn_i_multihead_project(const attn_i_multihead_call *call, attn_i_multihead_scratch *scratch,
                              const attn_i_multihead_sequence inputs[ATTN_I_PARTS], const attn_i_multihead_rows *rows);
attn_status attn_i_multihead_attend(attn_i_multihead_call *call, attn_i_multihead_scratch *scratch,
                                    const attn_i_multihead_rows *rows, int outputs);

#endif
