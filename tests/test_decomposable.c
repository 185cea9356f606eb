/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test_decomposable.c: attn_decomposable_forward and _backward against plain float64 loops, and what holds of them
 * whatever the numbers: which way round the sentences are told, what is asked for at once, what lies past a length, how
 * many threads there are; and calls that are wrong or get no memory.
 */
#include <inttypes.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support.h"

/* Errors are at most so many times epsilon times the magnitude of what was summed. */
static const double FACTOR = 16.0;

/* ----------------------------------------------------------------------------------------------- scenes */

/* Layouts in which each element can be set by itself. */
enum { STRIDED = LAYOUT_OUTPUT };

/* The tensors of a call. Those of one letter are inputs of both directions; the next four are the forward call's
 * results. */
enum { F, G, A, B, BETA, ALPHA, A_LSE, B_LSE, D_BETA, D_ALPHA, D_F, D_G, D_A, D_B, TENSORS };
static const char *const names[TENSORS] = {"f",           "g",      "a",       "b",   "beta", "alpha", "a_logsumexp",
                                           "b_logsumexp", "d_beta", "d_alpha", "d_f", "d_g",  "d_a",   "d_b"};

struct shape {
    int64_t batch, heads, a_rows, b_rows, dim, a_dim, b_dim;
    bool a_is_f, b_is_g, lengths;
};

struct scene {
    struct shape n;
    attn_dtype dtype;
    struct array t[TENSORS], lengths[2];
    attn_decomposable_args args;
};

enum { DTYPES = 4 };
static const attn_dtype dtypes[DTYPES] = {ATTN_F32, ATTN_F64, ATTN_F16, ATTN_BF16};

static bool is_narrow(attn_dtype dtype)
{
    return dtype_computed(dtype) != dtype;
}

static const attn_tensor **place(attn_decomposable_args *args, int i)
{
    const attn_tensor **const all[TENSORS] = {
        &args->f,           &args->g,      &args->a,       &args->b,   &args->beta, &args->alpha, &args->a_logsumexp,
        &args->b_logsumexp, &args->d_beta, &args->d_alpha, &args->d_f, &args->d_g,  &args->d_a,   &args->d_b};
    return all[i];
}

static bool is_absent(const struct shape *n, int i)
{
    return (n->a_is_f && (i == A || i == D_A)) || (n->b_is_g && (i == B || i == D_B));
}

static void create(struct scene *s, attn_dtype dtype, const struct shape *shape, unsigned in, struct rng *rng)
{
    const bool strided = in != LAYOUT_PLAIN;
    *s = (struct scene){.n = *shape, .dtype = dtype, .args = ATTN_DECOMPOSABLE_ARGS_INIT};
    struct shape *n = &s->n;
    if (n->a_is_f) n->a_dim = n->dim;
    if (n->b_is_g) n->b_dim = n->dim;
    const int64_t dims[TENSORS] = {n->dim, n->dim,   n->a_dim, n->b_dim, n->b_dim, n->a_dim, 0,
                                   0,      n->b_dim, n->a_dim, n->dim,   n->dim,   n->a_dim, n->b_dim};
    const int of_b[TENSORS] = {0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1};
    for (int i = 0; i < TENSORS; i++) {
        const int64_t full[4] = {n->batch, n->heads, of_b[i] ? n->b_rows : n->a_rows, dims[i]};
        const bool sum = i == A_LSE || i == B_LSE;
        array_create(&s->t[i], sum ? dtype_computed(dtype) : dtype, sum ? 3 : 4, full,
                     i >= D_F || (i >= BETA && i <= B_LSE) ? (in & LAYOUT_OUTPUT) : in, rng);
        array_fill_normal(&s->t[i], rng, i < A ? 1.5 / sqrt(sqrt((double)n->dim)) : 1.0);
        if (!is_absent(n, i)) *place(&s->args, i) = &s->t[i].tensor;
        if (strided) array_lower_rank(&s->t[i], rng);
    }
    for (int i = 0; i < 2; i++) {
        const int64_t rows = i == 0 ? n->a_rows : n->b_rows;
        array_create(&s->lengths[i], strided && rng_chance(rng, 0.5) ? ATTN_I32 : ATTN_I64, 1, &n->batch, in, rng);
        for (int64_t b = 0; b < n->batch; b++) {
            array_set(&s->lengths[i], b, (double)(n->lengths ? rng_integer(rng, 0, rows) : rows));
        }
    }
    if (n->lengths) s->args.a_lengths = &s->lengths[0].tensor;
    if (n->lengths) s->args.b_lengths = &s->lengths[1].tensor;
}

static void destroy(struct scene *s)
{
    for (int i = 0; i < TENSORS; i++) array_destroy(&s->t[i]);
    for (int i = 0; i < 2; i++) array_destroy(&s->lengths[i]);
}

static int64_t length(const struct scene *s, int which, int64_t b)
{
    return (int64_t)array_get(&s->lengths[which], b);
}

/* Puts a number into every row of a tensor past the length of its sequence. */
static void fill_past(struct scene *s, int i, double number)
{
    const struct array *t = &s->t[i];
    const int64_t rows = i % 2 ? s->n.b_rows : s->n.a_rows, count = array_count(t);
    if (count == 0) return;
    const int64_t per_row = count / (s->n.batch * s->n.heads * rows);
    for (int64_t k = 0; k < count; k++) {
        if (k / per_row % rows >= length(s, i % 2, k / per_row / rows / s->n.heads)) array_set(&s->t[i], k, number);
    }
}

static void run(struct scene *s, attn_engine *on)
{
    MUST(attn_decomposable_forward(on, &s->args));
    MUST(attn_decomposable_backward(on, &s->args));
}

/* ---------------------------------------------------------------------------------------------- plain loops */

/* What the call should give, and the magnitude of what is summed: of every result. */
struct expected {
    double *value[TENSORS], *size[TENSORS];
};

/* One head of one sequence: numbers of all tensors of the scene, rows of a and b. */
struct head {
    int64_t la, lb, dim, a_dim, b_dim;
    const double *in[TENSORS];
    double *value[TENSORS], *size[TENSORS];
    double *score, *score_size; /* [la, lb] */
    bool saved;                 /* what is aligned is read as the call has rounded it */
};

static double dot(const double *x, const double *y, int64_t n, bool absolute)
{
    double sum = 0.0;
    for (int64_t d = 0; d < n; d++) sum += absolute ? fabs(x[d] * y[d]) : x[d] * y[d];
    return sum;
}

/* One direction, the rows of which are `rows`, against `columns`: log-sum-exp, context, and the weights with the bound
 * of their errors, into [la, lb] whichever way round. */
static void softmax_of(struct head *h, bool across, double *weight, double *weight_size)
{
    const int64_t rows = across ? h->lb : h->la, columns = across ? h->la : h->lb;
    const int64_t dim = across ? h->a_dim : h->b_dim;
    const int lse = across ? B_LSE : A_LSE, out = across ? ALPHA : BETA, value = across ? A : B;
    for (int64_t i = 0; i < rows; i++) {
        double most = -INFINITY, sum = 0.0, spread = 0.0;
        for (int64_t j = 0; j < columns; j++) most = fmax(most, h->score[across ? j * h->lb + i : i * h->lb + j]);
        for (int64_t j = 0; j < columns; j++) sum += exp(h->score[across ? j * h->lb + i : i * h->lb + j] - most);
        h->value[lse][i] = columns ? most + log(sum) : -INFINITY;
        for (int64_t j = 0; j < columns; j++) {
            const int64_t at = across ? j * h->lb + i : i * h->lb + j;
            weight[at] = exp(h->score[at] - most) / sum;
            spread += weight[at] * h->score_size[at];
        }
        h->size[lse][i] = columns ? 1.0 + fabs(h->value[lse][i]) + spread : 1.0;
        for (int64_t j = 0; j < columns; j++) {
            const int64_t at = across ? j * h->lb + i : i * h->lb + j;
            weight_size[at] = weight[at] * (1.0 + h->score_size[at] + spread + fabs(h->value[lse][i]));
            for (int64_t d = 0; d < dim; d++) {
                h->value[out][i * dim + d] += weight[at] * h->in[value][j * dim + d];
                h->size[out][i * dim + d] += weight_size[at] * fabs(h->in[value][j * dim + d]);
            }
        }
    }
}

/* to[d] += x row[d], and its magnitude. */
static void add(struct head *h, int to, int64_t row, double x, double size, const double *from, int64_t n)
{
    for (int64_t d = 0; d < n; d++) {
        h->value[to][row * n + d] += x * from[d];
        h->size[to][row * n + d] += size * fabs(from[d]);
    }
}

/* The gradient of the scores by way of one direction, and of what that direction aligns. */
static void back_of(struct head *h, bool across, const double *weight, const double *weight_size, double *de,
                    double *de_size)
{
    const int flow = across ? D_ALPHA : D_BETA, out = across ? ALPHA : BETA, value = across ? A : B;
    const int64_t dim = across ? h->a_dim : h->b_dim;
    if (h->in[flow] == NULL) return;
    for (int64_t i = 0; i < h->la; i++) {
        for (int64_t j = 0; j < h->lb; j++) {
            const int64_t at = i * h->lb + j, row = across ? j : i, column = across ? i : j;
            const double *d = h->in[flow] + row * dim, *v = h->in[value] + column * dim;
            const double *aligned = (h->saved ? h->in[out] : h->value[out]) + row * dim;
            const double x = dot(d, v, dim, false) - dot(d, aligned, dim, false);
            const double size = dot(d, v, dim, true) + dot(d, h->size[out] + row * dim, dim, true);
            de[at] += weight[at] * x;
            de_size[at] += weight_size[at] * size;
            add(h, across ? D_A : D_B, column, weight[at], weight_size[at], d, dim);
        }
    }
}

static void expect_head(struct head *h)
{
    const int64_t n = h->la * h->lb;
    double *block = must_allocate((size_t)n * 8 * sizeof *block), *w = block + 2 * n, *u = block + 4 * n;
    double *de = block + 6 * n;
    memset(block, 0, (size_t)n * 8 * sizeof *block);
    h->score = block;
    h->score_size = block + n;
    for (int64_t i = 0; i < n; i++) {
        const double *f = h->in[F] + i / h->lb * h->dim, *g = h->in[G] + i % h->lb * h->dim;
        h->score[i] = dot(f, g, h->dim, false);
        h->score_size[i] = dot(f, g, h->dim, true);
    }
    softmax_of(h, false, w, w + n);
    softmax_of(h, true, u, u + n);
    back_of(h, false, w, w + n, de, de + n);
    back_of(h, true, u, u + n, de, de + n);
    for (int64_t at = 0; at < n; at++) {
        add(h, D_F, at / h->lb, de[at], de[at + n], h->in[G] + at % h->lb * h->dim, h->dim);
        add(h, D_G, at % h->lb, de[at], de[at + n], h->in[F] + at / h->lb * h->dim, h->dim);
    }
    free(block);
}

/* Of 16 bits, the call has been made: the way back begins with what that has rounded. */
static void expect(const struct scene *s, struct expected *e)
{
    double *in[TENSORS];
    const struct shape *n = &s->n;
    for (int i = 0; i < TENSORS; i++) {
        const int of = n->a_is_f && i == A ? F : n->b_is_g && i == B ? G : i;
        const size_t bytes = (size_t)array_count(&s->t[i]) * sizeof(double);
        in[i] = array_read(&s->t[of]);
        e->value[i] = must_allocate(bytes);
        e->size[i] = must_allocate(bytes);
        memset(e->value[i], 0, bytes);
        memset(e->size[i], 0, bytes);
        for (int64_t k = 0; (i == A_LSE || i == B_LSE) && k < array_count(&s->t[i]); k++) e->value[i][k] = -INFINITY;
    }
    for (int64_t x = 0; x < n->batch * n->heads; x++) {
        const int64_t b = x / n->heads;
        struct head h = {length(s, 0, b), length(s, 1, b), n->dim, n->a_dim, n->b_dim,           {NULL},
                         {NULL},          {NULL},          NULL,   NULL,     is_narrow(s->dtype)};
        for (int i = 0; i < TENSORS; i++) {
            const int64_t at = x * (array_count(&s->t[i]) / (n->batch * n->heads));
            const bool absent = (i == D_BETA && !s->args.d_beta) || (i == D_ALPHA && !s->args.d_alpha);
            h.in[i] = absent ? NULL : in[i] + at;
            h.value[i] = e->value[i] + at;
            h.size[i] = e->size[i] + at;
        }
        if (n->a_is_f) h.value[D_A] = h.value[D_F], h.size[D_A] = h.size[D_F];
        if (n->b_is_g) h.value[D_B] = h.value[D_G], h.size[D_B] = h.size[D_G];
        expect_head(&h);
    }
    for (int i = 0; i < TENSORS; i++) free(in[i]);
}

static void forget(struct expected *e)
{
    for (int i = 0; i < TENSORS; i++) {
        free(e->value[i]);
        free(e->size[i]);
    }
}

static double worst_factor;

static void assert_expected(struct scene *s, struct expected *e, double factor, const char *what)
{
    for (int i = 0; i < TENSORS; i++) {
        char name[128];
        const bool output = (i >= BETA && i <= B_LSE) || i >= D_F;
        snprintf(name, sizeof name, "%s: %s", what, names[i]);
        if (!array_gaps_intact(&s->t[i])) fail_msg("%s: something was written between the elements", name);
        if (!output || *place(&s->args, i) == NULL) continue;
        worst_factor = fmax(worst_factor, assert_close(&s->t[i], e->value[i], e->size[i], factor, name));
    }
}

/* Gradients that are added to what is there. */
static void expect_more(const struct scene *s, struct expected *e)
{
    for (int i = D_F; i <= D_B; i++) {
        for (int64_t x = 0; x < array_count(&s->t[i]); x++) {
            e->value[i][x] += array_get(&s->t[i], x);
            e->size[i][x] += fabs(array_get(&s->t[i], x));
        }
    }
}

static int64_t any_rows(struct rng *rng)
{
    static const int64_t edges[] = {0, 1, 2, 15, 16, 17, 63, 64, 65, 127, 128, 129, 256, 257, 300};
    return rng_chance(rng, 0.5) ? edges[rng_integer(rng, 0, 14)] : rng_integer(rng, 1, rng_chance(rng, 0.3) ? 300 : 40);
}

static struct shape any_shape(struct rng *rng)
{
    struct shape n = {.a_rows = any_rows(rng), .b_rows = any_rows(rng)};
    const bool large = n.a_rows * n.b_rows > 10000;
    n.batch = large ? 1 : rng_integer(rng, 1, 3);
    n.heads = large ? rng_integer(rng, 1, 2) : rng_integer(rng, 1, 3);
    n.dim = rng_integer(rng, 1, large ? 20 : 70);
    n.a_dim = rng_integer(rng, rng_chance(rng, 0.05) ? 0 : 1, large ? 20 : 140);
    n.b_dim = rng_integer(rng, rng_chance(rng, 0.05) ? 0 : 1, large ? 20 : 140);
    n.a_is_f = rng_chance(rng, 0.3);
    n.b_is_g = rng_chance(rng, 0.3);
    n.lengths = rng_chance(rng, 0.5);
    return n;
}

static void describe(const struct scene *s, int k, char text[160])
{
    const struct shape *n = &s->n;
    snprintf(text, 160, "case %d, %s, B %d H %d Ta %d Tb %d D %d Da %d Db %d%s%s%s", k, dtype_name(s->dtype),
             (int)n->batch, (int)n->heads, (int)n->a_rows, (int)n->b_rows, (int)n->dim, (int)n->a_dim, (int)n->b_dim,
             n->a_is_f ? ", a is f" : "", n->b_is_g ? ", b is g" : "", n->lengths ? ", lengths" : "");
}

static void both_alignments_and_their_gradients_are_those_of_plain_loops(void **state)
{
    const int cases = few_cases() ? 20 : 160;
    (void)state;
    enum { STORED_SHARE = 3 }; /* of 16 bits, one in so many */
    for (int k = 0; k < DTYPES * cases; k++) {
        const attn_dtype dtype = k < 2 * cases ? dtypes[k % 2] : dtypes[2 + k % 2];
        if (is_narrow(dtype) && k / 2 % STORED_SHARE != 0) continue;
        struct rng rng = {(uint64_t)k};
        struct scene s;
        struct expected e;
        char what[160];
        const struct shape shape = any_shape(&rng);
        create(&s, dtype, &shape, shape.lengths ? STRIDED : LAYOUT_INPUT, &rng);
        if (is_narrow(dtype)) MUST(attn_decomposable_forward(engine, &s.args));
        expect(&s, &e);
        describe(&s, k, what);
        s.args.accumulate = rng_chance(&rng, 0.3);
        if (s.args.accumulate) expect_more(&s, &e);
        if (rng_chance(&rng, 0.5)) {
            for (int i = F; i <= D_ALPHA; i++) fill_past(&s, i, i % 3 ? NAN : INFINITY);
        }
        run(&s, engine);
        assert_expected(&s, &e, FACTOR, what);
        forget(&e);
        destroy(&s);
    }
    print_message("worst: %.2f epsilon times the magnitude\n", worst_factor);
}

/* ---------------------------------------------------------------------------------------------- properties */

/* Scores are whole numbers, exact in float32, whose maxima of rows and columns lie far apart and are met late, so that
 * references move, and at every place of a tile. */
static void large_scores_of_far_rows_stay_exact(void **state)
{
    static const struct shape shapes[] = {{1, 1, 200, 300, 3, 5, 7, false, false, false},
                                          {1, 1, 1200, 150, 3, 5, 7, false, false, false}}; /* several chunks */
    (void)state;
    for (int k = 0; k < 16; k++) {
        const struct shape shape = shapes[k / 8];
        struct rng rng = {(uint64_t)k + 50};
        struct scene s;
        struct expected e;
        create(&s, k % 2 ? ATTN_F64 : ATTN_F32, &shape, LAYOUT_PLAIN, &rng);
        for (int64_t i = 0; i < shape.a_rows; i++) {
            array_set(&s.t[F], 3 * i, (double)rng_integer(&rng, -14, 14));
            array_set(&s.t[F], 3 * i + 1, 1.0);
            array_set(&s.t[F], 3 * i + 2, k & 2 ? (double)(i * 400 / shape.a_rows) : 0.0); /* of the row alone */
        }
        for (int64_t j = 0; j < shape.b_rows; j++) {
            array_set(&s.t[G], 3 * j, (double)rng_integer(&rng, -14, 14));
            array_set(&s.t[G], 3 * j + 1, k & 4 ? (double)(j * 400 / shape.b_rows - 200) : 0.0); /* of the column */
            array_set(&s.t[G], 3 * j + 2, 1.0);
        }
        expect(&s, &e);
        for (int i = D_F; i <= D_B; i++) { /* a weight below 2^-126 may count as that */
            for (int64_t x = 0; x < array_count(&s.t[i]); x++) e.size[i][x] += 1e-29;
        }
        run(&s, engine);
        assert_expected(&s, &e, FACTOR, "far maxima");
        forget(&e);
        destroy(&s);
    }
}

static void copy(struct array *to, const struct array *from)
{
    double *values = array_read(from);
    array_write(to, values);
    free(values);
}

static void swapped_sentences_swap_alpha_and_beta(void **state)
{
    (void)state;
    for (int k = 0; k < 12; k++) {
        struct rng rng = {(uint64_t)k + 100};
        struct scene s, t;
        const struct shape n = {
            2, 2, rng_integer(&rng, 1, 150), rng_integer(&rng, 1, 150), 33, 20, 41, k % 3 == 0, k % 3 == 1, true};
        const struct shape turned = {n.batch, n.heads, n.b_rows, n.a_rows, n.dim,
                                     n.b_dim, n.a_dim, n.b_is_g, n.a_is_f, true};
        create(&s, k % 2 ? ATTN_F64 : ATTN_F32, &n, STRIDED, &rng);
        create(&t, s.dtype, &turned, STRIDED, &rng);
        for (int i = 0; i < TENSORS; i++) copy(&t.t[i], &s.t[i ^ 1]);
        for (int i = 0; i < 2; i++) copy(&t.lengths[i], &s.lengths[1 - i]);
        struct expected e;
        expect(&s, &e);
        run(&s, engine);
        run(&t, engine);
        for (int i = BETA; i < TENSORS; i++) {
            if (is_absent(&s.n, i)) continue;
            double *want = array_read(&s.t[i]);
            assert_close(&t.t[i ^ 1], want, e.size[i], 2 * FACTOR, names[i]);
            free(want);
        }
        forget(&e);
        destroy(&s);
        destroy(&t);
    }
}

static void what_is_not_asked_for_changes_no_bit_of_the_rest(void **state)
{
    static const unsigned asked[] = {1 << BETA, 1 << ALPHA, 1 << A_LSE, 1 << B_LSE, 1 << BETA | 1 << B_LSE,
                                     1 << D_F,  1 << D_G,   1 << D_A,   1 << D_B,   1 << D_F | 1 << D_B};
    const struct shape shape = {2, 1, 70, 150, 20, 30, 40, false, false, true};
    (void)state;
    for (int k = 0; k < DTYPES; k++) {
        struct scene all, some;
        struct rng rng = {5}, again = {5};
        create(&all, dtypes[k], &shape, STRIDED, &rng);
        create(&some, all.dtype, &shape, STRIDED, &again);
        run(&all, engine);
        for (size_t a = 0; a < sizeof asked / sizeof *asked; a++) {
            const bool backward = asked[a] >= 1 << D_F;
            attn_decomposable_args args = some.args;
            for (int i = BETA; i <= B_LSE; i++) copy(&some.t[i], &all.t[i]);
            for (int i = backward ? D_F : BETA; i <= (backward ? D_B : B_LSE); i++) {
                if (!(asked[a] >> i & 1)) *place(&args, i) = NULL;
                if (asked[a] >> i & 1) array_fill(&some.t[i], 7.0);
            }
            MUST(backward ? attn_decomposable_backward(engine, &args) : attn_decomposable_forward(engine, &args));
            for (int i = BETA; i < TENSORS; i++) {
                if (!(asked[a] >> i & 1)) continue;
                if (i == A_LSE || i == B_LSE) { /* the sum may be taken in another order */
                    double *want = array_read(&all.t[i]);
                    assert_close(&some.t[i], want, NULL, 4.0, names[i]);
                    free(want);
                } else if (!array_same_bits(&some.t[i], &all.t[i], 0, array_count(&all.t[i]))) {
                    fail_msg("%s alone", names[i]);
                }
            }
        }
        destroy(&all);
        destroy(&some);
    }
}

/* From d_beta alone plus from d_alpha alone is from both; and sums go on from what is there. */
static void gradients_add_up(void **state)
{
    const struct shape shapes[] = {{2, 2, 70, 150, 20, 30, 40, false, false, true},
                                   {1, 1, 40, 140, 24, 0, 0, true, true, false}};
    (void)state;
    for (int k = 0; k < 4; k++) {
        struct rng rng = {77};
        struct scene s;
        struct expected e;
        const attn_tensor nothing = {.dtype = 0};
        create(&s, k % 2 ? ATTN_F64 : ATTN_F32, &shapes[k / 2], STRIDED, &rng);
        expect(&s, &e);
        MUST(attn_decomposable_forward(engine, &s.args));
        for (int i = D_F; i <= D_B; i++) array_fill(&s.t[i], 3.0);
        attn_decomposable_args one = s.args, other = s.args;
        one.d_alpha = other.d_beta = other.beta = other.a_logsumexp = NULL;
        one.alpha = one.b_logsumexp = &nothing; /* not looked at */
        one.accumulate = other.accumulate = 1;
        MUST(attn_decomposable_backward(engine, &one));
        MUST(attn_decomposable_backward(engine, &other));
        for (int i = D_F; i <= D_B; i++) {
            for (int64_t x = 0; x < array_count(&s.t[i]); x++) {
                e.value[i][x] += 3.0;
                e.size[i][x] += 3.0;
            }
        }
        assert_expected(&s, &e, FACTOR, "sum");
        forget(&e);
        other.accumulate = 0;
        const attn_tensor *kept = s.args.d_beta;
        s.args.d_beta = NULL;
        expect(&s, &e);
        s.args.d_beta = kept;
        MUST(attn_decomposable_backward(engine, &other));
        assert_expected(&s, &e, FACTOR, "from alpha alone");
        forget(&e);
        destroy(&s);
    }
}

static void beta_is_the_context_of_attn_forward(void **state)
{
    const struct shape shape = {3, 2, 90, 200, 33, 20, 41, false, false, true};
    (void)state;
    for (int k = 0; k < 2; k++) {
        struct rng rng = {11};
        struct scene s;
        struct array context, logsumexp;
        attn_mechanism *dot_product;
        create(&s, k ? ATTN_F64 : ATTN_F32, &shape, STRIDED, &rng);
        s.args.a_lengths = NULL; /* attn_forward has none for queries */
        array_fill(&s.lengths[0], (double)shape.a_rows);
        MUST(attn_decomposable_forward(engine, &s.args));
        MUST(attn_mechanism_create_dot(engine, &dot_product));
        attn_forward_args args = ATTN_FORWARD_ARGS_INIT;
        const int64_t full[4] = {shape.batch, shape.heads, shape.a_rows, shape.b_dim};
        array_create(&context, s.dtype, 4, full, LAYOUT_PLAIN, NULL);
        array_create(&logsumexp, s.dtype, 3, full, LAYOUT_PLAIN, NULL);
        args.query = &s.t[F].tensor;
        args.key = &s.t[G].tensor;
        args.value = &s.t[B].tensor;
        args.key_lengths = &s.lengths[1].tensor;
        args.context = &context.tensor;
        args.logsumexp = &logsumexp.tensor;
        MUST(attn_forward(dot_product, &args));
        assert_near(&s.t[BETA], &context, "beta");
        assert_near(&s.t[A_LSE], &logsumexp, "a_logsumexp");
        attn_mechanism_destroy(dot_product);
        array_destroy(&context);
        array_destroy(&logsumexp);
        destroy(&s);
    }
}

/* ---------------------------------------------------------------------------------------------- derivatives */

static double loss(struct scene *s)
{
    double sum = 0.0;
    MUST(attn_decomposable_forward(engine, &s->args));
    for (int i = BETA; i <= ALPHA; i++) {
        for (int64_t x = 0; x < array_count(&s->t[i]); x++) {
            sum += array_get(&s->t[i], x) * array_get(&s->t[i + D_BETA - BETA], x);
        }
    }
    return sum;
}

static void gradients_are_central_differences(void **state)
{
    const double step = 1e-3;
    (void)state;
    for (int k = 0; k < 4; k++) {
        struct rng rng = {(uint64_t)k + 20};
        const struct shape shape = {2, 1, 4, 5, 3, 2, 4, k & 1, k >> 1 & 1, true};
        struct scene s;
        create(&s, ATTN_F64, &shape, STRIDED, &rng);
        run(&s, engine);
        for (int i = F; i <= B; i++) {
            for (int64_t x = 0; x < array_count(&s.t[i]) && !is_absent(&s.n, i); x++) {
                const double start = array_get(&s.t[i], x), got = array_get(&s.t[D_F + i], x);
                double around[4];
                for (int w = 0; w < 4; w++) {
                    array_set(&s.t[i], x, start + step * (w < 2 ? w - 2 : w - 1));
                    around[w] = loss(&s);
                }
                array_set(&s.t[i], x, start);
                const double want = (around[0] - 8 * around[1] + 8 * around[2] - around[3]) / (12 * step);
                if (!(fabs(want - got) <= 1e-9 * (1 + fabs(want)))) {
                    fail_msg("%s[%d] is %.12g, but %.12g by differences", names[D_F + i], (int)x, got, want);
                }
            }
        }
        destroy(&s);
    }
}

/* <J x, y> = <x, J^T y>, of large problems. */
static void gradients_are_the_adjoint_of_how_the_alignments_move(void **state)
{
    const double step = 2e-4;
    (void)state;
    for (int k = 0; k < (few_cases() ? 4 : 24); k++) {
        struct rng rng = {(uint64_t)k + 4000};
        const struct shape shape = any_shape(&rng);
        struct scene s;
        double *start[4], *direction[4], inner = 0.0, size = 1.0, around[4], numbers = 1.0;
        create(&s, ATTN_F64, &shape, STRIDED, &rng);
        run(&s, engine);
        for (int i = F; i <= B; i++) numbers += (double)array_count(&s.t[i]);
        for (int i = F; i <= B; i++) {
            start[i] = array_read(&s.t[i]);
            direction[i] = array_read(&s.t[i]);
            for (int64_t x = 0; x < array_count(&s.t[i]) && !is_absent(&s.n, i); x++) {
                direction[i][x] = rng_normal(&rng) / sqrt(numbers);
                inner += direction[i][x] * array_get(&s.t[D_F + i], x);
                size += fabs(direction[i][x] * array_get(&s.t[D_F + i], x));
            }
        }
        for (int w = 0; w < 4; w++) {
            for (int i = F; i <= B; i++) {
                for (int64_t x = 0; x < array_count(&s.t[i]) && !is_absent(&s.n, i); x++) {
                    array_set(&s.t[i], x, start[i][x] + step * (w < 2 ? w - 2 : w - 1) * direction[i][x]);
                }
            }
            around[w] = loss(&s);
        }
        const double moved = (around[0] - 8 * around[1] + 8 * around[2] - around[3]) / (12 * step);
        if (!(fabs(moved - inner) <= 1e-7 * size)) fail_msg("case %d: %.12g, not %.12g", k, inner, moved);
        for (int i = F; i <= B; i++) {
            free(start[i]);
            free(direction[i]);
        }
        destroy(&s);
    }
}

/* ---------------------------------------------------------------------------------------------- edges */

static void what_lies_past_a_length_changes_no_bit(void **state)
{
    const struct shape shape = {3, 2, 100, 170, 21, 22, 23, false, false, true};
    (void)state;
    for (int k = 0; k < 2 * DTYPES; k++) {
        struct scene s[2];
        for (int x = 0; x < 2; x++) {
            struct rng rng = {31};
            create(&s[x], dtypes[k / 2], &shape, k % 2 ? STRIDED : LAYOUT_PLAIN, &rng);
            for (int i = F; i <= B; i++) fill_past(&s[x], i, x ? NAN : 0.0);
            for (int i = D_BETA; i <= D_ALPHA; i++) fill_past(&s[x], i, x ? -INFINITY : 0.0);
            MUST(attn_decomposable_forward(engine, &s[x].args));
            for (int i = BETA; i <= B_LSE && x; i++) {
                if (!array_same_bits(&s[0].t[i], &s[1].t[i], 0, array_count(&s[0].t[i]))) fail_msg("%s", names[i]);
                fill_past(&s[x], i, NAN);
            }
            MUST(attn_decomposable_backward(engine, &s[x].args));
        }
        for (int i = D_F; i <= D_B; i++) {
            if (!array_same_bits(&s[0].t[i], &s[1].t[i], 0, array_count(&s[0].t[i]))) fail_msg("%s", names[i]);
        }
        destroy(&s[0]);
        destroy(&s[1]);
    }
}

/* A NaN in a row of a is seen by every row of b, and by no other row of a. */
static void a_nan_reaches_what_sees_it_and_nothing_else(void **state)
{
    const struct shape shape = {1, 1, 70, 140, 9, 8, 7, false, false, false};
    enum { ROW = 3 };
    (void)state;
    for (int k = 0; k < DTYPES; k++) {
        struct rng rng = {9};
        struct scene s;
        create(&s, dtypes[k], &shape, LAYOUT_PLAIN, &rng);
        array_set(&s.t[F], ROW * shape.dim, NAN);
        MUST(attn_decomposable_forward(engine, &s.args));
        for (int64_t x = 0; x < array_count(&s.t[BETA]); x++) {
            assert_int_equal(isnan(array_get(&s.t[BETA], x)) != 0, x / shape.b_dim == ROW);
        }
        for (int64_t x = 0; x < array_count(&s.t[ALPHA]); x++) assert_true(isnan(array_get(&s.t[ALPHA], x)));
        destroy(&s);
    }
}

static void empty_sentences_are_aligned_with_nothing(void **state)
{
    (void)state;
    for (int k = 0; k < 8 * DTYPES; k++) {
        struct rng rng = {(uint64_t)k};
        const struct shape shape = {k & 4 ? 0 : 2, 2, k & 1 ? 0 : 5, k & 2 ? 0 : 6, 4, 3, 3, false, false, false};
        struct scene s;
        struct expected e;
        create(&s, dtypes[k / 8], &shape, STRIDED, &rng);
        if (is_narrow(s.dtype)) MUST(attn_decomposable_forward(engine, &s.args));
        expect(&s, &e);
        run(&s, engine);
        assert_expected(&s, &e, FACTOR, "empty");
        forget(&e);
        destroy(&s);
    }
}

/* ---------------------------------------------------------------------------------------------- engines */

struct meter {
    atomic_llong asked;
    atomic_bool failing;
};

/* Memory with NaN in every element: nothing may be read that was not written. */
static void *allocate_filled(void *data, size_t bytes, size_t alignment)
{
    struct meter *meter = data;
    atomic_fetch_add(&meter->asked, 1);
    if (atomic_load(&meter->failing)) return NULL;
    const size_t whole = (bytes + alignment - 1) / alignment * alignment;
    unsigned char *memory = aligned_alloc(alignment, whole);
    if (memory != NULL) memset(memory, 0xFF, whole);
    return memory;
}

static void release(void *data, void *memory, size_t bytes)
{
    (void)data, (void)bytes;
    free(memory);
}

static void execute_backwards(void *data, int64_t count, attn_task_fn task, void *task_data)
{
    (void)data;
    for (int64_t i = count - 1; i >= 0; i--) task(task_data, i);
}

static void results_have_the_same_bits_for_any_number_of_threads(void **state)
{
    static const int32_t threads[] = {1, 2, 3, 7};
    static const struct shape shapes[] = {{7, 2, 90, 140, 24, 30, 20, false, false, true},
                                          {1, 1, 500, 600, 16, 16, 16, false, true, false}};
    (void)state;
    for (int k = 0; k < 2 * DTYPES; k++) {
        struct scene s[4];
        for (int x = 0; x < 4; x++) {
            static struct meter meter;
            struct rng rng = {41};
            attn_engine *own;
            attn_engine_options options = ATTN_ENGINE_OPTIONS_INIT;
            options.threads = threads[x];
            options.allocate = allocate_filled;
            options.release = release;
            options.allocator_data = &meter;
            options.execute = x == 3 ? execute_backwards : NULL;
            MUST(attn_engine_create(&options, &own));
            create(&s[x], dtypes[k / 2], &shapes[k % 2], STRIDED, &rng);
            run(&s[x], own);
            attn_engine_destroy(own);
            for (int i = BETA; i < TENSORS; i++) {
                if (array_same_bits(&s[0].t[i], &s[x].t[i], 0, array_count(&s[0].t[i]))) continue;
                fail_msg("%s of call %d differs with %d threads", names[i], k, (int)threads[x]);
            }
        }
        for (int x = 0; x < 4; x++) destroy(&s[x]);
    }
}

static void fill_outputs(struct scene *s, int first, int last)
{
    for (int i = first; i <= last; i++) array_fill(&s->t[i], 7.0);
}

static void assert_outputs_hold(const struct scene *s, int first, int last, const char *what)
{
    for (int i = first; i <= last; i++) {
        for (int64_t x = 0; x < array_count(&s->t[i]); x++) {
            if (array_get(&s->t[i], x) != 7.0) fail_msg("%s: %s was written to", what, names[i]);
        }
    }
}

static void memory_is_asked_for_once_and_without_it_nothing_is_written(void **state)
{
    const struct shape shape = {2, 2, 90, 140, 24, 30, 20, false, false, true};
    (void)state;
    for (int k = 0; k < 2 * DTYPES; k++) {
        static struct meter meter;
        struct rng rng = {43};
        struct scene s;
        attn_engine *own;
        attn_engine_options options = ATTN_ENGINE_OPTIONS_INIT;
        atomic_store(&meter.failing, false);
        options.threads = k % 2 ? 3 : 1;
        options.allocate = allocate_filled;
        options.release = release;
        options.allocator_data = &meter;
        MUST(attn_engine_create(&options, &own));
        create(&s, dtypes[k / 2], &shape, STRIDED, &rng);
        run(&s, own); /* the threads are there now */
        atomic_store(&meter.asked, 0);
        run(&s, own);
        assert_int_equal(atomic_load(&meter.asked), 2);
        atomic_store(&meter.failing, true);
        fill_outputs(&s, D_F, D_B);
        assert_int_equal(attn_decomposable_backward(own, &s.args), ATTN_ERR_NOMEM);
        assert_outputs_hold(&s, D_F, D_B, "no memory");
        fill_outputs(&s, BETA, B_LSE);
        assert_int_equal(attn_decomposable_forward(own, &s.args), ATTN_ERR_NOMEM);
        assert_outputs_hold(&s, BETA, B_LSE, "no memory");
        attn_engine_destroy(own);
        destroy(&s);
    }
}

/* ---------------------------------------------------------------------------------------------- wrong calls */

static attn_engine *given;

/* Breaks a call; the status that it then has, and a word of the sentence. ATTN_OK past the last way to break one. */
static attn_status spoil(struct scene *s, int which, bool backward, const char **word)
{
    attn_decomposable_args *a = &s->args;
#define BREAK(number, status, about, ...)                                                                              \
    case number:                                                                                                       \
        *word = about;                                                                                                 \
        __VA_ARGS__;                                                                                                   \
        return ATTN_ERR_##status;
    switch (which) {
        BREAK(0, ARGUMENT, "engine", given = NULL)
        BREAK(1, ARGUMENT, "f is NULL", a->f = NULL)
        BREAK(2, ARGUMENT, "g is NULL", a->g = NULL)
        BREAK(3, STRUCT_SIZE, "struct_size", a->struct_size = 0)
        BREAK(4, STRUCT_SIZE, "struct_size", a->struct_size = (uint32_t)sizeof *a - 1)
        BREAK(5, DTYPE, "f is ATTN_I32", s->t[F].tensor.dtype = ATTN_I32)
        BREAK(6, DTYPE, "but f is", s->t[G].tensor.dtype = ATTN_F64)
        BREAK(7, DTYPE, "a is", s->t[A].tensor.dtype = ATTN_F64)
        BREAK(8, SHAPE, "g", s->t[G].tensor.shape[3]--)
        BREAK(9, SHAPE, "g", s->t[G].tensor.shape[0]--)
        BREAK(10, SHAPE, "a", s->t[A].tensor.shape[2]--)
        BREAK(11, SHAPE, "b", s->t[B].tensor.shape[1]--)
        BREAK(12, SHAPE, "alpha", s->t[ALPHA].tensor.shape[2]--)
        BREAK(13, SHAPE, "beta", s->t[BETA].tensor.shape[3]--)
        BREAK(14, SHAPE, "a_logsumexp", s->t[A_LSE].tensor.shape[2]--)
        BREAK(15, SHAPE, "b_logsumexp", s->t[B_LSE].tensor.shape[2]++)
        BREAK(16, ARGUMENT, "a_lengths[0] is -1", array_set(&s->lengths[0], 0, -1))
        BREAK(17, ARGUMENT, "b_lengths[1]", array_set(&s->lengths[1], 1, (double)s->n.b_rows + 1))
        BREAK(18, SHAPE, "b_lengths", s->lengths[1].tensor.shape[0]--)
        BREAK(19, DTYPE, "a_lengths", s->lengths[0].tensor.dtype = ATTN_F64)
        BREAK(20, ARGUMENT, "NULL", s->t[F].tensor.data = NULL)
        BREAK(21, ARGUMENT, "aligned", s->t[B].tensor.data = (char *)s->t[B].tensor.data + 1)
        BREAK(22, SHAPE, "f has a last dimension of 0", s->t[F].tensor.shape[3] = 0)
        BREAK(23, SHAPE, "no heads", s->t[F].tensor.shape[1] = 0)
        BREAK(24, OVERFLOW, "a ", s->t[A].tensor.stride[3] = INT64_MAX)
    default:
        break;
    }
    if (backward) {
        switch (which) {
            BREAK(25, ARGUMENT, "both NULL", a->d_beta = a->d_alpha = NULL)
            BREAK(26, ARGUMENT, "accumulate", a->accumulate = 2)
            BREAK(27, ARGUMENT, "beta is NULL", a->beta = NULL)
            BREAK(28, ARGUMENT, "b_logsumexp is NULL", a->b_logsumexp = NULL)
            BREAK(29, ARGUMENT, "d_a is wanted", a->a = NULL; s->t[ALPHA].tensor.shape[3] = s->n.dim)
            BREAK(30, ARGUMENT, "d_b is wanted", a->b = NULL; s->t[BETA].tensor.shape[3] = s->n.dim)
            BREAK(31, SHAPE, "d_beta", s->t[D_BETA].tensor.shape[3]--)
            BREAK(32, SHAPE, "d_g", s->t[D_G].tensor.shape[3]--)
            BREAK(33, OVERLAP, "d_f", s->t[D_F].tensor.data = s->t[F].tensor.data)
            BREAK(34, OVERLAP, "d_a", s->t[D_A].tensor.data = s->t[D_ALPHA].tensor.data)
            BREAK(35, OVERLAP, "d_b", s->t[D_B].tensor.stride[2] = 0)
            BREAK(36, OVERLAP, "d_g", s->t[D_G].tensor.data = s->t[BETA].tensor.data)
            BREAK(37, DTYPE, "d_alpha", s->t[D_ALPHA].tensor.dtype = ATTN_F64)
        default:
            return ATTN_OK;
        }
    }
    switch (which) {
        BREAK(25, ARGUMENT, "all NULL", a->beta = a->alpha = a->a_logsumexp = a->b_logsumexp = NULL)
        BREAK(26, OVERLAP, "beta", s->t[BETA].tensor.stride[3] = 0)
        BREAK(27, OVERLAP, "alpha", s->t[ALPHA].tensor.data = s->t[A].tensor.data)
        BREAK(28, OVERLAP, "beta", s->t[BETA].tensor.data = s->t[ALPHA].tensor.data)
        BREAK(29, OVERLAP, "b_logsumexp", s->t[B_LSE].tensor.data = s->lengths[0].tensor.data)
    default:
        return ATTN_OK;
    }
#undef BREAK
}

static void wrong_calls_are_refused_in_words_and_change_nothing(void **state)
{
    const struct shape shape = {2, 2, 5, 6, 4, 3, 7, false, false, true};
    (void)state;
    for (int backward = 0; backward < 2; backward++) {
        const char *const function = backward ? "attn_decomposable_backward: " : "attn_decomposable_forward: ";
        const int first = backward ? D_F : BETA, last = backward ? D_B : B_LSE;
        for (int which = 0;; which++) {
            struct rng rng = {1};
            struct scene s;
            char what[64];
            const char *word = NULL;
            unsigned char *before[TENSORS];
            create(&s, ATTN_F32, &shape, LAYOUT_PLAIN, &rng);
            fill_outputs(&s, first, last);
            given = engine;
            const attn_status want = spoil(&s, which, backward, &word);
            for (int i = 0; i < TENSORS; i++) {
                before[i] = must_allocate(s.t[i].bytes);
                memcpy(before[i], s.t[i].memory, s.t[i].bytes);
            }
            const attn_status got = (backward ? attn_decomposable_backward : attn_decomposable_forward)(given, &s.args);
            snprintf(what, sizeof what, "%s%d", function, which);
            if (got != want) fail_msg("%s: %s, not %s", what, attn_status_string(got), attn_status_string(want));
            if (want != ATTN_OK) {
                if (strncmp(attn_last_error(), function, strlen(function)) != 0 || !strstr(attn_last_error(), word)) {
                    fail_msg("%s: lacks \"%s\": %s", what, word, attn_last_error());
                }
                for (int i = 0; i < TENSORS; i++) assert_memory_equal(before[i], s.t[i].memory, s.t[i].bytes);
            }
            for (int i = 0; i < TENSORS; i++) free(before[i]);
            destroy(&s);
            if (want == ATTN_OK) break;
        }
        assert_int_equal((backward ? attn_decomposable_backward : attn_decomposable_forward)(engine, NULL),
                         ATTN_ERR_ARGUMENT);
        assert_non_null(strstr(attn_last_error(), "args is NULL"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_alignments_and_their_gradients_are_those_of_plain_loops),
        cmocka_unit_test(large_scores_of_far_rows_stay_exact),
        cmocka_unit_test(swapped_sentences_swap_alpha_and_beta),
        cmocka_unit_test(what_is_not_asked_for_changes_no_bit_of_the_rest),
        cmocka_unit_test(gradients_add_up),
        cmocka_unit_test(beta_is_the_context_of_attn_forward),
        cmocka_unit_test(gradients_are_central_differences),
        cmocka_unit_test(gradients_are_the_adjoint_of_how_the_alignments_move),
        cmocka_unit_test(what_lies_past_a_length_changes_no_bit),
        cmocka_unit_test(a_nan_reaches_what_sees_it_and_nothing_else),
        cmocka_unit_test(empty_sentences_are_aligned_with_nothing),
        cmocka_unit_test(results_have_the_same_bits_for_any_number_of_threads),
        cmocka_unit_test(memory_is_asked_for_once_and_without_it_nothing_is_written),
        cmocka_unit_test(wrong_calls_are_refused_in_words_and_change_nothing),
    };
    return cmocka_run_group_tests_name("decomposable", tests, engine_setup, engine_teardown);
}
