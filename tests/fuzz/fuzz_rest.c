/* SPDX-License-Identifier: BSD-3-Clause
 *
 * fuzz_rest.c: what is not attention by a mechanism: the decomposable stage (decomposable_checks.c), the attentional
 * step, sinusoids, slopes and rotary positions. What is left of an input is another such call, in 16 bits, parts that
 * are merged, and rows that are written to pages.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "decomposable_checks.h"
#include "spoil_tensor.h"

enum { BOUND = 16 };

/* The BLAS adds products of rows one by one, as the sums of float64 below do, and roundings of equal ones all have one
 * direction. */
static double bound_of_product(int64_t rows)
{
    return BOUND + (double)rows / 16.0;
}

static void fill(struct array *array, struct rng *rng)
{
    for (int64_t i = 0, n = array_count(array); i < n; i++) array_set(array, i, rng_normal(rng));
}

static void check_within(double bound, const struct array *got, const double *want, const double *magnitude,
                         const char *what, enum fuzz_engine on)
{
    const struct worst worst = compare(got, want, magnitude);
    CHECK(worst.ratio <= bound, "%s, %s[%d] is %.9g, wanted %.9g: %.3g times the unit", fuzz_engine_name(on), what,
          (int)worst.index, worst.got, worst.want, worst.ratio);
    CHECK(fuzz_gaps_untouched(got), "%s: written outside of %s", fuzz_engine_name(on), what);
}

static void check_close(const struct array *got, const double *want, const double *magnitude, const char *what,
                        enum fuzz_engine on)
{
    check_within(BOUND, got, want, magnitude, what, on);
}

/* ----------------------------------------------------------------------------------- the attentional step */

/* Results in plain order, with their magnitudes (see twin.c). */
struct numbers_of {
    double *value, *magnitude;
};

static struct numbers_of zeros(int64_t count)
{
    return (struct numbers_of){calloc((size_t)count + 1, sizeof(double)), calloc((size_t)count + 1, sizeof(double))};
}

static void numbers_free(struct numbers_of n)
{
    free(n.value), free(n.magnitude);
}

static void add(struct numbers_of n, int64_t at, double value, double magnitude)
{
    n.value[at] += value;
    n.magnitude[at] += magnitude;
}

static const double *input(struct array *array, struct bytes *b, attn_dtype dtype, int32_t ndim, const int64_t *shape,
                           struct rng *rng, double **owned)
{
    fuzz_array(array, b, dtype, ndim, shape, LAYOUT_INPUT);
    fill(array, rng);
    return *owned = array_read(array);
}

/* Parameters of a step of 16 bits, and their gradients, are of its type or of what is computed in. */
static attn_dtype take_param_dtype(struct bytes *b, attn_dtype dtype)
{
    return dtype_computed(dtype) != dtype && take(b) % 2 != 0 ? dtype_computed(dtype) : dtype;
}

static void check_attentional_backward(struct bytes *b, attn_attentional_args *args, enum fuzz_engine on,
                                       attn_dtype dtype, struct rng *rng, const double *x, const double *weight,
                                       const struct array *written, int64_t rows, int64_t columns, int64_t h,
                                       int64_t dv)
{
    const unsigned wanted = take(b);
    double *d_output, *output = array_read(written);
    struct array flow, gradients[4], again[4];
    const attn_tensor **slots[4] = {&args->d_weight, &args->d_bias, &args->d_context, &args->d_query};
    const attn_tensor *of[4] = {args->weight, args->bias, args->context, args->query};
    struct numbers_of want[4];
    input(&flow, b, dtype, written->tensor.ndim, written->tensor.shape, rng, &d_output);
    args->output = &written->tensor;
    args->d_output = &flow.tensor;
    args->accumulate = take(b) % 4 == 3;
    bool any = false;
    for (int g = 0; g < 4; g++) {
        if (of[g] == NULL || (wanted >> g & 1)) continue;
        fuzz_array(&gradients[g], b, g < 2 ? take_param_dtype(b, dtype) : dtype, of[g]->ndim, of[g]->shape,
                   LAYOUT_OUTPUT);
        for (int64_t i = array_count(&gradients[g]) - 1; i >= 0 && args->accumulate; i--)
            array_set(&gradients[g], i, 2.0);
        *slots[g] = &gradients[g].tensor;
        any = true;
    }
    const attn_status status = attn_attentional_backward(fuzz_engine(on), args);
    if (!any) {
        CHECK(status == ATTN_ERR_ARGUMENT, "nothing was wanted: %s", attn_status_string(status));
        free(d_output), free(output);
        return;
    }
    OK(status);
    const int64_t counts[4] = {h * columns, h, rows * dv, rows * (columns - dv)};
    for (int g = 0; g < 4; g++) want[g] = zeros(counts[g]);
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t o = 0; o < h; o++) {
            const double y = output[r * h + o], d = d_output[r * h + o];
            const double dz = d * (1.0 - y * y), m = fabs(d) * (1.0 + y * y);
            add(want[1], o, dz, m);
            for (int64_t c = 0; c < columns; c++) {
                const double w = weight[o * columns + c], in = x[r * columns + c];
                add(want[0], o * columns + c, dz * in, m * fabs(in));
                if (c < dv) {
                    add(want[2], r * dv + c, dz * w, m * fabs(w));
                } else {
                    add(want[3], r * (columns - dv) + c - dv, dz * w, m * fabs(w));
                }
            }
        }
    }
    static const char *const names[] = {"d_weight", "d_bias", "d_context", "d_query"};
    for (int g = 0; g < 4; g++) {
        if (*slots[g] != NULL) {
            for (int64_t i = 0; i < counts[g] && args->accumulate; i++)
                add(want[g], i, 2.0, 2.0 + fabs(want[g].value[i]));
            check_within(g == 0 || dtype == ATTN_F64 ? bound_of_product(rows) : BOUND, &gradients[g], want[g].value,
                         want[g].magnitude, names[g], on);
            fuzz_array_again(&again[g], &gradients[g]);
            *slots[g] = &again[g].tensor;
        }
        numbers_free(want[g]);
    }
    if (!args->accumulate) {
        OK(attn_attentional_backward(fuzz_engine(fuzz_engine_alike(on, wanted / 16)), args));
        for (int g = 0; g < 4; g++)
            CHECK(*slots[g] == NULL || fuzz_same(&again[g], &gradients[g]), "other bits in %s", names[g]);
    }
    free(d_output), free(output);
}

static void check_attentional(struct bytes *b, attn_dtype dtype, enum fuzz_engine on)
{
    attn_attentional_args args = ATTN_ATTENTIONAL_ARGS_INIT;
    const unsigned choice = take(b);
    const int64_t outer = 1 + take(b) % 2, t = take_range(b, 0, choice % 16 == 15 ? 600 : 9);
    const int64_t dv = take_range(b, 0, 20), dq = take_range(b, 0, 20), h = take_range(b, 0, 20);
    const int64_t columns = dv + dq, rows = outer * t;
    const int64_t weight_shape[2] = {h, columns}, context_shape[3] = {outer, t, dv}, query_shape[3] = {outer, t, dq};
    const int64_t output_shape[3] = {outer, t, h};
    struct array weight, bias, context, query, output, again;
    double *owned[4] = {NULL};
    struct rng rng = take_rng(b);
    const double *w = input(&weight, b, take_param_dtype(b, dtype), 2, weight_shape, &rng, &owned[0]);
    const double *z = choice & 1 ? input(&bias, b, take_param_dtype(b, dtype), 1, &h, &rng, &owned[1]) : NULL;
    const double *c = input(&context, b, dtype, 3, context_shape, &rng, &owned[2]);
    const double *q = input(&query, b, dtype, 3, query_shape, &rng, &owned[3]);
    fuzz_array(&output, b, dtype, 3, output_shape, LAYOUT_OUTPUT);
    args.weight = &weight.tensor, args.bias = z != NULL ? &bias.tensor : NULL;
    args.context = &context.tensor, args.query = &query.tensor, args.output = &output.tensor;
    fuzz_count_allocations(choice & 2 ? 0 : -1);
    attn_status status = attn_attentional_forward(fuzz_engine(on), &args);
    if (fuzz_allocations().asked > 0 && choice & 2) {
        CHECK(status == ATTN_ERR_NOMEM && fuzz_untouched(&output), "%s without memory", attn_status_string(status));
        fuzz_check_sentence(status);
        fuzz_count_allocations(-1);
        status = attn_attentional_forward(fuzz_engine(on), &args);
    }
    fuzz_count_allocations(-1);
    OK(status);
    double *x = must_allocate((size_t)(rows * columns + 1) * sizeof *x);
    struct numbers_of want = zeros(rows * h);
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t k = 0; k < columns; k++) x[r * columns + k] = k < dv ? c[r * dv + k] : q[r * dq + k - dv];
        for (int64_t o = 0; o < h; o++) {
            double sum = z != NULL ? z[o] : 0.0, m = fabs(sum);
            for (int64_t k = 0; k < columns; k++) {
                sum += w[o * columns + k] * x[r * columns + k];
                m += fabs(w[o * columns + k] * x[r * columns + k]);
            }
            const double y = tanh(sum);
            add(want, r * h + o, y, fabs(y) + (1.0 - y * y) * m);
        }
    }
    check_close(&output, want.value, want.magnitude, "output", on);
    fuzz_array_again(&again, &output);
    args.output = &again.tensor;
    OK(attn_attentional_forward(fuzz_engine(fuzz_engine_alike(on, choice / 16)), &args));
    CHECK(fuzz_same(&again, &output), "other bits with other threads");
    if (choice & 4) { /* one tensor wrong */
        attn_tensor wrong;
        const attn_tensor **slots[] = {&args.weight, &args.context, &args.query, &args.output, &args.bias};
        const attn_tensor **slot = slots[take(b) % 5], *right = *slot;
        if (right != NULL) {
            wrong = *right;
            *slot = &wrong;
            fuzz_wipe(&again);
            if (spoil_tensor_of(dtype, &wrong, take(b))) {
                status = attn_attentional_forward(fuzz_engine(on), &args);
                CHECK(status != ATTN_OK && fuzz_untouched(&again), "a spoilt call: %s", attn_status_string(status));
                fuzz_check_sentence(status);
            }
            *slot = right;
        }
    }
    check_attentional_backward(b, &args, on, dtype, &rng, x, w, &output, rows, columns, h, dv);
    numbers_free(want);
    free(x);
    for (int i = 0; i < 4; i++) free(owned[i]);
}

/* ------------------------------------------------------------------------------------------- positions */

static void check_sinusoids(struct bytes *b, attn_dtype dtype, enum fuzz_engine on)
{
    static const double bases[] = {10000.0, 2.0, 1.0, 0.5, 1e100, 1e-100, 500000.0, 10.0};
    const int64_t shape[2] = {take_range(b, 0, 40), take_range(b, 0, 40)};
    const unsigned choice = take(b);
    const int64_t far[] = {0, 1, -5, 1000000, ((int64_t)1 << 53) - 50, -((int64_t)1 << 53)};
    const int64_t first = far[take(b) % 6];
    const double base = bases[choice % 8];
    struct array table;
    fuzz_array(&table, b, dtype, 2, shape, LAYOUT_OUTPUT);
    OK(attn_position_sinusoidal(&table.tensor, first, base));
    CHECK(fuzz_gaps_untouched(&table), "%s: written between elements", fuzz_engine_name(on));
    for (int64_t at = 0; at < shape[0] * shape[1]; at++) {
        const int64_t d = at % shape[1], t = at / shape[1];
        const double angle = (double)(first + t) / pow(base, (double)(d / 2 * 2) / (double)shape[1]);
        const double got = array_get(&table, at), want = d % 2 == 0 ? sin(angle) : cos(angle);
        CHECK(fabs(got) <= 1.0, "sinusoid %g", got);
        CHECK(!isfinite(angle) || fabs(got - want) <= dtype_epsilon(dtype) + fabs(angle) * 0x1p-48,
              "sinusoid[%d][%d] is %.9g, wanted %.9g", (int)t, (int)d, got, want);
    }
    struct array slopes;
    const int64_t heads = take_range(b, 0, 40);
    fuzz_array(&slopes, b, dtype, 1, &heads, LAYOUT_OUTPUT);
    OK(attn_position_alibi_slopes(&slopes.tensor));
    CHECK(fuzz_gaps_untouched(&slopes), "slopes: written between elements");
    int64_t power = 1;
    while (power * 2 <= heads) power *= 2;
    for (int64_t h = 0; h < heads; h++) {
        const double want = h < power ? pow(2.0, -8.0 * (double)(h + 1) / (double)power)
                                      : pow(2.0, -4.0 * (double)(2 * (h - power) + 1) / (double)power);
        CHECK(fabs(array_get(&slopes, h) - want) <= 2 * dtype_epsilon(dtype) * want, "slope %d of %d is %g, wanted %g",
              (int)h, (int)heads, array_get(&slopes, h), want);
    }
}

static void check_rope(struct bytes *b, attn_dtype dtype, enum fuzz_engine on)
{
    attn_rope_options options = ATTN_ROPE_OPTIONS_INIT;
    const unsigned choice = take(b);
    const bool large = choice >= 240; /* many rows of one head */
    const int64_t batch = 1 + take(b) % 2 * !large, heads = 1 + take(b) % 3 * !large;
    const int64_t t = take_range(b, 0, large ? 700 : 12);
    const int64_t dim = 2 * take_range(b, 1, 24) + (choice & 1), shape[4] = {batch, heads, t, dim};
    const int64_t positions_shape[2] = {batch, t};
    struct array from, to, positions, again;
    struct rng rng = take_rng(b);
    options.layout = choice / 2 % 2 != 0 ? ATTN_ROPE_HALVES : ATTN_ROPE_INTERLEAVED;
    options.dimensions = choice & 1 ? 2 * take_range(b, 1, dim / 2) : 2 * take_range(b, 0, dim / 2);
    options.inverse = choice / 4 % 2;
    options.base = choice & 8 ? 0 : 500000.0;
    const bool given = (choice & 16) != 0, of_all = (choice & 32) != 0;
    options.first = given ? 0 : take_range(b, -100, 1000);
    fuzz_array(&from, b, dtype, 4, shape, LAYOUT_OUTPUT);
    fill(&from, &rng);
    double *before = array_read(&from);
    if (given) {
        fuzz_array(&positions, b, choice & 64 ? ATTN_I32 : ATTN_I64, of_all ? 1 : 2, positions_shape + of_all,
                   LAYOUT_INPUT);
        for (int64_t i = array_count(&positions) - 1; i >= 0; i--)
            array_set(&positions, i, (double)rng_integer(&rng, -50, 5000));
        options.positions = &positions.tensor;
    }
    fuzz_array(&to, b, dtype, 4, shape, LAYOUT_OUTPUT);
    fuzz_count_allocations(choice & 128 ? 0 : -1);
    attn_status status = attn_rope(fuzz_engine(on), &options, &from.tensor, &to.tensor);
    if (choice & 128 && fuzz_allocations().asked > 0) {
        CHECK(status == ATTN_ERR_NOMEM && fuzz_untouched(&to), "%s without memory", attn_status_string(status));
        fuzz_check_sentence(status);
        fuzz_count_allocations(-1);
        status = attn_rope(fuzz_engine(on), &options, &from.tensor, &to.tensor);
    }
    fuzz_count_allocations(-1);
    OK(status);
    CHECK(fuzz_gaps_untouched(&to), "written between elements");
    const int64_t n = options.dimensions > 0 ? options.dimensions : dim;
    for (int64_t at = 0; at < batch * heads * t * dim; at++) {
        const int64_t d = at % dim, row = at / dim % t, sequence = at / dim / t / heads;
        const double got = array_get(&to, at);
        if (d >= n) {
            CHECK(got == before[at], "what is not turned has changed");
            continue;
        }
        const bool halves = options.layout == ATTN_ROPE_HALVES, first = halves ? d < n / 2 : d % 2 == 0;
        const int64_t other = halves ? (first ? at + n / 2 : at - n / 2) : (first ? at + 1 : at - 1);
        const int64_t i = halves ? d % (n / 2) : d / 2;
        const double position =
            given ? array_get(&positions, (of_all ? 0 : sequence) * t + row) : (double)(options.first + row);
        const double base = options.base > 0 ? options.base : 10000.0;
        double angle = position * pow(base, -2.0 * (double)i / (double)n);
        if (options.inverse) angle = -angle;
        const double want = first ? before[at] * cos(angle) - before[other] * sin(angle)
                                  : before[at] * cos(angle) + before[other] * sin(angle);
        const double size = fabs(before[at]) + fabs(before[other]);
        const double half = dtype_half_step(dtype, got);
        CHECK(fabs(got - want) <= (4 * dtype_epsilon(dtype) + fabs(angle) * 0x1p-48) * size + half,
              "element %d is %.9g, wanted %.9g", (int)at, got, want);
    }
    fuzz_array_again(&again, &to);
    OK(attn_rope(fuzz_engine(fuzz_engine_alike(on, choice)), &options, &from.tensor, &again.tensor));
    CHECK(fuzz_same(&again, &to), "other bits with other threads");
    OK(attn_rope(fuzz_engine(on), &options, &from.tensor, &from.tensor));
    for (int64_t at = 0; at < batch * heads * t * dim; at++) {
        CHECK(array_get(&from, at) == array_get(&to, at), "in place it is another number");
    }
    attn_tensor wrong = to.tensor;
    if (spoil_tensor_of(dtype, &wrong, take(b))) {
        fuzz_wipe(&to);
        status = attn_rope(fuzz_engine(on), &options, &from.tensor, &wrong);
        CHECK(status != ATTN_OK && fuzz_untouched(&to), "a spoilt call: %s", attn_status_string(status));
        fuzz_check_sentence(status);
    }
    free(before);
}

/* ----------------------------------------------------------------------------------------------- merging */

enum { MOST_PARTS = 5 };

/* Joined in float64 here, part by part, as the header has it. */
static void check_merged(const struct array *contexts, const struct array *logsumexps, int64_t parts, int64_t row,
                         int64_t width, const struct array *context, const struct array *logsumexp)
{
    double most = -INFINITY, sum = 0, lost = 0;
    bool is_number = true;
    for (int64_t k = 0; k < parts; k++) {
        const double lse = array_get(&logsumexps[k], row);
        is_number &= !(isnan(lse) || lse == INFINITY);
        most = fmax(most, lse);
    }
    if (!is_number || most == -INFINITY) {
        for (int64_t d = 0; d < width; d++) {
            const double got = array_get(context, row * width + d);
            CHECK(is_number ? got == 0 : isnan(got), "context %g of no sum", got);
        }
        if (logsumexp == NULL) return;
        const double got = array_get(logsumexp, row);
        CHECK(is_number ? got == -INFINITY : isnan(got), "log-sum-exp %g of no sum", got);
        return;
    }
    for (int64_t k = 0; k < parts; k++) sum += exp(array_get(&logsumexps[k], row) - most);
    for (int64_t d = 0; d < width; d++) {
        double want = 0, size = 0;
        for (int64_t k = 0; k < parts; k++) {
            const double weight = exp(array_get(&logsumexps[k], row) - most) / sum;
            const double part = array_get(&contexts[k], row * width + d);
            if (weight == 0) continue;
            want += weight * part;
            size += weight * fabs(part);
        }
        const attn_dtype dtype = context->tensor.dtype;
        const double got = array_get(context, row * width + d);
        lost = 8 * dtype_epsilon(dtype_computed(dtype)) * size + 1e-37 + dtype_half_step(dtype, want);
        if (dtype == ATTN_F16 && fabs(want) + lost >= 65504) continue;
        CHECK((isnan(got) && isnan(want)) || got == want || fabs(got - want) <= lost, "context %.9g, wanted %.9g", got,
              want);
    }
    if (logsumexp == NULL) return;
    const double got = array_get(logsumexp, row), want = most + log(sum);
    CHECK(fabs(got - want) <= 4 * dtype_epsilon(logsumexp->tensor.dtype) * (1 + fabs(want)), "%.17g, wanted %.17g", got,
          want);
}

static void check_merge(struct bytes *b, enum fuzz_engine on)
{
    static const double odd[] = {-INFINITY, INFINITY, NAN, 1e30, -1e30, 0, 700, -700};
    static const attn_dtype narrow[] = {ATTN_F32, ATTN_F16, ATTN_BF16, ATTN_F32};
    const unsigned choice = take(b);
    if (choice == 0) return;
    struct rng rng = take_rng(b);
    struct array contexts[MOST_PARTS], logsumexps[MOST_PARTS], context, logsumexp, again[2];
    const attn_tensor *to_contexts[MOST_PARTS], *to_logsumexps[MOST_PARTS];
    const int64_t parts = 1 + choice % MOST_PARTS;
    const bool doubles = choice / 8 % 4 == 3, has_logsumexp = choice / 32 % 2 == 0;
    const int64_t shape[4] = {1 + take(b) % 2, 1 + take(b) % 3, take_range(b, 0, 80), take_range(b, 0, 70)};
    const int64_t rows = shape[0] * shape[1] * shape[2];
    for (int64_t k = 0; k < parts; k++) {
        const unsigned part = take(b);
        fuzz_array(&contexts[k], b, doubles ? ATTN_F64 : narrow[part % 4], 4, shape,
                   part >= 128 ? LAYOUT_OUTPUT : LAYOUT_INPUT); /* where no two rows are one, nothing may be seen */
        fuzz_array(&logsumexps[k], b, part / 4 % 2 == 0 ? ATTN_F32 : ATTN_F64, 3, shape, LAYOUT_INPUT);
        for (int64_t i = 0; i < array_count(&logsumexps[k]); i++) {
            array_set(&logsumexps[k], i,
                      rng_chance(&rng, part >= 128 ? 0.2 : 0) ? odd[rng_integer(&rng, 0, 7)] : 4 * rng_normal(&rng));
        }
        for (int64_t i = 0; i < array_count(&contexts[k]); i++) array_set(&contexts[k], i, rng_normal(&rng));
        to_contexts[k] = &contexts[k].tensor;
        to_logsumexps[k] = &logsumexps[k].tensor;
    }
    for (int64_t k = 0; k < parts; k++) { /* of a part in which nothing was seen anything may be there */
        for (int64_t i = 0; i < array_count(&contexts[k]); i++) {
            if (array_get(&logsumexps[k], i / shape[3]) == -INFINITY)
                array_set(&contexts[k], i, i % 2 ? NAN : INFINITY);
        }
    }
    fuzz_array(&context, b, doubles ? ATTN_F64 : narrow[take(b) % 4], 4, shape, LAYOUT_OUTPUT);
    fuzz_array(&logsumexp, b, take(b) % 2 == 0 ? ATTN_F32 : ATTN_F64, 3, shape, LAYOUT_OUTPUT);
    attn_merge_args args = ATTN_MERGE_ARGS_INIT;
    args.parts = parts;
    args.contexts = to_contexts;
    args.logsumexps = to_logsumexps;
    args.context = &context.tensor;
    args.logsumexp = has_logsumexp ? &logsumexp.tensor : NULL;
    fuzz_count_allocations(0);
    OK(attn_merge(fuzz_engine(on), &args));
    CHECK(fuzz_allocations().asked == 0, "attn_merge has allocated");
    fuzz_count_allocations(-1);
    CHECK(fuzz_gaps_untouched(&context) && fuzz_gaps_untouched(&logsumexp), "written outside of what is merged");
    for (int64_t row = 0; row < rows; row++) {
        check_merged(contexts, logsumexps, parts, row, shape[3], &context, has_logsumexp ? &logsumexp : NULL);
    }
    fuzz_array_again(&again[0], &context);
    fuzz_array_again(&again[1], &logsumexp);
    args.context = &again[0].tensor;
    if (has_logsumexp) args.logsumexp = &again[1].tensor;
    OK(attn_merge(fuzz_engine(fuzz_engine_alike(on, choice / 64)), &args));
    CHECK(fuzz_same(&again[0], &context), "other bits with other threads");
    CHECK(!has_logsumexp || fuzz_same(&again[1], &logsumexp), "other bits of log-sum-exps");
    attn_tensor wrong = context.tensor;
    if (spoil_tensor_of(wrong.dtype, &wrong, take(b)) && (doubles || wrong.dtype != ATTN_F16)) {
        fuzz_wipe(&again[0]);
        fuzz_wipe(&again[1]);
        args.context = &wrong;
        fuzz_wipe(&context);
        const attn_status status = attn_merge(fuzz_engine(on), &args);
        CHECK(status != ATTN_OK && fuzz_untouched(&context) && fuzz_untouched(&again[1]), "a spoilt call: %s",
              attn_status_string(status));
        fuzz_check_sentence(status);
    }
}

/* ----------------------------------------------------------------------------------------------- pages */

enum { MOST_SLOTS = 24 };

/* True if all slots are there, or -1, and none is there twice. */
static bool slots_are_right(const int64_t *slots, int64_t count, int64_t places)
{
    for (int64_t i = 0; i < count; i++) {
        if (slots[i] < -1 || slots[i] >= places) return false;
        for (int64_t j = 0; j < i; j++) {
            if (slots[i] == slots[j] && slots[i] >= 0) return false;
        }
    }
    return true;
}

/* Keys alone, or as values; whatever slots an input holds. */
static void check_pages_append(struct bytes *b, enum fuzz_engine on)
{
    static const attn_dtype types[] = {ATTN_F32, ATTN_F16, ATTN_BF16, ATTN_F64};
    struct rng rng = {take(b)};
    const unsigned choice = take(b);
    const int64_t count = take_range(b, 0, MOST_SLOTS), heads = 1 + choice % 3, width = take_range(b, 0, 40);
    const int64_t places[4] = {take_range(b, 0, 9), heads, take_range(b, 1, 9), width},
                  shape[4] = {1, heads, count, width};
    struct array rows, pages, want;
    int64_t slots[MOST_SLOTS];
    for (int64_t i = 0; i < count; i++) slots[i] = take_range(b, -1, places[0] * places[2] + (choice >= 128) - 1);
    fuzz_array(&rows, b, types[choice / 4 % 4], 4, shape, LAYOUT_INPUT);
    fuzz_array(&pages, b, types[choice / 16 % 4], 4, places, LAYOUT_OUTPUT);
    fill(&rows, &rng);
    fuzz_array_copy(&want, &pages);
    const attn_tensor to = {slots, ATTN_I64, 1, {count}, {1}};
    attn_pages_append_args args = ATTN_PAGES_APPEND_ARGS_INIT;
    args.slots = &to;
    *(choice & 64 ? &args.key : &args.value) = &rows.tensor;
    *(choice & 64 ? &args.key_pages : &args.value_pages) = &pages.tensor;
    const attn_status status = attn_pages_append(fuzz_engine(on), &args);
    if (!slots_are_right(slots, count, places[0] * places[2])) {
        CHECK(status == ATTN_ERR_ARGUMENT && fuzz_same(&pages, &want), "wrong slots: %s", attn_status_string(status));
        fuzz_check_sentence(status);
        return;
    }
    OK(status);
    for (int64_t i = 0; i < count * heads * width; i++) {
        const int64_t at = i / width % count, h = i / width / count;
        if (slots[at] < 0) continue;
        const int64_t row = (slots[at] / places[2] * heads + h) * places[2] + slots[at] % places[2];
        array_set(&want, row * width + i % width, array_get(&rows, i));
    }
    CHECK(fuzz_same(&pages, &want), "other pages than were to be written");
}

static void check_stored(struct bytes *b, unsigned which, attn_dtype narrow, enum fuzz_engine on)
{
    if (which % 8 < 5) check_decomposable(b, narrow, on);
    if (which % 8 == 5) check_attentional(b, narrow, on);
    if (which % 8 == 7) check_rope(b, narrow, on);
}

void fuzz_one(struct bytes *b)
{
    const unsigned which = take(b), choice = take(b);
    const attn_dtype dtype = choice % 4 == 3 ? ATTN_F64 : ATTN_F32;
    const enum fuzz_engine on = choice / 4 % 2 == 0 ? TILES_ONE : BLAS_ONE;
    if (which % 8 < 5) check_decomposable(b, dtype, on);
    if (which % 8 == 5) check_attentional(b, dtype, on);
    if (which % 8 == 6) check_sinusoids(b, dtype, on);
    if (which % 8 == 7) check_rope(b, dtype, on);
    const unsigned stored = take(b) % 4;
    const attn_dtype narrow = stored == 1 ? ATTN_BF16 : ATTN_F16;
    if (stored != 0) check_stored(b, which, narrow, on);
    check_merge(b, on);
    check_pages_append(b, on);
}
