/* SPDX-License-Identifier: BSD-3-Clause
 *
 * tiles/kept.h: the rows of a key head's keys or values where they are kept, of whichever type: who wants some of them
 * asks here where they are, or for what they are in float32. */
#ifndef ATTN_I_TILES_KEPT_H
#define ATTN_I_TILES_KEPT_H

#include "kernels/arithmetic.h"
#include "runtime/size.h"

typedef struct attn_i_kept {
    const char *data; /* row 0 */
    int64_t stride;   /* of rows, in elements */
    const attn_i_stored_kernels *type;
    const float *scales; /* what each row is to be multiplied by; NULL: by nothing */
    int64_t scale_stride;
} attn_i_kept;

/* Rows from `first` on. */
static inline attn_i_stored_rows attn_i_kept_from(const attn_i_kept *kept, int64_t first)
{
    const char *data = kept->data;
    if (first > 0) data += first * kept->stride * kept->type->size;
    return (attn_i_stored_rows){data, kept->stride};
}

/* `count` rows of `width` elements, from `first` on, in float32: where they are, or in `room`, one after the other. */
attn_i_rows attn_i_kept_near(const attn_i_kept *kept, int64_t first, int64_t count, int64_t width, float *room);

/* The same as an arithmetic takes them: where they are, if their type is its own. */
attn_i_stored_rows attn_i_kept_for(const attn_i_tile_arithmetic *arithmetic, const attn_i_kept *kept, int64_t first,
                                   int64_t count, int64_t width, float *room);

/* `count` of them, to be asked for. */
static inline void attn_i_kept_fetch(const attn_i_kept *kept, int64_t first, int64_t count, int64_t width,
                                     attn_i_fetch *fetch)
{
    const int64_t size = kept->type->size;
    attn_i_fetch_add(fetch, (attn_i_fetched){.first = attn_i_kept_from(kept, first).data,
                                             .runs = 1,
                                             .rows = count,
                                             .row_stride = kept->stride * size,
                                             .lines = attn_i_divide_up(width * size, ATTN_I_LINE)});
}

/* row[j] *= the scale of row first + j, j < n; of weights, 0 stays 0 whatever the scale is. */
void attn_i_kept_scale(const attn_i_kept *kept, int64_t first, int64_t n, float *row, int weights);

#endif
