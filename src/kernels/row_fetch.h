/* SPDX-License-Identifier: BSD-3-Clause
 *
 * kernels/row_fetch.h: how the kernels of few queries go over memory: how far ahead they ask for it, and how much of it
 * stays near while several queries go over it. */
#ifndef ATTN_I_KERNELS_ROW_FETCH_H
#define ATTN_I_KERNELS_ROW_FETCH_H

#include "kernels/fetch.h"

enum {
    LINE = ATTN_I_LINE,
    FETCH = 8192,      /* bytes ahead that memory is asked for, */
    SECOND_LEVEL = 2,  /* into that cache: in the first it would push out what is being read */
    PART_BYTES = 4096, /* of rows that stay in the first-level cache while several queries go over them */
    LEAST_PART = 8
};

/* How far ahead of what is read to ask for memory: so many rows, or, where rows follow each other, bytes. Then it is
 * asked for in the order in which it lies, whatever the order in which it is read: the memory likes that best. */
static inline int64_t ahead_of(int64_t row, int64_t stride)
{
    return stride == row || row == 0 ? FETCH : (FETCH / row + 1) * stride;
}

/* The same where whoever has the rows may know better. */
static inline int64_t ahead_or(int64_t given, int64_t row, int64_t stride)
{
    return given != 0 ? given : ahead_of(row, stride);
}

/* So many rows, of `count` of so many bytes each, stay in the first-level cache while all queries go over them: all, or
 * a multiple of `least`. */
static inline int64_t part_of(int64_t fits, int64_t count, int64_t row, int64_t least)
{
    if (count <= least || count * row <= fits) return count;
    const int64_t rows = fits / row;
    return rows < least ? least : rows / least * least;
}

#endif
