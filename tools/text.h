/* SPDX-License-Identifier: BSD-3-Clause
 *
 * text.h: words. Everything that reaches a terminal or a picture has passed here: it is valid UTF-8 without control
 * characters.
 */
#ifndef ATTN_TOOLS_TEXT_H
#define ATTN_TOOLS_TEXT_H

#include <stddef.h>

typedef struct tokens {
    size_t count;
    char **items; /* pointers into storage, each terminated */
    char *storage;
} tokens;

/* Fails unless text, length bytes, is UTF-8 without control characters other than tab and line ends; name is for
 * sentences. */
void text_check(const char *name, const char *text, size_t length);

/* The words of a sentence, separated by white space. */
tokens tokens_of_sentence(const char *name, const char *sentence);

/* The words of a file: one on each line, or, when the file has a single line, separated by white space. */
tokens tokens_of_file(const char *path);

/* "0", "1", ...: names for what has none. */
tokens tokens_numbered(size_t count);

void tokens_free(tokens *words);

/* How many bytes of text fit into columns columns of a terminal; *used receives the columns they take. */
size_t text_fit(const char *text, int columns, int *used);

/* A copy of text that takes at most columns columns, ending in an ellipsis if something was cut off; the caller's to
 * free. */
char *text_shortened(const char *text, int columns);

/* The columns that text takes in a terminal. */
int text_width(const char *text);

#endif
