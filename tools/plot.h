/* SPDX-License-Identifier: BSD-3-Clause
 *
 * plot.h: what is drawn: matrices of weights of one shape, with words along both sides. How they are drawn is for
 * plot_kinds.h.
 */
#ifndef ATTN_TOOLS_PLOT_H
#define ATTN_TOOLS_PLOT_H

#include <attn/attn.h>
#include <stddef.h>
#include <stdint.h>

/* One matrix: what a head sees. */
typedef struct plot_matrix {
    const double *weights; /* [rows, columns]; finite and not negative */
    char name[32];         /* "head 3" */
} plot_matrix;

/* Rows are the queries (target words), columns the keys (source words). Words are checked text (text.h). All matrices
 * share one scale of colours, so that they can be compared. */
typedef struct plot {
    size_t rows, columns, count;
    plot_matrix *matrices; /* [count], at least one */
    double *weights;       /* of all of them */
    double largest;
    char *const *row_words;
    char *const *column_words;
    const char *title;
    const char *note; /* a smaller line below the title, or NULL */
} plot;

#define PLOT_ROWS_TITLE    "queries (target words)"
#define PLOT_COLUMNS_TITLE "keys (source words)"

/* For a head: every one of them. */
#define PLOT_ALL_HEADS SIZE_MAX

/* Takes the matrices that tensor holds at the given indices of its leading dimensions (rank 1 is a single row; rank 3
 * is heads) into matrices, rows, columns and largest; name is for sentences. Fails where that cannot be drawn. */
void plot_take(plot *p, const char *name, const attn_tensor *tensor, size_t batch, size_t head);

/* Frees what plot_take has made. */
void plot_free(plot *p);

/* How a weight is written: as many digits as the largest weight calls for. */
typedef struct plot_number {
    char text[32];
} plot_number;
plot_number plot_format(const plot *p, double weight);

/* The same for whoever formats numbers elsewhere: a conversion of printf, f, g or e, and its precision. */
typedef struct plot_notation {
    char conversion;
    int digits;
} plot_notation;
plot_notation plot_notation_of(const plot *p);

/* The weight at a row and a column; and the column of a row's largest weight. */
double plot_weight(const plot *p, const plot_matrix *m, size_t row, size_t column);
size_t plot_strongest(const plot *p, const plot_matrix *m, size_t row);

/* The weight as a part of the largest, 0 to 1. */
double plot_part(const plot *p, double weight);

#endif
