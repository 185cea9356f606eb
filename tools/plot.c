/* SPDX-License-Identifier: BSD-3-Clause
 *
 * plot.c: what every kind of plot shares: the numbers, the colours, the choice of the kind.
 */
#include "plot.h"

#include "fail.h"
#include "output.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { MOST_ROWS = 500 }; /* and columns: beyond, nobody can tell cells apart */

static size_t index_in(const char *name, const char *option, size_t index, int64_t count)
{
    if (index >= (size_t)count) fail("%s %zu is not in %s, which has %lld", option, index, name, (long long)count);
    return index;
}

void plot_take(plot *p, const char *name, const attn_tensor *tensor, size_t batch, size_t head)
{
    if (tensor->dtype != ATTN_F32 && tensor->dtype != ATTN_F64) {
        fail("%s holds whole numbers; weights are f4 or f8", name);
    }
    /* The four dimensions [batch, head, row, column], those that are not there 1. */
    int64_t shape[4] = {1, 1, 1, 1}, stride[4] = {0, 0, 0, 0};
    size_t missing = 4 - (size_t)tensor->ndim;
    for (size_t i = missing; i < 4; ++i) {
        shape[i] = tensor->shape[i - missing];
        stride[i] = tensor->stride[i - missing];
    }
    if (shape[2] < 1 || shape[3] < 1 || shape[2] > MOST_ROWS || shape[3] > MOST_ROWS) {
        fail("%s has %lld rows and %lld columns; a plot has 1 to %d of each", name, (long long)shape[2],
             (long long)shape[3], MOST_ROWS);
    }
    int64_t start = (int64_t)index_in(name, "--batch", batch, shape[0]) * stride[0] +
                    (int64_t)index_in(name, "--head", head, shape[1]) * stride[1];
    p->rows = (size_t)shape[2];
    p->columns = (size_t)shape[3];
    p->weights = allocate(p->rows * p->columns, sizeof *p->weights);
    p->largest = 0;
    for (size_t row = 0; row < p->rows; ++row) {
        for (size_t column = 0; column < p->columns; ++column) {
            int64_t at = start + (int64_t)row * stride[2] + (int64_t)column * stride[3];
            double weight = tensor->dtype == ATTN_F32 ? (double)((const float *)tensor->data)[at]
                                                      : ((const double *)tensor->data)[at];
            if (!isfinite(weight) || weight < 0) {
                fail("%s has %g in row %zu, column %zu; weights are finite and not negative", name, weight, row,
                     column);
            }
            p->weights[row * p->columns + column] = weight;
            if (weight > p->largest) p->largest = weight;
        }
    }
}

plot_number plot_format(const plot *p, double weight)
{
    plot_number number;
    const char *format = p->largest >= 10      ? "%.3g"
                         : p->largest >= 0.1   ? "%.2f"
                         : p->largest >= 0.01  ? "%.3f"
                         : p->largest >= 0.001 ? "%.4f"
                                               : "%.1e";
    (void)snprintf(number.text, sizeof number.text, p->largest > 0 ? format : "%.0f", weight);
    return number;
}

double plot_weight(const plot *p, size_t row, size_t column)
{
    return p->weights[row * p->columns + column];
}

size_t plot_strongest(const plot *p, size_t row)
{
    size_t best = 0;
    for (size_t column = 1; column < p->columns; ++column) {
        if (plot_weight(p, row, column) > plot_weight(p, row, best)) best = column;
    }
    return best;
}

double plot_part(const plot *p, double weight)
{
    return p->largest > 0 ? weight / p->largest : 0;
}

/* Linear light to sRGB (IEC 61966-2-1). */
static double encode(double linear)
{
    if (linear <= 0) return 0;
    double value = linear <= 0.0031308 ? 12.92 * linear : 1.055 * pow(linear, 1 / 2.4) - 0.055;
    return value < 1 ? value : 1;
}

/* A straight line of lightness in OKLab (Ottosson 2020), with hue and chroma of blue; the matrix is the inverse of
 * the one that defines OKLab. */
plot_colour plot_colour_of(double part)
{
    const double white = 1.0, dark = 0.33, most_chroma = 0.14;
    double lightness = white + (dark - white) * part;
    double chroma = most_chroma * (1 - (1 - part) * (1 - part));
    double hue = (232 + 33 * part) * 3.14159265358979323846 / 180;
    double a = chroma * cos(hue), b = chroma * sin(hue);
    double l = pow(lightness + 0.3963377774 * a + 0.2158037573 * b, 3);
    double m = pow(lightness - 0.1055613458 * a - 0.0638541728 * b, 3);
    double s = pow(lightness - 0.0894841775 * a - 1.2914855480 * b, 3);
    return (plot_colour){.red = encode(4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s),
                         .green = encode(-1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s),
                         .blue = encode(-0.0041960863 * l - 0.7034186147 * m + 1.7076147010 * s)};
}

plot_writer plot_writer_for(const char *path)
{
    static const struct {
        const char *extension;
        plot_writer write;
    } kinds[] = {
        {".png", plot_write_png}, {".svg", plot_write_svg}, {".pdf", plot_write_pdf}, {".html", plot_write_html}};
    const char *dot = strrchr(path, '.');
    for (size_t i = 0; dot != NULL && i < sizeof kinds / sizeof kinds[0]; ++i) {
        if (strcasecmp(dot, kinds[i].extension) == 0) return kinds[i].write;
    }
    fail("the kind of picture is not clear from the name '%s': it ends in none of .png, .svg, .pdf and .html", path);
}

void plot_files_add(plot_files *files, const char *path)
{
    plot_writer write = plot_writer_for(path);
    files->items = reallocate(files->items, files->count + 1, sizeof *files->items);
    files->items[files->count++] = (struct plot_file){.stream = output_open(path), .write = write};
}

void plot_show(const plot *p, plot_files *files)
{
    for (size_t i = 0; i < files->count; ++i) files->items[i].write(p, files->items[i].stream);
    if (files->count == 0) plot_write_terminal(p, output_open("-"));
    output_commit();
    free(files->items);
    *files = (plot_files){0};
}
