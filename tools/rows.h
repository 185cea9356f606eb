/* SPDX-License-Identifier: BSD-3-Clause
 *
 * rows.h: outputs with a row for each query and head: weights, scores, log-sum-exp; and what the weights are like.
 */
#ifndef ATTN_TOOLS_ROWS_H
#define ATTN_TOOLS_ROWS_H

#include "request.h"
#include "results.h"

#include <attn/attn.h>
#include <stdbool.h>
#include <stdint.h>

extern const request_option rows_options[];

/* Makes those that were asked for, weights being of that shape, numbers of a query of the same without its last
 * dimension (one number stays where there is no other), and those of a key of the same without the queries, or of the
 * shape sums, if that has dimensions; the log-sum-exp also where it is needed. *stats is what args->stats will be, if
 * at all. */
void rows_add(results *all, request *r, attn_forward_args *args, attn_weights_stats *stats, attn_dtype dtype,
              int32_t ndim, const int64_t *shape, int32_t sums_ndim, const int64_t *sums, bool needs_logsumexp);

#endif
