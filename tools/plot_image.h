/* SPDX-License-Identifier: BSD-3-Clause
 *
 * plot_image.h: a matrix as an image with one pixel for each cell.
 */
#ifndef ATTN_TOOLS_PLOT_IMAGE_H
#define ATTN_TOOLS_PLOT_IMAGE_H

#include "plot.h"

#include <cairo.h>

/* White is transparent, so that on white paper every cell has its colour, and on dark paper weights of 0 are dark. The
 * caller destroys it. */
cairo_surface_t *plot_image(const plot *p, const plot_matrix *m);

#endif
