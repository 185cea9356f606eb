/* SPDX-License-Identifier: BSD-3-Clause
 *
 * plot_files.c: the choice of the kind.
 */
#include "plot_files.h"

#include "fail.h"
#include "output.h"
#include "plot_kinds.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

typedef void plot_writer(const plot *p, FILE *stream);

struct plot_file {
    FILE *stream;
    plot_writer *write;
};

static plot_writer *writer_for(const char *path)
{
    static const struct {
        const char *extension;
        plot_writer *write;
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
    plot_writer *write = writer_for(path);
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
