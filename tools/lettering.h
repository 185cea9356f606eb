/* SPDX-License-Identifier: BSD-3-Clause
 *
 * lettering.h: lines of text in pictures, by Pango: in any script, letters joined and ordered as the script wants them,
 * from whatever fonts have them.
 */
#ifndef ATTN_TOOLS_LETTERING_H
#define ATTN_TOOLS_LETTERING_H

#include <cairo.h>
#include <stdbool.h>

typedef struct lettering lettering;

lettering *lettering_create(void);
void lettering_destroy(lettering *l);

/* How far a line of text, in a font of that size, moves the pen. */
double lettering_width(lettering *l, double size, bool bold, const char *text);

/* How far below the middle of the small letters the baseline lies. */
double lettering_drop(lettering *l, double size);

/* Whether some font has every character of text; where none has, a box is drawn in its place. */
bool lettering_knows(lettering *l, const char *text);

/* Draws text with its left end at (x, y) on the baseline, turned by angle against the clock. */
void lettering_draw(lettering *l, cairo_t *cr, double size, bool bold, double x, double y, double angle,
                    const char *text);

#endif
