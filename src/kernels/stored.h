/* SPDX-License-Identifier: BSD-3-Clause
 *
 * kernels/stored.h: numbers of 16 bits, as callers keep them, and the float32 that they are computed in. Every number
 * of 16 bits is one of float32; the other way is rounded once, to the nearest, of two to the even one. */
#ifndef ATTN_I_KERNELS_STORED_H
#define ATTN_I_KERNELS_STORED_H

#include <stdint.h>

typedef struct attn_i_stored_kernels {
    /* to[j] = from[j stride]; a NaN stays one */
    void (*load)(int64_t n, const void *from, int64_t stride, float *to);
    /* to[j stride] = from[j]; minus zero becomes zero; what is too great for the type is infinite */
    void (*store)(int64_t n, const float *from, void *to, int64_t stride);
} attn_i_stored_kernels;

#endif
