/* SPDX-License-Identifier: BSD-3-Clause
 *
 * handles/lengths.h: tensors of integers, one for each sequence of a batch: the valid rows, above all. */
#ifndef ATTN_I_HANDLES_LENGTHS_H
#define ATTN_I_HANDLES_LENGTHS_H

#include "handles/tensor.h"

/* Integers [any], ATTN_I32 or ATTN_I64, each 0 .. most, or least .. most; and one of them. */
attn_status attn_i_integers_check(const attn_tensor *tensor, const char *name, int64_t most, attn_i_view *view);
attn_status attn_i_integers_check_from(const attn_tensor *tensor, const char *name, int64_t least, int64_t most,
                                       attn_i_view *view);
int64_t attn_i_integer(const attn_i_view *view, int64_t index);

/* An optional [batch] of them. */
attn_status attn_i_lengths_check(const attn_tensor *tensor, const char *name, int64_t batch, int64_t most,
                                 attn_i_view *lengths);

/* How many rows each sequence of a batch is given of a tensor of them, [B, heads, rows, dim]: its first ones, as many
 * as `counts` says, or else `each`. In a ragged batch, [1, heads, rows, dim]: those from offset b to the next. */
typedef struct attn_i_growth {
    attn_i_view counts, offsets; /* [1, 1, 1, B] and [1, 1, 1, B + 1]; data NULL: there are none */
    int64_t each;
} attn_i_growth;

int64_t attn_i_growth_rows(const attn_i_growth *growth, int64_t b);
/* Where they lie: the first row, of which batch. */
int64_t attn_i_growth_first(const attn_i_growth *growth, int64_t b);
int64_t attn_i_growth_batch(const attn_i_growth *growth, int64_t b);

/* That of sequence b; `most` where there are no lengths. */
int64_t attn_i_length(const attn_i_view *lengths, int64_t b, int64_t most);

#endif
