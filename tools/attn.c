/* SPDX-License-Identifier: BSD-3-Clause
 *
 * attn.c: the command attn: finds the subcommand and lets it work. Every failure, wherever it happens, is one
 * sentence on standard error and exit status 2 (fail.h).
 */
#include "command.h"
#include "fail.h"
#include "options.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const command *const commands[] = {&command_info, &command_run, &command_plot, &command_align, &command_stats};
enum { COMMANDS = sizeof commands / sizeof commands[0] };

static void print_help(void)
{
    char text[1024];
    size_t used = (size_t)snprintf(text, sizeof text,
                                   "usage: attn COMMAND [OPTION ...]\n\n"
                                   "Attention on CPUs, from the command line.\n\n");
    for (size_t i = 0; i < COMMANDS; ++i) {
        used +=
            (size_t)snprintf(text + used, sizeof text - used, "  %-6s %s\n", commands[i]->name, commands[i]->summary);
    }
    (void)snprintf(text + used, sizeof text - used,
                   "\nattn COMMAND --help says more; attn --version prints the version.\n");
    options_print(text);
}

static void print_version(void)
{
    char text[64];
    (void)snprintf(text, sizeof text, "attn %s\n", attn_version());
    options_print(text);
}

/* A program started with a standard stream closed would get that number for the next file it opens, and would then
 * write its own messages into that file. What is put in its place here refuses both reading and writing. */
static void occupy_standard_streams(void)
{
    for (int descriptor = STDIN_FILENO; descriptor <= STDERR_FILENO; ++descriptor) {
        if (fcntl(descriptor, F_GETFD) == -1) (void)open("/dev/null", descriptor == STDIN_FILENO ? O_WRONLY : O_RDONLY);
    }
}

int main(int argc, char **argv)
{
    occupy_standard_streams();
    /* A reader that went away and a file at its limit are failed writes like any other. */
    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGXFSZ, SIG_IGN);
    const char *name = argc > 1 ? argv[1] : NULL;
    if (name == NULL) fail("a command is needed: info, run, plot or align (attn --help says more)");
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0) {
        print_help();
    } else if (strcmp(name, "--version") == 0) {
        print_version();
    } else {
        const command *found = NULL;
        for (size_t i = 0; i < COMMANDS; ++i) {
            if (strcmp(commands[i]->name, name) == 0) found = commands[i];
        }
        if (found == NULL) fail("there is no command '%s'; the commands are info, run, plot and align", name);
        found->execute(argc - 1, argv + 1);
    }
    return EXIT_SUCCESS;
}
