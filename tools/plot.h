/* SPDX-License-Identifier: BSD-3-Clause
 *
 * plot.h: a matrix of weights with words along both sides, drawn as a picture, as a page, or in the terminal.
 */
#ifndef ATTN_TOOLS_PLOT_H
#define ATTN_TOOLS_PLOT_H

#include <attn/attn.h>
#include <stddef.h>
#include <stdio.h>

/* Rows are the queries (target words), columns the keys (source words). Words are checked text (text.h). */
typedef struct plot {
    size_t rows, columns;
    double *weights; /* [rows, columns]; finite and not negative */
    double largest;
    char *const *row_words;
    char *const *column_words;
    const char *title;
    const char *note; /* a smaller line below the title, or NULL */
} plot;

#define PLOT_ROWS_TITLE    "queries (target words)"
#define PLOT_COLUMNS_TITLE "keys (source words)"

/* Takes the matrix that tensor holds at the given indices of its leading dimensions (rank 1 is a single row; rank 3
 * is heads) into weights, rows, columns and largest; name is for sentences. Fails where that cannot be drawn. */
void plot_take(plot *p, const char *name, const attn_tensor *tensor, size_t batch, size_t head);

/* How a weight is written: as many digits as the largest weight calls for. */
typedef struct plot_number {
    char text[32];
} plot_number;
plot_number plot_format(const plot *p, double weight);

/* The weight at a row and a column; and the column of a row's largest weight. */
double plot_weight(const plot *p, size_t row, size_t column);
size_t plot_strongest(const plot *p, size_t row);

/* The weight as a part of the largest, 0 to 1. */
double plot_part(const plot *p, double weight);

/* The colour of a part: from white to dark blue, equal steps of lightness for equal steps of weight. */
typedef struct plot_colour {
    double red, green, blue; /* sRGB, 0 to 1 */
} plot_colour;
plot_colour plot_colour_of(double part);

/* The kinds of files: named by the part of path after its last dot, found before anything is computed. */
typedef void (*plot_writer)(const plot *p, FILE *stream);
plot_writer plot_writer_for(const char *path);

void plot_write_png(const plot *p, FILE *stream);
void plot_write_svg(const plot *p, FILE *stream);
void plot_write_pdf(const plot *p, FILE *stream);
void plot_write_html(const plot *p, FILE *stream);
void plot_write_terminal(const plot *p, FILE *stream);

/* The files of -o, in the order given. */
typedef struct plot_files {
    struct plot_file {
        FILE *stream;
        plot_writer write;
    } * items;
    size_t count;
} plot_files;
void plot_files_add(plot_files *files, const char *path);

/* Writes the plot to every file, or to the terminal if there is none, commits, and frees the list. */
void plot_show(const plot *p, plot_files *files);

#endif
