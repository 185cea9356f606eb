/* SPDX-License-Identifier: BSD-3-Clause
 *
 * shards.h: the parts of a batch, each computed by a thread with a gradient of its own. Their number is the setup's,
 * not the machine's, so that a training has the same bits wherever it has the same kernels. */
#ifndef TRANSLATE_SHARDS_H
#define TRANSLATE_SHARDS_H

#include "model/model.h"
#include "text/dataset.h"

typedef struct shards {
    const model *model;
    int count;
    pass *passes;    /* [count] */
    real **gradient; /* [count], each of all parameters */
} shards;

shards shards_begin(const model *m, int count, bool gradients);
void shards_free(shards *s);

/* Loss and, where there are gradients, the gradient of the mean loss of a word in gradient[0], of batch i of an order.
 * Dropout is drawn from the seed and the step. */
model_loss shards_loss(shards *s, const dataset *d, const batch_order *order, size_t i, double smoothing,
                       double dropout, uint64_t seed, uint64_t step);

#endif
