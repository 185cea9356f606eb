/* SPDX-License-Identifier: BSD-3-Clause
 *
 * backward_checks.c: what must hold of attn_backward (attention_checks.h).
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "attention_checks.h"
#include "backward_scene.h"

/* A call of attn_backward: the forward call that it follows, what flows in, and what is wanted. */
struct backward_call {
    enum fuzz_engine engine;
    unsigned wanted;
    double greatest_flow;
    struct array gradients[TWIN_GRADIENTS];
    const attn_tensor *params[SCENE_PARAMS];
    attn_forward_args forward;
    attn_backward_args args;
};

struct saved {
    struct forward_call call; /* context and log-sum-exp alone */
};

static void bind_gradients(struct problem *p, struct backward_call *c)
{
    const attn_tensor **slots[] = {&c->args.d_query, &c->args.d_key,   &c->args.d_value,
                                   &c->args.d_bias,  &c->args.d_alibi, &c->args.d_relative};
    int32_t count = 0;
    c->args.forward = &c->forward;
    for (int g = 0; g < TWIN_D_W; g++) *slots[g] = c->wanted >> g & 1 ? &c->gradients[g].tensor : NULL;
    c->args.d_params = NULL;
    OK(attn_mechanism_param_count(problem_mechanism(p, c->engine), &count));
    for (int32_t i = 0; i < count; i++) {
        attn_param_info info = ATTN_PARAM_INFO_INIT;
        OK(attn_mechanism_param_info(problem_mechanism(p, c->engine), i, &info));
        c->params[i] = NULL;
        for (int g = TWIN_D_W; g < TWIN_GRADIENTS; g++) {
            if (strcmp(gradient_names[g] + 2, info.name) != 0 || !(c->wanted >> g & 1)) continue;
            c->params[i] = &c->gradients[g].tensor;
            c->args.d_params = c->params;
        }
    }
}

static void want_gradients(struct problem *p, struct backward_call *c, struct bytes *b)
{
    for (int g = 0; g < TWIN_GRADIENTS; g++) {
        if (!(c->wanted >> g & 1)) continue;
        const attn_tensor *of = &backward_input(&p->scene, g)->tensor;
        attn_dtype dtype = g < TWIN_D_BIAS + 1 ? p->scene.dtype : dtype_computed(p->scene.dtype);
        if (p->is_stored && g >= TWIN_D_W && take(b) % 2 == 0) dtype = p->scene.dtype;
        fuzz_array(&c->gradients[g], b, dtype, of->ndim, of->shape, LAYOUT_OUTPUT);
    }
}

/* What is added to, if gradients accumulate; NaN otherwise. */
static void fill_gradients(struct backward_call *c)
{
    for (int g = 0; g < TWIN_GRADIENTS; g++) {
        if (!(c->wanted >> g & 1)) continue;
        fuzz_wipe(&c->gradients[g]);
        for (int64_t i = array_count(&c->gradients[g]) - 1; i >= 0 && c->args.accumulate; i--) {
            array_set(&c->gradients[g], i, (double)(i % 7 - 3));
        }
    }
}

static struct backward_call again(const struct backward_call *c)
{
    struct backward_call other = *c;
    for (int g = 0; g < TWIN_GRADIENTS; g++) {
        if (c->wanted >> g & 1) fuzz_array_again(&other.gradients[g], &c->gradients[g]);
    }
    fill_gradients(&other);
    return other; /* to be bound where it will stay */
}

static void run(struct problem *p, struct backward_call *c)
{
    bind_gradients(p, c);
    fuzz_count_allocations(-1);
    fuzz_counted(COUNT_GRADIENTS);
    OK(attn_backward(problem_mechanism(p, c->engine), &c->args));
    CHECK(fuzz_allocations().asked <= (c->args.workspace == NULL), "%d allocations", (int)fuzz_allocations().asked);
}

static void check_same(const struct backward_call *got, const struct backward_call *want, const char *what)
{
    for (int g = 0; g < TWIN_GRADIENTS; g++) {
        if (!(want->wanted >> g & 1)) continue;
        CHECK(fuzz_same(&got->gradients[g], &want->gradients[g]), "%s: %s: other bits in %s",
              fuzz_engine_name(want->engine), what, gradient_names[g]);
    }
}

/* ------------------------------------------------------------------------------------- against the twin */

static double greatest(const struct array *array)
{
    double most = 1.0;
    for (int64_t i = array->memory == NULL ? -1 : array_count(array) - 1; i >= 0; i--) {
        most = fmax(most, fabs(array_get(array, i)));
    }
    return most;
}

/* Tiles hold a weight no smaller than 2^-63 of its row's sum (fuzz_twin.h): what may come of that in any gradient, all
 * factors being as great as they are anywhere. */
static double least_sum(const struct problem *p, const struct backward_call *c)
{
    const struct scene *s = &p->scene;
    const struct twin_problem *t = &s->twin;
    const struct array *factors[] = {&s->query, &s->key, &s->value, &s->table, &s->slopes};
    double all = 0x1p-63 * (double)((t->keys + 1) * (t->queries + 1) *
                                    (t->query_dim + t->key_dim + t->value_dim + t->hidden_dim));
    for (size_t i = 0; i < sizeof factors / sizeof *factors; i++) all *= greatest(factors[i]);
    for (int i = 0; i < s->param_count; i++) all *= greatest(&s->params[i]);
    all *= fmax(1.0, fabs(t->scale)) / (t->temperature > 0 ? fmin(1.0, t->temperature) : 1.0) / (1.0 - t->dropout);
    return all * c->greatest_flow / SCENE_FACTOR / dtype_epsilon(ATTN_F32);
}

/* The twin's gradient g in the library's shape, with what was there before. */
static void expect(struct problem *p, const struct backward_call *c, const struct twin_gradient_result *twin, int g,
                   double *want, double *magnitude)
{
    const int64_t count = array_count(&c->gradients[g]);
    for (int64_t i = 0; i < count; i++) {
        want[i] = c->args.accumulate ? (double)(i % 7 - 3) : 0.0;
        magnitude[i] = 0.0;
    }
    for (int64_t at = 0; at < twin->count[g]; at++) {
        const int64_t i = g == TWIN_D_BIAS ? backward_bias_element(&p->scene, at) : at;
        want[i] += twin->value[g][at];
        magnitude[i] += twin->magnitude[g][at];
    }
    for (int64_t i = 0; i < count && c->args.accumulate; i++) magnitude[i] += fabs(want[i]);
    for (int64_t i = 0; i < count; i++) { /* an infinity where a half has no greater number */
        const double got = array_get(&c->gradients[g], i);
        const bool is_beyond = c->gradients[g].tensor.dtype == ATTN_F16 && fabs(want[i]) > 65000.0;
        if (is_beyond && fabs(got) > 64000.0 && signbit(got) == signbit(want[i])) want[i] = got;
    }
    if (p->scene.dtype == ATTN_F64) return;
    const double least = least_sum(p, c);
    for (int64_t i = 0; i < count; i++) magnitude[i] += least;
}

static void check_against_twin(struct problem *p, const struct backward_call *c,
                               const struct twin_gradient_result *twin)
{
    for (int g = 0; g < TWIN_GRADIENTS; g++) {
        if (!(c->wanted >> g & 1)) continue;
        const int64_t count = array_count(&c->gradients[g]);
        double *want = must_allocate((size_t)(count + 1) * sizeof *want);
        double *magnitude = must_allocate((size_t)(count + 1) * sizeof *magnitude);
        expect(p, c, twin, g, want, magnitude);
        const struct worst worst = compare(&c->gradients[g], want, magnitude);
        CHECK(worst.ratio <= SCENE_FACTOR, "%s, %s[%d] is %.9g, wanted %.9g: %.3g times the unit",
              fuzz_engine_name(c->engine), gradient_names[g], (int)worst.index, worst.got, worst.want, worst.ratio);
        free(want);
        free(magnitude);
    }
}

static void check_gaps(const struct backward_call *c)
{
    for (int g = 0; g < TWIN_GRADIENTS; g++) {
        CHECK(!(c->wanted >> g & 1) || fuzz_gaps_untouched(&c->gradients[g]), "%s: written outside of %s",
              fuzz_engine_name(c->engine), gradient_names[g]);
    }
}

/* ------------------------------------------------------------------------------------------ other checks */

/* Gradients are exact whatever the mechanism is, if the context that they read is. */
static void forward_exactly(struct problem *p, struct forward_call *call)
{
    attn_mechanism *mechanism = problem_mechanism(p, call->engine);
    OK(attn_mechanism_set_precision(mechanism, ATTN_PRECISION_EXACT));
    forward_run(p, call);
    OK(attn_mechanism_set_precision(mechanism, p->precision));
}

/* However great the scores are, weights that are made anew from a log-sum-exp in float64 are those that forward writes:
 * d_value is their sum over what flows in. A relative error of 2^-10 is far more than a weight's own roundings. */
static void check_weights_anew(struct problem *p, const struct backward_call *c, const double *d_context)
{
    const struct twin_problem *t = &p->scene.twin;
    struct forward_call forward;
    struct bytes none = {NULL, 0};
    if (!(c->wanted >> TWIN_D_VALUE & 1) || d_context == NULL || c->args.accumulate) return;
    forward_outputs_create(&forward, p, &none, 1U << WEIGHTS);
    forward.engine = c->engine;
    forward_exactly(p, &forward);
    const struct array *weights = &forward.outputs[WEIGHTS];
    const int64_t group = t->query_heads / t->key_heads;
    for (int64_t at = 0, n = array_count(&c->gradients[TWIN_D_VALUE]); at < n; at++) {
        const int64_t d = at % t->value_dim, j = at / t->value_dim % t->keys, key_head = at / t->value_dim / t->keys;
        double sum = 0.0, magnitude = 0x1p-50;
        for (int64_t h = 0; h < group; h++) {
            for (int64_t i = 0; i < t->queries; i++) {
                const int64_t row = (key_head * group + h) * t->queries + i;
                const double term = array_get(weights, row * t->keys + j) * d_context[row * t->value_dim + d];
                sum += term;
                magnitude += fabs(term);
            }
        }
        const double got = array_get(&c->gradients[TWIN_D_VALUE], at);
        const double half = dtype_half_step(c->gradients[TWIN_D_VALUE].tensor.dtype, got);
        CHECK(fabs(got - sum) <= 0x1p-10 * magnitude + half || isinf(got),
              "%s: d_value[%d] is %.9g, but the weights make it %.9g", fuzz_engine_name(c->engine), (int)at, got, sum);
    }
}

static void check_workspace(struct problem *p, const struct backward_call *c, struct bytes *b)
{
    struct backward_call other = again(c);
    size_t needed = 0;
    bind_gradients(p, &other);
    OK(attn_backward_workspace(problem_mechanism(p, c->engine), &other.args, &needed));
    if (needed > (size_t)1 << 18) return;
    other.args.workspace = fuzz_block(b, needed);
    other.args.workspace_size = needed;
    run(p, &other);
    check_same(&other, c, "in a workspace");
}

static void check_refused(const struct backward_call *c, attn_status status, const char *what)
{
    CHECK(status != ATTN_OK, "attn_backward succeeded: %s", what);
    fuzz_check_sentence(status);
    struct backward_call before = again(c);
    check_same(c, &before, what);
}

static void check_allocations(struct problem *p, const struct backward_call *c)
{
    struct backward_call other = again(c);
    bind_gradients(p, &other);
    fuzz_count_allocations(0);
    const attn_status status = attn_backward(problem_mechanism(p, c->engine), &other.args);
    const bool asked = fuzz_allocations().asked > 0;
    fuzz_count_allocations(-1);
    if (asked) {
        CHECK(status == ATTN_ERR_NOMEM, "%s when memory ran out", attn_status_string(status));
        check_refused(&other, status, "a call without memory");
    }
}

/* A type that is taken nowhere that this one is. */
static attn_dtype wrong_dtype(const struct problem *p, attn_dtype dtype)
{
    return p->is_stored && dtype != ATTN_BOOL ? ATTN_BOOL : ATTN_F16;
}

static void spoil(struct problem *p, const struct backward_call *c, struct bytes *b)
{
    struct backward_call other = again(c);
    attn_tensor tensor;
    bind_gradients(p, &other);
    const attn_tensor **slots[] = {
        &other.args.d_query,     &other.args.d_key,        &other.args.d_value,   &other.args.d_bias,
        &other.args.d_alibi,     &other.args.d_relative,   &other.args.d_context, &other.args.d_weights,
        &other.args.d_logsumexp, &other.forward.query,     &other.forward.value,  &other.forward.key,
        &other.forward.context,  &other.forward.logsumexp, &other.forward.mask,   &other.forward.bias};
    const unsigned which = take(b), how = take(b);
    const attn_tensor **slot = slots[which % 16];
    if (which >= 240) {
        other.args.accumulate = 2;
    } else if (which >= 224) {
        other.forward.logsumexp = NULL;
    } else if (which >= 208) {
        other.args.d_context = other.args.d_weights = other.args.d_logsumexp = NULL;
    } else {
        if (*slot == NULL) return;
        if (slot == &other.forward.context && other.args.d_context == NULL) return;
        tensor = **slot;
        *slot = &tensor;
        if (how < 200 || tensor.data == NULL) {
            static const unsigned ways[] = {0, 1, 2, 3, 4, 5, 6, 7};
            const unsigned way = ways[how % 8];
            tensor.ndim = way == 0 ? 0 : way == 1 ? 5 : way == 2 ? -3 : tensor.ndim;
            tensor.dtype = way == 3 ? 0 : way == 4 ? 99 : way == 5 ? wrong_dtype(p, tensor.dtype) : tensor.dtype;
            if (way == 6) tensor.shape[0] = -1;
            if (way == 7) tensor.shape[tensor.ndim - 1] = INT64_MIN;
        } else { /* a gradient on an input */
            if (which % 16 > 2 || array_count(&other.gradients[which % 16]) == 0) return;
            if (array_count(&p->scene.query) == 0 || ((uintptr_t)p->scene.query.tensor.data & 7) != 0) return;
            tensor.data = p->scene.query.tensor.data;
        }
    }
    const attn_status status = attn_backward(problem_mechanism(p, c->engine), &other.args);
    other.args.accumulate = c->args.accumulate;
    check_refused(&other, status, "a spoilt call");
}

/* ----------------------------------------------------------------------------------------------- whole */

/* Context and log-sum-exp of this engine; the caller's own outputs may be others. */
static void save(struct problem *p, struct saved *saved, enum fuzz_engine on, struct bytes *b, unsigned choice)
{
    struct forward_call *call = &saved->call;
    forward_outputs_create(
        call, p, b, 1U << CONTEXT | 1U << LOGSUMEXP | (choice % 2 == 0 ? 128 : 0) | (choice / 2 % 2 == 0 ? 64 : 0));
    call->engine = on;
    forward_exactly(p, call);
}

void check_backward(struct problem *p, struct bytes *b, const struct forward_call *forward, unsigned choice)
{
    static struct saved saved;
    static struct backward_call c;
    struct array flows[FLOWS];
    double *flow_numbers[FLOWS] = {NULL};
    const unsigned flow_choice = take(b), wanted = take(b) << 8 | take(b), check = take(b);
    struct twin_gradient_result twin;
    (void)forward;

    memset(&c, 0, sizeof c);
    c.engine = choice % 2 == 0 ? TILES_ONE : BLAS_ONE;
    save(p, &saved, c.engine, b, flow_choice / 8);
    c.args = (attn_backward_args)ATTN_BACKWARD_ARGS_INIT;
    c.args.accumulate = flow_choice >= 192;
    const attn_tensor **slots[FLOWS] = {&c.args.d_context, &c.args.d_weights, &c.args.d_logsumexp};
    for (int f = 0; f < FLOWS; f++) {
        if (flow_choice % 8 != 0 ? !(flow_choice >> f & 1) : f != FLOW_CONTEXT) continue;
        fuzz_array(&flows[f], b, f == FLOW_CONTEXT ? p->scene.dtype : dtype_computed(p->scene.dtype),
                   f == FLOW_LOGSUMEXP ? 3 : 4, f == FLOW_WEIGHTS ? p->shape : p->context_shape, LAYOUT_INPUT);
        array_fill_normal(&flows[f], &p->scene.rng, 1.0);
        flow_numbers[f] = array_read(&flows[f]);
        c.greatest_flow = fmax(c.greatest_flow, greatest(&flows[f]));
        *slots[f] = &flows[f].tensor;
    }
    c.forward = p->scene.args;
    c.forward.context = &saved.call.outputs[CONTEXT].tensor;
    c.forward.logsumexp = &saved.call.outputs[LOGSUMEXP].tensor;
    const unsigned has = backward_has(&p->scene);
    c.wanted = (wanted & has) == 0 ? has : wanted & has;
    want_gradients(p, &c, b);
    fill_gradients(&c);
    if (p->scene.twin.hardmax || p->has_integers) {
        bind_gradients(p, &c);
        const attn_status status = attn_backward(problem_mechanism(p, c.engine), &c.args);
        CHECK(status == ATTN_ERR_UNSUPPORTED, "the gradient of hardmax or of integers is %s",
              attn_status_string(status));
        check_refused(&c, status, "hardmax or integers");
    } else {
        run(p, &c);
        check_gaps(&c);
        if (problem_in_reach(p)) {
            const struct array *context = &saved.call.outputs[CONTEXT];
            const bool was_rounded = dtype_computed(context->tensor.dtype) != context->tensor.dtype;
            double *rounded = was_rounded ? array_read(context) : NULL;
            const struct twin_flow flow = {flow_numbers[0], flow_numbers[1], flow_numbers[2], rounded,
                                           1.0 / (SCENE_FACTOR * dtype_epsilon(p->scene.dtype))};
            problem_run_twin(p);
            twin_gradient_run(&p->scene.twin, &p->scene.want, &flow, &twin);
            check_against_twin(p, &c, &twin);
            twin_gradient_free(&twin);
            free(rounded);
        }
        const bool exact_sum = saved.call.outputs[LOGSUMEXP].tensor.dtype == ATTN_F64;
        if (p->numbers == NUMBERS_PEAKED && exact_sum) {
            check_weights_anew(p, &c, flow_numbers[FLOW_CONTEXT]);
        }
        if (check % 4 == 0) {
            struct backward_call other = again(&c);
            other.engine = fuzz_engine_alike(c.engine, check / 16);
            run(p, &other);
            check_same(&other, &c, fuzz_engine_name(other.engine));
        }
        if (check % 4 == 1) check_workspace(p, &c, b);
        if (check % 4 == 2) check_allocations(p, &c);
        if (check % 4 == 3) spoil(p, &c, b);
    }
    for (int f = 0; f < FLOWS; f++) free(flow_numbers[f]);
}
