/* SPDX-License-Identifier: BSD-3-Clause
 *
 * shards.c: see shards.h. */
#include "train/shards.h"

#include "refuse.h"
#include "train/optimiser.h"
#include "train/threads.h"

#include <stdlib.h>
#include <string.h>

shards shards_begin(const model *m, int count, bool gradients)
{
    shards s = {.model = m, .count = count};
    s.passes = allocate_zeros((size_t)count, sizeof *s.passes);
    s.gradient = allocate_zeros((size_t)count, sizeof *s.gradient);
    for (int i = 0; i < count; i++) {
        s.passes[i].value = m->parameters.value;
        if (gradients) s.passes[i].gradient = s.gradient[i] = allocate(m->parameters.total, sizeof(real));
    }
    return s;
}

void shards_free(shards *s)
{
    for (int i = 0; i < s->count; i++) {
        pass_free(&s->passes[i]);
        free(s->gradient[i]);
    }
    free(s->passes);
    free(s->gradient);
    *s = (shards){0};
}

typedef struct job {
    const model *model;
    pass *pass;
    owned_batch batch;
    double smoothing, words;
    model_loss loss;
} job;

static void *run(void *data)
{
    job *j = data;
    if (j->pass->gradient != NULL) {
        memset(j->pass->gradient, 0, j->model->parameters.total * sizeof(real));
    }
    j->loss = (model_loss){0};
    if (j->batch.view.rows > 0) {
        j->loss = model_batch_loss(j->model, j->pass, &j->batch.view, j->smoothing, j->words);
    }
    return NULL;
}

model_loss shards_loss(shards *s, const dataset *d, const batch_order *order, size_t i, double smoothing,
                       double dropout, uint64_t seed, uint64_t step)
{
    job *jobs = allocate((size_t)s->count, sizeof *jobs);
    long words = 0;
    for (int k = 0; k < s->count; k++) {
        jobs[k] = (job){s->model, &s->passes[k], batch_take(d, order, i, k, s->count), smoothing, 0, {0, 0, 0, 0}};
        s->passes[k].dropout = dropout;
        s->passes[k].chance = random_begin(seed, 3, step * 256 + (uint64_t)k);
        words += jobs[k].batch.words;
    }
    for (int k = 0; k < s->count; k++) jobs[k].words = (double)words;
    threads_run(s->count, jobs, sizeof *jobs, run);
    model_loss loss = {0};
    for (int k = 0; k < s->count; k++) {
        loss.sum += jobs[k].loss.sum, loss.plain += jobs[k].loss.plain;
        loss.words += jobs[k].loss.words, loss.right += jobs[k].loss.right;
        batch_free(&jobs[k].batch);
    }
    if (s->gradient[0] != NULL) gradients_join(s->model->parameters.total, s->count, s->gradient);
    free(jobs);
    return loss;
}
