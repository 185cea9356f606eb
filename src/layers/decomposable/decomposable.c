/* SPDX-License-Identifier: BSD-3-Clause
 *
 * layers/decomposable/decomposable.c: the verbs attn_decomposable_forward and attn_decomposable_backward: check the
 * arguments, find scratch, compute; and fill what lies past the lengths. */
#include "layers/decomposable/decomposable.h"

#include "call/problem.h"
#include "call/scratch.h"
#include "call/target.h"
#include "handles/lengths.h"
#include "handles/status.h"
#include "handles/structs.h"

#include <inttypes.h>
#include <math.h>

/* ---------------------------------------------------------------------------------------------- inputs */

static const char a_layout[] = "[B, H, Ta, Da]", b_layout[] = "[B, H, Tb, Db]";
static const char f_layout[] = "[B, H, Ta, D]", g_layout[] = "[B, H, Tb, D]";

static attn_i_reals reals_of(const attn_i_decomposable *d)
{
    return (attn_i_reals){d->given, "f"};
}

static attn_i_reals computed_reals(const attn_i_decomposable *d)
{
    return (attn_i_reals){d->dtype, d->given == d->dtype ? "f" : "what f is computed in"};
}

static attn_status check_scores(attn_i_decomposable *d, const attn_decomposable_args *args)
{
    attn_i_reals reals;
    if (args->g == NULL && args->f != NULL) return attn_i_fail(ATTN_ERR_ARGUMENT, "g is NULL");
    attn_status status = attn_i_real_first(args->f, "f", &d->f, &reals);
    if (status == ATTN_OK) status = attn_i_real(reals, args->g, "g", &d->g);
    if (status != ATTN_OK) return status;
    d->given = reals.dtype;
    d->dtype = attn_i_dtype_computed(d->given);
    d->size = attn_i_dtype_size(d->dtype);
    d->storage = attn_i_storage_of(d->engine, d->given);
    d->kernels = d->storage.kernels;
    d->batch = d->f.shape[0];
    d->heads = d->f.shape[1];
    d->a_rows = d->f.shape[2];
    d->b_rows = d->g.shape[2];
    d->dim = d->f.shape[3];
    if (d->dim == 0) return attn_i_fail(ATTN_ERR_SHAPE, "f has a last dimension of 0");
    if (d->heads == 0) return attn_i_fail(ATTN_ERR_SHAPE, "f has no heads (dimension 1 of %s)", f_layout);
    const int64_t shape[4] = {d->batch, d->heads, d->b_rows, d->dim};
    return attn_i_view_has_shape(&d->g, "g", g_layout, shape);
}

/* a or b: what is aligned, of any width; or `instead`. */
static attn_status check_aligned(const attn_i_decomposable *d, const attn_tensor *tensor, const char *name,
                                 const char *layout, const attn_i_view *instead, attn_i_view *view)
{
    *view = *instead;
    if (tensor == NULL) return ATTN_OK;
    attn_status status = attn_i_real(reals_of(d), tensor, name, view);
    if (status != ATTN_OK) return status;
    const int64_t shape[4] = {d->batch, d->heads, instead->shape[2], view->shape[3]};
    return attn_i_view_has_shape(view, name, layout, shape);
}

/* Counts that loops run over, some of which no single tensor holds, and rows that must be copied. */
static attn_status check_counts(const attn_i_decomposable *d)
{
    const int64_t dims[] = {d->dim, d->a_dim, d->b_dim};
    const char *const names[] = {"f", "a", "b"};
    if (!attn_i_countable(d->batch, d->heads, d->a_rows, d->b_rows) ||
        !attn_i_countable(d->batch, d->heads, d->b_rows, 1)) {
        return attn_i_fail(ATTN_ERR_OVERFLOW,
                           "batch %" PRId64 " x heads %" PRId64 " x rows of f %" PRId64 " x rows of g %" PRId64
                           " cannot be counted",
                           d->batch, d->heads, d->a_rows, d->b_rows);
    }
    for (int i = 0; i < 3; i++) {
        if (dims[i] <= ATTN_I_BLAS_LIMIT) continue;
        return attn_i_fail(ATTN_ERR_OVERFLOW, "%s has a last dimension of %" PRId64 ", more than a BLAS can count",
                           names[i], dims[i]);
    }
    return ATTN_OK;
}

static attn_status check_inputs(attn_i_decomposable *d, const attn_decomposable_args *args)
{
    attn_status status = check_scores(d, args);
    if (status == ATTN_OK) status = check_aligned(d, args->a, "a", a_layout, &d->f, &d->a);
    if (status == ATTN_OK) status = check_aligned(d, args->b, "b", b_layout, &d->g, &d->b);
    if (status != ATTN_OK) return status;
    d->a_is_f = args->a == NULL;
    d->b_is_g = args->b == NULL;
    d->a_dim = d->a.shape[3];
    d->b_dim = d->b.shape[3];
    status = check_counts(d);
    if (status == ATTN_OK) {
        status = attn_i_lengths_check(args->a_lengths, "a_lengths", d->batch, d->a_rows, &d->a_lengths);
    }
    if (status == ATTN_OK) {
        status = attn_i_lengths_check(args->b_lengths, "b_lengths", d->batch, d->b_rows, &d->b_lengths);
    }
    return status;
}

/* ---------------------------------------------------------------------------------------------- results */

/* A tensor that the call has besides f, g, a, b and their lengths. */
typedef struct result {
    const attn_tensor *tensor;
    const char *name, *layout;
    int64_t shape[4];
    attn_i_view *view;
} result;

typedef attn_status check_fn(attn_i_reals reals, const attn_tensor *tensor, const char *name, const char *layout,
                             const int64_t *shape, attn_i_view *view);

static attn_status check_results(attn_i_reals reals, const result *results, int count, check_fn *check)
{
    attn_status status = ATTN_OK;
    for (int i = 0; i < count && status == ATTN_OK; i++) {
        const result *r = &results[i];
        status = check(reals, r->tensor, r->name, r->layout, r->shape, r->view);
    }
    return status;
}

static attn_status check_alignments(attn_i_decomposable *d, const attn_decomposable_args *args, check_fn *check)
{
    const result aligned[] = {
        {args->beta, "beta", "[B, H, Ta, Db]", {d->batch, d->heads, d->a_rows, d->b_dim}, &d->beta},
        {args->alpha, "alpha", "[B, H, Tb, Da]", {d->batch, d->heads, d->b_rows, d->a_dim}, &d->alpha},
    };
    const result sums[] = {
        {args->a_logsumexp, "a_logsumexp", "[B, H, Ta]", {1, d->batch, d->heads, d->a_rows}, &d->a_logsumexp},
        {args->b_logsumexp, "b_logsumexp", "[B, H, Tb]", {1, d->batch, d->heads, d->b_rows}, &d->b_logsumexp},
    };
    attn_status status = check_results(reals_of(d), aligned, 2, check);
    return status == ATTN_OK ? check_results(computed_reals(d), sums, 2, check) : status;
}

static attn_status check_forward(attn_i_decomposable *d, const attn_decomposable_args *args)
{
    if (args->beta == NULL && args->alpha == NULL && args->a_logsumexp == NULL && args->b_logsumexp == NULL) {
        return attn_i_fail(ATTN_ERR_ARGUMENT, "beta, alpha, a_logsumexp and b_logsumexp are all NULL");
    }
    return check_alignments(d, args, attn_i_real_output);
}

/* What a gradient that flows in needs of the forward call. */
static attn_status check_saved(const attn_tensor *flow, const char *name, const attn_tensor *context,
                               const char *context_name, const attn_tensor *logsumexp, const char *logsumexp_name)
{
    if (flow == NULL || (context != NULL && logsumexp != NULL)) return ATTN_OK;
    return attn_i_fail(ATTN_ERR_ARGUMENT, "%s is NULL, but there is a %s",
                       context == NULL ? context_name : logsumexp_name, name);
}

static attn_status check_backward(attn_i_decomposable *d, const attn_decomposable_args *given)
{
    attn_decomposable_args args = *given;
    if (args.d_beta == NULL && args.d_alpha == NULL) {
        return attn_i_fail(ATTN_ERR_ARGUMENT, "d_beta and d_alpha are both NULL");
    }
    if (args.accumulate != 0 && args.accumulate != 1) {
        return attn_i_fail(ATTN_ERR_ARGUMENT, "accumulate is %" PRId32 ", but must be 0 or 1", args.accumulate);
    }
    if ((args.d_a != NULL && d->a_is_f) || (args.d_b != NULL && d->b_is_g)) {
        const int a = args.d_a != NULL && d->a_is_f;
        return attn_i_fail(ATTN_ERR_ARGUMENT, "%s is wanted, but %s is NULL: %s is of both", a ? "d_a" : "d_b",
                           a ? "a" : "b", a ? "d_f" : "d_g");
    }
    attn_status status = check_saved(args.d_beta, "d_beta", args.beta, "beta", args.a_logsumexp, "a_logsumexp");
    if (status == ATTN_OK) {
        status = check_saved(args.d_alpha, "d_alpha", args.alpha, "alpha", args.b_logsumexp, "b_logsumexp");
    }
    if (status != ATTN_OK) return status;
    if (args.d_beta == NULL) args.beta = args.a_logsumexp = NULL;
    if (args.d_alpha == NULL) args.alpha = args.b_logsumexp = NULL;
    const int64_t a[4] = {d->batch, d->heads, d->a_rows, d->a_dim}, b[4] = {d->batch, d->heads, d->b_rows, d->b_dim};
    const result flows[] = {{args.d_beta, "d_beta", "[B, H, Ta, Db]", {a[0], a[1], a[2], b[3]}, &d->d_beta},
                            {args.d_alpha, "d_alpha", "[B, H, Tb, Da]", {b[0], b[1], b[2], a[3]}, &d->d_alpha}};
    const result gradients[] = {{args.d_f, "d_f", f_layout, {a[0], a[1], a[2], d->dim}, &d->d_f},
                                {args.d_g, "d_g", g_layout, {b[0], b[1], b[2], d->dim}, &d->d_g},
                                {args.d_a, "d_a", a_layout, {a[0], a[1], a[2], a[3]}, &d->d_a},
                                {args.d_b, "d_b", b_layout, {b[0], b[1], b[2], b[3]}, &d->d_b}};
    d->accumulate = args.accumulate;
    status = check_alignments(d, &args, attn_i_real_input);
    if (status == ATTN_OK) status = check_results(reals_of(d), flows, 2, attn_i_real_input);
    return status == ATTN_OK ? check_results(reals_of(d), gradients, 4, attn_i_real_output) : status;
}

/* Each output must lie apart from everything else. */
static attn_status check_overlap(const attn_i_decomposable *d, int backward)
{
    enum { GRADIENTS = 4, ALIGNMENTS = 4 };
    const attn_i_named_view all[] = {{"", "d_f", &d->d_f},
                                     {"", "d_g", &d->d_g},
                                     {"", "d_a", &d->d_a},
                                     {"", "d_b", &d->d_b},
                                     {"", "beta", &d->beta},
                                     {"", "alpha", &d->alpha},
                                     {"", "a_logsumexp", &d->a_logsumexp},
                                     {"", "b_logsumexp", &d->b_logsumexp},
                                     {"", "d_beta", &d->d_beta},
                                     {"", "d_alpha", &d->d_alpha},
                                     {"", "f", &d->f},
                                     {"", "g", &d->g},
                                     {"", "a", &d->a},
                                     {"", "b", &d->b},
                                     {"", "a_lengths", &d->a_lengths},
                                     {"", "b_lengths", &d->b_lengths}};
    attn_i_named_view list[sizeof all / sizeof *all];
    int count = 0, outputs = 0;
    for (int i = 0; i < (int)(sizeof all / sizeof *all); i++) {
        if (all[i].view->first >= all[i].view->end) continue;
        list[count++] = all[i];
        if (i < (backward ? GRADIENTS : GRADIENTS + ALIGNMENTS)) outputs = count;
    }
    return attn_i_views_apart(list, outputs, count);
}

/* ---------------------------------------------------------------------------------------------- one call */

int64_t attn_i_decomposable_a(const attn_i_decomposable *d, int64_t b)
{
    return attn_i_length(&d->a_lengths, b, d->a_rows);
}

int64_t attn_i_decomposable_b(const attn_i_decomposable *d, int64_t b)
{
    return attn_i_length(&d->b_lengths, b, d->b_rows);
}

void *attn_i_decomposable_one(const attn_i_view *logsumexp, int64_t b, int64_t h, int64_t row)
{
    return attn_i_view_at(logsumexp, 0, b) + (h * logsumexp->stride[2] + row * logsumexp->stride[3]) * logsumexp->size;
}

char *attn_i_decomposable_row(const attn_i_view *view, int64_t b, int64_t h, int64_t row)
{
    return attn_i_view_at(view, b, h) + row * view->stride[2] * view->size;
}

void attn_i_decomposable_write(const attn_i_decomposable *d, const attn_i_view *output, const void *row, char *place)
{
    (d->accumulate ? attn_i_row_add : attn_i_row_store)(&d->storage, output, row, place);
}

/* Zeros to rows `first` and on of one head of an output. */
static void clear_rows(const attn_i_view *view, int64_t b, int64_t h, int64_t first)
{
    attn_i_view rows = *view;
    if (view->data == NULL || first >= view->shape[2]) return;
    rows.data = attn_i_decomposable_row(view, b, h, first);
    rows.shape[0] = rows.shape[1] = 1;
    rows.shape[2] -= first;
    attn_i_target_clear(&rows, 0);
}

int attn_i_decomposable_is_great(double logsumexp)
{
    return logsumexp != -INFINITY && !(fabs(logsumexp) <= 0x1p8);
}

static void fill_logsumexp(const attn_i_decomposable *d, const attn_i_view *view, int64_t b, int64_t h, int64_t first)
{
    if (view->data == NULL || first >= view->shape[3]) return;
    d->kernels->fill(view->shape[3] - first, -INFINITY, attn_i_decomposable_one(view, b, h, first), view->stride[3]);
}

/* What lies past the lengths of the outputs. */
static void fill_past(const attn_i_decomposable *d, int backward)
{
    for (int64_t b = 0; b < d->batch; b++) {
        const int64_t a_length = attn_i_decomposable_a(d, b), b_length = attn_i_decomposable_b(d, b);
        for (int64_t h = 0; h < d->heads; h++) {
            if (!backward) {
                clear_rows(&d->beta, b, h, a_length);
                clear_rows(&d->alpha, b, h, b_length);
                fill_logsumexp(d, &d->a_logsumexp, b, h, a_length);
                fill_logsumexp(d, &d->b_logsumexp, b, h, b_length);
            } else if (!d->accumulate) {
                clear_rows(&d->d_f, b, h, a_length);
                clear_rows(&d->d_a, b, h, a_length);
                clear_rows(&d->d_g, b, h, b_length);
                clear_rows(&d->d_b, b, h, b_length);
            }
        }
    }
}

/* 1 if there is an output with elements: otherwise there is nothing to do, whatever the other sizes are. */
static int is_wanted(const attn_i_decomposable *d, int backward)
{
    if (backward) {
        return !attn_i_view_is_empty(&d->d_f) || !attn_i_view_is_empty(&d->d_g) || !attn_i_view_is_empty(&d->d_a) ||
               !attn_i_view_is_empty(&d->d_b);
    }
    return !attn_i_view_is_empty(&d->beta) || !attn_i_view_is_empty(&d->alpha) ||
           !attn_i_view_is_empty(&d->a_logsumexp) || !attn_i_view_is_empty(&d->b_logsumexp);
}

/* Backward: 1 if anything flows into what is wanted. */
static int flows(const attn_i_decomposable *d)
{
    if (d->a_rows == 0 || d->b_rows == 0) return 0;
    return !attn_i_view_is_empty(&d->d_beta) || !attn_i_view_is_empty(&d->d_alpha);
}

enum { WANTED = 4 }; /* gradients */

static void clear(const attn_i_decomposable *d)
{
    const attn_i_view *const wanted[WANTED] = {&d->d_f, &d->d_g, &d->d_a, &d->d_b};
    for (int i = 0; i < WANTED; i++) {
        attn_i_target_clear(wanted[i], d->accumulate);
    }
}

typedef struct call {
    attn_i_decomposable d;
    const attn_i_decomposable_way *way;
} call;

static void run(void *data, void *scratch)
{
    const call *c = data;
    c->way->run(&c->d, scratch);
}

static attn_status check(attn_engine *engine, const attn_decomposable_args *given, int backward, attn_i_decomposable *d)
{
    attn_decomposable_args args;
    if (engine == NULL) return attn_i_fail(ATTN_ERR_ARGUMENT, "engine is NULL");
    if (given == NULL) return attn_i_fail(ATTN_ERR_ARGUMENT, "args is NULL");
    attn_status status =
        attn_i_struct_read(&args, sizeof args, sizeof args, given, given->struct_size, "attn_decomposable_args");
    if (status != ATTN_OK) return status;
    *d = (attn_i_decomposable){.engine = engine};
    status = check_inputs(d, &args);
    if (status == ATTN_OK) status = backward ? check_backward(d, &args) : check_forward(d, &args);
    return status == ATTN_OK ? check_overlap(d, backward) : status;
}

static attn_status compute(attn_engine *engine, const attn_decomposable_args *args, int backward)
{
    call c = {.way = NULL};
    attn_status status = check(engine, args, backward, &c.d);
    if (status != ATTN_OK) return status;
    if (c.d.dtype == ATTN_F32 && engine->way == ATTN_WAY_TILES) {
        c.way = backward ? &attn_i_decomposable_tiles_back : &attn_i_decomposable_tiles;
    } else {
        c.way = backward ? &attn_i_decomposable_blas_back : &attn_i_decomposable_blas;
    }
    if (!is_wanted(&c.d, backward)) return ATTN_OK;
    if (backward && !flows(&c.d)) {
        clear(&c.d);
        return ATTN_OK;
    }
    attn_i_arena arena = {.base = NULL};
    c.way->measure(&c.d, &arena);
    attn_i_call its = {.engine = engine, .run = run, .data = &c};
    status = attn_i_scratch_measured(&arena, &its.scratch);
    if (status == ATTN_OK) status = attn_i_call_run(&its);
    if (status == ATTN_OK) fill_past(&c.d, backward);
    return status;
}

attn_status attn_decomposable_forward(attn_engine *engine, const attn_decomposable_args *args)
{
    attn_status status = compute(engine, args, 0);
    return status == ATTN_OK ? ATTN_OK : attn_i_fail_in("attn_decomposable_forward", status);
}

attn_status attn_decomposable_backward(attn_engine *engine, const attn_decomposable_args *args)
{
    attn_status status = compute(engine, args, 1);
    return status == ATTN_OK ? ATTN_OK : attn_i_fail_in("attn_decomposable_backward", status);
}
