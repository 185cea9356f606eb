/* SPDX-License-Identifier: BSD-3-Clause
 *
 * mechanism.c: mechanisms as handles: made by the score functions, given parameters and modifiers by the caller. */
#include "mechanism.h"

#include "engine.h"
#include "runtime/size.h"
#include "score/score.h"
#include "status.h"

#include <inttypes.h>
#include <math.h>

attn_i_mechanism_maker attn_i_mechanism_start(const char *where, attn_engine *engine, const attn_i_score *score,
                                              attn_mechanism **mechanism)
{
    attn_i_mechanism_maker maker = {.mechanism = {.engine = engine, .score = score, .modifiers = {.temperature = 1}},
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
    attn_i_engine_take(engine);
    *mechanism = made;
    return ATTN_OK;
}

void attn_mechanism_destroy(attn_mechanism *mechanism)
{
    if (mechanism == NULL) return;
    attn_engine *engine = mechanism->engine;
    attn_i_release(&engine->allocator, mechanism, sizeof *mechanism);
    attn_i_engine_drop(engine);
}

const char *attn_mechanism_name(const attn_mechanism *mechanism)
{
    return mechanism == NULL ? NULL : mechanism->score->name;
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
        attn_i_params_info(mechanism->params, mechanism->param_count, mechanism->score->name, index, info);
    return status == ATTN_OK ? ATTN_OK : attn_i_fail_in(where, status);
}

attn_status attn_mechanism_bind_param(attn_mechanism *mechanism, const char *name, const attn_tensor *tensor)
{
    static const char where[] = "attn_mechanism_bind_param";
    if (mechanism == NULL) return null_argument(where, "mechanism");
    attn_status status =
        attn_i_params_bind(mechanism->params, mechanism->param_count, mechanism->score->name, name, tensor);
    return status == ATTN_OK ? ATTN_OK : attn_i_fail_in(where, status);
}

attn_status attn_mechanism_set_scale(attn_mechanism *mechanism, double scale)
{
    static const char where[] = "attn_mechanism_set_scale";
    if (mechanism == NULL) return null_argument(where, "mechanism");
    if (!isfinite(scale)) return attn_i_fail(ATTN_ERR_ARGUMENT, "%s: scale is %g, but must be finite", where, scale);
    mechanism->modifiers.scale = scale;
    mechanism->modifiers.has_scale = 1;
    return ATTN_OK;
}

attn_status attn_mechanism_set_softcap(attn_mechanism *mechanism, double cap)
{
    static const char where[] = "attn_mechanism_set_softcap";
    if (mechanism == NULL) return null_argument(where, "mechanism");
    if (!isfinite(cap) || cap < 0) {
        return attn_i_fail(ATTN_ERR_ARGUMENT, "%s: cap is %g, but must be finite and at least 0", where, cap);
    }
    mechanism->modifiers.softcap = cap;
    return ATTN_OK;
}

attn_status attn_mechanism_set_temperature(attn_mechanism *mechanism, double tau)
{
    static const char where[] = "attn_mechanism_set_temperature";
    if (mechanism == NULL) return null_argument(where, "mechanism");
    if (!isfinite(tau) || tau <= 0) {
        return attn_i_fail(ATTN_ERR_ARGUMENT, "%s: tau is %g, but must be finite and above 0", where, tau);
    }
    mechanism->modifiers.temperature = tau;
    return ATTN_OK;
}

attn_status attn_mechanism_set_normaliser(attn_mechanism *mechanism, attn_normaliser normaliser)
{
    static const char where[] = "attn_mechanism_set_normaliser";
    if (mechanism == NULL) return null_argument(where, "mechanism");
    if (normaliser != ATTN_SOFTMAX && normaliser != ATTN_HARDMAX) {
        return attn_i_fail(ATTN_ERR_ARGUMENT, "%s: normaliser is %" PRId32 ", which is none", where, normaliser);
    }
    mechanism->modifiers.normaliser = normaliser;
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
    if (status == ATTN_OK) mechanism->modifiers.causal = align;
    return status;
}

attn_status attn_mechanism_set_window(attn_mechanism *mechanism, int64_t left, int64_t right, attn_align align)
{
    static const char where[] = "attn_mechanism_set_window";
    attn_status status = check_align(where, mechanism, align);
    if (status != ATTN_OK) return status;
    if (align == ATTN_ALIGN_NONE) {
        mechanism->modifiers.window = align;
        return ATTN_OK;
    }
    if (left < -1 || right < -1) {
        return attn_i_fail(ATTN_ERR_ARGUMENT,
                           "%s: the window is (%" PRId64 ", %" PRId64 "), but -1 (unbounded) is the least", where, left,
                           right);
    }
    mechanism->modifiers.left = left == -1 ? ATTN_I_UNBOUNDED : attn_i_min(left, ATTN_I_UNBOUNDED);
    mechanism->modifiers.right = right == -1 ? ATTN_I_UNBOUNDED : attn_i_min(right, ATTN_I_UNBOUNDED);
    mechanism->modifiers.window = align;
    return ATTN_OK;
}

attn_status attn_mechanism_set_alibi(attn_mechanism *mechanism, const attn_tensor *slopes, attn_align align)
{
    static const char where[] = "attn_mechanism_set_alibi";
    attn_status status = check_align(where, mechanism, align);
    if (status != ATTN_OK) return status;
    if (align != ATTN_ALIGN_NONE) {
        attn_i_view view;
        status = attn_i_check_borrowed(slopes, "slopes", 1, &view);
        if (status != ATTN_OK) return attn_i_fail_in(where, status);
        mechanism->modifiers.slopes = view;
        mechanism->modifiers.slopes_dtype = slopes->dtype;
    }
    mechanism->modifiers.alibi = align;
    return ATTN_OK;
}
