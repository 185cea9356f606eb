/* SPDX-License-Identifier: BSD-3-Clause
 *
 * rows.h: outputs with a row for each query and head: weights, scores, log-sum-exp.
 */
#ifndef ATTN_TOOLS_ROWS_H
#define ATTN_TOOLS_ROWS_H

#include "request.h"
#include "results.h"

#include <attn/attn.h>
#include <stdbool.h>
#include <stdint.h>

extern const request_option rows_options[];

/* Makes those that were asked for, weights being of that shape and the log-sum-exp of the same without its last
 * dimension (one number stays where there is no other); that one also where it is needed. */
void rows_add(results *all, request *r, attn_forward_args *args, attn_dtype dtype, int32_t ndim, const int64_t *shape,
              bool needs_logsumexp);

#endif
