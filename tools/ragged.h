/* SPDX-License-Identifier: BSD-3-Clause
 *
 * ragged.h: batches whose sequences lie one behind the other, or in pages: the options --query-offsets and
 * --key-offsets, --page-table and --page-offsets.
 */
#ifndef ATTN_TOOLS_RAGGED_H
#define ATTN_TOOLS_RAGGED_H

#include "request.h"

#include <attn/attn.h>
#include <stdint.h>

extern const request_option ragged_options[];

/* Reads them into the arguments. Fails where there is an option that does not go with them. */
void ragged_fill(request *r, attn_forward_args *args);

/* How many columns weights have: as many as the longest sequence has keys; `rows`, those of the keys, where they are
 * neither ragged nor in pages, of so many rows then. */
int64_t ragged_columns(const attn_forward_args *args, int64_t rows);

/* The shape of the sums by key, of weights of that shape and keys in so many rows; returns its rank. 0: it is not
 * another one than it would be. */
int32_t ragged_sums(const attn_forward_args *args, int32_t ndim, const int64_t *weights, int64_t rows,
                    int64_t shape[4]);

/* Gives outputs what a query that sees no key has: rows of no sequence are not written to. */
void ragged_clear(const attn_forward_args *args);

/* And gradients 0; NULL is fine. */
void ragged_clear_gradients(const attn_backward_args *args);

#endif
