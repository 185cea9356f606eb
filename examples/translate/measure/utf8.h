/* SPDX-License-Identifier: BSD-3-Clause
 *
 * utf8.h: code points, one at a time (RFC 3629). */
#ifndef TRANSLATE_UTF8_H
#define TRANSLATE_UTF8_H

/* The bytes that the character at text takes, 1 to 4, and in *point its code point; where there is none (a stray or
 * missing byte, a surrogate, an overlong form), 0, and the byte is to be skipped. text must not be at its end. */
int utf8_next(const char *text, unsigned long *point);

#endif
