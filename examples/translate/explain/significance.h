/* SPDX-License-Identifier: BSD-3-Clause
 *
 * significance.h: how likely a rank correlation as great is by chance. */
#ifndef TRANSLATE_SIGNIFICANCE_H
#define TRANSLATE_SIGNIFICANCE_H

#include <stddef.h>

/* The probability, two-sided, of a Kendall tau as far from 0 where x and y have nothing to do with each other: by the
 * normal approximation with ties (Kendall 1970, chapter 4), which SciPy's kendalltau makes of its asymptotic method and
 * Jain and Wallace counted with. NaN where tau is not defined, or there are fewer than three numbers. */
double kendall_chance(const double *x, const double *y, size_t count);

#endif
