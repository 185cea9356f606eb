/* SPDX-License-Identifier: BSD-3-Clause
 *
 * kernels/stored.h: the types that callers and memories keep numbers in which are computed with in float32. What such a
 * type is, is told here and in kernels/stored.c alone: to all others it is a table. Every number of 16 or 8 bits is one
 * of float32; the other way is rounded once, to the nearest, of two to the even one. */
#ifndef ATTN_I_KERNELS_STORED_H
#define ATTN_I_KERNELS_STORED_H

#include "kernels/tile.h"

#include <stdint.h>

/* Rows of such a type, contiguous, `stride` elements apart. */
typedef struct attn_i_stored_rows {
    const void *data;
    int64_t stride;
    int64_t ahead; /* bytes from a row to the one that is asked for meanwhile; 0: as many as suit rows without end */
} attn_i_stored_rows;

/* Few queries, for which lanes would stay empty: at most ATTN_I_FEW rows, a row of scores for each. */
typedef struct attn_i_row_kernels {
    /* to[i to_stride + j] = sum over d of queries[i][d] keys[j][d], i < rows, j < count. */
    void (*products)(int64_t depth, attn_i_rows queries, int64_t rows, const attn_i_stored_rows *keys, int64_t count,
                     float *to, int64_t to_stride);
    /* context[i dim + d] += sum over j of weights[i weight_stride + j] values[j][d] */
    void (*context)(int64_t count, attn_i_rows weights, int64_t rows, const attn_i_stored_rows *values, int64_t dim,
                    float *context);
    /* Where the context is made of weights that are rounded: the sum of what these become, j < n. NULL: it is not. */
    float (*rounded_sum)(int64_t n, const float *weights);
} attn_i_row_kernels;

typedef struct attn_i_stored_kernels {
    int64_t size; /* of an element, in bytes */
    /* to[j] = from[j stride]; a NaN stays one */
    void (*load)(int64_t n, const void *from, int64_t stride, float *to);
    /* to[j stride] = from[j]; minus zero becomes zero; what is too great for the type is infinite. NULL for integers.
     */
    void (*store)(int64_t n, const float *from, void *to, int64_t stride);
    /* For integers, which stand for themselves times a scale; or NULL. The greatest magnitude of a row, infinity where
     * some is not finite; and to[j] = from[j] / scale, to the nearest of -127 .. 127, of two to the even one. */
    float (*greatest)(int64_t n, const float *from);
    void (*quantise)(int64_t n, const float *from, float scale, void *to);
    /* to[j] += sum over k of weights[k] rows[k][j], k < count, j < n, in the order of k; from 0 if `begins`. The rows
     * are of memory that others like them follow in. */
    void (*mix)(int64_t n, int64_t count, const void *const *rows, const float *weights, int begins, float *to);
    attn_i_row_kernels rows;
} attn_i_stored_kernels;

/* 1 if that is what they are computed in, too: no other type has elements of its size. */
static inline int attn_i_is_float32(const attn_i_stored_kernels *type)
{
    return type->size == (int64_t)sizeof(float);
}

#endif
