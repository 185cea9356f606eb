/* SPDX-License-Identifier: BSD-3-Clause
 *
 * whole_file.h: a file that is written whole or not at all: under another name in its folder, then renamed. */
#ifndef TRANSLATE_WHOLE_FILE_H
#define TRANSLATE_WHOLE_FILE_H

#include <stdio.h>

typedef struct whole_file {
    FILE *file; /* to be written to */
    char *path, *part;
} whole_file;

/* Refuses a path that cannot be written. "-" is standard output. */
whole_file whole_file_begin(const char *path);

/* Gives up where the disk did, and then leaves what was there under the path. */
void whole_file_end(whole_file *w);

#endif
