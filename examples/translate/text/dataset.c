/* SPDX-License-Identifier: BSD-3-Clause
 *
 * dataset.c: see dataset.h. */
#include "text/dataset.h"

#include "model/random.h"
#include "refuse.h"
#include "text/hash.h"

#include <stdlib.h>
#include <string.h>

static int *numbers_of(char *const *words, int count, const vocabulary *v, bool reverse, uint64_t *fingerprint)
{
    int *numbers = allocate((size_t)count, sizeof *numbers);
    for (int k = 0; k < count; k++) {
        numbers[k] = vocabulary_number(v, words[reverse ? count - 1 - k : k]);
        *fingerprint = hash_number(*fingerprint, (uint64_t)numbers[k]);
    }
    *fingerprint = hash_number(*fingerprint, 0xffffffffu);
    return numbers;
}

dataset dataset_of(const pair_list *pairs, const vocabulary *source, const vocabulary *target, bool reverse)
{
    dataset d = {.count = pairs->count, .pairs = pairs, .fingerprint = HASH_BEGIN};
    d.source = allocate(d.count, sizeof *d.source), d.source_count = allocate(d.count, sizeof *d.source_count);
    d.target = allocate(d.count, sizeof *d.target), d.target_count = allocate(d.count, sizeof *d.target_count);
    for (size_t i = 0; i < d.count; i++) {
        const sentence_pair *pair = &pairs->pairs[i];
        d.source_count[i] = pair->source_count, d.target_count[i] = pair->target_count;
        d.source[i] = numbers_of(pair->source, pair->source_count, source, reverse, &d.fingerprint);
        d.target[i] = numbers_of(pair->target, pair->target_count, target, false, &d.fingerprint);
    }
    return d;
}

void dataset_free(dataset *d)
{
    for (size_t i = 0; i < d->count; i++) {
        free(d->source[i]);
        free(d->target[i]);
    }
    free(d->source);
    free(d->target);
    free(d->source_count);
    free(d->target_count);
    *d = (dataset){0};
}

typedef struct measured {
    int source, target;
    size_t pair;
} measured;

static int longer(const void *a, const void *b)
{
    const measured *x = a, *y = b;
    if (x->source != y->source) return x->source - y->source;
    if (x->target != y->target) return x->target - y->target;
    return x->pair < y->pair ? -1 : x->pair > y->pair;
}

static void sort_by_length(const dataset *d, size_t *pairs, size_t count)
{
    measured *order = allocate(count, sizeof *order);
    for (size_t i = 0; i < count; i++) {
        order[i] = (measured){d->source_count[pairs[i]], d->target_count[pairs[i]], pairs[i]};
    }
    qsort(order, count, sizeof *order, longer);
    for (size_t i = 0; i < count; i++) pairs[i] = order[i].pair;
    free(order);
}

static void shuffle(random_stream *stream, size_t *numbers, size_t count)
{
    for (size_t i = count; i > 1; i--) {
        const size_t other = (size_t)random_below(stream, i), number = numbers[i - 1];
        numbers[i - 1] = numbers[other];
        numbers[other] = number;
    }
}

static batch_order plain_order(const dataset *d, int rows)
{
    batch_order order = {.count = d->count, .rows = rows};
    order.batches = (d->count + (size_t)rows - 1) / (size_t)rows;
    order.pairs = allocate(order.count, sizeof *order.pairs);
    order.batch = allocate(order.batches, sizeof *order.batch);
    for (size_t i = 0; i < order.count; i++) order.pairs[i] = i;
    for (size_t i = 0; i < order.batches; i++) order.batch[i] = i;
    return order;
}

batch_order batch_order_shuffled(const dataset *d, int rows, uint64_t seed, uint64_t epoch)
{
    enum { BATCHES_SORTED = 64 };
    batch_order order = plain_order(d, rows);
    random_stream stream = random_begin(seed, 2, epoch);
    shuffle(&stream, order.pairs, order.count);
    const size_t pool = (size_t)rows * BATCHES_SORTED;
    for (size_t first = 0; first < order.count; first += pool) {
        sort_by_length(d, order.pairs + first, order.count - first < pool ? order.count - first : pool);
    }
    shuffle(&stream, order.batch, order.batches);
    return order;
}

batch_order batch_order_sorted(const dataset *d, int rows)
{
    batch_order order = plain_order(d, rows);
    sort_by_length(d, order.pairs, order.count);
    return order;
}

void batch_order_free(batch_order *order)
{
    free(order->pairs);
    free(order->batch);
    *order = (batch_order){0};
}

owned_batch batch_take(const dataset *d, const batch_order *order, size_t i, int shard, int shards)
{
    size_t first = order->batch[i] * (size_t)order->rows, count = order->count - first;
    if (count > (size_t)order->rows) count = (size_t)order->rows;
    const size_t begin = first + count * (size_t)shard / (size_t)shards;
    const size_t end = first + count * (size_t)(shard + 1) / (size_t)shards;
    const int rows = (int)(end - begin);
    owned_batch b = {.view = {.rows = rows}};
    b.pair = allocate((size_t)rows, sizeof *b.pair);
    int source = 1, target = 1;
    for (int r = 0; r < rows; r++) {
        const size_t pair = b.pair[r] = order->pairs[begin + (size_t)r];
        if (d->source_count[pair] > source) source = d->source_count[pair];
        if (d->target_count[pair] + 1 > target) target = d->target_count[pair] + 1;
        b.words += d->target_count[pair] + 1;
    }
    const size_t sources = (size_t)rows * (size_t)source, targets = (size_t)rows * (size_t)target;
    b.numbers = allocate_zeros(sources + 2 * targets + (size_t)rows, sizeof *b.numbers);
    int *words = b.numbers, *in = words + sources, *out = in + targets, *lengths = out + targets;
    for (int r = 0; r < rows; r++) {
        const size_t pair = b.pair[r];
        const int length = d->target_count[pair];
        lengths[r] = d->source_count[pair];
        memcpy(words + (ptrdiff_t)r * source, d->source[pair], (size_t)lengths[r] * sizeof *words);
        int *row_in = in + (ptrdiff_t)r * target, *row_out = out + (ptrdiff_t)r * target;
        row_in[0] = WORD_BEGIN;
        for (int t = 0; t < target; t++) row_out[t] = t < length ? d->target[pair][t] : t == length ? WORD_END : -1;
        for (int t = 0; t < length; t++) row_in[t + 1] = d->target[pair][t];
    }
    b.view.source_length = source, b.view.target_length = target;
    b.view.source = words, b.view.source_lengths = lengths, b.view.target_in = in, b.view.target_out = out;
    return b;
}

void batch_free(owned_batch *b)
{
    free(b->numbers);
    free(b->pair);
    *b = (owned_batch){0};
}
