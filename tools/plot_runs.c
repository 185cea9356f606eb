/* SPDX-License-Identifier: BSD-3-Clause
 *
 * plot_runs.c: neighbours of one colour joined.
 */
#include "plot_runs.h"

#include "plot_colour.h"

#include <stdbool.h>

static plot_run run_at(const plot *p, size_t matrix, size_t row, size_t column)
{
    plot_colour c = plot_colour_of(plot_part(p, plot_weight(&p->matrices[matrix], row, column)));
    return (plot_run){.matrix = matrix,
                      .row = row,
                      .column = column,
                      .length = 1,
                      .red = plot_colour_byte(c.red),
                      .green = plot_colour_byte(c.green),
                      .blue = plot_colour_byte(c.blue)};
}

static bool same_colour(const plot_run *a, const plot_run *b)
{
    return a->red == b->red && a->green == b->green && a->blue == b->blue;
}

static bool is_white(const plot_run *run)
{
    return run->red == 255 && run->green == 255 && run->blue == 255;
}

static void runs_of_row(const plot *p, size_t matrix, size_t row, void (*draw)(void *to, const plot_run *run), void *to)
{
    plot_run run = run_at(p, matrix, row, 0);
    for (size_t column = 1; column < p->matrices[matrix].columns; ++column) {
        plot_run next = run_at(p, matrix, row, column);
        if (same_colour(&run, &next)) {
            ++run.length;
            continue;
        }
        if (!is_white(&run)) draw(to, &run);
        run = next;
    }
    if (!is_white(&run)) draw(to, &run);
}

void plot_runs(const plot *p, void (*draw)(void *to, const plot_run *run), void *to)
{
    for (size_t matrix = 0; matrix < p->count; ++matrix) {
        for (size_t row = 0; row < p->matrices[matrix].rows; ++row) runs_of_row(p, matrix, row, draw, to);
    }
}
