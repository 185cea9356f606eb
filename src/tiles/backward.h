/* SPDX-License-Identifier: BSD-3-Clause
 *
 * tiles/backward.h: the backward pass by fused tiles: weights and gradients of scores are made a tile at a time and
 * used up before they leave the cache. Float32; what it does not take goes the BLAS way. */
#ifndef ATTN_I_TILES_BACKWARD_H
#define ATTN_I_TILES_BACKWARD_H

#include "call/gradient.h"
#include "runtime/slots.h"
#include "tiles/gradient.h"
#include "tiles/row_sums.h"
#include "tiles/source.h"

/* One call. Points into itself: not to be copied. */
typedef struct attn_i_tiles_backward {
    const attn_i_gradient *g;
    const attn_i_problem *p;
    attn_i_gradient_plan plan;
    attn_i_sources sources;

    /* How the work is cut. */
    int64_t head_count, head_rows; /* key heads of all sequences; rows of each: group x queries */
    int64_t heads;                 /* of a chunk, for which copies are made at a time */
    int64_t tile_rows, tiles;      /* tiles of queries per key head */
    int64_t split_keys, splits;    /* of each key head's keys: an item of work each */
    int64_t slot_count;
    int keys_prepared; /* gradients of prepared keys are summed apart, those of the keys then follow from them */

    /* Where rows of keys and values are summed for the caller: data NULL: nowhere. */
    const attn_i_view *d_keys, *d_values;

    /* Scratch. */
    attn_i_slots slots;
    struct attn_i_backward_slot *slot; /* of each slot */
    float *parts;                      /* of each item and tile of queries, where keys are split */
    float *own;                        /* of each item: the score function's sums for its parameters */
    float *distances;                  /* of each item: sums of gradients of scores, see attn_i_gradient_sums */
    float *prepared_queries;           /* gradients, of each row of the chunk */
    float *prepared_keys;              /* likewise */
    attn_i_row_sums rows;
    attn_i_bias_sums biases;
} attn_i_tiles_backward;

/* 1 if tensors of 16 bits are read and written as they are; otherwise they are to be made float32 before. */
int attn_i_tiles_backward_reads_stored(const attn_i_problem *problem);

/* Begins a call; 1 if the problem can go this way. */
int attn_i_tiles_backward_takes(const attn_i_gradient *gradient, attn_i_tiles_backward *way);

/* Then: the bytes of scratch, aligned to ATTN_I_ALIGNMENT, that the run needs. ATTN_ERR_OVERFLOW if they cannot be
 * held. */
attn_status attn_i_tiles_backward_scratch(attn_i_tiles_backward *way, int64_t *bytes);

/* Then: computes and writes all gradients. Cannot fail. */
void attn_i_tiles_backward_run(attn_i_tiles_backward *way, void *scratch);

#endif
