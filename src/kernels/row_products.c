/* SPDX-License-Identifier: BSD-3-Clause
 *
 * kernels/row_products.c: the kernels for few queries against many keys, where memory is the limit: every key and value
 * is read once for up to four queries, with vectors along its elements, which become float32 in registers. */
#include "kernels/row_fetch.h"
#include "kernels/square.h"
#include "kernels/stored.h"
#include "kernels/stored_vector.h"
#include "kernels/tiles.h"

enum {
    MOST_ROWS = 4,
    WIDE = 512,    /* elements of a value that is gone over row by row */
    FEW_VALUES = 4 /* of such, at once */
};

typedef const char *bytes;

/* How many products are summed at once. Of float32, where memory is the limit, few, so that keys are read in the order
 * in which they lie; of what is smaller, where arithmetic is, as many as share what is read of the queries. */
static ALWAYS_INLINE int at_once(stored_type type)
{
    const int in_order = 8;
    return type == STORED_F32 && WIDTH > in_order ? in_order : WIDTH;
}

/* acc[r step + j] += query r with key j of `count`, from one element on to another, which are whole vectors. */
static ALWAYS_INLINE void add_products(stored_type type, int rows, int count, int step, int64_t first, int64_t end,
                                       attn_i_rows queries, bytes keys, int64_t stride, vec *acc)
{
    for (int64_t d = first; d < end; d += WIDTH) {
        vec q[MOST_ROWS];
        UNROLL for (int r = 0; r < rows; r++)
        {
            q[r] = load(queries.data + r * queries.stride + d);
            IN_REGISTER(q[r]);
        }
        UNROLL for (int j = 0; j < count; j++)
        {
            const vec k = load_stored(type, keys + j * stride + d * stored_size(type));
            UNROLL for (int r = 0; r < rows; r++) acc[r * step + j] += q[r] * k;
        }
    }
}

/* All elements of some keys. Their lines, or those that lie as far ahead, are asked for as they are gone through. */
static ALWAYS_INLINE void sum_products(stored_type type, int rows, int count, int step, int64_t depth,
                                       attn_i_rows queries, bytes keys, int64_t stride, int64_t away, vec *acc)
{
    const int64_t size = stored_size(type), in_line = LINE / size < WIDTH ? WIDTH : LINE / size, row = depth * size;
    const int follow = stride == row;
    const int64_t next_key = follow ? in_line * size : stride, next_line = in_line * size * (follow ? count : 1);
    bytes ahead = keys + away;
    int64_t d = 0;
    for (; d + in_line <= depth; d += in_line) {
        UNROLL for (int j = 0; j < count; j++) __builtin_prefetch(ahead + j * next_key, 0, SECOND_LEVEL);
        UNROLL for (int64_t v = 0; v < in_line; v += WIDTH)
        {
            add_products(type, rows, count, step, d + v, d + v + WIDTH, queries, keys, stride, acc);
        }
        ahead += next_line;
    }
    if (d == depth) return;
    UNROLL for (int j = 0; j < count; j++) __builtin_prefetch(ahead + j * next_key, 0, SECOND_LEVEL);
    const int64_t whole = depth / WIDTH * WIDTH;
    add_products(type, rows, count, step, d, whole, queries, keys, stride, acc);
    if (whole == depth) return;
    UNROLL for (int j = 0; j < count; j++)
    {
        const vec k = load_stored_part(type, keys + j * stride + whole * size, depth - whole);
        UNROLL for (int r = 0; r < rows; r++)
        {
            acc[r * step + j] += load_part(queries.data + r * queries.stride + whole, depth - whole, 0) * k;
        }
    }
}

/* The products of `rows` queries with WIDTH / rows keys: WIDTH accumulators, whose sums fall out of a transpose. */
static ALWAYS_INLINE void product_block(stored_type type, int rows, int64_t depth, attn_i_rows queries, bytes keys,
                                        int64_t stride, int64_t away, float *to, int64_t to_stride)
{
    const int count = WIDTH / rows, together = at_once(type) / rows;
    vec acc[WIDTH];
    UNROLL for (int i = 0; i < WIDTH; i++) acc[i] = splat(0);
    UNROLL for (int j = 0; j < count; j += together)
    {
        sum_products(type, rows, together, count, depth, queries, keys + j * stride, stride, away, acc + j);
    }
    float sums[WIDTH];
    store(sums_of(acc), sums);
    for (int r = 0; r < rows; r++) memcpy(to + r * to_stride, sums + r * count, (size_t)count * sizeof *to);
}

/* One query with one key. */
static ALWAYS_INLINE float product(stored_type type, int64_t depth, const float *query, bytes key)
{
    vec acc = splat(0);
    for (int64_t d = 0; d < depth; d += WIDTH) {
        acc += load_part(query + d, depth - d, 0) *
               (depth - d >= WIDTH ? load_stored(type, key + d * stored_size(type))
                                   : load_stored_part(type, key + d * stored_size(type), depth - d));
    }
    return sum_of(acc);
}

/* `vectors` vectors, from vector `first` on, of the contexts of `rows` queries. */
static ALWAYS_INLINE void context_block(stored_type type, int rows, int vectors, int64_t first, int64_t count,
                                        attn_i_rows weights, bytes values, int64_t stride, int64_t away, float *context,
                                        int64_t dim)
{
    const int64_t size = stored_size(type), some = vectors * WIDTH * size;
    const int follow = stride == dim * size;
    bytes ahead = values + away + first * WIDTH * size * (follow ? count : 1);
    vec acc[MOST_ROWS][4];
    UNROLL for (int r = 0; r < rows; r++)
    {
        UNROLL for (int v = 0; v < vectors; v++) acc[r][v] = splat(0);
    }
    for (int64_t j = 0; j < count; j++) {
        vec b[4];
        UNROLL for (int v = 0; v < vectors; v++) b[v] = load_stored(type, values + (first + v) * WIDTH * size);
        UNROLL for (int64_t line = 0; line < some; line += LINE) __builtin_prefetch(ahead + line, 0, SECOND_LEVEL);
        UNROLL for (int r = 0; r < rows; r++)
        {
            const vec w = splat(weights.data[r * weights.stride + j]);
            UNROLL for (int v = 0; v < vectors; v++) acc[r][v] += w * b[v];
        }
        values += stride;
        ahead += follow ? some : stride;
    }
    UNROLL for (int r = 0; r < rows; r++)
    {
        UNROLL for (int v = 0; v < vectors; v++)
        {
            float *to = context + r * dim + (first + v) * WIDTH;
            store(load(to) + acc[r][v], to);
        }
    }
}

/* The contexts of `rows` queries, all of their vectors, from `few` wide values: along these as they lie, which the
 * hardware sees coming, where a block of elements of each of them at a time would read memory here and there. */
static ALWAYS_INLINE void wide_context_block(stored_type type, int rows, int few, attn_i_rows weights, bytes values,
                                             int64_t stride, int64_t vectors, float *context, int64_t dim)
{
    vec w[MOST_ROWS][FEW_VALUES];
    UNROLL for (int r = 0; r < rows; r++)
    {
        UNROLL for (int j = 0; j < few; j++) w[r][j] = splat(weights.data[r * weights.stride + j]);
    }
    for (int64_t v = 0; v < vectors; v++) {
        vec b[FEW_VALUES];
        UNROLL for (int j = 0; j < few; j++)
        {
            b[j] = load_stored(type, values + j * stride + v * WIDTH * stored_size(type));
        }
        UNROLL for (int r = 0; r < rows; r++)
        {
            float *to = context + r * dim + v * WIDTH;
            vec sum = load(to);
            UNROLL for (int j = 0; j < few; j++) sum += w[r][j] * b[j];
            store(sum, to);
        }
    }
}

/* Elements that fill no vector. */
static ALWAYS_INLINE void context_rest(stored_type type, int64_t rows, int64_t count, attn_i_rows weights, bytes values,
                                       int64_t stride, int64_t n, float *context, int64_t dim)
{
    for (int64_t r = 0; r < rows; r++) {
        vec acc = splat(0);
        for (int64_t j = 0; j < count; j++) {
            acc += splat(weights.data[r * weights.stride + j]) * load_stored_part(type, values + j * stride, n);
        }
        store_part(load_part(context + r * dim, n, 0) + acc, n, context + r * dim);
    }
}

/* `vectors` vectors of a mixture of rows, from element d on. */
static ALWAYS_INLINE void mix_block(stored_type type, int vectors, int64_t d, int64_t count, const void *const *rows,
                                    const float *weights, int begins, float *to)
{
    const int64_t size = stored_size(type), some = vectors * WIDTH * size;
    vec acc[4];
    UNROLL for (int v = 0; v < vectors; v++) acc[v] = begins ? splat(0) : load(to + d + v * WIDTH);
    for (int64_t k = 0; k < count; k++) {
        bytes row = (bytes)rows[k] + d * size;
        const vec w = splat(weights[k]);
        UNROLL for (int64_t line = 0; line < some; line += LINE)
            __builtin_prefetch(row + FETCH + line, 0, SECOND_LEVEL);
        UNROLL for (int v = 0; v < vectors; v++) acc[v] += w * load_stored(type, row + v * WIDTH * size);
    }
    UNROLL for (int v = 0; v < vectors; v++) store(acc[v], to + d + v * WIDTH);
}

/* Of so many queries, of values of a type. */
#define ROWS(name, type, rows)                                                                                         \
    static void products_##name##_##rows(int64_t depth, attn_i_rows queries, bytes keys, int64_t stride, int64_t away, \
                                         int64_t count, float *to, int64_t to_stride)                                  \
    {                                                                                                                  \
        const int64_t step = WIDTH / rows;                                                                             \
        int64_t j = 0;                                                                                                 \
        for (; j + step <= count; j += step) {                                                                         \
            product_block(type, rows, depth, queries, keys + j * stride, stride, away, to + j, to_stride);             \
        }                                                                                                              \
        for (; j < count; j++) {                                                                                       \
            for (int64_t r = 0; r < rows; r++) {                                                                       \
                to[r * to_stride + j] = product(type, depth, queries.data + r * queries.stride, keys + j * stride);    \
            }                                                                                                          \
        }                                                                                                              \
    }                                                                                                                  \
    static void contexts_##name##_##rows(int64_t count, attn_i_rows weights, bytes values, int64_t stride,             \
                                         int64_t away, int64_t dim, float *context)                                    \
    {                                                                                                                  \
        const int64_t vectors = dim / WIDTH;                                                                           \
        int64_t v = 0;                                                                                                 \
        for (int64_t j = 0, n; dim > WIDE && j < count; j += n) {                                                      \
            const attn_i_rows w = {weights.data + j, weights.stride};                                                  \
            bytes from = values + j * stride;                                                                          \
            n = count - j >= FEW_VALUES ? FEW_VALUES : 1;                                                              \
            if (n > 1) wide_context_block(type, rows, FEW_VALUES, w, from, stride, vectors, context, dim);             \
            if (n == 1) wide_context_block(type, rows, 1, w, from, stride, vectors, context, dim);                     \
        }                                                                                                              \
        if (dim > WIDE) v = vectors;                                                                                   \
        for (; v + 4 <= vectors; v += 4) {                                                                             \
            context_block(type, rows, 4, v, count, weights, values, stride, away, context, dim);                       \
        }                                                                                                              \
        for (; v < vectors; v++) context_block(type, rows, 1, v, count, weights, values, stride, away, context, dim);  \
        const int64_t d = vectors * WIDTH;                                                                             \
        if (d == dim) return;                                                                                          \
        context_rest(type, rows, count, weights, values + d * stored_size(type), stride, dim - d, context + d, dim);   \
    }

/* The queries go by fours, a pair and one. */
#define TYPE(name, type)                                                                                               \
    ROWS(name, type, 1)                                                                                                \
    ROWS(name, type, 2)                                                                                                \
    ROWS(name, type, 4)                                                                                                \
    void KERNEL(row_products_##name)(int64_t depth, attn_i_rows queries, int64_t rows, const attn_i_stored_rows *keys, \
                                     int64_t count, float *to, int64_t to_stride)                                      \
    {                                                                                                                  \
        const int64_t stride = keys->stride * stored_size(type);                                                       \
        const int64_t away = ahead_or(keys->ahead, depth * stored_size(type), stride);                                 \
        const int64_t most = rows <= MOST_ROWS ? count : part_of(PART_BYTES, count, depth * stored_size(type), WIDTH); \
        for (int64_t j = 0, part; j < count; j += part) {                                                              \
            bytes some = (bytes)keys->data + j * stride;                                                               \
            part = count - j < most ? count - j : most;                                                                \
            for (int64_t i = 0, n; i < rows; i += n) {                                                                 \
                const attn_i_rows q = {queries.data + i * queries.stride, queries.stride};                             \
                n = rows - i >= 4 ? 4 : rows - i >= 2 ? 2 : 1;                                                         \
                (n == 4 ? products_##name##_4                                                                          \
                 : n == 2                                                                                              \
                     ? products_##name##_2                                                                             \
                     : products_##name##_1)(depth, q, some, stride, away, part, to + i * to_stride + j, to_stride);    \
            }                                                                                                          \
        }                                                                                                              \
    }                                                                                                                  \
    void KERNEL(row_context_##name)(int64_t count, attn_i_rows weights, int64_t rows,                                  \
                                    const attn_i_stored_rows *values, int64_t dim, float *context)                     \
    {                                                                                                                  \
        const int64_t stride = values->stride * stored_size(type);                                                     \
        const int64_t away = ahead_or(values->ahead, dim * stored_size(type), stride);                                 \
        const int64_t most = part_of(PART_BYTES, count, dim * stored_size(type), LEAST_PART);                          \
        for (int64_t j = 0, part; j < count; j += part) {                                                              \
            bytes some = (bytes)values->data + j * stride;                                                             \
            part = count - j < most ? count - j : most;                                                                \
            for (int64_t i = 0, n; i < rows; i += n) {                                                                 \
                const attn_i_rows w = {weights.data + i * weights.stride + j, weights.stride};                         \
                n = rows - i >= 4 ? 4 : rows - i >= 2 ? 2 : 1;                                                         \
                (n == 4   ? contexts_##name##_4                                                                        \
                 : n == 2 ? contexts_##name##_2                                                                        \
                          : contexts_##name##_1)(part, w, some, stride, away, dim, context + i * dim);                 \
            }                                                                                                          \
        }                                                                                                              \
    }
/* Of rows of a type. */
#define MIX(name, type)                                                                                                \
    void KERNEL(mix_##name)(int64_t n, int64_t count, const void *const *rows, const float *weights, int begins,       \
                            float *to)                                                                                 \
    {                                                                                                                  \
        int64_t d = 0;                                                                                                 \
        for (; d + 4 * WIDTH <= n; d += 4 * WIDTH) mix_block(type, 4, d, count, rows, weights, begins, to);            \
        for (; d + WIDTH <= n; d += WIDTH) mix_block(type, 1, d, count, rows, weights, begins, to);                    \
        if (d == n) return;                                                                                            \
        vec acc = begins ? splat(0) : load_part(to + d, n - d, 0);                                                     \
        for (int64_t k = 0; k < count; k++) {                                                                          \
            acc += splat(weights[k]) * load_stored_part(type, (bytes)rows[k] + d * stored_size(type), n - d);          \
        }                                                                                                              \
        store_part(acc, n - d, to + d);                                                                                \
    }
MIX(f32, STORED_F32)
MIX(f16, STORED_F16)
MIX(bf16, STORED_BF16)
MIX(i8, STORED_I8)

TYPE(f32, STORED_F32)
TYPE(f16, STORED_F16)
TYPE(bf16, STORED_BF16)
TYPE(i8, STORED_I8)
