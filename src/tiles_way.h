/* SPDX-License-Identifier: BSD-3-Clause
 *
 * tiles_way.h: the forward pass by fused tiles: a tile's scores become weights and are used up before they leave the
 * cache. Float32; what it does not take goes the BLAS way. */
#ifndef ATTN_I_TILES_WAY_H
#define ATTN_I_TILES_WAY_H

#include "problem.h"

/* 1 if the problem can go this way. */
int attn_i_tiles_way_takes(const attn_i_problem *problem);

/* The bytes of scratch, aligned to ATTN_I_ALIGNMENT, that the run needs. ATTN_ERR_OVERFLOW if they cannot be held. */
attn_status attn_i_tiles_way_scratch(const attn_i_problem *problem, int64_t *bytes);

/* Computes and writes all outputs. Cannot fail. */
void attn_i_tiles_way_run(const attn_i_problem *problem, void *scratch);

#endif
