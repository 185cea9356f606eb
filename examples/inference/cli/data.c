/* SPDX-License-Identifier: BSD-3-Clause
 *
 * data.c: inference data. */
#include "cli/cli.h"
#include "commands/options.h"
#include "pairs/example.h"
#include "refuse.h"
#include "text/hash.h"
#include "text/seen.h"
#include "whole_file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* Whether there has been no such pair yet. */
static bool is_new(seen *s, const sentence_pair *pair)
{
    const uint64_t premise = hash_number(hash_words(HASH_BEGIN, pair->source, pair->source_count), '\t');
    return seen_add(s, hash_words(premise, pair->target, pair->target_count));
}

/* Each label in its turn, so that there are as many of each; an example of another is dropped, whatever it is. */
static void write_file(const char *folder, const char *name, long count, grammar_random *random, seen *s)
{
    char path[4096];
    if (snprintf(path, sizeof path, "%s/%s", folder, name) >= (int)sizeof path) refuse("%s is too long a name", folder);
    whole_file out = whole_file_begin(path);
    for (long i = 0; i < count;) {
        struct event premise, hypothesis;
        sentence_pair pair = {0};
        const enum label label = example_draw(random, &premise, &hypothesis);
        if ((long)label == i % LABELS) {
            example_say(&premise, &hypothesis, &pair);
            if (is_new(s, &pair)) {
                example_write(out.file, &pair, (int)label);
                i++;
            }
        }
        pair_free(&pair);
    }
    whole_file_end(&out);
}

int command_data(int count, char **words)
{
    long train = 260000, held = 3000, seed = 1;
    const option options[] = {
        {"train", OPTION_LONG, &train, 1, 10000000, "examples in train.tsv (260000)"},
        {"held", OPTION_LONG, &held, 1, 1000000, "in dev.tsv, and in test.tsv (3000)"},
        {"seed", OPTION_LONG, &seed, 0, 1e15, "of the drawing (1)"},
    };
    const command_line line = {
        .usage = "inference data FOLDER [option...]",
        .about =
            "Writes train.tsv, dev.tsv and test.tsv: label, premise, hypothesis, a line each. No pair is there twice.",
        .options = options,
        .option_count = sizeof options / sizeof options[0],
        .least_arguments = 1,
        .most_arguments = 1,
    };
    const char *folder;
    command_line_take(&line, count, words, &folder);
    if (mkdir(folder, 0777) != 0 && errno != EEXIST) refuse("%s cannot be made: %s", folder, strerror(errno));
    seen s = seen_begin((size_t)(train + 2 * held));
    grammar_random random = {.state = (uint64_t)seed};
    write_file(folder, "test.tsv", held, &random, &s);
    write_file(folder, "dev.tsv", held, &random, &s);
    write_file(folder, "train.tsv", train, &random, &s);
    seen_free(&s);
    return 0;
}
