/* SPDX-License-Identifier: BSD-3-Clause
 *
 * kernels/tile_products.c: the kernels that do the work: products of rows with lanes, as they are or as weights, and
 * the context. Each goes by blocks of rows and vectors that fill the registers; a row's element is broadcast from where
 * it lies. */
#include "kernels/tile_math.h"
#include "kernels/tiles.h"

/* The sizes of blocks: rows of 6, 4, 2 and 1, and as many vectors as there are spans where a span is a vector,
 * otherwise what the registers hold beside the operands. */
enum { MOST_ROWS = ATTN_I_BLOCK_ROWS, MOST_VECTORS = 4, LAST = 4, UNROLLED = 4 };
#if defined(__AVX512F__)
enum { PANEL = 0 };
#define DEFINE_LASTS DEFINE_LAST(4, 1) DEFINE_LAST(4, 2) DEFINE_LAST(4, 3) DEFINE_LAST(4, 4)
#define LASTS                                                                                                          \
    {                                                                                                                  \
        last_4_1, last_4_2, last_4_3, last_4_4                                                                         \
    }
#define FOR_EACH_SIZE(define)                                                                                          \
    define(6, 1) define(4, 1) define(2, 1) define(1, 1) define(6, 2) define(4, 2) define(2, 2) define(1, 2)            \
        define(6, 3) define(4, 3) define(2, 3) define(1, 3) define(6, 4) define(4, 4) define(2, 4) define(1, 4)
#define TABLE(name)                                                                                                    \
    {                                                                                                                  \
        {name##_1_1, name##_2_1, name##_4_1, name##_6_1}, {name##_1_2, name##_2_2, name##_4_2, name##_6_2},            \
            {name##_1_3, name##_2_3, name##_4_3, name##_6_3}, {name##_1_4, name##_2_4, name##_4_4, name##_6_4},        \
    }
#elif defined(__aarch64__)
enum { PANEL = 4 };
#define DEFINE_LASTS DEFINE_LAST(4, 4)
#define LASTS                                                                                                          \
    {                                                                                                                  \
        last_4_4                                                                                                       \
    }
#define FOR_EACH_SIZE(define) define(6, 4) define(4, 4) define(2, 4) define(1, 4)
#define TABLE(name)                                                                                                    \
    {                                                                                                                  \
        {name##_1_4, name##_2_4, name##_4_4, name##_6_4},                                                              \
    }
#else
enum { PANEL = 2 };
#define DEFINE_LASTS DEFINE_LAST(4, 2)
#define LASTS                                                                                                          \
    {                                                                                                                  \
        last_4_2                                                                                                       \
    }
#define FOR_EACH_SIZE(define) define(6, 2) define(4, 2) define(2, 2) define(1, 2)
#define TABLE(name)                                                                                                    \
    {                                                                                                                  \
        {name##_1_2, name##_2_2, name##_4_2, name##_6_2},                                                              \
    }
#endif

typedef vec block[MOST_ROWS][MOST_VECTORS];

/* One element of each row, times the lanes; that of row r is a[r row_step]. */
static ALWAYS_INLINE void step(int rows, int vectors, const float *lanes, const float *a, int64_t row_step, block acc)
{
    vec b[MOST_VECTORS];
    UNROLL for (int v = 0; v < vectors; v++)
    {
        b[v] = load(lanes + v * WIDTH);
        IN_REGISTER(b[v]);
    }
    UNROLL for (int r = 0; r < rows; r++)
    {
        vec one = splat(a[r * row_step]);
        IN_REGISTER(one);
        UNROLL for (int v = 0; v < vectors; v++) acc[r][v] += one * b[v];
    }
}

/* acc = rows x lanes; element d of row r is a[r row_step + d depth_step]. What is left over from whole steps comes
 * first, so that the accumulators stay where the loop has them. */
static ALWAYS_INLINE void multiply(int rows, int vectors, int64_t depth, const float *lanes, const float *a,
                                   int64_t row_step, int64_t depth_step, block acc)
{
    const float *end = lanes + depth * ATTN_I_LANES;
    UNROLL for (int r = 0; r < rows; r++)
    {
        UNROLL for (int v = 0; v < vectors; v++) acc[r][v] = splat(0);
    }
    NOT_UNROLLED for (int64_t d = depth % UNROLLED; d > 0; d--)
    {
        step(rows, vectors, lanes, a, row_step, acc);
        lanes += ATTN_I_LANES;
        a += depth_step;
    }
    while (lanes != end) {
        UNROLL for (int u = 0; u < UNROLLED; u++)
        {
            step(rows, vectors, lanes + u * ATTN_I_LANES, a, row_step, acc);
            a += depth_step;
            OPAQUE(a);
        }
        lanes += UNROLLED * ATTN_I_LANES;
    }
}

/* The rows of the next block where n are left. n / 2 is the place of that number in a TABLE. */
static int block_rows(int64_t n)
{
    return n >= 6 && n != 8 ? 6 : n >= 4 ? 4 : n >= 2 ? 2 : 1;
}

/* Panels of lanes: vectors `vectors` from lane `lane` on. */
typedef struct panels {
    int lane, end, step, index;
} panels;

static panels panels_of(attn_i_spans spans)
{
    const int lane = spans.first * ATTN_I_SPAN_LANES, end = spans.end * ATTN_I_SPAN_LANES;
    if (PANEL == 0) return (panels){lane, end, end - lane, spans.end - spans.first - 1};
    return (panels){lane, end, PANEL * WIDTH, 0};
}

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
        multiply(rows_, vectors, depth, lanes, rows.data, rows.stride, 1, acc);                                        \
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

/* A block's products, just written, become weights. key: of its first row, as the lanes count keys. plain: the
 * exponents are the products. */
static ALWAYS_INLINE bits_vec weigh_block(int rows, int64_t lane, int64_t end, const attn_i_exponent *exponent,
                                          const attn_i_lanes *state, int32_t key, int plain, int edges, float *tile,
                                          bits_vec powers)
{
    for (; lane < end; lane += WIDTH) {
        const vec reference = load(state->reference + lane), floor = reference - splat(ATTN_I_ROOM);
        const vec offset = power_offset(reference);
        UNROLL for (int r = 0; r < rows; r++)
        {
            float *place = tile + r * ATTN_I_LANES + lane;
            vec x = load(place);
            if (!plain && exponent->cap != 0) x = splat(exponent->cap) * vec_tanh(x);
            if (!plain && exponent->slope != NULL) {
                x -= load(exponent->slope + lane) * magnitude(load(exponent->distance + lane) + (float)(key + r));
            }
            truth unseen = {0};
            if (edges) {
                unseen = unseen_by(state, lane, key + r);
                x = choose(unseen, floor, x);
            }
            const vec weight = power_above(x, floor, offset, &powers);
            store(edges ? choose(unseen, splat(0), weight) : weight, place);
        }
    }
    return powers;
}

#define WEIGH(rows) weigh_block(rows, lane, end, exponent, state, key, plain, edges, tile, powers)
static ALWAYS_INLINE bits_vec weigh_rows(int64_t rows, int64_t lane, int64_t end, const attn_i_exponent *exponent,
                                         const attn_i_lanes *state, int32_t key, int plain, int edges, float *tile,
                                         bits_vec powers)
{
    return rows == 6 ? WEIGH(6) : rows == 4 ? WEIGH(4) : rows == 2 ? WEIGH(2) : WEIGH(1);
}

#define WEIGH_ROWS(plain, edges) weigh_rows(rows, lane, end, exponent, state, key, plain, edges, tile, powers)
static bits_vec weigh(int64_t rows, int64_t lane, int64_t end, const attn_i_exponent *exponent,
                      const attn_i_lanes *state, int32_t key, int edges, float *tile, bits_vec powers)
{
    const int plain = exponent->cap == 0 && exponent->slope == NULL;
    if (plain) return edges ? WEIGH_ROWS(1, 1) : WEIGH_ROWS(1, 0);
    return edges ? WEIGH_ROWS(0, 1) : WEIGH_ROWS(0, 0);
}

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
        multiply(rows_, vectors, count, weights, values, 1, stride, acc);                                              \
        UNROLL for (int r = 0; r < rows_; r++)                                                                         \
        {                                                                                                              \
            UNROLL for (int v = 0; v < vectors; v++)                                                                   \
            {                                                                                                          \
                float *place = context + r * ATTN_I_LANES + v * WIDTH;                                                 \
                store(load(place) + acc[r][v], place);                                                                 \
            }                                                                                                          \
        }                                                                                                              \
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
            step(rows_, vectors, weights, values, 1, acc);                                                             \
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
