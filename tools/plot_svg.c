/* SPDX-License-Identifier: BSD-3-Clause
 *
 * plot_svg.c: the picture as SVG, written by hand: text stays text, which can be found, copied and read out, and cells
 * are one path for each colour of a matrix, a stroke as wide as a cell being six bytes where a rectangle is a hundred.
 * Paths have sharp edges in every viewer; an embedded image of one pixel for each cell has them in some.
 */
#include "fail.h"
#include "lettering.h"
#include "markup.h"
#include "plot.h"
#include "plot_colour.h"
#include "plot_kinds.h"
#include "plot_layout.h"
#include "plot_runs.h"

#include <stdlib.h>

enum { BAR_STOPS = 32 };

/* A matrix in words: what each row looks at most. */
static void write_strongest(const plot_matrix *m, FILE *out)
{
    (void)fputc('\n', out);
    markup_write(out, m->name);
    (void)fputs(": ", out);
    for (size_t row = 0; row < m->rows; ++row) {
        size_t column = plot_strongest(m, row);
        markup_write(out, m->row_words[row]);
        (void)fputs(" \xe2\x86\x92 ", out);
        markup_write(out, plot_weight(m, row, column) > 0 ? m->column_words[column] : "nothing");
        (void)fputs(row + 1 < m->rows ? "; " : ".", out);
    }
}

static void write_heading(const plot *p, const plot_layout *l, FILE *out)
{
    (void)fprintf(out,
                  "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%g\" "
                  "height=\"%g\" viewBox=\"0 0 %g %g\" role=\"img\" aria-labelledby=\"title description\" "
                  "font-family=\"sans-serif\">\n",
                  l->width, l->height, l->width, l->height);
    markup_element(out, "title id=\"title\"", p->title, "title");
    (void)fputs("\n<desc id=\"description\">", out);
    if (p->note != NULL) {
        markup_write(out, p->note);
        (void)fputs(". ", out);
    }
    (void)fprintf(out, "The weights of %zu queries (rows) on %zu keys (columns), from white for 0 to dark blue for %s.",
                  p->matrices[0].rows, p->matrices[0].columns, plot_format(p, p->largest).text);
    for (size_t i = 0; p->separate && i < p->count; ++i) write_strongest(&p->matrices[i], out);
    (void)fputs("</desc>\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n", out);
}

static void write_line(FILE *out, const plot_line *line)
{
    const double degrees = 57.295779513082320877;
    int grey = plot_colour_byte(line->grey);
    if (line->text[0] == '\0') return;
    if (line->angle > 0) {
        (void)fprintf(out, "<text transform=\"translate(%.2f %.2f) rotate(%g)\"", line->x, line->y,
                      -line->angle * degrees);
    } else {
        (void)fprintf(out, "<text x=\"%.2f\" y=\"%.2f\"", line->x, line->y);
    }
    (void)fprintf(out, " font-size=\"%.4g\" fill=\"#%02x%02x%02x\"%s>", line->size, grey, grey, grey,
                  line->bold ? " font-weight=\"bold\"" : "");
    markup_write(out, line->text);
    (void)fputs("</text>\n", out);
}

/* All runs, to be ordered by their colours. */
typedef struct run_list {
    plot_run *items;
    size_t count, room;
} run_list;

static void collect(void *to, const plot_run *run)
{
    run_list *list = to;
    if (list->count == list->room) {
        list->room = list->room == 0 ? 1024 : list->room * 2;
        list->items = reallocate(list->items, list->room, sizeof *list->items);
    }
    list->items[list->count++] = *run;
}

static long colour_of(const plot_run *run)
{
    return (long)run->red << 16 | (long)run->green << 8 | run->blue;
}

static int compare_sizes(size_t a, size_t b)
{
    return a < b ? -1 : a > b;
}

/* By matrix, then by colour, then from left to right and down. */
static int compare(const void *left, const void *right)
{
    const plot_run *a = left, *b = right;
    if (a->matrix != b->matrix) return compare_sizes(a->matrix, b->matrix);
    if (colour_of(a) != colour_of(b)) return colour_of(a) < colour_of(b) ? -1 : 1;
    return a->row != b->row ? compare_sizes(a->row, b->row) : compare_sizes(a->column, b->column);
}

static bool same_path(const plot_run *a, const plot_run *b)
{
    return a->matrix == b->matrix && colour_of(a) == colour_of(b);
}

/* The runs of one colour of one matrix, as strokes along the middles of rows, each from where the last one ended;
 * returns the first run after them. */
static const plot_run *write_path(FILE *out, const plot_run *run, const plot_run *end)
{
    const plot_run *first = run;
    long long column = 0, row = 0;
    (void)fprintf(out, "<path stroke=\"#%06lx\" d=\"M0 0", (unsigned long)colour_of(run));
    for (; run < end && same_path(run, first); ++run) {
        (void)fprintf(out, "m%lld %lldh%zu", (long long)run->column - column, (long long)run->row - row, run->length);
        column = (long long)run->column + (long long)run->length;
        row = (long long)run->row;
    }
    (void)fputs("\"/>\n", out);
    return run;
}

static void write_frame(FILE *out, double x, double y, double width, double height, const char *fill)
{
    (void)fprintf(out, "<rect x=\"%.2f\" y=\"%.2f\" width=\"%.2f\" height=\"%.2f\" fill=\"%s\" stroke=\"#737373\"/>\n",
                  x - 0.5, y - 0.5, width + 1, height + 1, fill);
}

static void write_grid(const plot_matrix *m, const plot_layout *l, FILE *out, plot_point corner)
{
    (void)fputs("<path stroke=\"#d9d9d9\" stroke-width=\".5\" d=\"", out);
    for (size_t row = 1; row < m->rows; ++row) {
        (void)fprintf(out, "M%.2f %.2fh%.2f", corner.x, corner.y + l->cell * (double)row, l->cell * (double)m->columns);
    }
    for (size_t column = 1; column < m->columns; ++column) {
        (void)fprintf(out, "M%.2f %.2fv%.2f", corner.x + l->cell * (double)column, corner.y, l->cell * (double)m->rows);
    }
    (void)fputs("\"/>\n", out);
}

static void write_links(const plot *p, const plot_layout *l, FILE *out, size_t matrix)
{
    const plot_matrix *m = &p->matrices[matrix];
    plot_colour c = plot_link_colour;
    if (m->link_count == 0) return;
    (void)fprintf(out, "<g class=\"links\" fill=\"none\" stroke=\"#%02x%02x%02x\" stroke-width=\"%g\">\n",
                  plot_colour_byte(c.red), plot_colour_byte(c.green), plot_colour_byte(c.blue), PLOT_LINK_WIDTH);
    for (size_t i = 0; i < m->link_count; ++i) {
        plot_square s = plot_layout_link(l, matrix, &m->links[i]);
        (void)fprintf(out, "<rect x=\"%.2f\" y=\"%.2f\" width=\"%.2f\" height=\"%.2f\"", s.x, s.y, s.side, s.side);
        double dash = s.side / PLOT_LINK_DASHES;
        if (m->links[i].possible) {
            (void)fprintf(out, " stroke-dasharray=\"%.3f\" stroke-dashoffset=\"%.3f\"", dash, dash / 2);
        }
        (void)fputs("/>\n", out);
    }
    (void)fputs("</g>\n", out);
}

static void write_matrices(const plot *p, const plot_layout *l, FILE *out)
{
    run_list runs = {0};
    plot_runs(p, collect, &runs);
    if (runs.count > 0) qsort(runs.items, runs.count, sizeof *runs.items, compare);
    const plot_run *run = runs.items, *end = runs.count > 0 ? run + runs.count : run;
    for (size_t i = 0; i < p->count; ++i) {
        plot_point corner = plot_layout_corner(l, i);
        (void)fprintf(
            out, "<g transform=\"translate(%.2f %.2f) scale(%.9g)\" fill=\"none\" shape-rendering=\"crispEdges\">\n",
            corner.x, corner.y + l->cell / 2, l->cell);
        while (run < end && run->matrix == i) run = write_path(out, run, end);
        (void)fputs("</g>\n", out);
        const plot_matrix *m = &p->matrices[i];
        if (l->grid) write_grid(m, l, out, corner);
        write_frame(out, corner.x, corner.y, l->cell * (double)m->columns, l->cell * (double)m->rows, "none");
    }
    for (size_t i = 0; i < p->count; ++i) write_links(p, l, out, i);
    free(runs.items);
}

static void write_bar(const plot_layout *l, FILE *out)
{
    (void)fputs("<linearGradient id=\"ramp\" x1=\"0\" y1=\"1\" x2=\"0\" y2=\"0\">\n", out);
    for (int i = 0; i <= BAR_STOPS; ++i) {
        double part = i / (double)BAR_STOPS;
        plot_colour c = plot_colour_of(part);
        (void)fprintf(out, "<stop offset=\"%g\" stop-color=\"#%02x%02x%02x\"/>\n", part, plot_colour_byte(c.red),
                      plot_colour_byte(c.green), plot_colour_byte(c.blue));
    }
    (void)fputs("</linearGradient>\n", out);
    write_frame(out, l->bar_x, l->bar_y, l->bar_width, l->bar_height, "url(#ramp)");
    for (size_t i = 0; i < l->tick_count; ++i) {
        (void)fprintf(out, "<path stroke=\"#737373\" d=\"M%.2f %.2fh4\"/>\n", l->bar_x + l->bar_width, l->ticks[i]);
    }
}

void plot_write_svg(const plot *p, FILE *stream)
{
    lettering *letters = lettering_create();
    plot_layout layout = plot_layout_create(p, letters);
    write_heading(p, &layout, stream);
    write_matrices(p, &layout, stream);
    for (size_t row = 0; layout.values && row < p->matrices[0].rows; ++row) {
        for (size_t column = 0; column < p->matrices[0].columns; ++column) {
            plot_number number;
            plot_line line = plot_layout_value(&layout, p, letters, row, column, &number);
            write_line(stream, &line);
        }
    }
    write_bar(&layout, stream);
    for (size_t i = 0; i < layout.count; ++i) write_line(stream, &layout.lines[i]);
    (void)fputs("</svg>\n", stream);
    plot_layout_free(&layout);
    lettering_destroy(letters);
}
