/* SPDX-License-Identifier: BSD-3-Clause
 *
 * kernels/dropout.c: the kernel that drops weights of a row. */
#include "kernels/philox.h"
#include "kernels/real.h"

void KERNEL(drop)(int64_t n, const attn_i_draw *draw, uint64_t of, int64_t first_key, double keep, double dropped,
                  void *row)
{
    real *x = row;
    const real factor = (real)keep;
    uint32_t word[ATTN_I_PHILOX_WORDS] = {0};
    for (int64_t j = 0; j < n; j++) {
        const int64_t key = first_key + j;
        if (j == 0 || key % ATTN_I_PHILOX_WORDS == 0) {
            attn_i_draw_words(draw->seed, draw->offset + of, key / ATTN_I_PHILOX_WORDS, word);
        }
        x[j] = word[key % ATTN_I_PHILOX_WORDS] < draw->threshold ? (real)dropped : x[j] * factor;
    }
}
