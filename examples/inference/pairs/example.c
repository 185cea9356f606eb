/* SPDX-License-Identifier: BSD-3-Clause
 *
 * example.c: lists and lines of examples; see example.h. */
#include "pairs/example.h"

#include "refuse.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void example_list_take(example_list *list, sentence_pair *pair, int label)
{
    if (list->pairs.count == list->capacity) {
        list->capacity = list->capacity == 0 ? 64 : 2 * list->capacity;
        list->labels = reallocate(list->labels, list->capacity, sizeof *list->labels);
    }
    list->labels[list->pairs.count] = label;
    pair_list_take(&list->pairs, pair);
}

void example_list_free(example_list *list)
{
    pair_list_free(&list->pairs);
    free(list->labels);
    *list = (example_list){0};
}

static void read_sentence(char *text, const char *what, const char *which, sentence_pair *pair,
                          void (*add)(sentence_pair *, const char *))
{
    int count = 0;
    for (char *rest = NULL, *word = strtok_r(text, " ", &rest); word != NULL; word = strtok_r(NULL, " ", &rest)) {
        add(pair, word);
        count++;
    }
    if (count == 0) refuse("%s: the %s has no word", what, which);
}

void example_read_pair(char *line, const char *what, sentence_pair *pair)
{
    line[strcspn(line, "\r\n")] = '\0';
    char *tab = strchr(line, '\t');
    if (tab == NULL) refuse("%s: a premise and a hypothesis have a tab between them, here is none", what);
    if (strchr(tab + 1, '\t') != NULL) refuse("%s: there is a tab too many", what);
    *tab = '\0';
    read_sentence(line, what, "premise", pair, pair_add_source);
    read_sentence(tab + 1, what, "hypothesis", pair, pair_add_target);
}

void example_list_read(example_list *list, const char *path)
{
    FILE *file = strcmp(path, "-") == 0 ? stdin : fopen(path, "r");
    if (file == NULL) refuse("%s cannot be read: %s", path, strerror(errno));
    char *line = NULL, what[512];
    size_t size = 0, number = 0;
    while (getline(&line, &size, file) >= 0) {
        snprintf(what, sizeof what, "line %zu of %s", ++number, path);
        char *tab = strchr(line, '\t');
        if (tab == NULL) refuse("%s: a label, a premise and a hypothesis have tabs between them, here is none", what);
        *tab = '\0';
        int label = 0;
        while (label < LABELS && strcmp(line, label_names[label]) != 0) label++;
        if (label == LABELS) refuse("%s: '%s' is no label: it is entailed, contradicted or neutral", what, line);
        sentence_pair pair = {0};
        example_read_pair(tab + 1, what, &pair);
        example_list_take(list, &pair, label);
    }
    if (ferror(file)) refuse("%s cannot be read: %s", path, strerror(errno));
    free(line);
    if (file != stdin) fclose(file);
    if (list->pairs.count == 0) refuse("%s has no example", path);
}

void example_write(FILE *file, const sentence_pair *pair, int label)
{
    fputs(label_names[label], file);
    for (int i = 0; i < pair->source_count; i++) fprintf(file, "%c%s", i == 0 ? '\t' : ' ', pair->source[i]);
    for (int i = 0; i < pair->target_count; i++) fprintf(file, "%c%s", i == 0 ? '\t' : ' ', pair->target[i]);
    fputc('\n', file);
}

void example_say(const struct event *premise, const struct event *hypothesis, sentence_pair *pair)
{
    sentence_pair said = {0};
    event_say(premise, pair);
    event_say(hypothesis, &said);
    for (int i = 0; i < said.source_count; i++) pair_add_target(pair, said.source[i]);
    pair_free(&said);
}
