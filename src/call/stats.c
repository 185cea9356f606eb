/* SPDX-License-Identifier: BSD-3-Clause
 *
 * call/stats.c: what a call is to tell of its weights: the caller's struct and its tensors. */
#include "call/stats.h"

#include "handles/status.h"
#include "handles/structs.h"

#include <inttypes.h>

static const char row_layout[] = "[B, Hq, Tq]";

static attn_status check_strongest(const attn_i_problem *p, const attn_tensor *tensor, const int64_t *shape,
                                   attn_i_view *view)
{
    static const char name[] = "stats->strongest";
    if (tensor == NULL) return ATTN_OK;
    attn_status status = attn_i_tensor_check_integers(tensor, name, 4, view);
    if (status != ATTN_OK) return status;
    if (tensor->dtype == ATTN_I32 && p->keys - 1 > INT32_MAX) {
        return attn_i_fail(ATTN_ERR_DTYPE, "%s is ATTN_I32, which cannot count %" PRId64 " keys", name, p->keys);
    }
    status = attn_i_view_has_shape(view, name, row_layout, shape);
    return status == ATTN_OK ? attn_i_view_is_output(view, name) : status;
}

attn_status attn_i_stats_read(const attn_weights_stats *given, attn_weights_stats *args)
{
    attn_status status =
        attn_i_struct_read(args, sizeof *args, sizeof *args, given, given->struct_size, "attn_weights_stats");
    if (status != ATTN_OK) return attn_i_fail_in("stats", status);
    if (args->reserved != 0) return attn_i_fail(ATTN_ERR_ARGUMENT, "stats->reserved is not 0");
    return ATTN_OK;
}

attn_status attn_i_stats_check(attn_i_problem *p, const attn_weights_stats *given)
{
    attn_weights_stats args;
    int64_t keys[4] = {1, p->value.shape[0], p->query_heads, p->value.shape[2]};
    int64_t rows[4];
    attn_i_stats *s = &p->stats;
    attn_status status = attn_i_stats_read(given, &args);
    if (status != ATTN_OK) return status;
    attn_i_problem_row_shape(p, rows);
    if (p->pages.table.data != NULL) {
        int64_t scores[4];
        attn_i_problem_score_shape(p, args.key_sums, scores);
        keys[1] = p->batch;
        keys[3] = scores[3];
    }
    status = attn_i_problem_output(p, args.entropy, "stats->entropy", row_layout, rows, &s->entropy);
    if (status == ATTN_OK) status = check_strongest(p, args.strongest, rows, &s->strongest);
    if (status == ATTN_OK) {
        status = attn_i_problem_output(p, args.key_sums, "stats->key_sums", "[B, Hq, Tk]", keys, &s->key_sums);
    }
    s->wanted = s->entropy.data != NULL || s->strongest.data != NULL || s->key_sums.data != NULL;
    return status;
}

int attn_i_stats_are_wanted(const attn_i_problem *p)
{
    const attn_i_stats *s = &p->stats;
    return !attn_i_view_is_empty(&s->entropy) || !attn_i_view_is_empty(&s->strongest) ||
           !attn_i_view_is_empty(&s->key_sums);
}

int attn_i_stats_list(const attn_i_problem *p, attn_i_named_view *list)
{
    int count = attn_i_list_add(list, 0, "", "stats->entropy", &p->stats.entropy);
    count = attn_i_list_add(list, count, "", "stats->strongest", &p->stats.strongest);
    return attn_i_list_add(list, count, "", "stats->key_sums", &p->stats.key_sums);
}

/* Element (b, h, i) of a tensor of that rank. */
static void *element(const attn_i_view *view, int64_t b, int64_t h, int64_t i)
{
    return attn_i_view_at(view, 0, b) + (h * view->stride[2] + i * view->stride[3]) * view->size;
}

static void set_real(const attn_i_view *view, void *at, double x)
{
    if (view->size == (int64_t)sizeof(double)) *(double *)at = x;
    if (view->size != (int64_t)sizeof(double)) *(float *)at = (float)x;
}

void attn_i_stats_write_row(const attn_i_problem *p, int64_t b, int64_t h, int64_t i, double entropy, int64_t strongest)
{
    const attn_i_view *of = &p->stats.entropy, *at = &p->stats.strongest;
    if (of->data != NULL) set_real(of, element(of, b, h, i), entropy);
    if (at->data == NULL) return;
    if (at->size == (int64_t)sizeof(int64_t)) *(int64_t *)element(at, b, h, i) = strongest;
    if (at->size != (int64_t)sizeof(int64_t)) *(int32_t *)element(at, b, h, i) = (int32_t)strongest;
}

void attn_i_stats_write_sums(const attn_i_problem *p, int64_t b, int64_t h, int64_t first, int64_t n,
                             const double *sums)
{
    const attn_i_view *to = &p->stats.key_sums;
    for (int64_t j = 0; j < n; j++) set_real(to, element(to, b, h, first + j), sums[j]);
}

void attn_i_stats_clear_sums(const attn_i_problem *p)
{
    const attn_i_view *to = &p->stats.key_sums;
    if (attn_i_view_is_empty(to)) return;
    for (int64_t b = 0; b < p->batch; b++) {
        for (int64_t h = 0; h < p->query_heads; h++) p->kernels->fill(p->keys, 0, element(to, b, h, 0), to->stride[3]);
    }
}
