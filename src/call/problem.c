/* SPDX-License-Identifier: BSD-3-Clause
 *
 * call/problem.c: checks the arguments of a call against each other and against the mechanism. Whatever can be wrong is
 * found here, before anything is computed or written. */
#include "call/problem.h"

#include "call/pages.h"
#include "call/ragged.h"
#include "call/stats.h"
#include "handles/lengths.h"
#include "handles/memory.h"
#include "handles/status.h"
#include "handles/structs.h"
#include "runtime/size.h"

#include <inttypes.h>
#include <stddef.h>
#include <string.h>

static const char query_layout[] = "[B, Hq, Tq, Dq]";
static const char value_layout[] = "[B, Hk, Tk, Dv]";
static const char score_layout[] = "[B, Hq, Tq, Tk]";
static const char context_layout[] = "[B, Hq, Tq, Dv]";

attn_status attn_i_forward_args_read(const attn_forward_args *given, attn_forward_args *args)
{
    if (given == NULL) return attn_i_fail(ATTN_ERR_ARGUMENT, "args is NULL");
    const size_t least = offsetof(attn_forward_args, key_scales); /* the first version's; what follows came later */
    return attn_i_struct_read(args, sizeof *args, least, given, given->struct_size, "attn_forward_args");
}

attn_status attn_i_forward_args_find(const attn_forward_args *given, attn_forward_args *room,
                                     const attn_forward_args **args)
{
    const int is_ours = given != NULL && given->struct_size == sizeof *given;
    *args = is_ours ? given : room;
    return is_ours ? ATTN_OK : attn_i_forward_args_read(given, room);
}

static attn_i_reals reals_of(const attn_i_problem *p)
{
    return (attn_i_reals){p->stored, "query"};
}

static attn_i_reals given_reals(const attn_i_problem *p)
{
    return (attn_i_reals){p->given, "query"};
}

static attn_i_reals computed_reals(const attn_i_problem *p)
{
    return (attn_i_reals){p->dtype, p->given == p->dtype ? "query" : "what query is computed in"};
}

static attn_status check_query(attn_i_problem *p, const attn_tensor *query)
{
    attn_status status = attn_i_tensor_check_number(query, "query", 4, &p->query);
    if (status != ATTN_OK) return status;
    const int64_t *shape = p->query.shape;
    p->stored = query->dtype;
    p->dtype = attn_i_dtype_computed(p->stored);
    p->size = attn_i_dtype_size(p->dtype);
    if (p->given == 0) p->given = p->stored;
    if (p->offsets.queries.data == NULL) p->batch = shape[0];
    p->query_heads = shape[1];
    p->queries = shape[2];
    p->query_dim = shape[3];
    if (p->query_dim == 0) return attn_i_fail(ATTN_ERR_SHAPE, "query has a last dimension of 0");
    if (p->query_heads == 0) return attn_i_fail(ATTN_ERR_SHAPE, "query has no heads (dimension 1 of %s)", query_layout);
    return ATTN_OK;
}

attn_status attn_i_problem_check_kept(const attn_i_problem *p, const attn_memory *memory)
{
    const attn_dtype kept = memory->dtype;
    if (kept == p->stored || kept == p->given || (kept == ATTN_I8 && memory->computed == p->dtype)) return ATTN_OK;
    return attn_i_fail(ATTN_ERR_DTYPE, "memory is %s, but query is %s", attn_i_dtype_name(kept),
                       attn_i_dtype_name(p->given));
}

/* Keys and values that a memory holds. */
static attn_status check_memory(attn_i_problem *p, const attn_forward_args *args)
{
    const attn_memory *memory = args->memory;
    const char *both = args->key != NULL     ? "key"
                       : args->value != NULL ? "value"
                       : args->key_lengths   ? "key_lengths"
                       : args->key_scales    ? "key_scales"
                       : args->value_scales  ? "value_scales"
                       : args->key_offsets   ? "key_offsets"
                       : args->page_table    ? "page_table"
                                             : NULL;
    if (both != NULL) return attn_i_fail(ATTN_ERR_ARGUMENT, "there are both %s and memory", both);
    if (memory->mechanism != p->mechanism) {
        return attn_i_fail(ATTN_ERR_ARGUMENT, "memory was made for another mechanism");
    }
    attn_status status = attn_i_problem_check_kept(p, memory);
    if (status != ATTN_OK) return status;
    if (memory->batch != p->batch) {
        return attn_i_fail(ATTN_ERR_SHAPE, "memory has batch %" PRId64 ", but %s %" PRId64, memory->batch,
                           p->offsets.queries.data != NULL ? "query_offsets are of" : "query has", p->batch);
    }
    p->key_heads = memory->key_heads;
    p->keys = memory->longest;
    p->key_dim = memory->key_dim;
    p->value_dim = attn_i_memory_value_dim(memory);
    p->key = attn_i_memory_keys(memory);
    p->value = attn_i_memory_values(memory);
    p->key_scales = attn_i_memory_key_scales(memory);
    p->value_scales = attn_i_memory_value_scales(memory);
    p->lengths = attn_i_memory_lengths(memory);
    p->ready = memory->ready;
    p->pages = (attn_i_pages){.table = attn_i_memory_table(memory)};
    if (memory->pool != NULL) p->pages.rows = memory->pool->rows;
    if (p->query_heads % p->key_heads != 0) {
        return attn_i_fail(ATTN_ERR_SHAPE,
                           "memory has %" PRId64 " heads, which does not divide the %" PRId64 " heads of query",
                           p->key_heads, p->query_heads);
    }
    p->group = p->query_heads / p->key_heads;
    return ATTN_OK;
}

/* Keys or values as the query is, or, with scales, of integers. */
static attn_status check_rows(attn_i_problem *p, const attn_tensor *rows, const char *name, const attn_tensor *scales,
                              const char *name_of_scales, attn_i_view *view, attn_i_view *view_of_scales)
{
    if (rows == NULL && scales != NULL) {
        return attn_i_fail(ATTN_ERR_ARGUMENT, "there is %s, but no %s", name_of_scales, name);
    }
    if (rows == NULL || rows->dtype != ATTN_I8) {
        attn_status status = attn_i_real(reals_of(p), rows, name, view);
        if (status != ATTN_OK || scales == NULL) return status;
        return attn_i_fail(ATTN_ERR_ARGUMENT, "there is %s, but %s is %s, not ATTN_I8", name_of_scales, name,
                           attn_i_dtype_name(rows->dtype));
    }
    attn_status status = attn_i_tensor_check(rows, name, 4, view);
    if (status != ATTN_OK) return status;
    if (p->dtype != ATTN_F32) {
        return attn_i_fail(ATTN_ERR_DTYPE, "%s is ATTN_I8, which is computed in float32, but query is %s", name,
                           attn_i_dtype_name(p->stored));
    }
    if (scales == NULL) return attn_i_fail(ATTN_ERR_ARGUMENT, "%s is ATTN_I8, but %s is NULL", name, name_of_scales);
    const int64_t shape[4] = {1, view->shape[0], view->shape[1], view->shape[2]};
    return attn_i_real_input((attn_i_reals){ATTN_F32, "what integers are multiplied by"}, scales, name_of_scales,
                             "[B, Hk, Tk]", shape, view_of_scales);
}

static attn_status check_key_and_value(attn_i_problem *p, const attn_forward_args *args)
{
    const attn_tensor *key = args->key, *value = args->value;
    const int reads_keys = p->mechanism->rule->reads_keys;
    if (key == NULL && (reads_keys || value == NULL)) {
        return attn_i_fail(ATTN_ERR_ARGUMENT, "key is NULL%s", reads_keys ? "" : ", and so is value");
    }
    attn_status status = check_rows(p, key, "key", args->key_scales, "key_scales", &p->key, &p->key_scales);
    if (status == ATTN_OK) {
        status = check_rows(p, value, "value", args->value_scales, "value_scales", &p->value, &p->value_scales);
    }
    if (status != ATTN_OK) return status;

    const attn_i_view *first = key != NULL ? &p->key : &p->value; /* sets heads and length */
    const char *name = key != NULL ? "key" : "value";
    p->key_heads = first->shape[1];
    p->keys = first->shape[2];
    p->key_dim = key != NULL ? p->key.shape[3] : 0;
    if (args->page_table != NULL) {
        status = attn_i_pages_check(p, args, name, first->shape);
    } else if (p->offsets.keys.data != NULL) {
        status = attn_i_ragged_check_keys(p, name, first->shape);
    } else if (first->shape[0] != p->batch) {
        status = attn_i_fail(ATTN_ERR_SHAPE, "%s has batch %" PRId64 ", but %s %" PRId64, name, first->shape[0],
                             p->offsets.queries.data != NULL ? "query_offsets are of" : "query has", p->batch);
    }
    if (status != ATTN_OK) return status;
    if (p->key_heads == 0 || p->query_heads % p->key_heads != 0) {
        return attn_i_fail(ATTN_ERR_SHAPE,
                           "%s has %" PRId64 " heads, which does not divide the %" PRId64 " heads of query", name,
                           p->key_heads, p->query_heads);
    }
    if (key != NULL && p->key_dim == 0) return attn_i_fail(ATTN_ERR_SHAPE, "key has a last dimension of 0");
    p->group = p->query_heads / p->key_heads;
    if (value == NULL) {
        p->value = p->key;
        p->value_scales = p->key_scales;
        p->keys_are_values = 1;
    } else if (key != NULL) {
        const int64_t shape[4] = {first->shape[0], first->shape[1], first->shape[2], p->value.shape[3]};
        status = attn_i_view_has_shape(&p->value, "value", value_layout, shape);
        if (status != ATTN_OK) return status;
    }
    p->value_dim = p->value.shape[3];
    return ATTN_OK;
}

/* The dimensions that the mechanism was made for, and its parameters. */
static attn_status check_mechanism(attn_i_problem *p)
{
    const attn_mechanism *m = p->mechanism;
    if (m->query_dim != 0 && p->query_dim != m->query_dim) {
        return attn_i_fail(ATTN_ERR_SHAPE,
                           "query has dimension %" PRId64 ", but the %s mechanism was made for %" PRId64, p->query_dim,
                           m->rule->name, m->query_dim);
    }
    if (m->key_dim != 0 && p->key_dim != m->key_dim) {
        return attn_i_fail(ATTN_ERR_SHAPE, "key has dimension %" PRId64 ", but the %s mechanism was made for %" PRId64,
                           p->key_dim, m->rule->name, m->key_dim);
    }
    attn_status status = attn_i_params_check(m->params, m->param_count, m->rule->name, p->given);
    if (status == ATTN_OK) status = m->rule->check(m, p->query_dim, p->key_dim, p->keys);
    if (status != ATTN_OK) return status;
    p->scale = m->modifiers.has_scale ? m->modifiers.scale : m->rule->default_scale(p->key_dim);
    return ATTN_OK;
}

attn_status attn_i_query_start_check(const attn_mechanism *mechanism, int64_t start)
{
    const attn_i_modifiers *m = &mechanism->modifiers;
    if (start > ATTN_I_MOST_POSITIONS || start < -ATTN_I_MOST_POSITIONS) {
        return attn_i_fail(ATTN_ERR_ARGUMENT, "query_start is %" PRId64 ", which is no position", start);
    }
    const int bottom_right = m->relative_align == ATTN_ALIGN_BOTTOM_RIGHT || m->causal == ATTN_ALIGN_BOTTOM_RIGHT ||
                             m->window == ATTN_ALIGN_BOTTOM_RIGHT || m->alibi == ATTN_ALIGN_BOTTOM_RIGHT;
    if (bottom_right && start != 0) {
        return attn_i_fail(ATTN_ERR_ARGUMENT,
                           "query_start is %" PRId64 ", but the mechanism is aligned bottom-right, where the lengths "
                           "say where queries stand",
                           start);
    }
    return ATTN_OK;
}

static attn_status check_sinks(const attn_i_problem *p)
{
    const attn_i_modifiers *m = p->modifiers;
    if (m->normaliser == ATTN_HARDMAX) {
        return attn_i_fail(ATTN_ERR_UNSUPPORTED,
                           "the mechanism has sinks, which are of a softmax, but its normaliser is "
                           "hardmax");
    }
    if (m->sinks.shape[3] != p->query_heads) {
        return attn_i_fail(ATTN_ERR_SHAPE, "the sinks are %" PRId64 ", but query has %" PRId64 " heads",
                           m->sinks.shape[3], p->query_heads);
    }
    if (m->sinks.dtype != p->dtype && m->sinks.dtype != p->given) {
        return attn_i_fail(ATTN_ERR_DTYPE, "the sinks are %s, but query is %s", attn_i_dtype_name(m->sinks.dtype),
                           attn_i_dtype_name(p->given));
    }
    return ATTN_OK;
}

/* What a mask or a bias broadcasts to. */
static void broadcast_shape(const attn_i_problem *p, const attn_tensor *tensor, int64_t shape[4])
{
    attn_i_problem_score_shape(p, tensor, shape);
    shape[0] = p->batch;
}

static attn_status check_mask(attn_i_problem *p, const attn_tensor *mask, attn_align align)
{
    int64_t shape[4];
    if (align != ATTN_ALIGN_NONE && align != ATTN_ALIGN_BOTTOM_RIGHT) {
        return attn_i_fail(ATTN_ERR_ARGUMENT, "mask_align is %" PRId32 ", but must be 0 or ATTN_ALIGN_BOTTOM_RIGHT",
                           align);
    }
    if (mask == NULL && align == ATTN_ALIGN_NONE) return ATTN_OK;
    if (mask == NULL) return attn_i_fail(ATTN_ERR_ARGUMENT, "there is mask_align, but no mask");
    attn_status status = attn_i_tensor_check(mask, "mask", 4, &p->mask);
    if (status == ATTN_OK && mask->dtype != ATTN_BOOL) {
        status = attn_i_fail(ATTN_ERR_DTYPE, "mask is %s, but ATTN_BOOL is needed (a float mask is a bias)",
                             attn_i_dtype_name(mask->dtype));
    }
    if (status != ATTN_OK) return status;
    broadcast_shape(p, mask, shape);
    if (align != ATTN_ALIGN_NONE) shape[3] = p->mask_columns = p->mask.shape[3];
    if (align != ATTN_ALIGN_NONE && p->mask_columns == 0) {
        return attn_i_fail(ATTN_ERR_SHAPE, "mask is aligned to the last keys, but has no columns");
    }
    return attn_i_view_broadcast(&p->mask, "mask", score_layout, shape);
}

static attn_status check_modifiers(attn_i_problem *p, const attn_forward_args *args)
{
    const attn_i_modifiers *m = p->modifiers;
    int64_t scores[4];
    attn_status status = check_mask(p, args->mask, args->mask_align);
    if (status == ATTN_OK) status = attn_i_real(given_reals(p), args->bias, "bias", &p->bias);
    if (status == ATTN_OK && args->bias != NULL) {
        broadcast_shape(p, args->bias, scores);
        status = attn_i_view_broadcast(&p->bias, "bias", score_layout, scores);
    }
    if (status == ATTN_OK && p->pages.table.data == NULL)
        status = attn_i_lengths_check(args->key_lengths, "key_lengths", p->batch, p->keys, &p->lengths);
    if (status == ATTN_OK && p->offsets.keys.data != NULL) status = attn_i_ragged_check_lengths(p);
    if (status != ATTN_OK) return status;

    if (m->alibi != ATTN_ALIGN_NONE) {
        if (m->slopes.shape[3] != p->query_heads) {
            return attn_i_fail(ATTN_ERR_SHAPE, "the ALiBi slopes are %" PRId64 ", but query has %" PRId64 " heads",
                               m->slopes.shape[3], p->query_heads);
        }
        if (m->slopes_dtype != p->dtype) {
            return attn_i_fail(ATTN_ERR_DTYPE, "the ALiBi slopes are %s, but query is %s",
                               attn_i_dtype_name(m->slopes_dtype), attn_i_dtype_name(p->dtype));
        }
    }
    status = attn_i_query_start_check(p->mechanism, args->query_start);
    if (status != ATTN_OK) return status;
    p->query_start = args->query_start;
    if (!(args->dropout >= 0 && args->dropout < 1)) {
        return attn_i_fail(ATTN_ERR_ARGUMENT, "dropout is %g, but must be at least 0 and below 1", args->dropout);
    }
    p->dropout.draw = (attn_i_draw){args->dropout_seed, args->dropout_offset, (uint32_t)(args->dropout * 0x1p32)};
    if (args->dropout > 0) p->dropout.keep = 1 / (1 - args->dropout);
    p->dropout.head_rows = p->queries;
    if (m->sinks.data != NULL) status = check_sinks(p);
    if (status != ATTN_OK) return status;
    if (m->relative != ATTN_RELATIVE_NONE) {
        if (m->table.shape[2] != p->query_heads && m->table.shape[2] != 1) {
            return attn_i_fail(ATTN_ERR_SHAPE,
                               "the table of relative biases has %" PRId64 " rows, but query has %" PRId64 " heads",
                               m->table.shape[2], p->query_heads);
        }
        if (m->table_dtype != p->dtype) {
            return attn_i_fail(ATTN_ERR_DTYPE, "the table of relative biases is %s, but query is %s",
                               attn_i_dtype_name(m->table_dtype), attn_i_dtype_name(p->dtype));
        }
    }
    return ATTN_OK;
}

attn_status attn_i_problem_stored_input(const attn_i_problem *p, const attn_tensor *tensor, const char *name,
                                        const char *layout, const int64_t *shape, attn_i_view *view)
{
    return attn_i_real_input(reals_of(p), tensor, name, layout, shape, view);
}

attn_status attn_i_problem_given_input(const attn_i_problem *p, const attn_tensor *tensor, const char *name,
                                       const char *layout, const int64_t *shape, attn_i_view *view)
{
    return attn_i_real_input(given_reals(p), tensor, name, layout, shape, view);
}

attn_status attn_i_problem_given_output(const attn_i_problem *p, const attn_tensor *tensor, const char *name,
                                        const char *layout, const int64_t *shape, attn_i_view *view)
{
    return attn_i_real_output(given_reals(p), tensor, name, layout, shape, view);
}

attn_status attn_i_problem_stored_output(const attn_i_problem *p, const attn_tensor *tensor, const char *name,
                                         const char *layout, const int64_t *shape, attn_i_view *view)
{
    return attn_i_real_output(reals_of(p), tensor, name, layout, shape, view);
}

attn_status attn_i_problem_input(const attn_i_problem *p, const attn_tensor *tensor, const char *name,
                                 const char *layout, const int64_t *shape, attn_i_view *view)
{
    return attn_i_real_input(computed_reals(p), tensor, name, layout, shape, view);
}

attn_status attn_i_problem_output(const attn_i_problem *p, const attn_tensor *tensor, const char *name,
                                  const char *layout, const int64_t *shape, attn_i_view *view)
{
    return attn_i_real_output(computed_reals(p), tensor, name, layout, shape, view);
}

attn_status attn_i_problem_param_output(const attn_i_problem *p, const attn_tensor *tensor, const char *name,
                                        const char *layout, const int64_t *shape, attn_i_view *view)
{
    const int narrow = tensor != NULL && tensor->dtype != p->dtype;
    return attn_i_real_output(narrow ? given_reals(p) : computed_reals(p), tensor, name, layout, shape, view);
}

static attn_status check_outputs(attn_i_problem *p, const attn_forward_args *args)
{
    attn_status status = args->stats == NULL ? ATTN_OK : attn_i_stats_check(p, args->stats);
    if (status != ATTN_OK) return status;
    if (args->context == NULL && args->weights == NULL && args->scores == NULL && args->logsumexp == NULL &&
        !p->stats.wanted) {
        return attn_i_fail(ATTN_ERR_ARGUMENT, args->stats == NULL
                                                  ? "context, weights, scores and logsumexp are all NULL"
                                                  : "context, weights, scores and logsumexp are all NULL, and so are "
                                                    "the tensors of stats");
    }
    if (args->scores_stage < ATTN_SCORES_RAW || args->scores_stage > ATTN_SCORES_WEIGHTS) {
        return attn_i_fail(ATTN_ERR_ARGUMENT, "scores_stage is %" PRId32 ", which is none", args->scores_stage);
    }
    int64_t context[4], weights[4], scores[4], rows[4];
    attn_i_problem_query_shape(p, p->value_dim, context);
    attn_i_problem_score_shape(p, args->weights, weights);
    attn_i_problem_score_shape(p, args->scores, scores);
    attn_i_problem_row_shape(p, rows);
    p->scores_stage = args->scores_stage;
    if (args->scores != NULL && args->scores_stage < ATTN_SCORES_MASKED && p->modifiers->local > ATTN_LOCAL_MONOTONIC) {
        return attn_i_fail(
            ATTN_ERR_UNSUPPORTED,
            "scores are wanted before the mask, but predictive local attention makes none that it masks");
    }
    const int is_exact = args->context != NULL && args->context->dtype == p->dtype;
    status = attn_i_real_output(is_exact ? computed_reals(p) : reals_of(p), args->context, "context", context_layout,
                                context, &p->context);
    if (status == ATTN_OK)
        status = attn_i_problem_output(p, args->weights, "weights", score_layout, weights, &p->weights);
    if (status == ATTN_OK) status = attn_i_problem_output(p, args->scores, "scores", score_layout, scores, &p->scores);
    attn_i_reals reals = computed_reals(p);
    if (args->logsumexp != NULL && args->logsumexp->dtype == ATTN_F64) reals.dtype = ATTN_F64;
    if (status == ATTN_OK) {
        status = attn_i_real_output(reals, args->logsumexp, "logsumexp", "[B, Hq, Tq]", rows, &p->logsumexp);
    }
    return status;
}

void attn_i_problem_query_shape(const attn_i_problem *p, int64_t columns, int64_t shape[4])
{
    const int64_t all[4] = {p->query.shape[0], p->query_heads, p->queries, columns};
    memcpy(shape, all, sizeof all);
}

void attn_i_problem_row_shape(const attn_i_problem *p, int64_t shape[4])
{
    const int64_t all[4] = {1, p->query.shape[0], p->query_heads, p->queries};
    memcpy(shape, all, sizeof all);
}

void attn_i_problem_score_shape(const attn_i_problem *p, const attn_tensor *tensor, int64_t shape[4])
{
    attn_i_problem_query_shape(p, p->keys, shape);
    if ((p->offsets.keys.data == NULL && p->pages.table.data == NULL) || tensor == NULL || tensor->ndim < 1 ||
        tensor->ndim > 4)
        return;
    shape[3] = attn_i_max(p->keys, tensor->shape[tensor->ndim - 1]);
}

int attn_i_problem_is_wanted(const attn_i_problem *p)
{
    return !attn_i_view_is_empty(&p->context) || !attn_i_view_is_empty(&p->weights) ||
           !attn_i_view_is_empty(&p->scores) || !attn_i_view_is_empty(&p->logsumexp) || attn_i_stats_are_wanted(p);
}

int attn_i_problem_list(const attn_i_problem *p, attn_i_named_view list[ATTN_I_MOST_TENSORS], int *outputs)
{
    const attn_mechanism *m = p->mechanism;
    int count = p->stats.wanted ? attn_i_stats_list(p, list) : 0;
    count = attn_i_list_add(list, count, "", "context", &p->context);
    count = attn_i_list_add(list, count, "", "weights", &p->weights);
    count = attn_i_list_add(list, count, "", "scores", &p->scores);
    count = attn_i_list_add(list, count, "", "logsumexp", &p->logsumexp);
    *outputs = count;
    count = attn_i_list_add(list, count, "", "query", &p->query);
    count = attn_i_list_add(list, count, "", "key", &p->key);
    count = attn_i_list_add(list, count, "", "value", &p->value);
    count = attn_i_list_add(list, count, "", "key_scales", &p->key_scales);
    count = attn_i_list_add(list, count, "", "value_scales", &p->value_scales);
    count = attn_i_list_add(list, count, "", "key_lengths", &p->lengths);
    count = attn_i_list_add(list, count, "", "query_offsets", &p->offsets.queries);
    count = attn_i_list_add(list, count, "", "key_offsets", &p->offsets.keys);
    count = attn_i_list_add(list, count, "", "page_table", &p->pages.table);
    count = attn_i_list_add(list, count, "", "page_offsets", &p->pages.offsets);
    count = attn_i_list_add(list, count, "", "mask", &p->mask);
    count = attn_i_list_add(list, count, "", "bias", &p->bias);
    if (m->modifiers.alibi != ATTN_ALIGN_NONE) {
        list[count++] = (attn_i_named_view){"", "the ALiBi slopes", &m->modifiers.slopes};
    }
    if (m->modifiers.relative != ATTN_RELATIVE_NONE) {
        list[count++] = (attn_i_named_view){"", "the table of relative biases", &m->modifiers.table};
    }
    count = attn_i_list_add(list, count, "", "the sinks", &m->modifiers.sinks);
    for (int32_t i = 0; i < m->param_count; i++) {
        list[count++] = (attn_i_named_view){"parameter ", m->params[i].name, &m->params[i].view};
    }
    return count;
}

attn_status attn_i_check_scratch_apart(const attn_i_named_view *list, int count, void *workspace, size_t bytes)
{
    attn_i_view view; /* of which nothing else is looked at */
    view.first = workspace;
    view.end = (char *)workspace + bytes;
    for (int i = 0; i < count; i++) {
        if (!attn_i_views_meet(&view, list[i].view)) continue;
        return attn_i_fail(ATTN_ERR_OVERLAP, "workspace shares memory with %s%s", list[i].kind, list[i].name);
    }
    return ATTN_OK;
}

attn_status attn_i_problem_check_overlap(const attn_i_problem *p)
{
    attn_i_named_view list[ATTN_I_MOST_TENSORS];
    int outputs = 0;
    const int count = attn_i_problem_list(p, list, &outputs);
    return attn_i_views_apart(list, outputs, count);
}

attn_status attn_i_problem_check_workspace(const attn_i_problem *problem, void *workspace, size_t bytes)
{
    attn_i_named_view list[ATTN_I_MOST_TENSORS];
    int outputs = 0;
    const int count = attn_i_problem_list(problem, list, &outputs);
    return attn_i_check_scratch_apart(list, count, workspace, bytes);
}

int attn_i_countable(int64_t batch, int64_t heads, int64_t queries, int64_t keys)
{
    int64_t rows, scores;
    return attn_i_multiply(batch, heads, &rows) && attn_i_multiply(rows, queries, &rows) &&
           attn_i_multiply(rows, attn_i_max(keys, 1), &scores) && scores <= ATTN_I_MOST_POSITIONS;
}

/* Counts that loops below run over, some of which no single tensor holds (inputs may be broadcast). */
static attn_status check_counts(const attn_i_problem *p)
{
    const int64_t batch = p->query.shape[0];
    if (!attn_i_countable(batch, p->query_heads, p->queries, p->keys)) {
        return attn_i_fail(ATTN_ERR_OVERFLOW,
                           "batch %" PRId64 " x heads %" PRId64 " x queries %" PRId64 " x keys %" PRId64
                           " cannot be counted",
                           batch, p->query_heads, p->queries, p->keys);
    }
    return ATTN_OK;
}

/* What must be copied has rows of these lengths. */
static attn_status check_dims(const attn_i_problem *p)
{
    const struct {
        const char *name;
        int64_t dim;
    } dims[] = {{"query", p->query_dim}, {"key", p->key_dim}, {"value", p->context.data == NULL ? 0 : p->value_dim}};
    for (size_t i = 0; i < sizeof dims / sizeof *dims; i++) {
        if (dims[i].dim <= ATTN_I_BLAS_LIMIT) continue;
        return attn_i_fail(ATTN_ERR_OVERFLOW, "%s has a last dimension of %" PRId64 ", more than a BLAS can count",
                           dims[i].name, dims[i].dim);
    }
    return ATTN_OK;
}

attn_status attn_i_problem_check_inner(const attn_mechanism *mechanism, const attn_forward_args *args, attn_dtype given,
                                       attn_i_problem *problem)
{
    if (mechanism == NULL) return attn_i_fail(ATTN_ERR_ARGUMENT, "mechanism is NULL");
    *problem = (attn_i_problem){
        .mechanism = mechanism, .modifiers = &mechanism->modifiers, .engine = mechanism->engine, .given = given};
    if (args->reserved != 0) return attn_i_fail(ATTN_ERR_ARGUMENT, "reserved is %" PRId32 ", not 0", args->reserved);
    if (args->page_offsets != NULL && args->page_table == NULL) {
        return attn_i_fail(ATTN_ERR_ARGUMENT, "there is page_offsets, but no page_table");
    }
    if (args->page_table != NULL && args->key_offsets != NULL) {
        return attn_i_fail(ATTN_ERR_ARGUMENT, "there are both key_offsets and page_table");
    }
    attn_status status = attn_i_ragged_read(problem, args);
    if (status == ATTN_OK) status = check_query(problem, args->query);
    if (status == ATTN_OK) status = attn_i_ragged_check_queries(problem);
    if (status == ATTN_OK && args->memory != NULL) {
        status = check_memory(problem, args);
    } else if (status == ATTN_OK) {
        status = check_key_and_value(problem, args);
    }
    if (status == ATTN_OK) status = check_mechanism(problem);
    if (status == ATTN_OK) status = check_counts(problem);
    if (status == ATTN_OK) status = check_modifiers(problem, args);
    if (status == ATTN_OK) status = check_outputs(problem, args);
    if (status == ATTN_OK) status = check_dims(problem);
    if (status != ATTN_OK) return status;
    problem->kernels = attn_i_engine_kernels(problem->engine, problem->dtype);
    return ATTN_OK;
}

attn_status attn_i_problem_check_shapes(const attn_mechanism *mechanism, const attn_forward_args *args,
                                        attn_i_problem *problem)
{
    return attn_i_problem_check_inner(mechanism, args, 0, problem);
}

attn_status attn_i_problem_check(const attn_mechanism *mechanism, const attn_forward_args *args,
                                 attn_i_problem *problem)
{
    attn_status status = attn_i_problem_check_shapes(mechanism, args, problem);
    return status == ATTN_OK ? attn_i_problem_check_overlap(problem) : status;
}

int64_t attn_i_problem_length(const attn_i_problem *problem, int64_t b)
{
    return attn_i_length(&problem->lengths, b, problem->keys);
}
