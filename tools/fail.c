/* SPDX-License-Identifier: BSD-3-Clause
 *
 * fail.c: one sentence on standard error and exit status 2; the allocations that end that way.
 */
#include "fail.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STATUS_FAILED = 2 };

_Noreturn void fail(const char *format, ...)
{
    char sentence[2048];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(sentence, sizeof sentence, format, arguments);
    va_end(arguments);
    /* File names and options are quoted in sentences: they must break neither the line nor the terminal. */
    for (char *c = sentence; *c != '\0'; ++c) {
        if ((unsigned char)*c < 0x20 || *c == 0x7f) *c = '?';
    }
    (void)fprintf(stderr, "attn: %s\n", sentence);
    exit(STATUS_FAILED);
}

void require(attn_status status)
{
    if (status == ATTN_OK) return;
    const char *words = attn_last_error();
    fail("%s", words[0] != '\0' ? words : attn_status_string(status));
}

void *allocate(size_t count, size_t size)
{
    return reallocate(NULL, count, size);
}

void *reallocate(void *pointer, size_t count, size_t size)
{
    /* PTRDIFF_MAX: what no array may exceed, so that pointers into it can be subtracted. */
    if (size != 0 && count > PTRDIFF_MAX / size) fail("%zu times %zu bytes cannot be addressed", count, size);
    size_t bytes = count * size;
    void *memory = realloc(pointer, bytes != 0 ? bytes : 1);
    if (memory == NULL) fail("there is no memory for %zu bytes", bytes);
    return memory;
}

char *copy_string(const char *text)
{
    size_t bytes = strlen(text) + 1;
    return memcpy(allocate(bytes, 1), text, bytes);
}
