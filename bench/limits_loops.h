/* SPDX-License-Identifier: BSD-3-Clause
 *
 * limits_loops.h: the two loops of limits.c for one instruction set; included once for each. Before it: LOOP(name), the
 * name for this set; TARGET, the function attribute; BYTES of a vector; CHAINS of vectors; FMA(a, b, c) on vectors.
 * Takes them away. */

typedef float LOOP(vector) __attribute__((vector_size(BYTES), aligned(4)));

/* CHAINS sums that do not wait for each other; what they hold goes to 1. Returns a number, so that all is computed. */
TARGET static float LOOP(multiply_add)(int64_t repeats, float factor)
{
    LOOP(vector) sums[CHAINS];
    const LOOP(vector) a = factor - (LOOP(vector)){0}, b = (1 - factor) - (LOOP(vector)){0};
    for (int c = 0; c < CHAINS; c++) sums[c] = a * (float)c;
    for (int64_t r = 0; r < repeats; r++) {
        for (int c = 0; c < CHAINS; c++) sums[c] = FMA(sums[c], a, b);
    }
    for (int c = 1; c < CHAINS; c++) sums[0] += sums[c];
    float all = 0;
    for (size_t l = 0; l < BYTES / sizeof(float); l++) all += sums[0][l];
    return all;
}

/* Sums STREAMS runs of count floats at once, the runs one after the other in memory. count is a multiple of BLOCK. */
TARGET static float LOOP(sum)(const float *from, size_t count)
{
    enum { WIDTH = BYTES / sizeof(float), SUMS = 4, STEP = SUMS * WIDTH };
    LOOP(vector) sums[STREAMS][SUMS];
    for (int s = 0; s < STREAMS; s++) {
        for (int p = 0; p < SUMS; p++) sums[s][p] = (LOOP(vector)){0};
    }
    for (size_t at = 0; at < count; at += STEP) {
        for (int s = 0; s < STREAMS; s++) {
            const float *here = from + (size_t)s * count + at;
            for (int p = 0; p < SUMS; p++) sums[s][p] += *(const LOOP(vector) *)(here + p * WIDTH);
        }
    }
    float all = 0;
    for (int s = 0; s < STREAMS; s++) {
        const LOOP(vector) one = (sums[s][0] + sums[s][1]) + (sums[s][2] + sums[s][3]);
        for (size_t l = 0; l < WIDTH; l++) all += one[l];
    }
    return all;
}

#undef LOOP
#undef TARGET
#undef BYTES
#undef CHAINS
#undef FMA
