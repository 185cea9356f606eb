/* SPDX-License-Identifier: BSD-3-Clause
 *
 * kernels/copy.c: kernels that move rows between the caller's strided tensors and contiguous scratch. */
#include "kernels/real.h"

#include <string.h>

void KERNEL(gather)(int64_t n, const void *from, int64_t stride, void *to)
{
    const real *source = from;
    real *target = to;
    if (stride == 1) {
        memcpy(target, source, (size_t)n * sizeof(real));
    } else {
        for (int64_t j = 0; j < n; j++) target[j] = source[j * stride];
    }
}

/* The mark of an unseen weight, minus zero, becomes the zero that it stands for. */
void KERNEL(scatter)(int64_t n, const void *from, void *to, int64_t stride)
{
    const real *source = from;
    real *target = to;
    if (stride == 1) {
        for (int64_t j = 0; j < n; j++) target[j] = source[j] == 0 ? 0 : source[j];
    } else {
        for (int64_t j = 0; j < n; j++) target[j * stride] = source[j] == 0 ? 0 : source[j];
    }
}

void KERNEL(move)(int64_t n, const void *from, int64_t stride, void *to, int64_t to_stride)
{
    const real *source = from;
    real *target = to;
    if (stride == 1 && to_stride == 1) {
        memcpy(target, source, (size_t)n * sizeof(real));
    } else {
        for (int64_t j = 0; j < n; j++) target[j * to_stride] = source[j * stride];
    }
}

void KERNEL(fill)(int64_t n, double value, void *to, int64_t stride)
{
    real *target = to;
    for (int64_t j = 0; j < n; j++) target[j * stride] = (real)value;
}
