/* SPDX-License-Identifier: BSD-3-Clause
 *
 * output.h: outputs that appear whole or not at all, all of a command's together. Until output_commit has returned,
 * every way out of the program (a failure, a signal) leaves the file system as it was.
 */
#ifndef ATTN_TOOLS_OUTPUT_H
#define ATTN_TOOLS_OUTPUT_H

#include <stddef.h>
#include <stdio.h>

/* Opens an output; "-" is standard output, which can be written once. The stream belongs to this module: it is
 * written to, but not closed. */
FILE *output_open(const char *path);

/* fwrite that fails at once, with the reason. */
void output_write(FILE *stream, const void *data, size_t bytes);

/* Puts every output in its place. */
void output_commit(void);

#endif
