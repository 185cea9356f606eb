/* SPDX-License-Identifier: BSD-3-Clause
 *
 * npy.h: NumPy's .npy files, formats 1.0, 2.0 and 3.0, as attn_tensor. Read: f4, f8, bool, i4, i8 of either byte
 * order, C or Fortran order, rank 1 to 4. Pickled objects are refused. A file is exactly one array.
 */
#ifndef ATTN_TOOLS_NPY_H
#define ATTN_TOOLS_NPY_H

#include <attn/attn.h>
#include <stdint.h>
#include <stdio.h>

/* Reads the array in path, "-" for standard input. tensor.data is the caller's to free. Fortran order becomes
 * strides. */
attn_tensor npy_read(const char *path);

/* A new row-major tensor of that shape, not filled. tensor.data is the caller's to free. */
attn_tensor npy_create(attn_dtype dtype, int32_t ndim, const int64_t *shape);

/* Writes a contiguous row-major tensor of ATTN_F32, ATTN_F64 or ATTN_I64. */
void npy_write(FILE *stream, const attn_tensor *tensor);

#endif
