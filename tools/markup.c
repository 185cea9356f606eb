/* SPDX-License-Identifier: BSD-3-Clause
 *
 * markup.c: the five characters that mean something in HTML and XML.
 */
#include "markup.h"

#include <stdbool.h>
#include <string.h>

/* U+FFFE and U+FFFF are characters of UTF-8, but not of XML. */
static bool is_no_character(const char *text)
{
    return strncmp(text, "\xef\xbf\xbe", 3) == 0 || strncmp(text, "\xef\xbf\xbf", 3) == 0;
}

void markup_write(FILE *out, const char *text)
{
    for (; *text != '\0'; ++text) {
        if (is_no_character(text)) {
            (void)fputs("\xef\xbf\xbd", out); /* U+FFFD stands for what cannot be shown */
            text += 2;
            continue;
        }
        switch (*text) {
        case '&':
            (void)fputs("&amp;", out);
            break;
        case '<':
            (void)fputs("&lt;", out);
            break;
        case '>':
            (void)fputs("&gt;", out);
            break;
        case '"':
            (void)fputs("&quot;", out);
            break;
        case '\'':
            (void)fputs("&#39;", out);
            break;
        default:
            (void)fputc(*text, out);
            break;
        }
    }
}

void markup_element(FILE *out, const char *open, const char *text, const char *close)
{
    (void)fprintf(out, "<%s>", open);
    markup_write(out, text);
    (void)fprintf(out, "</%s>", close);
}
