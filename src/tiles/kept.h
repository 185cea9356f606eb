/* SPDX-License-Identifier: BSD-3-Clause
 *
 * tiles/kept.h: the rows of a key head's keys or values where they are kept, of whichever type: who wants some of them
 * asks here where they are, or for what they are in float32. */
#ifndef ATTN_I_TILES_KEPT_H
#define ATTN_I_TILES_KEPT_H

#include "call/pages.h"
#include "kernels/arithmetic.h"
#include "runtime/size.h"

/* In which order rows in pages are gone over: all of one key head's, or, where several heads go together, those of a
 * block of pages, head after head. */
typedef struct attn_i_kept_order {
    int64_t block;                /* pages; 0: all */
    int64_t next_head, next_page; /* elements, from a row to the same one of the head that comes next with the same
                                     block, 0: none does; or else of the head that begins the next block */
} attn_i_kept_order;

typedef struct attn_i_kept {
    const char *data; /* row 0 */
    int64_t stride;   /* of rows, in elements */
    const attn_i_stored_kernels *type;
    const float *scales; /* what each row is to be multiplied by; NULL: by nothing */
    int64_t scale_stride;
    const attn_i_pages *pages; /* that the rows lie in; NULL: they are evenly apart */
    int64_t page_stride, scale_page_stride;
    attn_i_kept_order order;
} attn_i_kept;

/* How many elements, or scales, row `first` is from row 0, or from that of page 0. */
static inline int64_t attn_i_kept_place(const attn_i_kept *kept, int64_t first)
{
    if (kept->pages != NULL) return attn_i_page_row(kept->pages, first, kept->stride, kept->page_stride);
    return first * kept->stride;
}
static inline int64_t attn_i_kept_scale_place(const attn_i_kept *kept, int64_t first)
{
    if (kept->pages != NULL) return attn_i_page_row(kept->pages, first, kept->scale_stride, kept->scale_page_stride);
    return first * kept->scale_stride;
}

/* Of `count` rows from `first` on, how many there are that are evenly apart: at least one, if `count` is. */
static inline int64_t attn_i_kept_run(const attn_i_kept *kept, int64_t first, int64_t count)
{
    if (kept->pages == NULL) return count;
    return attn_i_min(count, kept->pages->rows - attn_i_remainder(first, kept->pages->rows));
}

/* Rows from `first` on, as many as are evenly apart. Nothing is asked for ahead of those in pages. */
static inline attn_i_stored_rows attn_i_kept_from(const attn_i_kept *kept, int64_t first)
{
    const char *data = kept->data;
    if (first > 0 || kept->pages != NULL) data += attn_i_kept_place(kept, first) * kept->type->size;
    return (attn_i_stored_rows){data, kept->stride, kept->pages != NULL};
}

/* Of rows first .. end - 1 those that are evenly apart, from the first on, for kernels that ask for rows ahead of those
 * that they go over, `width` elements each, of `all` there are. And of rows in pages alone. */
typedef struct attn_i_kept_rows {
    attn_i_stored_rows rows;
    int64_t count;
} attn_i_kept_rows;
attn_i_kept_rows attn_i_kept_next_paged(const attn_i_kept *kept, int64_t first, int64_t end, int64_t width,
                                        int64_t all);
static inline attn_i_kept_rows attn_i_kept_next(const attn_i_kept *kept, int64_t first, int64_t end, int64_t width,
                                                int64_t all)
{
    if (kept->pages != NULL) return attn_i_kept_next_paged(kept, first, end, width, all);
    return (attn_i_kept_rows){attn_i_kept_from(kept, first), end - first};
}

/* `count` rows of `width` elements, from `first` on, in float32: where they are, or in `room`, one after the other. */
attn_i_rows attn_i_kept_near(const attn_i_kept *kept, int64_t first, int64_t count, int64_t width, float *room);

/* The same as an arithmetic takes them: where they are, if their type is its own. */
attn_i_stored_rows attn_i_kept_for(const attn_i_tile_arithmetic *arithmetic, const attn_i_kept *kept, int64_t first,
                                   int64_t count, int64_t width, float *room);

/* At most a tile of them, to be asked for; of pages the first rows are put into `pages`, which must stay. */
enum { ATTN_I_FETCHED_PAGES = ATTN_I_TILE_KEYS + 1 };
void attn_i_kept_fetch(const attn_i_kept *kept, int64_t first, int64_t count, int64_t width, const char **pages,
                       attn_i_fetch *fetch);

/* row[j] *= the scale of row first + j, j < n; of weights, 0 stays 0 whatever the scale is. */
void attn_i_kept_scale(const attn_i_kept *kept, int64_t first, int64_t n, float *row, int weights);

#endif
