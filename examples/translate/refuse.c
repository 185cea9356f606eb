/* SPDX-License-Identifier: BSD-3-Clause
 *
 * refuse.c: see refuse.h. */
#include "refuse.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *name = "translate";

void refuse_as(const char *program)
{
    name = program;
}

static void say(const char *format, va_list arguments)
{
    fflush(stdout);
    fprintf(stderr, "%s: ", name);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
}

/* What is allocated goes with the process, and is no leak. */
static _Noreturn void end(int status)
{
    fflush(NULL);
    _exit(status);
}

void refuse(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    say(format, arguments);
    va_end(arguments);
    end(2);
}

void give_up(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    say(format, arguments);
    va_end(arguments);
    end(1);
}

void attn_must(attn_status status)
{
    if (status != ATTN_OK) give_up("%s", attn_last_error());
}

static void *checked(void *pointer, size_t count, size_t size)
{
    if (pointer == NULL) give_up("there is no memory for %zu times %zu bytes", count, size);
    return pointer;
}

void *allocate(size_t count, size_t size)
{
    return reallocate(NULL, count, size);
}

void *allocate_zeros(size_t count, size_t size)
{
    return checked(calloc(count > 0 ? count : 1, size > 0 ? size : 1), count, size);
}

void *reallocate(void *pointer, size_t count, size_t size)
{
    if (size > 0 && count > SIZE_MAX / size) give_up("there is no memory for %zu times %zu bytes", count, size);
    return checked(realloc(pointer, count * size > 0 ? count * size : 1), count, size);
}

char *copy_text(const char *text)
{
    const size_t bytes = strlen(text) + 1;
    return memcpy(allocate(bytes, 1), text, bytes);
}
