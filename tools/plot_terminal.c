/* SPDX-License-Identifier: BSD-3-Clause
 *
 * plot_terminal.c: the matrix as text. Column words stand in a staircase above their columns, so that they read from
 * left to right in any script; a matrix wider than the terminal is printed in blocks of columns.
 */
#include "fail.h"
#include "legible.h"
#include "plot.h"
#include "plot_colour.h"
#include "plot_kinds.h"
#include "text.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum {
    CELL = 2,
    USUAL_WIDTH = 80,
    NARROWEST = 40,
    BROADEST = 10000,
    WIDEST_WORD = 24,
    LEGEND_CELLS = 12,
    SHADE_COUNT = 5
};

typedef enum { SHADES, COLOURS_256, COLOURS_24_BIT } paint;

/* How the page is divided: words of the rows, cells, and a margin where the last column words end and the strongest
 * word of each row is named. */
typedef struct page {
    const plot *p;
    const plot_matrix *m;
    FILE *out;
    paint paint;
    char **row_words, **column_words; /* as they may be shown */
    int gutter;                       /* the words of the rows */
    size_t fits;                      /* columns of the matrix in a block */
    int margin;
} page;

static paint paint_for_standard_output(void)
{
    const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM"), *colorterm = getenv("COLORTERM");
    if (!isatty(STDOUT_FILENO) || (no_color != NULL && no_color[0] != '\0')) return SHADES;
    if (term == NULL || strcmp(term, "dumb") == 0) return SHADES;
    bool exact = colorterm != NULL && (strcmp(colorterm, "truecolor") == 0 || strcmp(colorterm, "24bit") == 0);
    return exact ? COLOURS_24_BIT : COLOURS_256;
}

static int terminal_width(void)
{
    const char *columns = getenv("COLUMNS");
    long width = columns != NULL ? strtol(columns, NULL, 10) : 0;
    struct winsize size;
    if (width <= 0 && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0) width = size.ws_col;
    if (width <= 0) width = USUAL_WIDTH;
    return width < NARROWEST ? NARROWEST : width > BROADEST ? BROADEST : (int)width;
}

/* A copy that may be shown. */
static char *shown(const char *text)
{
    size_t room = strlen(text) * LEGIBLE_GROWTH + 1;
    char *copy = allocate(room, 1);
    legible(copy, room, text);
    return copy;
}

static char **all_shown(char *const *words, size_t count)
{
    char **copies = allocate(count, sizeof *copies);
    for (size_t i = 0; i < count; ++i) copies[i] = shown(words[i]);
    return copies;
}

static void free_words(char **words, size_t count)
{
    for (size_t i = 0; i < count; ++i) free(words[i]);
    free(words);
}

static int widest_of(char *const *words, size_t count, int most)
{
    int widest = 0;
    for (size_t i = 0; i < count; ++i) {
        int width = text_width(words[i]);
        if (width > widest) widest = width;
    }
    return widest < most ? widest : most;
}

static page lay_out(const plot *p, const plot_matrix *m, FILE *out)
{
    page g = {.p = p,
              .m = m,
              .out = out,
              .paint = paint_for_standard_output(),
              .row_words = all_shown(m->row_words, m->rows),
              .column_words = all_shown(m->column_words, m->columns)};
    int width = terminal_width(), third = width / 3 < WIDEST_WORD ? width / 3 : WIDEST_WORD;
    g.gutter = widest_of(g.row_words, m->rows, third);
    int number = (int)strlen(plot_format(p, p->largest).text) + 2;
    int word = widest_of(g.column_words, m->columns, third - number);
    g.margin = number + word;
    g.fits = (size_t)(width - g.gutter - 1 - g.margin - 1) / CELL;
    if (g.fits > m->columns) g.fits = m->columns;
    return g;
}

static void print_cell(const page *g, double part)
{
    static const char *const shades[SHADE_COUNT] = {"  ", "░░", "▒▒", "▓▓", "██"};
    plot_colour c = plot_colour_of(part);
    switch (g->paint) {
    case SHADES:
        (void)fputs(shades[(int)(part * (SHADE_COUNT - 1) + 0.5)], g->out);
        break;
    case COLOURS_256:
        (void)fprintf(g->out, "\033[48;5;%dm  ", plot_palette_colour(part));
        break;
    case COLOURS_24_BIT:
        (void)fprintf(g->out, "\033[48;2;%d;%d;%dm  ", plot_colour_byte(c.red), plot_colour_byte(c.green),
                      plot_colour_byte(c.blue));
        break;
    }
}

static void end_cells(const page *g)
{
    if (g->paint != SHADES) (void)fputs("\033[0m", g->out);
}

static void print_word(const page *g, const char *word, int columns)
{
    char *fitting = text_shortened(word, columns);
    (void)fputs(fitting, g->out);
    free(fitting);
}

/* The words of columns first to last - 1, each on a line of its own above those to its right, joined to its column. */
static void print_staircase(const page *g, size_t first, size_t last)
{
    for (size_t column = first; column < last; ++column) {
        (void)fprintf(g->out, "%*s", g->gutter + 1, "");
        for (size_t i = first; i < column; ++i) (void)fputs("│ ", g->out);
        (void)fputs("┌ ", g->out);
        print_word(g, g->column_words[column], CELL * (int)(last - column - 1) + g->margin);
        (void)fputc('\n', g->out);
    }
}

static void print_row(const page *g, size_t row, size_t first, size_t last)
{
    const plot *p = g->p;
    const plot_matrix *m = g->m;
    char *word = text_shortened(g->row_words[row], g->gutter);
    (void)fprintf(g->out, "%*s%s ", g->gutter - text_width(word), "", word);
    free(word);
    for (size_t column = first; column < last; ++column) print_cell(g, plot_part(p, plot_weight(m, row, column)));
    end_cells(g);
    size_t strongest = plot_strongest(m, row);
    double weight = plot_weight(m, row, strongest);
    if (last == m->columns && weight > 0) {
        plot_number number = plot_format(p, weight);
        (void)fprintf(g->out, " %s ", number.text);
        print_word(g, g->column_words[strongest], g->margin - (int)strlen(number.text) - 1);
    }
    (void)fputc('\n', g->out);
}

static void print_legend(const page *g)
{
    (void)fprintf(g->out, "\n%*s0 ", g->gutter + 1, "");
    int cells = g->paint == SHADES ? SHADE_COUNT : g->paint == COLOURS_256 ? PLOT_PALETTE_COLOURS : LEGEND_CELLS;
    for (int i = 0; i < cells; ++i) print_cell(g, i / (double)(cells - 1));
    end_cells(g);
    (void)fprintf(g->out, " %s\n", plot_format(g->p, g->p->largest).text);
}

static void print_text(const page *g, const char *text)
{
    char *copy = shown(text);
    (void)fputs(copy, g->out);
    free(copy);
}

/* What tells the matrix from the others. */
static void print_name(const page *g)
{
    if (g->p->count == 1) return;
    print_text(g, g->m->name);
    if (g->m->note != NULL) {
        (void)fputs(": ", g->out);
        print_text(g, g->m->note);
    }
    (void)fputc('\n', g->out);
}

static void print_matrix(const page *g)
{
    const plot_matrix *m = g->m;
    for (size_t first = 0; first < m->columns; first += g->fits) {
        size_t last = m->columns - first < g->fits ? m->columns : first + g->fits;
        (void)fputc('\n', g->out);
        print_name(g);
        if (g->fits < m->columns) {
            (void)fprintf(g->out, "columns %zu to %zu of 0 to %zu\n", first, last - 1, m->columns - 1);
        }
        print_staircase(g, first, last);
        for (size_t row = 0; row < m->rows; ++row) print_row(g, row, first, last);
    }
}

void plot_write_terminal(const plot *p, FILE *stream)
{
    char *title = shown(p->title), *note = shown(p->note != NULL ? p->note : "");
    (void)fprintf(stream, "%s\n", title);
    if (p->note != NULL) (void)fprintf(stream, "%s\n", note);
    for (size_t i = 0; i < p->count; ++i) {
        page g = lay_out(p, &p->matrices[i], stream);
        print_matrix(&g);
        if (i + 1 == p->count) print_legend(&g);
        free_words(g.row_words, g.m->rows);
        free_words(g.column_words, g.m->columns);
    }
    free(title);
    free(note);
}
