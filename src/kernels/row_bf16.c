/* SPDX-License-Identifier: BSD-3-Clause
 *
 * kernels/row_bf16.c: the kernels of few queries over keys and values of bfloat16, where the CPU multiplies pairs of
 * these: as kernels/row_products.c, and nothing is widened. A pair is two elements of a key, or those of two values. */
#include "kernels/pairs.h"
#include "kernels/row_fetch.h"
#include "kernels/square.h"
#include "kernels/tiles.h"

enum {
    MOST_ROWS = 4,
    ELEMENT = 2,
    ELEMENTS = 2 * WIDTH, /* of a vector */
    DEPTH = 512,          /* elements of queries that are multiplied at a time, */
    KEYS = 512            /* and weights */
};

typedef const char *bytes;

/* Rows of pairs, of so many queries. */
typedef float query_pairs[MOST_ROWS][DEPTH / 2];
typedef float weight_pairs[MOST_ROWS][KEYS / 2];

static ALWAYS_INLINE vec load_pairs(bytes from)
{
    vec v;
    memcpy(&v, from, sizeof v);
    return v;
}

/* The first n elements, n < ELEMENTS; then 0. */
static ALWAYS_INLINE vec load_some(bytes from, int64_t n)
{
#if defined(__AVX512F__)
    return (vec)_mm512_maskz_loadu_epi16((__mmask32)((UINT32_C(1) << n) - 1), from);
#else
    char some[sizeof(vec)] = {0};
    memcpy(some, from, (size_t)(n * ELEMENT));
    return load_pairs(some);
#endif
}

/* Neighbours become pairs, rounded if they are not bfloat16 already; 0 past the last, up to whole vectors. */
static void pair_row(int64_t n, const float *row, float *to)
{
    for (int64_t j = 0; j < n; j += ELEMENTS) {
        store(neighbours_of(load_part(row + j, n - j, 0), load_part(row + j + WIDTH, n - j - WIDTH, 0)), to + j / 2);
    }
}

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
                acc[r * count + j] = add_pair_products(acc[r * count + j], q[r], k);
            }
        }
    }
}

/* Of `count` keys, WIDTH / rows or one, as in kernels/row_products.c. */
static ALWAYS_INLINE void sum_products(int rows, int count, int64_t depth, query_pairs queries, bytes keys,
                                       int64_t stride, int64_t row, vec *acc)
{
    enum { IN_LINE = LINE / ELEMENT };
    const int follow = stride == row;
    const int64_t next_key = follow ? LINE : stride, next_line = follow ? count * LINE : LINE;
    bytes ahead = keys + ahead_of(row, stride);
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
            acc[r * count + j] = add_pair_products(acc[r * count + j], load(queries[r] + whole / 2), k);
        }
    }
}

/* Products of elements first .. first + depth - 1, added to what is there if that is not the first of them. row: the
 * bytes of a whole key. */
static ALWAYS_INLINE void product_rows(int rows, int64_t first, int64_t depth, query_pairs queries, bytes keys,
                                       int64_t stride, int64_t row, int64_t keys_count, float *to, int64_t to_stride)
{
    const int count = WIDTH / rows;
    int64_t j = 0;
    for (; j + count <= keys_count; j += count) {
        vec acc[WIDTH];
        float sums[WIDTH];
        UNROLL for (int i = 0; i < WIDTH; i++) acc[i] = splat(0);
        sum_products(rows, count, depth, queries, keys + j * stride, stride, row, acc);
        store(sums_of(acc), sums);
        for (int r = 0; r < rows; r++) {
            for (int k = 0; k < count; k++) {
                float *place = to + r * to_stride + j + k;
                *place = first > 0 ? *place + sums[r * count + k] : sums[r * count + k];
            }
        }
    }
    for (; j < keys_count; j++) {
        vec acc[MOST_ROWS];
        UNROLL for (int r = 0; r < rows; r++) acc[r] = splat(0);
        sum_products(rows, 1, depth, queries, keys + j * stride, stride, row, acc);
        for (int r = 0; r < rows; r++) {
            float *place = to + r * to_stride + j;
            *place = first > 0 ? *place + sum_of(acc[r]) : sum_of(acc[r]);
        }
    }
}

static void products_of(int rows, int64_t depth, attn_i_rows queries, bytes keys, int64_t stride, int64_t count,
                        float *to, int64_t to_stride)
{
    query_pairs pairs;
    for (int64_t d = 0, n; d == 0 || d < depth; d += n) {
        bytes from = keys + d * ELEMENT;
        const int64_t row = depth * ELEMENT;
        n = depth - d < DEPTH ? depth - d : DEPTH;
        for (int r = 0; r < rows; r++) pair_row(n, queries.data + r * queries.stride + d, pairs[r]);
        if (rows == 4) product_rows(4, d, n, pairs, from, stride, row, count, to, to_stride);
        if (rows == 2) product_rows(2, d, n, pairs, from, stride, row, count, to, to_stride);
        if (rows == 1) product_rows(1, d, n, pairs, from, stride, row, count, to, to_stride);
        if (depth == 0) return;
    }
}

static int rows_of(int64_t left)
{
    return left >= 4 ? 4 : left >= 2 ? 2 : 1;
}

static void row_products(int64_t depth, attn_i_rows queries, int64_t rows, attn_i_stored_rows keys, int64_t count,
                         float *to, int64_t to_stride)
{
    const int64_t stride = keys.stride * ELEMENT;
    const int64_t most = rows <= MOST_ROWS ? count : part_of(PART_BYTES, count, depth * ELEMENT, WIDTH);
    for (int64_t j = 0, part; j < count; j += part) {
        part = count - j < most ? count - j : most;
        for (int64_t i = 0, n; i < rows; i += n) {
            const attn_i_rows some = {queries.data + i * queries.stride, queries.stride};
            n = rows_of(rows - i);
            products_of((int)n, depth, some, (bytes)keys.data + j * stride, stride, part, to + i * to_stride + j,
                        to_stride);
        }
    }
}

/* --------------------------------------------------------------------------------------------- context */

/* 2 `blocks` vectors, from element d on, of the contexts of `rows` queries. */
static ALWAYS_INLINE void context_block(int rows, int blocks, int64_t d, int64_t count, weight_pairs weights,
                                        bytes values, int64_t stride, float *context, int64_t dim)
{
    const int64_t some = blocks * ELEMENTS * ELEMENT;
    const int follow = stride == dim * ELEMENT;
    bytes at = values + d * ELEMENT;
    bytes ahead = values + ahead_of(dim * ELEMENT, stride) + d * ELEMENT * (follow ? count : 1);
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
            const vec one = load_pairs(at + v * (int64_t)sizeof(vec));
            zip(one, both ? load_pairs(at + stride + v * (int64_t)sizeof(vec)) : splat(0), &b[2 * v], &b[2 * v + 1]);
        }
        UNROLL for (int64_t line = 0; line < 2 * some; line += LINE)
        {
            __builtin_prefetch(ahead + (follow || line < some ? line : line - some + stride), 0, SECOND_LEVEL);
        }
        UNROLL for (int r = 0; r < rows; r++)
        {
            const vec w = spread_pair(weights[r] + j / 2);
            UNROLL for (int v = 0; v < 2 * blocks; v++) acc[r][v] = add_pair_products(acc[r][v], w, b[v]);
        }
        at += 2 * stride;
        ahead += 2 * (follow ? some : stride);
    }
    UNROLL for (int r = 0; r < rows; r++)
    {
        UNROLL for (int v = 0; v < 2 * blocks; v++)
        {
            float *to = context + r * dim + d + v * WIDTH;
            store(load(to) + acc[r][v], to);
        }
    }
}

/* Elements that fill no vector of pairs: n < ELEMENTS. */
static ALWAYS_INLINE void context_rest(int rows, int64_t d, int64_t n, int64_t count, weight_pairs weights,
                                       bytes values, int64_t stride, float *context, int64_t dim)
{
    for (int r = 0; r < rows; r++) {
        float *to = context + r * dim + d;
        vec low = splat(0), high = splat(0);
        for (int64_t j = 0; j < count; j += 2) {
            bytes at = values + j * stride + d * ELEMENT;
            const vec w = spread_pair(weights[r] + j / 2);
            vec b[2];
            zip(load_some(at, n), j + 1 < count ? load_some(at + stride, n) : splat(0), &b[0], &b[1]);
            low = add_pair_products(low, w, b[0]);
            high = add_pair_products(high, w, b[1]);
        }
        store_part(load_part(to, n, 0) + low, n, to);
        if (n > WIDTH) store_part(load_part(to + WIDTH, n - WIDTH, 0) + high, n - WIDTH, to + WIDTH);
    }
}

static ALWAYS_INLINE void context_rows(int rows, int64_t count, attn_i_rows weights, bytes values, int64_t stride,
                                       int64_t dim, float *context)
{
    weight_pairs pairs;
    int64_t d = 0;
    UNROLL for (int r = 0; r < rows; r++) pair_row(count, weights.data + r * weights.stride, pairs[r]);
    for (; d + 2 * ELEMENTS <= dim; d += 2 * ELEMENTS) {
        context_block(rows, 2, d, count, pairs, values, stride, context, dim);
    }
    if (d + ELEMENTS <= dim) {
        context_block(rows, 1, d, count, pairs, values, stride, context, dim);
        d += ELEMENTS;
    }
    if (d < dim) context_rest(rows, d, dim - d, count, pairs, values, stride, context, dim);
}

static void row_context(int64_t count, attn_i_rows weights, int64_t rows, attn_i_stored_rows values, int64_t dim,
                        float *context)
{
    const int64_t stride = values.stride * ELEMENT;
    const int64_t fits = part_of(PART_BYTES, count, dim * ELEMENT, LEAST_PART), most = fits < KEYS ? fits : KEYS;
    for (int64_t j = 0, part; j < count; j += part) {
        bytes some = (bytes)values.data + j * stride;
        part = count - j < most ? count - j : most;
        for (int64_t i = 0, n; i < rows; i += n) {
            const attn_i_rows w = {weights.data + i * weights.stride + j, weights.stride};
            float *to = context + i * dim;
            n = rows_of(rows - i);
            if (n == 4) context_rows(4, part, w, some, stride, dim, to);
            if (n == 2) context_rows(2, part, w, some, stride, dim, to);
            if (n == 1) context_rows(1, part, w, some, stride, dim, to);
        }
    }
}

static float rounded_sum(int64_t n, const float *row)
{
    const vec ones = pair_of(splat(1), splat(1));
    vec sum = splat(0);
    for (int64_t j = 0; j < n; j += ELEMENTS) {
        const vec pairs = neighbours_of(load_part(row + j, n - j, 0), load_part(row + j + WIDTH, n - j - WIDTH, 0));
        sum = add_pair_products(sum, pairs, ones);
    }
    return sum_of(sum);
}

const attn_i_row_kernels KERNEL(rows_bf16) = {row_products, row_context, rounded_sum};
