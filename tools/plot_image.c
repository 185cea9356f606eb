/* SPDX-License-Identifier: BSD-3-Clause
 *
 * plot_image.c: colours as the least opaque ink that gives them on white paper.
 */
#include "plot_image.h"

#include "fail.h"
#include "plot_colour.h"

#include <math.h>
#include <stdint.h>

/* A pixel of CAIRO_FORMAT_ARGB32, whose intensities are multiplied by its opacity. Ink of an opacity on white shows
 * intensity + 1 - opacity. */
static uint32_t pixel_of(plot_colour c)
{
    double white = fmin(c.red, fmin(c.green, c.blue));
    uint32_t alpha = (uint32_t)plot_colour_byte(1 - white), red = (uint32_t)plot_colour_byte(c.red - white);
    uint32_t green = (uint32_t)plot_colour_byte(c.green - white), blue = (uint32_t)plot_colour_byte(c.blue - white);
    return alpha << 24 | red << 16 | green << 8 | blue;
}

cairo_surface_t *plot_image(const plot *p, const plot_matrix *m)
{
    cairo_surface_t *image = cairo_image_surface_create(CAIRO_FORMAT_ARGB32, (int)m->columns, (int)m->rows);
    cairo_status_t status = cairo_surface_status(image);
    if (status != CAIRO_STATUS_SUCCESS) fail("cannot draw the picture: %s", cairo_status_to_string(status));
    cairo_surface_flush(image);
    unsigned char *data = cairo_image_surface_get_data(image);
    size_t stride = (size_t)cairo_image_surface_get_stride(image);
    for (size_t row = 0; row < m->rows; ++row) {
        uint32_t *line = (uint32_t *)(void *)(data + row * stride);
        for (size_t column = 0; column < m->columns; ++column) {
            line[column] = pixel_of(plot_colour_of(plot_part(p, plot_weight(m, row, column))));
        }
    }
    cairo_surface_mark_dirty(image);
    return image;
}
