/* SPDX-License-Identifier: BSD-3-Clause
 *
 * fail.h: the one way in which the tool gives up: a sentence on standard error, exit status 2, nothing half-written
 * left behind (see output.h). No function of the tool returns an error.
 */
#ifndef ATTN_TOOLS_FAIL_H
#define ATTN_TOOLS_FAIL_H

#include <attn/attn.h>
#include <stddef.h>

/* Prints "attn: ", the sentence and a newline, and ends the program. */
__attribute__((format(printf, 1, 2))) _Noreturn void fail(const char *format, ...);

/* Prints "attn: warning: ", the sentence and a newline, and goes on. */
__attribute__((format(printf, 1, 2))) void warn(const char *format, ...);

/* Passes a failure of the library on, in the library's words; ATTN_OK passes. */
void require(attn_status status);

/* count * size bytes (never NULL, also for 0); fails when there is no such memory. */
void *allocate(size_t count, size_t size);
void *reallocate(void *pointer, size_t count, size_t size);
char *copy_string(const char *text);

#endif
