/* SPDX-License-Identifier: BSD-3-Clause
 *
 * npy_header.h: what the header of a .npy file says.
 */
#ifndef ATTN_TOOLS_NPY_HEADER_H
#define ATTN_TOOLS_NPY_HEADER_H

#include <attn/attn.h>
#include <stdbool.h>
#include <stddef.h>

typedef struct npy_header {
    attn_dtype dtype;
    size_t element_bytes;
    bool swapped; /* in the other byte order than this machine's */
    bool fortran_order;
    int32_t ndim;
    int64_t shape[4];
    size_t payload_bytes;
} npy_header;

/* Parses the header's text, length bytes of it, of a file of that major version; name is for sentences, u2 as for
 * npy_read. Fails on anything but a whole valid header. */
npy_header npy_parse_header(const char *name, unsigned version, const char *text, size_t length, attn_dtype u2);

/* The bytes of an element; 0 for a type that .npy files have not here. */
size_t npy_element_bytes(attn_dtype dtype);

bool npy_machine_is_little_endian(void);

#endif
