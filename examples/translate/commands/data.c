/* SPDX-License-Identifier: BSD-3-Clause
 *
 * data.c: translate data: sentences of the grammar, in files: to train on, short ones; to measure by, of all lengths.
 * No English sentence is in two of them, nor twice in one. */
#include "commands/commands.h"
#include "commands/options.h"
#include "refuse.h"
#include "text/grammar.h"
#include "text/hash.h"
#include "text/seen.h"
#include "whole_file.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* Whether there has been no such English sentence yet. */
static bool is_new(seen *s, const sentence_pair *pair)
{
    return seen_add(s, hash_words(HASH_BEGIN, pair->source, pair->source_count));
}

/* Writes so many sentences of a range of lengths, each length as often as another as far as there are new ones. */
static void write_file(const char *directory, const char *name, int shortest, int longest, long wanted,
                       grammar_random *random, seen *s)
{
    char path[4096];
    if (snprintf(path, sizeof path, "%s/%s", directory, name) >= (int)sizeof path) refuse("%s is too long", directory);
    whole_file out = whole_file_begin(path);
    for (long made = 0, tries = 0; made < wanted; tries++) {
        if (tries > 100 * wanted) {
            refuse("the grammar has too few sentences of %d to %d words for %ld", shortest, longest, wanted);
        }
        sentence_pair pair = {0};
        grammar_sentence(random, shortest, longest, &pair);
        if (!grammar_is_canonical(&pair) && is_new(s, &pair)) {
            pair_write(out.file, &pair);
            made++;
        }
        pair_free(&pair);
    }
    whole_file_end(&out);
}

int command_data(int count, char **words)
{
    long train = 60000, measured = 1000, seed = 1;
    int longest = 30;
    const option options[] = {
        {"train", OPTION_LONG, &train, 1, 1e8, "sentences to train on (60000)"},
        {"measured", OPTION_LONG, &measured, 1, 1e7, "sentences to measure by, in each of the other files (1000)"},
        {"longest", OPTION_INT, &longest, GRAMMAR_SHORTEST, GRAMMAR_LONGEST, "words of a training sentence (30)"},
        {"seed", OPTION_LONG, &seed, 0, 1e15, "of what is drawn (1)"},
    };
    const command_line line = {
        .usage = "translate data DIRECTORY [option...]",
        .about = "Writes train.tsv and dev.tsv, of sentences up to --longest words, test.tsv, of up to 60, and\n"
                 "canonical.tsv, the sentence that is never among them.",
        .options = options,
        .option_count = sizeof options / sizeof options[0],
        .least_arguments = 1,
        .most_arguments = 1,
    };
    const char *directory;
    command_line_take(&line, count, words, &directory);
    if (mkdir(directory, 0777) != 0 && errno != EEXIST) {
        refuse("%s cannot be made: %s", directory, strerror(errno));
    }
    seen s = seen_begin((size_t)(train + 2 * measured));
    grammar_random random = {(uint64_t)seed};
    write_file(directory, "test.tsv", GRAMMAR_SHORTEST, GRAMMAR_LONGEST, measured, &random, &s);
    write_file(directory, "dev.tsv", GRAMMAR_SHORTEST, longest, measured, &random, &s);
    write_file(directory, "train.tsv", GRAMMAR_SHORTEST, longest, train, &random, &s);
    seen_free(&s);
    char path[4096];
    snprintf(path, sizeof path, "%s/canonical.tsv", directory);
    whole_file out = whole_file_begin(path);
    sentence_pair canonical = {0};
    grammar_canonical(&canonical);
    pair_write(out.file, &canonical);
    pair_free(&canonical);
    whole_file_end(&out);
    return 0;
}
