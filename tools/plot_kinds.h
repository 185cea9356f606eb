/* SPDX-License-Identifier: BSD-3-Clause
 *
 * plot_kinds.h: the kinds of pictures, each in a file of its own.
 */
#ifndef ATTN_TOOLS_PLOT_KINDS_H
#define ATTN_TOOLS_PLOT_KINDS_H

#include "plot.h"

#include <stdio.h>

void plot_write_png(const plot *p, FILE *stream);
void plot_write_svg(const plot *p, FILE *stream);
void plot_write_pdf(const plot *p, FILE *stream);
void plot_write_html(const plot *p, FILE *stream);
void plot_write_terminal(const plot *p, FILE *stream);

#endif
