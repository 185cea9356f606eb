/* SPDX-License-Identifier: BSD-3-Clause
 *
 * forced.c: force_batch of translation.h. */
#include "search/translation.h"

#include "refuse.h"

#include <stdlib.h>

/* Row r of [rows, length] numbers, in the order of a sentence of count words. */
static void put_in_order(const real *from, int length, int r, int count, bool reversed, double *to)
{
    for (int j = 0; j < count; j++) to[j] = (double)from[r * length + (reversed ? count - 1 - j : j)];
}

void force_batch(const model *m, const batch *b, bool reversed, bool scores, translation *made)
{
    decoding *d = decoding_begin(m, b);
    const int rows = b->rows, length = decoding_length(d), words = m->options.target_words;
    real *logits = allocate((size_t)rows * (size_t)words, sizeof *logits);
    real *weights = allocate((size_t)rows * (size_t)length, sizeof *weights);
    real *scored = scores ? allocate((size_t)rows * (size_t)length, sizeof *scored) : NULL;
    int *before = allocate((size_t)rows, sizeof *before);
    for (int r = 0; r < rows; r++) {
        int count = 0;
        while (count < b->target_length && b->target_out[r * b->target_length + count] >= 0) count++;
        const int source = b->source_lengths[r];
        const size_t cells = (size_t)count * (size_t)source;
        made[r] = (translation){.source_count = source, .count = count};
        made[r].words = allocate((size_t)count, sizeof *made[r].words);
        made[r].weights = allocate(cells, sizeof *made[r].weights);
        if (scores) made[r].scores = allocate(cells, sizeof *made[r].scores);
    }
    for (int t = 0; t < b->target_length; t++) {
        for (int r = 0; r < rows; r++) before[r] = b->target_in[r * b->target_length + t];
        decoding_step(d, before, logits, weights, scored);
        for (int r = 0; r < rows; r++) {
            translation *of = &made[r];
            if (t >= of->count) continue;
            const ptrdiff_t at = (ptrdiff_t)t * of->source_count;
            of->words[t] = b->target_out[r * b->target_length + t];
            put_in_order(weights, length, r, of->source_count, reversed, of->weights + at);
            if (scores) put_in_order(scored, length, r, of->source_count, reversed, of->scores + at);
            const real *row = logits + (ptrdiff_t)r * words;
            double greatest = (double)row[0], sum = 0;
            for (int w = 1; w < words; w++) greatest = (double)row[w] > greatest ? (double)row[w] : greatest;
            for (int w = 0; w < words; w++) sum += exp((double)row[w] - greatest);
            of->log_probability += (double)row[of->words[t]] - greatest - log(sum);
        }
    }
    free(logits);
    free(weights);
    free(scored);
    free(before);
    decoding_end(d);
}
