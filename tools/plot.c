/* SPDX-License-Identifier: BSD-3-Clause
 *
 * plot.c: the numbers that every kind of plot shares.
 */
#include "plot.h"

#include "fail.h"
#include "number.h"
#include "tensor.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    MOST_ROWS = 500,
    MOST_HEADS = 128,
    NAME_ROOM = 32
}; /* and columns: beyond, nobody can tell cells, or heads, apart */

static size_t index_in(const char *name, const char *option, size_t index, int64_t count)
{
    if (index >= (size_t)count) fail("%s %zu is not in %s, which has %lld", option, index, name, (long long)count);
    return index;
}

static double element(const attn_tensor *view, size_t row, size_t column)
{
    int64_t at = (int64_t)row * view->stride[2] + (int64_t)column * view->stride[3];
    return number_read(view->dtype, view->data, at);
}

/* Copies a matrix, a view [1, 1, rows, columns]. */
static void take_matrix(plot *p, plot_matrix *m, const char *name, const attn_tensor *view)
{
    double *weights = plot_keep(p, allocate(m->rows * m->columns, sizeof *weights));
    m->weights = weights;
    for (size_t row = 0; row < m->rows; ++row) {
        for (size_t column = 0; column < m->columns; ++column) {
            double weight = element(view, row, column);
            if (!isfinite(weight) || weight < 0) {
                fail("%s has %g in row %zu, column %zu; weights are finite and not negative", name, weight, row,
                     column);
            }
            weights[row * m->columns + column] = weight;
            if (weight > p->largest) p->largest = weight;
        }
    }
}

void plot_take(plot *p, const char *name, const attn_tensor *tensor, size_t batch, size_t head)
{
    if (!number_is_real(tensor->dtype)) fail("%s holds whole numbers; weights are " NUMBER_TYPES, name);
    attn_tensor all = tensor_raised(tensor, 4);
    if (all.shape[2] < 1 || all.shape[3] < 1 || all.shape[2] > MOST_ROWS || all.shape[3] > MOST_ROWS) {
        fail("%s has %lld rows and %lld columns; a plot has 1 to %d of each", name, (long long)all.shape[2],
             (long long)all.shape[3], MOST_ROWS);
    }
    attn_tensor sequence = tensor_part(&all, 0, (int64_t)index_in(name, "--batch", batch, all.shape[0]), 1);
    bool every = head == PLOT_ALL_HEADS;
    size_t first = every ? 0 : index_in(name, "--head", head, all.shape[1]);
    if (every && (all.shape[1] < 1 || all.shape[1] > MOST_HEADS)) {
        fail("%s has %lld heads; --head all shows 1 to %d", name, (long long)all.shape[1], MOST_HEADS);
    }
    p->count = every ? (size_t)all.shape[1] : 1;
    p->largest = 0;
    p->matrices = allocate(p->count, sizeof *p->matrices);
    for (size_t i = 0; i < p->count; ++i) {
        attn_tensor view = tensor_part(&sequence, 1, (int64_t)(first + i), 1);
        char *title = plot_keep(p, allocate(NAME_ROOM, 1));
        (void)snprintf(title, NAME_ROOM, "head %zu", first + i);
        p->matrices[i] = (plot_matrix){
            .rows = (size_t)all.shape[2], .columns = (size_t)all.shape[3], .temperature = 1, .name = title};
        take_matrix(p, &p->matrices[i], name, &view);
    }
}

void plot_set_words(plot *p, char *const *row_words, char *const *column_words)
{
    for (size_t i = 0; i < p->count; ++i) {
        p->matrices[i].row_words = row_words;
        p->matrices[i].column_words = column_words;
    }
}

void *plot_keep(plot *p, void *memory)
{
    p->kept = reallocate(p->kept, p->kept_count + 1, sizeof *p->kept);
    return p->kept[p->kept_count++] = memory;
}

void plot_free(plot *p)
{
    for (size_t i = 0; i < p->kept_count; ++i) free(p->kept[i]);
    free(p->kept);
    free(p->matrices);
    *p = (plot){0};
}

plot_notation plot_notation_of(const plot *p)
{
    if (p->largest >= 10) return (plot_notation){'g', 3};
    if (p->largest >= 0.1) return (plot_notation){'f', 2};
    if (p->largest >= 0.01) return (plot_notation){'f', 3};
    if (p->largest >= 0.001) return (plot_notation){'f', 4};
    return p->largest > 0 ? (plot_notation){'e', 1} : (plot_notation){'f', 0};
}

plot_number plot_format(const plot *p, double weight)
{
    plot_number number;
    plot_notation n = plot_notation_of(p);
    const char *format = n.conversion == 'g' ? "%.*g" : n.conversion == 'f' ? "%.*f" : "%.*e";
    (void)snprintf(number.text, sizeof number.text, format, n.digits, weight);
    return number;
}

double plot_weight(const plot_matrix *m, size_t row, size_t column)
{
    return m->weights[row * m->columns + column];
}

size_t plot_strongest(const plot_matrix *m, size_t row)
{
    size_t best = 0;
    for (size_t column = 1; column < m->columns; ++column) {
        if (plot_weight(m, row, column) > plot_weight(m, row, best)) best = column;
    }
    return best;
}

double plot_part(const plot *p, double weight)
{
    return p->largest > 0 ? weight / p->largest : 0;
}

bool plot_has_links(const plot *p)
{
    for (size_t i = 0; i < p->count; ++i) {
        if (p->matrices[i].link_count > 0) return true;
    }
    return false;
}
