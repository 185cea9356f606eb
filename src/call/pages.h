/* SPDX-License-Identifier: BSD-3-Clause
 *
 * call/pages.h: keys and values that lie in pages: which a sequence has is checked here, and where a row is. */
#ifndef ATTN_I_CALL_PAGES_H
#define ATTN_I_CALL_PAGES_H

#include "call/problem.h"
#include "handles/lengths.h"
#include "runtime/size.h"

/* The arguments beside key and value, whose shape is that of the one called `name`; sets the problem's keys to those of
 * the longest sequence. Every page that will be read is there. */
attn_status attn_i_pages_check(attn_i_problem *problem, const attn_forward_args *args, const char *name,
                               const int64_t shape[4]);

/* The table of sequence b alone. */
void attn_i_pages_slice(attn_i_pages *pages, int64_t b);

/* Where row j of a slice is: elements from row 0 of page 0, of rows and pages so far apart. */
static inline int64_t attn_i_page_row(const attn_i_pages *pages, int64_t j, int64_t row_stride, int64_t page_stride)
{
    const int64_t page = attn_i_quotient(j, pages->rows);
    return attn_i_integer(&pages->table, page) * page_stride + (j - page * pages->rows) * row_stride;
}

#endif
