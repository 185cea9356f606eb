/* SPDX-License-Identifier: BSD-3-Clause
 *
 * position/rope.h: rows turned by their positions (Su 2021), as attn_rope does, for whoever has rows of his own. */
#ifndef ATTN_I_POSITION_ROPE_H
#define ATTN_I_POSITION_ROPE_H

#include "call/storage.h"
#include "handles/tensor.h"
#include "runtime/parallel.h"
#include "runtime/slots.h"

/* The caller's positions of rows, [B, T], or [T] for all sequences, of which rows first .. end - 1 of each are looked
 * at.
 */
attn_status attn_i_rope_positions(const attn_tensor *tensor, const char *name, int64_t batch, int64_t length,
                                  int64_t first, int64_t end, attn_i_view *view);

typedef struct attn_i_rotation {
    attn_engine *engine;
    attn_i_storage storage;
    attn_i_view from, to;  /* [B, H, T, D], T not 0 */
    attn_i_view positions; /* broadcast to [1, 1, B, T]; data NULL: counted from first */
    int64_t first;
    int in_place; /* from is to */

    /* Of the options: */
    attn_rope_layout layout;
    int64_t pairs;
    double sign, base; /* sign: -1 to turn back */

    /* How the work is cut. */
    int64_t sequences;     /* that have positions of their own: B, or 1 */
    int64_t shared;        /* heads that have the same positions: H, or B H */
    int64_t rows, blocks;  /* positions of an item, and how many such blocks a sequence has */
    int64_t heads, groups; /* heads of an item, and how many such groups there are */
    int64_t width;         /* pairs of a row in the table, a multiple of what kernels count angles by */

    /* Scratch. */
    double *frequencies; /* of pairs, and zeros up to such a multiple */
    attn_i_slots slots;
    char *tables; /* of each slot: cosines, then sines, [rows][width] */
    char *turned; /* of each slot, where numbers have 16 bits: pairs, [2 width] */
} attn_i_rotation;

/* What checked options say of rows like `from`; positions apart. */
void attn_i_rotation_options(attn_i_rotation *rotation, const attn_rope_options *options);

/* Scratch, by shape; and turning, which cannot fail. */
void attn_i_rotation_layout(attn_i_rotation *rotation, attn_i_arena *arena);
void attn_i_rotation_run(attn_i_rotation *rotation);

#endif
