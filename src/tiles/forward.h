/* SPDX-License-Identifier: BSD-3-Clause
 *
 * tiles/forward.h: the forward pass by fused tiles: a tile's scores become weights and are used up before they leave
 * the cache. Float32; what it does not take goes the BLAS way. */
#ifndef ATTN_I_TILES_FORWARD_H
#define ATTN_I_TILES_FORWARD_H

#include "call/problem.h"
#include "runtime/slots.h"
#include "tiles/key_sums.h"
#include "tiles/pass.h"
#include "tiles/row_pass.h"
#include "tiles/source.h"

/* One call. Points into itself: not to be copied. */
typedef struct attn_i_tiles {
    const attn_i_problem *p;
    attn_i_tile_plan plan, unread; /* and as it was before slopes were read */
    attn_i_sources sources;

    /* How the work is cut. */
    int64_t head_count, head_rows; /* key heads of all sequences; rows of each: group x queries */
    int64_t heads;                 /* of a chunk, for which copies are made at a time */
    int64_t tile_rows, tiles;      /* tiles of queries per key head */
    int64_t split_keys, splits;    /* of each tile's keys */
    int64_t slot_count;
    int64_t together; /* key heads whose few queries go over their keys together */
    int64_t passes;   /* of the chunk at hand */
    int few;          /* queries of a key head: rows rather than lanes */

    /* Scratch. */
    attn_i_slots slots;
    attn_i_tile_scratch *slot;    /* of each slot */
    attn_i_row_scratch *row_slot; /* instead, where queries are few */
    attn_i_lanes *lanes;          /* of each pass, where keys are split */
    float *contexts;
    attn_i_row_part *row_parts; /* of each pass */
    attn_i_row_stats *stats;    /* of the rows of each pass, where they are wanted and keys are split, or rows few */
    float *kept;                /* [heads][rows][Tk], where few queries are summed by key; and where many are: */
    attn_i_key_sums_scratch *sums_slot;
    attn_i_row_norm *norms;  /* of the lanes of each tile of queries */
    unsigned char *is_great; /* of each tile of queries: some scores are */
    int64_t sum_keys;        /* of one item that sums */
} attn_i_tiles;

/* Begins a call; 1 if the problem can go this way. */
int attn_i_tiles_takes(const attn_i_problem *problem, attn_i_tiles *way);

/* Then: the bytes of scratch, aligned to ATTN_I_ALIGNMENT, that the run needs. ATTN_ERR_OVERFLOW if they cannot be
 * held. */
attn_status attn_i_tiles_scratch(attn_i_tiles *way, int64_t *bytes);

/* Then: lays its scratch out. */
void attn_i_tiles_begin(attn_i_tiles *way, void *scratch);

/* Then, any number of times: computes and writes all outputs. Cannot fail. Tensors may lie elsewhere each time. */
void attn_i_tiles_run(attn_i_tiles *way);

#endif
