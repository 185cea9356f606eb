/* SPDX-License-Identifier: BSD-3-Clause
 *
 * base64.h: bytes as text (RFC 4648), as they come.
 */
#ifndef ATTN_TOOLS_BASE64_H
#define ATTN_TOOLS_BASE64_H

#include <stddef.h>
#include <stdio.h>

typedef struct base64 {
    FILE *stream;
    unsigned char waiting[3]; /* for their group to be full */
    size_t count;
} base64;

void base64_write(base64 *b, const unsigned char *data, size_t bytes);

/* Writes what waits; after it b is as new. */
void base64_end(base64 *b);

#endif
