/* SPDX-License-Identifier: BSD-3-Clause
 *
 * layers/attentional/attentional.c: Luong's attentional state, tanh(W_c [context; query] + bias) (Luong 2015, eq. 5),
 * and its gradients. Nothing is concatenated: the product with W_c is one with its first columns and one with the
 * others. Rows are taken in blocks, so that copies, and gradients through the tanh, are of a block's size. */
#include "layers/attentional/attentional.h"

#include "call/flat.h"
#include "call/operand.h"
#include "call/scratch.h"
#include "call/target.h"
#include "handles/status.h"
#include "runtime/size.h"

#include <inttypes.h>

enum {
    MOST_ROWS = 1024, /* of a block */
    LEAST_ROWS = 16,
    FEW_ROWS = 32,            /* of a sum that is one by one */
    BLOCK_ELEMENTS = 1 << 22, /* of its widest matrix, but for that */
    ITEM_ELEMENTS = 1 << 14
};

/* The tensors as the BLAS takes them. */
typedef struct plan {
    int64_t block; /* rows at a time */
    attn_i_operand weight;
    attn_i_flat bias, context, query, output, d_output, d_weight, d_bias, d_context, d_query;
    attn_i_matrix dz;   /* the gradient before the tanh, of a block */
    attn_i_matrix sums; /* of d_bias: over a few rows, and over those of a block */
} plan;

static attn_i_flat flat(const attn_i_step *s, attn_i_arena *arena, const attn_i_view *view, int64_t block,
                        int contiguous_rows)
{
    if (view->data == NULL) return (attn_i_flat){.copied = 0};
    return attn_i_flat_layout(arena, view, block, contiguous_rows, &s->storage);
}

/* Forward reads no gradients: their views are none. */
static plan lay_out(const attn_i_step *s, attn_i_arena *arena)
{
    const int64_t widest = attn_i_max(attn_i_max(s->output_dim, 1), attn_i_max(s->context_dim, s->query_dim));
    const int64_t block = attn_i_min(s->rows, attn_i_clamp(BLOCK_ELEMENTS / widest, LEAST_ROWS, MOST_ROWS));
    const int reads_rows = !s->backward || s->d_weight.data != NULL;
    plan p = {.block = attn_i_max(block, 1)};
    p.weight = attn_i_operand_layout_stored(arena, &s->weight, 0, &s->storage);
    if (!s->backward) p.bias = flat(s, arena, &s->bias, 1, 0);
    if (reads_rows) p.context = flat(s, arena, &s->context, block, 0);
    if (reads_rows) p.query = flat(s, arena, &s->query, block, 0);
    p.output = flat(s, arena, &s->output, block, 1);
    p.d_output = flat(s, arena, &s->d_output, block, 1);
    p.d_weight = flat(s, arena, &s->d_weight, s->output_dim, 1);
    p.d_bias = flat(s, arena, &s->d_bias, 1, 1);
    p.d_context = flat(s, arena, &s->d_context, block, 1);
    p.d_query = flat(s, arena, &s->d_query, block, 1);
    if (!s->backward) return p;
    p.dz = attn_i_matrix_dense(attn_i_carve_matrix(arena, block, s->output_dim, s->size), 0, s->output_dim);
    if (s->d_bias.data != NULL) {
        p.sums = attn_i_matrix_dense(attn_i_carve_matrix(arena, 2, s->output_dim, s->size), 2, s->output_dim);
    }
    return p;
}

/* Something done to each row of a block, on the engine's threads. */
typedef struct row_job {
    const attn_i_step *s;
    void (*row)(const struct row_job *job, int64_t i);
    attn_i_matrix bias;               /* one row, data NULL: none */
    attn_i_matrix to, output, change; /* contiguous rows */
    int64_t item_rows;
} row_job;

static void run_rows(void *data, int64_t item)
{
    const row_job *job = data;
    const int64_t first = item * job->item_rows, end = attn_i_min(first + job->item_rows, job->to.rows);
    for (int64_t i = first; i < end; i++) job->row(job, i);
}

static void for_rows(row_job *job)
{
    const int64_t width = attn_i_max(job->to.columns, 1);
    job->item_rows = attn_i_max(ITEM_ELEMENTS / width, 1);
    attn_i_parallel(job->s->engine->pool, attn_i_divide_up(job->to.rows, job->item_rows), job->to.rows * width,
                    run_rows, job);
}

static void tanh_row(const row_job *job, int64_t i)
{
    const attn_i_step *s = job->s;
    char *row = attn_i_matrix_row(job->to, i, s->size);
    if (job->bias.data != NULL) s->kernels->add_bias(s->output_dim, job->bias.data, job->bias.column_stride, row);
    s->kernels->softcap(s->output_dim, 1, row); /* tanh */
}

static void gradient_row(const row_job *job, int64_t i)
{
    const int64_t size = job->s->size;
    job->s->kernels->tanh_gradient(job->to.columns, attn_i_matrix_row(job->output, i, size),
                                   attn_i_matrix_row(job->change, i, size), attn_i_matrix_row(job->to, i, size));
}

/* The columns of a weight, or of its gradient, that belong to the context and to the query. */
static attn_i_matrix context_part(const attn_i_step *s, attn_i_matrix weight)
{
    return attn_i_matrix_columns(weight, 0, s->context_dim, s->size);
}

static attn_i_matrix query_part(const attn_i_step *s, attn_i_matrix weight)
{
    return attn_i_matrix_columns(weight, s->context_dim, s->query_dim, s->size);
}

static void forward(const attn_i_step *s, const plan *p)
{
    const attn_i_matrix for_context = attn_i_matrix_transpose(context_part(s, p->weight.use));
    const attn_i_matrix for_query = attn_i_matrix_transpose(query_part(s, p->weight.use));
    for (int64_t first = 0; first < s->rows; first += p->block) {
        const int64_t count = attn_i_min(s->rows - first, p->block);
        row_job job = {.s = s, .row = tanh_row, .to = attn_i_flat_block(&p->output, first, count)};
        if (s->bias.data != NULL) job.bias = attn_i_flat_block(&p->bias, 0, 1);
        attn_i_flat_load(&p->context, &s->storage, first, count);
        attn_i_flat_load(&p->query, &s->storage, first, count);
        attn_i_blas_multiply(s->dtype, attn_i_flat_block(&p->context, first, count), for_context, job.to, 0);
        attn_i_blas_multiply(s->dtype, attn_i_flat_block(&p->query, first, count), for_query, job.to, 1);
        for_rows(&job);
        attn_i_flat_store(&p->output, &s->storage, first, count);
    }
}

/* The gradient of a block of inputs, by their part of the weight. */
static void input_gradient(const attn_i_step *s, const attn_i_flat *gradient, attn_i_matrix dz, attn_i_matrix part,
                           int64_t first)
{
    if (gradient->view.data == NULL) return;
    if (s->accumulate) attn_i_flat_load(gradient, &s->storage, first, dz.rows);
    attn_i_blas_multiply(s->dtype, dz, part, attn_i_flat_block(gradient, first, dz.rows), s->accumulate);
    attn_i_flat_store(gradient, &s->storage, first, dz.rows);
}

/* What a block adds to the weight's gradient. The first block overwrites what is not to be added to. */
static void add_weight_gradient(const attn_i_step *s, const plan *p, attn_i_matrix dz, int64_t first, int accumulate)
{
    if (s->d_weight.data == NULL) return;
    const attn_i_matrix to = attn_i_flat_block(&p->d_weight, 0, s->output_dim), across = attn_i_matrix_transpose(dz);
    attn_i_flat_load(&p->context, &s->storage, first, dz.rows);
    attn_i_flat_load(&p->query, &s->storage, first, dz.rows);
    attn_i_blas_multiply(s->dtype, across, attn_i_flat_block(&p->context, first, dz.rows), context_part(s, to),
                         accumulate);
    attn_i_blas_multiply(s->dtype, across, attn_i_flat_block(&p->query, first, dz.rows), query_part(s, to), accumulate);
}

/* And to the bias's: a few rows, then the block, then all, since roundings of a sum over many equal rows, one by one,
 * all have one direction. */
static void add_bias_gradient(const attn_i_step *s, const plan *p, attn_i_matrix dz, int accumulate)
{
    if (s->d_bias.data == NULL) return;
    const int64_t n = s->output_dim;
    char *total = attn_i_flat_block(&p->d_bias, 0, 1).data;
    char *few = attn_i_matrix_row(p->sums, 0, s->size), *block = attn_i_matrix_row(p->sums, 1, s->size);
    s->kernels->fill(n, 0, block, 1);
    for (int64_t first = 0, i = 0; first < dz.rows; first += FEW_ROWS) {
        s->kernels->fill(n, 0, few, 1);
        for (; i < attn_i_min(first + FEW_ROWS, dz.rows); i++) {
            s->kernels->add_bias(n, attn_i_matrix_row(dz, i, s->size), 1, few);
        }
        s->kernels->add_bias(n, few, 1, block);
    }
    if (!accumulate) s->kernels->fill(n, 0, total, 1);
    s->kernels->add_bias(n, block, 1, total);
}

static void backward(const attn_i_step *s, const plan *p)
{
    if (s->accumulate && s->d_weight.data != NULL) attn_i_flat_load(&p->d_weight, &s->storage, 0, s->output_dim);
    if (s->accumulate && s->d_bias.data != NULL) attn_i_flat_load(&p->d_bias, &s->storage, 0, 1);
    for (int64_t first = 0; first == 0 || first < s->rows; first += p->block) {
        const int64_t count = attn_i_min(s->rows - first, p->block);
        row_job job = {.s = s, .row = gradient_row, .to = attn_i_matrix_rows(p->dz, 0, count, s->size)};
        job.output = attn_i_flat_block(&p->output, first, count);
        job.change = attn_i_flat_block(&p->d_output, first, count);
        attn_i_flat_load(&p->output, &s->storage, first, count);
        attn_i_flat_load(&p->d_output, &s->storage, first, count);
        for_rows(&job);
        input_gradient(s, &p->d_context, job.to, context_part(s, p->weight.use), first);
        input_gradient(s, &p->d_query, job.to, query_part(s, p->weight.use), first);
        add_weight_gradient(s, p, job.to, first, s->accumulate || first > 0);
        add_bias_gradient(s, p, job.to, s->accumulate || first > 0);
    }
    if (s->d_weight.data != NULL) attn_i_flat_store(&p->d_weight, &s->storage, 0, s->output_dim);
    if (s->d_bias.data != NULL) attn_i_flat_store(&p->d_bias, &s->storage, 0, 1);
}

/* The plan in its scratch, with the weight ready for products. */
static plan ready(const attn_i_step *s, void *scratch)
{
    attn_i_arena arena = {.base = scratch};
    const plan p = lay_out(s, &arena);
    attn_i_operand_load_stored(&p.weight, &s->storage);
    if (p.bias.view.data != NULL) attn_i_flat_load(&p.bias, &s->storage, 0, 1);
    return p;
}

static void run_forward(void *data, void *scratch)
{
    const plan p = ready(data, scratch);
    forward(data, &p);
}

static void run_backward(void *data, void *scratch)
{
    const plan p = ready(data, scratch);
    backward(data, &p);
}

enum { GRADIENTS = 4 };

static const attn_i_view *gradient_at(const attn_i_step *s, int i)
{
    const attn_i_view *const all[GRADIENTS] = {&s->d_weight, &s->d_bias, &s->d_context, &s->d_query};
    return all[i];
}

static int is_wanted(const attn_i_step *s)
{
    if (!s->backward) return !attn_i_view_is_empty(&s->output);
    for (int i = 0; i < GRADIENTS; i++) {
        if (!attn_i_view_is_empty(gradient_at(s, i))) return 1;
    }
    return 0;
}

/* What is wanted where no gradient flows in. */
static void clear(const attn_i_step *s)
{
    for (int i = 0; i < GRADIENTS; i++) attn_i_target_clear(gradient_at(s, i), s->accumulate);
}

static attn_status run(attn_engine *engine, const attn_attentional_args *args, int is_backward)
{
    attn_i_step s;
    attn_i_call call = {.engine = engine, .run = is_backward ? run_backward : run_forward, .data = &s};
    attn_status status = attn_i_step_check(engine, args, is_backward, &s);
    if (status != ATTN_OK) return status;
    if (!is_wanted(&s)) return ATTN_OK;
    if (is_backward && attn_i_view_is_empty(&s.d_output)) {
        clear(&s);
        return ATTN_OK;
    }
    attn_i_arena arena = {.base = NULL};
    lay_out(&s, &arena);
    status = attn_i_scratch_measured(&arena, &call.scratch);
    return status == ATTN_OK ? attn_i_call_run(&call) : status;
}

attn_status attn_attentional_forward(attn_engine *engine, const attn_attentional_args *args)
{
    attn_status status = run(engine, args, 0);
    return status == ATTN_OK ? ATTN_OK : attn_i_fail_in("attn_attentional_forward", status);
}

attn_status attn_attentional_backward(attn_engine *engine, const attn_attentional_args *args)
{
    attn_status status = run(engine, args, 1);
    return status == ATTN_OK ? ATTN_OK : attn_i_fail_in("attn_attentional_backward", status);
}
