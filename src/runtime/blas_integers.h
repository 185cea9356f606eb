/* SPDX-License-Identifier: BSD-3-Clause
 *
 * runtime/blas_integers.h: whether the BLAS takes the integers that it is given. */
#ifndef ATTN_I_RUNTIME_BLAS_INTEGERS_H
#define ATTN_I_RUNTIME_BLAS_INTEGERS_H

/* 0 if the BLAS that is loaded reads 64-bit integers (ILP64) where cblas.h declared 32-bit ones: the upper halves of
 * what it reads are then whatever registers held before, and its results are wrong. */
int attn_i_blas_takes_our_integers(void);

#endif
