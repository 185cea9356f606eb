/* SPDX-License-Identifier: BSD-3-Clause
 *
 * runtime/blas.h: what the library asks of a BLAS, and what it knows about the one that it found. The only floor that
 * sees cblas.h is this one. Call these from the thread that called the library, never from a worker: a threaded BLAS
 * would contend with itself. */
#ifndef ATTN_I_RUNTIME_BLAS_H
#define ATTN_I_RUNTIME_BLAS_H

#include "attn/attn.h"
#include "runtime/cpu.h"
#include "runtime/matrix.h"

/* The largest dimension that goes to the BLAS in one call: what its int holds, less some room for one that rounds up.
 * Numbers of rows and of keys beyond it are cut; a matrix that must be copied has no more columns. Smaller in a test,
 * which cannot have matrices of 2^31 rows. */
#ifndef ATTN_I_BLAS_LIMIT
#define ATTN_I_BLAS_LIMIT (INT32_MAX - 1024)
#endif

/* c = a b, or c += a b. ATTN_F32 or ATTN_F64. Columns of c lie side by side (column_stride 1); a and b pass
 * attn_i_blas_takes. Any sizes, also 0: a product over nothing is 0. */
void attn_i_blas_multiply(attn_dtype dtype, attn_i_matrix a, attn_i_matrix b, attn_i_matrix c, int accumulate);

/* 1 if the BLAS can read this matrix where it lies, as it is or transposed. */
int attn_i_blas_takes(attn_i_matrix m);

typedef struct attn_i_blas_info {
    const char *library;   /* "OpenBLAS", "BLIS", "MKL", "BLAS" (unknown) */
    const char *version;   /* static or the BLAS's own; "" if it does not say */
    const char *core;      /* "" if it does not say */
    const char *threading; /* "serial", "pthread", "openmp", "unknown" */
    int vector_bits;       /* of the core's kernels; 0: unknown */
    int threads;           /* 0: unknown */
    int serialised;        /* 1 if our calls take turns because it is not safe to call it from two threads */
    int our_integers;      /* 0 if it takes other integers than it is given: it cannot be used at all */
    int suits_cpu;         /* 0 if its kernels are narrower than the CPU's vectors */
    char file[256];        /* the shared object that it was loaded from, or "" */
    char advice[256];      /* a sentence when suits_cpu is 0, else "" */
} attn_i_blas_info;

void attn_i_blas_describe(const attn_i_cpu *cpu, attn_i_blas_info *info);

#endif
