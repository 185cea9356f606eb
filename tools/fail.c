/* SPDX-License-Identifier: BSD-3-Clause
 *
 * fail.c: one sentence on standard error and exit status 2; the allocations that end that way.
 */
#include "fail.h"

#include "legible.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STATUS_FAILED = 2 };

/* File names, options and words are quoted in sentences: they must break neither the line nor the terminal. */
static void say(const char *prefix, const char *format, va_list arguments)
{
    enum { ROOM = 2048 };
    char sentence[ROOM], shown[ROOM * 2];
    (void)vsnprintf(sentence, sizeof sentence, format, arguments);
    legible(shown, sizeof shown, sentence);
    (void)fprintf(stderr, "attn: %s%s\n", prefix, shown);
}

_Noreturn void fail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    say("", format, arguments);
    va_end(arguments);
    exit(STATUS_FAILED);
}

void warn(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    say("warning: ", format, arguments);
    va_end(arguments);
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
