/* SPDX-License-Identifier: BSD-3-Clause
 *
 * legible.h: text for a terminal. Control characters could do anything there, and those of bidirectional text turn
 * around what stands beside them: they are shown by their numbers, "\u202e".
 */
#ifndef ATTN_TOOLS_LEGIBLE_H
#define ATTN_TOOLS_LEGIBLE_H

#include <stddef.h>

/* A byte of text becomes at most so many. */
enum { LEGIBLE_GROWTH = 8 };

/* Writes text to `to`, room bytes, at least 1; what has no room is left out. Bytes that are not UTF-8 become U+FFFD. */
void legible(char *to, size_t room, const char *text);

#endif
