/* SPDX-License-Identifier: BSD-3-Clause
 *
 * verbs/merge.c: the verb attn_merge: checks what verbs/join.c then computes. */
#include "handles/engine.h"
#include "handles/status.h"
#include "handles/structs.h"
#include "verbs/join.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

typedef struct merge {
    attn_engine *engine;
    attn_merge_args args;
    attn_i_view context, logsumexp;
} merge;

/* ------------------------------------------------------------------------------------------------ checking */

/* Both tensors of a part, and what they are called. */
typedef struct part {
    attn_i_view context, logsumexp;
    const char *context_name, *logsumexp_name;
} part;

static int same_view(const attn_i_view *a, const attn_i_view *b)
{
    return a->data == b->data && a->dtype == b->dtype && memcmp(a->stride, b->stride, sizeof a->stride) == 0;
}

/* An output lies apart from a part's tensor, or where that `twin` of it lies. */
static attn_status check_apart(const char *output_name, const attn_i_view *output, const char *name,
                               const attn_i_view *view, int is_twin)
{
    const attn_i_named_view list[] = {{"", output_name, output}, {"", name, view}};
    if (output->data == NULL || (is_twin && same_view(output, view))) return ATTN_OK;
    return attn_i_views_apart(list, 1, 2);
}

static attn_status check_overlap(const merge *m, const part *p)
{
    attn_status status = check_apart("context", &m->context, p->context_name, &p->context, 1);
    if (status == ATTN_OK) status = check_apart("context", &m->context, p->logsumexp_name, &p->logsumexp, 0);
    if (status == ATTN_OK) status = check_apart("logsumexp", &m->logsumexp, p->context_name, &p->context, 0);
    if (status != ATTN_OK) return status;
    return check_apart("logsumexp", &m->logsumexp, p->logsumexp_name, &p->logsumexp, 1);
}

static attn_status check_logsumexp(const merge *m, const attn_tensor *tensor, const char *name, attn_i_view *view)
{
    const int64_t *n = m->context.shape, shape[4] = {1, n[0], n[1], n[2]};
    attn_status status = attn_i_tensor_check_real(tensor, name, 3, view);
    return status == ATTN_OK ? attn_i_view_has_shape(view, name, "[B, Hq, Tq]", shape) : status;
}

static attn_status check_context(const merge *m, const attn_tensor *tensor, const char *name, attn_i_view *view)
{
    const attn_dtype output = m->context.dtype;
    attn_status status = attn_i_tensor_check_number(tensor, name, 4, view);
    if (status != ATTN_OK) return status;
    if (attn_i_dtype_computed(tensor->dtype) != attn_i_dtype_computed(output)) {
        return attn_i_fail(ATTN_ERR_DTYPE, "%s is %s, but context is %s: ATTN_F64 goes with ATTN_F64 alone", name,
                           attn_i_dtype_name(tensor->dtype), attn_i_dtype_name(output));
    }
    return attn_i_view_has_shape(view, name, "[B, Hq, Tq, Dv]", m->context.shape);
}

static attn_status check_part(const merge *m, int64_t k, part *p)
{
    attn_status status = check_context(m, m->args.contexts[k], p->context_name, &p->context);
    if (status == ATTN_OK) status = check_logsumexp(m, m->args.logsumexps[k], p->logsumexp_name, &p->logsumexp);
    return status == ATTN_OK ? check_overlap(m, p) : status;
}

/* Checks a part, and once more with its number in the names if anything is wrong: writing numbers takes longer. */
static attn_status check_numbered_part(const merge *m, int64_t k)
{
    char context_name[40], logsumexp_name[40];
    part p = {.context_name = "contexts", .logsumexp_name = "logsumexps"};
    if (check_part(m, k, &p) == ATTN_OK) return ATTN_OK;
    snprintf(context_name, sizeof context_name, "contexts[%" PRId64 "]", k);
    snprintf(logsumexp_name, sizeof logsumexp_name, "logsumexps[%" PRId64 "]", k);
    p = (part){.context_name = context_name, .logsumexp_name = logsumexp_name};
    return check_part(m, k, &p);
}

static attn_status check_outputs(merge *m)
{
    const attn_i_named_view list[] = {{"", "context", &m->context}, {"", "logsumexp", &m->logsumexp}};
    attn_status status = attn_i_tensor_check_number(m->args.context, "context", 4, &m->context);
    if (status == ATTN_OK) status = attn_i_view_is_output(&m->context, "context");
    if (status != ATTN_OK || m->args.logsumexp == NULL) return status;
    status = check_logsumexp(m, m->args.logsumexp, "logsumexp", &m->logsumexp);
    if (status == ATTN_OK) status = attn_i_view_is_output(&m->logsumexp, "logsumexp");
    return status == ATTN_OK ? attn_i_views_apart(list, 1, 2) : status;
}

static attn_status check_given(const attn_merge_args *args)
{
    if (args->reserved != 0) return attn_i_fail(ATTN_ERR_ARGUMENT, "reserved is not 0");
    if (args->parts < 1) {
        return attn_i_fail(ATTN_ERR_ARGUMENT, "parts is %" PRId64 ", but at least 1 is needed", args->parts);
    }
    if (args->contexts == NULL) return attn_i_fail(ATTN_ERR_ARGUMENT, "contexts is NULL");
    if (args->logsumexps == NULL) return attn_i_fail(ATTN_ERR_ARGUMENT, "logsumexps is NULL");
    return ATTN_OK;
}

static attn_status check(attn_engine *engine, const attn_merge_args *args, merge *m)
{
    if (engine == NULL || args == NULL) {
        return attn_i_fail(ATTN_ERR_ARGUMENT, "%s is NULL", engine == NULL ? "engine" : "args");
    }
    const size_t size = sizeof m->args;
    attn_status status = attn_i_struct_read(&m->args, size, size, args, args->struct_size, "attn_merge_args");
    if (status == ATTN_OK) status = check_given(&m->args);
    if (status == ATTN_OK) status = check_outputs(m);
    for (int64_t k = 0; k < m->args.parts && status == ATTN_OK; k++) status = check_numbered_part(m, k);
    return status;
}

attn_status attn_merge(attn_engine *engine, const attn_merge_args *args)
{
    merge m = {.engine = engine};
    attn_status status = check(engine, args, &m);
    if (status != ATTN_OK) return attn_i_fail_in("attn_merge", status);
    const attn_i_join join = {engine, m.args.parts, m.args.contexts, m.args.logsumexps, m.context, m.logsumexp};
    if (!attn_i_view_is_empty(&m.context) || !attn_i_view_is_empty(&m.logsumexp)) attn_i_join_run(&join);
    return ATTN_OK;
}
