/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test_attentional.c: Luong's attentional step and its gradients against double loops written from the formulas, over
 * random shapes, strides, and choices of what is wanted; the gradients against central differences; what is refused.
 */
#define _POSIX_C_SOURCE 200809L
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "own_means.h"
#include "support.h"

static struct rng rng = {2015};

/* Of case i: one in three has 16 bits. */
static attn_dtype dtype_of(int i)
{
    static const attn_dtype dtypes[] = {ATTN_F64, ATTN_F32, ATTN_F64, ATTN_F32, ATTN_F16, ATTN_BF16};
    return dtypes[i % 6];
}

/* In the order of the arguments' pointers. */
enum { WEIGHT, BIAS, CONTEXT, QUERY, OUTPUT, D_OUTPUT, D_WEIGHT, D_BIAS, D_CONTEXT, D_QUERY, TENSORS };
static const char *const names[TENSORS] = {"weight",   "bias",     "context", "query",     "output",
                                           "d_output", "d_weight", "d_bias",  "d_context", "d_query"};

struct step {
    int64_t rows, dv, dq, h, shape[TENSORS][4];
    int32_t ndim[TENSORS];
    struct array a[TENSORS];
    attn_attentional_args args;
};

static const attn_tensor **argument(attn_attentional_args *args, int i)
{
    const attn_tensor **const all[] = {&args->weight,    &args->bias,     &args->context,  &args->query,
                                       &args->output,    &args->d_output, &args->d_weight, &args->d_bias,
                                       &args->d_context, &args->d_query};
    return all[i];
}

/* leading: of [.., T]. Outputs are filled too, with what gradients are added to. */
static void create(struct step *s, attn_dtype dtype, const int64_t leading[3], int64_t dv, int64_t dq, int64_t h,
                   unsigned layout)
{
    *s = (struct step){.rows = leading[0] * leading[1] * leading[2], .dv = dv, .dq = dq, .h = h};
    s->args = (attn_attentional_args)ATTN_ATTENTIONAL_ARGS_INIT;
    for (int i = 0; i < TENSORS; i++) {
        const int64_t rows[4] = {leading[0], leading[1], leading[2],
                                 i == CONTEXT || i == D_CONTEXT ? dv
                                 : i == QUERY || i == D_QUERY   ? dq
                                                                : h};
        const int64_t weight[2] = {h, dv + dq};
        const int one = i == BIAS || i == D_BIAS, two = i == WEIGHT || i == D_WEIGHT;
        const int out = i == OUTPUT || i >= D_WEIGHT;
        const attn_dtype param_dtype = rng_chance(&rng, 0.5) ? dtype : dtype_computed(dtype);
        array_create(&s->a[i], one || two ? param_dtype : dtype,
                     one   ? 1
                     : two ? 2
                           : 4,
                     one   ? &h
                     : two ? weight
                           : rows,
                     layout & (out ? LAYOUT_OUTPUT : LAYOUT_INPUT), &rng);
        array_fill_normal(&s->a[i], &rng, two ? 1 / sqrt((double)(dv + dq + 1)) : 1);
        if (!one && !two && layout != LAYOUT_PLAIN) array_lower_rank(&s->a[i], &rng);
        *argument(&s->args, i) = &s->a[i].tensor;
    }
}

static void destroy(struct step *s)
{
    for (int i = 0; i < TENSORS; i++) array_destroy(&s->a[i]);
}

static void random_step(struct step *s, attn_dtype dtype, int i)
{
    const int64_t leading[3] = {rng_integer(&rng, 1, 3), rng_integer(&rng, 1, 3), rng_integer(&rng, i % 7 ? 1 : 0, 9)};
    create(s, dtype, leading, rng_integer(&rng, i % 11 ? 1 : 0, 12), rng_integer(&rng, i % 13 ? 1 : 0, 12),
           rng_integer(&rng, i % 17 ? 1 : 0, 12), i % 3 ? LAYOUT_INPUT : LAYOUT_PLAIN);
    if (rng_chance(&rng, 0.3)) s->args.bias = NULL, s->args.d_bias = NULL;
}

/* What is wanted of each tensor, and the magnitude that its roundings are counted in. */
struct expectation {
    double *want[TENSORS], *size[TENSORS];
};

static void expect(struct expectation *e, const struct step *s)
{
    for (int i = 0; i < TENSORS; i++) {
        const size_t bytes = (size_t)(array_count(&s->a[i]) + 1) * sizeof(double);
        e->want[i] = array_read(&s->a[i]);
        e->size[i] = must_allocate(bytes);
        memset(e->size[i], 0, bytes);
    }
}

static void forget(struct expectation *e)
{
    for (int i = 0; i < TENSORS; i++) free(e->want[i]), free(e->size[i]);
}

static double input(const struct step *s, double *const of[TENSORS], int64_t r, int64_t d)
{
    return d < s->dv ? of[CONTEXT][r * s->dv + d] : of[QUERY][r * s->dq + d - s->dv];
}

static void expect_forward(struct expectation *e, const struct step *s)
{
    const int64_t dim = s->dv + s->dq;
    for (int64_t r = 0; r < s->rows; r++) {
        for (int64_t o = 0; o < s->h; o++) {
            double sum = s->args.bias != NULL ? e->want[BIAS][o] : 0, size = fabs(sum) + 1;
            for (int64_t d = 0; d < dim; d++) {
                const double term = e->want[WEIGHT][o * dim + d] * input(s, e->want, r, d);
                sum += term, size += fabs(term);
            }
            e->want[OUTPUT][r * s->h + o] = tanh(sum);
            e->size[OUTPUT][r * s->h + o] = size;
        }
    }
}

/* From the outputs that are there. Gradients that are not added to begin with 0. */
static void expect_backward(struct expectation *e, const struct step *s)
{
    const int64_t dim = s->dv + s->dq;
    double **want = e->want, **size = e->size;
    for (int i = D_WEIGHT; i < TENSORS; i++) {
        for (int64_t k = 0; k < array_count(&s->a[i]); k++) {
            if (!s->args.accumulate) want[i][k] = 0;
            size[i][k] = fabs(want[i][k]);
        }
    }
    for (int64_t r = 0; r < s->rows; r++) {
        for (int64_t o = 0; o < s->h; o++) {
            const long double y = (long double)want[OUTPUT][r * s->h + o]; /* 1 - y^2 has few bits where y is near 1 */
            const double dz = want[D_OUTPUT][r * s->h + o] * (double)(1 - y * y);
            want[D_BIAS][o] += dz;
            size[D_BIAS][o] += fabs(dz);
            for (int64_t d = 0; d < dim; d++) {
                const double by_weight = dz * input(s, want, r, d), by_input = dz * want[WEIGHT][o * dim + d];
                const int to = d < s->dv ? D_CONTEXT : D_QUERY;
                const int64_t k = d < s->dv ? r * s->dv + d : r * s->dq + d - s->dv;
                want[D_WEIGHT][o * dim + d] += by_weight;
                size[D_WEIGHT][o * dim + d] += fabs(by_weight);
                want[to][k] += by_input;
                size[to][k] += fabs(by_input);
            }
        }
    }
}

static double worst;

static void check(const struct step *s, const struct expectation *e, int i)
{
    const double ratio = assert_close(&s->a[i], e->want[i], e->size[i], 16, names[i]);
    worst = ratio > worst ? ratio : worst;
    assert_true(array_gaps_intact(&s->a[i]));
}

static void check_forward(struct step *s)
{
    struct expectation e;
    expect(&e, s);
    expect_forward(&e, s);
    MUST(attn_attentional_forward(engine, &s->args));
    check(s, &e, OUTPUT);
    for (int i = D_WEIGHT; i < TENSORS; i++) check(s, &e, i); /* as they were */
    forget(&e);
}

static void check_backward(struct step *s)
{
    struct expectation e;
    expect(&e, s);
    expect_backward(&e, s);
    MUST(attn_attentional_backward(engine, &s->args));
    for (int i = D_WEIGHT; i < TENSORS; i++) {
        if (*argument(&s->args, i) != NULL) check(s, &e, i);
    }
    forget(&e);
}

/* ------------------------------------------------------------------------------------------------- values */

static void the_step_is_the_tanh_of_a_map_of_context_and_query(void **state)
{
    (void)state;
    for (int i = 0; i < 400; i++) {
        struct step s;
        random_step(&s, dtype_of(i), i);
        check_forward(&s);
        destroy(&s);
    }
    print_message("at most %.2f units\n", worst);
}

static void the_context_comes_first(void **state)
{
    double weight[3] = {1, 10, 100}, context[2] = {0.01, 0.02}, query[1] = {0.003}, output[1];
    attn_tensor w, c, q, o;
    attn_attentional_args args = ATTN_ATTENTIONAL_ARGS_INIT;
    (void)state;
    MUST(attn_tensor_init(&w, weight, ATTN_F64, 2, (int64_t[]){1, 3}));
    MUST(attn_tensor_init(&c, context, ATTN_F64, 1, (int64_t[]){2}));
    MUST(attn_tensor_init(&q, query, ATTN_F64, 1, (int64_t[]){1}));
    MUST(attn_tensor_init(&o, output, ATTN_F64, 1, (int64_t[]){1}));
    args.weight = &w, args.context = &c, args.query = &q, args.output = &o;
    MUST(attn_attentional_forward(engine, &args));
    assert_true(fabs(output[0] - tanh(0.01 + 0.2 + 0.3)) < 1e-15);
}

static void gradients_are_those_of_the_formulas(void **state)
{
    (void)state;
    worst = 0;
    for (int i = 0; i < 600; i++) {
        struct step s;
        random_step(&s, dtype_of(i), i);
        MUST(attn_attentional_forward(engine, &s.args));
        s.args.accumulate = i / 6 % 2;
        if (i % 4 == 1) { /* one alone */
            const int kept = (int)rng_integer(&rng, D_WEIGHT, D_QUERY);
            for (int k = D_WEIGHT; k < TENSORS; k++) {
                if (k != kept) *argument(&s.args, k) = NULL;
            }
            if (kept == D_BIAS) s.args.bias = &s.a[BIAS].tensor, s.args.d_bias = &s.a[D_BIAS].tensor;
        }
        check_backward(&s);
        destroy(&s);
    }
    print_message("at most %.2f units\n", worst);
}

/* More rows than a block has, evenly apart or not; rows so wide that a block has few. */
static void many_rows_go_by_blocks(void **state)
{
    static const struct {
        int64_t leading[3], dv, dq, h;
    } shapes[] = {{{1, 1, 2500}, 5, 3, 4}, {{3, 1, 700}, 4, 4, 6}, {{40, 60, 1}, 3, 5, 2}, {{1, 2, 70}, 3, 70000, 2}};
    (void)state;
    for (int i = 0; i < 32; i++) {
        struct step s;
        if (few_cases() && i % 5 != 0) continue;
        const int k = i % 4;
        create(&s, dtype_of(i / 4 % 2 + (i < 16 ? 0 : 4)), shapes[k].leading, shapes[k].dv, shapes[k].dq, shapes[k].h,
               i % 16 < 8 ? LAYOUT_PLAIN : LAYOUT_INPUT);
        s.args.accumulate = (i / 4 + i / 8) % 2;
        check_forward(&s);
        check_backward(&s);
        destroy(&s);
    }
}

/* Where rows are equal, all roundings of their sum have one direction. */
static void the_bias_of_many_equal_rows_keeps_its_digits(void **state)
{
    (void)state;
    for (int i = 0; i < 40; i++) {
        struct step s;
        struct expectation e;
        create(&s, ATTN_F32, (int64_t[]){1, 1, 2500}, 2, 2, 3, LAYOUT_PLAIN);
        array_fill(&s.a[OUTPUT], rng_uniform(&rng, -0.9, 0.9));
        array_fill(&s.a[D_OUTPUT], rng_uniform(&rng, 0.5, 1.0));
        expect(&e, &s);
        expect_backward(&e, &s);
        MUST(attn_attentional_backward(engine, &s.args));
        check(&s, &e, D_BIAS);
        forget(&e);
        destroy(&s);
    }
}

/* Of L = sum of d_output output. */
static double loss(struct step *s)
{
    double sum = 0;
    MUST(attn_attentional_forward(engine, &s->args));
    for (int64_t k = 0; k < array_count(&s->a[OUTPUT]); k++) {
        sum += array_get(&s->a[OUTPUT], k) * array_get(&s->a[D_OUTPUT], k);
    }
    return sum;
}

static void gradients_are_central_differences(void **state)
{
    static const int64_t leading[3] = {2, 1, 3};
    const double by = 0x1p-17;
    struct step s;
    (void)state;
    create(&s, ATTN_F64, leading, 4, 5, 3, LAYOUT_PLAIN);
    loss(&s);
    MUST(attn_attentional_backward(engine, &s.args));
    for (int i = WEIGHT; i <= QUERY; i++) {
        for (int64_t k = 0; k < array_count(&s.a[i]); k++) {
            const double x = array_get(&s.a[i], k);
            array_set(&s.a[i], k, x + by);
            const double above = loss(&s);
            array_set(&s.a[i], k, x - by);
            const double slope = (above - loss(&s)) / (2 * by), got = array_get(&s.a[i + D_WEIGHT - WEIGHT], k);
            array_set(&s.a[i], k, x);
            /* by^2 / 6 times a third derivative of 2 |x|^3 for each of 6 rows; 40 roundings of 2^-53 over by */
            if (fabs(got - slope) > 1e-8) fail_msg("%s %d: %.17g, but %.17g", names[i], (int)k, got, slope);
        }
    }
    destroy(&s);
}

static void float32_has_the_gradients_of_float64(void **state)
{
    static const int64_t leading[3] = {2, 2, 300};
    struct step wide, narrow;
    struct expectation e;
    (void)state;
    create(&wide, ATTN_F64, leading, 40, 30, 50, LAYOUT_PLAIN);
    create(&narrow, ATTN_F32, leading, 40, 30, 50, LAYOUT_PLAIN);
    for (int i = 0; i < TENSORS; i++) {
        for (int64_t k = 0; k < array_count(&wide.a[i]); k++) {
            array_set(&narrow.a[i], k, array_get(&wide.a[i], k));
            array_set(&wide.a[i], k, array_get(&narrow.a[i], k));
        }
    }
    MUST(attn_attentional_forward(engine, &wide.args));
    for (int64_t k = 0; k < array_count(&wide.a[OUTPUT]); k++) {
        array_set(&narrow.a[OUTPUT], k, array_get(&wide.a[OUTPUT], k));
        array_set(&wide.a[OUTPUT], k, array_get(&narrow.a[OUTPUT], k));
    }
    expect(&e, &wide);
    expect_backward(&e, &wide); /* for its magnitudes */
    MUST(attn_attentional_backward(engine, &wide.args));
    MUST(attn_attentional_backward(engine, &narrow.args));
    for (int i = D_WEIGHT; i < TENSORS; i++) {
        double *want = array_read(&wide.a[i]);
        assert_close(&narrow.a[i], want, e.size[i], 16, names[i]);
        free(want);
    }
    forget(&e);
    destroy(&wide), destroy(&narrow);
}

static void no_rows_have_gradients_of_zero(void **state)
{
    static const int64_t leading[3] = {2, 1, 0};
    (void)state;
    for (int i = 0; i < 12; i++) {
        struct step s;
        create(&s, dtype_of(i), leading, 3, 2, 4, i < 6 ? LAYOUT_PLAIN : LAYOUT_INPUT);
        MUST(attn_attentional_backward(engine, &s.args));
        for (int64_t k = 0; k < 20; k++) assert_true(array_get(&s.a[D_WEIGHT], k) == 0);
        for (int64_t k = 0; k < 4; k++) assert_true(array_get(&s.a[D_BIAS], k) == 0);
        destroy(&s);
    }
}

static void many_rows_of_no_outputs_take_no_time(void **state)
{
    const int64_t many = INT64_C(1) << 50;
    double zero = 0;
    attn_tensor weight = {NULL, ATTN_F64, 2, {0, 2, 0, 0}, {2, 1, 0, 0}};
    attn_tensor input = {&zero, ATTN_F64, 2, {many, 1, 0, 0}, {0, 0, 0, 0}};
    attn_tensor output = {NULL, ATTN_F64, 2, {many, 0, 0, 0}, {1, 1, 0, 0}}, d_weight = weight;
    attn_attentional_args args = ATTN_ATTENTIONAL_ARGS_INIT;
    (void)state;
    args.weight = &weight, args.context = args.query = &input, args.output = args.d_output = &output;
    args.d_weight = &d_weight;
    MUST(attn_attentional_forward(engine, &args));
    MUST(attn_attentional_backward(engine, &args));
}

/* Wrong in each way, but not forward's to read. */
static void forward_looks_at_nothing_else(void **state)
{
    static const int64_t leading[3] = {1, 1, 3};
    struct step s;
    (void)state;
    create(&s, ATTN_F32, leading, 3, 2, 4, LAYOUT_PLAIN);
    const attn_tensor wrong = {&s, 99, 7, {-1, -1, -1, -1}, {0, 0, 0, 0}};
    for (int i = D_OUTPUT; i < TENSORS; i++) *argument(&s.args, i) = &wrong;
    s.args.accumulate = 77;
    check_forward(&s);
    destroy(&s);
}

/* --------------------------------------------------------------------------------------- threads and memory */

static attn_status run_forward(attn_engine *on, void *data)
{
    return attn_attentional_forward(on, &((struct step *)data)->args);
}

static attn_status run_backward(attn_engine *on, void *data)
{
    return attn_attentional_backward(on, &((struct step *)data)->args);
}

static void threads_change_no_bit_of_a_step(void **state)
{
    static const int64_t leading[3] = {2, 3, 400};
    (void)state;
    for (int i = 0; i < 12; i++) {
        struct step s;
        if (few_cases() && i % 3 != 0) continue;
        create(&s, dtype_of(i), leading, 20, 30, 90, i < 6 ? LAYOUT_PLAIN : LAYOUT_INPUT);
        s.args.accumulate = i / 2 % 2;
        const struct own_call forward = {run_forward, &s, {&s.a[OUTPUT], NULL}};
        const struct own_call backward = {
            run_backward, &s, {&s.a[D_WEIGHT], &s.a[D_BIAS], &s.a[D_CONTEXT], &s.a[D_QUERY], NULL}};
        assert_in_range(assert_threads_change_no_bit(&forward), 2, 3); /* a block each, the last perhaps too small */
        assert_in_range(assert_threads_change_no_bit(&backward), 2, 3);
        destroy(&s);
    }
}

static void a_step_without_memory_writes_nothing(void **state)
{
    static const int64_t leading[3] = {2, 3, 40}; /* more than 16 KB of scratch */
    (void)state;
    for (int i = 0; i < 40; i++) {
        struct step s;
        const attn_dtype dtype = dtype_of(i);
        create(&s, dtype, leading, 5, 6, 27, i < 6 ? LAYOUT_PLAIN : LAYOUT_INPUT);
        s.args.accumulate = i / 2 % 2;
        const struct own_call forward = {run_forward, &s, {&s.a[OUTPUT], NULL}};
        const struct own_call backward = {
            run_backward, &s, {&s.a[D_WEIGHT], &s.a[D_BIAS], &s.a[D_CONTEXT], &s.a[D_QUERY], NULL}};
        const int64_t asked = assert_failures_touch_nothing(&forward);
        /* Nothing is copied that the BLAS can read. */
        assert_true(dtype_computed(dtype) != dtype ? asked == 1 : i < 6 ? asked == 0 : asked <= 1);
        assert_int_equal(assert_failures_touch_nothing(&backward), 1);
        destroy(&s);
    }
}

/* ----------------------------------------------------------------------------------------------- bad input */

enum { ROWS = 2, DV = 3, DQ = 4, H = 5, ROOM = 64 };

struct bad {
    double data[TENSORS][ROOM];
    attn_tensor t[TENSORS];
    attn_attentional_args args;
    unsigned char tail[16];
    attn_attentional_args *given;
    attn_engine *engine;
};

static void bad_create(struct bad *b)
{
    static const int64_t columns[TENSORS] = {DV + DQ, H, DV, DQ, H, H, DV + DQ, H, DV, DQ};
    memset(b, 0, sizeof *b);
    b->args = (attn_attentional_args)ATTN_ATTENTIONAL_ARGS_INIT;
    for (int i = 0; i < TENSORS; i++) {
        const int one = i == BIAS || i == D_BIAS;
        const int64_t shape[2] = {i == WEIGHT || i == D_WEIGHT ? H : ROWS, columns[i]};
        MUST(attn_tensor_init(&b->t[i], b->data[i], ATTN_F64, one ? 1 : 2, one ? shape + 1 : shape));
        for (int k = 0; k < ROOM; k++) b->data[i][k] = 0.25;
        *argument(&b->args, i) = &b->t[i];
    }
    b->given = &b->args;
    b->engine = engine;
}

static void check_refused(struct bad *b, int backward, attn_status status, const char *word, const char *what)
{
    const char *function = backward ? "attn_attentional_backward: " : "attn_attentional_forward: ";
    static struct bad before;
    memcpy(&before, b, sizeof before);
    const attn_status got =
        backward ? attn_attentional_backward(b->engine, b->given) : attn_attentional_forward(b->engine, b->given);
    if (got != status) fail_msg("%s%s: %s", function, what, attn_status_string(got));
    if (strncmp(attn_last_error(), function, strlen(function)) != 0 || strstr(attn_last_error(), word) == NULL) {
        fail_msg("%s%s: %s", function, what, attn_last_error());
    }
    assert_memory_equal(&before, b, sizeof before);
}

#define REFUSED_BY(backward, status, word, ...)                                                                        \
    do {                                                                                                               \
        bad_create(&b);                                                                                                \
        __VA_ARGS__;                                                                                                   \
        check_refused(&b, backward, ATTN_ERR_##status, word, #__VA_ARGS__);                                            \
    } while (0)
#define REFUSED(status, word, ...)                                                                                     \
    REFUSED_BY(0, status, word, __VA_ARGS__);                                                                          \
    REFUSED_BY(1, status, word, __VA_ARGS__)

static void a_step_refuses_what_is_wrong_and_touches_nothing(void **state)
{
    static struct bad b;
    (void)state;
    bad_create(&b);
    MUST(attn_attentional_forward(b.engine, b.given));
    MUST(attn_attentional_backward(b.engine, b.given));
    REFUSED(ARGUMENT, "engine", b.engine = NULL);
    REFUSED(ARGUMENT, "args", b.given = NULL);
    REFUSED(STRUCT_SIZE, "struct_size", b.args.struct_size = 0);
    REFUSED(STRUCT_SIZE, "struct_size", b.args.struct_size -= 1);
    REFUSED(STRUCT_SIZE, "struct_size", b.args.struct_size += 8; b.tail[0] = 1);
    for (int i = 0; i < TENSORS; i++) {
        const int optional = i == BIAS || i >= D_WEIGHT, first = i > OUTPUT; /* the first function that reads it */
        for (int backward = first; backward < 2; backward++) {
            if (!optional) REFUSED_BY(backward, ARGUMENT, names[i], *argument(&b.args, i) = NULL);
            REFUSED_BY(backward, ARGUMENT, names[i], b.t[i].data = NULL);
            REFUSED_BY(backward, ARGUMENT, names[i], b.t[i].data = (char *)b.data[i] + 1);
            REFUSED_BY(backward, DTYPE, i == QUERY ? "query" : names[i], b.t[i].dtype = ATTN_F32);
            REFUSED_BY(backward, DTYPE, names[i], b.t[i].dtype = ATTN_I64);
            REFUSED_BY(backward, SHAPE, "", b.t[i].shape[b.t[i].ndim - 1] -= 1);
            REFUSED_BY(backward, SHAPE, "", b.t[i].shape[0] -= 1);
            REFUSED_BY(backward, SHAPE, names[i], b.t[i].shape[0] = -1);
            REFUSED_BY(backward, SHAPE, names[i], b.t[i].ndim = 5);
            REFUSED_BY(backward, OVERFLOW, names[i], b.t[i].stride[0] = INT64_MAX);
            if (i == (backward ? D_WEIGHT : OUTPUT)) {
                REFUSED_BY(backward, OVERLAP, names[i], b.t[i].stride[0] = 0);
            }
        }
    }
    for (int out = D_WEIGHT; out < TENSORS; out++) {
        for (int i = 0; i < TENSORS; i++) {
            if (i == out) continue;
            REFUSED_BY(1, OVERLAP, "shares memory", b.t[out].data = b.data[i]);
        }
    }
    for (int i = 0; i < OUTPUT; i++) REFUSED_BY(0, OVERLAP, "output shares memory", b.t[OUTPUT].data = b.data[i]);
    REFUSED_BY(1, ARGUMENT, "accumulate", b.args.accumulate = 2);
    REFUSED_BY(1, ARGUMENT, "bias", b.args.bias = NULL);
    REFUSED_BY(1, ARGUMENT, "d_weight", b.args.d_weight = b.args.d_bias = b.args.d_context = b.args.d_query = NULL);
    REFUSED(OVERFLOW, "query", b.t[QUERY].shape[1] = INT64_C(1) << 40; b.t[QUERY].stride[1] = 0);
    REFUSED(
        OVERFLOW, "rows", b.t[QUERY].ndim = b.t[CONTEXT].ndim = 4;
        for (int i = CONTEXT; i <= QUERY; i++) for (int d = 0; d < 3; d++) {
            b.t[i].shape[d] = INT64_C(1) << 30, b.t[i].stride[d] = 0;
            b.t[i].shape[3] = i == QUERY ? DQ : DV, b.t[i].stride[3] = 1;
        });
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_step_is_the_tanh_of_a_map_of_context_and_query),
        cmocka_unit_test(the_context_comes_first),
        cmocka_unit_test(gradients_are_those_of_the_formulas),
        cmocka_unit_test(many_rows_go_by_blocks),
        cmocka_unit_test(the_bias_of_many_equal_rows_keeps_its_digits),
        cmocka_unit_test(gradients_are_central_differences),
        cmocka_unit_test(float32_has_the_gradients_of_float64),
        cmocka_unit_test(no_rows_have_gradients_of_zero),
        cmocka_unit_test(many_rows_of_no_outputs_take_no_time),
        cmocka_unit_test(forward_looks_at_nothing_else),
        cmocka_unit_test(threads_change_no_bit_of_a_step),
        cmocka_unit_test(a_step_without_memory_writes_nothing),
        cmocka_unit_test(a_step_refuses_what_is_wrong_and_touches_nothing),
    };
    return cmocka_run_group_tests_name("attentional", tests, engine_setup, engine_teardown);
}
