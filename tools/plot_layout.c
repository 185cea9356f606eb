/* SPDX-License-Identifier: BSD-3-Clause
 *
 * plot_layout.c: from the outside in: title, note, axes, words, matrices, the scale of colours.
 */
#include "plot_layout.h"

#include "fail.h"
#include "text.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { WIDEST_WORD = 40, WIDEST_TITLE = 100, VALUES_UP_TO = 15 };

static const double margin = 20, gap = 8, bar_gap = 28, tick_length = 4, right_angle = 1.57079632679489661923;
static const double ink = 0.1, soft_ink = 0.3, softer_ink = 0.4;

/* What is measured first and placed then. */
typedef struct sketch {
    plot_layout l;
    const plot *p;
    lettering *letters;
    double angle;           /* of the column words */
    double word_width;      /* the widest of the rows */
    double rise;            /* the column words above the matrix */
    double drop;            /* from the middle of a word to its baseline */
    char **rows, **columns; /* no longer than WIDEST_WORD */
    size_t every;           /* words drawn: all, or every so many where they would lie on each other */
} sketch;

/* A text that the layout keeps. */
static char *keep(plot_layout *l, char *text)
{
    l->words = reallocate(l->words, l->word_count + 1, sizeof *l->words);
    return l->words[l->word_count++] = text;
}

static void add(plot_layout *l, plot_line line)
{
    l->lines = reallocate(l->lines, l->count + 1, sizeof *l->lines);
    l->lines[l->count++] = line;
}

static char **shortened(plot_layout *l, char *const *words, size_t count)
{
    char **copies = allocate(count, sizeof *copies);
    for (size_t i = 0; i < count; ++i) copies[i] = keep(l, text_shortened(words[i], WIDEST_WORD));
    return copies;
}

static double widest(lettering *letters, double size, char **words, size_t count)
{
    double most = 0;
    for (size_t i = 0; i < count; ++i) most = fmax(most, lettering_width(letters, size, false, words[i]));
    return most;
}

/* Cells of 40 units for a sentence, smaller ones for more, so that a picture stays below 1500 units; never smaller than
 * a pixel. */
static double cell_size(size_t longer_side)
{
    const double largest = 40, usual_side = 700, largest_side = 1500, legible = 7.5, least = 0.5;
    double n = (double)longer_side;
    if (n * largest <= usual_side) return largest;
    return fmax(least, fmax(usual_side / n, fmin(legible, largest_side / n)));
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* Small multiples stand in rows that make the whole about as wide as high. */
static size_t matrices_across(const plot *p)
{
    double shape = (double)p->rows / (double)p->columns;
    double across = ceil(sqrt((double)p->count * shape) - 1e-9);
    return across < 1 ? 1 : across > (double)p->count ? p->count : (size_t)across;
}

static void measure_words(sketch *s)
{
    plot_layout *l = &s->l;
    const plot *p = s->p;
    size_t down = (p->count + l->across - 1) / l->across;
    l->cell = cell_size(larger(p->rows * down, p->columns * l->across));
    l->font = fmin(13, fmax(6.5, l->cell * 0.9));
    l->matrix_width = l->cell * (double)p->columns;
    l->matrix_height = l->cell * (double)p->rows;
    l->grid = l->cell >= 12;
    l->values = p->count == 1 && p->rows <= VALUES_UP_TO && p->columns <= VALUES_UP_TO;
    s->every = (size_t)ceil(l->font / (l->cell * 0.9) - 1e-9);
    s->rows = shortened(l, p->row_words, p->rows);
    s->columns = shortened(l, p->column_words, p->columns);
    s->drop = lettering_drop(s->letters, l->font);
    s->word_width = widest(s->letters, l->font, s->rows, p->rows);
    double columns = widest(s->letters, l->font, s->columns, p->columns);
    bool steep = l->cell < 22 || p->count > 1; /* slanted words would reach over the next matrix */
    s->angle = columns < l->cell - 4 ? 0 : steep ? right_angle : right_angle / 2;
    s->rise = columns * sin(s->angle) + l->font * cos(s->angle);
    /* A slanted word rises by its length's sine and reaches to the right by its cosine; the last column's counts, and
     * taking the widest for it is simpler and never too little. */
    l->width = columns * cos(s->angle) + l->font - l->cell / 2;
}

static void add_words(sketch *s, size_t matrix)
{
    plot_layout *l = &s->l;
    plot_point corner = plot_layout_corner(l, matrix);
    for (size_t row = 0; matrix % l->across == 0 && row < s->p->rows; row += s->every) {
        add(l, (plot_line){.x = corner.x - gap - lettering_width(s->letters, l->font, false, s->rows[row]),
                           .y = corner.y + l->cell * ((double)row + 0.5) + s->drop,
                           .size = l->font,
                           .grey = ink,
                           .text = s->rows[row]});
    }
    /* Level words stand in the middle of their columns; others start there, with the middle of the line, not its
     * baseline, above the middle of the column. */
    for (size_t column = 0; matrix < l->across && column < s->p->columns; column += s->every) {
        double x = corner.x + l->cell * ((double)column + 0.5) + s->drop * sin(s->angle);
        if (s->angle <= 0) x -= lettering_width(s->letters, l->font, false, s->columns[column]) / 2;
        add(l, (plot_line){.x = x,
                           .y = corner.y - gap * 0.75,
                           .angle = s->angle,
                           .size = l->font,
                           .grey = ink,
                           .text = s->columns[column]});
    }
    if (s->p->count == 1) return;
    const char *name = s->p->matrices[matrix].name;
    double width = lettering_width(s->letters, PLOT_NOTE_SIZE, false, name);
    add(l, (plot_line){.x = corner.x + (l->matrix_width - width) / 2,
                       .y = corner.y + l->matrix_height + gap / 2 + PLOT_NOTE_SIZE,
                       .size = PLOT_NOTE_SIZE,
                       .grey = softer_ink,
                       .text = name});
}

/* The step between ticks: 1, 2 or 5 times a power of ten, for at most six ticks. */
static double nice_step(double largest)
{
    const double least = 1e-300; /* below it powers of ten lose their digits */
    double power = pow(10, floor(log10(fmax(largest, least) / 5)));
    static const double factors[] = {1, 2, 5, 10};
    size_t i = 0;
    while (factors[i] * power * 5 < largest * (1 - 1e-9)) ++i;
    return factors[i] * power;
}

static void add_tick(sketch *s, double y, const char *number)
{
    plot_layout *l = &s->l;
    l->ticks = reallocate(l->ticks, l->tick_count + 1, sizeof *l->ticks);
    l->ticks[l->tick_count++] = y;
    double size = fmax(l->font, PLOT_NOTE_SIZE);
    add(l, (plot_line){.x = l->bar_x + l->bar_width + tick_length + gap / 2,
                       .y = y + lettering_drop(s->letters, size),
                       .size = size,
                       .grey = ink,
                       .text = keep(l, copy_string(number))});
}

/* Ticks at round numbers, and at the top the largest weight; a round number too near to it gives way. */
static void add_ticks(sketch *s)
{
    const plot_layout *l = &s->l;
    double end = s->p->largest > 0 ? s->p->largest : 1, step = nice_step(end), size = fmax(l->font, PLOT_NOTE_SIZE);
    for (int i = 0; i * step < end; ++i) {
        double value = i * step, y = l->bar_y + l->bar_height * (1 - value / end);
        char number[32];
        (void)snprintf(number, sizeof number, "%g", value);
        if (i == 0 || y - l->bar_y > size * 1.3) add_tick(s, y, number);
    }
    add_tick(s, l->bar_y, s->p->largest > 0 ? plot_format(s->p, s->p->largest).text : "1");
}

static void place(sketch *s)
{
    plot_layout *l = &s->l;
    const plot *p = s->p;
    char *title = keep(l, text_shortened(p->title, WIDEST_TITLE));
    double reach = l->width; /* of the last column's word: see measure_words */
    double title_width = lettering_width(s->letters, PLOT_TITLE_SIZE, true, title);
    double note_width = p->note != NULL ? lettering_width(s->letters, PLOT_NOTE_SIZE, false, p->note) : 0;
    double rows_title = lettering_width(s->letters, PLOT_AXIS_SIZE, false, PLOT_ROWS_TITLE);
    double columns_title = lettering_width(s->letters, PLOT_AXIS_SIZE, false, PLOT_COLUMNS_TITLE);
    double head = margin + PLOT_TITLE_SIZE + (p->note != NULL ? PLOT_NOTE_SIZE + gap : 0);
    size_t down = (p->count + l->across - 1) / l->across;
    double name = p->count > 1 ? gap + PLOT_NOTE_SIZE : 0;
    l->x = margin + PLOT_AXIS_SIZE + 1.5 * gap + s->word_width + gap;
    l->y = head + 2 * gap + PLOT_AXIS_SIZE + gap + s->rise + gap;
    l->right = l->matrix_width + 2 * gap;
    l->down = l->matrix_height + name + 1.5 * gap;
    double all_width = l->right * (double)(l->across - 1) + l->matrix_width;
    double all_height = l->down * (double)(down - 1) + l->matrix_height;
    l->bar_x = l->x + all_width + bar_gap;
    l->bar_y = l->y;
    l->bar_width = 14;
    l->bar_height = fmin(fmax(all_height, 100), 400);
    double ticks = tick_length + gap + lettering_width(s->letters, fmax(l->font, PLOT_NOTE_SIZE), false, "0.00000");
    double right = fmax(l->bar_x + l->bar_width + ticks, l->x + all_width + fmax(reach, 0));
    right = fmax(right, fmax(l->x + columns_title, margin + fmax(title_width, note_width)));
    l->width = ceil(right + margin);
    l->height = ceil(l->y + fmax(fmax(all_height + name, l->bar_height), rows_title) + margin);

    add(l, (plot_line){.x = margin,
                       .y = margin + PLOT_TITLE_SIZE,
                       .size = PLOT_TITLE_SIZE,
                       .grey = ink,
                       .bold = true,
                       .text = title});
    if (p->note != NULL) {
        add(l, (plot_line){.x = margin, .y = head, .size = PLOT_NOTE_SIZE, .grey = softer_ink, .text = p->note});
    }
    add(l, (plot_line){.x = l->x,
                       .y = head + 2 * gap + PLOT_AXIS_SIZE,
                       .size = PLOT_AXIS_SIZE,
                       .grey = soft_ink,
                       .text = PLOT_COLUMNS_TITLE});
    add(l, (plot_line){.x = margin + PLOT_AXIS_SIZE,
                       .y = l->y + fmax(all_height, rows_title) / 2 + rows_title / 2,
                       .angle = right_angle,
                       .size = PLOT_AXIS_SIZE,
                       .grey = soft_ink,
                       .text = PLOT_ROWS_TITLE});
}

plot_layout plot_layout_create(const plot *p, lettering *letters)
{
    sketch s = {.p = p, .letters = letters};
    s.l.across = matrices_across(p);
    measure_words(&s);
    place(&s);
    for (size_t i = 0; i < p->count; ++i) add_words(&s, i);
    add_ticks(&s);
    free(s.rows);
    free(s.columns);
    return s.l;
}

void plot_layout_free(plot_layout *l)
{
    for (size_t i = 0; i < l->word_count; ++i) free(l->words[i]);
    free(l->words);
    free(l->lines);
    free(l->ticks);
}

plot_point plot_layout_corner(const plot_layout *l, size_t matrix)
{
    size_t column = matrix % l->across, row = matrix / l->across;
    return (plot_point){.x = l->x + l->right * (double)column, .y = l->y + l->down * (double)row};
}

plot_line plot_layout_value(const plot_layout *l, const plot *p, lettering *letters, size_t row, size_t column,
                            plot_number *number)
{
    double weight = plot_weight(p, &p->matrices[0], row, column), part = plot_part(p, weight);
    *number = plot_format(p, weight);
    double width = lettering_width(letters, PLOT_VALUE_SIZE, false, number->text);
    /* A field of zeros hides the numbers that say something. */
    if (strtod(number->text, NULL) <= 0 || width > l->cell - 4) number->text[0] = '\0';
    return (plot_line){.x = l->x + l->cell * ((double)column + 0.5) - width / 2,
                       .y = l->y + l->cell * ((double)row + 0.5) + lettering_drop(letters, PLOT_VALUE_SIZE),
                       .size = PLOT_VALUE_SIZE,
                       .grey = part > 0.5    ? 1
                               : part < 0.03 ? 0.6
                                             : 0.15,
                       .text = number->text};
}
