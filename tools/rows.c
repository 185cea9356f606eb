/* SPDX-License-Identifier: BSD-3-Clause
 *
 * rows.c: the options --weights, --scores and --logsumexp.
 */
#include "rows.h"

const request_option rows_options[] = {{.name = "weights"}, {.name = "scores"}, {.name = "logsumexp"}, {.name = NULL}};

static const option_word stages[] = {{"raw", ATTN_SCORES_RAW},
                                     {"capped", ATTN_SCORES_CAPPED},
                                     {"masked", ATTN_SCORES_MASKED},
                                     {"weights", ATTN_SCORES_WEIGHTS},
                                     {NULL, 0}};

void rows_add(results *all, request *r, attn_forward_args *args, attn_dtype dtype, int32_t ndim, const int64_t *shape,
              bool needs_logsumexp)
{
    (void)request_tagged(r, "scores", "STAGE=FILE", stages, &args->scores_stage);
    args->weights = results_add_asked(all, r, "weights", dtype, ndim, shape);
    args->scores = results_add_asked(all, r, "scores", dtype, ndim, shape);
    const char *logsumexp = request_get(r, "logsumexp");
    if (logsumexp == NULL && !needs_logsumexp) return;
    static const int64_t one[] = {1};
    if (logsumexp == NULL) dtype = ATTN_F64; /* nobody sees it, and gradients are more exact from it */
    args->logsumexp = results_add(all, logsumexp, dtype, ndim > 1 ? ndim - 1 : 1, ndim > 1 ? shape : one);
}
