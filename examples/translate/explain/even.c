/* SPDX-License-Identifier: BSD-3-Clause
 *
 * even.c: see even.h. */
#include "explain/even.h"

#include "measure/accuracy.h"
#include "model/recurrent.h"
#include "refuse.h"
#include "search/translation.h"
#include "train/trainer.h"

#include <stdlib.h>
#include <string.h>

static void translate_all(const checkpoint *c, const dataset *data, quality *q)
{
    batch_order order = batch_order_sorted(data, 64);
    accuracy right = {0};
    bleu overlap = {0};
    for (size_t i = 0; i < order.batches; i++) {
        owned_batch b = batch_take(data, &order, i, 0, 1);
        translation *made = allocate((size_t)b.view.rows, sizeof *made);
        translate_batch(c->model, &b.view, 1, 0, c->setup.model.reverse_source, made);
        for (int r = 0; r < b.view.rows; r++) {
            const sentence_pair *pair = &data->pairs->pairs[b.pair[r]];
            char **words = translation_words(&made[r], &c->target, pair->source);
            accuracy_add(&right, words, made[r].count, pair->target, pair->target_count);
            bleu_add(&overlap, words, made[r].count, pair->target, pair->target_count);
            words_free(words, made[r].count);
            translation_free(&made[r]);
        }
        free(made);
        batch_free(&b);
    }
    batch_order_free(&order);
    q->bleu = bleu_score(&overlap), q->exact = accuracy_exact(&right);
}

quality quality_measure(checkpoint *c, const dataset *data, bool even)
{
    recurrent *unit = c->model->parts;
    if (even) attention_set_even(&unit->attention, true);
    const model_loss loss = trainer_measure(c, data);
    quality q = {.loss = loss.plain / (double)loss.words, .right = (double)loss.right / (double)loss.words};
    translate_all(c, data, &q);
    if (even) attention_set_even(&unit->attention, unit->attention.kind == SCORE_EVEN);
    return q;
}

void quality_json(json *out, const char *key, const quality *q)
{
    json_key(out, key), json_object(out);
    json_key(out, "loss"), json_number(out, q->loss);
    json_key(out, "right"), json_number(out, q->right);
    json_key(out, "bleu"), json_number(out, q->bleu);
    json_key(out, "exact"), json_number(out, q->exact);
    json_close(out);
}
