/* SPDX-License-Identifier: BSD-3-Clause
 *
 * layers/decomposable/decomposable.h: the arguments of one call of attn_decomposable_*, checked once, and the ways to
 * compute it, which trust them. */
#ifndef ATTN_I_LAYERS_DECOMPOSABLE_DECOMPOSABLE_H
#define ATTN_I_LAYERS_DECOMPOSABLE_DECOMPOSABLE_H

#include "call/storage.h"

typedef struct attn_i_decomposable {
    attn_engine *engine;
    const attn_i_kernels *kernels;
    attn_dtype dtype,
        given; /* that is computed in, and of log-sum-exps; of all other tensors, that or one of 16 bits */
    attn_i_storage storage;
    int64_t size; /* of an element that is computed with, in bytes */

    int64_t batch, heads, a_rows, b_rows; /* Ta, Tb */
    int64_t dim, a_dim, b_dim;            /* D, Da, Db */
    int a_is_f, b_is_g;                   /* a and b are views of f and g then */
    int accumulate;

    attn_i_view f, g, a, b;
    attn_i_view a_lengths, b_lengths;     /* [1, 1, 1, B]; data NULL: none */
    attn_i_view beta, alpha;              /* forward: out, data NULL: not wanted; backward: in, data NULL: not read */
    attn_i_view a_logsumexp, b_logsumexp; /* likewise, [1, B, H, T] */
    attn_i_view d_beta, d_alpha;          /* in; data NULL: none */
    attn_i_view d_f, d_g, d_a, d_b;       /* out; data NULL: not wanted */
} attn_i_decomposable;

/* The valid rows of sequence b. */
int64_t attn_i_decomposable_a(const attn_i_decomposable *d, int64_t b);
int64_t attn_i_decomposable_b(const attn_i_decomposable *d, int64_t b);

/* Row `row` of a head in a tensor of the caller's. */
char *attn_i_decomposable_row(const attn_i_view *view, int64_t b, int64_t h, int64_t row);

/* The place of a log-sum-exp. */
void *attn_i_decomposable_one(const attn_i_view *logsumexp, int64_t b, int64_t h, int64_t row);

/* A finished row of an output to its place: added to what is there if it is a gradient of a call that accumulates. */
void attn_i_decomposable_write(const attn_i_decomposable *d, const attn_i_view *output, const void *row, char *place);

/* 1 if a log-sum-exp is so great that the digits it has as a float do not tell weights: their sums are made anew. */
int attn_i_decomposable_is_great(double logsumexp);

/* One way to compute: `measure` lays out scratch over an arena without memory; `run` computes, and cannot fail. Valid
 * rows are written alone. */
typedef struct attn_i_decomposable_way {
    void (*measure)(const attn_i_decomposable *d, attn_i_arena *arena);
    void (*run)(const attn_i_decomposable *d, void *scratch);
} attn_i_decomposable_way;

extern const attn_i_decomposable_way attn_i_decomposable_blas, attn_i_decomposable_blas_back;
extern const attn_i_decomposable_way attn_i_decomposable_tiles, attn_i_decomposable_tiles_back; /* float32 */

#endif
