/* SPDX-License-Identifier: BSD-3-Clause
 *
 * verbs/plan.c: attn_plan: a forward call that is checked and cut into work once. A run moves the views of the problem
 * to where tensors lie now; all else that a view says is as it was planned. */
#include "call/stats.h"
#include "handles/lengths.h"
#include "handles/status.h"
#include "runtime/size.h"
#include "verbs/forward.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stddef.h>

enum {
    QUERY,
    KEY,
    VALUE,
    MASK,
    BIAS,
    KEY_SCALES,
    VALUE_SCALES,
    LENGTHS,
    QUERY_OFFSETS,
    KEY_OFFSETS,
    PAGE_TABLE,
    PAGE_OFFSETS,
    CONTEXT,
    WEIGHTS,
    SCORES,
    LOGSUMEXP,
    ENTROPY,
    STRONGEST,
    KEY_SUMS,
    TENSORS
};

/* A tensor's name, its place in the arguments (from ENTROPY on, in the stats), and its view. */
static const struct {
    const char *name;
    size_t argument, view;
} tensors[TENSORS] = {
#define OF_CALL(name, view)                                                                                            \
    {                                                                                                                  \
#name, offsetof(attn_forward_args, name), offsetof(attn_i_problem, view)                                       \
    }
#define OF_STATS(name)                                                                                                 \
    {                                                                                                                  \
        "stats->" #name, offsetof(attn_weights_stats, name), offsetof(attn_i_problem, stats.name)                      \
    }
    [QUERY] = OF_CALL(query, query),
    [KEY] = OF_CALL(key, key),
    [VALUE] = OF_CALL(value, value),
    [MASK] = OF_CALL(mask, mask),
    [KEY_SCALES] = OF_CALL(key_scales, key_scales),
    [VALUE_SCALES] = OF_CALL(value_scales, value_scales),
    [BIAS] = OF_CALL(bias, bias),
    [LENGTHS] = OF_CALL(key_lengths, lengths),
    [QUERY_OFFSETS] = OF_CALL(query_offsets, offsets.queries),
    [KEY_OFFSETS] = OF_CALL(key_offsets, offsets.keys),
    [PAGE_TABLE] = OF_CALL(page_table, pages.table),
    [PAGE_OFFSETS] = OF_CALL(page_offsets, pages.offsets),
    [CONTEXT] = OF_CALL(context, context),
    [WEIGHTS] = OF_CALL(weights, weights),
    [SCORES] = OF_CALL(scores, scores),
    [LOGSUMEXP] = OF_CALL(logsumexp, logsumexp),
    [ENTROPY] = OF_STATS(entropy),
    [STRONGEST] = OF_STATS(strongest),
    [KEY_SUMS] = OF_STATS(key_sums)};

/* What may differ from run to run; the data of those tensors that there are. */
typedef struct place {
    void *data[TENSORS];
    const attn_memory *memory;
    int64_t query_start;
    uint64_t seed, offset;
} place;

/* What a memory was when a call was planned. Where its numbers lie does not say all of it: they may since have been
 * given back, and be another memory's, of the same mechanism or of another. */
typedef struct snapshot {
    const attn_mechanism *mechanism;
    const void *keys, *values, *table, *lengths; /* lengths NULL: all are equal, and the call has none */
    attn_dtype dtype;
    attn_i_ready ready;
    int64_t batch, key_heads, key_dim, value_dim, capacity, longest;
} snapshot;

struct attn_plan {
    const attn_mechanism *mechanism;
    atomic_flag running;
    int stale;         /* it cannot be run before it is planned anew */
    uint64_t changes;  /* of the mechanism, when it was planned */
    snapshot memory;   /* likewise */
    int64_t allocated; /* bytes of scratch */
    void *scratch;

    /* The arguments, which point to what follows them. */
    attn_forward_args args;
    attn_weights_stats stats;
    attn_tensor tensor[TENSORS]; /* ndim 0: there is none */
    int there[TENSORS], count;   /* those that there are */

    attn_i_forward_plan forward;
};

static attn_i_view *view_of(attn_plan *plan, int i)
{
    return (attn_i_view *)(void *)((char *)&plan->forward.problem + tensors[i].view);
}

/* ------------------------------------------------------------------------------------------- arguments */

/* Where the arguments have tensor i; NULL where there are no stats. */
static const attn_tensor **slot_of(const attn_forward_args *args, const attn_weights_stats *stats, int i)
{
    const char *in = i < ENTROPY ? (const char *)args : (const char *)stats;
    return in == NULL ? NULL : (const attn_tensor **)(uintptr_t)(in + tensors[i].argument);
}

static const attn_tensor *tensor_of(const attn_forward_args *args, const attn_weights_stats *stats, int i)
{
    const attn_tensor **slot = slot_of(args, stats, i);
    return slot == NULL ? NULL : *slot;
}

/* Takes the arguments over, with copies of the tensors. Nothing is checked but the structs themselves. */
static attn_status keep_arguments(attn_plan *plan, const attn_forward_args *given)
{
    attn_forward_args *a = &plan->args;
    attn_weights_stats *s = &plan->stats;
    attn_status status = attn_i_forward_args_read(given, a);
    if (status == ATTN_OK && a->stats != NULL) {
        status = attn_i_stats_read(a->stats, s);
        a->stats = s;
    }
    if (status != ATTN_OK) return status;
    a->struct_size = (uint32_t)sizeof *a;
    s->struct_size = (uint32_t)sizeof *s;
    a->workspace = NULL;
    for (int i = 0; i < TENSORS; i++) {
        const attn_tensor **slot = slot_of(a, s, i);
        if (*slot == NULL) continue;
        plan->tensor[i] = **slot;
        plan->there[plan->count++] = i;
        *slot = &plan->tensor[i];
    }
    return ATTN_OK;
}

static place place_of(const attn_plan *plan)
{
    place now;
    for (int k = 0; k < plan->count; k++) now.data[plan->there[k]] = plan->tensor[plan->there[k]].data;
    now.memory = plan->args.memory;
    now.query_start = plan->args.query_start;
    now.seed = plan->args.dropout_seed;
    now.offset = plan->args.dropout_offset;
    return now;
}

static void set_place(attn_plan *plan, const place *to)
{
    for (int k = 0; k < plan->count; k++) plan->tensor[plan->there[k]].data = to->data[plan->there[k]];
    plan->args.memory = to->memory;
    plan->args.query_start = to->query_start;
    plan->args.dropout_seed = to->seed;
    plan->args.dropout_offset = to->offset;
}

/* 1 if a run is to be where the last one was. */
static int is_there(const attn_plan *plan, const place *to)
{
    const attn_forward_args *a = &plan->args;
    for (int k = 0; k < plan->count; k++) {
        if (plan->tensor[plan->there[k]].data != to->data[plan->there[k]]) return 0;
    }
    return a->memory == to->memory && a->query_start == to->query_start && a->dropout_seed == to->seed &&
           a->dropout_offset == to->offset;
}

static int same_form(const attn_tensor *a, const attn_tensor *b)
{
    if (a->dtype != b->dtype || a->ndim != b->ndim) return 0;
    for (int32_t d = 0; d < b->ndim; d++) {
        if (a->shape[d] != b->shape[d]) return 0;
        if (a->stride[d] != b->stride[d] && b->shape[d] > 1) return 0;
    }
    return 1;
}

static attn_status refuse_form(const char *name, const attn_tensor *got, const attn_tensor *planned)
{
    char texts[4][ATTN_I_SHAPE_TEXT];
    if (got == NULL || planned->ndim == 0) {
        return attn_i_fail(ATTN_ERR_ARGUMENT, got == NULL ? "%s is NULL, but was planned" : "%s was not planned", name);
    }
    if (got->dtype != planned->dtype) {
        return attn_i_fail(ATTN_ERR_DTYPE, "%s is %s, but was planned as %s", name, attn_i_dtype_name(got->dtype),
                           attn_i_dtype_name(planned->dtype));
    }
    if (got->ndim < 1 || got->ndim > 4) {
        return attn_i_fail(ATTN_ERR_SHAPE, "%s has %" PRId32 " dimensions, but was planned with %" PRId32, name,
                           got->ndim, planned->ndim);
    }
    return attn_i_fail(ATTN_ERR_SHAPE, "%s has shape %s and strides %s, but was planned with %s and %s", name,
                       attn_i_shape_text(got->ndim, got->shape, texts[0]),
                       attn_i_shape_text(got->ndim, got->stride, texts[1]),
                       attn_i_shape_text(planned->ndim, planned->shape, texts[2]),
                       attn_i_shape_text(planned->ndim, planned->stride, texts[3]));
}

/* What a run is told, if all but the places is as it was planned. */
static attn_status read_place(const attn_plan *plan, const attn_forward_args *given, place *to)
{
    const attn_forward_args *a, *planned = &plan->args;
    const attn_weights_stats *s = NULL;
    attn_forward_args room;
    attn_weights_stats stats;
    attn_status status = attn_i_forward_args_find(given, &room, &a);
    if (status == ATTN_OK && a->stats != NULL) status = attn_i_stats_read(a->stats, &stats), s = &stats;
    if (status != ATTN_OK) return status;
    to->memory = a->memory;
    to->query_start = a->query_start;
    to->seed = a->dropout_seed;
    to->offset = a->dropout_offset;
    const int count = s != NULL || planned->stats != NULL ? TENSORS : ENTROPY;
    for (int i = 0; i < count; i++) {
        const attn_tensor *new = tensor_of(a, s, i), *old = &plan->tensor[i];
        if (new == NULL && old->ndim == 0) continue;
        if (new == NULL || !same_form(new, old)) return refuse_form(tensors[i].name, new, old);
        to->data[i] = new->data;
    }
    if ((a->memory != NULL) != (planned->memory != NULL)) {
        return attn_i_fail(ATTN_ERR_ARGUMENT, "memory is %s, but was planned", a->memory == NULL ? "NULL" : "there");
    }
    if (a->dropout != planned->dropout) {
        return attn_i_fail(ATTN_ERR_ARGUMENT, "dropout is %g, but was planned as %g", a->dropout, planned->dropout);
    }
    if (a->scores_stage != planned->scores_stage) {
        return attn_i_fail(ATTN_ERR_ARGUMENT, "scores_stage is %" PRId32 ", but was planned as %" PRId32,
                           a->scores_stage, planned->scores_stage);
    }
    if (a->mask_align != planned->mask_align || a->reserved != 0) {
        return attn_i_fail(ATTN_ERR_ARGUMENT, "mask_align is %" PRId32 ", but was planned as %" PRId32, a->mask_align,
                           planned->mask_align);
    }
    return ATTN_OK;
}

/* -------------------------------------------------------------------------------------------- planning */

static snapshot snapshot_of(const attn_memory *m)
{
    if (m == NULL) return (snapshot){.keys = NULL};
    return (snapshot){.mechanism = m->mechanism,
                      .keys = m->keys.data,
                      .values = m->values.data,
                      .table = m->table,
                      .lengths = attn_i_memory_lengths(m).data,
                      .dtype = m->dtype,
                      .ready = m->ready,
                      .batch = m->batch,
                      .key_heads = m->key_heads,
                      .key_dim = m->key_dim,
                      .value_dim = m->value_dim,
                      .capacity = m->capacity,
                      .longest = m->longest};
}

static int is_as_planned(const attn_plan *plan)
{
    const snapshot *was = &plan->memory;
    if (plan->stale || plan->changes != plan->mechanism->changes || plan->forward.relative != 0) return 0;
    if (plan->forward.ragged) return 0; /* each sequence may be of another length */
    if (plan->args.memory == NULL) return 1;
    const snapshot is = snapshot_of(plan->args.memory);
    return is.mechanism == was->mechanism && is.keys == was->keys && is.values == was->values &&
           is.table == was->table && is.lengths == was->lengths && is.dtype == was->dtype && is.ready == was->ready &&
           is.batch == was->batch && is.key_heads == was->key_heads && is.key_dim == was->key_dim &&
           is.value_dim == was->value_dim && is.capacity == was->capacity && is.longest == was->longest;
}

static attn_status find_scratch(attn_plan *plan)
{
    const attn_i_allocator *allocator = &plan->mechanism->engine->allocator;
    const int64_t bytes = plan->forward.scratch;
    if (bytes <= plan->allocated) return ATTN_OK;
    void *scratch = attn_i_allocate(allocator, (size_t)bytes);
    if (scratch == NULL) {
        return attn_i_fail(ATTN_ERR_NOMEM, "no memory for %" PRId64 " bytes of scratch", bytes);
    }
    if (plan->scratch != NULL) attn_i_release(allocator, plan->scratch, (size_t)plan->allocated);
    plan->scratch = scratch;
    plan->allocated = bytes;
    return ATTN_OK;
}

/* Checks everything that can be wrong. */
static attn_status make(attn_plan *plan)
{
    plan->stale = 1;
    attn_status status = attn_i_problem_check(plan->mechanism, &plan->args, &plan->forward.problem);
    if (status == ATTN_OK) status = attn_i_forward_plan_make(&plan->forward);
    if (status == ATTN_OK) status = find_scratch(plan);
    if (status != ATTN_OK) return status;
    attn_i_forward_begin(&plan->forward, plan->scratch);
    plan->stale = 0;
    plan->changes = plan->mechanism->changes;
    plan->memory = snapshot_of(plan->args.memory);
    return ATTN_OK;
}

/* ---------------------------------------------------------------------------------------------- moving */

/* Whether a tensor can lie there as it lay where its view is. */
static int suits(const attn_i_view *view, const void *data)
{
    const uintptr_t at = (uintptr_t)data, below = (uintptr_t)(view->data - view->first);
    return data != NULL && (at & (uintptr_t)(view->size - 1)) == 0 && at >= below &&
           UINTPTR_MAX - at >= (uintptr_t)(view->end - view->data);
}

static void move_view(attn_i_view *view, void *data)
{
    const ptrdiff_t below = view->data - view->first, above = view->end - view->data;
    view->data = data;
    view->first = (char *)data - below;
    view->end = (char *)data + above;
}

static void move_views(attn_plan *plan, const place *to)
{
    attn_i_problem *p = &plan->forward.problem;
    for (int k = 0; k < plan->count; k++) {
        attn_i_view *view = view_of(plan, plan->there[k]);
        if (view->first < view->end) move_view(view, to->data[plan->there[k]]);
    }
    if (p->keys_are_values) p->value = p->key, p->value_scales = p->key_scales;
    p->query_start = to->query_start;
    p->dropout.draw.seed = to->seed;
    p->dropout.draw.offset = to->offset;
}

/* Moves a plan that is as it was planned. */
static attn_status move(attn_plan *plan, const place *from, const place *to)
{
    attn_i_view view;
    for (int k = 0; k < plan->count; k++) {
        const int i = plan->there[k];
        const attn_i_view *old = view_of(plan, i);
        if (to->data[i] == from->data[i] || old->first == old->end || suits(old, to->data[i])) continue;
        attn_tensor tensor = plan->tensor[i];
        tensor.data = to->data[i];
        return attn_i_tensor_check(&tensor, tensors[i].name, 4, &view);
    }
    attn_status status =
        to->query_start == from->query_start ? ATTN_OK : attn_i_query_start_check(plan->mechanism, to->query_start);
    if (status != ATTN_OK) return status;
    move_views(plan, to);
    return attn_i_problem_check_overlap(&plan->forward.problem);
}

static attn_status check_lengths(const attn_plan *plan)
{
    attn_i_view view;
    if (plan->tensor[LENGTHS].ndim == 0) return ATTN_OK;
    return attn_i_integers_check(&plan->tensor[LENGTHS], tensors[LENGTHS].name, plan->forward.problem.keys, &view);
}

/* -------------------------------------------------------------------------------------------- functions */

static void release(attn_plan *plan)
{
    const attn_mechanism *mechanism = plan->mechanism;
    const attn_i_allocator *allocator = &mechanism->engine->allocator;
    if (plan->scratch != NULL) attn_i_release(allocator, plan->scratch, (size_t)plan->allocated);
    attn_i_release(allocator, plan, sizeof *plan);
}

attn_status attn_plan_create(const attn_mechanism *mechanism, const attn_forward_args *args, attn_plan **plan)
{
    static const char where[] = "attn_plan_create";
    if (mechanism == NULL || plan == NULL) {
        return attn_i_fail(ATTN_ERR_ARGUMENT, "%s: %s is NULL", where, mechanism == NULL ? "mechanism" : "plan");
    }
    attn_plan *made = attn_i_allocate(&mechanism->engine->allocator, sizeof *made);
    if (made == NULL) return attn_i_fail(ATTN_ERR_NOMEM, "%s: no memory for a plan", where);
    *made = (attn_plan){.mechanism = mechanism, .running = ATOMIC_FLAG_INIT};
    attn_status status = keep_arguments(made, args);
    if (status == ATTN_OK) status = make(made);
    if (status != ATTN_OK) {
        release(made);
        return attn_i_fail_in(where, status);
    }
    attn_i_mechanism_take(mechanism);
    *plan = made;
    return ATTN_OK;
}

/* Brings the plan to where a run is to be. */
static attn_status follow(attn_plan *plan, const attn_forward_args *args)
{
    place to;
    attn_status status = args == NULL ? ATTN_OK : read_place(plan, args, &to);
    if (status != ATTN_OK) return status;
    if (args == NULL || is_there(plan, &to)) return is_as_planned(plan) ? check_lengths(plan) : make(plan);
    const place from = place_of(plan);
    set_place(plan, &to);
    if (is_as_planned(plan)) {
        status = move(plan, &from, &to);
        if (status == ATTN_OK) status = check_lengths(plan);
        if (status != ATTN_OK) move_views(plan, &from);
    } else {
        status = make(plan);
    }
    if (status != ATTN_OK) set_place(plan, &from);
    return status;
}

attn_status attn_plan_run(attn_plan *plan, const attn_forward_args *args)
{
    static const char where[] = "attn_plan_run";
    if (plan == NULL) return attn_i_fail(ATTN_ERR_ARGUMENT, "%s: plan is NULL", where);
    if (atomic_flag_test_and_set_explicit(&plan->running, memory_order_acquire)) {
        return attn_i_fail(ATTN_ERR_ARGUMENT, "%s: the plan is being run by another thread", where);
    }
    attn_status status = follow(plan, args);
    if (status == ATTN_OK) attn_i_forward_run(&plan->forward);
    atomic_flag_clear_explicit(&plan->running, memory_order_release);
    return status == ATTN_OK ? ATTN_OK : attn_i_fail_in(where, status);
}

void attn_plan_destroy(attn_plan *plan)
{
    if (plan == NULL) return;
    const attn_mechanism *mechanism = plan->mechanism;
    release(plan);
    attn_i_mechanism_drop(mechanism);
}
