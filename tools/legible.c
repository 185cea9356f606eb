/* SPDX-License-Identifier: BSD-3-Clause
 *
 * legible.c: characters by their properties, from libunistring.
 */
#include "legible.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unictype.h>
#include <unistr.h>

static bool is_command(ucs4_t c)
{
    const ucs4_t first_shaping = 0x206a, last_shaping = 0x206f;
    return uc_is_cntrl(c) || uc_is_property_bidi_control(c) || (c >= first_shaping && c <= last_shaping);
}

void legible(char *to, size_t room, const char *text)
{
    const uint8_t *at = (const uint8_t *)text, *end = at + strlen(text);
    while (at < end) {
        ucs4_t c;
        char piece[16];
        int step = u8_mbtouc(&c, at, (size_t)(end - at));
        if (is_command(c)) {
            (void)snprintf(piece, sizeof piece, "\\u%04x", (unsigned)c);
        } else {
            piece[u8_uctomb((uint8_t *)piece, c, sizeof piece)] = '\0';
        }
        size_t length = strlen(piece);
        if (length >= room) break;
        memcpy(to, piece, length);
        to += length;
        room -= length;
        at += step;
    }
    *to = '\0';
}
