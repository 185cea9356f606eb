/* SPDX-License-Identifier: BSD-3-Clause
 *
 * backward_scene.c: calls of attn_backward on random problems.
 */
#include "backward_scene.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

const char *const gradient_names[TWIN_GRADIENTS] = {"d_query",    "d_key", "d_value", "d_bias", "d_alibi",
                                                    "d_relative", "d_W",   "d_U",     "d_v",    "d_b",
                                                    "d_g",        "d_W_p", "d_v_p"};

/* The number of a parameter among the gradients. */
static int gradient_of(const char *name)
{
    for (int g = TWIN_D_W; g < TWIN_GRADIENTS; g++) {
        if (strcmp(gradient_names[g] + 2, name) == 0) return g;
    }
    fail_msg("there is a parameter %s", name);
    return -1;
}

struct array *backward_input(struct scene *s, int g)
{
    switch (g) {
    case TWIN_D_QUERY:
        return &s->query;
    case TWIN_D_KEY:
        return s->args.key ? &s->key : NULL;
    case TWIN_D_VALUE:
        return s->args.value ? &s->value : NULL;
    case TWIN_D_BIAS:
        return s->args.bias ? &s->bias : NULL;
    case TWIN_D_SLOPES:
        return s->twin.alibi != TWIN_NONE ? &s->slopes : NULL;
    case TWIN_D_TABLE:
        return s->twin.relative != TWIN_NO_RELATIVE ? &s->table : NULL;
    default:
        for (int i = 0; i < s->param_count; i++) {
            if (gradient_of(s->param_names[i]) == g) return &s->params[i];
        }
        return NULL;
    }
}

unsigned backward_has(struct scene *s)
{
    unsigned has = 0;
    for (int g = 0; g < TWIN_GRADIENTS; g++) has |= (unsigned)(backward_input(s, g) != NULL) << g;
    return has;
}

void backward_create(struct backward *b, struct scene *s, unsigned flows)
{
    const struct twin_problem *t = &s->twin;
    const int64_t context[4] = {t->batch, t->query_heads, t->queries, t->value_dim};
    const int64_t weights[4] = {t->batch, t->query_heads, t->queries, t->keys};
    const attn_tensor **slots[FLOWS] = {&b->args.d_context, &b->args.d_weights, &b->args.d_logsumexp};

    memset(b, 0, sizeof *b);
    b->scene = s;
    const bool is_exact = dtype_computed(s->dtype) != s->dtype && rng_chance(&s->rng, 0.5);
    array_create(&b->context, is_exact ? ATTN_F32 : s->dtype, 4, context, s->layout & LAYOUT_OUTPUT, &s->rng);
    array_create(&b->logsumexp, rng_chance(&s->rng, 0.5) ? ATTN_F64 : dtype_computed(s->dtype), 3, context,
                 s->layout & LAYOUT_OUTPUT, &s->rng);
    b->forward = s->args;
    b->forward.context = &b->context.tensor;
    b->forward.logsumexp = &b->logsumexp.tensor;
    b->args = (attn_backward_args)ATTN_BACKWARD_ARGS_INIT;
    b->args.forward = &b->forward;
    for (int f = 0; f < FLOWS; f++) {
        if (!(flows >> f & 1)) continue;
        array_create(&b->flow[f], f == FLOW_CONTEXT ? s->dtype : dtype_computed(s->dtype), f == FLOW_LOGSUMEXP ? 3 : 4,
                     f == FLOW_WEIGHTS ? weights : context, s->layout, &s->rng);
        array_fill_normal(&b->flow[f], &s->rng, 1.0);
        array_lower_rank(&b->flow[f], &s->rng);
        *slots[f] = &b->flow[f].tensor;
    }
    backward_run_forward(b);
}

static void drop_gradients(struct backward *b)
{
    for (int g = 0; g < TWIN_GRADIENTS; g++) array_destroy(&b->gradient[g]);
    b->args.d_query = b->args.d_key = b->args.d_value = b->args.d_bias = b->args.d_alibi = NULL;
    b->args.d_relative = NULL;
    b->args.d_params = NULL;
    memset(b->params, 0, sizeof b->params);
}

void backward_destroy(struct backward *b)
{
    drop_gradients(b);
    for (int f = 0; f < FLOWS; f++) array_destroy(&b->flow[f]);
    array_destroy(&b->context);
    array_destroy(&b->logsumexp);
}

void backward_want(struct backward *b, unsigned wanted)
{
    struct scene *s = b->scene;
    const attn_tensor **slots[] = {&b->args.d_query, &b->args.d_key,   &b->args.d_value,
                                   &b->args.d_bias,  &b->args.d_alibi, &b->args.d_relative};

    drop_gradients(b);
    b->wanted = wanted & backward_has(s);
    for (int g = 0; g < TWIN_GRADIENTS; g++) {
        if (!(b->wanted >> g & 1)) continue;
        const attn_tensor *of = &backward_input(s, g)->tensor;
        array_create(&b->gradient[g], g < TWIN_D_W ? of->dtype : scene_param_dtype(s), of->ndim, of->shape,
                     s->layout & LAYOUT_OUTPUT, &s->rng);
        if (g <= TWIN_D_BIAS) array_lower_rank(&b->gradient[g], &s->rng);
        if (g < TWIN_D_W) *slots[g] = &b->gradient[g].tensor;
    }
    int32_t count = 0;
    MUST(attn_mechanism_param_count(s->mechanism, &count));
    for (int32_t i = 0; i < count; i++) {
        attn_param_info info = ATTN_PARAM_INFO_INIT;
        MUST(attn_mechanism_param_info(s->mechanism, i, &info));
        const int g = gradient_of(info.name);
        b->params[i] = b->wanted >> g & 1 ? &b->gradient[g].tensor : NULL;
        if (b->params[i]) b->args.d_params = b->params;
    }
}

void backward_run_forward(struct backward *b)
{
    MUST(attn_forward(b->scene->mechanism, &b->forward));
}

void backward_run(struct backward *b)
{
    MUST(attn_backward(b->scene->mechanism, &b->args));
}

void backward_run_twin(const struct backward *b, struct twin_gradient_result *result)
{
    double *flows[FLOWS];
    for (int f = 0; f < FLOWS; f++) flows[f] = b->flow[f].memory ? array_read(&b->flow[f]) : NULL;
    const attn_dtype dtype = b->scene->dtype;
    const attn_dtype stored = b->context.tensor.dtype;
    double *context = dtype_computed(stored) != stored ? array_read(&b->context) : NULL;
    const struct twin_flow flow = {flows[FLOW_CONTEXT], flows[FLOW_WEIGHTS], flows[FLOW_LOGSUMEXP], context,
                                   1.0 / (SCENE_FACTOR * dtype_epsilon(dtype))};
    twin_gradient_run(&b->scene->twin, &b->scene->want, &flow, result);
    free(context);
    for (int f = 0; f < FLOWS; f++) free(flows[f]);
}

int64_t backward_bias_element(const struct scene *s, int64_t at)
{
    const struct twin_problem *t = &s->twin;
    const int64_t full[4] = {t->batch, t->query_heads, t->queries, t->keys};
    const attn_tensor *bias = &s->bias.tensor;
    int64_t element = 0, step = 1;
    for (int d = 3, of = bias->ndim - 1; of >= 0; d--, of--) {
        if (bias->shape[of] != 1) element += at % full[d] * step;
        step *= bias->shape[of];
        at /= full[d];
    }
    return element;
}

void backward_expect(const struct backward *b, const struct twin_gradient_result *twin, int g, double **value,
                     double **magnitude)
{
    const int64_t count = array_count(&b->gradient[g]);
    long double *sums = must_allocate((size_t)count * sizeof *sums);
    *value = must_allocate((size_t)count * sizeof **value);
    *magnitude = must_allocate((size_t)count * sizeof **magnitude);
    for (int64_t i = 0; i < count; i++) {
        sums[i] = 0.0L; /* also of what the twin leaves out: rows of location's W past the keys */
        (*magnitude)[i] = 0.0;
    }
    for (int64_t at = 0; at < twin->count[g]; at++) {
        const int64_t i = g == TWIN_D_BIAS ? backward_bias_element(b->scene, at) : at;
        sums[i] += (long double)twin->value[g][at];
        (*magnitude)[i] += twin->magnitude[g][at];
    }
    for (int64_t i = 0; i < count; i++) (*value)[i] = (double)sums[i];
    free(sums);
}
