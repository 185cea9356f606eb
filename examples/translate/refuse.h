/* SPDX-License-Identifier: BSD-3-Clause
 *
 * refuse.h: how the program ends when it cannot go on. Everything is said in one sentence on standard error. */
#ifndef TRANSLATE_REFUSE_H
#define TRANSLATE_REFUSE_H

#include <attn/attn.h>
#include <stddef.h>

/* The program's name, which begins each sentence: "translate" where nothing is said. Borrowed. */
void refuse_as(const char *program);

/* The user gave something that cannot be used (a missing file, a malformed line, a checkpoint of another model):
 * status 2. Whoever calls it has written nothing yet, or has taken back what was written. */
#if defined(__GNUC__)
__attribute__((format(printf, 1, 2)))
#endif
_Noreturn void
refuse(const char *format, ...);

/* The machine failed (no memory, a full disk): status 1. */
#if defined(__GNUC__)
__attribute__((format(printf, 1, 2)))
#endif
_Noreturn void
give_up(const char *format, ...);

/* A call of libattn that must succeed: gives up with attn_last_error() if it did not. */
void attn_must(attn_status status);

/* malloc, calloc and realloc that give up when there is no memory. */
void *allocate(size_t count, size_t size);       /* contents undefined */
void *allocate_zeros(size_t count, size_t size); /* all bytes 0 */
void *reallocate(void *pointer, size_t count, size_t size);
char *copy_text(const char *text);

#endif
