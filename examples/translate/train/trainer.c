/* SPDX-License-Identifier: BSD-3-Clause
 *
 * trainer.c: see trainer.h. */
#include "train/trainer.h"

#include "refuse.h"
#include "train/optimiser.h"

trainer trainer_begin(checkpoint *state, const dataset *data)
{
    trainer t = {.state = state, .data = data, .epoch = -1};
    const size_t total = state->model->parameters.total;
    if (state->first == NULL) {
        state->first = allocate_zeros(total, sizeof *state->first);
        state->second = allocate_zeros(total, sizeof *state->second);
    }
    t.shards = shards_begin(state->model, state->setup.training.shards, true);
    return t;
}

void trainer_free(trainer *t)
{
    shards_free(&t->shards);
    if (t->epoch >= 0) batch_order_free(&t->order);
}

size_t trainer_next(trainer *t)
{
    const training_options *o = &t->state->setup.training;
    const long batches = (long)((t->data->count + (size_t)o->rows - 1) / (size_t)o->rows);
    const long epoch = t->state->step / batches;
    if (epoch != t->epoch) {
        if (t->epoch >= 0) batch_order_free(&t->order);
        t->order = batch_order_shuffled(t->data, o->rows, (uint64_t)o->seed, (uint64_t)epoch);
        t->epoch = epoch;
    }
    return (size_t)(t->state->step % batches);
}

trainer_report trainer_step(trainer *t)
{
    checkpoint *c = t->state;
    const training_options *o = &c->setup.training;
    const size_t next = trainer_next(t);
    trainer_report report = {.rate = learning_rate(o->rate, o->warmup, o->steps, c->step)};
    report.loss = shards_loss(&t->shards, t->data, &t->order, next, o->smoothing, o->dropout, (uint64_t)o->seed,
                              (uint64_t)c->step);
    parameter_set *set = &c->model->parameters;
    report.norm = gradient_clip(set->total, t->shards.gradient[0], o->clip);
    c->step++;
    adam_step(set->total, set->value, t->shards.gradient[0], c->first, c->second, report.rate, c->step);
    return report;
}

model_loss trainer_measure(const checkpoint *state, const dataset *data)
{
    shards s = shards_begin(state->model, state->setup.training.shards, false);
    batch_order order = batch_order_sorted(data, state->setup.training.rows);
    model_loss all = {0};
    for (size_t i = 0; i < order.batches; i++) {
        const model_loss loss = shards_loss(&s, data, &order, i, 0, 0, 0, 0);
        all.sum += loss.sum, all.plain += loss.plain, all.words += loss.words, all.right += loss.right;
    }
    batch_order_free(&order);
    shards_free(&s);
    return all;
}
