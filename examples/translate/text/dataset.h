/* SPDX-License-Identifier: BSD-3-Clause
 *
 * dataset.h: pairs as numbers of words, and batches of them: for training in an order that a seed and the epoch decide
 * alone, so that it can be taken up again anywhere; for measuring, by length. */
#ifndef TRANSLATE_DATASET_H
#define TRANSLATE_DATASET_H

#include "model/batch.h"
#include "text/pair.h"
#include "text/vocabulary.h"

#include <stdint.h>

typedef struct dataset {
    size_t count;
    const pair_list *pairs; /* borrowed */
    int **source, **target; /* numbers of words */
    int *source_count, *target_count;
    uint64_t fingerprint; /* of all numbers */
} dataset;

/* reverse: the source's words from the last to the first. */
dataset dataset_of(const pair_list *pairs, const vocabulary *source, const vocabulary *target, bool reverse);
void dataset_free(dataset *d);

/* An order of the dataset's pairs, to be cut into runs of `rows`. */
typedef struct batch_order {
    size_t count;   /* of pairs */
    size_t batches; /* of the runs */
    int rows;
    size_t *pairs; /* [count] */
    size_t *batch; /* [batches]: which run comes when */
} batch_order;

/* Shuffled, then sorted by length within some batches' worth, so that little is padded; the batches shuffled again. */
batch_order batch_order_shuffled(const dataset *d, int rows, uint64_t seed, uint64_t epoch);
/* By length of the source. */
batch_order batch_order_sorted(const dataset *d, int rows);
void batch_order_free(batch_order *order);

/* Batch number i of the order, pairs [first, first + count) of it; its arrays are its own. pair[r] says which pair a
 * row is. */
typedef struct owned_batch {
    batch view;
    int *numbers;
    size_t *pair; /* [rows] */
    long words;   /* of the target, ends included */
} owned_batch;

/* shard s of shards: of each batch the rows are dealt out in runs of nearly one size; there may be none. */
owned_batch batch_take(const dataset *d, const batch_order *order, size_t i, int shard, int shards);
void batch_free(owned_batch *b);

#endif
