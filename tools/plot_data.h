/* SPDX-License-Identifier: BSD-3-Clause
 *
 * plot_data.h: the numbers and words that the script of a page works with.
 */
#ifndef ATTN_TOOLS_PLOT_DATA_H
#define ATTN_TOOLS_PLOT_DATA_H

#include "plot.h"

#include <stdio.h>

/* A script element of JSON, whatever the words are. Weights are in units, a power of two, so that float32 holds them;
 * matrices of numbers are float32, lowest byte first, in base64. Words are left out where they are those of the matrix
 * before. */
void plot_data_write(const plot *p, FILE *stream);

#endif
