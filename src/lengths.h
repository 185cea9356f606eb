/* SPDX-License-Identifier: BSD-3-Clause
 *
 * lengths.h: the valid rows of each sequence of a batch. */
#ifndef ATTN_I_LENGTHS_H
#define ATTN_I_LENGTHS_H

#include "tensor.h"

/* An optional [batch] of ATTN_I32 or ATTN_I64 between 0 and `most`, which counts what `rows` says ("keys"). */
attn_status attn_i_lengths_check(const attn_tensor *tensor, const char *name, int64_t batch, int64_t most,
                                 const char *rows, attn_i_view *lengths);

/* That of sequence b; `most` where there are no lengths. */
int64_t attn_i_length(const attn_i_view *lengths, int64_t b, int64_t most);

#endif
