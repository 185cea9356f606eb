/* SPDX-License-Identifier: BSD-3-Clause
 *
 * blas/forward.h: the forward pass by whole matrices through the BLAS: complete on every machine, and what every faster
 * way is compared with. */
#ifndef ATTN_I_BLAS_FORWARD_H
#define ATTN_I_BLAS_FORWARD_H

#include "call/problem.h"

/* The bytes of scratch, aligned to ATTN_I_ALIGNMENT, that the run needs. ATTN_ERR_OVERFLOW if they cannot be held. */
attn_status attn_i_blas_way_scratch(const attn_i_problem *problem, int64_t *bytes);

/* Computes and writes all outputs. Cannot fail. */
void attn_i_blas_way_run(const attn_i_problem *problem, void *scratch);

#endif
