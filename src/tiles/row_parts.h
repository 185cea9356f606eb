/* SPDX-License-Identifier: BSD-3-Clause
 *
 * tiles/row_parts.h: what the row passes of a key head came to, each over some of its keys, brought together. */
#ifndef ATTN_I_TILES_ROW_PARTS_H
#define ATTN_I_TILES_ROW_PARTS_H

#include "tiles/row_pass.h"

/* Brings the parts of a key head together, in order, into the first, and writes the outputs. */
void attn_i_row_finish_parts(const attn_i_tile_plan *plan, const attn_i_tile_work *work, attn_i_row_part *parts,
                             int64_t count);

#endif
