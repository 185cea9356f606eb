/* SPDX-License-Identifier: BSD-3-Clause
 *
 * batches.c: translate batches: what a training takes, for another program that is to be trained on the same. A batch
 * is a line with its number of sentences, then a line for each of them: the numbers of the source's words, a tab, those
 * of the target's, without begin and end. */
#include "commands/commands.h"
#include "commands/options.h"
#include "commands/short_pairs.h"
#include "refuse.h"
#include "train/trainer.h"
#include "whole_file.h"

static void write_numbers(FILE *file, const int *numbers, int count, char after)
{
    for (int i = 0; i < count; i++) fprintf(file, "%s%d", i > 0 ? " " : "", numbers[i]);
    putc(after, file);
}

static void write_batch(FILE *file, const dataset *data, const batch_order *order, size_t number)
{
    owned_batch b = batch_take(data, order, number, 0, 1);
    fprintf(file, "%d\n", b.view.rows);
    for (int r = 0; r < b.view.rows; r++) {
        const size_t pair = b.pair[r];
        write_numbers(file, data->source[pair], data->source_count[pair], '\t');
        write_numbers(file, data->target[pair], data->target_count[pair], '\n');
    }
    batch_free(&b);
}

int command_batches(int count, char **words)
{
    const char *train = NULL, *from = NULL, *out = "-";
    long steps = 20;
    const option options[] = {
        {"train", OPTION_TEXT, &train, 0, 0, "the pairs of sentences that are learnt from"},
        {"checkpoint", OPTION_TEXT, &from, 0, 0, "the training, where it is"},
        {"count", OPTION_LONG, &steps, 1, 1e9, "how many batches (20)"},
        {"o", OPTION_TEXT, &out, 0, 0, "the file to write; without it standard output"},
    };
    const command_line line = {
        .usage = "translate batches --train PAIRS --checkpoint CHECKPOINT [option...]",
        .about = "Writes the batches that a training takes next, as numbers of words.",
        .options = options,
        .option_count = sizeof options / sizeof options[0],
    };
    command_line_take(&line, count, words, NULL);
    if (train == NULL) refuse("--train is missing: %s", line.usage);
    if (from == NULL) refuse("--checkpoint is missing: %s", line.usage);
    checkpoint state = checkpoint_read(from);
    pair_list pairs = short_pairs_read(train, state.setup.model.most_words, true);
    dataset data = dataset_of(&pairs, &state.source, &state.target, state.setup.model.reverse_source);
    if (state.data != data.fingerprint) refuse("%s was trained on other sentences than those of %s", from, train);
    trainer t = trainer_begin(&state, &data);
    whole_file file = whole_file_begin(out);
    for (long i = 0; i < steps; i++, state.step++) {
        const size_t next = trainer_next(&t);
        write_batch(file.file, &data, &t.order, next);
    }
    whole_file_end(&file);
    trainer_free(&t);
    dataset_free(&data);
    pair_list_free(&pairs);
    checkpoint_free(&state);
    return 0;
}
