/* SPDX-License-Identifier: BSD-3-Clause
 *
 * run.c: translate run: sentences in, translations out, a line each. */
#include "commands/commands.h"
#include "commands/options.h"
#include "commands/translator.h"
#include "refuse.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The words of a line; whatever white space is between. */
static void split(char *line, sentence_pair *pair)
{
    for (char *rest = NULL, *word = strtok_r(line, " \t\r\n", &rest); word != NULL;
         word = strtok_r(NULL, " \t\r\n", &rest)) {
        pair_add_source(pair, word);
    }
}

int command_run(int count, char **words)
{
    int beam = 4;
    double penalty = 1;
    const option options[] = {
        {"beam", OPTION_INT, &beam, 1, 256, "hypotheses that are followed; 1: the likeliest word each time (4)"},
        {"penalty", OPTION_DOUBLE, &penalty, 0, 10, "log p / length^N is compared (1)"},
    };
    const command_line line = {
        .usage = "translate run CHECKPOINT [FILE] [option...]",
        .about =
            "Translates sentences, a line each, of words with spaces between, from a file or standard input. A word\n"
            "that the model does not know is taken over where it was looked at. An empty line stays empty.",
        .options = options,
        .option_count = sizeof options / sizeof options[0],
        .least_arguments = 1,
        .most_arguments = 2,
    };
    const char *arguments[2] = {NULL, "-"};
    command_line_take(&line, count, words, arguments);
    checkpoint c = checkpoint_read(arguments[0]);
    FILE *file = strcmp(arguments[1], "-") == 0 ? stdin : fopen(arguments[1], "r");
    if (file == NULL) refuse("%s cannot be read: %s", arguments[1], strerror(errno));
    char *text = NULL;
    size_t size = 0;
    while (getline(&text, &size, file) >= 0) {
        sentence_pair pair = {0};
        split(text, &pair);
        if (pair.source_count > 0) {
            translation made = translate_pair(&c, &pair, beam, penalty);
            char **said = translation_words(&made, &c.target, pair.source);
            for (int i = 0; i < made.count; i++) printf("%s%s", i > 0 ? " " : "", said[i]);
            words_free(said, made.count);
            translation_free(&made);
        }
        putchar('\n');
        fflush(stdout);
        pair_free(&pair);
    }
    free(text);
    if (file != stdin) fclose(file);
    checkpoint_free(&c);
    return 0;
}
