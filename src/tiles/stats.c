/* SPDX-License-Identifier: BSD-3-Clause
 *
 * tiles/stats.c: what the rows of a pass say of their weights. */
#include "tiles/stats.h"

#include "call/sinks.h"
#include "call/stats.h"

#include <math.h>

void attn_i_row_stats_begin(attn_i_row_stats *rows, int64_t count)
{
    for (int64_t i = 0; i < count; i++) rows[i] = (attn_i_row_stats){.greatest = -INFINITY, .strongest = -1};
}

/* More of a row, which `step` binary digits are to be added to the exponents of. */
static void add(attn_i_row_stats *row, double sum, double moment, double step)
{
    const double factor = step == 0 ? 1 : exp2(step);
    row->moment += factor * (moment + sum * step);
    row->sum += factor * sum;
}

void attn_i_row_stats_add(attn_i_row_stats *row, double base, double room, float sum, float moment)
{
    if (sum == 0) return;
    if (row->sum == 0) {
        row->base = base;
        row->room = room;
    } else if (base != row->base || room != row->room) { /* references have moved */
        attn_i_row_stats before = *row;
        row->sum = row->moment = 0;
        row->base = base;
        row->room = room;
        add(row, before.sum, before.moment, before.base - base + (before.room - room));
    }
    add(row, (double)sum, (double)moment, 0);
}

attn_i_row_stats attn_i_row_stats_join(const attn_i_row_stats *parts, int64_t step, int64_t count)
{
    attn_i_row_stats all;
    attn_i_row_stats_begin(&all, 1);
    if (count == 1) return parts[0];
    for (int64_t k = 0; k < count; k++) {
        const attn_i_row_stats *part = &parts[k * step];
        if (part->greatest > all.greatest) {
            all.greatest = part->greatest;
            all.strongest = part->strongest;
        }
        if (part->sum == 0 || (all.sum != 0 && part->base + part->room <= all.base + all.room)) continue;
        all.sum = 1; /* the greatest there is to be relative to */
        all.base = part->base;
        all.room = part->room;
    }
    all.sum = 0;
    for (int64_t k = 0; k < count; k++) {
        const attn_i_row_stats *part = &parts[k * step];
        if (part->sum != 0) add(&all, part->sum, part->moment, part->base - all.base + (part->room - all.room));
    }
    return all;
}

attn_i_row_norm attn_i_row_stats_norm(const attn_i_row_stats *row, double sink_exponent)
{
    const double sum = attn_i_sum_with_sink(row->sum, row->base + row->room, sink_exponent);
    return (attn_i_row_norm){row->base, row->sum == 0 ? 0 : exp2(-row->room) / sum};
}

void attn_i_row_stats_write(const attn_i_problem *p, int64_t b, int64_t h, int64_t i, const attn_i_row_stats *row)
{
    const int counts = row->sum > 0; /* not 0, nor NaN */
    const double entropy = counts ? (log2(row->sum) - row->moment / row->sum) * 0.69314718055994530942 : row->sum;
    attn_i_stats_write_row(p, b, h, i, entropy < 0 ? 0 : entropy, counts ? row->strongest : -1);
}
