/* SPDX-License-Identifier: BSD-3-Clause
 *
 * kernels/tile_products.c: the kernels that do the work: products of rows with lanes, as they are or as weights, and
 * the context. Each goes by blocks of rows and vectors that fill the registers; a row's element is broadcast from where
 * it lies. */
#include "kernels/tile_block.h"
#include "kernels/tile_weigh.h"
#include "kernels/tiles.h"

enum { LAST = 4 };
#if defined(__AVX512F__)
#define DEFINE_LASTS DEFINE_LAST(4, 1) DEFINE_LAST(4, 2) DEFINE_LAST(4, 3) DEFINE_LAST(4, 4)
#define LASTS                                                                                                          \
    {                                                                                                                  \
        last_4_1, last_4_2, last_4_3, last_4_4                                                                         \
    }
#elif defined(__aarch64__)
#define DEFINE_LASTS DEFINE_LAST(4, 4)
#define LASTS                                                                                                          \
    {                                                                                                                  \
        last_4_4                                                                                                       \
    }
#else
#define DEFINE_LASTS DEFINE_LAST(4, 2)
#define LASTS                                                                                                          \
    {                                                                                                                  \
        last_4_2                                                                                                       \
    }
#endif

/* Elements and strides of float32, in bytes. */
enum { ELEMENT = sizeof(float) };

/* ---------------------------------------------------------------------------------------------- products */

typedef void product_block(int64_t depth, const float *lanes, attn_i_rows rows, float *to, int64_t to_stride,
                           int accumulate);

#define DEFINE(rows_, vectors)                                                                                         \
    static void product_##rows_##_##vectors(int64_t depth, const float *lanes, attn_i_rows rows, float *to,            \
                                            int64_t to_stride, int accumulate)                                         \
    {                                                                                                                  \
        block acc;                                                                                                     \
        UNROLL for (int r = 0; r < rows_ && accumulate; r++)                                                           \
        {                                                                                                              \
            UNROLL for (int v = 0; v < vectors; v++) __builtin_prefetch(to + r * to_stride + v * WIDTH, 1);            \
        }                                                                                                              \
        multiply(TILE_FLOAT, rows_, vectors, depth, lanes, (const char *)rows.data, rows.stride *ELEMENT, ELEMENT,     \
                 acc);                                                                                                 \
        UNROLL for (int r = 0; r < rows_; r++)                                                                         \
        {                                                                                                              \
            UNROLL for (int v = 0; v < vectors; v++)                                                                   \
            {                                                                                                          \
                float *place = to + r * to_stride + v * WIDTH;                                                         \
                store(accumulate ? load(place) + acc[r][v] : acc[r][v], place);                                        \
            }                                                                                                          \
        }                                                                                                              \
    }
FOR_EACH_SIZE(DEFINE)
#undef DEFINE

static product_block *const product_blocks[][4] = TABLE(product);

/* A block of products. Long sums are made of shorter ones, or their roundings would add up: with 1000 terms to three
 * times the error. */
static ALWAYS_INLINE void make_block(const panels *p, int64_t rows, int64_t depth, const float *lanes, attn_i_rows from,
                                     float *to, int64_t to_stride, int accumulate)
{
    enum { LONG = 512, SHORT = 128 };
    const int64_t most = depth > LONG ? SHORT : LONG;
    for (int64_t d = 0; d == 0 || d < depth; d += most) {
        const int64_t n = depth - d < most ? depth - d : most;
        const attn_i_rows part = {from.data + d, from.stride};
        for (int lane = p->lane; lane < p->end; lane += p->step) {
            product_blocks[p->index][rows / 2](n, lanes + d * ATTN_I_LANES + lane, part, to + lane, to_stride,
                                               accumulate || d > 0);
        }
    }
}

void KERNEL(products)(int64_t depth, const float *lanes, attn_i_rows rows, int64_t count, attn_i_spans spans, float *to,
                      int64_t to_stride, int accumulate)
{
    const panels p = panels_of(spans);
    for (int64_t i = 0, n; i < count; i += n) {
        n = block_rows(count - i);
        const attn_i_rows from = {rows.data + i * rows.stride, rows.stride};
        make_block(&p, n, depth, lanes, from, to + i * to_stride, to_stride, accumulate);
    }
}

/* ----------------------------------------------------------------------------------------------- weights */

int KERNEL(weights)(int64_t depth, const float *lanes, attn_i_rows keys, int64_t count, attn_i_spans spans,
                    const attn_i_exponent *exponent, const attn_i_lanes *state, int64_t first_key, int edges,
                    attn_i_fetch *fetch, float *to)
{
    const panels p = panels_of(spans);
    bits_vec powers = (bits_vec){0} + ROUND_BITS;
    for (int64_t j = 0, n; j < count; j += n) {
        n = block_rows(count - j);
        const attn_i_rows from = {keys.data + j * keys.stride, keys.stride};
        make_block(&p, n, depth, lanes, from, to + j * ATTN_I_LANES, ATTN_I_LANES, 0);
        attn_i_fetch_step(fetch);
        powers =
            weigh(n, p.lane, p.end, exponent, state, (int32_t)(first_key + j), edges, to + j * ATTN_I_LANES, powers);
    }
    return powers_fit(powers);
}

void KERNEL(gradients)(int64_t depth, const float *lanes, attn_i_rows rows, int64_t count, attn_i_spans spans,
                       const float *weights, const float *mean, float *to)
{
    const panels p = panels_of(spans);
    for (int64_t j = 0, n; j < count; j += n) {
        n = block_rows(count - j);
        const attn_i_rows from = {rows.data + j * rows.stride, rows.stride};
        make_block(&p, n, depth, lanes, from, to + j * ATTN_I_LANES, ATTN_I_LANES, 0);
        for (int64_t r = j; r < j + n; r++) {
            for (int lane = p.lane; lane < p.end; lane += WIDTH) {
                float *place = to + r * ATTN_I_LANES + lane;
                const vec weight = load(weights + r * ATTN_I_LANES + lane);
                const vec d = weight * (load(place) - load(mean + lane));
                store(choose(weight == splat(0), splat(0), d), place);
            }
        }
    }
}

/* ----------------------------------------------------------------------------------------------- context */

typedef void context_block(int64_t count, const float *weights, const float *values, int64_t stride, float *context);

#define DEFINE(rows_, vectors)                                                                                         \
    static void context_##rows_##_##vectors(int64_t count, const float *weights, const float *values, int64_t stride,  \
                                            float *context)                                                            \
    {                                                                                                                  \
        block acc;                                                                                                     \
        multiply(TILE_FLOAT, rows_, vectors, count, weights, (const char *)values, ELEMENT, stride *ELEMENT, acc);     \
        add_block(rows_, vectors, acc, context);                                                                       \
    }
FOR_EACH_SIZE(DEFINE)
#undef DEFINE

static context_block *const context_blocks[][4] = TABLE(context);

/* The last block of 4, which also adds up the weights. */
#define DEFINE_LAST(rows_, vectors)                                                                                    \
    static void last_##rows_##_##vectors(int64_t count, const float *weights, const float *values, int64_t stride,     \
                                         float *context, float *sum)                                                   \
    {                                                                                                                  \
        vec total[MOST_VECTORS];                                                                                       \
        block acc;                                                                                                     \
        UNROLL for (int v = 0; v < vectors; v++) total[v] = splat(0);                                                  \
        UNROLL for (int r = 0; r < rows_; r++)                                                                         \
        {                                                                                                              \
            UNROLL for (int v = 0; v < vectors; v++) acc[r][v] = splat(0);                                             \
        }                                                                                                              \
        for (int64_t j = 0; j < count; j++) {                                                                          \
            UNROLL for (int v = 0; v < vectors; v++) total[v] += load(weights + v * WIDTH);                            \
            step(TILE_FLOAT, rows_, vectors, weights, (const char *)values, ELEMENT, acc);                             \
            weights += ATTN_I_LANES;                                                                                   \
            values += stride;                                                                                          \
        }                                                                                                              \
        UNROLL for (int v = 0; v < vectors; v++)                                                                       \
        {                                                                                                              \
            store(load(sum + v * WIDTH) + total[v], sum + v * WIDTH);                                                  \
            UNROLL for (int r = 0; r < rows_; r++)                                                                     \
            {                                                                                                          \
                float *place = context + r * ATTN_I_LANES + v * WIDTH;                                                 \
                store(load(place) + acc[r][v], place);                                                                 \
            }                                                                                                          \
        }                                                                                                              \
    }
DEFINE_LASTS
static void (*const last_blocks[])(int64_t, const float *, const float *, int64_t, float *, float *) = LASTS;

static void add_up(int64_t count, const float *weights, int lane, float *sum)
{
    vec even = splat(0), odd = splat(0);
    int64_t j = 0;
    for (; j + 1 < count; j += 2) {
        even += load(weights + j * ATTN_I_LANES + lane);
        odd += load(weights + (j + 1) * ATTN_I_LANES + lane);
    }
    if (j < count) even += load(weights + j * ATTN_I_LANES + lane);
    store(load(sum + lane) + (even + odd), sum + lane);
}

void KERNEL(context)(int64_t count, const float *weights, attn_i_rows values, int64_t dim, attn_i_spans spans,
                     float *context, float *sum)
{
    const panels p = panels_of(spans);
    const int64_t last = dim >= LAST ? dim - LAST : dim; /* where the weights are added up on the way */
    for (int64_t d = 0, n; d < last; d += n) {
        n = block_rows(last - d);
        for (int lane = p.lane; lane < p.end; lane += p.step) {
            context_blocks[p.index][n / 2](count, weights + lane, values.data + d, values.stride,
                                           context + d * ATTN_I_LANES + lane);
        }
    }
    for (int lane = p.lane; lane < p.end && dim < LAST; lane += WIDTH) add_up(count, weights, lane, sum);
    for (int lane = p.lane; lane < p.end && dim >= LAST; lane += p.step) {
        last_blocks[p.index](count, weights + lane, values.data + last, values.stride,
                             context + last * ATTN_I_LANES + lane, sum + lane);
    }
}
