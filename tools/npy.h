/* SPDX-License-Identifier: BSD-3-Clause
 *
 * npy.h: NumPy's .npy files, formats 1.0, 2.0 and 3.0, as attn_tensor. Read: f4, f8, bool, i4, i8 of either byte
 * order, C or Fortran order, rank 1 to 4. Pickled objects are refused. A file is exactly one array.
 */
#ifndef ATTN_TOOLS_NPY_H
#define ATTN_TOOLS_NPY_H

#include <attn/attn.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* What the header says. */
typedef struct npy_header {
    attn_dtype dtype;
    size_t element_bytes;
    bool swapped; /* in the other byte order than this machine's */
    bool fortran_order;
    int32_t ndim;
    int64_t shape[4];
    size_t payload_bytes;
} npy_header;

/* Parses the header's text, length bytes of it; name is for sentences. Fails on anything but a whole valid header. */
npy_header npy_parse_header(const char *name, const char *text, size_t length);

/* Reads the array in path, "-" for standard input. tensor.data is the caller's to free. Fortran order becomes
 * strides. */
attn_tensor npy_read(const char *path);

/* A new row-major tensor of that shape, not filled. tensor.data is the caller's to free. */
attn_tensor npy_create(attn_dtype dtype, int32_t ndim, const int64_t *shape);

/* Writes a contiguous row-major tensor of ATTN_F32 or ATTN_F64. */
void npy_write(FILE *stream, const attn_tensor *tensor);

/* The bytes of an element; 0 for a type that .npy files have not here. */
size_t npy_element_bytes(attn_dtype dtype);

bool npy_machine_is_little_endian(void);

#endif
