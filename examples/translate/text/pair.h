/* SPDX-License-Identifier: BSD-3-Clause
 *
 * pair.h: a sentence in two languages, as tokens, and which tokens translate which. As text it is a line of fields that
 * tabs separate, tokens within them by single spaces:
 *
 *     It is red .<tab>Elle est rouge .<tab>0-0 1-1 2-2 3-3
 *
 * The third field may be missing. A link source-target counts from 0; a question mark (1?2) makes it a possible link, a
 * dash a sure one, as Och and Ney (2003, section 2.3) tell them apart. */
#ifndef TRANSLATE_PAIR_H
#define TRANSLATE_PAIR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

typedef struct pair_link {
    int source, target;
    bool sure;
} pair_link;

typedef struct sentence_pair {
    char **source, **target; /* tokens: not empty, UTF-8, without white space; the pair's own */
    pair_link *links;        /* sorted by target, then source; none twice */
    int source_count, target_count, link_count;
} sentence_pair;

typedef struct pair_list {
    sentence_pair *pairs;
    size_t count, capacity;
} pair_list;

/* To be used on a pair that is all zeros at first. A link that is there is not added again, but may become sure. */
void pair_add_source(sentence_pair *pair, const char *token);
void pair_add_target(sentence_pair *pair, const char *token);
void pair_add_link(sentence_pair *pair, int source, int target, bool sure);
void pair_free(sentence_pair *pair);

/* Writes the line, with its newline. Links are left out where there are none. */
void pair_write(FILE *file, const sentence_pair *pair);

/* Takes the pair over, and leaves *pair empty. */
void pair_list_take(pair_list *list, sentence_pair *pair);
void pair_list_free(pair_list *list);

/* Reads a file of lines, "-" being standard input, behind what is in the list; a sentence on one side only is refused,
 * as are bytes that are not UTF-8 and links to no token, with the file's name and the line's number. */
void pair_list_read(pair_list *list, const char *path);

#endif
