/* SPDX-License-Identifier: BSD-3-Clause
 *
 * call/ragged.h: batches whose sequences lie in one row of them, one behind the other: where each begins is checked
 * here, and each is made a problem of its own, a batch of one, which whoever computes it knows nothing else of. */
#ifndef ATTN_I_CALL_RAGGED_H
#define ATTN_I_CALL_RAGGED_H

#include "call/gradient.h"
#include "call/problem.h"

/* An optional tensor of offsets, in order; its argument is called `name`. */
attn_status attn_i_ragged_read_offsets(const attn_tensor *tensor, const char *name, attn_i_view *view);

/* That they end among the `count` rows, or elements, of what is called `name`. */
attn_status attn_i_ragged_check_end(const attn_i_view *offsets, const char *offsets_name, const char *name,
                                    const char *of, int64_t count);

/* Reads the offsets, which are where they are to be: in order. Sets the batch where there are any. */
attn_status attn_i_ragged_read(attn_i_problem *problem, const attn_forward_args *args);

/* That the rows of queries, and those of keys, are there, of which `shape` is that of the argument; sets the problem's
 * keys to those of the longest sequence. And that no sequence is said to have more valid keys than keys. */
attn_status attn_i_ragged_check_queries(const attn_i_problem *problem);
attn_status attn_i_ragged_check_keys(attn_i_problem *problem, const char *name, const int64_t shape[4]);
attn_status attn_i_ragged_check_lengths(const attn_i_problem *problem);

/* The queries of sequence b. */
int64_t attn_i_ragged_queries(const attn_i_problem *whole, int64_t b);

/* What so many queries take over so many keys, as attn_i_parallel counts work; and what sequence b takes. */
double attn_i_ragged_work_of(const attn_i_problem *whole, int64_t queries, int64_t keys);
double attn_i_ragged_work(const attn_i_problem *whole, int64_t b);

/* Sequence b by itself, to be computed by one thread alone, or by all. */
void attn_i_ragged_slice(const attn_i_problem *whole, int64_t b, int alone, attn_i_problem *slice);

/* Of batches in pages: the queries of sequences first .. first + count - 1, which follow each other evenly, as those of
 * one sequence whose keys are in the first `pages` pages of sequence `first`, and which has no mask and no length; its
 * outputs are for the caller to set. And a slice, of which it leaves the keys after its first `pages` pages. */
void attn_i_ragged_slice_shared(const attn_i_problem *whole, int64_t first, int64_t count, int64_t pages, int alone,
                                attn_i_problem *slice);
void attn_i_ragged_skip_pages(attn_i_problem *slice, int64_t pages);

/* Its gradients: those of its rows as the whole has them, those that sequences share added to what is there. */
void attn_i_ragged_slice_gradient(const attn_i_gradient *whole, int64_t b, int alone, attn_i_gradient *slice);

/* What nobody computes: rows of scores and weights past the keys of a slice. */
void attn_i_ragged_fill(const attn_i_problem *whole, const attn_i_problem *slice);

#endif
