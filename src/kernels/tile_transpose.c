/* SPDX-License-Identifier: BSD-3-Clause
 *
 * tile_transpose.c: the kernels between rows of the caller's and lanes, by squares of WIDTH x WIDTH. */
#include "kernels/tile_math.h"
#include "kernels/tiles.h"

/* Exchanges, of two rows that lie `distance` apart in a square, what lies on the wrong side of its diagonal. */
#define EXCHANGE(distance, low, high)                                                                                  \
    UNROLL for (int i = 0; i < WIDTH; i++)                                                                             \
    {                                                                                                                  \
        if ((i & (distance)) == 0) {                                                                                   \
            const vec a = v[i], b = v[i + (distance)];                                                                 \
            v[i] = __builtin_shufflevector(a, b, low);                                                                 \
            v[i + (distance)] = __builtin_shufflevector(a, b, high);                                                   \
        }                                                                                                              \
    }
#define LIST(...) __VA_ARGS__

static ALWAYS_INLINE void transpose(vec v[WIDTH])
{
#if defined(__AVX512F__)
    EXCHANGE(1, LIST(0, 16, 2, 18, 4, 20, 6, 22, 8, 24, 10, 26, 12, 28, 14, 30),
             LIST(1, 17, 3, 19, 5, 21, 7, 23, 9, 25, 11, 27, 13, 29, 15, 31))
    EXCHANGE(2, LIST(0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29),
             LIST(2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31))
    EXCHANGE(4, LIST(0, 1, 2, 3, 16, 17, 18, 19, 8, 9, 10, 11, 24, 25, 26, 27),
             LIST(4, 5, 6, 7, 20, 21, 22, 23, 12, 13, 14, 15, 28, 29, 30, 31))
    EXCHANGE(8, LIST(0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23),
             LIST(8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31))
#elif defined(__AVX2__)
    EXCHANGE(1, LIST(0, 8, 2, 10, 4, 12, 6, 14), LIST(1, 9, 3, 11, 5, 13, 7, 15))
    EXCHANGE(2, LIST(0, 1, 8, 9, 4, 5, 12, 13), LIST(2, 3, 10, 11, 6, 7, 14, 15))
    EXCHANGE(4, LIST(0, 1, 2, 3, 8, 9, 10, 11), LIST(4, 5, 6, 7, 12, 13, 14, 15))
#else
    EXCHANGE(1, LIST(0, 4, 2, 6), LIST(1, 5, 3, 7))
    EXCHANGE(2, LIST(0, 1, 4, 5), LIST(2, 3, 6, 7))
#endif
}

void KERNEL(to_lanes)(int64_t lanes, int64_t n, const float *const *rows, float factor, float *tile)
{
    const int64_t end = (lanes + ATTN_I_SPAN_LANES - 1) / ATTN_I_SPAN_LANES * ATTN_I_SPAN_LANES;
    for (int64_t l = 0; l < end; l += WIDTH) {
        for (int64_t d = 0; d < n; d += WIDTH) {
            vec v[WIDTH];
            UNROLL for (int i = 0; i < WIDTH; i++)
            {
                v[i] = l + i < lanes ? load_part(rows[l + i] + d, n - d, 0) * factor : splat(0);
            }
            transpose(v);
            UNROLL for (int i = 0; i < WIDTH; i++)
            {
                if (d + i < n) store(v[i], tile + (d + i) * ATTN_I_LANES + l);
            }
        }
    }
}

void KERNEL(from_lanes)(int64_t lanes, int64_t n, const float *tile, const float *factor, float *const *rows)
{
    for (int64_t l = 0; l < lanes; l += WIDTH) {
        const vec f = load(factor + l);
        for (int64_t d = 0; d < n; d += WIDTH) {
            vec v[WIDTH];
            UNROLL for (int i = 0; i < WIDTH; i++)
            {
                v[i] = d + i < n ? load(tile + (d + i) * ATTN_I_LANES + l) * f : splat(0);
            }
            transpose(v);
            UNROLL for (int i = 0; i < WIDTH; i++)
            {
                if (l + i < lanes) store_part(v[i], n - d, rows[l + i] + d);
            }
        }
    }
}
