/* SPDX-License-Identifier: BSD-3-Clause
 *
 * kernels/fetch.h: memory that will be wanted before long, asked for a few lines at a time between blocks of
 * arithmetic. All at once, the requests would fill the core's list of outstanding misses and keep waiting what is
 * wanted now. */
#ifndef ATTN_I_KERNELS_FETCH_H
#define ATTN_I_KERNELS_FETCH_H

#include <stddef.h>
#include <stdint.h>

enum { ATTN_I_LINE = 64, ATTN_I_MOST_FETCHED = 3, ATTN_I_LINES_AT_ONCE = 8 };

/* `runs` runs of `rows` rows each, a stride apart or each where `starts` says. */
typedef struct attn_i_fetched {
    const char *first, *const *starts; /* starts NULL: by stride from the first on */
    int64_t runs, run_stride; /* strides in bytes */
    int64_t rows, row_stride;
    int64_t lines; /* of a row */
} attn_i_fetched;

typedef struct attn_i_fetch {
    attn_i_fetched list[ATTN_I_MOST_FETCHED];
    int count, at;          /* the entry at hand, */
    int64_t run, row, line; /* and where in it */
    int64_t lines, pace;    /* of all entries; lines to ask for in one step */
} attn_i_fetch;

/* Adds an entry, unless it is empty. There is room for MOST_FETCHED. */
static inline void attn_i_fetch_add(attn_i_fetch *fetch, attn_i_fetched entry)
{
    if (entry.runs <= 0 || entry.rows <= 0 || entry.lines <= 0) return;
    fetch->list[fetch->count++] = entry;
    fetch->lines += entry.runs * entry.rows * entry.lines;
}

/* From here on all is asked for in this many steps. */
static inline void attn_i_fetch_begin(attn_i_fetch *fetch, int64_t steps)
{
    fetch->pace = fetch->lines / (steps < 1 ? 1 : steps) + 1;
}

static inline void attn_i_fetch_step(attn_i_fetch *fetch)
{
    for (int64_t left = fetch->pace; left > 0 && fetch->at < fetch->count;) {
        const attn_i_fetched *entry = &fetch->list[fetch->at];
        const int64_t in_row = entry->lines - fetch->line;
        const int64_t n = in_row < ATTN_I_LINES_AT_ONCE ? in_row : ATTN_I_LINES_AT_ONCE;
        const char *run =
            entry->starts != NULL ? entry->starts[fetch->run] : entry->first + fetch->run * entry->run_stride;
        const char *line = run + fetch->row * entry->row_stride + fetch->line * ATTN_I_LINE;
        for (int64_t i = 0; i < n; i++) __builtin_prefetch(line + i * ATTN_I_LINE, 0, 2);
        left -= n;
        fetch->line += n;
        if (fetch->line < entry->lines) continue;
        fetch->line = 0;
        if (++fetch->row < entry->rows) continue;
        fetch->row = 0;
        if (++fetch->run < entry->runs) continue;
        fetch->run = 0;
        fetch->at++;
    }
}

#endif
