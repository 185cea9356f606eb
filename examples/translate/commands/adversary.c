/* SPDX-License-Identifier: BSD-3-Clause
 *
 * adversary.c: translate adversary: trains a model that says what another says, looking elsewhere. */
#include "explain/adversary.h"
#include "commands/commands.h"
#include "commands/options.h"
#include "commands/short_pairs.h"
#include "explain/replay.h"
#include "refuse.h"
#include "text/dataset.h"
#include "train/checkpoint.h"
#include "train/optimiser.h"
#include "train/progress.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct imitation {
    const char *train, *out;
    double lambda, rate;
    long steps, seed;
    int rows;
    bool keep_scores, anew, quiet;
} imitation;

/* Where training begins: at the base with what its scores are made of drawn anew, since at the base itself there is
 * little to leave it for; at the base itself all the same; or at nothing of it. */
static model *beginning(const checkpoint *base, const imitation *o)
{
    model *m = model_create(&base->setup.model);
    const parameter_set *from = &base->model->parameters;
    parameter_set *to = &m->parameters;
    parameters_draw(to, (uint64_t)o->seed);
    for (int i = 0; i < to->count && !o->anew; i++) {
        const parameter *p = &to->list[i];
        if (!o->keep_scores && strncmp(p->name, "attention.", 10) == 0) continue;
        memcpy(to->value + p->offset, from->value + p->offset, (size_t)p->rows * (size_t)p->columns * sizeof(real));
    }
    return m;
}

static void imitate(model *m, const checkpoint *base, const dataset *data, const imitation *o)
{
    const size_t total = m->parameters.total;
    const long batches = (long)((data->count + (size_t)o->rows - 1) / (size_t)o->rows);
    real *gradient = allocate(total, sizeof *gradient);
    real *first = allocate_zeros(total, sizeof *first), *second = allocate_zeros(total, sizeof *second);
    pass mine = {.value = m->parameters.value, .gradient = gradient}, theirs = {.value = base->model->parameters.value};
    batch_order order = {0};
    progress p = progress_begin(0, o->steps, o->quiet);
    double variation = 0, divergence = 0;
    for (long step = 0; step < o->steps; step++) {
        if (step % batches == 0) {
            batch_order_free(&order);
            order = batch_order_shuffled(data, o->rows, (uint64_t)o->seed, (uint64_t)(step / batches));
        }
        owned_batch b = batch_take(data, &order, (size_t)(step % batches), 0, 1);
        memset(gradient, 0, total * sizeof *gradient);
        const adversary_loss loss =
            adversary_batch_loss(m, &mine, base->model, &theirs, &b.view, o->lambda, (double)b.words);
        batch_free(&b);
        if (!isfinite(loss.sum)) give_up("step %ld: the loss is no number any more", step + 1);
        gradient_clip(total, gradient, 1);
        const double rate = o->rate * fmin(1, (double)(step + 1) / 50) * (1 - (double)step / (double)o->steps);
        adam_step(total, m->parameters.value, gradient, first, second, rate, step + 1);
        const double kept = step == 0 ? 0 : 0.95;
        variation = kept * variation + (1 - kept) * loss.variation / (double)loss.words;
        divergence = kept * divergence + (1 - kept) * loss.divergence / (double)loss.words;
        char told[96];
        snprintf(told, sizeof told, "TVD of outputs %.4f  KL of weights %.3f", variation, divergence);
        progress_show(&p, step + 1, told);
    }
    progress_say(&p, "%ld steps: TVD of outputs %.4f, KL of weights %.3f", o->steps, variation, divergence);
    progress_end(&p);
    batch_order_free(&order);
    pass_free(&mine);
    pass_free(&theirs);
    free(gradient);
    free(first);
    free(second);
}

int command_adversary(int count, char **words)
{
    imitation o = {.lambda = 0.03, .rate = 0.001, .steps = 1000, .seed = 1, .rows = 32};
    const option options[] = {
        {"train", OPTION_TEXT, &o.train, 0, 0, "pairs of sentences to learn from"},
        {"o", OPTION_TEXT, &o.out, 0, 0, "the checkpoint to write"},
        {"lambda", OPTION_DOUBLE, &o.lambda, 0, 1e3, "what looking elsewhere is worth (0.03)"},
        {"rate", OPTION_DOUBLE, &o.rate, 1e-9, 1, "of learning, at its greatest (0.001)"},
        {"steps", OPTION_LONG, &o.steps, 1, 1e9, "batches (1000)"},
        {"rows", OPTION_INT, &o.rows, 1, 1 << 14, "sentences in a batch (32)"},
        {"seed", OPTION_LONG, &o.seed, 0, 1e15, "of the beginning and the order (1)"},
        {"keep-scores", OPTION_FLAG, &o.keep_scores, 0, 0, "begin with the model's scores, too, else drawn anew"},
        {"anew", OPTION_FLAG, &o.anew, 0, 0, "begin with nothing of the model's"},
        {"quiet", OPTION_FLAG, &o.quiet, 0, 0, "say nothing"},
    };
    const command_line line = {
        .usage = "translate adversary CHECKPOINT --train PAIRS -o CHECKPOINT [option...]",
        .about =
            "Trains an adversary of a model: one that says the same, and looks elsewhere (Wiegreffe and Pinter 2019,\n"
            "section 4): TVD of outputs - lambda KL of weights becomes as small as can be. 'translate explain\n"
            "CHECKPOINT PAIRS ADVERSARY' measures how far it got.",
        .options = options,
        .option_count = sizeof options / sizeof options[0],
        .least_arguments = 1,
        .most_arguments = 1,
    };
    const char *path;
    command_line_take(&line, count, words, &path);
    if (o.train == NULL) refuse("--train is missing: %s", line.usage);
    if (o.out == NULL) refuse("-o is missing: %s", line.usage);
    checkpoint base = checkpoint_read(path);
    const char *why = replay_refuses(base.model);
    if (why != NULL) refuse("%s is of the kind %s: %s", path, base.setup.model.kind, why);
    pair_list pairs = short_pairs_read(o.train, base.setup.model.most_words, true);
    dataset data = dataset_of(&pairs, &base.source, &base.target, base.setup.model.reverse_source);
    model *m = beginning(&base, &o);
    imitate(m, &base, &data, &o);
    /* What is written is the base's checkpoint with other numbers, and nothing to go on training with. */
    checkpoint made = base;
    made.model = m, made.first = made.second = NULL;
    made.setup.training.seed = o.seed, made.step = o.steps, made.data = data.fingerprint;
    checkpoint_write(&made, o.out);
    model_destroy(m);
    dataset_free(&data);
    pair_list_free(&pairs);
    checkpoint_free(&base);
    return 0;
}
