/* SPDX-License-Identifier: BSD-3-Clause
 *
 * plot_cairo.c: the picture by cairo: png, two pixels for each unit, and pdf.
 */
#include "fail.h"
#include "lettering.h"
#include "output.h"
#include "plot.h"
#include "plot_colour.h"
#include "plot_kinds.h"
#include "plot_layout.h"
#include "plot_runs.h"

#include <cairo-pdf.h>
#include <cairo.h>

enum { PIXELS_PER_UNIT = 2, BAR_STOPS = 32 };

static const double tick_length = 4;

typedef struct drawing {
    cairo_t *cr;
    const plot *p;
    lettering *letters;
    plot_layout layout;
} drawing;

static void ink(cairo_t *cr, double grey)
{
    cairo_set_source_rgb(cr, grey, grey, grey);
}

static void draw_line(const drawing *d, plot_line line)
{
    ink(d->cr, line.grey);
    lettering_draw(d->letters, d->cr, line.size, line.bold, line.x, line.y, line.angle, line.text);
}

static void draw_frame(cairo_t *cr, double x, double y, double width, double height)
{
    ink(cr, 0.45);
    cairo_set_line_width(cr, 1);
    cairo_rectangle(cr, x - 0.5, y - 0.5, width + 1, height + 1);
    cairo_stroke(cr);
}

static void draw_run(void *to, const plot_run *run)
{
    const drawing *d = to;
    plot_point corner = plot_layout_corner(&d->layout, run->matrix);
    double cell = d->layout.cell;
    cairo_set_source_rgb(d->cr, run->red / 255.0, run->green / 255.0, run->blue / 255.0);
    cairo_rectangle(d->cr, corner.x + cell * (double)run->column, corner.y + cell * (double)run->row,
                    cell * (double)run->length, cell);
    cairo_fill(d->cr);
}

static void draw_grid(const drawing *d, const plot_matrix *m, plot_point corner)
{
    const plot_layout *l = &d->layout;
    double width = l->cell * (double)m->columns, height = l->cell * (double)m->rows;
    cairo_set_line_width(d->cr, 0.5);
    ink(d->cr, 0.85);
    for (size_t row = 1; row < m->rows; ++row) {
        cairo_move_to(d->cr, corner.x, corner.y + l->cell * (double)row);
        cairo_rel_line_to(d->cr, width, 0);
    }
    for (size_t column = 1; column < m->columns; ++column) {
        cairo_move_to(d->cr, corner.x + l->cell * (double)column, corner.y);
        cairo_rel_line_to(d->cr, 0, height);
    }
    cairo_stroke(d->cr);
}

static void draw_links(const drawing *d, size_t matrix)
{
    const plot_matrix *m = &d->p->matrices[matrix];
    plot_colour c = plot_link_colour;
    cairo_set_source_rgb(d->cr, c.red, c.green, c.blue);
    cairo_set_line_width(d->cr, PLOT_LINK_WIDTH);
    for (size_t i = 0; i < m->link_count; ++i) {
        plot_square s = plot_layout_link(&d->layout, matrix, &m->links[i]);
        const double dash = s.side / PLOT_LINK_DASHES;
        cairo_set_dash(d->cr, &dash, m->links[i].possible ? 1 : 0, dash / 2);
        cairo_rectangle(d->cr, s.x, s.y, s.side, s.side);
        cairo_stroke(d->cr);
    }
    cairo_set_dash(d->cr, NULL, 0, 0);
}

static void draw_matrices(drawing *d)
{
    const plot_layout *l = &d->layout;
    /* Without smoothing, so that neighbours leave no seam between them. */
    cairo_set_antialias(d->cr, CAIRO_ANTIALIAS_NONE);
    plot_runs(d->p, draw_run, d);
    cairo_set_antialias(d->cr, CAIRO_ANTIALIAS_DEFAULT);
    for (size_t i = 0; i < d->p->count; ++i) {
        plot_point corner = plot_layout_corner(l, i);
        const plot_matrix *m = &d->p->matrices[i];
        if (l->grid) draw_grid(d, m, corner);
        draw_frame(d->cr, corner.x, corner.y, l->cell * (double)m->columns, l->cell * (double)m->rows);
        draw_links(d, i);
    }
    for (size_t row = 0; l->values && row < d->p->matrices[0].rows; ++row) {
        for (size_t column = 0; column < d->p->matrices[0].columns; ++column) {
            plot_number number;
            draw_line(d, plot_layout_value(l, d->p, d->letters, row, column, &number));
        }
    }
}

static void draw_bar(const drawing *d)
{
    const plot_layout *l = &d->layout;
    cairo_pattern_t *ramp = cairo_pattern_create_linear(0, l->bar_y + l->bar_height, 0, l->bar_y);
    for (int i = 0; i <= BAR_STOPS; ++i) {
        double part = i / (double)BAR_STOPS;
        plot_colour c = plot_colour_of(part);
        cairo_pattern_add_color_stop_rgb(ramp, part, c.red, c.green, c.blue);
    }
    cairo_set_source(d->cr, ramp);
    cairo_rectangle(d->cr, l->bar_x, l->bar_y, l->bar_width, l->bar_height);
    cairo_fill(d->cr);
    cairo_pattern_destroy(ramp);
    draw_frame(d->cr, l->bar_x, l->bar_y, l->bar_width, l->bar_height);
    for (size_t i = 0; i < l->tick_count; ++i) {
        cairo_move_to(d->cr, l->bar_x + l->bar_width, l->ticks[i]);
        cairo_rel_line_to(d->cr, tick_length, 0);
    }
    cairo_stroke(d->cr);
}

/* Says once which words no font has. */
static void warn_of_boxes(const drawing *d)
{
    static bool warned;
    enum { MOST_NAMED = 5 };
    if (warned) return;
    char words[1024] = "";
    size_t used = 0, missing = 0;
    for (size_t i = 0; i < d->layout.count; ++i) {
        const char *text = d->layout.lines[i].text;
        if (lettering_knows(d->letters, text) || ++missing > MOST_NAMED) continue;
        used += (size_t)snprintf(words + used, sizeof words - used, "%s'%s'", used > 0 ? ", " : "", text);
    }
    if (missing > MOST_NAMED) (void)snprintf(words + used, sizeof words - used, " and %zu more", missing - MOST_NAMED);
    if (missing > 0) warn("no font has every letter of %s; boxes stand for them", words);
    warned = missing > 0;
}

static drawing start(const plot *p)
{
    drawing d = {.p = p, .letters = lettering_create()};
    d.layout = plot_layout_create(p, d.letters);
    warn_of_boxes(&d);
    return d;
}

static void draw(drawing *d, cairo_surface_t *surface, double scale)
{
    cairo_t *cr = d->cr = cairo_create(surface);
    cairo_scale(cr, scale, scale);
    ink(cr, 1);
    cairo_paint(cr);
    draw_matrices(d);
    draw_bar(d);
    for (size_t i = 0; i < d->layout.count; ++i) draw_line(d, d->layout.lines[i]);
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
static void finish(drawing *d, cairo_surface_t *surface)
{
    cairo_surface_finish(surface);
    cairo_status_t status = cairo_surface_status(surface);
    if (status != CAIRO_STATUS_SUCCESS) fail("cannot write the picture: %s", cairo_status_to_string(status));
    cairo_surface_destroy(surface);
    plot_layout_free(&d->layout);
    lettering_destroy(d->letters);
}

void plot_write_png(const plot *p, FILE *stream)
{
    drawing d = start(p);
    cairo_surface_t *surface = cairo_image_surface_create(CAIRO_FORMAT_RGB24, (int)d.layout.width * PIXELS_PER_UNIT,
                                                          (int)d.layout.height * PIXELS_PER_UNIT);
    draw(&d, surface, PIXELS_PER_UNIT);
    cairo_status_t status = cairo_surface_write_to_png_stream(surface, write_piece, stream);
    if (status != CAIRO_STATUS_SUCCESS) fail("cannot write the picture: %s", cairo_status_to_string(status));
    finish(&d, surface);
}

void plot_write_pdf(const plot *p, FILE *stream)
{
    drawing d = start(p);
    cairo_surface_t *surface =
        cairo_pdf_surface_create_for_stream(write_piece, stream, d.layout.width, d.layout.height);
    cairo_pdf_surface_set_metadata(surface, CAIRO_PDF_METADATA_TITLE, p->title);
    cairo_pdf_surface_set_metadata(surface, CAIRO_PDF_METADATA_CREATE_DATE, ""); /* the same bytes every time */
    draw(&d, surface, 1);
    finish(&d, surface);
}
