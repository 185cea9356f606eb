/* SPDX-License-Identifier: BSD-3-Clause
 *
 * layers/memory/append.c: appending to a memory: keys are made ready and, with the values, copied past the end of each
 * sequence; lengths move when all is there. */
#include "layers/memory/append.h"

#include "call/ragged.h"
#include "call/scratch.h"
#include "call/visible.h"
#include "call/wide.h"
#include "handles/engine.h"
#include "handles/lengths.h"
#include "handles/status.h"
#include "layers/memory/keep.h"
#include "runtime/blas.h"
#include "runtime/size.h"
#include "score/score.h"
#include "tiles/source.h"

#include <inttypes.h>
#include <string.h>

enum { CHUNK_ELEMENTS = 1 << 22 }; /* of keys that are made ready at a time, unless one key head has more */

attn_i_problem attn_i_memory_problem(const attn_memory *m, int64_t keys)
{
    const attn_mechanism *mechanism = m->mechanism;
    return (attn_i_problem){.mechanism = mechanism,
                            .modifiers = &mechanism->modifiers,
                            .engine = m->engine,
                            .kernels = attn_i_engine_kernels(m->engine, m->computed),
                            .dtype = m->computed,
                            .stored = m->dtype,
                            .size = attn_i_dtype_size(m->computed),
                            .batch = m->batch,
                            .query_heads = m->key_heads,
                            .key_heads = m->key_heads,
                            .group = 1,
                            .keys = keys,
                            .query_dim = mechanism->query_dim > 0 ? mechanism->query_dim : attn_i_max(m->key_dim, 1),
                            .key_dim = m->key_dim,
                            .value_dim = attn_i_memory_value_dim(m)};
}

/* One call. */
typedef struct append {
    attn_memory *m;
    attn_i_problem p; /* its keys and values are what is appended */
    attn_dtype given; /* of these */
    attn_i_wide wide; /* of the mechanism's parameters, where keys are projected */
    attn_i_view params[ATTN_I_MOST_PARAMS];
    attn_i_growth growth;
    attn_i_sources sources; /* of keys that are converted */
    int64_t heads;          /* of a chunk */
    attn_i_score_state state;
    attn_i_operand key; /* of one key head, for keys that are prepared only; or, where they come in another type: */
    float *widened;     /* [keys][Dk] */
    float *turned;      /* [key heads][TURNED][Dk], where they are turned first */
    attn_status status; /* of turning them */
} append;

/* 1 if keys are turned on their way into the memory, not in it. */
static int turns_first(const append *a)
{
    return a->m->turns && a->m->keys.dtype == ATTN_I8;
}

static int64_t count_of(const append *a, int64_t b)
{
    return attn_i_growth_rows(&a->growth, b);
}

/* The sequences that are given rows of batch `of` of the tensors: one, or in a ragged batch all. */
static attn_i_span sequences_of(const append *a, int64_t of)
{
    if (a->growth.offsets.data != NULL) return (attn_i_span){0, a->m->batch};
    return (attn_i_span){of, of + 1};
}

/* Element 0 of what sequence b is given as its row i. */
static const char *given_row(const append *a, const attn_i_view *from, int64_t b, int64_t h, int64_t i)
{
    return attn_i_view_element(from, attn_i_growth_batch(&a->growth, b), h, attn_i_growth_first(&a->growth, b) + i, 0);
}

/* Integers are made of whatever is computed in float32, keys and values of one type. */
static attn_status check_quantised(const attn_tensor *first, const char *name, attn_i_reals *reals)
{
    if (first == NULL) return ATTN_OK;
    *reals = (attn_i_reals){first->dtype, name};
    if (attn_i_dtype_computed(first->dtype) == ATTN_F32) return ATTN_OK;
    return attn_i_fail(ATTN_ERR_DTYPE, "%s is %s, but the memory is ATTN_I8, which is made of ATTN_F32, _F16 or _BF16",
                       name, attn_i_dtype_name(first->dtype));
}

/* How many rows of the tensors each sequence is given; `rows` names the tensor that they are. */
static attn_status check_growth(append *a, const attn_tensor *counts, const attn_tensor *offsets, const char *rows)
{
    const int ragged = offsets != NULL;
    attn_i_growth *g = &a->growth;
    const attn_i_view *given = ragged ? &g->offsets : &g->counts;
    attn_status status = ATTN_OK;
    g->each = a->p.keys;
    if (ragged) status = attn_i_ragged_read_offsets(offsets, "offsets", &g->offsets);
    if (counts != NULL) status = attn_i_integers_check(counts, "counts", a->p.keys, &g->counts);
    if (status != ATTN_OK || given->data == NULL) return status;
    if (given->shape[3] - ragged != a->m->batch) {
        return attn_i_fail(ATTN_ERR_SHAPE, "%s has %" PRId64 " elements, but there are %" PRId64 " sequences",
                           ragged ? "offsets" : "counts", given->shape[3], a->m->batch);
    }
    return ragged ? attn_i_ragged_check_end(given, "offsets", rows, "rows", a->p.keys) : ATTN_OK;
}

static attn_status check(append *a, const attn_tensor *key, const attn_tensor *value, const attn_tensor *counts,
                         const attn_tensor *offsets)
{
    const attn_memory *m = a->m;
    const int alone = (m->flags & ATTN_MEMORY_KEYS_ALONE) != 0, wants_key = m->key_dim > 0;
    if ((key == NULL) == wants_key) {
        return attn_i_fail(ATTN_ERR_ARGUMENT, key == NULL ? "key is NULL" : "there is a key, but no key is read");
    }
    if ((value == NULL) == !alone) {
        return attn_i_fail(ATTN_ERR_ARGUMENT,
                           value == NULL ? "value is NULL" : "there is a value, but the keys are the values");
    }
    attn_i_problem *p = &a->p;
    attn_i_reals reals = {m->dtype, "the memory"};
    attn_status status = ATTN_OK;
    if (m->dtype == ATTN_I8) status = check_quantised(key != NULL ? key : value, key != NULL ? "key" : "value", &reals);
    if (status == ATTN_OK) status = attn_i_real(reals, key, "key", &p->key);
    if (status == ATTN_OK) status = attn_i_real(reals, value, "value", &p->value);
    if (status != ATTN_OK) return status;
    a->given = reals.dtype;
    p->keys = key != NULL ? p->key.shape[2] : p->value.shape[2];
    if (offsets != NULL) p->batch = 1;
    const int64_t key_shape[4] = {p->batch, m->key_heads, p->keys, m->key_dim};
    const int64_t value_shape[4] = {p->batch, m->key_heads, p->keys, m->value_dim};
    if (key != NULL) status = attn_i_view_has_shape(&p->key, "key", "[B, Hk, n, Dk]", key_shape);
    if (status == ATTN_OK && value != NULL) {
        status = attn_i_view_has_shape(&p->value, "value", "[B, Hk, n, Dv]", value_shape);
    }
    if (status == ATTN_OK) status = check_growth(a, counts, offsets, key != NULL ? "key" : "value");
    if (status == ATTN_OK && m->ready != ATTN_I_RAW)
        status =
            attn_i_params_check(p->mechanism->params, p->mechanism->param_count, p->mechanism->rule->name, a->given);
    if (alone) p->value = p->key;
    return status;
}

/* ------------------------------------------------------------------------------------- rows as they come */

/* Which row of a store position i past the end of sequence b, head h is. */
static int64_t row_of(const append *a, int64_t b, int64_t h, int64_t i)
{
    return attn_i_memory_row(a->m, b, h, a->m->lengths[b] + i);
}

/* How many of the positions from the i-th on that are appended to sequence b lie one after the other. */
static int64_t run_of(const append *a, int64_t b, int64_t i)
{
    return attn_i_memory_run(a->m, a->m->lengths[b] + i, count_of(a, b) - i);
}

static char *place(const append *a, const attn_i_store *store, int64_t b, int64_t h, int64_t i)
{
    return attn_i_moved(store->data, row_of(a, b, h, i) * store->width * store->size);
}

/* The last count rows of each head become what is kept of them. */
static void keep_rows(const append *a, const attn_i_view *from, const attn_i_store *store, int64_t b, int64_t h)
{
    for (int64_t i = 0; i < count_of(a, b); i++) {
        const attn_i_given_row row = {from->dtype, given_row(a, from, b, h, i), from->stride[3]};
        attn_i_memory_keep(a->m->engine, row, store, row_of(a, b, h, i));
    }
}

static void copy_raw(const append *a, const attn_i_view *from, const attn_i_store *store)
{
    const attn_memory *m = a->m;
    for (int64_t b = 0; b < m->batch && store->width > 0; b++) {
        for (int64_t h = 0; h < m->key_heads; h++) keep_rows(a, from, store, b, h);
    }
}

void attn_i_memory_put(attn_memory *m, const attn_tensor *key, const attn_tensor *value, const attn_i_growth *growth)
{
    append a = {.m = m, .p = attn_i_memory_problem(m, key->shape[2]), .growth = *growth};
    attn_i_memory_lengthen(m, growth, -1);
    if (attn_i_tensor_check(key, "key", 4, &a.p.key) == ATTN_OK &&
        attn_i_tensor_check(value, "value", 4, &a.p.value) == ATTN_OK) {
        copy_raw(&a, &a.p.key, &m->keys);
        copy_raw(&a, &a.p.value, &m->values);
    }
    attn_i_memory_lengthen(m, growth, 1);
}

/* Keys that are prepared, and converted: by our own products, in which a row's bits do not depend on its neighbours. */
static void lay_out_converted(append *a, attn_i_arena *arena)
{
    a->sources.p = &a->p;
    a->sources.state.own_products = a->sources.state.steady = 1;
    attn_i_score_of(&a->p)->layout(&a->p, arena, &a->sources.state);
    attn_i_sources_find(&a->sources, 1);
    attn_i_sources_widen(&a->sources, a->p.engine->tile_float);
    const int64_t heads = a->p.batch * a->p.key_heads, per_head = attn_i_sources_copied(&a->sources);
    a->heads = attn_i_clamp(CHUNK_ELEMENTS / attn_i_max(per_head, 1), 1, heads);
    attn_i_sources_layout(&a->sources, a->heads, arena);
}

/* Rows that lie together become what is kept of key head h of the sequences that are given them. */
static void keep_converted(const append *a, const attn_i_kept *rows, int64_t batch, int64_t h)
{
    const attn_i_span sequences = sequences_of(a, batch);
    const int64_t width = a->m->keys.width;
    for (int64_t b = sequences.first; b < sequences.end; b++) {
        const int64_t first = attn_i_growth_first(&a->growth, b);
        for (int64_t k = 0, n; k < count_of(a, b); k += n) {
            n = run_of(a, b, k);
            memcpy(place(a, &a->m->keys, b, h, k), attn_i_kept_from(rows, first + k).data,
                   (size_t)(n * width) * sizeof(float));
        }
    }
}

static void append_converted(append *a)
{
    const int64_t heads = a->p.batch * a->p.key_heads;
    attn_i_score_of(&a->p)->load(&a->p, &a->sources.state);
    for (int64_t first = 0; first < heads; first += a->heads) {
        const int64_t count = attn_i_min(a->heads, heads - first);
        attn_i_sources_prepare(&a->sources, first, count);
        for (int64_t i = 0; i < count; i++) {
            attn_i_kept rows;
            attn_i_source_kept(&a->sources, &a->sources.key, i, &rows);
            keep_converted(a, &rows, (first + i) / a->p.key_heads, (first + i) % a->p.key_heads);
        }
    }
}

static void lay_out_prepared(append *a, attn_i_arena *arena)
{
    a->state.own_products = a->state.steady = a->m->computed == ATTN_F32;
    attn_i_score_of(&a->p)->layout(&a->p, arena, &a->state);
    if (a->p.key.dtype == a->p.dtype) {
        a->key = attn_i_operand_layout(arena, attn_i_view_matrix(&a->p.key, 0, 0), 1, a->p.size);
    } else {
        a->widened = attn_i_carve_matrix(arena, a->p.keys, a->p.key_dim, a->p.size);
    }
}

static attn_i_matrix widen(const append *a, int64_t batch, int64_t h)
{
    const attn_i_view *key = &a->p.key;
    const attn_i_stored_kernels *type = attn_i_engine_stored_kernels(a->m->engine, key->dtype);
    for (int64_t i = 0; i < a->p.keys; i++) {
        type->load(a->p.key_dim, attn_i_view_element(key, batch, h, i, 0), key->stride[3],
                   a->widened + i * a->p.key_dim);
    }
    return attn_i_matrix_dense(a->widened, a->p.keys, a->p.key_dim);
}

/* The rows of one head as products can read them. */
static attn_i_matrix readable(append *a, int64_t batch, int64_t h)
{
    if (a->widened != NULL) return widen(a, batch, h);
    const attn_i_matrix from = attn_i_view_matrix(&a->p.key, batch, h);
    if (!a->key.copied) return from;
    a->key.source = from;
    attn_i_operand_load(&a->key, a->p.kernels, a->p.size);
    return a->key.use;
}

static void keep_prepared(const append *a, attn_i_matrix from, int64_t batch, int64_t h)
{
    const attn_i_span sequences = sequences_of(a, batch);
    const attn_memory *m = a->m;
    for (int64_t b = sequences.first; b < sequences.end; b++) {
        const int64_t first = attn_i_growth_first(&a->growth, b);
        for (int64_t k = 0, n; k < count_of(a, b); k += n) {
            n = run_of(a, b, k);
            const attn_i_matrix to = attn_i_matrix_dense(place(a, &m->keys, b, h, k), n, m->keys.width);
            attn_i_score_of(&a->p)->prepare_keys(&a->p, &a->state, attn_i_matrix_rows(from, first + k, n, a->p.size),
                                                 to);
        }
    }
}

static void append_prepared(append *a)
{
    attn_i_score_of(&a->p)->load(&a->p, &a->state);
    for (int64_t batch = 0; batch < a->p.batch; batch++) {
        for (int64_t h = 0; h < a->p.key_heads; h++) keep_prepared(a, readable(a, batch, h), batch, h);
    }
}

/* ------------------------------------------------------------------------------------------------ turning */

/* Keys [heads, count, width] at positions from `first` on, in place. */
static attn_status turn_rows(const append *a, attn_tensor keys, int64_t first)
{
    attn_rope_options rope = a->m->rope;
    rope.first = first;
    return attn_rope(a->m->engine, &rope, &keys, &keys);
}

/* The keys of each sequence that were just copied. */
static attn_status turn(const append *a)
{
    const attn_memory *m = a->m;
    attn_status status = ATTN_OK;
    if (!m->turns || turns_first(a)) return a->status;
    for (int64_t b = 0; b < m->batch && status == ATTN_OK; b++) {
        for (int64_t i = 0, n; i < count_of(a, b) && status == ATTN_OK; i += n) {
            n = run_of(a, b, i);
            const attn_tensor keys = {place(a, &m->keys, b, 0, i),
                                      m->dtype,
                                      3,
                                      {m->key_heads, n, m->keys.width, 1},
                                      {attn_i_memory_head_rows(m) * m->keys.width, m->keys.width, 1, 0}};
            status = turn_rows(a, keys, m->lengths[b] + i);
        }
    }
    return status;
}

/* Keys that become integers are turned before, some positions at a time: rounded keys would be rounded again. */
enum { TURNED = 64 };

static void lay_out_turned(append *a, attn_i_arena *arena)
{
    a->turned = attn_i_carve_matrix(arena, a->m->key_heads * TURNED, a->m->key_dim, (int64_t)sizeof *a->turned);
}

/* Positions first .. first + n - 1 of what is appended to sequence b. */
static attn_status append_some_turned(const append *a, int64_t b, int64_t first, int64_t n)
{
    const attn_memory *m = a->m;
    const attn_i_view *key = &a->p.key;
    const attn_i_stored_kernels *given = attn_i_engine_stored_kernels(m->engine, key->dtype);
    for (int64_t h = 0; h < m->key_heads; h++) {
        for (int64_t i = 0; i < n; i++) {
            given->load(m->key_dim, given_row(a, key, b, h, first + i), key->stride[3],
                        a->turned + (h * n + i) * m->key_dim);
        }
    }
    const attn_tensor rows = {
        a->turned, ATTN_F32, 3, {m->key_heads, n, m->key_dim, 1}, {n * m->key_dim, m->key_dim, 1, 0}};
    const attn_status status = turn_rows(a, rows, m->lengths[b] + first);
    for (int64_t h = 0; h < m->key_heads && status == ATTN_OK; h++) {
        for (int64_t i = 0; i < n; i++) {
            const char *turned = (const char *)(a->turned + (h * n + i) * m->key_dim);
            attn_i_memory_keep(m->engine, (attn_i_given_row){ATTN_F32, turned, 1}, &m->keys,
                               row_of(a, b, h, first + i));
        }
    }
    return status;
}

static void append_turned(append *a)
{
    for (int64_t b = 0; b < a->m->batch; b++) {
        for (int64_t first = 0, n; first < count_of(a, b) && a->status == ATTN_OK; first += n) {
            n = attn_i_min(count_of(a, b) - first, TURNED);
            a->status = append_some_turned(a, b, first, n);
        }
    }
}

static void lay_out_params(append *a, attn_i_arena *arena)
{
    const attn_mechanism *m = a->p.mechanism;
    attn_i_wide_begin(&a->wide, a->m->engine, a->given);
    attn_i_wide_add_params(&a->wide, m->params, m->param_count, a->params);
    attn_i_wide_layout(&a->wide, arena);
    a->p.params = a->params;
}

static void lay_out(append *a, attn_i_arena *arena)
{
    if (a->m->ready != ATTN_I_RAW) lay_out_params(a, arena);
    if (a->m->ready == ATTN_I_CONVERTED) lay_out_converted(a, arena);
    if (a->m->ready == ATTN_I_PREPARED) lay_out_prepared(a, arena);
    if (turns_first(a)) lay_out_turned(a, arena);
}

static void append_rows(void *data, void *scratch)
{
    append *a = data;
    attn_i_arena arena = {.base = scratch};
    if (a->m->ready != ATTN_I_RAW || turns_first(a)) {
        a->sources = (attn_i_sources){.p = NULL};
        a->state = (attn_i_score_state){.own_products = 0};
        lay_out(a, &arena);
    }
    if (a->m->ready != ATTN_I_RAW) attn_i_wide_load(&a->wide, a->m->engine->pool);
    if (a->m->ready == ATTN_I_CONVERTED) append_converted(a);
    if (a->m->ready == ATTN_I_PREPARED) append_prepared(a);
    if (turns_first(a)) {
        append_turned(a);
    } else if (a->m->ready == ATTN_I_RAW) {
        copy_raw(a, &a->p.key, &a->m->keys);
    }
    copy_raw(a, &a->p.value, &a->m->values);
}

static attn_status run(append *a)
{
    attn_i_arena arena = {.base = NULL};
    attn_i_call call = {.engine = a->m->engine, .run = append_rows, .data = a};
    lay_out(a, &arena);
    attn_status status = attn_i_scratch_measured(&arena, &call.scratch);
    if (status == ATTN_OK) status = attn_i_call_run(&call);
    return status == ATTN_OK ? turn(a) : status;
}

static attn_status check_lengths(const append *a)
{
    const attn_memory *m = a->m;
    for (int64_t b = 0; b < m->batch; b++) {
        int64_t length;
        if (attn_i_add(m->lengths[b], count_of(a, b), &length) && length <= ATTN_I_MOST_POSITIONS) continue;
        return attn_i_fail(ATTN_ERR_OVERFLOW, "the positions of sequence %" PRId64 " cannot be counted", b);
    }
    return ATTN_OK;
}

static attn_status append_to(attn_memory *m, const attn_tensor *key, const attn_tensor *value,
                             const attn_tensor *counts, const attn_tensor *offsets)
{
    if (m == NULL) return attn_i_fail(ATTN_ERR_ARGUMENT, "memory is NULL");
    append a = {.m = m, .p = attn_i_memory_problem(m, 0)};
    attn_status status = check(&a, key, value, counts, offsets);
    if (status == ATTN_OK) status = check_lengths(&a);
    if (status != ATTN_OK) return status;
    int64_t appended = 0; /* to any sequence */
    for (int64_t b = 0; b < m->batch; b++) appended = attn_i_max(appended, count_of(&a, b));
    if (appended == 0) return ATTN_OK;
    status = attn_i_memory_reserve(m, &a.growth);
    if (status == ATTN_OK) status = run(&a);
    if (status != ATTN_OK) {
        attn_i_memory_trim(m);
        return status;
    }
    attn_i_memory_lengthen(m, &a.growth, 1);
    return ATTN_OK;
}

attn_status attn_memory_append(attn_memory *memory, const attn_tensor *key, const attn_tensor *value,
                               const attn_tensor *counts)
{
    attn_status status = append_to(memory, key, value, counts, NULL);
    return status == ATTN_OK ? ATTN_OK : attn_i_fail_in("attn_memory_append", status);
}

attn_status attn_memory_append_ragged(attn_memory *memory, const attn_tensor *key, const attn_tensor *value,
                                      const attn_tensor *offsets)
{
    attn_status status = offsets == NULL ? attn_i_fail(ATTN_ERR_ARGUMENT, "offsets is NULL")
                                         : append_to(memory, key, value, NULL, offsets);
    return status == ATTN_OK ? ATTN_OK : attn_i_fail_in("attn_memory_append_ragged", status);
}
