/* SPDX-License-Identifier: BSD-3-Clause
 *
 * kernels/row_products.c: the kernels for few queries against many keys, where memory is the limit: every key and value
 * is read once for up to four queries, with vectors along its elements. */
#include "kernels/square.h"
#include "kernels/tiles.h"

enum {
    MOST_ROWS = 4,
    FETCH = 16384,        /* bytes ahead that memory is asked for, */
    SECOND_LEVEL = 2,     /* into that cache: in the first it would push out what is being read */
    PART_ELEMENTS = 4096, /* of values that stay in the first-level cache while a context goes over them */
    LEAST_PART = 8,
    WIDE = 512,    /* elements of a value that is gone over row by row */
    FEW_VALUES = 4 /* of such, at once */
};

/* How far ahead of what is read to ask for memory: so many rows, or, where rows follow each other, bytes. Then it is
 * asked for in the order in which it lies, whatever the order in which it is read: the memory likes that best. */
static ALWAYS_INLINE int64_t ahead_of(int64_t width, int64_t stride)
{
    const int64_t bytes = width * (int64_t)sizeof(float);
    return stride == width || width == 0 ? FETCH : (FETCH / bytes + 1) * stride * (int64_t)sizeof(float);
}

/* The products of `rows` queries with WIDTH / rows keys: WIDTH accumulators, whose sums fall out of a transpose. */
static ALWAYS_INLINE void product_block(int rows, int64_t depth, attn_i_rows queries, const float *keys, int64_t stride,
                                        float *to, int64_t to_stride)
{
    const int count = WIDTH / rows;
    const char *ahead = (const char *)keys + ahead_of(depth, stride);
    const int64_t next_key = stride == depth ? VECTOR_BYTES : stride * (int64_t)sizeof *keys;
    const int64_t next_vector = stride == depth ? count * VECTOR_BYTES : VECTOR_BYTES;
    vec acc[WIDTH];
    UNROLL for (int i = 0; i < WIDTH; i++) acc[i] = splat(0);
    int64_t d = 0;
    for (; d + WIDTH <= depth; d += WIDTH) {
        vec q[MOST_ROWS];
        UNROLL for (int r = 0; r < rows; r++) q[r] = load(queries.data + r * queries.stride + d);
        UNROLL for (int j = 0; j < count; j++)
        {
            const vec k = load(keys + j * stride + d);
            __builtin_prefetch(ahead + j * next_key, 0, SECOND_LEVEL);
            UNROLL for (int r = 0; r < rows; r++) acc[r * count + j] += q[r] * k;
        }
        ahead += next_vector;
    }
    if (d < depth) {
        UNROLL for (int j = 0; j < count; j++)
        {
            const vec k = load_part(keys + j * stride + d, depth - d, 0);
            UNROLL for (int r = 0; r < rows; r++)
            {
                acc[r * count + j] += load_part(queries.data + r * queries.stride + d, depth - d, 0) * k;
            }
        }
    }
    float sums[WIDTH];
    store(sums_of(acc), sums);
    for (int r = 0; r < rows; r++) {
        for (int j = 0; j < count; j++) to[r * to_stride + j] = sums[r * count + j];
    }
}

/* One query with one key. */
static float product(int64_t depth, const float *query, const float *key)
{
    vec acc = splat(0);
    for (int64_t d = 0; d < depth; d += WIDTH)
        acc += load_part(query + d, depth - d, 0) * load_part(key + d, depth - d, 0);
    float sums[WIDTH], sum = 0;
    store(acc, sums);
    for (int l = 0; l < WIDTH; l++) sum += sums[l];
    return sum;
}

#define PRODUCTS(name, rows)                                                                                           \
    static void name(int64_t depth, attn_i_rows queries, attn_i_rows keys, int64_t count, float *to,                   \
                     int64_t to_stride)                                                                                \
    {                                                                                                                  \
        const int64_t step = WIDTH / rows;                                                                             \
        int64_t j = 0;                                                                                                 \
        for (; j + step <= count; j += step) {                                                                         \
            product_block(rows, depth, queries, keys.data + j * keys.stride, keys.stride, to + j, to_stride);          \
        }                                                                                                              \
        for (; j < count; j++) {                                                                                       \
            for (int64_t r = 0; r < rows; r++) {                                                                       \
                to[r * to_stride + j] =                                                                                \
                    product(depth, queries.data + r * queries.stride, keys.data + j * keys.stride);                    \
            }                                                                                                          \
        }                                                                                                              \
    }
PRODUCTS(products_of_1, 1)
PRODUCTS(products_of_2, 2)
PRODUCTS(products_of_4, 4)

void KERNEL(row_products)(int64_t depth, attn_i_rows queries, int64_t rows, attn_i_rows keys, int64_t count, float *to,
                          int64_t to_stride)
{
    for (int64_t i = 0, n; i < rows; i += n) {
        const attn_i_rows some = {queries.data + i * queries.stride, queries.stride};
        n = rows - i >= 4 ? 4 : rows - i >= 2 ? 2 : 1;
        (n == 4   ? products_of_4
         : n == 2 ? products_of_2
                  : products_of_1)(depth, some, keys, count, to + i * to_stride, to_stride);
    }
}

/* `vectors` vectors, from vector `first` on, of the contexts of `rows` queries. */
static ALWAYS_INLINE void context_block(int rows, int vectors, int64_t first, int64_t count, attn_i_rows weights,
                                        attn_i_rows values, float *context, int64_t dim)
{
    const int follow = values.stride == dim;
    const int64_t next_row = follow ? vectors * VECTOR_BYTES : values.stride * (int64_t)sizeof *context;
    const char *ahead =
        (const char *)values.data + ahead_of(dim, values.stride) + first * VECTOR_BYTES * (follow ? count : 1);
    vec acc[MOST_ROWS][4];
    UNROLL for (int r = 0; r < rows; r++)
    {
        UNROLL for (int v = 0; v < vectors; v++) acc[r][v] = splat(0);
    }
    for (int64_t j = 0; j < count; j++) {
        vec b[4];
        UNROLL for (int v = 0; v < vectors; v++)
        {
            b[v] = load(values.data + j * values.stride + (first + v) * WIDTH);
            __builtin_prefetch(ahead + v * VECTOR_BYTES, 0, SECOND_LEVEL);
        }
        UNROLL for (int r = 0; r < rows; r++)
        {
            const vec w = splat(weights.data[r * weights.stride + j]);
            UNROLL for (int v = 0; v < vectors; v++) acc[r][v] += w * b[v];
        }
        ahead += next_row;
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
static ALWAYS_INLINE void wide_context_block(int rows, int few, attn_i_rows weights, attn_i_rows values,
                                             int64_t vectors, float *context, int64_t dim)
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
            b[j] = load(values.data + j * values.stride + v * WIDTH);
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
static void context_rest(int64_t rows, int64_t count, attn_i_rows weights, attn_i_rows values, int64_t n,
                         float *context, int64_t dim)
{
    for (int64_t r = 0; r < rows; r++) {
        vec acc = splat(0);
        for (int64_t j = 0; j < count; j++) {
            acc += splat(weights.data[r * weights.stride + j]) * load_part(values.data + j * values.stride, n, 0);
        }
        store_part(load_part(context + r * dim, n, 0) + acc, n, context + r * dim);
    }
}

#define CONTEXTS(name, rows)                                                                                           \
    static void name(int64_t count, attn_i_rows weights, attn_i_rows values, int64_t dim, float *context)              \
    {                                                                                                                  \
        const int64_t vectors = dim / WIDTH;                                                                           \
        int64_t v = 0;                                                                                                 \
        for (int64_t j = 0, n; dim > WIDE && j < count; j += n) {                                                      \
            const attn_i_rows w = {weights.data + j, weights.stride};                                                  \
            n = count - j >= FEW_VALUES ? FEW_VALUES : 1;                                                              \
            if (n > 1) wide_context_block(rows, FEW_VALUES, w, attn_i_rows_from(values, j), vectors, context, dim);    \
            if (n == 1) wide_context_block(rows, 1, w, attn_i_rows_from(values, j), vectors, context, dim);            \
        }                                                                                                              \
        if (dim > WIDE) v = vectors;                                                                                   \
        for (; v + 4 <= vectors; v += 4) context_block(rows, 4, v, count, weights, values, context, dim);              \
        for (; v < vectors; v++) context_block(rows, 1, v, count, weights, values, context, dim);                      \
        const int64_t d = vectors * WIDTH;                                                                             \
        if (d == dim) return;                                                                                          \
        context_rest(rows, count, weights, (attn_i_rows){values.data + d, values.stride}, dim - d, context + d, dim);  \
    }
CONTEXTS(contexts_of_1, 1)
CONTEXTS(contexts_of_2, 2)
CONTEXTS(contexts_of_4, 4)

void KERNEL(row_context)(int64_t count, attn_i_rows weights, int64_t rows, attn_i_rows values, int64_t dim,
                         float *context)
{
    const int64_t most =
        PART_ELEMENTS / (dim > 0 ? dim : 1) > LEAST_PART ? PART_ELEMENTS / (dim > 0 ? dim : 1) : LEAST_PART;
    for (int64_t j = 0, part; j < count; j += part) {
        const attn_i_rows some = {values.data + j * values.stride, values.stride};
        part = count - j < most ? count - j : most;
        for (int64_t i = 0, n; i < rows; i += n) {
            const attn_i_rows w = {weights.data + i * weights.stride + j, weights.stride};
            n = rows - i >= 4 ? 4 : rows - i >= 2 ? 2 : 1;
            (n == 4 ? contexts_of_4 : n == 2 ? contexts_of_2 : contexts_of_1)(part, w, some, dim, context + i * dim);
        }
    }
}

float KERNEL(row_maximum)(int64_t n, const float *row)
{
    vec most = splat(-INFINITY);
    for (int64_t j = 0; j < n; j += WIDTH) most = greater_of(load_part(row + j, n - j, -INFINITY), most);
    float lanes[WIDTH], all = -INFINITY;
    store(most, lanes);
    for (int l = 0; l < WIDTH; l++) all = lanes[l] > all ? lanes[l] : all;
    return all;
}

float KERNEL(row_measure)(int64_t n, float unit, float reference, float *row, float *moment)
{
    const int far = reference > ATTN_I_FAR || reference < -ATTN_I_FAR; /* see tile_exponentials */
    const vec base = splat(far ? 0 : reference), taken = splat(far ? reference : 0), floor = base - splat(ATTN_I_ROOM),
              offset = power_offset(base);
    vec sums[2] = {splat(0), splat(0)};
    bits_vec powers = {0};
    for (int64_t j = 0; j < n; j += WIDTH) {
        const vec score = load_part(row + j, n - j, -INFINITY) * unit, left = score - taken;
        vec weight = power_above(left, floor, offset, &powers);
        weight = choose(score == splat(-INFINITY), splat(0), weight);
        weight = keep_nan(score, weight);
        sums[0] += weight;
        sums[1] += weight * (greater_of(floor, left) - base);
        store_part(weight, n - j, row + j);
    }
    float lanes[2][WIDTH], all[2] = {0, 0};
    for (int i = 0; i < 2; i++) {
        store(sums[i], lanes[i]);
        for (int l = 0; l < WIDTH; l++) all[i] += lanes[i][l];
    }
    *moment = all[1];
    return all[0];
}

float KERNEL(row_exponentials)(int64_t n, float unit, float reference, float *row)
{
    const int far = reference > ATTN_I_FAR || reference < -ATTN_I_FAR; /* see tile_exponentials */
    const vec base = splat(far ? 0 : reference), taken = splat(far ? reference : 0), floor = base - splat(ATTN_I_ROOM),
              offset = power_offset(base);
    vec sum = splat(0);
    bits_vec powers = {0};
    for (int64_t j = 0; j < n; j += WIDTH) {
        const vec score = load_part(row + j, n - j, -INFINITY) * unit;
        vec weight = power_above(score - taken, floor, offset, &powers);
        weight = choose(score == splat(-INFINITY), splat(0), weight);
        weight = keep_nan(score, weight);
        sum += weight;
        store_part(weight, n - j, row + j);
    }
    float lanes[WIDTH], all = 0;
    store(sum, lanes);
    for (int l = 0; l < WIDTH; l++) all += lanes[l];
    return all;
}
