/* SPDX-License-Identifier: BSD-3-Clause
 *
 * local/local.h: predictive local attention, a query and the few keys around its centre at a time: forward and
 * backward, any score, float32 and float64. */
#ifndef ATTN_I_LOCAL_LOCAL_H
#define ATTN_I_LOCAL_LOCAL_H

#include "call/gradient.h"

/* Forward: as blas/forward.h. */
attn_status attn_i_local_way_scratch(const attn_i_problem *problem, int64_t *bytes);
void attn_i_local_way_run(const attn_i_problem *problem, void *scratch);

/* Backward: as blas/backward.h. */
attn_status attn_i_local_backward_scratch(const attn_i_gradient *gradient, int64_t *bytes);
void attn_i_local_backward_run(const attn_i_gradient *gradient, void *scratch);

#endif
