/* SPDX-License-Identifier: BSD-3-Clause
 *
 * tiles/source.h: the rows of queries, keys and values as passes read them: where the caller has them, or in copies
 * that are made for some key heads at a time. */
#ifndef ATTN_I_TILES_SOURCE_H
#define ATTN_I_TILES_SOURCE_H

#include "call/problem.h"
#include "kernels/tile.h"
#include "runtime/memory.h"
#include "score/score.h"
#include "tiles/kept.h"

/* The rows of key heads as passes read them: where they lie, or in a copy of the chunk's, which the score function may
 * make of them (`prepares`), be it from rows that had to be gathered first. */
typedef struct attn_i_source {
    attn_i_matrix (*rows_of)(const attn_i_problem *p, const attn_i_score_state *state, int64_t head); /* NULL: gather */
    void (*prepares)(const attn_i_problem *p, const attn_i_score_state *state, attn_i_matrix from, attn_i_matrix to);
    void (*converts)(const attn_i_problem *p, const float *from, float *to); /* each row of the copy */
    int64_t rows, from_width, prepared_width;
    int64_t width; /* elements from one row of the copy to the next */
    int gathered, copied;
    float *raw, *copy;
    const attn_i_stored_kernels *type; /* of the rows as they come, */
    const attn_i_view *scales;         /* [1, B, Hk, rows], what each is to be multiplied by; data NULL: by nothing */
    const attn_i_view *paged;          /* the view of which they are, if they lie in pages; NULL: evenly apart */
} attn_i_source;

typedef struct attn_i_sources {
    const attn_i_problem *p;
    attn_i_score_state state;
    attn_i_source query, key, value;
    int64_t first_head, chunk_heads; /* the key heads, of all sequences, that there are copies of now */
} attn_i_sources;

/* Finds where rows are and what has to be copied. Keys are `converted` (see attn_i_lane_score) here, or by the passes.
 * To be called once the state is laid out. */
void attn_i_sources_find(attn_i_sources *sources, int converted);

/* 1 if passes copy the rows as they read them: widened, or from pages. */
static inline int attn_i_source_is_widened(const attn_i_source *source)
{
    return !source->copied && (!attn_i_is_float32(source->type) || source->paged != NULL);
}

/* Keys and values that the arithmetic does not take as they are kept are widened here, not by the passes; and those in
 * pages are put together here. */
void attn_i_sources_widen(attn_i_sources *sources, const attn_i_tile_arithmetic *arithmetic);

/* The elements copied for one key head. */
int64_t attn_i_sources_copied(const attn_i_sources *sources);

/* Lays out copies for so many key heads. */
void attn_i_sources_layout(attn_i_sources *sources, int64_t heads, attn_i_arena *arena);

/* Makes the copies for these key heads. */
void attn_i_sources_prepare(attn_i_sources *sources, int64_t first_head, int64_t heads);

/* The queries of key head first_head + i; data NULL where they are to be read one by one, and perhaps widened. */
attn_i_rows attn_i_source_queries(const attn_i_sources *sources, int64_t i);

/* The keys, or values, of key head first_head + i. */
void attn_i_source_kept(const attn_i_sources *sources, const attn_i_source *source, int64_t i, attn_i_kept *kept);

#endif
