/* SPDX-License-Identifier: BSD-3-Clause
 *
 * kernels/tile_bf16.c: the arithmetic of tiles where queries, keys and values are bfloat16 and the CPU multiplies pairs
 * of these: the products are exact and added in float32, and weights are rounded. A pair is two elements of a query,
 * which meet two of a key where it lies; or the weights of two keys, which meet the values of both. */
#include "kernels/arithmetic.h"
#include "kernels/pairs.h"
#include "kernels/square.h"
#include "kernels/tile_block.h"
#include "kernels/tile_weigh.h"
#include "kernels/tiles.h"

enum { ELEMENT = 2, PAIR = 4, LONG = 256, SHORT = 64 };

static const char *row_of(attn_i_stored_rows rows, int64_t row)
{
    return (const char *)rows.data + row * rows.stride * ELEMENT;
}

/* ----------------------------------------------------------------------------------------------- queries */

/* Elements d .. d + 2 WIDTH - 1 of a query, or 0 past the last. */
static vec query_pairs(const char *row, int64_t d, int64_t depth)
{
    vec v;
    char some[sizeof v] = {0};
    const int64_t left = (depth - d) * ELEMENT;
    if (left <= 0) return splat(0);
    memcpy(some, row + d * ELEMENT, left < (int64_t)sizeof v ? (size_t)left : sizeof v);
    memcpy(&v, some, sizeof v);
    return v;
}

/* A row for each pair of elements, and one of factors. */
static void load_queries(int64_t lanes, int64_t depth, const void *const *rows, float factor, float *to)
{
    const int64_t pairs = (depth + 1) / 2;
    const int64_t end = (lanes + ATTN_I_SPAN_LANES - 1) / ATTN_I_SPAN_LANES * ATTN_I_SPAN_LANES;
    for (int64_t l = 0; l < end; l += WIDTH) {
        for (int64_t i = 0; i < pairs; i += WIDTH) {
            vec v[WIDTH];
            UNROLL for (int x = 0; x < WIDTH; x++)
            {
                v[x] = l + x < lanes ? query_pairs(rows[l + x], 2 * i, depth) : splat(0);
            }
            transpose(v);
            for (int64_t x = 0; x < WIDTH && i + x < pairs; x++) store(v[x], to + (i + x) * ATTN_I_LANES + l);
        }
        store(splat(factor), to + pairs * ATTN_I_LANES + l);
    }
}

/* ---------------------------------------------------------------------------------------------- products */

typedef void product_block(int64_t pairs, const float *lanes, const char *rows, int64_t stride, const char *last,
                           const float *factor, float *to, int accumulate);

/* last: where the rows' last elements lie, if they have no partner; factor: what sums are multiplied by. */
#define DEFINE(rows_, vectors)                                                                                         \
    static void product_##rows_##_##vectors(int64_t pairs, const float *lanes, const char *rows, int64_t stride,       \
                                            const char *last, const float *factor, float *to, int accumulate)          \
    {                                                                                                                  \
        block acc;                                                                                                     \
        multiply(TILE_PAIR, rows_, vectors, pairs, lanes, rows, stride, PAIR, acc);                                    \
        UNROLL for (int r = 0; r < rows_ && last != NULL; r++)                                                         \
        {                                                                                                              \
            UNROLL for (int v = 0; v < vectors; v++)                                                                   \
            {                                                                                                          \
                const vec pair = load(lanes + pairs * ATTN_I_LANES + v * WIDTH);                                       \
                acc[r][v] = add_pair_products(acc[r][v], spread_last(last + r * stride), pair);                        \
            }                                                                                                          \
        }                                                                                                              \
        UNROLL for (int r = 0; r < rows_; r++)                                                                         \
        {                                                                                                              \
            UNROLL for (int v = 0; v < vectors; v++)                                                                   \
            {                                                                                                          \
                float *place = to + r * ATTN_I_LANES + v * WIDTH;                                                      \
                vec sum = acc[r][v];                                                                                   \
                if (accumulate) sum += load(place);                                                                    \
                if (factor != NULL) sum *= load(factor + v * WIDTH);                                                   \
                store(sum, place);                                                                                     \
            }                                                                                                          \
        }                                                                                                              \
    }
FOR_EACH_SIZE(DEFINE)
#undef DEFINE

static product_block *const product_blocks[][4] = TABLE(product);

/* Long sums are made of shorter ones, as in kernels/tile_products.c. */
static ALWAYS_INLINE void make_block(const panels *p, int64_t rows, int64_t depth, const float *queries,
                                     const char *keys, int64_t stride, float *to)
{
    const int64_t pairs = depth / 2, most = pairs > LONG ? SHORT : LONG;
    const float *factor = queries + (depth + 1) / 2 * ATTN_I_LANES;
    for (int64_t d = 0; d == 0 || d < pairs; d += most) {
        const int64_t n = pairs - d < most ? pairs - d : most;
        const int ends = d + n == pairs;
        const char *last = ends && depth % 2 != 0 ? keys + (depth - 1) * ELEMENT : NULL;
        for (int lane = p->lane; lane < p->end; lane += p->step) {
            product_blocks[p->index][rows / 2](n, queries + d * ATTN_I_LANES + lane, keys + d * PAIR, stride, last,
                                               ends ? factor + lane : NULL, to + lane, d > 0);
        }
    }
}

static void products(int64_t depth, const float *queries, attn_i_stored_rows keys, int64_t first, int64_t count,
                     attn_i_spans spans, float *to)
{
    const panels p = panels_of(spans);
    for (int64_t j = 0, n; j < count; j += n) {
        n = block_rows(count - j);
        make_block(&p, n, depth, queries, row_of(keys, first + j), keys.stride * ELEMENT, to + j * ATTN_I_LANES);
    }
}

static int weights(int64_t depth, const float *queries, attn_i_stored_rows keys, int64_t first, int64_t count,
                   attn_i_spans spans, const attn_i_exponent *exponent, const attn_i_lanes *state, int edges,
                   attn_i_fetch *fetch, float *to)
{
    const panels p = panels_of(spans);
    bits_vec powers = (bits_vec){0} + ROUND_BITS;
    for (int64_t j = 0, n; j < count; j += n) {
        float *place = to + j * ATTN_I_LANES;
        n = block_rows(count - j);
        make_block(&p, n, depth, queries, row_of(keys, first + j), keys.stride * ELEMENT, place);
        attn_i_fetch_step(fetch);
        powers = weigh(n, p.lane, p.end, exponent, state, (int32_t)(first + j), edges, place, powers);
    }
    return powers_fit(powers);
}

/* ----------------------------------------------------------------------------------------------- context */

/* Pairs of values of two rows, side by side; 0 is the partner of an odd one. */
static attn_i_stored_rows load_values(int64_t count, attn_i_stored_rows values, int64_t dim, float *to)
{
    enum { AT_ONCE = 2 * WIDTH };
    for (int64_t j = 0; j < count; j += 2) {
        const char *a = row_of(values, j), *b = row_of(values, j + 1 < count ? j + 1 : j);
        float *pairs = to + j / 2 * dim;
        int64_t d = 0;
        for (; d + AT_ONCE <= dim; d += AT_ONCE) {
            vec v[2] = {splat(0), splat(0)}, low, high;
            memcpy(&v[0], a + d * ELEMENT, sizeof v[0]);
            if (j + 1 < count) memcpy(&v[1], b + d * ELEMENT, sizeof v[1]);
            zip(v[0], v[1], &low, &high);
            store(low, pairs + d);
            store(high, pairs + d + WIDTH);
        }
        for (; d < dim; d++) {
            memcpy((char *)(pairs + d), a + d * ELEMENT, ELEMENT);
            memset((char *)(pairs + d) + ELEMENT, 0, ELEMENT);
            if (j + 1 < count) memcpy((char *)(pairs + d) + ELEMENT, b + d * ELEMENT, ELEMENT);
        }
    }
    return (attn_i_stored_rows){to, dim, 0};
}

static attn_i_stored_rows load_floats(int64_t count, attn_i_rows values, int64_t dim, float *to)
{
    for (int64_t j = 0; j < count; j += 2) {
        const float *row = values.data + j * values.stride;
        for (int64_t d = 0; d < dim; d += WIDTH) {
            const vec a = load_part(row + d, dim - d, 0);
            const vec b = j + 1 < count ? load_part(row + values.stride + d, dim - d, 0) : splat(0);
            store_part(pair_of(a, b), dim - d, to + j / 2 * dim + d);
        }
    }
    return (attn_i_stored_rows){to, dim, 0};
}

/* Weights become pairs, in place; adds them up as they are and as they become. */
static void round_weights(int64_t count, float *tile, int first, int end, float *sum, float *rounded_sum)
{
    const vec ones = pair_of(splat(1), splat(1));
    for (int lane = first; lane < end; lane += WIDTH) {
        vec even = splat(0), odd = splat(0), rounded = splat(0);
        for (int64_t j = 0; j < count; j += 2) {
            const vec a = load(tile + j * ATTN_I_LANES + lane);
            const vec b = j + 1 < count ? load(tile + (j + 1) * ATTN_I_LANES + lane) : splat(0);
            const vec pair = pair_of(a, b);
            even += a;
            odd += b;
            rounded = add_pair_products(rounded, pair, ones);
            store(pair, tile + j / 2 * ATTN_I_LANES + lane);
        }
        store(load(sum + lane) + (even + odd), sum + lane);
        store(load(rounded_sum + lane) + rounded, rounded_sum + lane);
    }
}

typedef void context_block(int64_t pairs, const float *weights, const float *values, int64_t stride, float *context);

#define DEFINE(rows_, vectors)                                                                                         \
    static void context_##rows_##_##vectors(int64_t pairs, const float *weights_, const float *values, int64_t stride, \
                                            float *context)                                                            \
    {                                                                                                                  \
        block acc;                                                                                                     \
        multiply(TILE_PAIR, rows_, vectors, pairs, weights_, (const char *)values, PAIR, stride *PAIR, acc);           \
        add_block(rows_, vectors, acc, context);                                                                       \
    }
FOR_EACH_SIZE(DEFINE)
#undef DEFINE

static context_block *const context_blocks[][4] = TABLE(context);

static void context(int64_t count, float *tile, attn_i_stored_rows values, int64_t first, int64_t dim,
                    attn_i_spans spans, float *to, float *sum)
{
    const panels p = panels_of(spans);
    const float *pairs = values.data; /* none where no element is wanted */
    if (dim > 0) pairs += first / 2 * values.stride;
    round_weights(count, tile, p.lane, p.end, sum, to + dim * ATTN_I_LANES);
    for (int64_t d = 0, n; d < dim; d += n) {
        n = block_rows(dim - d);
        for (int lane = p.lane; lane < p.end; lane += p.step) {
            context_blocks[p.index][n / 2]((count + 1) / 2, tile + lane, pairs + d, values.stride,
                                           to + d * ATTN_I_LANES + lane);
        }
    }
}

const attn_i_tile_arithmetic KERNEL(tile_bf16) = {.size = ELEMENT,
                                                  .rounds = 1,
                                                  .load_queries = load_queries,
                                                  .products = products,
                                                  .weights = weights,
                                                  .load_values = load_values,
                                                  .load_floats = load_floats,
                                                  .context = context};
