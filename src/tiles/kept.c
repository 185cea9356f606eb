/* SPDX-License-Identifier: BSD-3-Clause
 *
 * tiles/kept.c: rows of any type in float32. */
#include "tiles/kept.h"

#include <string.h>

attn_i_stored_rows attn_i_kept_ahead(const attn_i_kept *kept, int64_t first, int64_t width, int64_t end)
{
    enum { AHEAD = 8192 }; /* bytes, as kernels/row_fetch.h has it of rows without end */
    attn_i_stored_rows rows = attn_i_kept_from(kept, first);
    if (kept->pages == NULL) return rows;
    const int64_t size = kept->type->size, page = kept->pages->rows;
    const int64_t pages = attn_i_divide_up(AHEAD, attn_i_max(page * width * size, 1)), later = first + pages * page;
    if (later < end) rows.ahead = (attn_i_kept_place(kept, later) - attn_i_kept_place(kept, first)) * size;
    if (rows.ahead == 0) rows.ahead = 1; /* the same page once more: it is near */
    return rows;
}

/* Row j as it is kept. */
static const char *row_at(const attn_i_kept *kept, int64_t j)
{
    return kept->data + attn_i_kept_place(kept, j) * kept->type->size;
}

attn_i_rows attn_i_kept_near(const attn_i_kept *kept, int64_t first, int64_t count, int64_t width, float *room)
{
    if (attn_i_is_float32(kept->type) && attn_i_kept_run(kept, first, count) == count) {
        const attn_i_stored_rows rows = attn_i_kept_from(kept, first);
        return (attn_i_rows){rows.data, rows.stride};
    }
    for (int64_t j = 0; j < count; j++) {
        float *to = room + j * width;
        kept->type->load(width, row_at(kept, first + j), 1, to);
        if (kept->scales == NULL) continue;
        const float scale = kept->scales[attn_i_kept_scale_place(kept, first + j)];
        for (int64_t d = 0; d < width; d++) to[d] *= scale;
    }
    return (attn_i_rows){room, width};
}

attn_i_stored_rows attn_i_kept_for(const attn_i_tile_arithmetic *arithmetic, const attn_i_kept *kept, int64_t first,
                                   int64_t count, int64_t width, float *room)
{
    if (arithmetic->size == kept->type->size) {
        if (attn_i_kept_run(kept, first, count) == count) return attn_i_kept_from(kept, first);
        const int64_t bytes = width * kept->type->size;
        for (int64_t j = 0; j < count; j++) memcpy((char *)room + j * bytes, row_at(kept, first + j), (size_t)bytes);
        return (attn_i_stored_rows){room, width, 0};
    }
    const attn_i_rows rows = attn_i_kept_near(kept, first, count, width, room);
    return (attn_i_stored_rows){rows.data, rows.stride, 0};
}

void attn_i_kept_scale(const attn_i_kept *kept, int64_t first, int64_t n, float *row, int weights)
{
    if (kept->scales == NULL) return;
    for (int64_t done = 0, run; done < n; done += run) {
        const float *scale = kept->scales + attn_i_kept_scale_place(kept, first + done);
        run = attn_i_kept_run(kept, first + done, n - done);
        for (int64_t j = 0; j < run; j++) {
            const float product = row[done + j] * scale[j * kept->scale_stride];
            row[done + j] = weights && row[done + j] == 0 ? 0 : product;
        }
    }
}
