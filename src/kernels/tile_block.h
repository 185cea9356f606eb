/* SPDX-License-Identifier: BSD-3-Clause
 *
 * kernels/tile_block.h: the inner loop of products of rows with lanes: blocks of rows and vectors that fill the
 * registers; an element of a row is broadcast from where it lies. */
#ifndef ATTN_I_KERNELS_TILE_BLOCK_H
#define ATTN_I_KERNELS_TILE_BLOCK_H

#include "kernels/pairs.h"
#include "kernels/tile_math.h"

#if defined(__aarch64__)
#include <arm_neon.h>
#endif

/* The sizes of blocks: rows of 6, 4, 2 and 1, and as many vectors as there are spans where a span is a vector,
 * otherwise what the registers hold beside the operands. */
enum { MOST_ROWS = ATTN_I_BLOCK_ROWS, MOST_VECTORS = 4, UNROLLED = 4 };
#if defined(__AVX512F__)
enum { PANEL = 0 };
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
#define FOR_EACH_SIZE(define) define(6, 4) define(4, 4) define(2, 4) define(1, 4)
#define TABLE(name)                                                                                                    \
    {                                                                                                                  \
        {name##_1_4, name##_2_4, name##_4_4, name##_6_4},                                                              \
    }
#else
enum { PANEL = 2 };
#define FOR_EACH_SIZE(define) define(6, 2) define(4, 2) define(2, 2) define(1, 2)
#define TABLE(name)                                                                                                    \
    {                                                                                                                  \
        {name##_1_2, name##_2_2, name##_4_2, name##_6_2},                                                              \
    }
#endif

typedef vec block[MOST_ROWS][MOST_VECTORS];

/* What is multiplied at a time: a float32; or a pair of bfloat16, each with its counterpart, both added. */
typedef enum tile_element { TILE_FLOAT, TILE_PAIR } tile_element;

/* a b + c, rounded once where the set has that. Said, and not left to the compiler: a row's products have the same bits
 * in a block of any size, whatever is contracted elsewhere, so that keys of a memory do not depend on how many were
 * appended at a time. */
static ALWAYS_INLINE vec multiply_add(tile_element element, vec a, vec b, vec c)
{
    if (element == TILE_PAIR) return add_pair_products(c, a, b);
#if defined(__AVX512F__)
    return (vec)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined(__FMA__)
    return (vec)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#elif defined(__aarch64__)
    return (vec)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
#else
    return a * b + c;
#endif
}

/* In all lanes. */
static ALWAYS_INLINE vec spread(tile_element element, const char *a)
{
    if (element == TILE_PAIR) return spread_pair(a);
    return splat(*(const float *)(const void *)a);
}

/* One element of each row, times the lanes; that of row r lies r row_step bytes behind a. */
static ALWAYS_INLINE void step(tile_element element, int rows, int vectors, const float *lanes, const char *a,
                               int64_t row_step, block acc)
{
    vec b[MOST_VECTORS];
    UNROLL for (int v = 0; v < vectors; v++)
    {
        b[v] = load(lanes + v * WIDTH);
        IN_REGISTER(b[v]);
    }
    UNROLL for (int r = 0; r < rows; r++)
    {
        vec one = spread(element, a + r * row_step);
        IN_REGISTER(one);
        UNROLL for (int v = 0; v < vectors; v++) acc[r][v] = multiply_add(element, one, b[v], acc[r][v]);
    }
}

/* acc = rows x lanes; element d of row r lies r row_step + d depth_step bytes behind a. What is left over from whole
 * steps comes first, so that the accumulators stay where the loop has them. */
static ALWAYS_INLINE void multiply(tile_element element, int rows, int vectors, int64_t depth, const float *lanes,
                                   const char *a, int64_t row_step, int64_t depth_step, block acc)
{
    const float *end = lanes + depth * ATTN_I_LANES;
    UNROLL for (int r = 0; r < rows; r++)
    {
        UNROLL for (int v = 0; v < vectors; v++) acc[r][v] = splat(0);
    }
    NOT_UNROLLED for (int64_t d = depth % UNROLLED; d > 0; d--)
    {
        step(element, rows, vectors, lanes, a, row_step, acc);
        lanes += ATTN_I_LANES;
        a += depth_step;
    }
    while (lanes != end) {
        UNROLL for (int u = 0; u < UNROLLED; u++)
        {
            step(element, rows, vectors, lanes + u * ATTN_I_LANES, a, row_step, acc);
            a += depth_step;
            OPAQUE(a);
        }
        lanes += UNROLLED * ATTN_I_LANES;
    }
}

/* What a block came to is added to rows of lanes. */
static ALWAYS_INLINE void add_block(int rows, int vectors, block acc, float *to)
{
    UNROLL for (int r = 0; r < rows; r++)
    {
        UNROLL for (int v = 0; v < vectors; v++)
        {
            float *place = to + r * ATTN_I_LANES + v * WIDTH;
            store(load(place) + acc[r][v], place);
        }
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

#endif
