/* SPDX-License-Identifier: BSD-3-Clause
 *
 * tiles/kept.c: rows of any type in float32. */
#include "tiles/kept.h"

#include <string.h>

/* How many elements the rows that will be gone over `away` pages after page `number` of the table are from these. */
static int64_t ahead_of(const attn_i_kept *kept, int64_t number, int64_t page, int64_t away, int64_t all)
{
    const attn_i_pages *pages = kept->pages;
    const attn_i_kept_order *order = &kept->order;
    int64_t then = number + away, head = 0;
    if (order->block > 0) {
        const int64_t place = number - attn_i_quotient(number, order->block) * order->block;
        if (place + away >= order->block) head = order->next_head != 0 ? order->next_head : order->next_page;
        if (place + away >= order->block && order->next_head != 0) then -= order->block;
    }
    if (attn_i_multiply_most(then, pages->rows) >= all) return 0;
    return (attn_i_integer(&pages->table, then) - page) * kept->page_stride + head;
}

attn_i_kept_rows attn_i_kept_next_paged(const attn_i_kept *kept, int64_t first, int64_t end, int64_t width, int64_t all)
{
    /* Bytes, as kernels/row_fetch.h has it of rows without end; and where what follows is a piece of another head's. */
    enum { AHEAD = 8192, PIECES_AHEAD = 16384 };
    const attn_i_pages *pages = kept->pages;
    const int64_t size = kept->type->size, number = attn_i_quotient(first, pages->rows);
    const int64_t row = first - number * pages->rows, page = attn_i_integer(&pages->table, number);
    const int64_t bytes = attn_i_max(attn_i_multiply_most(pages->rows, width * size), 1); /* one may be of any length */
    const int in_blocks = kept->order.block > 0;
    int64_t away = 1 + attn_i_quotient((in_blocks ? PIECES_AHEAD : AHEAD) - 1, bytes);
    if (in_blocks) away = attn_i_min(away, kept->order.block);
    const int64_t place = page * kept->page_stride + row * kept->stride;
    attn_i_stored_rows rows = {kept->data + place * size, kept->stride, ahead_of(kept, number, page, away, all) * size};
    if (rows.ahead == 0) rows.ahead = 1; /* the same page once more: it is near */
    return (attn_i_kept_rows){rows, attn_i_min(end - first, pages->rows - row)};
}

void attn_i_kept_fetch(const attn_i_kept *kept, int64_t first, int64_t count, int64_t width, const char **pages,
                       attn_i_fetch *fetch)
{
    const int64_t size = kept->type->size, page = kept->pages == NULL ? count : kept->pages->rows;
    attn_i_fetched entry = {.runs = 1,
                            .rows = count,
                            .row_stride = kept->stride * size,
                            .lines = attn_i_divide_up(width * size, ATTN_I_LINE)};
    if (count <= 0) return;
    entry.first = attn_i_kept_from(kept, first).data;
    if (attn_i_kept_run(kept, first, count) < count) {
        const int64_t before = attn_i_remainder(first, page);
        entry.starts = pages;
        entry.rows = page;
        entry.runs = 0;
        for (int64_t j = first - before; j < first + count; j += page) {
            pages[entry.runs++] = attn_i_kept_from(kept, j).data;
        }
    }
    attn_i_fetch_add(fetch, entry);
}

attn_i_rows attn_i_kept_near(const attn_i_kept *kept, int64_t first, int64_t count, int64_t width, float *room)
{
    if (attn_i_is_float32(kept->type) && attn_i_kept_run(kept, first, count) == count) {
        const attn_i_stored_rows rows = attn_i_kept_from(kept, first);
        return (attn_i_rows){rows.data, rows.stride};
    }
    for (int64_t j = 0; j < count; j++) {
        float *to = room + j * width;
        kept->type->load(width, attn_i_kept_from(kept, first + j).data, 1, to);
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
        for (int64_t j = 0; j < count; j++)
            memcpy((char *)room + j * bytes, attn_i_kept_from(kept, first + j).data, (size_t)bytes);
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
