/* SPDX-License-Identifier: BSD-3-Clause
 *
 * kernels/factored_tanh_gradient.c: the kernel of the additive score's gradients in factored form. With A = exp(2 q)
 * and B = exp(2 k), r = 1 / (A B + 1) gives t = tanh(q + k) as 1 - 2 r, and 1 - t^2 as 4 (r - r^2), in which nothing
 * cancels where r is small: a reciprocal per query, key and element, and no tensor of them. Where a key is near 0, and
 * t perhaps too, A and B are there less 1, and t is (A B - 1) r, see factored_tanh.c. A block of queries and keys goes
 * along the rows, so that what it reads and writes is next to each other. */
#include "kernels/tile_math.h"
#include "kernels/tiles.h"

enum { MOST = 4 }; /* queries, or keys, of a block */

static ALWAYS_INLINE vec reciprocal(vec x)
{
#if defined(__AVX512F__)
    const vec r = (vec)_mm512_rcp14_ps((__m512)x);
    return r + r * (1 - x * r);
#else
    return 1 / x;
#endif
}

typedef struct sums {
    float *query, *key, *v;
    int64_t query_stride, key_stride;
} sums;

static ALWAYS_INLINE void add_block(int queries, int keys, int near, int64_t hidden, const float *weights,
                                    attn_i_rows query, attn_i_rows key, const float *d_scores, sums to)
{
    float d_sum = 0;
    for (int j = 0; j < keys; j++) {
        for (int i = 0; i < queries; i++) d_sum += d_scores[j * ATTN_I_LANES + i];
    }
    for (int64_t a = 0; a < hidden; a += WIDTH) {
        vec from[MOST], of_query[MOST], of_v[2] = {splat(0), splat(0)}; /* sums of d t if near, else of d r */
        const vec w = 4 * load(weights + a);
        UNROLL for (int i = 0; i < queries; i++)
        {
            from[i] = load(query.data + i * query.stride + a);
            of_query[i] = splat(0);
        }
        UNROLL for (int j = 0; j < keys; j++)
        {
            const vec b = load(key.data + j * key.stride + a), b_whole = near ? b + 1 : b;
            vec of_key = splat(0);
            UNROLL for (int i = 0; i < queries; i++)
            {
                const vec d = splat(d_scores[j * ATTN_I_LANES + i]);
                if (near) {
                    const vec up = from[i] * b_whole + b, r = reciprocal(up + 2), part = d * r, slope = part - part * r;
                    of_v[i % 2] += part * up;
                    of_query[i] += slope;
                    of_key += slope;
                    continue;
                }
                const vec r = reciprocal(from[i] * b + 1);
                const vec slope = r - r * r;
                of_v[i % 2] += d * r;
                of_query[i] += d * slope;
                of_key += d * slope;
            }
            float *place = to.key + j * to.key_stride + a;
            store(load(place) + w * of_key, place);
        }
        UNROLL for (int i = 0; i < queries; i++)
        {
            float *place = to.query + i * to.query_stride + a;
            store(load(place) + w * of_query[i], place);
        }
        const vec all = of_v[0] + of_v[1];
        store(load(to.v + a) + (near ? all : d_sum - 2 * all), to.v + a);
    }
}

#define BLOCKS(queries)                                                                                                \
    for (int64_t j = 0, n; j < count; j += n) {                                                                        \
        const attn_i_rows some = attn_i_rows_from(keys, j);                                                            \
        const float *d = d_scores + j * ATTN_I_LANES;                                                                  \
        sums part = to;                                                                                                \
        part.key += j * to.key_stride;                                                                                 \
        n = count - j >= 4 ? 4 : 1;                                                                                    \
        if (n == 4 && near) add_block(queries, 4, 1, hidden, weights, query, some, d, part);                           \
        if (n == 1 && near) add_block(queries, 1, 1, hidden, weights, query, some, d, part);                           \
        if (n == 4 && !near) add_block(queries, 4, 0, hidden, weights, query, some, d, part);                          \
        if (n == 1 && !near) add_block(queries, 1, 0, hidden, weights, query, some, d, part);                          \
    }

void KERNEL(factored_tanh_gradients)(int64_t hidden, int near, const float *weights, attn_i_rows queries, int64_t rows,
                                     attn_i_rows keys, int64_t count, const float *d_scores, float *d_queries,
                                     int64_t d_query_stride, float *d_keys, int64_t d_key_stride, float *d_weights)
{
    for (int64_t i = 0; i < rows;) {
        const attn_i_rows query = attn_i_rows_from(queries, i);
        const sums to = {d_queries + i * d_query_stride, d_keys, d_weights, d_query_stride, d_key_stride};
        if (rows - i >= 4) {
            BLOCKS(4)
            i += 4;
            d_scores += 4;
        } else {
            BLOCKS(1)
            i += 1;
            d_scores += 1;
        }
    }
}
