/* SPDX-License-Identifier: BSD-3-Clause
 *
 * kernels/row_pairs.h: few queries over rows whose elements the CPU multiplies in pairs, of 16 bits each: as
 * kernels/row_products.c, and nothing becomes float32. A pair is two elements of a key, or those of two values.
 * Included by a file that says before what pairs are:
 *
 *     enum { ELEMENT }             bytes of an element of a row
 *     load_pairs(from)             2 WIDTH elements, as pairs
 *     load_some(from, n)           n < 2 WIDTH of them, and 0
 *     multiply_pairs(sum, a, b)    adds both products of each pair
 *     pair_row(n, row, to)         rows of float32 become pairs, 0 up to whole vectors; returns what sums are
 * multiplied by floats_of(sums)              sums as float32; and the sums of each of WIDTH vectors, and of one:
 *     add_up(sums)
 *     add_up_one(sums) */
#ifndef ATTN_I_KERNELS_ROW_PAIRS_H
#define ATTN_I_KERNELS_ROW_PAIRS_H

#include "kernels/row_fetch.h"

enum {
    MOST_ROWS = 4,
    ELEMENTS = 2 * WIDTH, /* of a vector */
    DEPTH = 512, /* elements of queries that are multiplied at a time, so that whole numbers do not overflow, */
    KEYS = 512   /* and weights */
};

typedef const char *bytes;

/* Rows of pairs, of so many queries. */
typedef float query_pairs[MOST_ROWS][DEPTH / 2];
typedef float weight_pairs[MOST_ROWS][KEYS / 2];

/* -------------------------------------------------------------------------------------------- products */

/* acc[r step + j] += query r with key j of `count`; elements `from` to `to`, which are whole vectors. */
static ALWAYS_INLINE void add_products(int rows, int count, int64_t from, int64_t to, query_pairs queries, bytes keys,
                                       int64_t stride, vec *acc)
{
    for (int64_t d = from; d < to; d += ELEMENTS) {
        vec q[MOST_ROWS];
        UNROLL for (int r = 0; r < rows; r++)
        {
            q[r] = load(queries[r] + d / 2);
            IN_REGISTER(q[r]);
        }
        UNROLL for (int j = 0; j < count; j++)
        {
            const vec k = load_pairs(keys + j * stride + d * ELEMENT);
            UNROLL for (int r = 0; r < rows; r++)
            {
                acc[r * count + j] = multiply_pairs(acc[r * count + j], q[r], k);
            }
        }
    }
}

/* Of `count` keys, WIDTH / rows or one, as in kernels/row_products.c. */
static ALWAYS_INLINE void sum_products(int rows, int count, int64_t depth, query_pairs queries, bytes keys,
                                       int64_t stride, int64_t row, int64_t away, vec *acc)
{
    enum { IN_LINE = LINE / ELEMENT };
    const int follow = stride == row;
    const int64_t next_key = follow ? LINE : stride, next_line = follow ? count * LINE : LINE;
    bytes ahead = keys + away;
    int64_t d = 0;
    for (; d + IN_LINE <= depth; d += IN_LINE) {
        UNROLL for (int j = 0; j < count; j++) __builtin_prefetch(ahead + j * next_key, 0, SECOND_LEVEL);
        add_products(rows, count, d, d + IN_LINE, queries, keys, stride, acc);
        ahead += next_line;
    }
    if (d == depth) return;
    const int64_t whole = depth / ELEMENTS * ELEMENTS;
    add_products(rows, count, d, whole, queries, keys, stride, acc);
    UNROLL for (int j = 0; j < count && whole < depth; j++)
    {
        const vec k = load_some(keys + j * stride + whole * ELEMENT, depth - whole);
        UNROLL for (int r = 0; r < rows; r++)
        {
            acc[r * count + j] = multiply_pairs(acc[r * count + j], load(queries[r] + whole / 2), k);
        }
    }
}

/* Products of elements first .. first + depth - 1, added to what is there if that is not the first of them. row: the
 * bytes of a whole key. */
static ALWAYS_INLINE void product_rows(int rows, int64_t first, int64_t depth, query_pairs queries, const float *factor,
                                       bytes keys, int64_t stride, int64_t row, int64_t away, int64_t keys_count,
                                       float *to, int64_t to_stride)
{
    const int count = WIDTH / rows;
    float all_factors[WIDTH];
    int64_t j = 0;
    for (int i = 0; i < WIDTH; i++) all_factors[i] = factor[i / count];
    for (; j + count <= keys_count; j += count) {
        vec acc[WIDTH];
        float sums[WIDTH];
        UNROLL for (int i = 0; i < WIDTH; i++) acc[i] = splat(0);
        sum_products(rows, count, depth, queries, keys + j * stride, stride, row, away, acc);
        store(add_up(acc) * load(all_factors), sums);
        for (int r = 0; r < rows; r++) {
            float *place = to + r * to_stride + j;
            for (int k = 0; k < count && first > 0; k++) sums[r * count + k] += place[k];
            memcpy(place, sums + r * count, (size_t)count * sizeof *place);
        }
    }
    for (; j < keys_count; j++) {
        vec acc[MOST_ROWS];
        UNROLL for (int r = 0; r < rows; r++) acc[r] = splat(0);
        sum_products(rows, 1, depth, queries, keys + j * stride, stride, row, away, acc);
        for (int r = 0; r < rows; r++) {
            float *place = to + r * to_stride + j;
            *place = (first > 0 ? *place : 0) + factor[r] * add_up_one(acc[r]);
        }
    }
}

static void products_of(int rows, int64_t depth, attn_i_rows queries, bytes keys, int64_t stride, int64_t away,
                        int64_t count, float *to, int64_t to_stride)
{
    query_pairs pairs;
    float factor[MOST_ROWS];
    for (int64_t d = 0, n; d == 0 || d < depth; d += n) {
        bytes from = keys + d * ELEMENT;
        const int64_t row = depth * ELEMENT;
        n = depth - d < DEPTH ? depth - d : DEPTH;
        for (int r = 0; r < rows; r++) factor[r] = pair_row(n, queries.data + r * queries.stride + d, pairs[r]);
        if (rows == 4) product_rows(4, d, n, pairs, factor, from, stride, row, away, count, to, to_stride);
        if (rows == 2) product_rows(2, d, n, pairs, factor, from, stride, row, away, count, to, to_stride);
        if (rows == 1) product_rows(1, d, n, pairs, factor, from, stride, row, away, count, to, to_stride);
        if (depth == 0) return;
    }
}

static int rows_of(int64_t left)
{
    return left >= 4 ? 4 : left >= 2 ? 2 : 1;
}

static void row_products(int64_t depth, attn_i_rows queries, int64_t rows, const attn_i_stored_rows *keys,
                         int64_t count, float *to, int64_t to_stride)
{
    const int64_t stride = keys->stride * ELEMENT, away = ahead_or(keys->ahead, depth * ELEMENT, stride);
    const int64_t most = rows <= MOST_ROWS ? count : part_of(PART_BYTES, count, depth * ELEMENT, WIDTH);
    for (int64_t j = 0, part; j < count; j += part) {
        part = count - j < most ? count - j : most;
        for (int64_t i = 0, n; i < rows; i += n) {
            const attn_i_rows some = {queries.data + i * queries.stride, queries.stride};
            n = rows_of(rows - i);
            products_of((int)n, depth, some, (bytes)keys->data + j * stride, stride, away, part, to + i * to_stride + j,
                        to_stride);
        }
    }
}

/* --------------------------------------------------------------------------------------------- context */

/* 2 `blocks` vectors, from element d on, of the contexts of `rows` queries. */
static ALWAYS_INLINE void context_block(int rows, int blocks, int64_t d, int64_t count, weight_pairs weights,
                                        const float *factor, bytes values, int64_t stride, int64_t away, float *context,
                                        int64_t dim)
{
    const int64_t some = blocks * ELEMENTS * ELEMENT;
    const int follow = stride == dim * ELEMENT;
    const int64_t next = follow ? some : stride;
    bytes at = values + d * ELEMENT;
    bytes ahead = values + away + d * ELEMENT * (follow ? count : 1);
    vec acc[MOST_ROWS][4];
    UNROLL for (int r = 0; r < rows; r++)
    {
        UNROLL for (int v = 0; v < 2 * blocks; v++) acc[r][v] = splat(0);
    }
    for (int64_t j = 0; j < count; j += 2) {
        const int both = j + 1 < count;
        vec b[4];
        UNROLL for (int v = 0; v < blocks; v++)
        {
            const vec one = load_pairs(at + v * ELEMENTS * ELEMENT);
            zip(one, both ? load_pairs(at + stride + v * ELEMENTS * ELEMENT) : splat(0), &b[2 * v], &b[2 * v + 1]);
        }
        UNROLL for (int64_t line = 0; line < some; line += LINE)
        {
            __builtin_prefetch(ahead + line, 0, SECOND_LEVEL);
            __builtin_prefetch(ahead + next + line, 0, SECOND_LEVEL);
        }
        UNROLL for (int r = 0; r < rows; r++)
        {
            const vec w = spread_pair(weights[r] + j / 2);
            UNROLL for (int v = 0; v < 2 * blocks; v++) acc[r][v] = multiply_pairs(acc[r][v], w, b[v]);
        }
        at += 2 * stride;
        ahead += 2 * next;
    }
    UNROLL for (int r = 0; r < rows; r++)
    {
        UNROLL for (int v = 0; v < 2 * blocks; v++)
        {
            float *to = context + r * dim + d + v * WIDTH;
            store(load(to) + factor[r] * floats_of(acc[r][v]), to);
        }
    }
}

/* Elements that fill no vector of pairs: n < ELEMENTS. */
static ALWAYS_INLINE void context_rest(int rows, int64_t d, int64_t n, int64_t count, weight_pairs weights,
                                       const float *factor, bytes values, int64_t stride, float *context, int64_t dim)
{
    for (int r = 0; r < rows; r++) {
        float *to = context + r * dim + d;
        vec low = splat(0), high = splat(0);
        for (int64_t j = 0; j < count; j += 2) {
            bytes at = values + j * stride + d * ELEMENT;
            const vec w = spread_pair(weights[r] + j / 2);
            vec b[2];
            zip(load_some(at, n), j + 1 < count ? load_some(at + stride, n) : splat(0), &b[0], &b[1]);
            low = multiply_pairs(low, w, b[0]);
            high = multiply_pairs(high, w, b[1]);
        }
        low = load_part(to, n, 0) + factor[r] * floats_of(low);
        store_part(low, n, to);
        if (n <= WIDTH) continue;
        high = load_part(to + WIDTH, n - WIDTH, 0) + factor[r] * floats_of(high);
        store_part(high, n - WIDTH, to + WIDTH);
    }
}

static ALWAYS_INLINE void context_rows(int rows, int64_t count, attn_i_rows weights, bytes values, int64_t stride,
                                       int64_t away, int64_t dim, float *context)
{
    weight_pairs pairs;
    float factor[MOST_ROWS];
    int64_t d = 0;
    for (int r = 0; r < rows; r++) factor[r] = pair_row(count, weights.data + r * weights.stride, pairs[r]);
    for (; d + 2 * ELEMENTS <= dim; d += 2 * ELEMENTS) {
        context_block(rows, 2, d, count, pairs, factor, values, stride, away, context, dim);
    }
    if (d + ELEMENTS <= dim) {
        context_block(rows, 1, d, count, pairs, factor, values, stride, away, context, dim);
        d += ELEMENTS;
    }
    if (d < dim) context_rest(rows, d, dim - d, count, pairs, factor, values, stride, context, dim);
}

static void row_context(int64_t count, attn_i_rows weights, int64_t rows, const attn_i_stored_rows *values, int64_t dim,
                        float *context)
{
    const int64_t stride = values->stride * ELEMENT, away = ahead_or(values->ahead, dim * ELEMENT, stride);
    const int64_t fits = part_of(PART_BYTES, count, dim * ELEMENT, LEAST_PART), most = fits < KEYS ? fits : KEYS;
    for (int64_t j = 0, part; j < count; j += part) {
        bytes some = (bytes)values->data + j * stride;
        part = count - j < most ? count - j : most;
        for (int64_t i = 0, n; i < rows; i += n) {
            const attn_i_rows w = {weights.data + i * weights.stride + j, weights.stride};
            float *to = context + i * dim;
            n = rows_of(rows - i);
            if (n == 4) context_rows(4, part, w, some, stride, away, dim, to);
            if (n == 2) context_rows(2, part, w, some, stride, away, dim, to);
            if (n == 1) context_rows(1, part, w, some, stride, away, dim, to);
        }
    }
}

#endif
