/* SPDX-License-Identifier: BSD-3-Clause
 *
 * main.c: inference, the program: whether one sentence follows from another, by decomposable attention (Parikh 2016).
 */
#include "cli/cli.h"
#include "refuse.h"
#include "train/threads.h"

#include <stdio.h>
#include <string.h>

static const struct {
    const char *name, *about;
    int (*run)(int count, char **words);
} commands[] = {
    {"data", "writes premises and hypotheses of a grammar, with their labels", command_data},
    {"train", "trains a model", command_train},
    {"evaluate", "measures one", command_evaluate},
    {"run", "labels pairs of sentences", command_run},
    {"align", "writes what words look at, both ways, for attn plot", command_align},
    {"explain", "measures whether that explains the answers", command_explain},
};
enum { COMMANDS = sizeof commands / sizeof commands[0] };

static int help(FILE *to)
{
    fprintf(to, "inference COMMAND [option...]; --help after a command says what it takes\n\n");
    for (int i = 0; i < COMMANDS; i++) fprintf(to, "  %-10s %s\n", commands[i].name, commands[i].about);
    return to == stdout ? 0 : 2;
}

int main(int count, char **words)
{
    refuse_as("inference");
    threads_prepare();
    if (count < 2) return help(stderr);
    if (strcmp(words[1], "--help") == 0 || strcmp(words[1], "-h") == 0) return help(stdout);
    for (int i = 0; i < COMMANDS; i++) {
        if (strcmp(words[1], commands[i].name) == 0) return commands[i].run(count - 2, words + 2);
    }
    refuse("there is no command %s; inference --help lists them", words[1]);
}
