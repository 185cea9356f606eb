/* SPDX-License-Identifier: BSD-3-Clause
 *
 * base64.c: three bytes are four letters.
 */
#include "base64.h"

#include <string.h>

static void write_group(const base64 *b)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    unsigned long bits = (unsigned long)b->waiting[0] << 16 | (unsigned long)b->waiting[1] << 8 | b->waiting[2];
    for (size_t i = 0; i < 4; ++i) {
        (void)fputc(i <= b->count ? letters[bits >> (18 - 6 * i) & 63] : '=', b->stream);
    }
}

void base64_write(base64 *b, const unsigned char *data, size_t bytes)
{
    for (size_t i = 0; i < bytes; ++i) {
        b->waiting[b->count++] = data[i];
        if (b->count < sizeof b->waiting) continue;
        write_group(b);
        b->count = 0;
    }
}

void base64_end(base64 *b)
{
    if (b->count > 0) {
        memset(b->waiting + b->count, 0, sizeof b->waiting - b->count);
        write_group(b);
    }
    b->count = 0;
}
