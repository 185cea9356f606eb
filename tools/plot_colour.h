/* SPDX-License-Identifier: BSD-3-Clause
 *
 * plot_colour.h: the ramp of colours of every picture: from white to dark blue, equal steps of lightness for equal
 * steps of weight.
 */
#ifndef ATTN_TOOLS_PLOT_COLOUR_H
#define ATTN_TOOLS_PLOT_COLOUR_H

/* sRGB, 0 to 1. */
typedef struct plot_colour {
    double red, green, blue;
} plot_colour;

/* The colour of a part of the largest weight, 0 to 1. */
plot_colour plot_colour_of(double part);

/* The same ramp in the palette of terminals with 256 colours, of which it has so many. */
enum { PLOT_PALETTE_COLOURS = 7 };
int plot_palette_colour(double part);

/* 0 to 255. */
int plot_colour_byte(double intensity);

/* Links that are marked beforehand, on any colour of the ramp. */
extern const plot_colour plot_link_colour;
#define PLOT_LINK_WIDTH  1.25
#define PLOT_LINK_DASHES 5 /* dashes and gaps along a side of those that are only possible */

#endif
