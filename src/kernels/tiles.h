/* SPDX-License-Identifier: BSD-3-Clause
 *
 * kernels/tiles.h: the names of the kernels of tiles in one set. */
#ifndef ATTN_I_KERNELS_TILES_H
#define ATTN_I_KERNELS_TILES_H

#include "kernels/real.h"
#include "kernels/stored.h"
#include "kernels/tile.h"

void KERNEL(products)(int64_t depth, const float *lanes, attn_i_rows rows, int64_t count, attn_i_spans spans, float *to,
                      int64_t to_stride, int accumulate);
int KERNEL(weights)(int64_t depth, const float *lanes, attn_i_rows keys, int64_t count, attn_i_spans spans,
                    const attn_i_exponent *exponent, const attn_i_lanes *state, int64_t first_key, int edges,
                    attn_i_fetch *fetch, float *to);
void KERNEL(gradients)(int64_t depth, const float *lanes, attn_i_rows rows, int64_t count, attn_i_spans spans,
                       const float *weights, const float *mean, float *to);
void KERNEL(context)(int64_t count, const float *weights, attn_i_rows values, int64_t dim, attn_i_spans spans,
                     float *context, float *sum);
void KERNEL(tile_scale)(int64_t count, attn_i_spans spans, float factor, float *tile);
void KERNEL(tile_softcap)(int64_t count, attn_i_spans spans, float cap, float *tile);
void KERNEL(tile_add)(int64_t count, attn_i_spans spans, float factor, const float *bias, float *tile);
void KERNEL(tile_add_diagonals)(int64_t count, attn_i_spans spans, int64_t lanes, float factor, const float *from,
                                int64_t step, float *tile);
void KERNEL(tile_sum_diagonals)(int64_t count, attn_i_spans spans, int64_t lanes, const float *tile, int64_t step,
                                float *to);
void KERNEL(tile_alibi)(int64_t count, attn_i_spans spans, const float *slope, const float *distance, float *tile);
void KERNEL(tile_mask)(int64_t count, attn_i_spans spans, const float *mask, float *tile);
void KERNEL(tile_edges)(int64_t count, attn_i_spans spans, const attn_i_lanes *state, int64_t first_key, float *tile);
void KERNEL(tile_cap_gradient)(int64_t count, attn_i_spans spans, float cap, const float *capped, float *tile);
void KERNEL(tile_drop)(int64_t count, attn_i_spans spans, const attn_i_draw *draw, const uint64_t *row,
                       int64_t first_key, float *tile);
void KERNEL(tile_gradient)(int64_t count, attn_i_spans spans, const float *weights, const float *mean, float *tile);
void KERNEL(tile_maximum)(int64_t count, attn_i_spans spans, const float *tile, float *most);
void KERNEL(tile_exponentials)(int64_t count, attn_i_spans spans, const float *reference, float *tile);
void KERNEL(tile_measure)(int64_t count, attn_i_spans spans, const float *reference, float *tile, float *sum,
                          float *moment);
void KERNEL(tile_find)(int64_t count, attn_i_spans spans, const float *most, int32_t first, const float *tile,
                       int32_t *at);
void KERNEL(tile_multiply)(int64_t count, const float *factor, float *tile);
void KERNEL(to_lanes)(int64_t lanes, int64_t n, const float *const *rows, float factor, float *tile);
void KERNEL(from_lanes)(int64_t lanes, int64_t n, const float *tile, const float *factor, float *const *rows);
float KERNEL(double_exponentials)(int64_t n, const float *from, float *to, float *less_one);
float KERNEL(double_exponentials_less_one)(int64_t n, const float *from, float *to);
void KERNEL(factored_tanh)(int64_t hidden, int sharing, int near, const float *weights, attn_i_rows queries,
                           int64_t rows, attn_i_rows keys, int64_t count, float *to);
void KERNEL(factored_tanh_gradients)(int64_t hidden, int near, const float *weights, attn_i_rows queries, int64_t rows,
                                     attn_i_rows keys, int64_t count, const float *d_scores, float *d_queries,
                                     int64_t d_query_stride, float *d_keys, int64_t d_key_stride, float *d_weights);
#define ROW_KERNELS(type)                                                                                              \
    void KERNEL(row_products_##type)(int64_t depth, attn_i_rows queries, int64_t rows, const attn_i_stored_rows *keys, \
                                     int64_t count, float *to, int64_t to_stride);                                     \
    void KERNEL(row_context_##type)(int64_t count, attn_i_rows weights, int64_t rows,                                  \
                                    const attn_i_stored_rows *values, int64_t dim, float *context);                    \
    void KERNEL(mix_##type)(int64_t n, int64_t count, const void *const *rows, const float *weights, int begins,       \
                            float *to);
ROW_KERNELS(f32)
ROW_KERNELS(f16)
ROW_KERNELS(bf16)
ROW_KERNELS(i8)
float KERNEL(row_maximum)(int64_t n, const float *row);
float KERNEL(row_measure)(int64_t n, float unit, float reference, float *row, float *moment);
float KERNEL(row_exponentials)(int64_t n, float unit, float reference, float *row);
void KERNEL(row_weights)(int64_t n, double reference, double factor, float *row);
int64_t KERNEL(mask_count)(int64_t n, const uint8_t *mask, int64_t stride);
void KERNEL(mask_row)(int64_t n, const uint8_t *mask, int64_t stride, float *to);

extern const attn_i_tile_kernels KERNEL(tile_table);

extern const attn_i_stored_kernels KERNEL(stored_f32), KERNEL(stored_f16), KERNEL(stored_bf16), KERNEL(stored_i8);

#endif
