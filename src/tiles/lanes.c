/* SPDX-License-Identifier: BSD-3-Clause
 *
 * tiles/lanes.c: what passes over tiles have in common. */
#include "tiles/lanes.h"

#include "call/storage.h"
#include "runtime/size.h"

#include <math.h>
#include <string.h>

float attn_i_reference_for(float most, float reference)
{
    return most == -INFINITY || most <= reference + ATTN_I_ROOM_BEFORE_MOVE ? reference : ceilf(most);
}

int attn_i_lanes_move(const attn_i_tile_kernels *kernels, attn_i_lanes *lanes, const float *most, int64_t dim,
                      float *context)
{
    float factor[ATTN_I_LANES];
    int moved = 0, weighed = 0;
    for (int l = 0; l < ATTN_I_LANES; l++) {
        const float from = lanes->reference[l], to = attn_i_reference_for(most[l], from);
        factor[l] = 1;
        if (to == from) continue;
        moved = 1;
        lanes->reference[l] = to;
        if (from == -INFINITY) continue;
        factor[l] = exp2f(from - to);
        lanes->sum[l] *= factor[l];
        weighed = 1;
    }
    if (weighed) kernels->tile_multiply(dim, factor, context);
    return moved;
}

double attn_i_log_sum(double reference, float sum)
{
    return sum == 0 ? -INFINITY : (reference + log2((double)sum)) * 0.69314718055994530942;
}

float attn_i_room_for_sum(float sum)
{
    int exponent;
    if (sum == 0 || !isfinite(sum)) return 0;
    return frexpf(sum, &exponent) == 0.5f ? (float)(exponent - 1) : (float)exponent;
}

float attn_i_take_off(double unit, float score, float greatest)
{
    static const float least = -0x1p20f; /* as good as any number below */
    if (score == -INFINITY) return score;
    const double exponent = ((double)score - (double)greatest) * unit;
    return exponent < (double)least ? least : (float)exponent;
}

void attn_i_tile_take_off(double unit, int64_t count, attn_i_spans spans, const float *greatest, float *tile)
{
    for (int64_t j = 0; j < count; j++) {
        for (int l = spans.first * ATTN_I_SPAN_LANES; l < spans.end * ATTN_I_SPAN_LANES; l++) {
            tile[j * ATTN_I_LANES + l] = attn_i_take_off(unit, tile[j * ATTN_I_LANES + l], greatest[l]);
        }
    }
}

void attn_i_lanes_move_great(const attn_i_tile_kernels *kernels, attn_i_lanes *lanes, double unit, const float *most,
                             int64_t dim, float *context)
{
    float factor[ATTN_I_LANES];
    for (int l = 0; l < ATTN_I_LANES; l++) {
        const float from = lanes->reference[l];
        factor[l] = 1;
        if (most[l] == -INFINITY || most[l] <= from) continue;
        if (from != -INFINITY) factor[l] = exp2f(attn_i_take_off(unit, from, most[l]));
        lanes->sum[l] *= factor[l];
        lanes->reference[l] = most[l];
    }
    kernels->tile_multiply(dim, factor, context);
}

void attn_i_lanes_write(const attn_i_tile_kernels *tiles, const attn_i_kernels *kernels, int64_t lanes, int64_t n,
                        const float *tile, const float *factor, const attn_i_lane_rows *to, float *room)
{
    const int64_t size = to->type->size;
    const attn_i_storage storage = {kernels, to->type, (int64_t)sizeof(float)};
    const int direct = to->step == 1 && !to->accumulate && attn_i_is_float32(to->type);
    for (int64_t at = 0; at < n; at += ATTN_I_TILE_KEYS) {
        const int64_t count = attn_i_min(n - at, ATTN_I_TILE_KEYS);
        float *row[ATTN_I_LANES];
        for (int64_t l = 0; l < lanes; l++) {
            row[l] = direct ? (float *)to->rows[l] + at : room + l * ATTN_I_TILE_KEYS;
        }
        tiles->from_lanes(lanes, count, tile + at * ATTN_I_LANES, factor, row);
        for (int64_t l = 0; l < lanes && !direct; l++) {
            char *place = (char *)to->rows[l] + at * to->step * size;
            if (to->accumulate) attn_i_elements_add(&storage, size, count, row[l], place, to->step);
            if (!to->accumulate) to->type->store(count, row[l], place, to->step);
        }
    }
}

int64_t attn_i_panels_of(int64_t columns)
{
    return attn_i_divide_up(columns, ATTN_I_LANES);
}

void attn_i_to_panels(const float *row, int64_t n, float factor, int64_t lane, float *panels)
{
    for (int64_t at = 0; at < n; at += ATTN_I_LANES) {
        const int64_t count = attn_i_min(n - at, ATTN_I_LANES);
        float *to = panels + at / ATTN_I_LANES * ATTN_I_PANEL + lane * ATTN_I_LANES;
        for (int64_t d = 0; d < count; d++) to[d] = factor * row[at + d];
        for (int64_t d = count; d < ATTN_I_LANES; d++) to[d] = 0;
    }
}

void attn_i_panels_add(const attn_i_tile_kernels *kernels, const float *tile, int64_t count, int64_t first,
                       int64_t lanes, const float *panels, int64_t columns, attn_i_sum_rows to)
{
    const attn_i_rows from = {tile + first, ATTN_I_LANES};
    for (int64_t at = 0; at < columns; at += ATTN_I_LANES) {
        const int64_t n = attn_i_min(columns - at, ATTN_I_LANES);
        const attn_i_spans spans = {0, (int)attn_i_divide_up(n, ATTN_I_SPAN_LANES)};
        kernels->products(lanes, panels + at / ATTN_I_LANES * ATTN_I_PANEL + first * ATTN_I_LANES, from, count, spans,
                          to.data + at, to.stride, 1);
    }
}
