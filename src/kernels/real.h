/* SPDX-License-Identifier: BSD-3-Clause
 *
 * kernels/real.h: what a kernel source is compiled with. The build gives ATTN_I_SET, the instruction set's name, and
 * ATTN_I_BITS, 32 or 64; a kernel is written in terms of `real` and named through KERNEL(). */
#ifndef ATTN_I_KERNELS_REAL_H
#define ATTN_I_KERNELS_REAL_H

#include "kernels/kernels.h"

#define ATTN_I_PASTE4(a, b, c, d) a##b##_f##c##_##d
#define ATTN_I_PASTE(a, b, c, d)  ATTN_I_PASTE4(a, b, c, d)
#define KERNEL(name)              ATTN_I_PASTE(attn_i_, ATTN_I_SET, ATTN_I_BITS, name)

#include <float.h>

#if ATTN_I_BITS == 32
typedef float real;
#define REAL_MAX FLT_MAX
#define REAL_MIN FLT_MIN
#else
typedef double real;
#define REAL_MAX DBL_MAX
#define REAL_MIN DBL_MIN
#endif

void KERNEL(gather)(int64_t n, const void *from, int64_t stride, void *to);
void KERNEL(scatter)(int64_t n, const void *from, void *to, int64_t stride);
void KERNEL(move)(int64_t n, const void *from, int64_t stride, void *to, int64_t to_stride);
void KERNEL(fill)(int64_t n, double value, void *to, int64_t stride);
void KERNEL(scale)(int64_t n, double factor, void *row);
void KERNEL(softcap)(int64_t n, double cap, void *row);
void KERNEL(add_bias)(int64_t n, const void *bias, int64_t stride, void *row);
void KERNEL(add_alibi)(int64_t n, const void *slope, int64_t distance, void *row);
void KERNEL(hide)(int64_t n, const uint8_t *mask, int64_t stride, void *row);
attn_i_seen KERNEL(softmax)(int64_t n, double temperature, void *row, double *logsumexp);
attn_i_seen KERNEL(hardmax)(int64_t n, double temperature, void *row, double *logsumexp);
void KERNEL(measure)(int64_t n, double temperature, const void *row, double *entropy, int64_t *strongest);
void KERNEL(add_to_sums)(int64_t n, const void *row, double *sums);
void KERNEL(tanh_scores)(int64_t hidden, const void *v, const void *query, int64_t n, const void *keys,
                         int64_t key_stride, void *scores);
void KERNEL(tanh_gradient)(int64_t n, const void *tanh, const void *change, void *to);
void KERNEL(angles)(int64_t n, double position, const double *frequencies, void *cosines, void *sines);
void KERNEL(turn)(int64_t pairs, const void *cosines, const void *sines, const void *from, int64_t step, int64_t apart,
                  void *to, int64_t to_step, int64_t to_apart);
void KERNEL(drop)(int64_t n, const attn_i_draw *draw, uint64_t of, int64_t first_key, double keep, double dropped,
                  void *row);
attn_i_seen KERNEL(weights_again)(int64_t n, double temperature, double logsumexp, void *row);
double KERNEL(weighted_sum)(int64_t n, const void *weights, const void *row);
void KERNEL(softmax_gradient)(int64_t n, double mean, double factor, const void *weights, void *row);
void KERNEL(cap_gradient)(int64_t n, double scale, double cap, const void *capped, void *row);
double KERNEL(alibi_gradient)(int64_t n, int64_t distance, const void *row);
void KERNEL(add_to)(int64_t n, const void *row, void *to, int64_t stride);
void KERNEL(add_sum)(int64_t n, const void *row, void *to);
void KERNEL(tanh_gradients)(int64_t hidden, const void *v, const void *query, int64_t n, const void *keys,
                            int64_t key_stride, const void *d_scores, void *d_query, void *d_keys, int64_t d_key_stride,
                            void *d_v);
void KERNEL(dots)(int64_t depth, const void *row, int64_t n, const void *rows, int64_t stride, void *to);
void KERNEL(add_rows)(int64_t n, const void *weights, const void *rows, int64_t stride, int64_t depth, void *to);
void KERNEL(add_outer)(int64_t n, const void *weights, const void *row, int64_t depth, void *to, int64_t stride);
void KERNEL(multiply)(int64_t n, const void *factor, void *row);
void KERNEL(column_maximum)(int64_t n, const void *row, void *most);
void KERNEL(column_exponentials)(int64_t n, const void *reference, void *row, void *sum);
void KERNEL(column_gradient)(int64_t n, const void *mean, const void *weights, const void *row, void *to);
int KERNEL(is_finite)(int64_t n, const void *row);
int KERNEL(gather_finite)(int64_t n, const void *from, int64_t stride, void *to, int64_t to_stride);
void KERNEL(add_not_finite)(int64_t n, const void *weight, const void *from, int64_t stride, void *to);
int KERNEL(is_unseen)(const void *weight);

extern const attn_i_kernels KERNEL(table);

#endif
