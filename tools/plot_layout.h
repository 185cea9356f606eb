/* SPDX-License-Identifier: BSD-3-Clause
 *
 * plot_layout.h: where everything stands in a picture: one matrix, or several in a grid. Everything is measured before
 * the size is settled, so that no word is clipped.
 */
#ifndef ATTN_TOOLS_PLOT_LAYOUT_H
#define ATTN_TOOLS_PLOT_LAYOUT_H

#include "lettering.h"
#include "plot.h"

#include <stdbool.h>

/* Sizes of type, in units: points, or two pixels. */
enum { PLOT_TITLE_SIZE = 17, PLOT_NOTE_SIZE = 11, PLOT_AXIS_SIZE = 12, PLOT_VALUE_SIZE = 11 };

/* A line of text: its left end on the baseline, turned by angle against the clock. */
typedef struct plot_line {
    double x, y, angle, size, grey;
    bool bold;
    const char *text;
} plot_line;

typedef struct plot_layout {
    size_t across;                              /* matrices beside each other */
    double cell, font;                          /* the side of a cell; the size of the words */
    double x, y;                                /* the first matrix's upper left corner */
    double right, down;                         /* from one matrix to the next */
    double matrix_width, matrix_height;         /* of the largest */
    double bar_x, bar_y, bar_width, bar_height; /* the scale of colours */
    double width, height;                       /* of the picture */
    bool grid, values;                          /* whether cells are told apart by lines, and have their numbers */
    plot_line *lines;                           /* all text but the values */
    size_t count;
    double *ticks; /* where the bar has them */
    size_t tick_count;
    char **words; /* the texts that lines point to */
    size_t word_count;
} plot_layout;

plot_layout plot_layout_create(const plot *p, lettering *letters);
void plot_layout_free(plot_layout *l);

/* The upper left corner of a matrix. */
typedef struct plot_point {
    double x, y;
} plot_point;
plot_point plot_layout_corner(const plot_layout *l, size_t matrix);

/* Where a link is drawn: a square within its cell. */
typedef struct plot_square {
    double x, y, side;
} plot_square;
plot_square plot_layout_link(const plot_layout *l, size_t matrix, const plot_link *link);

/* The number in a cell, which the caller prints; its text is "" where there is none: it is too wide, or 0. */
plot_line plot_layout_value(const plot_layout *l, const plot *p, lettering *letters, size_t row, size_t column,
                            plot_number *number);

#endif
