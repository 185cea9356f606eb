/* SPDX-License-Identifier: BSD-3-Clause
 *
 * call/pages.c: the tables of pages: checked, and cut into those of sequences. */
#include "call/pages.h"

#include "call/ragged.h"
#include "handles/status.h"

#include <inttypes.h>

static attn_status check_table(attn_i_problem *p, const attn_forward_args *args)
{
    attn_i_pages *pages = &p->pages;
    const int packed = args->page_offsets != NULL;
    attn_status status = attn_i_tensor_check_integers(args->page_table, "page_table", 2, &pages->table);
    if (status == ATTN_OK && packed)
        status = attn_i_ragged_read_offsets(args->page_offsets, "page_offsets", &pages->offsets);
    if (status != ATTN_OK) return status;
    if (packed && pages->offsets.shape[3] != p->batch + 1) {
        return attn_i_fail(ATTN_ERR_SHAPE, "page_offsets has %" PRId64 " elements, but the batch is %" PRId64,
                           pages->offsets.shape[3], p->batch);
    }
    if (pages->table.shape[2] != (packed ? 1 : p->batch)) {
        return attn_i_fail(ATTN_ERR_SHAPE, "page_table has %" PRId64 " rows, but %s %" PRId64, pages->table.shape[2],
                           packed ? "with page_offsets there is" : "the batch is", packed ? 1 : p->batch);
    }
    if (!packed) return ATTN_OK;
    return attn_i_ragged_check_end(&pages->offsets, "page_offsets", "page_table", "elements", pages->table.shape[3]);
}

static attn_status check_sequence(const attn_i_problem *p, int64_t b, const char *name, int64_t pages)
{
    const int64_t length = attn_i_integer(&p->lengths, b);
    attn_i_pages own = p->pages;
    attn_i_pages_slice(&own, b);
    if (length > attn_i_multiply_most(own.table.shape[3], own.rows)) {
        return attn_i_fail(ATTN_ERR_ARGUMENT,
                           "key_lengths[%" PRId64 "] is %" PRId64 ", but the sequence has %" PRId64 " pages of %" PRId64
                           " positions",
                           b, length, own.table.shape[3], own.rows);
    }
    for (int64_t k = 0; k < attn_i_divide_up(length, own.rows); k++) {
        const int64_t page = attn_i_integer(&own.table, k);
        if (page >= 0 && page < pages) continue;
        return attn_i_fail(ATTN_ERR_ARGUMENT,
                           "page %" PRId64 " of sequence %" PRId64 " is %" PRId64 ", but %s has %" PRId64 " pages", k,
                           b, page, name, pages);
    }
    return ATTN_OK;
}

attn_status attn_i_pages_check(attn_i_problem *p, const attn_forward_args *args, const char *name,
                               const int64_t shape[4])
{
    if (args->key_lengths == NULL) {
        return attn_i_fail(ATTN_ERR_ARGUMENT, "key_lengths is NULL, but with page_table it is needed");
    }
    p->pages.rows = shape[2];
    if (p->pages.rows == 0) return attn_i_fail(ATTN_ERR_SHAPE, "%s has pages of 0 positions", name);
    attn_status status =
        attn_i_lengths_check(args->key_lengths, "key_lengths", p->batch, ATTN_I_MOST_POSITIONS, &p->lengths);
    if (status == ATTN_OK) status = check_table(p, args);
    p->keys = 0;
    for (int64_t b = 0; b < p->batch && status == ATTN_OK; b++) {
        status = check_sequence(p, b, name, shape[0]);
        p->keys = attn_i_max(p->keys, attn_i_integer(&p->lengths, b));
    }
    return status;
}

void attn_i_pages_slice(attn_i_pages *pages, int64_t b)
{
    attn_i_view *table = &pages->table;
    int64_t first = b * table->stride[2], count = table->shape[3];
    if (pages->offsets.data != NULL) {
        const int64_t begin = attn_i_integer(&pages->offsets, b);
        first = begin * table->stride[3];
        count = attn_i_integer(&pages->offsets, b + 1) - begin;
    }
    table->data += first * table->size;
    table->shape[2] = 1;
    table->shape[3] = count;
}
