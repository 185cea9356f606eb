/* SPDX-License-Identifier: BSD-3-Clause
 *
 * kernels/tanh_scores.c: the kernel of the additive score (Bahdanau 2014, appendix A.1.2): sum, tanh and dot product
 * with v in one pass, so that no tensor of query x key x hidden ever exists. */
#include "kernels/elementary.h"

void KERNEL(tanh_scores)(int64_t hidden, const void *v, const void *query, int64_t n, const void *keys,
                         int64_t key_stride, void *scores)
{
    const real *w = v, *q = query;
    for (int64_t j = 0; j < n; j++) {
        const real *k = (const real *)keys + j * key_stride;
        lane_sums sums = {{{0}}};
        for (int64_t a = 0; a < hidden; a += LANES) {
            for (int64_t l = 0, at = a; l < VECTORS && at < hidden; l++, at += WIDTH) {
                const int64_t rest = hidden - at;
                const vec sum = load_part(q + at, rest, 0) + load_part(k + at, rest, 0);
                sums.part[l] += load_part(w + at, rest, 0) * vec_tanh(sum);
            }
        }
        ((real *)scores)[j] = sum_lanes(sums);
    }
}
