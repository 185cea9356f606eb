/* SPDX-License-Identifier: BSD-3-Clause
 *
 * options.c: getopt_long with sentences of our own, and the values of options.
 */
#include "options.h"

#include "fail.h"
#include "output.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

void options_print(const char *text)
{
    output_write(output_open("-"), text, strlen(text));
    output_commit();
}

static void print_help(const char *const *pieces)
{
    char *text = copy_string("");
    for (; *pieces != NULL; ++pieces) {
        size_t used = strlen(text), more = strlen(*pieces) + 1;
        text = reallocate(text, used + more, 1);
        memcpy(text + used, *pieces, more);
    }
    options_print(text);
    free(text);
}

int options_next(const command *of, int argc, char **argv, const char *letters, const struct option *options)
{
    opterr = 0;
    int before = optind;
    int option = getopt_long(argc, argv, letters, options, NULL);
    /* getopt may have moved operands, but the element it has just taken is the one before optind, or is still at
     * optind in the middle of a group of letters. */
    const char *text = argv[optind > before ? optind - 1 : optind];
    switch (option) {
    case OPTION_HELP:
        print_help(of->help);
        exit(EXIT_SUCCESS);
    case ':':
        fail("option '%s' of attn %s needs a value", text, of->name);
    case '?':
        /* getopt leaves 0 for a long name that it does not know. */
        if (strncmp(text, "--", 2) == 0 && optopt != 0) fail("attn %s takes no value in '%s'", of->name, text);
        fail("attn %s has no option '%s' (attn %s --help lists them)", of->name, text, of->name);
    default:
        return option;
    }
}

void options_operands(int argc, char **argv, int wanted, const char *wanted_words)
{
    if (argc - optind < wanted) fail("attn %s needs %s (attn %s --help says more)", argv[0], wanted_words, argv[0]);
    if (argc - optind > wanted) fail("attn %s has no use for '%s'", argv[0], argv[optind + wanted]);
}

void options_set_once(const char **slot, const char *value, const char *option)
{
    if (*slot != NULL) fail("--%s is given twice", option);
    *slot = value;
}

int32_t options_word(const char *option, const char *text, const option_word *words)
{
    char list[256] = "";
    for (const option_word *word = words; word->name != NULL; ++word) {
        if (strcmp(word->name, text) == 0) return word->value;
        size_t used = strlen(list);
        (void)snprintf(list + used, sizeof list - used, "%s%s", used > 0 ? ", " : "", word->name);
    }
    fail("%s does not know '%s'; it takes one of %s", option, text, list);
}

int64_t options_integer(const char *option, const char *text)
{
    char *end;
    errno = 0;
    intmax_t number = strtoimax(text, &end, 10);
    if (end == text || *end != '\0') fail("%s takes a whole number, not '%s'", option, text);
    if (errno == ERANGE || number > INT64_MAX || number < INT64_MIN) {
        fail("%s does not fit in 64 bits: %s", option, text);
    }
    return (int64_t)number;
}

uint64_t options_unsigned(const char *option, const char *text)
{
    char *end;
    errno = 0;
    /* strtoumax takes a sign, and then counts from 2^64 down. */
    uintmax_t number = strtoumax(text, &end, 10);
    if (end == text || *end != '\0' || strchr(text, '-') != NULL) {
        fail("%s takes a whole number of at least 0, not '%s'", option, text);
    }
    if (errno == ERANGE || number > UINT64_MAX) fail("%s does not fit in 64 bits: %s", option, text);
    return (uint64_t)number;
}

double options_number(const char *option, const char *text)
{
    char *end;
    double number = strtod(text, &end);
    if (end == text || *end != '\0') fail("%s takes a number, not '%s'", option, text);
    return number;
}
