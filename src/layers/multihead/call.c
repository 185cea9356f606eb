/* SPDX-License-Identifier: BSD-3-Clause
 *
 * layers/multihead/call.c: one call of a layer of heads: the check of its arguments, where its rows lie, and the
 * attention in the middle. */
#include "layers/multihead/call.h"

#include "call/ragged.h"
#include "handles/memory.h"
#include "handles/status.h"
#include "handles/structs.h"
#include "runtime/size.h"

#include <assert.h>
#include <inttypes.h>
#include <stddef.h>

static const char *const input_names[ATTN_I_PARTS] = {"query", "key", "value"};
static const char *const dim_names[ATTN_I_PARTS] = {"query_dim", "key_dim", "value_dim"};

/* ------------------------------------------------------------------------------------------- arguments */

static attn_status check_input(attn_i_multihead_call *c, int i, const attn_tensor *tensor)
{
    attn_i_view *view = &c->input[i];
    const int source = i == ATTN_I_QUERY ? i : c->source[i - 1];
    c->source[i] = i;
    if (tensor == NULL && i == ATTN_I_QUERY) return attn_i_fail(ATTN_ERR_ARGUMENT, "query is NULL");
    if (tensor != NULL && c->args.attend_only && i != ATTN_I_QUERY) {
        return attn_i_fail(ATTN_ERR_ARGUMENT, "attend_only is 1, but there is a %s", input_names[i]);
    }
    if (tensor == NULL) {
        if (!c->args.attend_only && c->m->input_dim[i] != c->m->input_dim[source]) {
            return attn_i_fail(ATTN_ERR_SHAPE,
                               "%s is NULL and %s stands for it, but %s is %" PRId64 " and %s is %" PRId64,
                               input_names[i], input_names[source], dim_names[i], c->m->input_dim[i], dim_names[source],
                               c->m->input_dim[source]);
        }
        c->source[i] = source;
        return ATTN_OK;
    }
    attn_status status = attn_i_tensor_check_number(tensor, input_names[i], 3, view);
    if (status != ATTN_OK) return status;
    if (i == ATTN_I_QUERY) c->given = tensor->dtype;
    if (tensor->dtype != c->given) {
        return attn_i_fail(ATTN_ERR_DTYPE, "%s is %s, but query is %s", input_names[i],
                           attn_i_dtype_name(tensor->dtype), attn_i_dtype_name(c->given));
    }
    if (view->shape[3] != c->m->input_dim[i]) {
        return attn_i_fail(ATTN_ERR_SHAPE, "%s has dimension %" PRId64 ", but the layer's %s is %" PRId64,
                           input_names[i], view->shape[3], dim_names[i], c->m->input_dim[i]);
    }
    return ATTN_OK;
}

/* The rows of a part's input, of which `offsets`, if there are any, says whose they are. Sets *batch to the sequences.
 */
static attn_status check_extent(attn_i_multihead_call *c, int part, const attn_tensor *offsets, int64_t *batch)
{
    const char *offsets_name = part == ATTN_I_QUERY ? "attention->query_offsets" : "attention->key_offsets";
    const attn_i_view *view = &c->input[c->source[part]];
    attn_i_multihead_extent *e = &c->extent[part];
    *e = (attn_i_multihead_extent){.batch = view->shape[1], .length = view->shape[2]};
    *batch = e->batch;
    if (!attn_i_multiply(e->batch, e->length, &e->count) || e->count > ATTN_I_MOST_POSITIONS) {
        return attn_i_fail(ATTN_ERR_OVERFLOW, "batch %" PRId64 " x %" PRId64 " %s cannot be counted", e->batch,
                           e->length, part == ATTN_I_QUERY ? "queries" : "keys");
    }
    if (offsets == NULL) return ATTN_OK;
    if (e->batch != 1) {
        return attn_i_fail(ATTN_ERR_SHAPE, "%s has batch %" PRId64 ", but with %s it must be 1", input_names[part],
                           e->batch, offsets_name);
    }
    attn_status status = attn_i_ragged_read_offsets(offsets, offsets_name, &e->offsets);
    if (status != ATTN_OK) return status;
    *batch = e->offsets.shape[3] - 1;
    status = attn_i_ragged_check_end(&e->offsets, offsets_name, input_names[part], "rows", e->length);
    e->first = attn_i_integer(&e->offsets, 0);
    e->count = attn_i_integer(&e->offsets, *batch) - e->first;
    return status;
}

/* In self-attention the queries' rows are those of the keys. */
static attn_status check_rows(attn_i_multihead_call *c)
{
    const int self = c->source[ATTN_I_KEY] == ATTN_I_QUERY;
    int64_t keys;
    if (self && c->attention.key_offsets != NULL) {
        return attn_i_fail(ATTN_ERR_ARGUMENT, "attention->key_offsets is not NULL, but key is: query_offsets say it");
    }
    attn_status status = check_extent(c, ATTN_I_QUERY, c->attention.query_offsets, &c->batch);
    c->extent[ATTN_I_KEY] = c->extent[ATTN_I_VALUE] = c->extent[ATTN_I_QUERY];
    if (self || status != ATTN_OK) return status;
    status = check_extent(c, ATTN_I_KEY, c->attention.key_offsets, &keys);
    if (status != ATTN_OK) return status;
    const attn_i_multihead_extent *e = &c->extent[ATTN_I_KEY];
    c->extent[ATTN_I_VALUE] = *e;
    if (keys != c->batch) {
        return attn_i_fail(ATTN_ERR_SHAPE, "key has batch %" PRId64 ", but query has %" PRId64, keys, c->batch);
    }
    const attn_i_view *z = &c->input[c->source[ATTN_I_VALUE]];
    if (z->shape[1] != e->batch) {
        return attn_i_fail(ATTN_ERR_SHAPE, "value has batch %" PRId64 ", but key has %" PRId64, z->shape[1], e->batch);
    }
    if (z->shape[2] == e->length) return ATTN_OK;
    return attn_i_fail(ATTN_ERR_SHAPE, "value has length %" PRId64 ", but there are %" PRId64 " keys", z->shape[2],
                       e->length);
}

static attn_status check_attention(attn_i_multihead_call *c, int backward)
{
    c->attention = (attn_forward_args)ATTN_FORWARD_ARGS_INIT;
    if (c->args.attention == NULL) return ATTN_OK;
    attn_status status = attn_i_forward_args_read(c->args.attention, &c->attention);
    if (status != ATTN_OK) return attn_i_fail_in("attention", status);
    const struct {
        const char *name;
        const void *tensor;
    } ours[] = {{"query", c->attention.query},
                {"key", c->attention.key},
                {"value", c->attention.value},
                {"context", c->attention.context}};
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++) {
        if (ours[i].tensor == NULL) continue;
        return attn_i_fail(ATTN_ERR_ARGUMENT, "attention->%s is not NULL, but the layer makes it", ours[i].name);
    }
    const struct {
        const char *name;
        const void *tensor;
    } nobodys[] = {{"page_table", c->attention.page_table}, {"page_offsets", c->attention.page_offsets}};
    for (size_t i = 0; i < sizeof nobodys / sizeof *nobodys; i++) {
        if (nobodys[i].tensor == NULL) continue;
        return attn_i_fail(ATTN_ERR_UNSUPPORTED, "attention->%s is not NULL, but a layer makes its keys",
                           nobodys[i].name);
    }
    if (backward) {
        c->attention.weights = c->attention.scores = c->attention.logsumexp = NULL;
        c->attention.scores_stage = ATTN_SCORES_RAW;
        c->attention.stats = NULL;
    }
    return ATTN_OK;
}

static attn_status check_output(attn_i_multihead_call *c)
{
    const attn_i_multihead_extent *e = &c->extent[ATTN_I_QUERY];
    const int64_t shape[4] = {1, e->batch, e->length, c->m->output_dim};
    if (c->args.output == NULL) return attn_i_fail(ATTN_ERR_ARGUMENT, "output is NULL");
    return attn_i_problem_given_output(&c->means, c->args.output, "output", "[B, Tq, output_dim]", shape, &c->output);
}

static attn_status check_saved(attn_i_multihead_call *c)
{
    size_t bytes;
    if (c->args.saved == NULL) return ATTN_OK;
    attn_status status = attn_i_multihead_saved_bytes(c, &bytes);
    if (status != ATTN_OK) return status;
    if (c->args.saved_size < bytes) {
        return attn_i_fail(ATTN_ERR_BUFFER, "saved_size is %zu, but %zu bytes are needed", c->args.saved_size, bytes);
    }
    char *data = c->args.saved;
    const uintptr_t misaligned = (uintptr_t)data % ATTN_I_ALIGNMENT;
    c->saved = (attn_i_view){
        .data = data + (misaligned == 0 ? 0 : ATTN_I_ALIGNMENT - misaligned), .first = data, .end = data + bytes};
    return ATTN_OK;
}

static attn_status check_memory(attn_i_multihead_call *c, int backward)
{
    const attn_memory *memory = c->args.memory;
    const attn_multihead *m = c->m;
    if (memory == NULL) return ATTN_OK;
    if (backward) return attn_i_fail(ATTN_ERR_UNSUPPORTED, "memory has no gradients");
    if (c->args.saved != NULL) return attn_i_fail(ATTN_ERR_ARGUMENT, "there are both saved and memory");
    if (memory->mechanism != m->mechanism) {
        return attn_i_fail(ATTN_ERR_ARGUMENT, "memory was made for another mechanism");
    }
    if (memory->ready != ATTN_I_RAW || memory->turns || memory->value_dim == 0) {
        return attn_i_fail(ATTN_ERR_UNSUPPORTED, "memory %s",
                           memory->turns            ? "turns its keys"
                           : memory->value_dim == 0 ? "holds keys alone"
                                                    : "holds projected keys");
    }
    attn_status status = attn_i_problem_check_kept(&c->means, memory);
    if (status != ATTN_OK) return status;
    if (memory->batch != c->batch || memory->key_heads != m->key_heads || memory->key_dim != m->head_dim[ATTN_I_KEY] ||
        memory->value_dim != m->head_dim[ATTN_I_VALUE]) {
        char got[ATTN_I_SHAPE_TEXT], wanted[ATTN_I_SHAPE_TEXT];
        const int64_t has[4] = {memory->batch, memory->key_heads, memory->key_dim, memory->value_dim};
        const int64_t needs[4] = {c->batch, m->key_heads, m->head_dim[ATTN_I_KEY], m->head_dim[ATTN_I_VALUE]};
        return attn_i_fail(ATTN_ERR_SHAPE, "memory has batch, heads and dimensions %s, but %s are needed",
                           attn_i_shape_text(4, has, got), attn_i_shape_text(4, needs, wanted));
    }
    c->memory = c->args.memory;
    c->growth = (attn_i_growth){.offsets = c->extent[ATTN_I_KEY].offsets, .each = c->extent[ATTN_I_KEY].length};
    return ATTN_OK;
}

/* Parts of one input are made by one product where one parameter has them. */
static void make_groups(attn_i_multihead_call *c)
{
    const int parts = c->args.attend_only ? ATTN_I_QUERY + 1 : ATTN_I_PARTS;
    for (int i = 0; i < parts; i++) {
        const int joins = i > 0 && (c->m->flags & ATTN_MULTIHEAD_PACKED) != 0 && c->source[i] == c->source[i - 1];
        if (joins) c->groups[c->group_count - 1].count++;
        if (!joins) c->groups[c->group_count++] = (attn_i_multihead_group){i, 1};
    }
}

attn_status attn_i_multihead_args_read(const attn_multihead_args *given, const char *name, attn_multihead_args *args)
{
    if (given == NULL) return attn_i_fail(ATTN_ERR_ARGUMENT, "%s is NULL", name);
    return attn_i_struct_read(args, sizeof *args, offsetof(attn_multihead_args, positions), given, given->struct_size,
                              "attn_multihead_args");
}

attn_status attn_i_multihead_check(const attn_multihead *multihead, const attn_multihead_args *args, int backward,
                                   attn_i_multihead_call *c)
{
    attn_status status = ATTN_OK;
    if (multihead == NULL) return attn_i_fail(ATTN_ERR_ARGUMENT, "multihead is NULL");
    *c = (attn_i_multihead_call){.m = multihead, .args = *args};
    if (c->args.attend_only != 0 && (c->args.attend_only != 1 || c->args.memory == NULL)) {
        return attn_i_fail(ATTN_ERR_ARGUMENT, "attend_only is %" PRId32 "%s", c->args.attend_only,
                           c->args.memory == NULL ? ", but there is no memory" : "");
    }
    const attn_tensor *inputs[ATTN_I_PARTS] = {c->args.query, c->args.key, c->args.value};
    for (int i = 0; i < ATTN_I_PARTS && status == ATTN_OK; i++) status = check_input(c, i, inputs[i]);
    if (status == ATTN_OK) status = check_attention(c, backward);
    if (status == ATTN_OK) status = check_rows(c);
    if (status == ATTN_OK) status = attn_i_multihead_check_positions(c);
    if (status != ATTN_OK) return status;
    c->dtype = attn_i_dtype_computed(c->given);
    c->size = attn_i_dtype_size(c->dtype);
    c->storage = attn_i_storage_of(multihead->engine, c->given);
    c->means = (attn_i_problem){.engine = multihead->engine,
                                .kernels = c->storage.kernels,
                                .dtype = c->dtype,
                                .stored = c->dtype,
                                .given = c->given,
                                .size = c->size};
    make_groups(c);
    status = attn_i_params_check(multihead->params, multihead->param_count, attn_i_multihead_name, c->given);
    if (status == ATTN_OK) status = check_memory(c, backward);
    if (status == ATTN_OK && !backward) status = check_output(c);
    return status == ATTN_OK ? check_saved(c) : status;
}

int attn_i_multihead_list_inputs(const attn_i_multihead_call *c, attn_i_named_view *list, int count)
{
    for (int i = 0; i < ATTN_I_PARTS; i++) {
        count = attn_i_list_add(list, count, "", input_names[i], &c->input[i]);
    }
    count = attn_i_list_add(list, count, "", "positions", &c->extent[ATTN_I_QUERY].positions);
    if (c->source[ATTN_I_KEY] != ATTN_I_QUERY) {
        count = attn_i_list_add(list, count, "", "key_positions", &c->extent[ATTN_I_KEY].positions);
    }
    for (int32_t i = 0; i < c->m->param_count; i++) {
        count = attn_i_list_add(list, count, "parameter ", c->m->params[i].name, &c->m->params[i].view);
    }
    return count;
}

/* ------------------------------------------------------------------------------------------------ rows */

/* Rows whose distance is an odd number of cache lines: were it a power of two of them, the keys of a head would push
 * each other out of the cache. */
static attn_i_matrix carve_rows(const attn_i_multihead_call *c, attn_i_arena *arena, int64_t rows, int64_t columns)
{
    const int64_t line = ATTN_I_ALIGNMENT / c->size;
    int64_t stride = 0;
    if (!attn_i_multiply(attn_i_divide_up(columns, line) | 1, line, &stride)) arena->overflow = 1;
    return (attn_i_matrix){attn_i_carve_matrix(arena, rows, stride, c->size), rows, columns, stride, 1};
}

static int64_t row_count(const attn_i_multihead_extent *e)
{
    return e->batch * e->length;
}

attn_i_matrix attn_i_multihead_used(const attn_i_multihead_call *c, int part, attn_i_matrix rows)
{
    return attn_i_matrix_rows(rows, c->extent[part].first, c->extent[part].count, c->size);
}

attn_i_matrix attn_i_multihead_columns(const attn_i_multihead_call *c, const attn_i_multihead_rows *rows,
                                       attn_i_multihead_group group)
{
    attn_i_matrix columns = attn_i_multihead_used(c, group.first, rows->part[group.first]);
    for (int i = 1; i < group.count; i++) columns.columns += rows->part[group.first + i].columns;
    return columns;
}

void attn_i_multihead_lay_out_parts(const attn_i_multihead_call *c, attn_i_arena *arena, attn_i_multihead_rows *rows)
{
    const int self = c->source[ATTN_I_KEY] == ATTN_I_QUERY;
    for (int i = 0, end; i < ATTN_I_PARTS; i = end) {
        int64_t all = 0;
        end = i == 0 && !self ? 1 : ATTN_I_PARTS;
        for (int k = i; k < end; k++) arena->overflow |= !attn_i_add(all, c->m->width[k], &all);
        attn_i_matrix side = carve_rows(c, arena, row_count(&c->extent[i]), all);
        for (int k = i; k < end; k++) {
            side.columns = c->m->width[k];
            rows->part[k] = side;
            if (side.data != NULL) side.data += side.columns * c->size;
        }
    }
}

void attn_i_multihead_lay_out_context(const attn_i_multihead_call *c, attn_i_arena *arena, attn_i_multihead_rows *rows)
{
    rows->context = carve_rows(c, arena, row_count(&c->extent[ATTN_I_QUERY]), c->m->context_width);
}

void attn_i_multihead_lay_out_logsumexp(const attn_i_multihead_call *c, attn_i_arena *arena,
                                        attn_i_multihead_rows *rows)
{
    rows->logsumexp = attn_i_carve_matrix(arena, row_count(&c->extent[ATTN_I_QUERY]), c->m->query_heads,
                                          (int64_t)sizeof *rows->logsumexp);
}

attn_status attn_i_multihead_saved_bytes(const attn_i_multihead_call *c, size_t *bytes)
{
    attn_i_arena arena = {.base = NULL};
    attn_i_multihead_rows rows;
    attn_i_multihead_lay_out_parts(c, &arena, &rows);
    attn_i_multihead_lay_out_context(c, &arena, &rows);
    attn_i_multihead_lay_out_logsumexp(c, &arena, &rows);
    if (arena.overflow || !attn_i_add(arena.used, ATTN_I_ALIGNMENT - 1, &arena.used)) {
        return attn_i_fail(ATTN_ERR_OVERFLOW, "what is saved for these shapes cannot be addressed");
    }
    if (bytes == NULL) return attn_i_fail(ATTN_ERR_ARGUMENT, "bytes is NULL");
    *bytes = (size_t)arena.used;
    return ATTN_OK;
}

/* Where rows that are not there yet are said to be. */
static _Alignas(ATTN_I_ALIGNMENT) char later[ATTN_I_ALIGNMENT];

/* Where the rows could be laid out, so can be what lies between sequences; or there are none. */
static attn_tensor heads_of(const attn_i_multihead_call *c, int part, attn_i_matrix rows, int64_t heads)
{
    const attn_i_multihead_extent *e = &c->extent[part];
    const int64_t dim = rows.columns / heads;
    return (attn_tensor){.data = rows.data == NULL ? later : rows.data,
                         .dtype = c->dtype,
                         .ndim = 4,
                         .shape = {e->batch, heads, e->length, dim},
                         .stride = {attn_i_multiply_most(e->length, rows.row_stride), dim, rows.row_stride, 1}};
}

attn_tensor attn_i_multihead_heads(const attn_i_multihead_call *c, const attn_i_multihead_rows *rows, int part)
{
    return heads_of(c, part, rows->part[part], part == ATTN_I_QUERY ? c->m->query_heads : c->m->key_heads);
}

attn_tensor attn_i_multihead_context(const attn_i_multihead_call *c, const attn_i_multihead_rows *rows)
{
    return heads_of(c, ATTN_I_QUERY, rows->context, c->m->query_heads);
}

attn_tensor attn_i_multihead_logsumexp(const attn_i_multihead_call *c, const attn_i_multihead_rows *rows)
{
    const attn_i_multihead_extent *e = &c->extent[ATTN_I_QUERY];
    const int64_t heads = c->m->query_heads;
    return (attn_tensor){.data = rows->logsumexp == NULL ? (void *)later : rows->logsumexp,
                         .dtype = ATTN_F64,
                         .ndim = 3,
                         .shape = {e->batch, heads, e->length, 1},
                         .stride = {attn_i_multiply_most(heads, e->length), e->length, 1, 1}};
}

/* ------------------------------------------------------------------------------------------- attention */

static void hide(attn_i_view *view)
{
    view->first = view->end = view->data;
}

/* The caller wants it too. */
static void give_logsumexp(const attn_i_multihead_call *c, const attn_i_view *from, const attn_i_view *to)
{
    const attn_i_multihead_extent *e = &c->extent[ATTN_I_QUERY];
    const int64_t end = e->offsets.data != NULL ? e->first + e->count : e->length;
    if (attn_i_view_is_empty(to)) return;
    for (int64_t b = 0; b < e->batch; b++) {
        for (int64_t h = 0; h < c->m->query_heads; h++) {
            for (int64_t i = e->first; i < end; i++) {
                attn_i_logsumexp_set(to, b, h, i, attn_i_logsumexp_get(from, b, h, i));
            }
        }
    }
}

attn_status attn_i_multihead_attend(attn_i_multihead_call *c, attn_i_multihead_scratch *scratch,
                                    const attn_i_multihead_rows *rows, int outputs)
{
    const attn_tensor query = attn_i_multihead_heads(c, rows, ATTN_I_QUERY);
    const attn_tensor key = attn_i_multihead_heads(c, rows, ATTN_I_KEY);
    const attn_tensor value = attn_i_multihead_heads(c, rows, ATTN_I_VALUE);
    const attn_tensor context = attn_i_multihead_context(c, rows);
    const attn_tensor logsumexp = attn_i_multihead_logsumexp(c, rows);
    const int keeps = !outputs || c->saved.data != NULL, callers = c->attention.logsumexp != NULL;
    attn_forward_args args = c->attention;
    attn_i_problem *p = &c->plan.problem;
    args.query = &query;
    args.key = c->memory == NULL ? &key : NULL;
    args.value = c->memory == NULL ? &value : NULL;
    args.memory = c->memory;
    if (c->source[ATTN_I_KEY] == ATTN_I_QUERY) args.key_offsets = args.query_offsets;
    if (c->memory != NULL) args.key_offsets = NULL;
    args.context = &context;
    if (keeps && !callers) args.logsumexp = &logsumexp;
    attn_status status = attn_i_problem_check_inner(c->m->mechanism, &args, c->given, p);
    const attn_i_view wanted = p->logsumexp;
    if (status == ATTN_OK && keeps && callers) {
        status = attn_i_tensor_check(&logsumexp, "logsumexp", logsumexp.ndim, &p->logsumexp);
    }
    if (status == ATTN_OK) status = attn_i_forward_plan_make(&c->plan);
    if (status != ATTN_OK) return status;
    hide(&p->query);
    if (c->memory == NULL) hide(&p->key);
    if (c->memory == NULL) hide(&p->value);
    hide(&p->context);
    if (!callers) hide(&p->logsumexp);
    attn_i_arena stage = attn_i_multihead_begin(scratch);
    void *own = attn_i_carve(&stage, c->plan.scratch, 1);
    attn_i_multihead_end(scratch, &stage);
    if (stage.base != NULL) {
        attn_i_forward_begin(&c->plan, own);
        attn_i_forward_run(&c->plan);
        if (keeps && callers) give_logsumexp(c, &p->logsumexp, &wanted);
    }
    if (callers) p->logsumexp = wanted;
    return ATTN_OK;
}
