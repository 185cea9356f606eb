/* SPDX-License-Identifier: BSD-3-Clause
 *
 * tiles/kept.c: rows of any type in float32. */
#include "tiles/kept.h"

attn_i_rows attn_i_kept_near(const attn_i_kept *kept, int64_t first, int64_t count, int64_t width, float *room)
{
    const attn_i_stored_rows rows = attn_i_kept_from(kept, first);
    const char *from = rows.data;
    if (attn_i_is_float32(kept->type)) return (attn_i_rows){rows.data, rows.stride};
    for (int64_t j = 0; j < count; j++) {
        float *to = room + j * width;
        kept->type->load(width, from + j * kept->stride * kept->type->size, 1, to);
        if (kept->scales == NULL) continue;
        const float scale = kept->scales[(first + j) * kept->scale_stride];
        for (int64_t d = 0; d < width; d++) to[d] *= scale;
    }
    return (attn_i_rows){room, width};
}

attn_i_stored_rows attn_i_kept_for(const attn_i_tile_arithmetic *arithmetic, const attn_i_kept *kept, int64_t first,
                                   int64_t count, int64_t width, float *room)
{
    if (arithmetic->size == kept->type->size) return attn_i_kept_from(kept, first);
    const attn_i_rows rows = attn_i_kept_near(kept, first, count, width, room);
    return (attn_i_stored_rows){rows.data, rows.stride};
}

void attn_i_kept_scale(const attn_i_kept *kept, int64_t first, int64_t n, float *row, int weights)
{
    if (kept->scales == NULL) return;
    const float *scale = kept->scales + first * kept->scale_stride;
    for (int64_t j = 0; j < n; j++) {
        const float product = row[j] * scale[j * kept->scale_stride];
        row[j] = weights && row[j] == 0 ? 0 : product;
    }
}
