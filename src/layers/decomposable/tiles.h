/* SPDX-License-Identifier: BSD-3-Clause
 *
 * layers/decomposable/tiles.h: how both directions of the decomposable attention cut their work into tiles, and where
 * they find rows. Rows of a stand in lanes, rows of b are the keys of tiles. An item of work is one head of one
 * sequence. */
#ifndef ATTN_I_LAYERS_DECOMPOSABLE_TILES_H
#define ATTN_I_LAYERS_DECOMPOSABLE_TILES_H

#include "layers/decomposable/decomposable.h"
#include "tiles/lanes.h"

#define ATTN_I_LOG2_E 1.44269504088896340736

/* The rows of one head as float32 whose elements are contiguous: where they lie, or in a copy. */
typedef struct attn_i_item_rows {
    const attn_i_view *view;
    float *copy; /* NULL: they are used where they lie */
} attn_i_item_rows;

/* view->data NULL: nothing. */
attn_i_item_rows attn_i_item_rows_layout(const attn_i_decomposable *d, const attn_i_view *view, attn_i_arena *arena);
attn_i_rows attn_i_item_rows_take(const attn_i_item_rows *rows, const attn_i_decomposable *d, int64_t b, int64_t h,
                                  int64_t count);

/* One item, and the tile of rows of a at hand. */
typedef struct attn_i_item {
    int64_t b, h;
    int64_t a_rows, b_rows; /* valid */
    int64_t tile_rows;      /* of a, in a tile, at most LANES */
    int64_t first, rows;    /* of a, in the tile at hand */
    attn_i_spans spans;     /* of these */
} attn_i_item;

attn_i_item attn_i_item_of(const attn_i_decomposable *d, int64_t index);

/* Takes the tile that begins at row `first` of a. */
void attn_i_item_take(attn_i_item *item, int64_t first);

/* The tile's rows to lanes, times a factor, and to panels. */
void attn_i_item_to_lanes(const attn_i_item *item, const attn_i_tile_kernels *tiles, attn_i_rows rows, int64_t n,
                          float factor, float *to);
void attn_i_item_to_panels(const attn_i_item *item, attn_i_rows rows, int64_t n, float *panels);

/* And lanes, each times its factor, to the tile's rows of an output. */
void attn_i_item_write(const attn_i_item *item, const attn_i_decomposable *d, const float *lanes, const float *factor,
                       const attn_i_view *output, int accumulate, float *room);

/* Elements from one row to the next of sums that products write whole spans of. */
int64_t attn_i_item_stride(int64_t columns);

/* The work of a job, for attn_i_parallel, with so many products of `elements` in all for each score. */
int64_t attn_i_item_work(const attn_i_decomposable *d, int64_t elements);

#endif
