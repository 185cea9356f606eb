/* SPDX-License-Identifier: BSD-3-Clause
 *
 * input.c: reading regular files in one piece and pipes into a growing buffer.
 */
#include "input.h"

#include "claims.h"
#include "fail.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>

enum { FIRST_PIECE = 64 * 1024 };

static input opened(const char *name, FILE *stream)
{
    struct stat status;
    if (fstat(fileno(stream), &status) == 0) claim(CLAIM_READ, name, &status);
    return (input){.name = name, .stream = stream};
}

input input_open(const char *path)
{
    static bool standard_input_taken;
    if (strcmp(path, "-") == 0) {
        if (standard_input_taken) fail("standard input ('-') can be read for one argument only");
        standard_input_taken = true;
        return opened("standard input", stdin);
    }
    FILE *stream = fopen(path, "rb");
    if (stream == NULL) fail("cannot open %s: %s", path, strerror(errno));
    return opened(path, stream);
}

void input_close(input *in)
{
    if (in->stream != stdin) (void)fclose(in->stream);
    in->stream = NULL;
}

/* How many bytes to make room for at first: what is left of a regular file, or a piece of anything else. */
static size_t first_room(FILE *stream)
{
    struct stat status;
    off_t position = ftello(stream);
    if (fstat(fileno(stream), &status) != 0 || !S_ISREG(status.st_mode) || position < 0) return FIRST_PIECE;
    if (status.st_size <= position) return FIRST_PIECE; /* the files of /proc say 0 */
    return (uintmax_t)(status.st_size - position) < PTRDIFF_MAX ? (size_t)(status.st_size - position) : PTRDIFF_MAX - 1;
}

void *input_read(const input *in, size_t limit, size_t *bytes)
{
    size_t room = first_room(in->stream);
    if (room > limit) room = limit;
    unsigned char *data = allocate(room + 1, 1);
    size_t used = 0;
    for (;;) {
        used += fread(data + used, 1, room - used, in->stream);
        if (ferror(in->stream)) fail("cannot read %s: %s", in->name, strerror(errno));
        if (used == limit || used < room) break;
        /* A full buffer: a byte more tells the end of the input from the need for more room. */
        int next = fgetc(in->stream);
        if (next == EOF) {
            if (ferror(in->stream)) fail("cannot read %s: %s", in->name, strerror(errno));
            break;
        }
        room = room > limit / 2 ? limit : room * 2;
        data = reallocate(data, room + 1, 1);
        data[used++] = (unsigned char)next;
    }
    *bytes = used;
    return data;
}
