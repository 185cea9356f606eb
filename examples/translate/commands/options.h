/* SPDX-License-Identifier: BSD-3-Clause
 *
 * options.h: the command line, by tables: --name value. */
#ifndef TRANSLATE_OPTIONS_H
#define TRANSLATE_OPTIONS_H

#include "train/setup.h"

#include <stdbool.h>

typedef enum option_type { OPTION_TEXT, OPTION_INT, OPTION_LONG, OPTION_DOUBLE, OPTION_FLAG } option_type;

typedef struct option {
    const char *name; /* without dashes; of one letter: with one */
    option_type type;
    void *to; /* const char *, int, long, double, or bool that a flag makes true */
    double least, most;
    const char *about;
} option;

typedef struct command_line {
    const char *usage; /* "translate evaluate CHECKPOINT PAIRS [option...]" */
    const char *about;
    const option *options;
    int option_count;
    setup *setup;                        /* its fields are options too, or NULL */
    bool *is_set;                        /* [setup_field_count] which of them were given, or NULL */
    int least_arguments, most_arguments; /* those that are no options */
} command_line;

/* Fills what options point to; arguments[] receives the others, and their number comes back. --help prints and ends the
 * program. */
int command_line_take(const command_line *line, int count, char **words, const char **arguments);

#endif
