/* SPDX-License-Identifier: BSD-3-Clause
 *
 * rows.c: the options --weights, --scores and --logsumexp; --entropy, --strongest and --key-sums.
 */
#include "rows.h"

#include "number.h"

#include <string.h>

const request_option rows_options[] = {{.name = "weights"}, {.name = "scores"},    {.name = "logsumexp"},
                                       {.name = "entropy"}, {.name = "strongest"}, {.name = "key-sums"},
                                       {.name = NULL}};
static const char *const stats_outputs[] = {"entropy", "strongest", "key-sums", NULL};

static const option_word stages[] = {{"raw", ATTN_SCORES_RAW},
                                     {"capped", ATTN_SCORES_CAPPED},
                                     {"masked", ATTN_SCORES_MASKED},
                                     {"weights", ATTN_SCORES_WEIGHTS},
                                     {NULL, 0}};

/* A shape without a dimension, the last or the last but one; a single number where no other is left. */
typedef struct less {
    int32_t ndim;
    int64_t shape[4];
} less;

static less less_queries(int32_t ndim, const int64_t *shape)
{
    less l = {ndim > 1 ? ndim - 1 : 1, {0}};
    memcpy(l.shape, shape, (size_t)ndim * sizeof *shape);
    l.shape[l.ndim - 1] = shape[ndim - 1];
    return l;
}

static less less_keys(int32_t ndim, const int64_t *shape)
{
    less l = {ndim > 1 ? ndim - 1 : 1, {1}};
    if (ndim > 1) memcpy(l.shape, shape, (size_t)l.ndim * sizeof *shape);
    return l;
}

void rows_add(results *all, request *r, attn_forward_args *args, attn_weights_stats *stats, attn_dtype dtype,
              int32_t ndim, const int64_t *shape, int32_t sums_ndim, const int64_t *sums, bool needs_logsumexp)
{
    const less rows = less_keys(ndim, shape);
    less keys = less_queries(ndim, shape);
    if (sums_ndim > 0) keys.ndim = sums_ndim;
    if (sums_ndim > 0) memcpy(keys.shape, sums, (size_t)sums_ndim * sizeof *sums);
    dtype = number_beside(dtype);
    (void)request_tagged(r, "scores", "STAGE=FILE", stages, &args->scores_stage);
    args->weights = results_add_asked(all, r, "weights", dtype, ndim, shape);
    args->scores = results_add_asked(all, r, "scores", dtype, ndim, shape);
    if (request_any(r, stats_outputs)) {
        *stats = (attn_weights_stats)ATTN_WEIGHTS_STATS_INIT;
        stats->entropy = results_add_asked(all, r, "entropy", dtype, rows.ndim, rows.shape);
        stats->strongest = results_add_asked(all, r, "strongest", ATTN_I64, rows.ndim, rows.shape);
        stats->key_sums = results_add_asked(all, r, "key-sums", dtype, keys.ndim, keys.shape);
        args->stats = stats;
    }
    const char *logsumexp = request_get(r, "logsumexp");
    if (logsumexp == NULL && !needs_logsumexp) return;
    if (logsumexp == NULL) dtype = ATTN_F64; /* nobody sees it, and gradients are more exact from it */
    args->logsumexp = results_add(all, logsumexp, dtype, rows.ndim, rows.shape);
}
