/* SPDX-License-Identifier: BSD-3-Clause
 *
 * layers/multihead/multihead.c: layers of heads as handles: made around a mechanism, given parameters by the caller. */
#include "layers/multihead/multihead.h"

#include "handles/mechanism.h"
#include "handles/status.h"
#include "handles/structs.h"
#include "position/position.h"
#include "runtime/size.h"
#include "score/score.h"

#include <inttypes.h>
#include <stddef.h>

const char attn_i_multihead_name[] = "multihead";

static int is_packed(const attn_multihead *m)
{
    return (m->flags & ATTN_MULTIHEAD_PACKED) != 0;
}

int32_t attn_i_multihead_weight_index(const attn_multihead *m, int part)
{
    if (is_packed(m)) return part == ATTN_I_PARTS ? 1 : 0;
    return part;
}

int32_t attn_i_multihead_bias_index(const attn_multihead *m, int part)
{
    if ((m->flags & ATTN_MULTIHEAD_BIAS) == 0) return -1;
    return m->param_count / 2 + attn_i_multihead_weight_index(m, part);
}

int64_t attn_i_multihead_first_row(const attn_multihead *m, int part)
{
    int64_t first = 0;
    for (int i = 0; is_packed(m) && part < ATTN_I_PARTS && i < part; i++) first += m->width[i];
    return first;
}

/* ------------------------------------------------------------------------------------------- creation */

/* A number of the options: at least `least`, and no more than a BLAS can count. */
static attn_status check_number(const char *name, int64_t number, int64_t least)
{
    if (number < least) {
        return attn_i_fail(ATTN_ERR_ARGUMENT, "%s is %" PRId64 ", but at least %" PRId64 " is needed", name, number,
                           least);
    }
    if (number > ATTN_I_BLAS_LIMIT) {
        return attn_i_fail(ATTN_ERR_OVERFLOW, "%s is %" PRId64 ", more than a BLAS can count", name, number);
    }
    return ATTN_OK;
}

static attn_status check_numbers(const attn_multihead_options *o)
{
    const struct {
        const char *name;
        int64_t number, least;
    } numbers[] = {{"query_heads", o->query_heads, 1},       {"key_heads", o->key_heads, 0},
                   {"query_dim", o->query_dim, 1},           {"key_dim", o->key_dim, 0},
                   {"value_dim", o->value_dim, 0},           {"head_dim", o->head_dim, 0},
                   {"value_head_dim", o->value_head_dim, 0}, {"output_dim", o->output_dim, 0}};
    attn_status status = ATTN_OK;
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers && status == ATTN_OK; i++) {
        status = check_number(numbers[i].name, numbers[i].number, numbers[i].least);
    }
    return status;
}

/* Zeros of the options become what they stand for. */
static attn_status complete(attn_multihead_options *o)
{
    const uint32_t known = ATTN_MULTIHEAD_BIAS | ATTN_MULTIHEAD_PACKED;
    if ((o->flags & ~known) != 0) {
        return attn_i_fail(ATTN_ERR_ARGUMENT, "flags is %#" PRIx32 ", of which %#" PRIx32 " is none", o->flags,
                           o->flags & ~known);
    }
    attn_status status = check_numbers(o);
    if (status != ATTN_OK) return status;
    if (o->key_heads == 0) o->key_heads = o->query_heads;
    if (o->key_dim == 0) o->key_dim = o->query_dim;
    if (o->value_dim == 0) o->value_dim = o->key_dim;
    if (o->output_dim == 0) o->output_dim = o->query_dim;
    if (o->query_heads % o->key_heads != 0) {
        return attn_i_fail(ATTN_ERR_SHAPE, "key_heads is %" PRId64 ", which does not divide query_heads, %" PRId64,
                           o->key_heads, o->query_heads);
    }
    if (o->head_dim == 0 && o->query_dim % o->query_heads != 0) {
        return attn_i_fail(ATTN_ERR_SHAPE,
                           "head_dim is 0, but query_dim, %" PRId64 ", does not go into %" PRId64 " whole heads",
                           o->query_dim, o->query_heads);
    }
    if (o->head_dim == 0) o->head_dim = o->query_dim / o->query_heads;
    if (o->value_head_dim == 0) o->value_head_dim = o->head_dim;
    if ((o->flags & ATTN_MULTIHEAD_PACKED) != 0 && (o->key_dim != o->query_dim || o->value_dim != o->query_dim)) {
        return attn_i_fail(ATTN_ERR_SHAPE,
                           "packed weights are for equal dimensions, but query_dim is %" PRId64 ", key_dim %" PRId64
                           " and value_dim %" PRId64,
                           o->query_dim, o->key_dim, o->value_dim);
    }
    return ATTN_OK;
}

/* The dimensions that the mechanism was made for. */
static attn_status check_mechanism(const attn_mechanism *mechanism, int64_t head_dim)
{
    const struct {
        const char *name;
        int64_t dim;
    } made_for[] = {{"queries", mechanism->query_dim}, {"keys", mechanism->key_dim}};
    for (size_t i = 0; i < sizeof made_for / sizeof *made_for; i++) {
        if (made_for[i].dim == 0 || made_for[i].dim == head_dim) continue;
        return attn_i_fail(ATTN_ERR_SHAPE,
                           "head_dim is %" PRId64 ", but the %s mechanism was made for %s of %" PRId64 " dimensions",
                           head_dim, mechanism->rule->name, made_for[i].name, made_for[i].dim);
    }
    return ATTN_OK;
}

/* The rows that all parts have together must be a matrix that a BLAS can take. */
static attn_status measure(const attn_multihead_options *o, attn_multihead *m)
{
    const int64_t heads[ATTN_I_PARTS] = {o->query_heads, o->key_heads, o->key_heads};
    const int64_t dims[ATTN_I_PARTS] = {o->head_dim, o->head_dim, o->value_head_dim};
    const int64_t inputs[ATTN_I_PARTS] = {o->query_dim, o->key_dim, o->value_dim};
    int64_t all = 0;
    for (int i = 0; i < ATTN_I_PARTS; i++) {
        m->input_dim[i] = inputs[i];
        m->head_dim[i] = dims[i];
        m->width[i] = heads[i] * dims[i]; /* both fit 31 bits */
        all += attn_i_min(m->width[i], ATTN_I_BLAS_LIMIT + INT64_C(1));
    }
    m->context_width = o->query_heads * o->value_head_dim;
    if (all > ATTN_I_BLAS_LIMIT || m->context_width > ATTN_I_BLAS_LIMIT) {
        return attn_i_fail(ATTN_ERR_OVERFLOW,
                           "%" PRId64 " heads of %" PRId64 " and %" PRId64 " dimensions are more than a BLAS can count",
                           o->query_heads, o->head_dim, o->value_head_dim);
    }
    return ATTN_OK;
}

static attn_status add_params(attn_multihead *m)
{
    static const char *const names[2][ATTN_I_PARTS + 1] = {{"W_q", "W_k", "W_v", "W_o"}, {"b_q", "b_k", "b_v", "b_o"}};
    static const char *const packed[2] = {"W_qkv", "b_qkv"};
    const int64_t together = m->width[ATTN_I_QUERY] + m->width[ATTN_I_KEY] + m->width[ATTN_I_VALUE];
    attn_status status = ATTN_OK;
    for (int bias = 0; bias < ((m->flags & ATTN_MULTIHEAD_BIAS) != 0 ? 2 : 1); bias++) {
        if (is_packed(m)) {
            status = attn_i_params_add(m->params, &m->param_count, packed[bias], together, bias ? 0 : m->input_dim[0]);
        }
        for (int i = 0; i < ATTN_I_PARTS && !is_packed(m) && status == ATTN_OK; i++) {
            status =
                attn_i_params_add(m->params, &m->param_count, names[bias][i], m->width[i], bias ? 0 : m->input_dim[i]);
        }
        if (status == ATTN_OK) {
            status = attn_i_params_add(m->params, &m->param_count, names[bias][ATTN_I_PARTS], m->output_dim,
                                       bias ? 0 : m->context_width);
        }
        if (status != ATTN_OK) return status;
    }
    return ATTN_OK;
}

static attn_status set_rope(attn_multihead *m, const attn_rope_options *rope)
{
    if (rope == NULL) return ATTN_OK;
    attn_status status =
        attn_i_struct_read(&m->rope, sizeof m->rope, sizeof m->rope, rope, rope->struct_size, "attn_rope_options");
    if (status == ATTN_OK) status = attn_i_rope_check(&m->rope, m->head_dim[ATTN_I_KEY], "a head");
    m->turns = 1;
    return status;
}

static attn_status create(const attn_mechanism *mechanism, const attn_multihead_options *given,
                          attn_multihead **multihead)
{
    attn_multihead_options o;
    if (mechanism == NULL) return attn_i_fail(ATTN_ERR_ARGUMENT, "mechanism is NULL");
    if (given == NULL) return attn_i_fail(ATTN_ERR_ARGUMENT, "options is NULL");
    if (multihead == NULL) return attn_i_fail(ATTN_ERR_ARGUMENT, "multihead is NULL");
    attn_status status = attn_i_struct_read(&o, sizeof o, offsetof(attn_multihead_options, rope), given,
                                            given->struct_size, "attn_multihead_options");
    if (status == ATTN_OK) status = complete(&o);
    if (status != ATTN_OK) return status;
    attn_multihead m = {.mechanism = mechanism,
                        .engine = mechanism->engine,
                        .flags = o.flags,
                        .query_heads = o.query_heads,
                        .key_heads = o.key_heads,
                        .output_dim = o.output_dim};
    status = check_mechanism(mechanism, o.head_dim);
    if (status == ATTN_OK) status = measure(&o, &m);
    if (status == ATTN_OK) status = set_rope(&m, o.rope);
    if (status == ATTN_OK) status = add_params(&m);
    if (status != ATTN_OK) return status;
    attn_multihead *made = attn_i_allocate(&m.engine->allocator, sizeof *made);
    if (made == NULL) return attn_i_fail(ATTN_ERR_NOMEM, "no memory for a layer");
    *made = m;
    attn_i_mechanism_take(m.mechanism);
    *multihead = made;
    return ATTN_OK;
}

attn_status attn_multihead_create(const attn_mechanism *mechanism, const attn_multihead_options *options,
                                  attn_multihead **multihead)
{
    attn_status status = create(mechanism, options, multihead);
    return status == ATTN_OK ? ATTN_OK : attn_i_fail_in("attn_multihead_create", status);
}

void attn_multihead_destroy(attn_multihead *multihead)
{
    if (multihead == NULL) return;
    const attn_mechanism *mechanism = multihead->mechanism;
    attn_i_release(&mechanism->engine->allocator, multihead, sizeof *multihead);
    attn_i_mechanism_drop(mechanism);
}

/* ------------------------------------------------------------------------------------------ parameters */

static attn_status null_argument(const char *where, const char *name)
{
    return attn_i_fail(ATTN_ERR_ARGUMENT, "%s: %s is NULL", where, name);
}

attn_status attn_multihead_param_count(const attn_multihead *multihead, int32_t *count)
{
    if (multihead == NULL) return null_argument("attn_multihead_param_count", "multihead");
    if (count == NULL) return null_argument("attn_multihead_param_count", "count");
    *count = multihead->param_count;
    return ATTN_OK;
}

attn_status attn_multihead_param_info(const attn_multihead *multihead, int32_t index, attn_param_info *info)
{
    static const char where[] = "attn_multihead_param_info";
    if (multihead == NULL) return null_argument(where, "multihead");
    attn_status status =
        attn_i_params_info(multihead->params, multihead->param_count, attn_i_multihead_name, index, info);
    return status == ATTN_OK ? ATTN_OK : attn_i_fail_in(where, status);
}

attn_status attn_multihead_bind_param(attn_multihead *multihead, const char *name, const attn_tensor *tensor)
{
    static const char where[] = "attn_multihead_bind_param";
    if (multihead == NULL) return null_argument(where, "multihead");
    attn_status status =
        attn_i_params_bind(multihead->params, multihead->param_count, attn_i_multihead_name, name, tensor);
    return status == ATTN_OK ? ATTN_OK : attn_i_fail_in(where, status);
}
