/* SPDX-License-Identifier: BSD-3-Clause
 *
 * evaluate.c: inference evaluate and inference run. */
#include "cli/cli.h"
#include "commands/options.h"
#include "entail/checkpoint.h"
#include "entail/trainer.h"
#include "refuse.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int command_evaluate(int count, char **words)
{
    const command_line line = {
        .usage = "inference evaluate CHECKPOINT EXAMPLES",
        .about = "How many answers are right, and which label was taken for which.",
        .least_arguments = 2,
        .most_arguments = 2,
    };
    const char *arguments[2];
    command_line_take(&line, count, words, arguments);
    checkpoint c = checkpoint_read(arguments[0]);
    example_list examples = {0};
    example_list_read(&examples, arguments[1]);
    dataset data = dataset_of(&examples.pairs, &c.words, &c.words, false);
    double *p = allocate(data.count * LABELS, sizeof *p);
    entail_probabilities(c.model, &data, p);
    long table[LABELS][LABELS] = {{0}}, right = 0;
    for (size_t i = 0; i < data.count; i++) table[examples.labels[i]][likeliest_label(p + i * LABELS)]++;
    for (int k = 0; k < LABELS; k++) right += table[k][k];
    printf("%ld of %zu right: %.2f %%\n\n%-14s", right, data.count, 100.0 * (double)right / (double)data.count,
           "label");
    for (int k = 0; k < LABELS; k++) printf("%14s", label_names[k]);
    printf("%10s\n", "right %");
    for (int i = 0; i < LABELS; i++) {
        long all = 0;
        printf("%-14s", label_names[i]);
        for (int k = 0; k < LABELS; k++) {
            printf("%14ld", table[i][k]);
            all += table[i][k];
        }
        if (all > 0) printf("%10.2f", 100.0 * (double)table[i][i] / (double)all);
        putchar('\n');
    }
    free(p);
    dataset_free(&data);
    example_list_free(&examples);
    checkpoint_free(&c);
    return 0;
}

int command_run(int count, char **words)
{
    const command_line line = {
        .usage = "inference run CHECKPOINT [FILE]",
        .about =
            "Labels pairs, a line each: a premise, a tab, a hypothesis; words and full stop with spaces between. The\n"
            "label comes out, and the probabilities of entailed, contradicted and neutral.",
        .least_arguments = 1,
        .most_arguments = 2,
    };
    const char *arguments[2] = {NULL, "-"};
    command_line_take(&line, count, words, arguments);
    checkpoint c = checkpoint_read(arguments[0]);
    FILE *file = strcmp(arguments[1], "-") == 0 ? stdin : fopen(arguments[1], "r");
    if (file == NULL) refuse("%s cannot be read: %s", arguments[1], strerror(errno));
    char *text = NULL, what[512];
    size_t size = 0, number = 0;
    while (getline(&text, &size, file) >= 0) {
        snprintf(what, sizeof what, "line %zu of %s", ++number, arguments[1]);
        sentence_pair pair = {0};
        example_read_pair(text, what, &pair);
        pair_list one = {&pair, 1, 1};
        dataset data = dataset_of(&one, &c.words, &c.words, false);
        double p[LABELS];
        entail_probabilities(c.model, &data, p);
        printf("%s\t%.4f\t%.4f\t%.4f\n", label_names[likeliest_label(p)], p[0], p[1], p[2]);
        fflush(stdout);
        dataset_free(&data);
        pair_free(&pair);
    }
    free(text);
    if (file != stdin) fclose(file);
    checkpoint_free(&c);
    return 0;
}
