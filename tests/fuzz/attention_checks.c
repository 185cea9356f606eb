/* SPDX-License-Identifier: BSD-3-Clause
 *
 * attention_checks.c: what must hold of attn_forward (attention_checks.h).
 */
#include "attention_checks.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *const output_names[OUTPUTS] = {"context", "weights", "scores", "logsumexp"};

/* --------------------------------------------------------------------------------------------- outputs */

void forward_bind(struct forward_call *call)
{
    const attn_tensor **slots[OUTPUTS] = {&call->args.context, &call->args.weights, &call->args.scores,
                                          &call->args.logsumexp};
    for (int o = 0; o < OUTPUTS; o++) *slots[o] = call->wanted >> o & 1 ? &call->outputs[o].tensor : NULL;
}

static attn_dtype output_dtype(const struct problem *p, int output, unsigned choice)
{
    if (output == LOGSUMEXP && choice >= 128) return ATTN_F64;
    return output == CONTEXT && choice / 64 % 2 == 0 ? p->scene.dtype : dtype_computed(p->scene.dtype);
}

void forward_outputs_create(struct forward_call *call, struct problem *p, struct bytes *b, unsigned choice)
{
    memset(call, 0, sizeof *call);
    call->args = p->scene.args;
    call->wanted = choice % 16 == 0 ? 1U << CONTEXT : choice % 16;
    call->args.scores_stage = (attn_scores_stage)(choice / 16 % 4);
    if (p->scene.twin.local >= TWIN_PREDICTIVE && call->args.scores_stage < ATTN_SCORES_MASKED) { /* is refused */
        call->args.scores_stage = ATTN_SCORES_MASKED;
    }
    for (int o = 0; o < OUTPUTS; o++) {
        if (!(call->wanted >> o & 1)) continue;
        fuzz_array(&call->outputs[o], b, output_dtype(p, o, choice), o == LOGSUMEXP ? 3 : 4,
                   o == CONTEXT ? p->context_shape : p->shape, LAYOUT_OUTPUT);
        fuzz_lower_rank(&call->outputs[o], b);
    }
    forward_bind(call);
}

struct forward_call forward_outputs_again(const struct forward_call *call)
{
    struct forward_call again = *call;
    for (int o = 0; o < OUTPUTS; o++) {
        if (call->wanted >> o & 1) fuzz_array_again(&again.outputs[o], &call->outputs[o]);
    }
    return again; /* to be bound where it will stay */
}

void forward_run(struct problem *p, struct forward_call *call)
{
    forward_bind(call);
    const attn_mechanism *mechanism = problem_mechanism(p, call->engine);
    fuzz_count_allocations(-1);
    OK(attn_forward(mechanism, &call->args));
    CHECK(fuzz_allocations().asked <= (call->args.workspace == NULL), "%d allocations", (int)fuzz_allocations().asked);
}

/* --------------------------------------------------------------------------------------------- results */

static void check_against_twin(struct problem *p, const struct forward_call *call)
{
    problem_run_twin(p);
    const struct twin_result *want = &p->scene.want;
    const int stage = call->args.scores_stage; /* the twin's stages have the library's numbers */
    const double *values[OUTPUTS] = {want->context, want->scores[TWIN_WEIGHTS], want->scores[stage], want->logsumexp};
    const double *magnitudes[OUTPUTS] = {want->context_magnitude, want->scores_magnitude[TWIN_WEIGHTS],
                                         want->scores_magnitude[stage], want->logsumexp_magnitude};
    for (int o = 0; o < OUTPUTS; o++) {
        if (!(call->wanted >> o & 1)) continue;
        struct array got = call->outputs[o];
        /* A log-sum-exp in float64 of a float32 query carries the roundings of float32. */
        const double unit = dtype_epsilon(p->scene.dtype) / dtype_epsilon(got.tensor.dtype);
        const struct worst worst = compare(&got, values[o], magnitudes[o]);
        CHECK(worst.ratio <= SCENE_FACTOR * unit, "%s, %s[%d] is %.9g, wanted %.9g: %.3g times the unit",
              fuzz_engine_name(call->engine), output_names[o], (int)worst.index, worst.got, worst.want,
              worst.ratio / unit);
    }
}

/* Whether everything that comes of these inputs is within float32, with room for the roundings. */
static bool representable(struct problem *p)
{
    const struct twin_problem *t = &p->scene.twin;
    const struct twin_result *want = &p->scene.want;
    const double most = p->scene.dtype == ATTN_F64 ? DBL_MAX : (double)FLT_MAX;
    const double tau = t->temperature > 0 ? t->temperature : 1.0;
    problem_run_twin(p);
    for (int64_t i = p->shape[0] * p->shape[1] * p->shape[2] * p->shape[3] - 1; i >= 0; i--) {
        const double masked = want->scores[TWIN_MASKED][i];
        if (!(want->scores_magnitude[TWIN_RAW][i] < most / 4)) return false;
        if (masked != -INFINITY && !(fabs(masked) <= most && fabs(masked) / tau <= most)) return false;
    }
    return true;
}

static bool plain_weights(const struct problem *p)
{
    return p->scene.twin.dropout == 0.0 && p->scene.twin.local < TWIN_PREDICTIVE;
}

/* The least and the greatest of the values that a query of this head may mix. */
static void hull(const struct problem *p, int64_t row, int64_t d, double *least, double *greatest)
{
    const struct twin_problem *t = &p->scene.twin;
    const int64_t head = row / t->queries, b = head / t->query_heads, h = head % t->query_heads;
    const int64_t key_head = b * t->key_heads + h / (t->query_heads / t->key_heads);
    const double *values = (t->value != NULL ? t->value : t->key) + key_head * t->keys * t->value_dim + d;
    *least = INFINITY, *greatest = -INFINITY;
    for (int64_t j = 0; j < t->keys; j++) {
        if (p->scene.want.scores[TWIN_MASKED][row * t->keys + j] == -INFINITY) continue;
        *least = fmin(*least, values[j * t->value_dim]);
        *greatest = fmax(*greatest, values[j * t->value_dim]);
    }
}

static void check_weights(const struct problem *p, const struct forward_call *call)
{
    const struct array *weights = &call->outputs[WEIGHTS];
    const int64_t rows = p->shape[0] * p->shape[1] * p->shape[2], keys = p->shape[3];
    const double unit = dtype_epsilon(p->scene.dtype), slack = p->scene.dtype == ATTN_F64 ? 1e-9 : 2e-3;
    for (int64_t row = 0; row < rows; row++) {
        double sum = 0.0;
        for (int64_t j = 0; j < keys; j++) {
            const double w = array_get(weights, row * keys + j);
            CHECK(w >= 0.0, "%s: weight %g", fuzz_engine_name(call->engine), w);
            sum += w;
        }
        if (!plain_weights(p) || (problem_in_reach(p) && p->numbers != NUMBERS_PEAKED)) continue; /* the twin has */
        const double missing = p->scene.twin.sinks != NULL ? fmax(sum - 1.0, 0.0) : fabs(sum - 1.0);
        CHECK(sum == 0.0 || missing <= slack + (double)keys * unit, "%s: weights of row %d add up to %.9g",
              fuzz_engine_name(call->engine), (int)row, sum);
    }
}

/* A mean of values lies among them, and of what a sink leaves of it towards 0. */
static void check_context(const struct problem *p, const struct forward_call *call)
{
    const int64_t rows = p->shape[0] * p->shape[1] * p->shape[2], dim = p->context_shape[3];
    const bool by_whole_numbers = p->precision == ATTN_PRECISION_FAST && p->has_integers;
    const double share = by_whole_numbers ? (double)p->shape[3] * 0x1p-15 : 0; /* as allow_whole_numbers has it */
    for (int64_t i = 0; i < rows * dim; i++) {
        const double got = array_get(&call->outputs[CONTEXT], i);
        double least, greatest;
        hull(p, i / dim, i % dim, &least, &greatest);
        if (least > greatest) {
            CHECK(got == 0.0, "%s: context %g of no keys", fuzz_engine_name(call->engine), got);
            continue;
        }
        if (p->scene.twin.sinks != NULL) least = fmin(least, 0.0), greatest = fmax(greatest, 0.0);
        const bool is_half = call->outputs[CONTEXT].tensor.dtype == ATTN_F16;
        if (is_half && fmax(fabs(least), fabs(greatest)) > 65504.0) continue; /* of integers with great scales */
        const double half = dtype_half_step(call->outputs[CONTEXT].tensor.dtype, got);
        const double slack = (2e-3 + share) * fmax(fabs(least), fabs(greatest)) + 1e-37 + half;
        CHECK(got >= least - slack && got <= greatest + slack, "%s: context[%d] %.9g is not within %.9g .. %.9g",
              fuzz_engine_name(call->engine), (int)i, got, least, greatest);
    }
}

void forward_check_result(struct problem *p, const struct forward_call *call)
{
    for (int o = 0; o < OUTPUTS; o++) {
        CHECK(!(call->wanted >> o & 1) || fuzz_gaps_untouched(&call->outputs[o]), "%s: written outside of %s",
              fuzz_engine_name(call->engine), output_names[o]);
    }
    if (!problem_is_finite(p)) return;
    if (problem_in_reach(p)) check_against_twin(p, call);
    if (!representable(p)) return;
    if (call->wanted >> WEIGHTS & 1) check_weights(p, call);
    if (call->wanted >> CONTEXT & 1 && plain_weights(p)) check_context(p, call);
}

/* ---------------------------------------------------------------------------------------- the same bits */

static void check_same(const struct forward_call *got, const struct forward_call *want, const char *what)
{
    for (int o = 0; o < OUTPUTS; o++) {
        if (!(want->wanted >> o & 1)) continue;
        CHECK(fuzz_same(&got->outputs[o], &want->outputs[o]), "%s: %s: other bits in %s",
              fuzz_engine_name(want->engine), what, output_names[o]);
    }
}

void forward_check_alike(struct problem *p, const struct forward_call *call, unsigned choice)
{
    struct forward_call other = forward_outputs_again(call);
    other.engine = fuzz_engine_alike(call->engine, choice);
    forward_run(p, &other);
    check_same(&other, call, fuzz_engine_name(other.engine));
}

void forward_check_workspace(struct problem *p, const struct forward_call *call, struct bytes *b)
{
    struct forward_call other = forward_outputs_again(call);
    size_t needed = 0;
    forward_bind(&other);
    OK(attn_forward_workspace(problem_mechanism(p, other.engine), &other.args, &needed));
    if (needed > (size_t)1 << 18) return; /* a guarded block has no more */
    unsigned char *workspace = fuzz_block(b, needed);
    other.args.workspace = workspace;
    other.args.workspace_size = needed;
    forward_run(p, &other);
    check_same(&other, call, "in a workspace");
}

/* The arguments with a copy of each input elsewhere, other lengths and another position. */
static void move_inputs(struct problem *p, attn_forward_args *args)
{
    enum { INPUTS = 8 };
    static struct array copies[INPUTS];
    struct scene *s = &p->scene;
    const struct twin_problem *t = &s->twin;
    const struct {
        const struct array *array;
        const attn_tensor **slot;
    } inputs[INPUTS] = {{&s->query, &args->query},
                        {&s->key, &args->key},
                        {&s->value, &args->value},
                        {&s->mask, &args->mask},
                        {&s->bias, &args->bias},
                        {&s->lengths, &args->key_lengths},
                        {&p->key_scales, &args->key_scales},
                        {&p->value_scales, &args->value_scales}};
    for (int i = 0; i < INPUTS; i++) {
        if (*inputs[i].slot == NULL) continue;
        fuzz_array_copy(&copies[i], inputs[i].array);
        *inputs[i].slot = &copies[i].tensor;
    }
    for (int64_t i = 0; args->key_lengths != NULL && i < t->batch; i++) {
        array_set(&copies[5], i, (double)(((int64_t)array_get(&s->lengths, i) + 1 + i) % (t->keys + 1)));
    }
    const bool bottom_right = t->relative_align == TWIN_BOTTOM_RIGHT || t->causal == TWIN_BOTTOM_RIGHT ||
                              t->window == TWIN_BOTTOM_RIGHT || t->alibi == TWIN_BOTTOM_RIGHT;
    if (!bottom_right) args->query_start += 3;
}

/* Moved, it is the call that has the same arguments. */
static void check_moved_plan(struct problem *p, const struct forward_call *call, attn_plan *plan)
{
    struct forward_call moved = forward_outputs_again(call), want = forward_outputs_again(call);
    move_inputs(p, &moved.args);
    forward_bind(&moved);
    OK(attn_plan_run(plan, &moved.args));
    want.args = moved.args;
    forward_run(p, &want);
    check_same(&moved, &want, "by a plan, with other inputs");
    for (int o = 0; o < OUTPUTS; o++) {
        if (call->wanted >> o & 1) fuzz_wipe(&moved.outputs[o]);
    }
    OK(attn_plan_run(plan, NULL));
    check_same(&moved, &want, "by a plan, once more");
}

void forward_check_plan(struct problem *p, const struct forward_call *call)
{
    struct forward_call here = forward_outputs_again(call), there = forward_outputs_again(call);
    attn_plan *plan = NULL;
    forward_bind(&here);
    forward_bind(&there);
    OK(attn_plan_create(problem_mechanism(p, call->engine), &here.args, &plan));
    for (int o = 0; o < OUTPUTS; o++) {
        CHECK(!(call->wanted >> o & 1) || fuzz_untouched(&here.outputs[o]), "%s was written by a plan that has not run",
              output_names[o]);
    }
    fuzz_count_allocations(-1);
    OK(attn_plan_run(plan, NULL));
    OK(attn_plan_run(plan, &there.args));
    CHECK(p->scene.modifiers & HAS_RELATIVE || fuzz_allocations().asked == 0, "a plan that ran has allocated");
    check_same(&here, call, "by a plan");
    check_same(&there, call, "by a plan, elsewhere");
    check_moved_plan(p, call, plan);
    attn_plan_destroy(plan);
}

/* A key of a key head that no query of its group sees. */
static bool unseen(const struct problem *p, int64_t b, int64_t key_head, int64_t j)
{
    const struct twin_problem *t = &p->scene.twin;
    const int64_t group = t->query_heads / t->key_heads;
    for (int64_t h = key_head * group; h < (key_head + 1) * group; h++) {
        for (int64_t i = 0; i < t->queries; i++) {
            const int64_t at = ((b * t->query_heads + h) * t->queries + i) * t->keys + j;
            if (p->scene.want.scores[TWIN_MASKED][at] != -INFINITY) return false;
        }
    }
    return true;
}

static bool has_zero_stride(const struct array *array)
{
    for (int32_t d = 0; d < array->tensor.ndim; d++) {
        if (array->tensor.shape[d] > 1 && array->tensor.stride[d] == 0) return true;
    }
    return false;
}

/* Row `row` of another array of the same layout; of integers, with its scale. */
static void take_row(struct array *to, const struct array *from, struct array *to_scales, const struct array *scales,
                     int64_t row, int64_t width)
{
    for (int64_t d = 0; d < width; d++) array_set(to, row * width + d, array_get(from, row * width + d));
    if (to_scales->memory != NULL) array_set(to_scales, row, array_get(scales, row));
}

/* Keys that a bias of minus infinity hides keep their own numbers: NaN plus that is NaN. */
void forward_check_unseen(struct problem *p, const struct forward_call *call)
{
    struct scene *s = &p->scene;
    const struct twin_problem *t = &s->twin;
    struct array key = {0}, value = {0}, key_scales = {0}, value_scales = {0};
    bool any = false;
    if (!problem_is_finite(p) || has_zero_stride(&s->key) || has_zero_stride(&s->value)) return;
    if (has_zero_stride(&p->key_scales) || has_zero_stride(&p->value_scales)) return;
    if (call->wanted >> SCORES & 1 && call->args.scores_stage < ATTN_SCORES_MASKED) return;
    problem_run_twin(p);
    if (s->args.key != NULL) fuzz_array_again(&key, &s->key);
    if (s->args.value != NULL) fuzz_array_again(&value, &s->value);
    if (s->args.key_scales != NULL) fuzz_array_again(&key_scales, &p->key_scales);
    if (s->args.value_scales != NULL) fuzz_array_again(&value_scales, &p->value_scales);
    for (int64_t row = 0; row < t->batch * t->key_heads * t->keys; row++) { /* what is again is NaN */
        const bool hidden = unseen(p, row / t->keys / t->key_heads, row / t->keys % t->key_heads, row % t->keys);
        any |= hidden;
        if (key.memory != NULL && (!hidden || t->bias != NULL)) {
            take_row(&key, &s->key, &key_scales, &p->key_scales, row, t->key_dim);
        }
        if (value.memory != NULL && !hidden) {
            take_row(&value, &s->value, &value_scales, &p->value_scales, row, t->value_dim);
        }
    }
    if (!any) return;
    struct forward_call other = forward_outputs_again(call);
    if (s->args.key != NULL) other.args.key = &key.tensor;
    if (s->args.value != NULL) other.args.value = &value.tensor;
    if (s->args.key_scales != NULL) other.args.key_scales = &key_scales.tensor;
    if (s->args.value_scales != NULL) other.args.value_scales = &value_scales.tensor;
    forward_run(p, &other);
    check_same(&other, call, "unseen keys are NaN");
}

/* ----------------------------------------------------------------------------------------------- stats */

enum { ENTROPY, STRONGEST, KEY_SUMS, STATS };

/* Of weights that add up to 1, or to nothing; or, with a sink, to less than 1. */
static void check_stats(const struct problem *p, const struct array stats[STATS])
{
    const int64_t rows = p->shape[0] * p->shape[1] * p->shape[2], keys = p->shape[3];
    const double slack = p->scene.dtype == ATTN_F64 ? 1e-9 : 2e-3;
    int64_t seeing = 0;
    double sums = 0.0;
    for (int64_t row = 0; row < rows; row++) {
        const double entropy = array_get(&stats[ENTROPY], row), strongest = array_get(&stats[STRONGEST], row);
        CHECK(entropy >= -slack && entropy <= log(fmax(1.0, (double)keys)) + slack, "entropy[%d] is %.9g of %d keys",
              (int)row, entropy, (int)keys);
        CHECK(strongest >= -1.0 && strongest < (double)keys, "strongest[%d] is %g of %d keys", (int)row, strongest,
              (int)keys);
        CHECK(strongest >= 0.0 || entropy == 0.0, "entropy[%d] is %.9g of no keys", (int)row, entropy);
        seeing += strongest >= 0.0;
    }
    for (int64_t i = 0; i < p->shape[0] * p->shape[1] * keys; i++) {
        const double sum = array_get(&stats[KEY_SUMS], i);
        CHECK(sum >= 0.0, "key_sums[%d] is %.9g", (int)i, sum);
        sums += sum;
    }
    const double off = p->scene.twin.sinks != NULL ? fmax(sums - (double)seeing, 0.0) : fabs(sums - (double)seeing);
    CHECK(p->scene.twin.local >= TWIN_PREDICTIVE || off <= slack * (double)(rows + 1),
          "%d queries see keys, and their weights add up to %.9g", (int)seeing, sums);
}

void forward_check_stats(struct problem *p, const struct forward_call *call, struct bytes *b)
{
    static struct array stats[STATS];
    struct forward_call other = forward_outputs_again(call);
    const int64_t of_keys[3] = {p->shape[0], p->shape[1], p->shape[3]};
    attn_weights_stats all = ATTN_WEIGHTS_STATS_INIT;
    memset(stats, 0, sizeof stats);
    fuzz_array(&stats[ENTROPY], b, dtype_computed(p->scene.dtype), 3, p->shape, LAYOUT_OUTPUT);
    fuzz_array(&stats[STRONGEST], b, take(b) % 2 == 0 ? ATTN_I32 : ATTN_I64, 3, p->shape, LAYOUT_OUTPUT);
    fuzz_array(&stats[KEY_SUMS], b, dtype_computed(p->scene.dtype), 3, of_keys, LAYOUT_OUTPUT);
    all.entropy = &stats[ENTROPY].tensor;
    all.strongest = &stats[STRONGEST].tensor;
    all.key_sums = &stats[KEY_SUMS].tensor;
    other.args.stats = &all;
    forward_run(p, &other);
    forward_check_result(p, &other);
    for (int i = 0; i < STATS; i++) CHECK(fuzz_gaps_untouched(&stats[i]), "written outside of stats");
    if (problem_is_finite(p) && representable(p)) check_stats(p, stats);
}

/* ----------------------------------------------------------------------------------------- allocations */

void forward_check_allocations(struct problem *p, const struct forward_call *call)
{
    struct forward_call other = forward_outputs_again(call);
    const attn_mechanism *mechanism = problem_mechanism(p, call->engine);
    forward_bind(&other);
    fuzz_count_allocations(0);
    const attn_status status = attn_forward(mechanism, &other.args);
    const bool asked = fuzz_allocations().asked > 0;
    fuzz_count_allocations(-1);
    if (!asked) {
        check_same(&other, call, "once more");
        return;
    }
    CHECK(status == ATTN_ERR_NOMEM, "%s when memory ran out", attn_status_string(status));
    fuzz_check_sentence(status);
    for (int o = 0; o < OUTPUTS; o++) {
        CHECK(!(call->wanted >> o & 1) || fuzz_untouched(&other.outputs[o]), "%s was written by a call without memory",
              output_names[o]);
    }
    forward_run(p, &other);
    check_same(&other, call, "after a failure");
}
