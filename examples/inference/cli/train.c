/* SPDX-License-Identifier: BSD-3-Clause
 *
 * train.c: inference train. */
#include "cli/cli.h"
#include "commands/options.h"
#include "entail/checkpoint.h"
#include "entail/trainer.h"
#include "refuse.h"
#include "train/interrupt.h"
#include "train/progress.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static double accuracy_of(const entail *m, const dataset *data, const int *labels)
{
    double *p = allocate(data->count * LABELS, sizeof *p);
    size_t right = 0;
    entail_probabilities(m, data, p);
    for (size_t i = 0; i < data->count; i++) {
        right += likeliest_label(p + i * LABELS) == labels[i];
    }
    free(p);
    return (double)right / (double)data->count;
}

static int look_named(const char *name)
{
    for (int i = 0; i < LOOK_KINDS; i++) {
        if (strcmp(name, look_names[i]) == 0) return i;
    }
    refuse("--look is attend, mean or hypothesis, not '%s'", name);
}

int command_train(int count, char **words)
{
    const char *train = NULL, *dev = NULL, *out = NULL, *look = "attend";
    entail_options shape = {.embed = 64, .hidden = 128, .heads = 4};
    training o = {.steps = 8000, .warmup = 200, .rows = 32, .shards = 2, .rate = 0.003, .clip = 5};
    long seed = 1, measure_every = 1000;
    bool quiet = false;
    const option options[] = {
        {"train", OPTION_TEXT, &train, 0, 0, "examples to learn from"},
        {"dev", OPTION_TEXT, &dev, 0, 0, "examples to measure on"},
        {"o", OPTION_TEXT, &out, 0, 0, "the checkpoint to write"},
        {"look", OPTION_TEXT, &look, 0, 0, "at what is aligned (attend), at the mean, at the hypothesis alone"},
        {"plain", OPTION_FLAG, &shape.plain, 0, 0, "no attention within a sentence: words in no order"},
        {"embed", OPTION_INT, &shape.embed, 1, 1 << 12, "size of a word's vector (64)"},
        {"hidden", OPTION_INT, &shape.hidden, 1, 1 << 12, "size of layers (128)"},
        {"heads", OPTION_INT, &shape.heads, 1, 256, "of attention within a sentence (4)"},
        {"steps", OPTION_LONG, &o.steps, 1, 1e9, "batches (8000)"},
        {"rows", OPTION_INT, &o.rows, 1, 1 << 16, "examples in a batch (32)"},
        {"shards", OPTION_INT, &o.shards, 1, 256, "threads, each with its part of a batch (2)"},
        {"rate", OPTION_DOUBLE, &o.rate, 1e-9, 10, "of learning, at its greatest (0.003)"},
        {"warmup", OPTION_LONG, &o.warmup, 0, 1e9, "steps in which the rate rises (200)"},
        {"clip", OPTION_DOUBLE, &o.clip, 0, 1e9, "greatest norm of a gradient (5); 0: any"},
        {"dropout", OPTION_DOUBLE, &o.dropout, 0, 0.95, "probability (0)"},
        {"seed", OPTION_LONG, &seed, 0, 1e15, "of the start, the order and the dropout (1)"},
        {"measure-every", OPTION_LONG, &measure_every, 1, 1e9, "steps between two looks at --dev (1000)"},
        {"quiet", OPTION_FLAG, &quiet, 0, 0, "say nothing"},
    };
    const command_line line = {
        .usage = "inference train --train EXAMPLES [--dev EXAMPLES] -o CHECKPOINT [option...]",
        .about = "Trains a model. Ctrl-C ends it after the step at hand, with a checkpoint.",
        .options = options,
        .option_count = sizeof options / sizeof options[0],
    };
    command_line_take(&line, count, words, NULL);
    if (train == NULL) refuse("--train is missing: %s", line.usage);
    if (out == NULL) refuse("-o is missing: %s", line.usage);
    shape.look = look_named(look);
    o.seed = (uint64_t)seed;

    example_list examples = {0}, held = {0};
    example_list_read(&examples, train);
    if (dev != NULL) example_list_read(&held, dev);
    checkpoint c = {.words = vocabulary_of_examples(&examples)};
    shape.words = c.words.count;
    c.model = entail_create(&shape);
    entail_draw(c.model, o.seed);
    dataset data = dataset_of(&examples.pairs, &c.words, &c.words, false), held_data = {0};
    if (dev != NULL) held_data = dataset_of(&held.pairs, &c.words, &c.words, false);
    checkpoint_write(&c, out); /* a path that cannot be written is found out now */

    trainer t = trainer_begin(c.model, &data, examples.labels, &o);
    progress p = progress_begin(0, o.steps, quiet);
    progress_say(&p, "%zu numbers to learn; %zu examples, %d words", c.model->parameters.total, data.count,
                 c.words.count);
    interrupt_watch();
    double loss = 0, seconds = 0, norm = 0;
    long right = 0, last_right = 0;
    while (t.step < o.steps && !interrupt_asked()) {
        const double begun = seconds_now();
        const double now = trainer_step(&t, &right, &norm);
        seconds += seconds_now() - begun;
        if (!isfinite(now) || !isfinite(norm)) {
            progress_end(&p);
            give_up("step %ld: the loss is no number any more; the checkpoint is of before", t.step);
        }
        loss = t.step == 1 ? now : 0.98 * loss + 0.02 * now;
        char told[128];
        snprintf(told, sizeof told, "loss %.4f  %.0f examples/s", loss, (double)t.step * o.rows / seconds);
        progress_show(&p, t.step, told);
        if (t.step % measure_every != 0 && t.step != o.steps) continue;
        const long steps = (t.step - 1) % measure_every + 1;
        const double share = 100.0 * (double)(right - last_right) / ((double)steps * o.rows);
        last_right = right;
        if (dev == NULL) {
            progress_say(&p, "step %ld: %.1f s, right of the last examples %.2f %%", t.step, seconds, share);
        } else {
            progress_say(&p, "step %ld: %.1f s, right of the last examples %.2f %%, held out %.2f %%", t.step, seconds,
                         share, 100 * accuracy_of(c.model, &held_data, held.labels));
        }
        checkpoint_write(&c, out);
    }
    progress_end(&p);
    checkpoint_write(&c, out);
    if (interrupt_asked()) progress_say(&p, "stopped at step %ld", t.step);

    trainer_free(&t);
    dataset_free(&data);
    dataset_free(&held_data);
    example_list_free(&examples);
    example_list_free(&held);
    checkpoint_free(&c);
    return interrupt_asked() ? 130 : 0;
}
