/* SPDX-License-Identifier: BSD-3-Clause
 *
 * real.h: the type of all numbers in a model. Programs are built with float; the test of gradients builds the same
 * files with double (TRANSLATE_DOUBLE), where finite differences have enough digits to tell. */
#ifndef TRANSLATE_REAL_H
#define TRANSLATE_REAL_H

#include <attn/attn.h>
#include <cblas.h>
#include <math.h>

#ifdef TRANSLATE_DOUBLE
typedef double real;
#define REAL_DTYPE ATTN_F64
#define real_gemm  cblas_dgemm
#define real_exp   exp
#define real_log   log
#define real_sqrt  sqrt
#else
typedef float real;
#define REAL_DTYPE ATTN_F32
#define real_gemm  cblas_sgemm
#define real_exp   expf
#define real_log   logf
#define real_sqrt  sqrtf
#endif

#endif
