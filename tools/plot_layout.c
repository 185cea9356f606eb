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
#include <string.h>

enum { WIDEST_WORD = 40, WIDEST_TITLE = 100, VALUES_UP_TO = 15, SMALL_MULTIPLE_CELL = 14 };

static const double margin = 20, gap = 8, bar_gap = 28, tick_length = 4, right_angle = 1.57079632679489661923;
static const double ink = 0.1, soft_ink = 0.3, softer_ink = 0.4;

/* What is measured first and placed then. */
typedef struct sketch {
    plot_layout l;
    const plot *p;
    lettering *letters;
    size_t rows, columns; /* of the largest matrix */
    double angle;         /* of the column words */
    double word_width;    /* the widest of the rows */
    double rise;          /* the column words above the matrix */
    double drop;          /* from the middle of a word to its baseline */
    double title;         /* the name above a matrix that stands for itself */
    size_t every;         /* words drawn: all, or every so many where they would lie on each other */
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

static double widest(const sketch *s, char *const *words, size_t count)
{
    double most = 0;
    for (size_t i = 0; i < count; ++i) {
        char *word = text_shortened(words[i], WIDEST_WORD);
        most = fmax(most, lettering_width(s->letters, s->l.font, false, word));
        free(word);
    }
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
static size_t matrices_across(const sketch *s)
{
    double count = (double)s->p->count, shape = (double)s->rows / (double)s->columns;
    double across = ceil(sqrt(s->p->separate ? count : count * shape) - 1e-9);
    return larger(1, (size_t)fmin(across, count));
}

/* Words that all matrices share stand beside those at the left and above those at the top. */
static bool has_row_words(const sketch *s, size_t matrix)
{
    return s->p->separate || matrix % s->l.across == 0;
}

static bool has_column_words(const sketch *s, size_t matrix)
{
    return s->p->separate || matrix < s->l.across;
}

static double title_height(const plot_matrix *m)
{
    return PLOT_AXIS_SIZE + gap + (m->note != NULL ? PLOT_NOTE_SIZE + gap / 2 : 0);
}

static void measure_words(sketch *s)
{
    plot_layout *l = &s->l;
    const plot *p = s->p;
    for (size_t i = 0; i < p->count; ++i) {
        s->rows = larger(s->rows, p->matrices[i].rows);
        s->columns = larger(s->columns, p->matrices[i].columns);
    }
    l->across = matrices_across(s);
    size_t down = (p->count + l->across - 1) / l->across;
    l->cell = cell_size(larger(s->rows * down, s->columns * l->across));
    if (p->separate) l->cell = fmax(l->cell, SMALL_MULTIPLE_CELL);
    l->font = fmin(13, fmax(6.5, l->cell * 0.9));
    l->matrix_width = l->cell * (double)s->columns;
    l->matrix_height = l->cell * (double)s->rows;
    l->grid = l->cell >= 12;
    l->values = p->count == 1 && s->rows <= VALUES_UP_TO && s->columns <= VALUES_UP_TO;
    s->every = (size_t)ceil(l->font / (l->cell * 0.9) - 1e-9);
    s->drop = lettering_drop(s->letters, l->font);
    double columns = 0;
    for (size_t i = 0; i < (p->separate ? p->count : 1); ++i) {
        const plot_matrix *m = &p->matrices[i];
        s->word_width = fmax(s->word_width, widest(s, m->row_words, m->rows));
        columns = fmax(columns, widest(s, m->column_words, m->columns));
        if (p->separate && p->count > 1) s->title = fmax(s->title, title_height(m));
    }
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
    const plot_matrix *m = &s->p->matrices[matrix];
    plot_point corner = plot_layout_corner(l, matrix);
    for (size_t row = 0; has_row_words(s, matrix) && row < m->rows; row += s->every) {
        const char *word = keep(l, text_shortened(m->row_words[row], WIDEST_WORD));
        add(l, (plot_line){.x = corner.x - gap - lettering_width(s->letters, l->font, false, word),
                           .y = corner.y + l->cell * ((double)row + 0.5) + s->drop,
                           .size = l->font,
                           .grey = ink,
                           .text = word});
    }
    /* Level words stand in the middle of their columns; others start there, with the middle of the line, not its
     * baseline, above the middle of the column. */
    for (size_t column = 0; has_column_words(s, matrix) && column < m->columns; column += s->every) {
        const char *word = keep(l, text_shortened(m->column_words[column], WIDEST_WORD));
        double x = corner.x + l->cell * ((double)column + 0.5) + s->drop * sin(s->angle);
        if (s->angle <= 0) x -= lettering_width(s->letters, l->font, false, word) / 2;
        add(l, (plot_line){
                   .x = x, .y = corner.y - gap * 0.75, .angle = s->angle, .size = l->font, .grey = ink, .text = word});
    }
}

/* A text cut to the width that it has. */
static const char *fitted(sketch *s, double size, bool bold, const char *text, double width)
{
    char *shorter = text_shortened(text, WIDEST_TITLE);
    for (int columns = text_width(shorter); columns > 1 && lettering_width(s->letters, size, bold, shorter) > width;) {
        free(shorter);
        shorter = text_shortened(text, --columns);
    }
    return keep(&s->l, shorter);
}

/* Below a matrix of several that share their words; above one that stands for itself, with its note. */
static void add_name(sketch *s, size_t matrix)
{
    plot_layout *l = &s->l;
    const plot_matrix *m = &s->p->matrices[matrix];
    plot_point corner = plot_layout_corner(l, matrix);
    if (s->p->count == 1) return;
    if (!s->p->separate) {
        double width = lettering_width(s->letters, PLOT_NOTE_SIZE, false, m->name);
        add(l, (plot_line){.x = corner.x + (l->matrix_width - width) / 2,
                           .y = corner.y + l->matrix_height + gap / 2 + PLOT_NOTE_SIZE,
                           .size = PLOT_NOTE_SIZE,
                           .grey = softer_ink,
                           .text = m->name});
        return;
    }
    double x = corner.x - gap - s->word_width, y = corner.y - gap - s->rise - s->title + PLOT_AXIS_SIZE;
    double width = l->matrix_width + gap + s->word_width;
    add(l, (plot_line){.x = x,
                       .y = y,
                       .size = PLOT_AXIS_SIZE,
                       .grey = ink,
                       .bold = true,
                       .text = fitted(s, PLOT_AXIS_SIZE, true, m->name, width)});
    if (m->note == NULL) return;
    add(l, (plot_line){.x = x,
                       .y = y + gap / 2 + PLOT_NOTE_SIZE,
                       .size = PLOT_NOTE_SIZE,
                       .grey = softer_ink,
                       .text = fitted(s, PLOT_NOTE_SIZE, false, m->note, width)});
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

/* The note, and what is to be said about links; NULL where there is nothing. */
static const char *whole_note(sketch *s)
{
    static const char links[] = "outlined cells are links of the known alignment, dashed ones possible links";
    const char *note = s->p->note;
    if (!plot_has_links(s->p)) return note;
    if (note == NULL) return links;
    size_t room = strlen(note) + sizeof links + 2;
    char *both = keep(&s->l, allocate(room, 1));
    (void)snprintf(both, room, "%s; %s", note, links);
    return both;
}

static void place(sketch *s)
{
    plot_layout *l = &s->l;
    const plot *p = s->p;
    const char *note = whole_note(s);
    char *title = keep(l, text_shortened(p->title, WIDEST_TITLE));
    double reach = l->width; /* of the last column's word: see measure_words */
    double title_width = lettering_width(s->letters, PLOT_TITLE_SIZE, true, title);
    double note_width = note != NULL ? lettering_width(s->letters, PLOT_NOTE_SIZE, false, note) : 0;
    double rows_title = lettering_width(s->letters, PLOT_AXIS_SIZE, false, PLOT_ROWS_TITLE);
    double columns_title = lettering_width(s->letters, PLOT_AXIS_SIZE, false, PLOT_COLUMNS_TITLE);
    double head = margin + PLOT_TITLE_SIZE + (note != NULL ? PLOT_NOTE_SIZE + gap : 0);
    size_t down = (p->count + l->across - 1) / l->across;
    double name = p->count > 1 && !p->separate ? gap + PLOT_NOTE_SIZE : 0;
    l->x = margin + PLOT_AXIS_SIZE + 1.5 * gap + s->word_width + gap;
    l->y = head + 2 * gap + PLOT_AXIS_SIZE + gap + (s->title > 0 ? gap + s->title : 0) + s->rise + gap;
    l->right = l->matrix_width + 2 * gap;
    l->down = l->matrix_height + name + 1.5 * gap;
    if (p->separate) {
        l->right += gap + s->word_width + gap;
        l->down += s->title + s->rise + 2 * gap;
    }
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
    if (note != NULL) {
        add(l, (plot_line){.x = margin, .y = head, .size = PLOT_NOTE_SIZE, .grey = softer_ink, .text = note});
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
    measure_words(&s);
    place(&s);
    for (size_t i = 0; i < p->count; ++i) {
        add_words(&s, i);
        add_name(&s, i);
    }
    add_ticks(&s);
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

plot_square plot_layout_link(const plot_layout *l, size_t matrix, const plot_link *link)
{
    plot_point corner = plot_layout_corner(l, matrix);
    double inset = l->cell >= 8 ? 1.5 : l->cell / 6;
    return (plot_square){.x = corner.x + l->cell * (double)link->column + inset,
                         .y = corner.y + l->cell * (double)link->row + inset,
                         .side = l->cell - 2 * inset};
}

plot_line plot_layout_value(const plot_layout *l, const plot *p, lettering *letters, size_t row, size_t column,
                            plot_number *number)
{
    double weight = plot_weight(&p->matrices[0], row, column), part = plot_part(p, weight);
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
