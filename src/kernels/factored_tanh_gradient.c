/* SPDX-License-Identifier: BSD-3-Clause
 *
 * kernels/factored_tanh_gradient.c: the kernel of the additive score's gradients in factored form. With A = exp(2 q)
 * and B = exp(2 k), r = 1 / (A B + 1) gives t = tanh(q + k) as 1 - 2 r, and 1 - t^2 as 4 (r - r^2), in which nothing
 * cancels where r is small: a reciprocal per query, key and element, and no tensor of them. A block of queries and keys
 * goes along the rows, so that what it reads and writes is next to each other. */
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

static ALWAYS_INLINE void add_block(int queries, int keys, int64_t hidden, const float *weights, attn_i_rows query,
                                    attn_i_rows key, const float *d_scores, sums to)
{
    float d_sum = 0;
    for (int j = 0; j < keys; j++) {
        for (int i = 0; i < queries; i++) d_sum += d_scores[j * ATTN_I_LANES + i];
    }
    for (int64_t a = 0; a < hidden; a += WIDTH) {
        vec from[MOST], of_query[MOST], d_r[2] = {splat(0), splat(0)};
        const vec w = 4 * load(weights + a);
        UNROLL for (int i = 0; i < queries; i++)
        {
            from[i] = load(query.data + i * query.stride + a);
            of_query[i] = splat(0);
        }
        UNROLL for (int j = 0; j < keys; j++)
        {
            const vec b = load(key.data + j * key.stride + a);
            vec of_key = splat(0);
            UNROLL for (int i = 0; i < queries; i++)
            {
                const vec d = splat(d_scores[j * ATTN_I_LANES + i]), r = reciprocal(from[i] * b + 1);
                const vec slope = r - r * r;
                d_r[i % 2] += d * r;
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
        store(load(to.v + a) + (d_sum - 2 * (d_r[0] + d_r[1])), to.v + a);
    }
}

#define BLOCKS(queries)                                                                                                \
    for (int64_t j = 0, n; j < count; j += n) {                                                                        \
        const attn_i_rows some = attn_i_rows_from(keys, j);                                                            \
        const float *d = d_scores + j * ATTN_I_LANES;                                                                  \
        sums part = to;                                                                                                \
        part.key += j * to.key_stride;                                                                                 \
        n = count - j >= 4 ? 4 : 1;                                                                                    \
        if (n == 4) add_block(queries, 4, hidden, weights, query, some, d, part);                                      \
        if (n == 1) add_block(queries, 1, hidden, weights, query, some, d, part);                                      \
    }

void KERNEL(factored_tanh_gradients)(int64_t hidden, const float *weights, attn_i_rows queries, int64_t rows,
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
