/* SPDX-License-Identifier: BSD-3-Clause
 *
 * handles/mechanism.c: mechanisms as handles: made by the score functions, given parameters and modifiers by the
 * caller. */
#include "handles/mechanism.h"

#include "handles/engine.h"
#include "handles/status.h"
#include "runtime/size.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

attn_i_mechanism_maker attn_i_mechanism_start(const char *where, attn_engine *engine, const attn_i_rule *rule,
                                              attn_mechanism **mechanism)
{
    attn_i_mechanism_maker maker = {.mechanism = {.engine = engine, .rule = rule, .modifiers = {.temperature = 1}},
                                    .where = where};
    if (engine == NULL || mechanism == NULL) {
        maker.status = attn_i_fail(ATTN_ERR_ARGUMENT, "%s: %s is NULL", where, engine == NULL ? "engine" : "mechanism");
    }
    return maker;
}

void attn_i_mechanism_dim(attn_i_mechanism_maker *maker, const char *name, int64_t dim)
{
    if (maker->status == ATTN_OK && dim > ATTN_I_BLAS_LIMIT) {
        maker->status = attn_i_fail(ATTN_ERR_OVERFLOW, "%s: %s is %" PRId64 ", more than a BLAS can count",
                                    maker->where, name, dim);
    }
    if (maker->status == ATTN_OK && dim < 1) {
        maker->status =
            attn_i_fail(ATTN_ERR_ARGUMENT, "%s: %s is %" PRId64 ", but at least 1 is needed", maker->where, name, dim);
    }
}

void attn_i_mechanism_add(attn_i_mechanism_maker *maker, const char *name, int64_t rows, int64_t columns)
{
    attn_mechanism *m = &maker->mechanism;
    if (maker->status != ATTN_OK) return;
    maker->status = attn_i_params_add(m->params, &m->param_count, name, rows, columns);
    if (maker->status != ATTN_OK) attn_i_fail_in(maker->where, maker->status);
}

attn_status attn_i_mechanism_finish(attn_i_mechanism_maker *maker, attn_mechanism **mechanism)
{
    if (maker->status != ATTN_OK) return maker->status;
    attn_engine *engine = maker->mechanism.engine;
    attn_mechanism *made = attn_i_allocate(&engine->allocator, sizeof *made);
    if (made == NULL) return attn_i_fail(ATTN_ERR_NOMEM, "%s: no memory for a mechanism", maker->where);
    *made = maker->mechanism;
    atomic_init(&made->references, 1);
    attn_i_engine_take(engine);
    *mechanism = made;
    return ATTN_OK;
}

/* Every mechanism was allocated, none is a constant. */
static attn_mechanism *changeable(const attn_mechanism *mechanism)
{
    return (attn_mechanism *)(uintptr_t)mechanism;
}

void attn_i_mechanism_take(const attn_mechanism *mechanism)
{
    atomic_fetch_add_explicit(&changeable(mechanism)->references, 1, memory_order_relaxed);
}

void attn_i_mechanism_drop(const attn_mechanism *mechanism)
{
    attn_mechanism *m = changeable(mechanism);
    if (atomic_fetch_sub_explicit(&m->references, 1, memory_order_acq_rel) != 1) return;
    attn_engine *engine = m->engine;
    attn_i_release(&engine->allocator, m, sizeof *m);
    attn_i_engine_drop(engine);
}

void attn_mechanism_destroy(attn_mechanism *mechanism)
{
    if (mechanism != NULL) attn_i_mechanism_drop(mechanism);
}

const char *attn_mechanism_name(const attn_mechanism *mechanism)
{
    return mechanism == NULL ? NULL : mechanism->rule->name;
}

const attn_i_param *attn_i_mechanism_param(const attn_mechanism *mechanism, const char *name)
{
    return attn_i_params_find(mechanism->params, mechanism->param_count, name);
}

static attn_status null_argument(const char *where, const char *name)
{
    return attn_i_fail(ATTN_ERR_ARGUMENT, "%s: %s is NULL", where, name);
}

attn_status attn_mechanism_param_count(const attn_mechanism *mechanism, int32_t *count)
{
    if (mechanism == NULL) return null_argument("attn_mechanism_param_count", "mechanism");
    if (count == NULL) return null_argument("attn_mechanism_param_count", "count");
    *count = mechanism->param_count;
    return ATTN_OK;
}

attn_status attn_mechanism_param_total(const attn_mechanism *mechanism, int64_t *total)
{
    if (mechanism == NULL) return null_argument("attn_mechanism_param_total", "mechanism");
    if (total == NULL) return null_argument("attn_mechanism_param_total", "total");
    *total = attn_i_params_total(mechanism->params, mechanism->param_count);
    return ATTN_OK;
}

attn_status attn_mechanism_param_info(const attn_mechanism *mechanism, int32_t index, attn_param_info *info)
{
    static const char where[] = "attn_mechanism_param_info";
    if (mechanism == NULL) return null_argument(where, "mechanism");
    attn_status status =
        attn_i_params_info(mechanism->params, mechanism->param_count, mechanism->rule->name, index, info);
    return status == ATTN_OK ? ATTN_OK : attn_i_fail_in(where, status);
}

attn_status attn_mechanism_bind_param(attn_mechanism *mechanism, const char *name, const attn_tensor *tensor)
{
    static const char where[] = "attn_mechanism_bind_param";
    if (mechanism == NULL) return null_argument(where, "mechanism");
    attn_status status =
        attn_i_params_bind(mechanism->params, mechanism->param_count, mechanism->rule->name, name, tensor);
    if (status == ATTN_OK) mechanism->changes++;
    return status == ATTN_OK ? ATTN_OK : attn_i_fail_in(where, status);
}

/* To be written to. */
static attn_i_modifiers *change(attn_mechanism *mechanism)
{
    mechanism->changes++;
    return &mechanism->modifiers;
}

attn_status attn_mechanism_set_scale(attn_mechanism *mechanism, double scale)
{
    static const char where[] = "attn_mechanism_set_scale";
    if (mechanism == NULL) return null_argument(where, "mechanism");
    if (!isfinite(scale)) return attn_i_fail(ATTN_ERR_ARGUMENT, "%s: scale is %g, but must be finite", where, scale);
    attn_i_modifiers *m = change(mechanism);
    m->scale = scale;
    m->has_scale = 1;
    return ATTN_OK;
}

attn_status attn_mechanism_set_softcap(attn_mechanism *mechanism, double cap)
{
    static const char where[] = "attn_mechanism_set_softcap";
    if (mechanism == NULL) return null_argument(where, "mechanism");
    if (!isfinite(cap) || cap < 0) {
        return attn_i_fail(ATTN_ERR_ARGUMENT, "%s: cap is %g, but must be finite and at least 0", where, cap);
    }
    change(mechanism)->softcap = cap;
    return ATTN_OK;
}

attn_status attn_mechanism_set_temperature(attn_mechanism *mechanism, double tau)
{
    static const char where[] = "attn_mechanism_set_temperature";
    if (mechanism == NULL) return null_argument(where, "mechanism");
    if (!isfinite(tau) || tau <= 0) {
        return attn_i_fail(ATTN_ERR_ARGUMENT, "%s: tau is %g, but must be finite and above 0", where, tau);
    }
    change(mechanism)->temperature = tau;
    return ATTN_OK;
}

attn_status attn_mechanism_set_normaliser(attn_mechanism *mechanism, attn_normaliser normaliser)
{
    static const char where[] = "attn_mechanism_set_normaliser";
    if (mechanism == NULL) return null_argument(where, "mechanism");
    if (normaliser != ATTN_SOFTMAX && normaliser != ATTN_HARDMAX) {
        return attn_i_fail(ATTN_ERR_ARGUMENT, "%s: normaliser is %" PRId32 ", which is none", where, normaliser);
    }
    change(mechanism)->normaliser = normaliser;
    return ATTN_OK;
}

attn_status attn_mechanism_set_precision(attn_mechanism *mechanism, attn_precision precision)
{
    static const char where[] = "attn_mechanism_set_precision";
    if (mechanism == NULL) return null_argument(where, "mechanism");
    if (precision != ATTN_PRECISION_EXACT && precision != ATTN_PRECISION_FAST) {
        return attn_i_fail(ATTN_ERR_ARGUMENT, "%s: precision is %" PRId32 ", which is none", where, precision);
    }
    change(mechanism)->precision = precision;
    return ATTN_OK;
}

static attn_status check_align(const char *where, const attn_mechanism *mechanism, attn_align align)
{
    if (mechanism == NULL) return null_argument(where, "mechanism");
    if (align < ATTN_ALIGN_NONE || align > ATTN_ALIGN_BOTTOM_RIGHT) {
        return attn_i_fail(ATTN_ERR_ARGUMENT, "%s: align is %" PRId32 ", which is none", where, align);
    }
    return ATTN_OK;
}

attn_status attn_mechanism_set_causal(attn_mechanism *mechanism, attn_align align)
{
    attn_status status = check_align("attn_mechanism_set_causal", mechanism, align);
    if (status == ATTN_OK) change(mechanism)->causal = align;
    return status;
}

attn_status attn_mechanism_set_window(attn_mechanism *mechanism, int64_t left, int64_t right, attn_align align)
{
    static const char where[] = "attn_mechanism_set_window";
    attn_status status = check_align(where, mechanism, align);
    if (status != ATTN_OK) return status;
    if (align == ATTN_ALIGN_NONE) {
        change(mechanism)->window = align;
        return ATTN_OK;
    }
    if (left < -1 || right < -1) {
        return attn_i_fail(ATTN_ERR_ARGUMENT,
                           "%s: the window is (%" PRId64 ", %" PRId64 "), but -1 (unbounded) is the least", where, left,
                           right);
    }
    attn_i_modifiers *m = change(mechanism);
    m->left = left == -1 ? ATTN_I_UNBOUNDED : attn_i_min(left, ATTN_I_UNBOUNDED);
    m->right = right == -1 ? ATTN_I_UNBOUNDED : attn_i_min(right, ATTN_I_UNBOUNDED);
    m->window = align;
    return ATTN_OK;
}

static attn_status check_table(const attn_tensor *table, attn_relative relative, int64_t max_distance,
                               attn_i_view *view)
{
    attn_status status = attn_i_tensor_check_real(table, "table", 2, view);
    if (status != ATTN_OK) return status;
    if (max_distance < 1 || max_distance > ATTN_I_BLAS_LIMIT) {
        return attn_i_fail(ATTN_ERR_ARGUMENT, "max_distance is %" PRId64 ", but must be at least 1", max_distance);
    }
    const int64_t n = view->shape[3];
    if (relative == ATTN_RELATIVE_CLIPPED && n != 2 * max_distance + 1) {
        return attn_i_fail(ATTN_ERR_SHAPE, "table has %" PRId64 " columns, but 2 max_distance + 1 is %" PRId64, n,
                           2 * max_distance + 1);
    }
    const int64_t one_way = relative == ATTN_RELATIVE_T5 ? n / 2 : n; /* buckets */
    if (relative != ATTN_RELATIVE_CLIPPED &&
        (one_way < 2 || max_distance <= one_way / 2 || (relative == ATTN_RELATIVE_T5 && n % 2 != 0))) {
        return attn_i_fail(ATTN_ERR_SHAPE,
                           "table has %" PRId64 " columns, which do not suit a max_distance of %" PRId64, n,
                           max_distance);
    }
    return ATTN_OK;
}

attn_status attn_mechanism_set_relative_bias(attn_mechanism *mechanism, const attn_tensor *table,
                                             attn_relative relative, int64_t max_distance, attn_align align)
{
    static const char where[] = "attn_mechanism_set_relative_bias";
    attn_i_view view;
    attn_status status = check_align(where, mechanism, align);
    if (status != ATTN_OK) return status;
    if (relative < ATTN_RELATIVE_NONE || relative > ATTN_RELATIVE_T5_CAUSAL) {
        return attn_i_fail(ATTN_ERR_ARGUMENT, "%s: relative is %" PRId32 ", which is none", where, relative);
    }
    if ((relative == ATTN_RELATIVE_NONE) != (align == ATTN_ALIGN_NONE)) {
        return attn_i_fail(ATTN_ERR_ARGUMENT, "%s: align is %" PRId32 ", but relative is %" PRId32, where, align,
                           relative);
    }
    if (relative != ATTN_RELATIVE_NONE) status = check_table(table, relative, max_distance, &view);
    if (status != ATTN_OK) return attn_i_fail_in(where, status);
    attn_i_modifiers *m = change(mechanism);
    if (relative != ATTN_RELATIVE_NONE) {
        m->table = view;
        m->table_dtype = table->dtype;
    }
    m->relative = relative;
    m->relative_align = align;
    m->max_distance = max_distance;
    return ATTN_OK;
}

static int is_predictive(attn_local local)
{
    return local == ATTN_LOCAL_PREDICTIVE || local == ATTN_LOCAL_PREDICTIVE_FLOOR;
}

static attn_status set_local(attn_mechanism *m, attn_local local, int64_t half_width, int64_t query_dim,
                             int64_t hidden_dim)
{
    const int predictive = is_predictive(local);
    if (m == NULL) return attn_i_fail(ATTN_ERR_ARGUMENT, "mechanism is NULL");
    if (local < ATTN_LOCAL_NONE || local > ATTN_LOCAL_PREDICTIVE_FLOOR) {
        return attn_i_fail(ATTN_ERR_ARGUMENT, "local is %" PRId32 ", which is none", local);
    }
    if (local != ATTN_LOCAL_NONE && (half_width < predictive || half_width > ATTN_I_BLAS_LIMIT)) {
        return attn_i_fail(ATTN_ERR_ARGUMENT, "half_width is %" PRId64 ", but must be at least %d", half_width,
                           predictive);
    }
    if (!predictive && (query_dim != 0 || hidden_dim != 0)) {
        return attn_i_fail(ATTN_ERR_ARGUMENT,
                           "query_dim and hidden_dim are %" PRId64 " and %" PRId64 ", but nothing is predicted",
                           query_dim, hidden_dim);
    }
    attn_i_mechanism_maker maker = {.mechanism = *m, .where = "attn_mechanism_set_local"};
    if (is_predictive(m->modifiers.local)) maker.mechanism.param_count -= 2;
    if (predictive) {
        attn_i_mechanism_dim(&maker, "query_dim", query_dim);
        attn_i_mechanism_dim(&maker, "hidden_dim", hidden_dim);
        if (maker.status == ATTN_OK && m->query_dim != 0 && query_dim != m->query_dim) {
            return attn_i_fail(ATTN_ERR_SHAPE, "query_dim is %" PRId64 ", but the %s mechanism was made for %" PRId64,
                               query_dim, m->rule->name, m->query_dim);
        }
        attn_i_mechanism_add(&maker, "W_p", hidden_dim, query_dim);
        attn_i_mechanism_add(&maker, "v_p", hidden_dim, 0);
    }
    if (maker.status != ATTN_OK) return maker.status;
    m->param_count = maker.mechanism.param_count;
    memcpy(m->params, maker.mechanism.params, sizeof m->params);
    change(m)->local = local;
    m->modifiers.half_width = half_width;
    return ATTN_OK;
}

attn_status attn_mechanism_set_local(attn_mechanism *mechanism, attn_local local, int64_t half_width, int64_t query_dim,
                                     int64_t hidden_dim)
{
    attn_status status = set_local(mechanism, local, half_width, query_dim, hidden_dim);
    return status == ATTN_OK ? ATTN_OK : attn_i_fail_in("attn_mechanism_set_local", status);
}

attn_status attn_mechanism_set_alibi(attn_mechanism *mechanism, const attn_tensor *slopes, attn_align align)
{
    static const char where[] = "attn_mechanism_set_alibi";
    attn_status status = check_align(where, mechanism, align);
    if (status != ATTN_OK) return status;
    attn_i_view view;
    if (align != ATTN_ALIGN_NONE) status = attn_i_tensor_check_real(slopes, "slopes", 1, &view);
    if (status != ATTN_OK) return attn_i_fail_in(where, status);
    attn_i_modifiers *m = change(mechanism);
    if (align != ATTN_ALIGN_NONE) {
        m->slopes = view;
        m->slopes_dtype = slopes->dtype;
    }
    m->alibi = align;
    return ATTN_OK;
}

attn_status attn_mechanism_set_sinks(attn_mechanism *mechanism, const attn_tensor *sinks)
{
    static const char where[] = "attn_mechanism_set_sinks";
    attn_i_view view = {.data = NULL};
    if (mechanism == NULL) return null_argument(where, "mechanism");
    attn_status status = sinks == NULL ? ATTN_OK : attn_i_tensor_check_number(sinks, "sinks", 1, &view);
    if (status != ATTN_OK) return attn_i_fail_in(where, status);
    change(mechanism)->sinks = view;
    return ATTN_OK;
}
