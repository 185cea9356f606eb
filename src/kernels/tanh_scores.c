/* SPDX-License-Identifier: BSD-3-Clause
 *
 * tanh_scores.c: the kernel of the additive score (Bahdanau 2014, appendix A.1.2): sum, tanh and dot product with v
 * in one pass, so that no tensor of query x key x hidden ever exists. */
#include "kernels/elementary.h"

void KERNEL(tanh_scores)(int64_t hidden, const void *v, const void *query, int64_t n, const void *keys,
                         int64_t key_stride, void *scores)
{
    const real *w = v, *q = query;
    real *score = scores;
    for (int64_t j = 0; j < n; j++) {
        const real *k = (const real *)keys + j * key_stride;
        real sums[LANES] = {0};
        int64_t a = 0;
        for (; a + LANES <= hidden; a += LANES) {
            for (int l = 0; l < LANES; l++) sums[l] += w[a + l] * real_tanh(q[a + l] + k[a + l]);
        }
        for (; a < hidden; a++) sums[0] += w[a] * real_tanh(q[a] + k[a]);
        for (int step = LANES / 2; step > 0; step /= 2) {
            for (int l = 0; l < step; l++) sums[l] += sums[l + step];
        }
        score[j] = sums[0];
    }
}
