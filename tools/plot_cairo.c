/* SPDX-License-Identifier: BSD-3-Clause
 *
 * plot_cairo.c: the matrix as a picture, by cairo. Everything is measured before the size is settled, so that no word
 * is clipped; the same drawing serves png (two pixels for each unit), svg and pdf.
 */
#include "fail.h"
#include "output.h"
#include "plot.h"
#include "plot_colour.h"
#include "plot_kinds.h"
#include "text.h"

#include <cairo-pdf.h>
#include <cairo-svg.h>
#include <cairo.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

enum { WIDEST_WORD = 40, WIDEST_TITLE = 100, VALUES_UP_TO = 15, PIXELS_PER_UNIT = 2 };

static const double margin = 20, gap = 8, title_size = 17, note_size = 11.5, axis_size = 12.5;
static const double bar_width = 14, bar_gap = 28, tick_length = 4, right_angle = 1.57079632679489661923;

/* Where everything stands, in units (points, or two pixels). */
typedef struct layout {
    double cell, font;
    size_t every; /* words drawn: all, or every so many where they would lie on each other */
    double angle; /* of the column words */
    double x, y;  /* the matrix's upper left corner */
    double matrix_width, matrix_height;
    double bar_x, bar_height, tick_step;
    double width, height;             /* of the picture */
    char **row_words, **column_words; /* no longer than WIDEST_WORD */
    char *title;
} layout;

static cairo_text_extents_t extents(cairo_t *cr, double size, const char *text)
{
    cairo_text_extents_t e;
    cairo_set_font_size(cr, size);
    cairo_text_extents(cr, text, &e);
    return e;
}

static double widest(cairo_t *cr, double size, char **words, size_t count)
{
    double most = 0;
    for (size_t i = 0; i < count; ++i) most = fmax(most, extents(cr, size, words[i]).x_advance);
    return most;
}

static char **shortened(char *const *words, size_t count)
{
    char **copies = allocate(count, sizeof *copies);
    for (size_t i = 0; i < count; ++i) copies[i] = text_shortened(words[i], WIDEST_WORD);
    return copies;
}

static void free_words(char **words, size_t count)
{
    for (size_t i = 0; i < count; ++i) free(words[i]);
    free(words);
}

static void face(cairo_t *cr, bool bold)
{
    cairo_select_font_face(cr, "sans-serif", CAIRO_FONT_SLANT_NORMAL,
                           bold ? CAIRO_FONT_WEIGHT_BOLD : CAIRO_FONT_WEIGHT_NORMAL);
}

/* Cells of 40 units for a sentence, smaller ones for more, so that a picture stays below 1500 units. */
static double cell_size(size_t longer_side)
{
    const double largest = 40, usual_side = 700, largest_side = 1500, legible = 7.5;
    double n = (double)longer_side;
    if (n * largest <= usual_side) return largest;
    return fmax(usual_side / n, fmin(legible, largest_side / n));
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

static double scale_end(const plot *p)
{
    return p->largest > 0 ? p->largest : 1;
}

static layout measure(cairo_t *cr, const plot *p)
{
    layout l = {.row_words = shortened(p->row_words, p->rows),
                .column_words = shortened(p->column_words, p->columns),
                .title = text_shortened(p->title, WIDEST_TITLE)};
    l.cell = cell_size(p->rows > p->columns ? p->rows : p->columns);
    l.font = fmin(13, fmax(6.5, l.cell * 0.9));
    l.every = (size_t)ceil(l.font / (l.cell * 0.9) - 1e-9);
    l.matrix_width = l.cell * (double)p->columns;
    l.matrix_height = l.cell * (double)p->rows;
    l.bar_height = fmin(fmax(l.matrix_height, 100), 400);
    l.tick_step = nice_step(scale_end(p));

    face(cr, true);
    double title_width = extents(cr, title_size, l.title).x_advance;
    face(cr, false);
    double note_width = p->note != NULL ? extents(cr, note_size, p->note).x_advance : 0;
    double row_words = widest(cr, l.font, l.row_words, p->rows);
    double column_words = widest(cr, l.font, l.column_words, p->columns);
    l.angle = column_words < l.cell - 4 ? 0 : l.cell >= 22 ? right_angle / 2 : right_angle;
    /* A slanted word rises by its length's sine and reaches to the right by its cosine; the last column's counts, and
     * taking the widest for it is simpler and never too little. */
    double rise = column_words * sin(l.angle) + l.font * cos(l.angle);
    double reach = column_words * cos(l.angle) + l.font - l.cell / 2;

    double rows_title = extents(cr, axis_size, PLOT_ROWS_TITLE).x_advance;
    double columns_title = extents(cr, axis_size, PLOT_COLUMNS_TITLE).x_advance;
    l.x = margin + axis_size + 1.5 * gap + row_words + gap;
    l.y = margin + title_size + (p->note != NULL ? note_size + gap : 0) + 2 * gap + axis_size + gap + rise + gap;
    l.bar_x = l.x + l.matrix_width + bar_gap;
    double ticks = tick_length + gap + extents(cr, l.font < 11 ? 11 : l.font, "0.00000").x_advance;
    double right = fmax(l.bar_x + bar_width + ticks, l.x + l.matrix_width + fmax(reach, 0));
    right = fmax(right, fmax(l.x + columns_title, margin + fmax(title_width, note_width)));
    double bottom = l.y + fmax(fmax(l.matrix_height, l.bar_height), rows_title);
    l.width = ceil(right + margin);
    l.height = ceil(bottom + margin);
    return l;
}

static void ink(cairo_t *cr, double grey)
{
    cairo_set_source_rgb(cr, grey, grey, grey);
}

/* Text with its left end at (x, y) on the baseline, turned by angle against the clock. */
static void draw_text(cairo_t *cr, double size, double x, double y, double angle, const char *text)
{
    cairo_save(cr);
    cairo_translate(cr, x, y);
    cairo_rotate(cr, -angle);
    cairo_set_font_size(cr, size);
    cairo_move_to(cr, 0, 0);
    cairo_show_text(cr, text);
    cairo_restore(cr);
}

/* How far below the middle of a line of text its baseline lies. */
static double below_middle(cairo_t *cr, double size)
{
    return extents(cr, size, "x").height / 2;
}

static void draw_heading(cairo_t *cr, const layout *l, const plot *p)
{
    double y = margin + title_size;
    face(cr, true);
    ink(cr, 0.1);
    draw_text(cr, title_size, margin, y, 0, l->title);
    face(cr, false);
    ink(cr, 0.4);
    if (p->note != NULL) draw_text(cr, note_size, margin, y += note_size + gap, 0, p->note);
    ink(cr, 0.3);
    draw_text(cr, axis_size, l->x, y + 2 * gap + axis_size, 0, PLOT_COLUMNS_TITLE);
    double length = extents(cr, axis_size, PLOT_ROWS_TITLE).x_advance;
    double middle = l->y + fmax(l->matrix_height, length) / 2;
    draw_text(cr, axis_size, margin + axis_size, middle + length / 2, right_angle, PLOT_ROWS_TITLE);
}

static void draw_words(cairo_t *cr, const layout *l, const plot *p)
{
    double drop = below_middle(cr, l->font);
    ink(cr, 0.1);
    for (size_t row = 0; row < p->rows; row += l->every) {
        double x = l->x - gap - extents(cr, l->font, l->row_words[row]).x_advance;
        draw_text(cr, l->font, x, l->y + l->cell * ((double)row + 0.5) + drop, 0, l->row_words[row]);
    }
    /* Level words stand in the middle of their columns; others start there, with the middle of the line, not its
     * baseline, above the middle of the column. */
    for (size_t column = 0; column < p->columns; column += l->every) {
        double x = l->x + l->cell * ((double)column + 0.5) + drop * sin(l->angle);
        if (l->angle <= 0) x -= extents(cr, l->font, l->column_words[column]).x_advance / 2;
        draw_text(cr, l->font, x, l->y - gap * 0.75, l->angle, l->column_words[column]);
    }
}

static void fill(cairo_t *cr, double part, double x, double y, double width, double height)
{
    plot_colour c = plot_colour_of(part);
    cairo_set_source_rgb(cr, c.red, c.green, c.blue);
    cairo_rectangle(cr, x, y, width, height);
    cairo_fill(cr);
}

static void draw_frame(cairo_t *cr, double x, double y, double width, double height)
{
    ink(cr, 0.45);
    cairo_set_line_width(cr, 1);
    cairo_rectangle(cr, x - 0.5, y - 0.5, width + 1, height + 1);
    cairo_stroke(cr);
}

static void draw_values(cairo_t *cr, const layout *l, const plot *p)
{
    const double size = 11;
    double drop = below_middle(cr, size);
    for (size_t i = 0; i < p->rows * p->columns; ++i) {
        double weight = p->matrices[0].weights[i], part = plot_part(p, weight);
        plot_number number = plot_format(p, weight);
        if (strtod(number.text, NULL) <= 0) continue; /* a field of zeros hides the numbers that say something */
        cairo_text_extents_t e = extents(cr, size, number.text);
        if (e.x_advance > l->cell - 4) continue;
        ink(cr, part > 0.5 ? 1 : part < 0.03 ? 0.6 : 0.15);
        size_t row = i / p->columns, column = i % p->columns;
        draw_text(cr, size, l->x + l->cell * ((double)column + 0.5) - e.x_advance / 2,
                  l->y + l->cell * ((double)row + 0.5) + drop, 0, number.text);
    }
}

static void draw_matrix(cairo_t *cr, const layout *l, const plot *p)
{
    /* Without smoothing, so that neighbours leave no seam between them. */
    cairo_set_antialias(cr, CAIRO_ANTIALIAS_NONE);
    for (size_t row = 0; row < p->rows; ++row) {
        for (size_t column = 0; column < p->columns; ++column) {
            fill(cr, plot_part(p, plot_weight(p, &p->matrices[0], row, column)), l->x + l->cell * (double)column,
                 l->y + l->cell * (double)row, l->cell, l->cell);
        }
    }
    cairo_set_antialias(cr, CAIRO_ANTIALIAS_DEFAULT);
    if (l->cell >= 12) {
        cairo_set_line_width(cr, 0.5);
        ink(cr, 0.85);
        for (size_t row = 1; row < p->rows; ++row) {
            cairo_move_to(cr, l->x, l->y + l->cell * (double)row);
            cairo_rel_line_to(cr, l->matrix_width, 0);
        }
        for (size_t column = 1; column < p->columns; ++column) {
            cairo_move_to(cr, l->x + l->cell * (double)column, l->y);
            cairo_rel_line_to(cr, 0, l->matrix_height);
        }
        cairo_stroke(cr);
    }
    draw_frame(cr, l->x, l->y, l->matrix_width, l->matrix_height);
    if (p->rows <= VALUES_UP_TO && p->columns <= VALUES_UP_TO) draw_values(cr, l, p);
}

static void draw_tick(cairo_t *cr, const layout *l, double font, double y, const char *number)
{
    double x = l->bar_x + bar_width;
    ink(cr, 0.45);
    cairo_move_to(cr, x, y);
    cairo_rel_line_to(cr, tick_length, 0);
    cairo_stroke(cr);
    ink(cr, 0.1);
    draw_text(cr, font, x + tick_length + gap / 2, y + below_middle(cr, font), 0, number);
}

/* Ticks at round numbers, and at the top the largest weight; a round number too near to it gives way. */
static void draw_bar(cairo_t *cr, const layout *l, const plot *p)
{
    const double font = l->font < 11 ? 11 : l->font, end = scale_end(p);
    const int steps = 200;
    cairo_set_antialias(cr, CAIRO_ANTIALIAS_NONE);
    for (int i = 0; i < steps; ++i) {
        double height = l->bar_height / steps;
        fill(cr, 1 - (i + 0.5) / steps, l->bar_x, l->y + height * i, bar_width, height);
    }
    cairo_set_antialias(cr, CAIRO_ANTIALIAS_DEFAULT);
    draw_frame(cr, l->bar_x, l->y, bar_width, l->bar_height);
    for (int i = 0; i * l->tick_step < end; ++i) {
        double value = i * l->tick_step, y = l->y + l->bar_height * (1 - value / end);
        char number[32];
        (void)snprintf(number, sizeof number, "%g", value);
        if (i == 0 || y - l->y > font * 1.3) draw_tick(cr, l, font, y, number);
    }
    draw_tick(cr, l, font, l->y, p->largest > 0 ? plot_format(p, p->largest).text : "1");
}

static layout measure_alone(const plot *p)
{
    cairo_surface_t *nothing = cairo_recording_surface_create(CAIRO_CONTENT_COLOR, NULL);
    cairo_t *cr = cairo_create(nothing);
    layout l = measure(cr, p);
    cairo_destroy(cr);
    cairo_surface_destroy(nothing);
    return l;
}

static void draw(cairo_surface_t *surface, const layout *l, const plot *p, double scale)
{
    cairo_t *cr = cairo_create(surface);
    cairo_scale(cr, scale, scale);
    ink(cr, 1);
    cairo_paint(cr);
    draw_heading(cr, l, p);
    draw_words(cr, l, p);
    draw_matrix(cr, l, p);
    draw_bar(cr, l, p);
    cairo_status_t status = cairo_status(cr);
    if (status != CAIRO_STATUS_SUCCESS) fail("cannot draw the picture: %s", cairo_status_to_string(status));
    cairo_destroy(cr);
}

static cairo_status_t write_piece(void *stream, const unsigned char *data, unsigned length)
{
    output_write(stream, data, length);
    return CAIRO_STATUS_SUCCESS;
}

/* Ends the drawing, which writes what is not written yet, and frees everything. */
static void finish(cairo_surface_t *surface, layout *l, const plot *p)
{
    cairo_surface_finish(surface);
    cairo_status_t status = cairo_surface_status(surface);
    if (status != CAIRO_STATUS_SUCCESS) fail("cannot write the picture: %s", cairo_status_to_string(status));
    cairo_surface_destroy(surface);
    free_words(l->row_words, p->rows);
    free_words(l->column_words, p->columns);
    free(l->title);
}

void plot_write_png(const plot *p, FILE *stream)
{
    layout l = measure_alone(p);
    cairo_surface_t *surface =
        cairo_image_surface_create(CAIRO_FORMAT_RGB24, (int)l.width * PIXELS_PER_UNIT, (int)l.height * PIXELS_PER_UNIT);
    draw(surface, &l, p, PIXELS_PER_UNIT);
    cairo_status_t status = cairo_surface_write_to_png_stream(surface, write_piece, stream);
    if (status != CAIRO_STATUS_SUCCESS) fail("cannot write the picture: %s", cairo_status_to_string(status));
    finish(surface, &l, p);
}

void plot_write_svg(const plot *p, FILE *stream)
{
    layout l = measure_alone(p);
    cairo_surface_t *surface = cairo_svg_surface_create_for_stream(write_piece, stream, l.width, l.height);
    draw(surface, &l, p, 1);
    finish(surface, &l, p);
}

void plot_write_pdf(const plot *p, FILE *stream)
{
    layout l = measure_alone(p);
    cairo_surface_t *surface = cairo_pdf_surface_create_for_stream(write_piece, stream, l.width, l.height);
    cairo_pdf_surface_set_metadata(surface, CAIRO_PDF_METADATA_TITLE, p->title);
    cairo_pdf_surface_set_metadata(surface, CAIRO_PDF_METADATA_CREATE_DATE, ""); /* the same bytes every time */
    draw(surface, &l, p, 1);
    finish(surface, &l, p);
}
