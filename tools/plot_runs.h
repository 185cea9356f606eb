/* SPDX-License-Identifier: BSD-3-Clause
 *
 * plot_runs.h: the cells of all matrices as runs of one colour, which are what is drawn: attention is white nearly
 * everywhere, and white is the paper.
 */
#ifndef ATTN_TOOLS_PLOT_RUNS_H
#define ATTN_TOOLS_PLOT_RUNS_H

#include "plot.h"

/* Cells beside each other in a row, of one colour of 8 bits. */
typedef struct plot_run {
    size_t matrix, row, column, length;
    int red, green, blue;
} plot_run;

/* Calls draw for every run that is not white, from matrix to matrix, from row to row. */
void plot_runs(const plot *p, void (*draw)(void *to, const plot_run *run), void *to);

#endif
