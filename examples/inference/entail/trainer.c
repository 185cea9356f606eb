/* SPDX-License-Identifier: BSD-3-Clause
 *
 * trainer.c: see trainer.h. */
#include "entail/trainer.h"

#include "model/elementwise.h"
#include "refuse.h"
#include "train/optimiser.h"
#include "train/threads.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

vocabulary vocabulary_of_examples(const example_list *examples)
{
    pair_list all = {0};
    for (size_t i = 0; i < examples->pairs.count; i++) {
        const sentence_pair *pair = &examples->pairs.pairs[i];
        sentence_pair both = {0};
        for (int k = 0; k < pair->source_count; k++) pair_add_source(&both, pair->source[k]);
        for (int k = 0; k < pair->target_count; k++) pair_add_source(&both, pair->target[k]);
        pair_list_take(&all, &both);
    }
    const vocabulary v = vocabulary_of(&all, true, 1 << 20, 1);
    pair_list_free(&all);
    return v;
}

taken_batch taken_batch_of(const dataset *d, const int *labels, const size_t *order, int rows)
{
    int longest[2] = {1, 1};
    for (int r = 0; r < rows; r++) {
        if (d->source_count[order[r]] > longest[0]) longest[0] = d->source_count[order[r]];
        if (d->target_count[order[r]] > longest[1]) longest[1] = d->target_count[order[r]];
    }
    const size_t words[] = {(size_t)rows * (size_t)longest[0], (size_t)rows * (size_t)longest[1]};
    taken_batch b = {.view = {.rows = rows}};
    b.numbers = allocate_zeros(words[0] + words[1] + 3 * (size_t)rows, sizeof *b.numbers); /* zeros are padding */
    int *premise = b.numbers, *hypothesis = premise + words[0], *lengths = hypothesis + words[1];
    for (int r = 0; r < rows; r++) {
        const size_t i = order[r];
        memcpy(premise + (ptrdiff_t)r * longest[0], d->source[i], (size_t)d->source_count[i] * sizeof(int));
        memcpy(hypothesis + (ptrdiff_t)r * longest[1], d->target[i], (size_t)d->target_count[i] * sizeof(int));
        lengths[r] = d->source_count[i], lengths[rows + r] = d->target_count[i];
        lengths[2 * rows + r] = labels != NULL ? labels[i] : -1;
    }
    b.view.premise = (text_batch){longest[0], premise, lengths};
    b.view.hypothesis = (text_batch){longest[1], hypothesis, lengths + rows};
    b.view.labels = lengths + 2 * (ptrdiff_t)rows;
    return b;
}

void taken_batch_free(taken_batch *b)
{
    free(b->numbers);
    *b = (taken_batch){0};
}

trainer trainer_begin(entail *m, const dataset *data, const int *labels, const training *options)
{
    trainer t = {.model = m, .data = data, .labels = labels, .options = *options, .epoch = -1};
    const size_t total = m->parameters.total;
    t.passes = allocate_zeros((size_t)options->shards, sizeof *t.passes);
    t.gradient = allocate_zeros((size_t)options->shards, sizeof *t.gradient);
    for (int i = 0; i < options->shards; i++) {
        t.passes[i].value = m->parameters.value;
        t.passes[i].gradient = t.gradient[i] = allocate(total, sizeof(real));
    }
    t.first = allocate_zeros(total, sizeof *t.first), t.second = allocate_zeros(total, sizeof *t.second);
    return t;
}

void trainer_free(trainer *t)
{
    for (int i = 0; i < t->options.shards; i++) {
        pass_free(&t->passes[i]);
        free(t->gradient[i]);
    }
    free(t->passes);
    free(t->gradient);
    free(t->first);
    free(t->second);
    if (t->epoch >= 0) batch_order_free(&t->order);
    *t = (trainer){0};
}

typedef struct job {
    const entail *model;
    pass *pass;
    taken_batch batch;
    double scale, loss;
    long right;
} job;

static void *run(void *data)
{
    job *j = data;
    pass_restart(j->pass);
    memset(j->pass->gradient, 0, j->model->parameters.total * sizeof(real));
    if (j->batch.view.rows > 0) j->loss = entail_loss(j->model, j->pass, &j->batch.view, j->scale, &j->right);
    return NULL;
}

double trainer_step(trainer *t, long *right, double *norm)
{
    const training *o = &t->options;
    const long batches = (long)((t->data->count + (size_t)o->rows - 1) / (size_t)o->rows);
    if (t->step / batches != t->epoch) {
        if (t->epoch >= 0) batch_order_free(&t->order);
        t->epoch = t->step / batches;
        t->order = batch_order_shuffled(t->data, o->rows, o->seed, (uint64_t)t->epoch);
    }
    const size_t first = t->order.batch[t->step % batches] * (size_t)o->rows;
    const size_t left = t->data->count - first, rows = left < (size_t)o->rows ? left : (size_t)o->rows;
    job *jobs = allocate((size_t)o->shards, sizeof *jobs);
    for (int k = 0; k < o->shards; k++) {
        const size_t begin = rows * (size_t)k / (size_t)o->shards, end = rows * (size_t)(k + 1) / (size_t)o->shards;
        jobs[k] = (job){.model = t->model, .pass = &t->passes[k], .scale = 1 / (double)rows};
        jobs[k].batch = taken_batch_of(t->data, t->labels, t->order.pairs + first + begin, (int)(end - begin));
        t->passes[k].dropout = o->dropout;
        t->passes[k].chance = random_begin(o->seed, 3, (uint64_t)t->step * 256 + (uint64_t)k);
    }
    threads_run(o->shards, jobs, sizeof *jobs, run);
    double loss = 0;
    for (int k = 0; k < o->shards; k++) {
        loss += jobs[k].loss;
        *right += jobs[k].right;
        taken_batch_free(&jobs[k].batch);
    }
    free(jobs);
    parameter_set *set = &t->model->parameters;
    gradients_join(set->total, o->shards, t->gradient);
    *norm = gradient_clip(set->total, t->gradient[0], o->clip);
    t->step++;
    adam_step(set->total, set->value, t->gradient[0], t->first, t->second,
              learning_rate(o->rate, o->warmup, o->steps, t->step - 1), t->step);
    return loss / (double)rows;
}

int likeliest_label(const double probabilities[LABELS])
{
    int best = 0;
    for (int k = 1; k < LABELS; k++) {
        if (probabilities[k] > probabilities[best]) best = k;
    }
    return best;
}

void entail_probabilities(const entail *m, const dataset *data, double *to)
{
    enum { ROWS = 64 };
    pass p = {.value = m->parameters.value};
    batch_order order = batch_order_sorted(data, ROWS);
    for (size_t first = 0; first < data->count; first += ROWS) {
        const int rows = (int)(data->count - first < ROWS ? data->count - first : ROWS);
        taken_batch b = taken_batch_of(data, NULL, order.pairs + first, rows);
        entail_walk w;
        pass_restart(&p);
        entail_forward(m, &p, &b.view, &w);
        log_softmax((size_t)rows, LABELS, w.logits);
        for (int r = 0; r < rows; r++) {
            for (int k = 0; k < LABELS; k++) {
                to[order.pairs[first + (size_t)r] * LABELS + (size_t)k] = exp((double)w.logits[r * LABELS + k]);
            }
        }
        taken_batch_free(&b);
    }
    batch_order_free(&order);
    pass_free(&p);
}
