/* SPDX-License-Identifier: BSD-3-Clause
 *
 * translator.c: see translator.h. */
#include "commands/translator.h"

#include "refuse.h"

#include <string.h>

void translator_fits(const checkpoint *c, int source_count)
{
    if (strcmp(c->setup.model.kind, "location") == 0 && source_count > c->setup.model.most_words) {
        refuse("a sentence of %d words: this model has scores for %d places", source_count, c->setup.model.most_words);
    }
}

/* A batch of one. */
static translation one(const checkpoint *c, const sentence_pair *pair, bool forced, int beam, double penalty)
{
    translator_fits(c, pair->source_count);
    const bool reversed = c->setup.model.reverse_source;
    pair_list list = {(sentence_pair *)pair, 1, 1};
    dataset data = dataset_of(&list, &c->source, &c->target, reversed);
    batch_order order = batch_order_sorted(&data, 1);
    owned_batch b = batch_take(&data, &order, 0, 0, 1);
    translation made;
    if (forced) {
        force_batch(c->model, &b.view, reversed, true, &made);
    } else {
        translate_batch(c->model, &b.view, beam, penalty, reversed, &made);
    }
    batch_free(&b);
    batch_order_free(&order);
    dataset_free(&data);
    return made;
}

translation translate_pair(const checkpoint *c, const sentence_pair *pair, int beam, double penalty)
{
    return one(c, pair, false, beam, penalty);
}

translation force_pair(const checkpoint *c, const sentence_pair *pair)
{
    return one(c, pair, true, 1, 0);
}
