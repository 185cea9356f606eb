/* SPDX-License-Identifier: BSD-3-Clause
 *
 * example.h: premises and hypotheses with their labels. As text, a line of three fields that tabs separate:
 *
 *     entailed<tab>The old king signed the letter in Paris .<tab>The letter was signed by a man . */
#ifndef INFERENCE_EXAMPLE_H
#define INFERENCE_EXAMPLE_H

#include "pairs/facts.h"
#include "text/grammar.h"

#include <stddef.h>
#include <stdio.h>

/* The sources of pairs are premises, their targets hypotheses. */
typedef struct example_list {
    pair_list pairs;
    int *labels; /* enum label, or -1 where none was told */
    size_t capacity;
} example_list;

/* Takes the pair over. */
void example_list_take(example_list *list, sentence_pair *pair, int label);
void example_list_free(example_list *list);

/* "-" is standard input. What is no such line is refused with its number. */
void example_list_read(example_list *list, const char *path);
void example_write(FILE *file, const sentence_pair *pair, int label);

/* A line "premise<tab>hypothesis"; what says where it comes from, in refusals. */
void example_read_pair(char *line, const char *what, sentence_pair *pair);

/* Draws the hypothesis first, then the label, each as likely as another, then a premise that the hypothesis has this
 * label for: so that the hypothesis alone tells nothing of the label. Both events, to look at. */
enum label example_draw(grammar_random *random, struct event *premise, struct event *hypothesis);

/* Both as words; *pair is all zeros. */
void example_say(const struct event *premise, const struct event *hypothesis, sentence_pair *pair);

#endif
