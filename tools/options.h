/* SPDX-License-Identifier: BSD-3-Clause
 *
 * options.h: reading command lines. Whatever is wrong with an option is said here, once and in one way.
 */
#ifndef ATTN_TOOLS_OPTIONS_H
#define ATTN_TOOLS_OPTIONS_H

#include "command.h"

#include <getopt.h>
#include <stdint.h>

/* Values of options without a letter start here; OPTION_HELP is taken by options_next itself. */
enum { OPTION_HELP = 'h', OPTION_FIRST = 256 };

/* getopt_long that fails with a sentence, and that answers --help and ends the program. Returns -1 after the last
 * option; optind is then the first operand. */
int options_next(const command *of, int argc, char **argv, const char *letters, const struct option *options);

/* Fails if there are more or fewer operands (what is left after the options) than wanted; wanted_words says what
 * they are. */
void options_operands(int argc, char **argv, int wanted, const char *wanted_words);

/* Sets *slot to value; fails if it was set before. option is the name without its dashes. */
void options_set_once(const char **slot, const char *value, const char *option);

/* A word out of a list that ends with a NULL name. */
typedef struct option_word {
    const char *name;
    int32_t value;
} option_word;
int32_t options_word(const char *option, const char *text, const option_word *words);

/* A whole number, or any number, that is all of text. Ranges are for whoever uses the number to check. */
int64_t options_integer(const char *option, const char *text);
uint64_t options_unsigned(const char *option, const char *text);
double options_number(const char *option, const char *text);

/* Prints text to standard output, whole or not at all. */
void options_print(const char *text);

#endif
