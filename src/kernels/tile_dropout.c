/* SPDX-License-Identifier: BSD-3-Clause
 *
 * kernels/tile_dropout.c: the kernel that drops weights of a tile: a lane of Philox for each query. */
#include "kernels/philox.h"
#include "kernels/tile_math.h"
#include "kernels/tiles.h"

/* The 64 bits of a x, x in the even lanes; then in the odd ones. */
typedef uint64_t wide_vec __attribute__((vector_size(VECTOR_BYTES)));

static ALWAYS_INLINE wide_vec multiply_even(bits_vec x, uint32_t a)
{
#if defined(__AVX512F__)
    return (wide_vec)_mm512_mul_epu32((__m512i)x, _mm512_set1_epi32((int)a));
#elif defined(__AVX2__)
    return (wide_vec)_mm256_mul_epu32((__m256i)x, _mm256_set1_epi32((int)a));
#elif defined(__SSE2__)
    return (wide_vec)_mm_mul_epu32((__m128i)x, _mm_set1_epi32((int)a));
#else
    return ((wide_vec)x & 0xFFFFFFFFU) * a;
#endif
}

/* The low and high halves of a x. Lanes come in pairs, the even one first in memory. */
static ALWAYS_INLINE void multiply_words(bits_vec x, uint32_t a, bits_vec *low, bits_vec *high)
{
    const wide_vec upper = (wide_vec){0} + 0xFFFFFFFF00000000U;
    const wide_vec even = multiply_even(x, a), odd = multiply_even((bits_vec)((wide_vec)x >> 32), a);
    *low = (bits_vec)((even & ~upper) | (odd << 32));
    *high = (bits_vec)((even >> 32) | (odd & upper));
}

static ALWAYS_INLINE void draw_words(uint64_t seed, bits_vec row_low, bits_vec row_high, int64_t block,
                                     bits_vec word[ATTN_I_PHILOX_WORDS])
{
    uint32_t low = (uint32_t)seed, high = (uint32_t)(seed >> 32);
    word[0] = (bits_vec){0} + (uint32_t)block;
    word[1] = row_low;
    word[2] = row_high;
    word[3] = (bits_vec){0} + (uint32_t)((uint64_t)block >> 32);
    UNROLL for (int round = 0; round < ATTN_I_PHILOX_ROUNDS; round++)
    {
        bits_vec a_low, a_high, b_low, b_high;
        multiply_words(word[0], ATTN_I_PHILOX_A, &a_low, &a_high);
        multiply_words(word[2], ATTN_I_PHILOX_B, &b_low, &b_high);
        word[0] = b_high ^ word[1] ^ low;
        word[2] = a_high ^ word[3] ^ high;
        word[1] = b_low;
        word[3] = a_low;
        low += ATTN_I_WEYL_A;
        high += ATTN_I_WEYL_B;
    }
}

void KERNEL(tile_drop)(int64_t count, attn_i_spans spans, const attn_i_draw *draw, const uint64_t *row,
                       int64_t first_key, float *tile)
{
    for (int lane = spans.first * ATTN_I_SPAN_LANES; lane < spans.end * ATTN_I_SPAN_LANES; lane += WIDTH) {
        bits low[WIDTH], high[WIDTH];
        bits_vec row_low, row_high, word[ATTN_I_PHILOX_WORDS] = {{0}};
        for (int l = 0; l < WIDTH; l++) {
            const uint64_t of = draw->offset + row[lane + l];
            low[l] = (bits)of;
            high[l] = (bits)(of >> 32);
        }
        memcpy(&row_low, low, sizeof low);
        memcpy(&row_high, high, sizeof high);
        for (int64_t j = 0; j < count; j++) {
            const int64_t key = first_key + j;
            if (j == 0 || key % ATTN_I_PHILOX_WORDS == 0) {
                draw_words(draw->seed, row_low, row_high, key / ATTN_I_PHILOX_WORDS, word);
            }
            float *place = tile + j * ATTN_I_LANES + lane;
            const truth dropped = word[key % ATTN_I_PHILOX_WORDS] < (bits_vec){0} + draw->threshold;
            store(choose(dropped, splat(0), load(place)), place);
        }
    }
}
