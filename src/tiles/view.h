/* SPDX-License-Identifier: BSD-3-Clause
 *
 * tiles/view.h: what the queries of a tile pass see, one tile of keys after the other: by where they stand, by the
 * mask, and what biases stand between. */
#ifndef ATTN_I_TILES_VIEW_H
#define ATTN_I_TILES_VIEW_H

#include "tiles/pass.h"

enum {
    ATTN_I_PIECE_KEYS = 16, /* of a tile that not all lanes see alike */
    ATTN_I_MOST_PIECES = ATTN_I_TILE_KEYS / ATTN_I_PIECE_KEYS
};

/* Keys first .. first + count - 1 of the tile, and the spans of lanes that see any of them. */
typedef struct attn_i_tile_piece {
    int64_t first, count;
    attn_i_spans spans;
    int edges; /* some lane does not see all */
} attn_i_tile_piece;

typedef struct attn_i_tile_view {
    const attn_i_tile_plan *plan;
    const attn_i_problem *p;
    const attn_i_tile_kernels *kernels;
    const attn_i_tile_scratch *s;
    const attn_i_tile_work *w;
    attn_i_lanes *lanes;
    int64_t query[ATTN_I_LANES], head[ATTN_I_LANES]; /* that each lane is */
    attn_i_sight sight;                              /* of the queries */
    attn_i_span common;                              /* what all lanes see */
    float slope[ATTN_I_LANES];                       /* ALiBi's, of exponents if these are folded */
    attn_i_spans all;                                /* spans with rows */
    /* The tile at hand. */
    attn_i_span keys;
    attn_i_stored_rows near_keys, near_values; /* from its first key on: see attn_i_tile_view_near */
    float distance[ATTN_I_LANES];              /* of its first key from where the lane stands, for ALiBi */
    float top[ATTN_I_LANES];                   /* the greatest that ALiBi adds to a key that the lane sees */
    int edges; /* some lane does not see all of it, and first_key and end_key say what each does see */
    attn_i_tile_piece pieces[ATTN_I_MOST_PIECES];
    int count;
} attn_i_tile_view;

/* The query and query head that a lane is. */
static inline int64_t attn_i_tile_query(const attn_i_tile_view *tile_view, int64_t lane)
{
    return tile_view->query[lane];
}

static inline int64_t attn_i_tile_head(const attn_i_tile_view *tile_view, int64_t lane)
{
    return tile_view->head[lane];
}

/* Near rows from this one on, where the arithmetic is that of float32. */
static inline attn_i_rows attn_i_near_floats(attn_i_stored_rows near, int64_t first)
{
    return attn_i_rows_from((attn_i_rows){near.data, near.stride}, first);
}

/* Begins a pass; returns the run of keys that any lane sees. */
attn_i_span attn_i_tile_view_begin(attn_i_tile_view *tile_view, const attn_i_tile_plan *plan,
                                   const attn_i_tile_scratch *scratch, const attn_i_tile_work *work);

/* The tile of tile_view->keys, which the caller has set: its pieces and, with ALiBi, distances. */
void attn_i_tile_view_take(attn_i_tile_view *tile_view);

/* Makes the tile's keys, and its values where there is a context, as the plan's arithmetic takes them. */
void attn_i_tile_view_near(attn_i_tile_view *tile_view);

/* What the mask shows of the tile; where that is something, its ones and zeros in lanes. */
attn_i_shows attn_i_tile_view_mask(attn_i_tile_view *tile_view);

/* The rows of the bias for the tile's keys, in lanes. */
void attn_i_tile_view_bias(attn_i_tile_view *tile_view);

/* Zeros what dropout drops of a piece of this tile, [TILE_KEYS][LANES]. */
void attn_i_tile_view_drop(const attn_i_tile_view *tile_view, const attn_i_tile_piece *one_piece, float *tile);

/* Adds ALiBi's part to scores of keys first .. first + count - 1 of the tile. */
void attn_i_tile_view_add_alibi(attn_i_tile_view *tile_view, int64_t first, int64_t count, attn_i_spans spans);

#endif
