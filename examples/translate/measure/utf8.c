/* SPDX-License-Identifier: BSD-3-Clause
 *
 * utf8.c: see utf8.h. */
#include "measure/utf8.h"

int utf8_next(const char *text, unsigned long *point)
{
    static const unsigned long least[5] = {0, 0, 0x80, 0x800, 0x10000};
    const unsigned char *bytes = (const unsigned char *)text;
    if (bytes[0] < 0x80) {
        *point = bytes[0];
        return 1;
    }
    const int count = bytes[0] < 0xc0 ? 0 : bytes[0] < 0xe0 ? 2 : bytes[0] < 0xf0 ? 3 : bytes[0] < 0xf8 ? 4 : 0;
    if (count == 0) return 0;
    *point = bytes[0] & (0x7fu >> count);
    for (int i = 1; i < count; i++) {
        if ((bytes[i] & 0xc0) != 0x80) return 0; /* the end of the text too */
        *point = *point << 6 | (bytes[i] & 0x3f);
    }
    return *point < least[count] || *point > 0x10ffff || (*point >= 0xd800 && *point < 0xe000) ? 0 : count;
}
