/* SPDX-License-Identifier: BSD-3-Clause
 *
 * elementary_set.h: exp and tanh of kernels/elementary.h as functions on arrays, for one set of kernels each. */
#ifndef ATTN_TESTS_ELEMENTARY_SET_H
#define ATTN_TESTS_ELEMENTARY_SET_H

#include <stddef.h>

typedef struct elementary_set {
    const char *name; /* as attn_i_kernels_choose knows it */
    int width;        /* floats in a vector; counts are multiples of it */
    void (*exp)(size_t count, const float *x, float *y);
    void (*tanh)(size_t count, const float *x, float *y);
} elementary_set;

#endif
