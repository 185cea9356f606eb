/* SPDX-License-Identifier: BSD-3-Clause
 *
 * kernels/philox.h: Philox4x32-10, a random function of a counter and a key (Salmon, Moraes, Dror and Shaw, "Parallel
 * random numbers: as easy as 1, 2, 3", 2011). */
#ifndef ATTN_I_KERNELS_PHILOX_H
#define ATTN_I_KERNELS_PHILOX_H

#include <stdint.h>

#define ATTN_I_PHILOX_A 0xD2511F53U
#define ATTN_I_PHILOX_B 0xCD9E8D57U
#define ATTN_I_WEYL_A   0x9E3779B9U
#define ATTN_I_WEYL_B   0xBB67AE85U
enum { ATTN_I_PHILOX_ROUNDS = 10, ATTN_I_PHILOX_WORDS = 4 };

static inline void attn_i_philox(uint32_t word[ATTN_I_PHILOX_WORDS], uint64_t seed)
{
    uint32_t low = (uint32_t)seed, high = (uint32_t)(seed >> 32);
    for (int round = 0; round < ATTN_I_PHILOX_ROUNDS; round++) {
        const uint64_t a = (uint64_t)ATTN_I_PHILOX_A * word[0], b = (uint64_t)ATTN_I_PHILOX_B * word[2];
        word[0] = (uint32_t)(b >> 32) ^ word[1] ^ low;
        word[1] = (uint32_t)b;
        word[2] = (uint32_t)(a >> 32) ^ word[3] ^ high;
        word[3] = (uint32_t)a;
        low += ATTN_I_WEYL_A;
        high += ATTN_I_WEYL_B;
    }
}

/* The words of keys 4 block .. 4 block + 3 in a row of weights. */
static inline void attn_i_draw_words(uint64_t seed, uint64_t row, int64_t block, uint32_t word[ATTN_I_PHILOX_WORDS])
{
    word[0] = (uint32_t)block;
    word[1] = (uint32_t)row;
    word[2] = (uint32_t)(row >> 32);
    word[3] = (uint32_t)((uint64_t)block >> 32);
    attn_i_philox(word, seed);
}

#endif
