/* SPDX-License-Identifier: BSD-3-Clause
 *
 * blas/backward.h: the backward pass by whole matrices through the BLAS: complete on every machine, and what every
 * faster way is compared with. */
#ifndef ATTN_I_BLAS_BACKWARD_H
#define ATTN_I_BLAS_BACKWARD_H

#include "call/gradient.h"

/* The bytes of scratch, aligned to ATTN_I_ALIGNMENT, that the run needs. ATTN_ERR_OVERFLOW if they cannot be held. */
attn_status attn_i_blas_backward_scratch(const attn_i_gradient *gradient, int64_t *bytes);

/* Computes and writes all gradients. Cannot fail. */
void attn_i_blas_backward_run(const attn_i_gradient *gradient, void *scratch);

#endif
