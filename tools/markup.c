/* SPDX-License-Identifier: BSD-3-Clause
 *
 * markup.c: the five characters that mean something in HTML and XML.
 */
#include "markup.h"

void markup_write(FILE *out, const char *text)
{
    for (; *text != '\0'; ++text) {
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
