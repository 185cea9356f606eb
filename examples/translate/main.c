/* SPDX-License-Identifier: BSD-3-Clause
 *
 * main.c: translate, the program: one translator for each attention since 2014, trained, measured and looked at. */
#include "commands/commands.h"
#include "refuse.h"
#include "train/threads.h"

#include <stdio.h>
#include <string.h>

static const struct {
    const char *name, *about;
    int (*run)(int count, char **words);
} commands[] = {
    {"data", "writes English-French sentences of a grammar, with their alignments", command_data},
    {"models", "lists the models", command_models},
    {"train", "trains one", command_train},
    {"batches", "writes what a training takes, for another program", command_batches},
    {"evaluate", "measures one by the length of sentences", command_evaluate},
    {"run", "translates sentences", command_run},
    {"align", "writes what models look at, for attn plot", command_align},
    {"explain", "asks whether what a model looks at explains what it says", command_explain},
    {"adversary", "trains a model that says what another says, looking elsewhere", command_adversary},
    {"figures", "measures what textbooks say of attention", command_figures},
};
enum { COMMANDS = sizeof commands / sizeof commands[0] };

static int help(FILE *to)
{
    fprintf(to, "translate COMMAND [option...]; --help after a command says what it takes\n\n");
    for (int i = 0; i < COMMANDS; i++) fprintf(to, "  %-10s %s\n", commands[i].name, commands[i].about);
    return to == stdout ? 0 : 2;
}

int main(int count, char **words)
{
    threads_prepare();
    if (count < 2) return help(stderr);
    if (strcmp(words[1], "--help") == 0 || strcmp(words[1], "-h") == 0) return help(stdout);
    for (int i = 0; i < COMMANDS; i++) {
        if (strcmp(words[1], commands[i].name) == 0) return commands[i].run(count - 2, words + 2);
    }
    refuse("there is no command %s; translate --help lists them", words[1]);
}
