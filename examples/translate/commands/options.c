/* SPDX-License-Identifier: BSD-3-Clause
 *
 * options.c: see options.h. */
#include "commands/options.h"

#include "refuse.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void describe(const char *name, const char *value, const char *about)
{
    char left[64];
    snprintf(left, sizeof left, "%s%s%s%s", strlen(name) == 1 ? "-" : "--", name, *value != '\0' ? " " : "", value);
    printf("  %-24s %s\n", left, about);
}

static void help(const command_line *line)
{
    printf("%s\n\n%s\n\n", line->usage, line->about);
    for (int i = 0; i < line->option_count; i++) {
        const option *o = &line->options[i];
        describe(o->name, o->type == OPTION_FLAG ? "" : o->type == OPTION_TEXT ? "TEXT" : "N", o->about);
    }
    if (line->setup != NULL) {
        for (int i = 0; i < setup_field_count; i++) {
            char about[128], text[64];
            setup_text(line->setup, &setup_fields[i], text, sizeof text);
            const bool flag = setup_fields[i].type == SETUP_FLAG;
            snprintf(about, sizeof about, "%s%s%s%s", setup_fields[i].about, flag ? "" : " (", flag ? "" : text,
                     flag ? "" : ")");
            describe(setup_fields[i].name, flag ? "" : setup_fields[i].type == SETUP_NAME ? "NAME" : "N", about);
        }
    }
    exit(0);
}

static void set(const option *o, const char *text, const char *what)
{
    if (o->type == OPTION_TEXT) {
        *(const char **)o->to = text;
        return;
    }
    const double number = number_told(text, o->type != OPTION_DOUBLE, o->least, o->most, what);
    if (o->type == OPTION_INT) *(int *)o->to = (int)number;
    if (o->type == OPTION_LONG) *(long *)o->to = (long)number;
    if (o->type == OPTION_DOUBLE) *(double *)o->to = number;
}

int command_line_take(const command_line *line, int count, char **words, const char **arguments)
{
    int taken = 0;
    for (int i = 0; i < count; i++) {
        const char *word = words[i];
        if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) help(line);
        if (word[0] != '-' || word[1] == '\0') {
            if (taken == line->most_arguments) refuse("'%s' is one argument too many: %s", word, line->usage);
            arguments[taken++] = word;
            continue;
        }
        const char *name = word + (word[1] == '-' ? 2 : 1);
        const option *o = NULL;
        for (int k = 0; k < line->option_count; k++) {
            if (strcmp(line->options[k].name, name) == 0) o = &line->options[k];
        }
        const setup_field *field = o == NULL && line->setup != NULL ? setup_field_named(name) : NULL;
        if (o == NULL && field == NULL) refuse("there is no option %s: %s; --help lists them", word, line->usage);
        const bool flag = o != NULL ? o->type == OPTION_FLAG : field->type == SETUP_FLAG;
        if (!flag && i + 1 == count) refuse("%s lacks its value", word);
        if (o != NULL && flag) *(bool *)o->to = true;
        if (o != NULL && !flag) set(o, words[++i], word);
        if (field != NULL) {
            setup_set(line->setup, field, flag ? "1" : words[++i], word);
            if (line->is_set != NULL) line->is_set[field - setup_fields] = true;
        }
    }
    if (taken < line->least_arguments) refuse("something is missing: %s", line->usage);
    return taken;
}
