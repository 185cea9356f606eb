/* SPDX-License-Identifier: BSD-3-Clause
 *
 * whole_file.c: see whole_file.h. */
#include "whole_file.h"

#include "refuse.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

whole_file whole_file_begin(const char *path)
{
    whole_file w = {stdout, copy_text(path), NULL};
    if (strcmp(path, "-") == 0) return w;
    const size_t size = strlen(path) + 32;
    w.part = allocate(size, 1);
    snprintf(w.part, size, "%s.part%ld", path, (long)getpid());
    w.file = fopen(w.part, "wb");
    if (w.file == NULL) refuse("%s cannot be written: %s", path, strerror(errno));
    return w;
}

void whole_file_end(whole_file *w)
{
    int failed = ferror(w->file);
    if (w->part == NULL) {
        failed |= fflush(w->file);
    } else {
        failed |= fflush(w->file) != 0 || fsync(fileno(w->file)) != 0;
        failed |= fclose(w->file) != 0;
        failed = failed || rename(w->part, w->path) != 0;
    }
    if (failed) {
        const int reason = errno;
        if (w->part != NULL) unlink(w->part);
        give_up("%s could not be written: %s", w->path, strerror(reason));
    }
    free(w->path);
    free(w->part);
}
