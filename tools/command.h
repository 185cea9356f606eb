/* SPDX-License-Identifier: BSD-3-Clause
 *
 * command.h: the subcommands of attn.
 */
#ifndef ATTN_TOOLS_COMMAND_H
#define ATTN_TOOLS_COMMAND_H

typedef struct command {
    const char *name;
    const char *summary;                    /* a line of attn --help */
    const char *const *help;                /* what attn NAME --help prints: pieces, up to a NULL */
    void (*execute)(int argc, char **argv); /* argv[0] is the subcommand's name */
} command;

extern const command command_info;
extern const command command_run;
extern const command command_plot;
extern const command command_align;
extern const command command_stats;

#endif
