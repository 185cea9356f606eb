/* SPDX-License-Identifier: BSD-3-Clause
 *
 * layers/multihead/products.c: the products of a layer of heads: its parameters as matrices, sequences as rows, and
 * each product as a stage with scratch of its own. */
#include "layers/multihead/call.h"

#include "call/target.h"
#include "runtime/blas.h"
#include "runtime/size.h"

enum { ITEM_ROWS = 64 }; /* of an item that copies */

void attn_i_multihead_end(attn_i_multihead_scratch *scratch, const attn_i_arena *stage)
{
    scratch->most = attn_i_max(scratch->most, stage->used);
    scratch->arena.overflow |= stage->overflow;
}

/* ------------------------------------------------------------------------------------------ parameters */

/* The rows of a group among those of its parameter. */
static int64_t first_row(const attn_i_multihead_call *c, attn_i_multihead_group group)
{
    return attn_i_multihead_first_row(c->m, group.first);
}

static int64_t row_count(const attn_i_multihead_call *c, attn_i_multihead_group group)
{
    int64_t rows = 0;
    if (group.first == ATTN_I_PARTS) return c->m->output_dim;
    for (int i = 0; i < group.count; i++) rows += c->m->width[group.first + i];
    return rows;
}

attn_i_matrix attn_i_multihead_weight_of(const attn_i_multihead_call *c, attn_i_multihead_group group,
                                         const attn_i_view *view)
{
    if (view->data == NULL) return (attn_i_matrix){0};
    return attn_i_matrix_rows(attn_i_view_matrix(view, 0, 0), first_row(c, group), row_count(c, group), c->size);
}

attn_i_view attn_i_multihead_bias_of(const attn_i_multihead_call *c, attn_i_multihead_group group,
                                     const attn_i_view *view)
{
    attn_i_view part = *view;
    if (part.data == NULL) return part;
    part.data += first_row(c, group) * part.stride[3] * c->size;
    part.shape[3] = row_count(c, group);
    return part;
}

attn_i_matrix attn_i_multihead_weight(const attn_i_multihead_call *c, attn_i_multihead_group group)
{
    return attn_i_multihead_weight_of(c, group, &c->params[attn_i_multihead_weight_index(c->m, group.first)]);
}

attn_i_view attn_i_multihead_bias(const attn_i_multihead_call *c, attn_i_multihead_group group)
{
    const int32_t index = attn_i_multihead_bias_index(c->m, group.first);
    return index < 0 ? (attn_i_view){.data = NULL} : attn_i_multihead_bias_of(c, group, &c->params[index]);
}

/* ------------------------------------------------------------------------------------------- sequences */

attn_i_view attn_i_multihead_narrowed(const attn_i_multihead_call *c, int part, const attn_i_view *view)
{
    const attn_i_multihead_extent *e = &c->extent[part];
    attn_i_view rows = *view;
    if (e->offsets.data == NULL || rows.data == NULL) return rows;
    rows.data += e->first * rows.stride[2] * rows.size;
    rows.shape[2] = e->count;
    return rows;
}

attn_i_multihead_sequence attn_i_multihead_sequence_layout(const attn_i_multihead_call *c, int part,
                                                           const attn_i_view *view, attn_i_arena *arena)
{
    attn_i_multihead_sequence s = {.view = attn_i_multihead_narrowed(c, part, view)};
    view = &s.view;
    const int64_t batch = view->shape[1], length = view->shape[2], dim = view->shape[3];
    s.use = (attn_i_matrix){view->data, batch * length, dim, length > 1 ? view->stride[2] : view->stride[1],
                            dim > 1 ? view->stride[3] : 1};
    const int even = batch <= 1 || length <= 1 || view->stride[1] == length * view->stride[2];
    s.copied = !even || s.use.column_stride != 1 || !attn_i_blas_takes(s.use) || attn_i_is_narrow(&c->storage, view);
    if (s.copied) {
        s.use = attn_i_matrix_dense(attn_i_carve_matrix(arena, s.use.rows, dim, c->size), s.use.rows, dim);
    }
    return s;
}

typedef struct copy_job {
    const attn_i_multihead_call *c;
    const attn_i_multihead_sequence *s;
    int write, accumulate;
} copy_job;

static void copy_rows(void *data, int64_t item)
{
    const copy_job *job = data;
    const attn_i_view *view = &job->s->view;
    const attn_i_matrix use = job->s->use;
    const attn_i_storage *storage = &job->c->storage;
    const int64_t length = view->shape[2], end = attn_i_min((item + 1) * ITEM_ROWS, use.rows);
    for (int64_t i = item * ITEM_ROWS; i < end; i++) {
        char *far = view->data + (i / length * view->stride[1] + i % length * view->stride[2]) * view->size;
        char *near = use.data + i * use.row_stride * job->c->size;
        if (!job->write) attn_i_row_load(storage, view, far, near);
        if (job->write && job->accumulate) attn_i_row_add(storage, view, near, far);
        if (job->write && !job->accumulate) attn_i_row_store(storage, view, near, far);
    }
}

static void copy(copy_job *job)
{
    const attn_i_matrix use = job->s->use;
    if (!job->s->copied) return;
    attn_i_parallel(job->c->m->engine->pool, attn_i_divide_up(use.rows, ITEM_ROWS), use.rows * use.columns, copy_rows,
                    job);
}

void attn_i_multihead_sequence_read(const attn_i_multihead_call *c, const attn_i_multihead_sequence *sequence)
{
    copy_job job = {c, sequence, 0, 0};
    copy(&job);
}

void attn_i_multihead_sequence_write(const attn_i_multihead_call *c, const attn_i_multihead_sequence *sequence,
                                     int accumulate)
{
    copy_job job = {c, sequence, 1, accumulate};
    copy(&job);
}

/* -------------------------------------------------------------------------------------------- products */

static int by_own_kernels(const attn_i_multihead_call *c)
{
    return c->m->engine->own_products && c->dtype == ATTN_F32;
}

void attn_i_multihead_product(const attn_i_multihead_call *c, attn_i_multihead_scratch *scratch, attn_i_matrix from,
                              attn_i_matrix map, const attn_i_view *bias, attn_i_matrix to, int accumulate)
{
    const attn_i_problem *p = &c->means;
    attn_i_arena stage = attn_i_multihead_begin(scratch);
    const attn_i_projection projection = attn_i_projection_layout(p, &stage, map, from.rows, by_own_kernels(c));
    void *row = NULL;
    if (bias != NULL && bias->data != NULL) row = attn_i_carve(&stage, map.columns, c->size);
    attn_i_multihead_end(scratch, &stage);
    if (stage.base == NULL) return;
    if (row != NULL) p->kernels->gather(map.columns, bias->data, bias->stride[3], row);
    attn_i_projection_load(p, &projection);
    attn_i_project_onto(p, &projection, from, to, row, accumulate);
}

void attn_i_multihead_sum(const attn_i_multihead_call *c, attn_i_multihead_scratch *scratch, attn_i_matrix from,
                          attn_i_matrix map, int finite, attn_i_matrix to, int accumulate)
{
    const attn_i_problem *p = &c->means;
    attn_i_arena stage = attn_i_multihead_begin(scratch);
    const attn_i_target target = attn_i_target_layout(&stage, to, c->size);
    const attn_i_projection projection = attn_i_projection_layout_sum(p, &stage, map, finite, by_own_kernels(c));
    attn_i_multihead_end(scratch, &stage);
    if (stage.base == NULL) return;
    attn_i_projection_load(p, &projection);
    attn_i_project_onto(p, &projection, from, target.use, NULL, accumulate && !target.copied);
    attn_i_target_end(&target, accumulate, p->kernels, c->size);
}

/* A row of ones, times them. */
void attn_i_multihead_sum_rows(const attn_i_multihead_call *c, attn_i_multihead_scratch *scratch, attn_i_matrix rows,
                               const attn_i_view *to, int accumulate)
{
    const attn_i_problem *p = &c->means;
    attn_i_arena stage = attn_i_multihead_begin(scratch);
    const attn_i_target target = attn_i_target_layout(&stage, attn_i_view_matrix(to, 0, 0), c->size);
    const attn_i_projection projection = attn_i_projection_layout(p, &stage, rows, 1, by_own_kernels(c));
    const attn_i_matrix ones = attn_i_matrix_dense(attn_i_carve(&stage, rows.rows, c->size), 1, rows.rows);
    attn_i_multihead_end(scratch, &stage);
    if (stage.base == NULL) return;
    p->kernels->fill(rows.rows, 1, ones.data, 1);
    attn_i_projection_load(p, &projection);
    attn_i_project_onto(p, &projection, ones, target.use, NULL, accumulate && !target.copied);
    attn_i_target_end(&target, accumulate, p->kernels, c->size);
}

void attn_i_multihead_params(attn_i_multihead_call *c, attn_i_multihead_scratch *scratch)
{
    attn_i_wide_add_params(&c->wide, c->m->params, c->m->param_count, c->params);
    attn_i_wide_layout(&c->wide, &scratch->arena);
    if (scratch->arena.base != NULL) attn_i_wide_load(&c->wide, c->m->engine->pool);
}

void attn_i_multihead_inputs(const attn_i_multihead_call *c, attn_i_multihead_scratch *scratch,
                             attn_i_multihead_sequence inputs[ATTN_I_PARTS])
{
    for (int i = 0; i < ATTN_I_PARTS; i++) {
        inputs[i] = (attn_i_multihead_sequence){.copied = 0};
        if (c->input[i].data == NULL) continue;
        inputs[i] = attn_i_multihead_sequence_layout(c, i, &c->input[i], &scratch->arena);
        if (scratch->arena.base != NULL) attn_i_multihead_sequence_read(c, &inputs[i]);
    }
}

void attn_i_multihead_project(const attn_i_multihead_call *c, attn_i_multihead_scratch *scratch,
                              const attn_i_multihead_sequence inputs[ATTN_I_PARTS], const attn_i_multihead_rows *rows)
{
    for (int i = 0; i < c->group_count; i++) {
        const attn_i_multihead_group group = c->groups[i];
        const attn_i_view bias = attn_i_multihead_bias(c, group);
        attn_i_multihead_product(c, scratch, inputs[c->source[group.first]].use,
                                 attn_i_matrix_transpose(attn_i_multihead_weight(c, group)), &bias,
                                 attn_i_multihead_columns(c, rows, group), 0);
    }
    attn_i_multihead_turn(c, scratch, rows, 1, !c->args.attend_only, 0);
}
