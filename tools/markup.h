/* SPDX-License-Identifier: BSD-3-Clause
 *
 * markup.h: text in HTML and SVG.
 */
#ifndef ATTN_TOOLS_MARKUP_H
#define ATTN_TOOLS_MARKUP_H

#include <stdio.h>

/* Text, which is checked (text.h), as content or as the value of an attribute in quotation marks. */
void markup_write(FILE *out, const char *text);

/* <open>text</close>. */
void markup_element(FILE *out, const char *open, const char *text, const char *close);

#endif
