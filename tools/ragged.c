/* SPDX-License-Identifier: BSD-3-Clause
 *
 * ragged.c: where sequences begin and end, and what follows for the shapes of outputs.
 */
#include "ragged.h"

#include "fail.h"
#include "tensor.h"

#include <math.h>

const request_option ragged_options[] = {{.name = "query-offsets"},
                                         {.name = "key-offsets"},
                                         {.name = "page-table"},
                                         {.name = "page-offsets", .needs = "page-table"},
                                         {.name = NULL}};
static const char *const offsets_options[] = {"query-offsets", "key-offsets", NULL};
static const char *const page_options[] = {"page-table", NULL};

static void check_alone(request *r, const char *const *ours, const char *names)
{
    static const char *const others[] = {"rope", "incremental", NULL};
    for (int i = 0; request_any(r, ours) && others[i] != NULL; ++i) {
        if (request_get(r, others[i]) != NULL) fail("--%s does not go with %s", others[i], names);
    }
}

void ragged_fill(request *r, attn_forward_args *args)
{
    check_alone(r, offsets_options, "--query-offsets and --key-offsets");
    check_alone(r, page_options, "--page-table");
    args->query_offsets = request_tensor(r, "query-offsets");
    args->key_offsets = request_tensor(r, "key-offsets");
    args->page_table = request_tensor(r, "page-table");
    args->page_offsets = request_tensor(r, "page-offsets");
}

static int64_t number_at(const attn_tensor *numbers, int64_t i)
{
    const int64_t at = i * numbers->stride[0];
    return numbers->dtype == ATTN_I32 ? ((const int32_t *)numbers->data)[at] : ((const int64_t *)numbers->data)[at];
}

/* The library refuses all others, before it looks at any output. */
static bool are_integers(const attn_tensor *given)
{
    return given->ndim == 1 && (given->dtype == ATTN_I32 || given->dtype == ATTN_I64);
}

/* The keys of the longest sequence, of pages of so many rows; 0 if the library will refuse them. */
static int64_t columns_of_pages(const attn_forward_args *args, int64_t rows)
{
    const attn_tensor *lengths = args->key_lengths, *table = args->page_table;
    const int64_t pages = table->shape[table->ndim - 1];
    int64_t longest = 0;
    for (int64_t b = 0; lengths != NULL && are_integers(lengths) && b < lengths->shape[0]; ++b) {
        const int64_t length = number_at(lengths, b);
        if (length < 0 || rows < 1 || (length - 1) / rows >= pages) return 0;
        if (length > longest) longest = length;
    }
    return longest;
}

int64_t ragged_columns(const attn_forward_args *args, int64_t rows)
{
    const attn_tensor *offsets = args->key_offsets;
    int64_t longest = 0;
    if (args->page_table != NULL) return columns_of_pages(args, rows);
    if (offsets == NULL) return rows;
    for (int64_t b = 1; are_integers(offsets) && b < offsets->shape[0]; ++b) {
        const int64_t first = number_at(offsets, b - 1), end = number_at(offsets, b);
        if (first < 0 || end > rows) return 0; /* which are refused */
        if (end - first > longest) longest = end - first;
    }
    return longest;
}

int32_t ragged_sums(const attn_forward_args *args, int32_t ndim, const int64_t *weights, int64_t rows, int64_t shape[4])
{
    if (args->key_offsets == NULL && args->query_offsets == NULL) return 0;
    const attn_tensor *offsets = args->query_offsets;
    const int64_t sums[4] = {args->key_offsets != NULL ? 1
                             : offsets->shape[0] > 0   ? offsets->shape[0] - 1
                                                       : 0,
                             ndim > 2 ? weights[ndim - 3] : 1, args->key_offsets != NULL ? rows : weights[ndim - 1], 0};
    for (int i = 0; i < 4; ++i) shape[i] = sums[i];
    return 3;
}

static void clear(const attn_tensor *tensor, double number)
{
    if (tensor != NULL) tensor_fill(tensor, number);
}

void ragged_clear(const attn_forward_args *args)
{
    if (args->query_offsets == NULL) return;
    clear(args->context, 0);
    clear(args->weights, 0);
    clear(args->scores, args->scores_stage == ATTN_SCORES_WEIGHTS ? 0 : -INFINITY);
    clear(args->logsumexp, -INFINITY);
    if (args->stats == NULL) return;
    clear(args->stats->entropy, 0);
    const attn_tensor *strongest = args->stats->strongest;
    int64_t count = strongest != NULL ? 1 : 0;
    for (int32_t d = 0; count > 0 && d < strongest->ndim; ++d) count *= strongest->shape[d];
    for (int64_t i = 0; i < count; ++i) ((int64_t *)strongest->data)[i] = -1;
}

void ragged_clear_gradients(const attn_backward_args *args)
{
    clear(args->d_query, 0);
    clear(args->d_key, 0);
    clear(args->d_value, 0);
}
