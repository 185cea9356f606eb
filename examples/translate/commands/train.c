/* SPDX-License-Identifier: BSD-3-Clause
 *
 * train.c: translate train. */
#include "commands/commands.h"
#include "commands/options.h"
#include "commands/short_pairs.h"
#include "refuse.h"
#include "train/interrupt.h"
#include "train/progress.h"
#include "train/trainer.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static checkpoint new_state(setup *wanted, const pair_list *pairs)
{
    checkpoint c = {.setup = *wanted};
    const training_options *o = &wanted->training;
    c.source = vocabulary_of(pairs, true, o->source_most, o->least);
    c.target = vocabulary_of(pairs, false, o->target_most, o->least);
    c.setup.model.source_words = c.source.count, c.setup.model.target_words = c.target.count;
    c.model = model_create(&c.setup.model);
    parameters_draw(&c.model->parameters, (uint64_t)o->seed);
    return c;
}

/* A training that goes on keeps its setup; what was told and is different is refused. */
static checkpoint old_state(const char *path, const setup *wanted, const bool *is_set)
{
    checkpoint c = checkpoint_read(path);
    if (c.first == NULL) refuse("%s holds a model, but nothing to go on training with", path);
    for (int i = 0; i < setup_field_count; i++) {
        char there[64], told[64];
        setup_text(&c.setup, &setup_fields[i], there, sizeof there);
        setup_text(wanted, &setup_fields[i], told, sizeof told);
        if (is_set[i] && strcmp(there, told) != 0) {
            refuse("%s was begun with --%s %s, not %s: begin anew, or go on without it", path, setup_fields[i].name,
                   there, told);
        }
    }
    return c;
}

static void say_measured(progress *p, const checkpoint *c, const dataset *data)
{
    const model_loss loss = trainer_measure(c, data);
    const double mean = loss.plain / (double)loss.words;
    progress_say(p, "step %ld: held out loss %.4f, perplexity %.3f, words right %.2f %%", c->step, mean, exp(mean),
                 100.0 * (double)loss.right / (double)loss.words);
}

int command_train(int count, char **words)
{
    const char *train = NULL, *dev = NULL, *out = NULL, *resume = NULL, *log = NULL;
    long measure_every = 500, save_every = 500, stop_after = -1;
    bool quiet = false;
    const option options[] = {
        {"train", OPTION_TEXT, &train, 0, 0, "pairs of sentences to learn from"},
        {"dev", OPTION_TEXT, &dev, 0, 0, "pairs to measure the loss on"},
        {"o", OPTION_TEXT, &out, 0, 0, "the checkpoint to write"},
        {"resume", OPTION_TEXT, &resume, 0, 0, "a checkpoint to go on from; it is written again without -o"},
        {"log", OPTION_TEXT, &log, 0, 0,
         "a file for every step: its number, loss, norm of the gradient, seconds, words"},
        {"measure-every", OPTION_LONG, &measure_every, 1, 1e9, "steps between two looks at --dev (500)"},
        {"save-every", OPTION_LONG, &save_every, 1, 1e9, "steps between two checkpoints (500)"},
        {"stop-after", OPTION_LONG, &stop_after, 0, 1e9,
         "steps of this run, as if interrupted then; 0: the start alone"},
        {"quiet", OPTION_FLAG, &quiet, 0, 0, "say nothing"},
    };
    /* What is usual depends on the kind of model, so that is looked for first. */
    const char *kind = "bahdanau";
    for (int i = 0; i + 1 < count; i++) {
        if (strcmp(words[i], "--model") == 0) kind = words[i + 1];
    }
    setup wanted = setup_default(kind);
    bool *is_set = allocate_zeros((size_t)setup_field_count, sizeof *is_set);
    const command_line line = {
        .usage = "translate train --train PAIRS [--dev PAIRS] -o CHECKPOINT [option...]",
        .about = "Trains a model. Ctrl-C ends it after the step at hand, with a checkpoint to go on from.",
        .options = options,
        .option_count = sizeof options / sizeof options[0],
        .setup = &wanted,
        .is_set = is_set,
    };
    command_line_take(&line, count, words, NULL);
    if (train == NULL) refuse("--train is missing: %s", line.usage);
    if (out == NULL) out = resume;
    if (out == NULL) refuse("-o is missing: %s", line.usage);

    checkpoint state = {0};
    if (resume != NULL) state = old_state(resume, &wanted, is_set);
    const setup *used = resume != NULL ? &state.setup : &wanted;
    pair_list pairs = short_pairs_read(train, used->model.most_words, quiet), held = {0};
    if (dev != NULL) held = short_pairs_read(dev, used->model.most_words, quiet);
    if (resume == NULL) state = new_state(&wanted, &pairs);
    dataset data = dataset_of(&pairs, &state.source, &state.target, state.setup.model.reverse_source), held_data = {0};
    if (dev != NULL) held_data = dataset_of(&held, &state.source, &state.target, state.setup.model.reverse_source);
    if (resume != NULL && state.data != data.fingerprint) {
        refuse("%s was trained on other sentences than those of %s", resume, train);
    }
    state.data = data.fingerprint;

    FILE *losses = NULL;
    if (log != NULL) {
        losses = fopen(log, resume != NULL ? "a" : "w");
        if (losses == NULL) refuse("%s cannot be written", log);
    }
    trainer t = trainer_begin(&state, &data);
    const long first = state.step, steps = state.setup.training.steps;
    const long last = stop_after >= 0 && first + stop_after < steps ? first + stop_after : steps;
    progress p = progress_begin(first, steps, quiet);
    progress_say(&p, "%s: %zu numbers to learn; %zu sentences, %d and %d words", state.setup.model.kind,
                 state.model->parameters.total, data.count, state.source.count, state.target.count);
    interrupt_watch();
    double loss = 0, seconds = 0;
    long said = 0;
    bool diverged = false;
    while (state.step < last && !interrupt_asked() && !diverged) {
        const double begun = seconds_now();
        const trainer_report report = trainer_step(&t);
        const double took = seconds_now() - begun;
        seconds += took;
        said += report.loss.words;
        const double mean = report.loss.plain / (double)report.loss.words;
        loss = state.step == first + 1 ? mean : 0.98 * loss + 0.02 * mean;
        diverged = !isfinite(report.norm) || !isfinite(mean);
        if (losses != NULL)
            fprintf(losses, "%ld %.9g %.9g %.6f %ld\n", state.step, mean, report.norm, took, report.loss.words);
        char told[128];
        snprintf(told, sizeof told, "loss %.4f  %.0f words/s", loss, (double)said / seconds);
        progress_show(&p, state.step, told);
        if (diverged) break;
        if (dev != NULL && (state.step % measure_every == 0 || state.step == steps))
            say_measured(&p, &state, &held_data);
        if (state.step % save_every == 0) checkpoint_write(&state, out);
    }
    progress_end(&p);
    if (diverged) give_up("step %ld: the loss is no number any more; the checkpoint is of before", state.step);
    checkpoint_write(&state, out);
    if (interrupt_asked()) {
        progress_say(&p, "stopped at step %ld; --resume %s goes on", state.step, out);
    } else if (said > 0) {
        progress_say(&p, "%ld steps, %.0f words/s, %.1f s", state.step - first, (double)said / seconds, seconds);
    }
    if (losses != NULL && fclose(losses) != 0) give_up("%s could not be written", log);

    trainer_free(&t);
    dataset_free(&data);
    dataset_free(&held_data);
    pair_list_free(&pairs);
    pair_list_free(&held);
    checkpoint_free(&state);
    free(is_set);
    return interrupt_asked() ? 130 : 0;
}
