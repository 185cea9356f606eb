/* SPDX-License-Identifier: BSD-3-Clause
 *
 * plot_files.h: the files of -o, and which kind of picture each of them is.
 */
#ifndef ATTN_TOOLS_PLOT_FILES_H
#define ATTN_TOOLS_PLOT_FILES_H

#include "plot.h"

#include <stddef.h>

/* In the order given. */
typedef struct plot_files {
    struct plot_file *items;
    size_t count;
} plot_files;

/* Opens a file; the part of path after its last dot says what it is to be, before anything is computed. */
void plot_files_add(plot_files *files, const char *path);

/* Writes the plot to every file, or to the terminal if there is none, commits, and frees the list. */
void plot_show(const plot *p, plot_files *files);

#endif
