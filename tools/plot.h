/* SPDX-License-Identifier: BSD-3-Clause
 *
 * plot.h: what is drawn: matrices of weights, with words along both sides. How they are drawn is for plot_kinds.h.
 */
#ifndef ATTN_TOOLS_PLOT_H
#define ATTN_TOOLS_PLOT_H

#include <attn/attn.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A cell that somebody has marked beforehand: by a human's alignment this target word and this source word belong
 * together, or may be said to. */
typedef struct plot_link {
    size_t row, column;
    bool possible;
} plot_link;

/* One matrix: what a head, or a model, sees. Rows are the queries (target words), columns the keys (source words).
 * Words and other texts are checked (text.h). */
typedef struct plot_matrix {
    size_t rows, columns;
    const double *weights; /* [rows, columns]; finite and not negative */
    const double *scores;  /* [rows, columns]: weights are softmax(scores / temperature) times factors; or NULL */
    const double *factors; /* [rows, columns], or NULL, which is 1 */
    double temperature;
    char *const *row_words;
    char *const *column_words;
    const plot_link *links; /* no cell twice */
    size_t link_count;
    const char *name;      /* "head 3" */
    const char *note;      /* a line below the name, or NULL */
    const char *reference; /* the sentence that the rows should be, or NULL */
} plot_matrix;

/* All matrices share one scale of colours, so that they can be compared. */
typedef struct plot {
    size_t count;
    plot_matrix *matrices; /* [count], at least one */
    double largest;        /* the end of the scale */
    bool separate;         /* matrices have words of their own, and all the words beside them */
    const char *title;
    const char *note; /* a smaller line below the title, or NULL */
    void **kept;      /* what plot_free frees */
    size_t kept_count;
} plot;

#define PLOT_ROWS_TITLE    "queries (target words)"
#define PLOT_COLUMNS_TITLE "keys (source words)"

/* For a head: every one of them. */
#define PLOT_ALL_HEADS SIZE_MAX

/* Takes the matrices that tensor holds at the given indices of its leading dimensions (rank 1 is a single row; rank 3
 * is heads) into matrices and largest, all but their words; name is for sentences. Fails where that cannot be drawn. */
void plot_take(plot *p, const char *name, const attn_tensor *tensor, size_t batch, size_t head);

/* Gives all matrices the same words. */
void plot_set_words(plot *p, char *const *row_words, char *const *column_words);

/* Memory that goes with the plot; returns it. */
void *plot_keep(plot *p, void *memory);

/* Frees what plot_take has made, and what was kept. */
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
double plot_weight(const plot_matrix *m, size_t row, size_t column);
size_t plot_strongest(const plot_matrix *m, size_t row);

/* The weight as a part of the largest, 0 to 1. */
double plot_part(const plot *p, double weight);

/* Whether some matrix has links. */
bool plot_has_links(const plot *p);

#endif
