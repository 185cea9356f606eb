/* SPDX-License-Identifier: BSD-3-Clause
 *
 * layers/memory/create.c: how a memory begins: its options checked, and what its score function has it keep of a key.
 */
#include "handles/engine.h"
#include "handles/status.h"
#include "handles/structs.h"
#include "layers/memory/append.h"
#include "position/position.h"
#include "runtime/size.h"
#include "score/score.h"

#include <inttypes.h>
#include <stddef.h>

/* What numbers that are kept so are computed in; 0 for what cannot be kept. */
static attn_dtype kept_as(attn_dtype dtype)
{
    return dtype == ATTN_I8 ? ATTN_F32 : attn_i_dtype_computed(dtype);
}

static void set_dtype(attn_i_store *store, attn_dtype dtype)
{
    store->dtype = dtype;
    store->size = attn_i_dtype_size(dtype);
}

static attn_status check_options(const attn_mechanism *mechanism, const attn_memory_options *o)
{
    const int alone = (o->flags & ATTN_MEMORY_KEYS_ALONE) != 0, reads_keys = mechanism->rule->reads_keys;
    if (o->flags & ~(uint32_t)(ATTN_MEMORY_FIXED | ATTN_MEMORY_KEYS_ALONE)) {
        return attn_i_fail(ATTN_ERR_ARGUMENT, "flags has bits that mean nothing: %" PRIu32, o->flags);
    }
    if (kept_as(o->dtype) == 0) {
        return attn_i_fail(ATTN_ERR_DTYPE, "dtype is %s, but ATTN_F32, _F64, _F16, _BF16 or _I8 can be kept",
                           attn_i_dtype_name(o->dtype));
    }
    const struct {
        const char *name;
        int64_t value, least;
    } numbers[] = {{"batch", o->batch, 1},
                   {"key_heads", o->key_heads, 0},
                   {"key_dim", o->key_dim, reads_keys || alone},
                   {"value_dim", o->value_dim, !alone},
                   {"capacity", o->capacity, 0},
                   {"page", o->page, 0}};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        if (numbers[i].value < numbers[i].least || numbers[i].value > ATTN_I_BLAS_LIMIT) {
            return attn_i_fail(ATTN_ERR_ARGUMENT, "%s is %" PRId64 ", but at least %" PRId64 " is needed",
                               numbers[i].name, numbers[i].value, numbers[i].least);
        }
    }
    if (alone && o->value_dim != 0) {
        return attn_i_fail(ATTN_ERR_ARGUMENT, "value_dim is %" PRId64 ", but the keys are the values", o->value_dim);
    }
    if (!reads_keys && !alone && o->key_dim != 0) {
        return attn_i_fail(ATTN_ERR_ARGUMENT, "key_dim is %" PRId64 ", but %s reads no keys", o->key_dim,
                           mechanism->rule->name);
    }
    if (o->rope != NULL && (alone || !reads_keys)) {
        return attn_i_fail(ATTN_ERR_ARGUMENT, "rope is there, but keys are %s", alone ? "values" : "not read");
    }
    if (mechanism->key_dim != 0 && o->key_dim != mechanism->key_dim) {
        return attn_i_fail(ATTN_ERR_SHAPE, "key_dim is %" PRId64 ", but the %s mechanism was made for %" PRId64,
                           o->key_dim, mechanism->rule->name, mechanism->key_dim);
    }
    return ATTN_OK;
}

/* What is kept of keys and values. */
static void set_widths(attn_memory *m)
{
    const attn_i_problem p = attn_i_memory_problem(m, 0);
    const attn_i_score *score = attn_i_score_of(&p);
    const int64_t prepared = score->key_width(&p);
    const int converts = score->lanes != NULL && m->computed == ATTN_F32 && m->engine->way == ATTN_WAY_TILES;
    m->ready = converts ? ATTN_I_CONVERTED : prepared > 0 ? ATTN_I_PREPARED : ATTN_I_RAW;
    m->keys.width = converts ? score->lanes->key_elements(&p) : prepared > 0 ? prepared : m->key_dim;
    m->values.width = m->value_dim;
    if (m->value_dim == 0 && m->ready != ATTN_I_RAW) m->values.width = m->key_dim; /* values are raw */
    set_dtype(&m->keys, m->ready == ATTN_I_RAW ? m->dtype : m->computed);
    set_dtype(&m->values, m->dtype);
}

static attn_status set_rope(attn_memory *m, const attn_rope_options *rope)
{
    if (rope == NULL) return ATTN_OK;
    attn_status status =
        attn_i_struct_read(&m->rope, sizeof m->rope, sizeof m->rope, rope, rope->struct_size, "attn_rope_options");
    if (status != ATTN_OK) return status;
    if (m->ready != ATTN_I_RAW) {
        return attn_i_fail(ATTN_ERR_UNSUPPORTED, "rope is there, but %s projects its keys after it",
                           m->mechanism->rule->name);
    }
    status = attn_i_rope_check(&m->rope, m->key_dim, "a key");
    if (status != ATTN_OK) return status;
    m->rope.struct_size = (uint32_t)sizeof m->rope;
    m->rope.positions = NULL;
    m->turns = 1;
    return ATTN_OK;
}

static attn_status create(const attn_mechanism *mechanism, const attn_memory_options *given, attn_memory **memory)
{
    attn_memory_options o;
    if (mechanism == NULL) return attn_i_fail(ATTN_ERR_ARGUMENT, "mechanism is NULL");
    if (given == NULL) return attn_i_fail(ATTN_ERR_ARGUMENT, "options is NULL");
    if (memory == NULL) return attn_i_fail(ATTN_ERR_ARGUMENT, "memory is NULL");
    attn_status status = attn_i_struct_read(&o, sizeof o, offsetof(attn_memory_options, page), given,
                                            given->struct_size, "attn_memory_options");
    if (status == ATTN_OK) status = check_options(mechanism, &o);
    if (status != ATTN_OK) return status;
    attn_memory m = {.mechanism = mechanism, .engine = mechanism->engine, .dtype = o.dtype, .flags = o.flags};
    m.computed = kept_as(o.dtype);
    m.key_heads = attn_i_max(o.key_heads, 1);
    m.key_dim = o.key_dim;
    m.value_dim = o.value_dim;
    set_widths(&m);
    status = set_rope(&m, o.rope);
    if (status != ATTN_OK) return status;
    if (o.page == 0) return attn_i_memory_make(&m, o.batch, o.capacity, memory);
    const int64_t pages = attn_i_multiply_most(o.batch, attn_i_divide_up(o.capacity, o.page));
    status = attn_i_page_pool_make(m.engine, &m.keys, &m.values, m.key_heads, o.page, pages,
                                   (o.flags & ATTN_MEMORY_FIXED) != 0, &m.pool);
    if (status != ATTN_OK) return status;
    status = attn_i_memory_make(&m, o.batch, o.capacity, memory);
    if (status != ATTN_OK) attn_i_page_pool_destroy(m.pool);
    return status;
}

attn_status attn_memory_create(const attn_mechanism *mechanism, const attn_memory_options *options,
                               attn_memory **memory)
{
    attn_status status = create(mechanism, options, memory);
    return status == ATTN_OK ? ATTN_OK : attn_i_fail_in("attn_memory_create", status);
}
