/* SPDX-License-Identifier: BSD-3-Clause
 *
 * tiles/backward.c: the backward pass by fused tiles. An item of work is a run of one key head's keys, whose gradients
 * it alone sums, over all the head's queries; the gradients of queries are summed over items, in their order. Work is
 * cut by shape alone. */
#include "tiles/backward.h"

#include "call/scratch.h"
#include "call/storage.h"
#include "runtime/size.h"
#include "tiles/output.h"

#include <string.h>

enum {
    CHUNK_ELEMENTS = 1 << 22, /* of copies and parts of a chunk, unless one key head has more */
    FEW_ITEMS = 16,           /* below, the keys of a key head are split */
    LEAST_SPLIT_KEYS = 256,
    MOST_SPLITS = 32
};

typedef struct attn_i_backward_slot {
    attn_i_gradient_scratch tile;
    float *d_keys, *d_values; /* of one item, where they are not summed in place */
} backward_slot;

static const attn_i_view no_view;

static int64_t padded(int64_t dim)
{
    return attn_i_divide_up(dim, ATTN_I_SPAN_LANES) * ATTN_I_SPAN_LANES;
}

/* 1 if rows of this gradient can be added to by whole spans. */
static int sums_in_place(const attn_i_view *view)
{
    return view->dtype == ATTN_F32 && view->stride[3] == 1 && view->shape[3] % ATTN_I_SPAN_LANES == 0;
}

int attn_i_tiles_backward_reads_stored(const attn_i_problem *p)
{
    const attn_i_score *score = attn_i_score_of(p);
    return score->rule.reads_keys && score->lanes == NULL && score->query_width(p) == 0 && score->key_width(p) == 0;
}

int attn_i_tiles_backward_takes(const attn_i_gradient *g, attn_i_tiles_backward *way)
{
    const attn_i_problem *p = &g->problem;
    const attn_i_score *score = attn_i_score_of(p);
    attn_i_gradient_plan *plan = &way->plan;
    *way = (attn_i_tiles_backward){.g = g, .p = p, .sources.p = p};
    plan->g = g;
    if (g->d_weights.data != NULL || g->d_bias.data != NULL) return 0;
    if (!attn_i_tile_plan_make(p, &plan->tile) || (score->lanes == NULL && !plan->tile.folded)) return 0;
    plan->factor = p->scale / p->modifiers->temperature;
    plan->dim = g->d_context.data != NULL ? p->value_dim : 0;
    plan->width = padded(plan->tile.depth);
    way->keys_prepared = !score->rule.reads_keys || score->key_width(p) > 0;
    way->d_keys = way->keys_prepared ? &no_view : &g->d_key;
    way->d_values = !g->shared ? &g->d_value : way->keys_prepared ? &g->d_key : &no_view;
    return 1;
}

/* ---------------------------------------------------------------------------------------------- layout */

static int64_t own_elements(const attn_i_tiles_backward *way)
{
    return way->plan.tile.lanes == NULL ? 0 : way->plan.tile.lanes->own_elements(way->p);
}

/* The sums that gradients of slopes and relative biases are made of: one for each distance and head of a group. */
static int64_t distance_elements(const attn_i_tiles_backward *way)
{
    const attn_i_problem *p = way->p;
    if (way->g->d_alibi.data == NULL && way->g->d_relative.data == NULL) return 0;
    return attn_i_multiply_most(attn_i_max(attn_i_min(way->split_keys, p->keys) + p->queries - 1, 0), p->group);
}

static int queries_prepared(const attn_i_tiles_backward *way)
{
    return attn_i_score_of(way->p)->query_width(way->p) > 0;
}

/* The elements of copies and parts that a key head needs: the greatest number there is, where they cannot be counted.
 */
static int64_t head_elements(const attn_i_tiles_backward *way)
{
    const int64_t width = way->plan.width, own = attn_i_add_most(own_elements(way), distance_elements(way));
    const int64_t all = attn_i_add_most(attn_i_sources_copied(&way->sources), attn_i_multiply_most(own, way->splits));
    int64_t rows = way->splits > 1 ? way->splits * way->tiles * ATTN_I_LANES : 0;
    if (queries_prepared(way)) rows += way->head_rows;
    if (way->keys_prepared) rows += way->p->keys;
    return attn_i_add_most(all, attn_i_multiply_most(rows, width));
}

static void cut(attn_i_tiles_backward *way)
{
    const attn_i_problem *p = way->p;
    way->head_count = p->batch * p->key_heads;
    way->head_rows = p->group * p->queries;
    way->tiles = attn_i_divide_up(way->head_rows, ATTN_I_LANES);
    way->tile_rows = ATTN_I_LANES;
    if (way->tiles > 0) {
        way->tile_rows =
            attn_i_divide_up(attn_i_divide_up(way->head_rows, way->tiles), ATTN_I_SPAN_LANES) * ATTN_I_SPAN_LANES;
        way->tiles = attn_i_divide_up(way->head_rows, way->tile_rows);
    }
    way->splits = 1;
    if (way->head_count < FEW_ITEMS && way->head_count > 0) {
        way->splits =
            attn_i_clamp(p->keys / LEAST_SPLIT_KEYS, 1, attn_i_min(2 * FEW_ITEMS / way->head_count, MOST_SPLITS));
    }
    way->split_keys = attn_i_divide_up(attn_i_divide_up(p->keys, way->splits), ATTN_I_TILE_KEYS) * ATTN_I_TILE_KEYS;
    way->splits = attn_i_max(p->keys > 0 ? attn_i_divide_up(p->keys, way->split_keys) : 1, 1);
    const int64_t per_head = head_elements(way);
    way->heads = per_head > 0 ? attn_i_clamp(CHUNK_ELEMENTS / per_head, 1, attn_i_max(way->head_count, 1))
                              : attn_i_max(way->head_count, 1);
    way->slot_count = attn_i_clamp(way->heads * way->splits, 1, attn_i_problem_threads(p));
}

static void lay_out(attn_i_tiles_backward *way, attn_i_arena *arena)
{
    const attn_i_gradient_plan *plan = &way->plan;
    const int64_t size = (int64_t)sizeof(float), keys = attn_i_min(way->split_keys, way->p->keys);
    const int by_score = plan->tile.lanes != NULL;
    attn_i_sources_layout(&way->sources, way->heads, arena);
    attn_i_bias_sums_layout(&way->biases, way->g, arena);
    attn_i_row_sums_layout(&way->rows, way->g, &way->sources.state, arena);
    way->plan.wants_query = way->g->d_query.data != NULL || (queries_prepared(way) && way->rows.params.wanted);
    way->slots = attn_i_slots_layout(arena, way->slot_count);
    way->slot = attn_i_carve(arena, way->slot_count, sizeof *way->slot);
    for (int64_t i = 0; i < way->slot_count; i++) {
        const int keys_apart =
            way->d_keys->data == NULL ? by_score && !way->keys_prepared : !sums_in_place(way->d_keys);
        const int values_apart = way->d_values->data != NULL && !sums_in_place(way->d_values);
        backward_slot s = {.tile = attn_i_gradient_scratch_layout(plan, arena)};
        s.d_keys = attn_i_carve_matrix(arena, keys_apart ? keys : 0, plan->width, size);
        s.d_values = attn_i_carve_matrix(arena, values_apart ? keys : 0, padded(way->p->value_dim), size);
        if (arena->base != NULL) way->slot[i] = s;
    }
    const int64_t items = way->heads * way->splits;
    way->parts = attn_i_carve_matrix(arena, way->splits > 1 && plan->wants_query ? items * way->tiles : 0,
                                     plan->width * ATTN_I_LANES, size);
    way->own = attn_i_carve_matrix(arena, items, own_elements(way), size);
    way->distances = attn_i_carve_matrix(arena, items, distance_elements(way), size);
    way->prepared_queries =
        attn_i_carve_matrix(arena, queries_prepared(way) ? way->heads * way->head_rows : 0, plan->width, size);
    way->prepared_keys =
        attn_i_carve_matrix(arena, way->keys_prepared ? way->heads * way->p->keys : 0, plan->width, size);
}

attn_status attn_i_tiles_backward_scratch(attn_i_tiles_backward *way, int64_t *bytes)
{
    attn_i_arena arena = {.base = NULL};
    way->plan.tile.state = &way->sources.state;
    way->sources.state.own_products = way->p->engine->own_products;
    attn_i_score_of(way->p)->layout(way->p, &arena, &way->sources.state);
    attn_i_sources_find(&way->sources, 1);
    way->plan.tile.widens_queries = attn_i_source_is_widened(&way->sources.query);
    way->plan.tile.widens_keys = attn_i_source_is_widened(&way->sources.key);
    way->plan.tile.widens_values = attn_i_source_is_widened(&way->sources.value);
    cut(way);
    lay_out(way, &arena);
    return attn_i_scratch_measured(&arena, bytes);
}

/* ---------------------------------------------------------------------------------------------- items */

static attn_i_tile_work work_of(const attn_i_tiles_backward *way, int64_t i, int64_t split, int64_t tile)
{
    const attn_i_problem *p = way->p;
    const int64_t head = way->sources.first_head + i;
    attn_i_tile_work w = {.b = head / p->key_heads, .key_head = head % p->key_heads};
    w.first_row = tile * way->tile_rows;
    w.rows = attn_i_min(way->tile_rows, way->head_rows - w.first_row);
    w.keys.first = attn_i_min(split * way->split_keys, p->keys);
    w.keys.end = attn_i_min(w.keys.first + way->split_keys, p->keys);
    w.queries = attn_i_source_queries(&way->sources, i);
    attn_i_source_kept(&way->sources, &way->sources.key, i, &w.key_rows);
    attn_i_source_kept(&way->sources, &way->sources.value, i, &w.value_rows);
    return w;
}

/* Where an item sums gradients of its keys, or values, for the caller: in place, or in scratch. Zeros first, unless the
 * caller wants them added in place. */
static attn_i_sum_rows begin_rows(const attn_i_tiles_backward *way, const attn_i_view *view, const attn_i_tile_work *w,
                                  float *scratch)
{
    const int64_t width = padded(view->shape[3]);
    attn_i_sum_rows rows = {scratch, width};
    if (view->data == NULL) return (attn_i_sum_rows){NULL, 0};
    if (sums_in_place(view)) {
        rows.data = (float *)(void *)attn_i_view_at(view, w->b, w->key_head) + w->keys.first * view->stride[2];
        rows.stride = view->stride[2];
        if (way->g->accumulate) return rows;
    }
    for (int64_t j = 0; j < w->keys.end - w->keys.first; j++) {
        memset(rows.data + j * rows.stride, 0, (size_t)width * sizeof(float));
    }
    return rows;
}

static void end_rows(const attn_i_tiles_backward *way, const attn_i_view *view, const attn_i_tile_work *w,
                     attn_i_sum_rows rows)
{
    if (view->data == NULL || sums_in_place(view)) return;
    const attn_i_storage storage = attn_i_storage_of(way->p->engine, way->p->given);
    for (int64_t j = w->keys.first; j < w->keys.end; j++) {
        void *to = attn_i_view_element(view, w->b, w->key_head, j, 0);
        const float *from = rows.data + (j - w->keys.first) * rows.stride;
        if (way->g->accumulate) attn_i_row_add(&storage, view, from, to);
        if (!way->g->accumulate) attn_i_row_store(&storage, view, from, to);
    }
}

/* The rows that an item sums, the head being number i of the chunk. Gradients of prepared keys are summed apart, where
 * no other item does; where nobody wants any but the score function makes them, in scratch. */
static attn_i_gradient_sums begin_sums(const attn_i_tiles_backward *way, const backward_slot *slot, int64_t item,
                                       const attn_i_tile_work *w)
{
    const int64_t width = way->plan.width, i = item / way->splits;
    attn_i_gradient_sums sums = {.own = way->own + item * own_elements(way)};
    memset(sums.own, 0, (size_t)own_elements(way) * sizeof(float));
    if (distance_elements(way) > 0) {
        sums.distances = way->distances + item * distance_elements(way);
        memset(sums.distances, 0, (size_t)distance_elements(way) * sizeof(float));
    }
    sums.keys = begin_rows(way, way->d_keys, w, slot->d_keys);
    sums.values = begin_rows(way, way->d_values, w, slot->d_values);
    if (way->keys_prepared) {
        sums.keys = (attn_i_sum_rows){way->prepared_keys + (i * way->p->keys + w->keys.first) * width, width};
    } else if (sums.keys.data == NULL && way->plan.tile.lanes != NULL) {
        sums.keys = (attn_i_sum_rows){slot->d_keys, width};
    } else {
        if (way->g->shared) sums.values = sums.keys;
        return sums;
    }
    const int64_t keys = w->keys.end - w->keys.first;
    if (sums.keys.data != NULL) memset(sums.keys.data, 0, (size_t)(keys * width) * sizeof(float));
    return sums;
}

static int keys_are_finite(const attn_i_tiles_backward *way, const attn_i_gradient_scratch *s,
                           const attn_i_tile_work *w)
{
    const int64_t depth = way->plan.tile.depth;
    for (int64_t j = w->keys.first; j < w->keys.end; j++) {
        const attn_i_rows key = attn_i_kept_near(&w->key_rows, j, 1, depth, s->tile.near_keys);
        if (!way->p->kernels->is_finite(depth, key.data)) return 0;
    }
    return 1;
}

/* The gradients of the work's prepared queries, as the pass or the merge of its parts left them, to where they are
 * wanted: those that the caller's follow from, or the caller's. */
static void write_queries(const attn_i_tiles_backward *way, const attn_i_gradient_scratch *s, const attn_i_tile_work *w,
                          int64_t i, const float *from)
{
    const attn_i_problem *p = way->p;
    const int64_t depth = way->plan.tile.depth, width = way->plan.width;
    const int accumulate = way->g->accumulate && !queries_prepared(way);
    attn_i_view to = way->g->d_query;
    float factor[ATTN_I_LANES];
    if (queries_prepared(way)) { /* row by row, as rows are counted */
        float *first = way->prepared_queries + (i * way->head_rows - w->key_head * p->group) * width;
        to = (attn_i_view){
            .data = (char *)first, .stride = {0, width, p->group * width, 1}, .dtype = p->dtype, .size = p->size};
    }
    if (way->plan.tile.lanes == NULL) {
        for (int l = 0; l < ATTN_I_LANES; l++) factor[l] = (float)way->plan.factor;
        attn_i_tile_write_lanes(&way->plan.tile, &s->tile, w, &to, 0, depth, from, factor, accumulate);
        return;
    }
    for (int64_t l = 0; l < w->rows; l++) {
        const int64_t row = w->first_row + l;
        float *place = (float *)(void *)attn_i_view_at(&to, w->b, w->key_head * p->group + row % p->group) +
                       row / p->group * to.stride[2];
        if (accumulate) p->kernels->add_to(depth, from + l * width, place, to.stride[3]);
        if (!accumulate) p->kernels->scatter(depth, from + l * width, place, to.stride[3]);
    }
}

static int64_t part_elements(const attn_i_tiles_backward *way)
{
    return way->plan.width * ATTN_I_LANES;
}

static float *part_of(const attn_i_tiles_backward *way, int64_t item, int64_t tile)
{
    return way->parts + (item * way->tiles + tile) * part_elements(way);
}

static void run_item(void *data, int64_t item)
{
    attn_i_tiles_backward *way = data;
    const int64_t number = attn_i_slot_take(&way->slots), i = item / way->splits, split = item % way->splits;
    const backward_slot *slot = &way->slot[number];
    attn_i_tile_work w = work_of(way, i, split, 0);
    const int finite = way->plan.tile.lanes != NULL || keys_are_finite(way, &slot->tile, &w);
    const attn_i_gradient_sums sums = begin_sums(way, slot, item, &w);
    for (int64_t tile = 0; tile < way->tiles; tile++) {
        w = work_of(way, i, split, tile);
        attn_i_tile_gradient(&way->plan, &slot->tile, &w, finite, &sums);
        if (!way->plan.wants_query) continue;
        if (way->splits == 1) {
            write_queries(way, &slot->tile, &w, i, slot->tile.d_query);
        } else {
            memcpy(part_of(way, item, tile), slot->tile.d_query, (size_t)part_elements(way) * sizeof(float));
        }
    }
    end_rows(way, way->d_keys, &w, sums.keys);
    end_rows(way, way->d_values, &w, sums.values);
    attn_i_slot_release(&way->slots, number);
}

/* Brings the parts of one tile of queries together, in the order of their keys. */
static void merge_queries(void *data, int64_t index)
{
    attn_i_tiles_backward *way = data;
    const int64_t number = attn_i_slot_take(&way->slots), i = index / way->tiles, tile = index % way->tiles;
    const attn_i_tile_work w = work_of(way, i, 0, tile);
    float *sum = part_of(way, i * way->splits, tile);
    for (int64_t split = 1; split < way->splits; split++) {
        way->plan.tile.kernels->tile_add(way->plan.width, (attn_i_spans){0, ATTN_I_SPANS}, 1,
                                         part_of(way, i * way->splits + split, tile), sum);
    }
    write_queries(way, &way->slot[number].tile, &w, i, sum);
    attn_i_slot_release(&way->slots, number);
}

/* Keys that no score reads have gradients of 0. */
static void clear_keys(const attn_i_tiles_backward *way, int64_t head)
{
    const attn_i_view *d = &way->g->d_key;
    for (int64_t j = 0; j < way->p->keys && d->data != NULL; j++) {
        way->p->kernels->fill(d->shape[3], 0,
                              attn_i_view_at(d, head / way->p->key_heads, head % way->p->key_heads) +
                                  j * d->stride[2] * d->size,
                              d->stride[3]);
    }
}

static void add_distances(attn_i_tiles_backward *way, int64_t item)
{
    const attn_i_tile_work w = work_of(way, item / way->splits, item % way->splits, 0);
    attn_i_bias_sums_add_distances(&way->biases, way->g, w.b, w.key_head, w.keys.first, w.keys.end,
                                   way->distances + item * distance_elements(way));
}

/* The gradients of what prepares the chunk's queries and keys, on the calling thread. */
static void finish_chunk(attn_i_tiles_backward *way, int64_t heads)
{
    const attn_i_problem *p = way->p;
    const attn_i_score *score = attn_i_score_of(p);
    const attn_i_score_state *state = &way->sources.state;
    const int64_t depth = way->plan.tile.depth, width = way->plan.width, size = p->size;
    for (int64_t i = 0; i < heads * way->splits && way->plan.tile.lanes != NULL; i++) {
        way->plan.tile.lanes->add_own(p, way->own + i * own_elements(way), &way->rows.params.score);
    }
    for (int64_t i = 0; i < heads * way->splits && distance_elements(way) > 0; i++) add_distances(way, i);
    for (int64_t i = 0; i < heads; i++) {
        const int64_t head = way->sources.first_head + i;
        if (queries_prepared(way) && way->plan.wants_query) {
            char *rows = (char *)(way->prepared_queries + i * way->head_rows * width);
            attn_i_row_sums_queries(&way->rows, way->g, state, head,
                                    (attn_i_matrix){rows, way->head_rows, depth, width, 1});
        }
        const attn_i_matrix keys = {(char *)(way->prepared_keys + i * p->keys * width), p->keys, depth, width, 1};
        if (way->keys_prepared && score->rule.reads_keys && (way->g->d_key.data != NULL || way->rows.params.wanted)) {
            attn_i_row_sums_keys(&way->rows, way->g, state, head, keys);
        }
        if (!score->rule.reads_keys && !way->g->shared && !way->g->accumulate) clear_keys(way, head);
        if (!score->rule.reads_keys && way->rows.params.wanted) {
            const attn_i_matrix places = way->rows.params.score.params[0];
            for (int64_t j = 0; j < p->keys; j++) {
                p->kernels->add_to(depth, keys.data + j * width * size, places.data + j * places.row_stride * size,
                                   places.column_stride);
            }
        }
    }
}

void attn_i_tiles_backward_run(attn_i_tiles_backward *way, void *scratch)
{
    const attn_i_problem *p = way->p;
    const attn_i_score *score = attn_i_score_of(p);
    attn_i_arena arena = {.base = scratch};
    score->layout(p, &arena, &way->sources.state);
    lay_out(way, &arena);
    score->load(p, &way->sources.state);
    attn_i_tile_plan_read(&way->plan.tile);
    attn_i_param_sums_begin(&way->rows.params, way->g);
    attn_i_bias_sums_begin(&way->biases, way->g);
    for (int64_t first = 0; first < way->head_count; first += way->heads) {
        const int64_t heads = attn_i_min(way->heads, way->head_count - first);
        const int64_t per_score = 8 + (3 * way->plan.width + 2 * way->plan.dim) / ATTN_I_SPAN_LANES;
        const int64_t work = attn_i_multiply_most(attn_i_multiply_most(heads * way->head_rows, p->keys), per_score);
        attn_i_sources_prepare(&way->sources, first, heads);
        attn_i_parallel(p->engine->pool, heads * way->splits, work, run_item, way);
        if (way->splits > 1 && way->plan.wants_query) {
            attn_i_parallel(p->engine->pool, heads * way->tiles, work, merge_queries, way);
        }
        finish_chunk(way, heads);
    }
    attn_i_param_sums_end(&way->rows.params, way->g, &way->sources.state);
    attn_i_bias_sums_end(&way->biases, way->g);
}
