/* SPDX-License-Identifier: BSD-3-Clause
 *
 * decomposable_checks.c: the decomposable stage beside two problems of the twin's, one for each way between the
 * sentences: beta is attention of f over g, alpha of g over f, and gradients of the two add up.
 */
#include "decomposable_checks.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz_twin.h"
#include "reference/twin_gradient.h"
#include "spoil_tensor.h"

enum { BOUND = 16, INPUTS = 4, OUTPUTS_OF = 4, MOST_BATCH = 3 };
enum { F, G, A, B };
enum { BETA, ALPHA, A_LOGSUMEXP, B_LOGSUMEXP };

struct stage {
    attn_dtype dtype;
    enum fuzz_engine engine;
    int64_t batch, heads, ta, tb, dim, da, db;
    int64_t lengths[2][MOST_BATCH];
    struct array length_arrays[2], inputs[INPUTS], outputs[OUTPUTS_OF];
    double *numbers[INPUTS];
    bool with_a, with_b;
    attn_decomposable_args args;
    struct twin_problem twins[2]; /* f over g, g over f */
    unsigned char *masks[2];
    struct twin_result want[2];
};

/* What is past a query's length sees nothing. */
static unsigned char *mask_of(const struct stage *s, int side)
{
    const int64_t queries = side == 0 ? s->ta : s->tb, keys = side == 0 ? s->tb : s->ta;
    const int64_t count = s->batch * s->heads * queries * keys;
    unsigned char *mask = must_allocate((size_t)count + 1);
    for (int64_t at = 0; at < count; at++) {
        mask[at] = at / keys % queries < s->lengths[side][at / keys / queries / s->heads];
    }
    return mask;
}

static void create(struct stage *s, struct bytes *b, attn_dtype dtype, enum fuzz_engine on)
{
    memset(s, 0, sizeof *s);
    const unsigned choice = take(b), large = take(b);
    s->dtype = dtype;
    s->engine = on;
    s->batch = take(b) % MOST_BATCH + (large % 32 != 31);
    if (s->batch > MOST_BATCH) s->batch = MOST_BATCH;
    s->heads = 1 + take(b) % 2;
    s->ta = take_range(b, 0, large % 8 == 7 ? 150 : 14);
    s->tb = take_range(b, 0, large % 8 == 7 ? 150 : 14);
    s->dim = take_range(b, 1, large / 8 % 8 == 7 ? 140 : 14);
    s->with_a = choice & 1, s->with_b = choice & 2;
    s->da = s->with_a ? take_range(b, 0, 20) : s->dim;
    s->db = s->with_b ? take_range(b, 0, 20) : s->dim;
    if (large % 8 == 7) s->batch = s->heads = 1;
    if (large % 8 == 7 && s->dim > 20) s->dim = 20, s->da = s->with_a ? s->da : 20, s->db = s->with_b ? s->db : 20;
    for (int side = 0; side < 2; side++) {
        const int64_t most = side == 0 ? s->ta : s->tb;
        const bool given = choice >> (2 + side) & 1;
        if (given)
            fuzz_array(&s->length_arrays[side], b, take(b) % 2 == 0 ? ATTN_I64 : ATTN_I32, 1, &s->batch, LAYOUT_OUTPUT);
        for (int64_t r = 0; r < s->batch; r++) {
            s->lengths[side][r] = given ? take_range(b, 0, most) : most;
            if (given) array_set(&s->length_arrays[side], r, (double)s->lengths[side][r]);
        }
    }
    struct rng rng = take_rng(b);
    s->args = (attn_decomposable_args)ATTN_DECOMPOSABLE_ARGS_INIT;
    const attn_tensor **slots[INPUTS] = {&s->args.f, &s->args.g, &s->args.a, &s->args.b};
    for (int i = 0; i < INPUTS; i++) {
        if ((i == A && !s->with_a) || (i == B && !s->with_b)) continue;
        const int64_t shape[4] = {s->batch, s->heads, i % 2 == 0 ? s->ta : s->tb,
                                  i < A    ? s->dim
                                  : i == A ? s->da
                                           : s->db};
        fuzz_array(&s->inputs[i], b, dtype, 4, shape, LAYOUT_INPUT);
        for (int64_t k = 0, n = array_count(&s->inputs[i]); k < n; k++)
            array_set(&s->inputs[i], k, 0.7 * rng_normal(&rng));
        s->numbers[i] = array_read(&s->inputs[i]);
        *slots[i] = &s->inputs[i].tensor;
    }
    if (choice >> 2 & 1) s->args.a_lengths = &s->length_arrays[0].tensor;
    if (choice >> 3 & 1) s->args.b_lengths = &s->length_arrays[1].tensor;
    for (int side = 0; side < 2; side++) {
        s->masks[side] = mask_of(s, side);
        s->twins[side] = (struct twin_problem){.score = TWIN_DOT,
                                               .batch = s->batch,
                                               .query_heads = s->heads,
                                               .key_heads = s->heads,
                                               .queries = side == 0 ? s->ta : s->tb,
                                               .keys = side == 0 ? s->tb : s->ta,
                                               .query_dim = s->dim,
                                               .key_dim = s->dim,
                                               .value_dim = side == 0 ? s->db : s->da,
                                               .query = s->numbers[side],
                                               .key = s->numbers[1 - side],
                                               .value = s->numbers[side == 0 ? B : A],
                                               .mask = s->masks[side],
                                               .key_lengths = s->lengths[1 - side]};
        fuzz_run_twin(&s->twins[side], dtype_computed(dtype), &s->want[side]);
    }
}

static void destroy(struct stage *s)
{
    for (int i = 0; i < INPUTS; i++) free(s->numbers[i]);
    for (int side = 0; side < 2; side++) {
        free(s->masks[side]);
        twin_free(&s->want[side]);
    }
}

static const attn_tensor **output_slot(attn_decomposable_args *args, int o)
{
    const attn_tensor **slots[OUTPUTS_OF] = {&args->beta, &args->alpha, &args->a_logsumexp, &args->b_logsumexp};
    return slots[o];
}

static void check_close(const struct array *got, const double *want, const double *magnitude, const char *what,
                        enum fuzz_engine on)
{
    const struct worst worst = compare(got, want, magnitude);
    CHECK(worst.ratio <= BOUND, "%s, %s[%d] is %.9g, wanted %.9g: %.3g times the unit", fuzz_engine_name(on), what,
          (int)worst.index, worst.got, worst.want, worst.ratio);
    CHECK(fuzz_gaps_untouched(got), "%s: written outside of %s", fuzz_engine_name(on), what);
}

/* --------------------------------------------------------------------------------------------- forward */

static void check_refused(const attn_decomposable_args *args, struct stage *s, struct array *outputs,
                          attn_status status)
{
    (void)args;
    CHECK(status != ATTN_OK, "a spoilt call was accepted on %s", fuzz_engine_name(s->engine));
    fuzz_check_sentence(status);
    for (int o = 0; o < OUTPUTS_OF; o++) {
        CHECK(*output_slot(&s->args, o) == NULL || fuzz_untouched(&outputs[o]), "a refused call has written");
    }
}

static void check_forward(struct stage *s, struct bytes *b)
{
    static const char *const names[OUTPUTS_OF] = {"beta", "alpha", "a_logsumexp", "b_logsumexp"};
    const int64_t shapes[OUTPUTS_OF][4] = {{s->batch, s->heads, s->ta, s->db},
                                           {s->batch, s->heads, s->tb, s->da},
                                           {s->batch, s->heads, s->ta, 0},
                                           {s->batch, s->heads, s->tb, 0}};
    const unsigned left_out = take(b), checks = take(b);
    struct array again[OUTPUTS_OF];
    attn_decomposable_args args = s->args;
    for (int o = 0; o < OUTPUTS_OF; o++) {
        fuzz_array(&s->outputs[o], b, o < A_LOGSUMEXP ? s->dtype : dtype_computed(s->dtype), o < A_LOGSUMEXP ? 4 : 3,
                   shapes[o], LAYOUT_OUTPUT);
        *output_slot(&s->args, o) = left_out % 16 == 15 || !(left_out >> o & 1) ? &s->outputs[o].tensor : NULL;
    }
    fuzz_count_allocations(-1);
    OK(attn_decomposable_forward(fuzz_engine(s->engine), &s->args));
    CHECK(fuzz_allocations().asked <= 1, "%d allocations", (int)fuzz_allocations().asked);
    for (int o = 0; o < OUTPUTS_OF; o++) {
        if (*output_slot(&s->args, o) == NULL) continue;
        const struct twin_result *want = &s->want[o % 2];
        check_close(&s->outputs[o], o < A_LOGSUMEXP ? want->context : want->logsumexp,
                    o < A_LOGSUMEXP ? want->context_magnitude : want->logsumexp_magnitude, names[o], s->engine);
        fuzz_array_again(&again[o], &s->outputs[o]);
    }
    args = s->args;
    for (int o = 0; o < OUTPUTS_OF; o++) {
        if (*output_slot(&args, o) != NULL) *output_slot(&args, o) = &again[o].tensor;
    }
    if (checks & 1) {
        fuzz_count_allocations(0);
        const attn_status status = attn_decomposable_forward(fuzz_engine(s->engine), &args);
        if (fuzz_allocations().asked > 0) {
            CHECK(status == ATTN_ERR_NOMEM, "%s without memory", attn_status_string(status));
            check_refused(&args, s, again, status);
        }
        fuzz_count_allocations(-1);
    }
    if (checks & 2) { /* one tensor wrong */
        attn_tensor wrong;
        const attn_tensor **slots[] = {&args.f,         &args.g,         &args.a,           &args.b,
                                       &args.a_lengths, &args.b_lengths, &args.a_logsumexp, &args.b_logsumexp,
                                       &args.beta,      &args.alpha};
        const attn_tensor **slot = slots[take(b) % 10], *right = *slot;
        if (right != NULL) {
            wrong = *right;
            *slot = &wrong;
            for (int o = 0; o < OUTPUTS_OF; o++) {
                if (*output_slot(&s->args, o) != NULL) fuzz_wipe(&again[o]);
            }
            if (spoil_tensor_of(s->dtype, &wrong, take(b))) {
                check_refused(&args, s, again, attn_decomposable_forward(fuzz_engine(s->engine), &args));
            }
            *slot = right;
        }
    }
    OK(attn_decomposable_forward(fuzz_engine(fuzz_engine_alike(s->engine, checks / 4)), &args));
    for (int o = 0; o < OUTPUTS_OF; o++) {
        CHECK(*output_slot(&args, o) == NULL || fuzz_same(&again[o], &s->outputs[o]), "other bits in %s", names[o]);
    }
}

/* -------------------------------------------------------------------------------------------- backward */

/* Element by element, what the two twins say; either may be missing. */
static void expect(double *want, double *magnitude, int64_t count, const struct twin_gradient_result *one, int g,
                   const struct twin_gradient_result *two, int h)
{
    for (int64_t i = 0; i < count; i++) {
        if (one != NULL && one->count[g] == count) want[i] += one->value[g][i], magnitude[i] += one->magnitude[g][i];
        if (two != NULL && two->count[h] == count) want[i] += two->value[h][i], magnitude[i] += two->magnitude[h][i];
    }
}

static void check_backward(struct stage *s, struct bytes *b)
{
    static const char *const names[INPUTS] = {"d_f", "d_g", "d_a", "d_b"};
    const unsigned choice = take(b), wanted = take(b);
    const int64_t shapes[2][4] = {{s->batch, s->heads, s->ta, s->db}, {s->batch, s->heads, s->tb, s->da}};
    struct array flows[2], gradients[INPUTS], again[INPUTS];
    struct twin_gradient_result twins[2];
    struct rng rng = take_rng(b);
    bool flows_in[2];
    attn_decomposable_args args = s->args;
    for (int o = 0; o < OUTPUTS_OF; o++) *output_slot(&args, o) = &s->outputs[o].tensor;
    OK(attn_decomposable_forward(fuzz_engine(s->engine), &args));
    const attn_tensor **flow_slots[2] = {&args.d_beta, &args.d_alpha};
    for (int side = 0; side < 2; side++) {
        flows_in[side] = choice % 4 == 3 || (choice % 4 != 0) == (side == 0) || choice % 4 == 2;
        double *numbers = NULL;
        if (flows_in[side]) {
            fuzz_array(&flows[side], b, s->dtype, 4, shapes[side], LAYOUT_INPUT);
            for (int64_t k = 0, n = array_count(&flows[side]); k < n; k++) array_set(&flows[side], k, rng_normal(&rng));
            *flow_slots[side] = &flows[side].tensor;
            numbers = array_read(&flows[side]);
        }
        double *rounded = dtype_computed(s->dtype) != s->dtype ? array_read(&s->outputs[side]) : NULL;
        const struct twin_flow flow = {
            .d_context = numbers, .context = rounded, .context_unit = 1.0 / (BOUND * dtype_epsilon(s->dtype))};
        if (flows_in[side]) twin_gradient_run(&s->twins[side], &s->want[side], &flow, &twins[side]);
        free(numbers), free(rounded);
    }
    const struct twin_gradient_result *of_beta = flows_in[0] ? &twins[0] : NULL,
                                      *of_alpha = flows_in[1] ? &twins[1] : NULL;
    const attn_tensor **slots[INPUTS] = {&args.d_f, &args.d_g, &args.d_a, &args.d_b};
    args.accumulate = choice / 4 % 4 == 3;
    for (int i = 0; i < INPUTS; i++) {
        if (*(const attn_tensor **[]){&args.f, &args.g, &args.a, &args.b}[i] == NULL) continue;
        if (wanted % 16 != 15 && (wanted >> i & 1)) continue;
        fuzz_array(&gradients[i], b, s->dtype, 4, s->inputs[i].tensor.shape, LAYOUT_OUTPUT);
        *slots[i] = &gradients[i].tensor;
        for (int64_t k = array_count(&gradients[i]) - 1; k >= 0 && args.accumulate; k--)
            array_set(&gradients[i], k, 2.0);
    }
    fuzz_counted(COUNT_GRADIENTS);
    const attn_status status = attn_decomposable_backward(fuzz_engine(s->engine), &args);
    if (args.d_f != NULL || args.d_g != NULL || args.d_a != NULL || args.d_b != NULL) OK(status);
    for (int i = 0; i < INPUTS; i++) {
        if (*slots[i] == NULL) continue;
        const int64_t count = array_count(&gradients[i]);
        double *want = calloc((size_t)count + 1, sizeof *want),
               *magnitude = calloc((size_t)count + 1, sizeof *magnitude);
        if (i == F) expect(want, magnitude, count, of_beta, TWIN_D_QUERY, of_alpha, TWIN_D_KEY);
        if (i == G) expect(want, magnitude, count, of_beta, TWIN_D_KEY, of_alpha, TWIN_D_QUERY);
        /* Where a is f, d_f is of both; the twin's key is then its value, too, and has that gradient already. */
        if (i == A) expect(want, magnitude, count, NULL, 0, of_alpha, TWIN_D_VALUE);
        if (i == B) expect(want, magnitude, count, of_beta, TWIN_D_VALUE, NULL, 0);
        for (int64_t k = 0; k < count && args.accumulate; k++) want[k] += 2.0, magnitude[k] += 2.0 + fabs(want[k]);
        check_close(&gradients[i], want, magnitude, names[i], s->engine);
        free(want), free(magnitude);
        fuzz_array_again(&again[i], &gradients[i]);
        *slots[i] = &again[i].tensor;
    }
    if (status == ATTN_OK && !args.accumulate) {
        fuzz_count_allocations(choice & 64 ? 0 : -1);
        attn_status other = attn_decomposable_backward(fuzz_engine(s->engine), &args);
        if (choice & 64 && fuzz_allocations().asked > 0) {
            CHECK(other == ATTN_ERR_NOMEM, "%s without memory", attn_status_string(other));
            fuzz_check_sentence(other);
            for (int i = 0; i < INPUTS; i++)
                CHECK(*slots[i] == NULL || fuzz_untouched(&again[i]), "%s was written", names[i]);
        }
        fuzz_count_allocations(-1);
        OK(attn_decomposable_backward(fuzz_engine(fuzz_engine_alike(s->engine, wanted / 16)), &args));
        for (int i = 0; i < INPUTS; i++) {
            CHECK(*slots[i] == NULL || fuzz_same(&again[i], &gradients[i]), "other bits in %s", names[i]);
        }
    }
    for (int side = 0; side < 2; side++) {
        if (flows_in[side]) twin_gradient_free(&twins[side]);
    }
}

void check_decomposable(struct bytes *b, attn_dtype dtype, enum fuzz_engine on)
{
    static struct stage s;
    create(&s, b, dtype, on);
    check_forward(&s, b);
    check_backward(&s, b);
    destroy(&s);
}
