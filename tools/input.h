/* SPDX-License-Identifier: BSD-3-Clause
 *
 * input.h: files and standard input, read in pieces of known size. Memory grows with what has been read, never with
 * what a header claims.
 */
#ifndef ATTN_TOOLS_INPUT_H
#define ATTN_TOOLS_INPUT_H

#include <stddef.h>
#include <stdio.h>

typedef struct input {
    const char *name; /* for sentences */
    FILE *stream;
} input;

/* Opens path for reading; "-" is standard input, which can be read once. */
input input_open(const char *path);
void input_close(input *in);

/* Reads until limit bytes or the end; *bytes receives how many came. The memory is the caller's and has room for one
 * byte more than *bytes, so that text can be terminated. */
void *input_read(const input *in, size_t limit, size_t *bytes);

#endif
