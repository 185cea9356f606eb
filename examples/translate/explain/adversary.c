/* SPDX-License-Identifier: BSD-3-Clause
 *
 * adversary.c: see adversary.h. */
#include "explain/adversary.h"

#include "model/elementwise.h"
#include "model/embedding.h"

#include <string.h>

/* TVD of one word's output; its logits become the gradient of that, times scale. */
static double output_loss(size_t words, real *logits, const real *base_logits, double scale)
{
    double moved = 0, mean = 0;
    for (size_t w = 0; w < words; w++) {
        const double p = exp((double)logits[w]), difference = p - exp((double)base_logits[w]);
        moved += fabs(difference) / 2;
        mean += difference > 0 ? p / 2 : -p / 2;
    }
    for (size_t w = 0; w < words; w++) {
        const double p = exp((double)logits[w]), push = p > exp((double)base_logits[w]) ? 0.5 : -0.5;
        logits[w] = (real)(scale * p * (push - mean));
    }
    return moved;
}

static double floored_log(double weight)
{
    return log(fmax(weight, ADVERSARY_FLOOR));
}

/* KL of one word's weights; d_weights is the gradient of that, times scale. */
static double weights_loss(int count, const real *weights, const real *base, double scale, real *d_weights)
{
    double sum = 0;
    for (int j = 0; j < count; j++) {
        const double a = (double)weights[j], ratio = floored_log(a) - floored_log((double)base[j]);
        sum += a * ratio;
        d_weights[j] = (real)(scale * (ratio + (a > ADVERSARY_FLOOR ? 1 : 0)));
    }
    return sum;
}

adversary_loss adversary_batch_loss(const model *m, pass *p, const model *base, pass *of_base, const batch *b,
                                    double lambda, double tokens)
{
    pass_restart(p);
    pass_restart(of_base);
    recurrent_walk mine = recurrent_forward(m, p, b, true), theirs = recurrent_forward(base, of_base, b, true);
    const size_t count = (size_t)b->rows * (size_t)b->target_length, words = (size_t)m->options.target_words;
    const size_t row = (size_t)b->source_length;
    const int *expected = words_by_time(p, b->rows, b->target_length, b->target_out);
    real *d_weights = pass_zeros(p, count * row);
    log_softmax(count, words, mine.logits);
    log_softmax(count, words, theirs.logits);
    adversary_loss loss = {0};
    for (size_t i = 0; i < count; i++) { /* step by step, in each all rows */
        real *logits = mine.logits + i * words;
        if (expected[i] < 0) {
            memset(logits, 0, words * sizeof *logits);
            continue;
        }
        loss.words++;
        loss.variation += output_loss(words, logits, theirs.logits + i * words, 1 / tokens);
        loss.divergence += weights_loss(b->source_lengths[i % (size_t)b->rows], mine.weights + i * row,
                                        theirs.weights + i * row, -lambda / tokens, d_weights + i * row);
    }
    loss.sum = loss.variation - lambda * loss.divergence;
    mine.d_weights = d_weights;
    if (p->gradient != NULL) recurrent_backward(m, p, &mine);
    return loss;
}
