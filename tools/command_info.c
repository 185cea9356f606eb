/* SPDX-License-Identifier: BSD-3-Clause
 *
 * command_info.c: attn info prints what the engine says about itself. The library's JSON is laid out by a walker that
 * knows its form but none of its keys, so that the tool need not change when a key is added.
 */
#include "command.h"
#include "fail.h"
#include "options.h"
#include "output.h"

#include <attn/attn.h>
#include <ctype.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { KEY_COLUMNS = 16, INDENT = 2 };

/* Prints the string that starts at the quotation mark *json, without its quotes, with spaces for underscores where
 * it is a key; returns what follows it. */
static const char *print_string(FILE *out, const char *json, bool key, int *columns)
{
    for (++json; *json != '"' && *json != '\0'; ++json) {
        if (*json == '\\' && json[1] != '\0' && json[1] != 'u') ++json; /* \" and \\; \u0000 stays readable as it is */
        (void)fputc(key && *json == '_' ? ' ' : *json, out);
        ++*columns;
    }
    return *json == '"' ? json + 1 : json;
}

/* Prints a string, a number, a word, or an array of these with spaces between; returns what follows it. */
static const char *print_value(FILE *out, const char *json)
{
    int unused = 0;
    bool array = *json == '[';
    if (array) ++json;
    while (*json != '\0') {
        if (*json == '"') {
            json = print_string(out, json, false, &unused);
        } else if (strncmp(json, "true", 4) == 0 || strncmp(json, "false", 5) == 0) {
            (void)fputs(*json == 't' ? "yes" : "no", out);
            while (isalpha((unsigned char)*json)) ++json;
        } else {
            while (*json != '\0' && strchr(",]}", *json) == NULL) (void)fputc(*json++, out);
        }
        if (!array || *json != ',') break;
        (void)fputc(' ', out);
        ++json;
    }
    return array && *json == ']' ? json + 1 : json;
}

static void print_object(FILE *out, const char *json)
{
    int depth = 0;
    while (*json != '\0') {
        if (*json == '{') ++depth;
        if (*json == '}') --depth;
        if (*json != '"') {
            ++json;
            continue;
        }
        int columns = INDENT * (depth - 1);
        (void)fprintf(out, "%*s", columns, "");
        json = print_string(out, json, true, &columns);
        json += strspn(json, ": ");
        if (*json != '{') {
            (void)fprintf(out, "%*s", columns < KEY_COLUMNS ? KEY_COLUMNS - columns : 1, "");
            json = print_value(out, json);
        }
        (void)fputc('\n', out);
    }
}

static char *describe(void)
{
    attn_engine *engine;
    require(attn_engine_create(NULL, &engine));
    size_t bytes = 0;
    require(attn_engine_describe(engine, NULL, &bytes));
    char *json = allocate(bytes, 1);
    require(attn_engine_describe(engine, json, &bytes));
    attn_engine_destroy(engine);
    return json;
}

static void execute(int argc, char **argv)
{
    static const struct option options[] = {
        {"json", no_argument, NULL, 'j'}, {"help", no_argument, NULL, OPTION_HELP}, {NULL, 0, NULL, 0}};
    bool as_json = false;
    while (options_next(&command_info, argc, argv, ":h", options) != -1) as_json = true;
    options_operands(argc, argv, 0, "nothing");
    char *json = describe();
    FILE *out = output_open("-");
    if (as_json) {
        (void)fprintf(out, "%s\n", json);
    } else {
        print_object(out, json);
    }
    free(json);
    output_commit();
}

static const char text[] =
    "usage: attn info [--json]\n"
    "\n"
    "Prints the library's version, the CPU and its features, the way of computing, the threads, and the BLAS:\n"
    "its core, its threading, and whether it suits this CPU or why not.\n"
    "\n"
    "  --json   print the library's own JSON object instead\n";
static const char *const help[] = {text, NULL};

const command command_info = {
    .name = "info",
    .summary = "say what this machine and its BLAS are, and how attention is computed on them",
    .help = help,
    .execute = execute,
};
