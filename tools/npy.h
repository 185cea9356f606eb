/* SPDX-License-Identifier: BSD-3-Clause
 *
 * npy.h: NumPy's .npy files, formats 1.0, 2.0 and 3.0, as attn_tensor. Read: f2, f4, f8, bool, i4, i8, and bfloat16 as
 * V2, which ml_dtypes writes; of either byte order, C or Fortran order, rank 1 to 4. Pickled objects are refused. A
 * file is exactly one array.
 */
#ifndef ATTN_TOOLS_NPY_H
#define ATTN_TOOLS_NPY_H

#include <attn/attn.h>
#include <stdint.h>
#include <stdio.h>

/* Reads the array in path, "-" for standard input. tensor.data is the caller's to free. Fortran order becomes
 * strides. u2 is the type of which arrays of u2 hold the bits; 0: these are refused. */
attn_tensor npy_read(const char *path, attn_dtype u2);

/* A new row-major tensor of that shape, not filled. tensor.data is the caller's to free. */
attn_tensor npy_create(attn_dtype dtype, int32_t ndim, const int64_t *shape);

/* Writes a contiguous row-major tensor of ATTN_F16, ATTN_BF16, ATTN_F32, ATTN_F64 or ATTN_I64. */
void npy_write(FILE *stream, const attn_tensor *tensor);

#endif
