/* SPDX-License-Identifier: BSD-3-Clause
 *
 * local/backward.c: the backward pass of predictive local attention: each query and the keys around its centre, one key
 * head's queries one after the other, since they add to the same keys. */
#include "local/local.h"

#include "call/scratch.h"
#include "local/centre.h"
#include "runtime/size.h"
#include "score/param_sums.h"
#include "softmax/row_gradient.h"

#include <string.h>

typedef struct run {
    const attn_i_gradient *g;
    const attn_i_problem *p;
    attn_i_chunks chunks;
    attn_i_centres centres;
    attn_i_param_sums params;
    attn_i_target key, value; /* of one key head; key holds both where keys are values */
    char *d_keys;             /* of the prepared keys of one key head, where they are prepared */
    char *d_places;           /* of what plays the keys' part where there are none */
    attn_i_bias_sums biases;

    /* Of a chunk, a row for each query. */
    char *d_scores, *factors, *slopes, *capped, *d_queries, *d_raw_queries;
    double *d_centres;
    char *own, *d_context; /* of the row at hand */
} run;

static int64_t most_keys(const attn_i_problem *p)
{
    return attn_i_min(2 * p->modifiers->half_width + 1, p->keys);
}

static int64_t own_elements(const attn_i_problem *p)
{
    const attn_i_score *score = attn_i_score_of(p);
    return score->own_elements == NULL ? 0 : score->own_elements(p);
}

static void lay_out(run *r, attn_i_arena *arena)
{
    const attn_i_gradient *g = r->g;
    const attn_i_problem *p = r->p;
    const attn_i_score *score = attn_i_score_of(p);
    attn_i_chunks *c = &r->chunks;
    attn_i_chunks_layout(c, p, 1, most_keys(p), arena);
    attn_i_centres_layout(&r->centres, c, arena);
    attn_i_param_sums_layout(&r->params, g,
                             score->rule.reads_keys ? c->key.use : attn_i_matrix_transpose(c->state.places.use), arena);
    r->key = attn_i_target_layout(arena, attn_i_head_matrix(p, &g->d_key, 0), p->size);
    r->value = attn_i_target_layout(arena, attn_i_head_matrix(p, &g->d_value, 0), p->size);
    if (g->shared) r->value = r->key;
    r->d_keys = attn_i_carve_matrix(arena, c->key_width > 0 ? p->keys : 0, c->key_width, p->size);
    r->d_places = attn_i_carve_matrix(arena, score->rule.reads_keys ? 0 : p->keys, p->query_dim, p->size);
    attn_i_bias_sums_layout(&r->biases, g, arena);
    r->d_scores = attn_i_carve(arena, c->score_stride, p->size);
    r->factors = attn_i_carve(arena, c->score_stride, p->size);
    r->slopes = attn_i_carve(arena, c->score_stride, p->size);
    r->capped = attn_i_carve(arena, c->score_stride, p->size);
    r->d_queries = attn_i_carve_matrix(arena, c->rows, c->query_width, p->size);
    r->d_raw_queries = attn_i_carve_matrix(arena, c->rows, p->query_dim, p->size);
    r->d_centres = attn_i_carve(arena, c->rows, sizeof *r->d_centres);
    r->own = attn_i_carve(arena, own_elements(p), p->size);
    r->d_context = attn_i_carve(arena, p->value_dim, p->size);
}

attn_status attn_i_local_backward_scratch(const attn_i_gradient *gradient, int64_t *bytes)
{
    run r = {.g = gradient, .p = &gradient->problem};
    attn_i_arena arena = {.base = NULL};
    lay_out(&r, &arena);
    return attn_i_scratch_measured(&arena, bytes);
}

/* ------------------------------------------------------------------------------------------------ a row */

/* What the context says of the weights, and what they say to the values. */
static void from_context(run *r, const attn_i_row_gradient *row)
{
    const attn_i_problem *p = r->p;
    const attn_i_view *d = &r->g->d_context;
    const attn_i_matrix values = attn_i_chunks_values(&r->chunks, 0);
    const char *first = values.data + row->span.first * values.row_stride * p->size;
    p->kernels->gather(p->value_dim, attn_i_view_at(d, row->b, row->h) + row->i * d->stride[2] * p->size, d->stride[3],
                       r->d_context);
    p->kernels->dots(p->value_dim, r->d_context, row->span.end - row->span.first, first, values.row_stride, row->d);
}

static void to_values(run *r, const attn_i_row_gradient *row)
{
    const attn_i_matrix use = r->value.use;
    if (use.data == NULL) return;
    r->p->kernels->add_outer(row->span.end - row->span.first, row->scores, r->d_context, r->p->value_dim,
                             use.data + row->span.first * use.row_stride * r->p->size, use.row_stride);
}

static attn_i_matrix d_key_rows(const run *r)
{
    const attn_i_problem *p = r->p;
    if (!p->mechanism->rule->reads_keys) return attn_i_matrix_dense(r->d_places, p->keys, p->query_dim);
    if (r->chunks.key_width > 0) return attn_i_matrix_dense(r->d_keys, p->keys, r->chunks.key_width);
    return r->key.use;
}

static void run_row(run *r, int64_t x)
{
    const attn_i_problem *p = r->p;
    attn_i_chunks *c = &r->chunks;
    const attn_i_row_place at = attn_i_chunks_place(c, x);
    const attn_i_matrix queries = attn_i_chunks_queries(c), d_keys = d_key_rows(r);
    const attn_i_matrix keys = attn_i_chunks_keys(c, 0);
    const char *query = queries.data + x * queries.row_stride * p->size;
    const int64_t width = queries.columns;
    char *d_query = (c->query_width > 0 ? r->d_queries : r->d_raw_queries) + x * width * p->size;
    attn_i_row_gradient row = {.b = at.b, .h = at.h, .i = at.i, .span = attn_i_centres_span(&r->centres, c, x)};
    row.scores = c->scores;
    row.d = r->d_scores;
    row.capped = r->capped;
    row.factor = r->factors;
    row.slope = r->slopes;
    const int64_t n = row.span.end - row.span.first;
    p->kernels->fill(width, 0, d_query, 1);
    r->d_centres[x] = 0;
    if (n == 0) return;
    attn_i_score_of(p)->row_scores(p, &c->state, query, keys, row.span.first, n, row.scores);
    attn_i_centres_gaussian(&r->centres, p, x, row.span, r->factors, r->slopes);
    if (p->context.data != NULL) from_context(r, &row);
    attn_i_row_gradient_compute(r->g, &row);
    r->d_centres[x] = row.by_slope;
    r->biases.alibi[at.h] += row.alibi;
    attn_i_bias_sums_add_row(&r->biases, r->g, at.b, at.h, at.i, row.span.first, n, row.d);
    if (p->context.data != NULL) to_values(r, &row);
    attn_i_row_gradient_finish(r->g, &row);
    char *d_first = d_keys.data == NULL ? NULL : d_keys.data + row.span.first * d_keys.row_stride * p->size;
    attn_i_score_of(p)->row_gradients(p, &c->state, query, keys, row.span.first, n, row.d, d_query, d_first,
                                      d_keys.row_stride, r->own);
}

/* From prepared queries and centres to queries as they came, and to the caller. */
static void finish_queries(run *r)
{
    const attn_i_problem *p = r->p;
    const attn_i_chunks *c = &r->chunks;
    const attn_i_view *d = &r->g->d_query;
    const attn_i_matrix from = attn_i_chunks_raw_queries(c);
    const attn_i_matrix raw = attn_i_matrix_dense(r->d_raw_queries, c->chunk_rows, p->query_dim);
    for (int64_t x = 0; x < from.rows; x++) { /* what is not finite has done what it could */
        char *row = from.data + x * p->query_dim * p->size;
        if (!p->kernels->is_finite(p->query_dim, row)) p->kernels->gather_finite(p->query_dim, row, 1, row, 1);
    }
    if (c->query_width > 0) {
        attn_i_score_of(p)->query_gradients(p, &c->state, from,
                                            attn_i_matrix_dense(r->d_queries, c->chunk_rows, c->query_width), raw,
                                            &r->params.score);
    }
    attn_i_centres_gradients(&r->centres, c, r->d_centres, raw, attn_i_score_param_sum(p, &r->params.score, "W_p"),
                             attn_i_score_param_sum(p, &r->params.score, "v_p"));
    for (int64_t x = 0; x < raw.rows && d->data != NULL; x++) {
        const attn_i_row_place at = attn_i_chunks_place(c, x);
        char *to = attn_i_view_at(d, at.b, at.h) + at.i * d->stride[2] * p->size;
        const char *row = raw.data + x * p->query_dim * p->size;
        attn_i_gradient_write_row(r->g, p->query_dim, row, to, d->stride[3]);
    }
}

/* ------------------------------------------------------------------------------------------------ all of it */

static void begin_head(run *r)
{
    const attn_i_problem *p = r->p;
    const int64_t head = r->chunks.first_head;
    const int accumulate = r->g->accumulate;
    if (r->key.to.data != NULL) attn_i_target_move(&r->key, attn_i_head_matrix(p, &r->g->d_key, head).data);
    if (r->g->shared) {
        r->value = r->key;
    } else if (r->value.to.data != NULL) {
        attn_i_target_move(&r->value, attn_i_head_matrix(p, &r->g->d_value, head).data);
    }
    attn_i_target_begin(&r->key, accumulate, p->kernels, p->size);
    if (!r->g->shared) attn_i_target_begin(&r->value, accumulate, p->kernels, p->size);
    if (r->chunks.key_width > 0) memset(r->d_keys, 0, (size_t)(p->keys * r->chunks.key_width * p->size));
    if (!p->mechanism->rule->reads_keys) memset(r->d_places, 0, (size_t)(p->keys * p->query_dim * p->size));
    memset(r->own, 0, (size_t)(own_elements(p) * p->size));
}

static void end_head(run *r)
{
    const attn_i_problem *p = r->p;
    const attn_i_chunks *c = &r->chunks;
    const attn_i_score *score = attn_i_score_of(p);
    if (score->add_own != NULL) score->add_own(p, r->own, &r->params.score);
    if (c->key_width > 0) {
        const attn_i_matrix from = c->key.copied ? c->key.use : attn_i_head_matrix(p, &p->key, c->first_head);
        score->key_gradients(p, &c->state, from, attn_i_matrix_dense(r->d_keys, p->keys, c->key_width), r->key.use,
                             &r->params.score);
    }
    const attn_i_matrix places = score->rule.reads_keys ? (attn_i_matrix){0} : r->params.score.params[0];
    for (int64_t j = 0; j < p->keys && places.data != NULL; j++) {
        p->kernels->add_to(p->query_dim, r->d_places + j * p->query_dim * p->size,
                           places.data + j * places.row_stride * p->size, places.column_stride);
    }
    attn_i_target_end(&r->key, r->g->accumulate, p->kernels, p->size);
    if (!r->g->shared) attn_i_target_end(&r->value, r->g->accumulate, p->kernels, p->size);
}

static void begin(run *r)
{
    const attn_i_problem *p = r->p;
    attn_i_score_of(p)->load(p, &r->chunks.state);
    attn_i_centres_load(&r->centres, p);
    attn_i_param_sums_begin(&r->params, r->g);
    attn_i_bias_sums_begin(&r->biases, r->g);
}

void attn_i_local_backward_run(const attn_i_gradient *gradient, void *scratch)
{
    run r = {.g = gradient, .p = &gradient->problem};
    attn_i_chunks *c = &r.chunks;
    attn_i_arena arena = {.base = scratch};
    lay_out(&r, &arena);
    begin(&r);
    c->chunk_heads = 1;
    for (c->first_head = 0; c->first_head < c->head_count; c->first_head++) {
        begin_head(&r);
        attn_i_chunks_take_heads(c);
        for (c->first_row = 0; c->first_row < c->head_rows; c->first_row += c->rows) {
            c->chunk_rows = attn_i_min(c->rows, c->head_rows - c->first_row);
            attn_i_chunks_take_rows(c);
            attn_i_centres_find(&r.centres, c);
            for (int64_t x = 0; x < c->chunk_rows; x++) run_row(&r, x);
            finish_queries(&r);
        }
        end_head(&r);
    }
    attn_i_param_sums_end(&r.params, r.g, &c->state);
    attn_i_bias_sums_end(&r.biases, gradient);
}
