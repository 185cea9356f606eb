/* SPDX-License-Identifier: BSD-3-Clause
 *
 * tiles_backward.c: the backward pass by fused tiles. An item of work is a run of one key head's keys, whose gradients
 * it alone sums, over all the head's queries; the gradients of queries are summed over items, in their order. Work is
 * cut by shape alone. */
#include "tiles_backward.h"

#include "runtime/size.h"
#include "status.h"
#include "tile_output.h"

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

static int64_t padded(int64_t dim)
{
    return attn_i_divide_up(dim, ATTN_I_SPAN_LANES) * ATTN_I_SPAN_LANES;
}

/* 1 if rows of this gradient can be added to by whole spans. */
static int sums_in_place(const attn_i_view *view)
{
    return view->stride[3] == 1 && view->shape[3] % ATTN_I_SPAN_LANES == 0;
}

int attn_i_tiles_backward_takes(const attn_i_gradient *g, attn_i_tiles_backward *way)
{
    const attn_i_problem *p = &g->problem;
    const attn_i_score *score = p->mechanism->score;
    attn_i_gradient_plan *plan = &way->plan;
    *way = (attn_i_tiles_backward){.g = g, .p = p, .sources.p = p};
    plan->g = g;
    if (g->d_weights.data != NULL || g->d_bias.data != NULL || g->d_alibi.data != NULL) return 0;
    if (score->query_width(p) > 0 || score->key_width(p) > 0 || score->lanes != NULL || !score->reads_keys) return 0;
    if (!attn_i_tile_plan_make(p, &plan->tile) || !plan->tile.folded) return 0;
    plan->factor = p->scale / p->modifiers->temperature;
    plan->dim = g->d_context.data != NULL ? p->value_dim : 0;
    plan->wants_query = g->d_query.data != NULL;
    plan->wants_key = g->d_key.data != NULL;
    plan->wants_value = g->d_value.data != NULL || g->shared;
    return 1;
}

/* ---------------------------------------------------------------------------------------------- layout */

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
    const int64_t parts = way->splits > 1 ? way->splits * way->tiles * way->plan.tile.depth * ATTN_I_LANES : 0;
    const int64_t per_head = attn_i_sources_copied(&way->sources) + parts;
    way->heads = per_head > 0 ? attn_i_clamp(CHUNK_ELEMENTS / per_head, 1, way->head_count) : way->head_count;
    way->slot_count = attn_i_clamp(way->heads * way->splits, 1, p->engine->threads);
    way->key_in_place = sums_in_place(&way->g->d_key);
    way->value_in_place = sums_in_place(&way->g->d_value);
}

static void lay_out(attn_i_tiles_backward *way, attn_i_arena *arena)
{
    const attn_i_gradient_plan *plan = &way->plan;
    const int64_t size = (int64_t)sizeof(float), keys = attn_i_min(way->split_keys, way->p->keys);
    attn_i_sources_layout(&way->sources, way->heads, arena);
    way->slots = attn_i_slots_layout(arena, way->slot_count);
    way->slot = attn_i_carve(arena, way->slot_count, sizeof *way->slot);
    for (int64_t i = 0; i < way->slot_count; i++) {
        backward_slot s = {.tile = attn_i_gradient_scratch_layout(plan, arena)};
        s.d_keys = attn_i_carve_matrix(arena, plan->wants_key && !way->key_in_place ? keys : 0,
                                       padded(plan->tile.depth), size);
        s.d_values = attn_i_carve_matrix(arena, way->g->d_value.data != NULL && !way->value_in_place ? keys : 0,
                                         padded(plan->dim), size);
        if (arena->base != NULL) way->slot[i] = s;
    }
    int64_t parts = 0;
    if (way->splits > 1 && plan->wants_query &&
        !attn_i_multiply(way->heads * way->splits, way->tiles * plan->tile.depth, &parts)) {
        arena->overflow = 1;
    }
    way->d_queries = attn_i_carve_matrix(arena, parts, ATTN_I_LANES, size);
}

attn_status attn_i_tiles_backward_scratch(attn_i_tiles_backward *way, int64_t *bytes)
{
    attn_i_arena arena = {.base = NULL};
    way->plan.tile.state = &way->sources.state;
    way->sources.state.own_products = way->p->engine->own_products;
    way->p->mechanism->score->layout(way->p, &arena, &way->sources.state);
    attn_i_sources_find(&way->sources, 1);
    cut(way);
    lay_out(way, &arena);
    if (arena.overflow) {
        return attn_i_fail(ATTN_ERR_OVERFLOW, "the scratch for these shapes cannot be addressed");
    }
    *bytes = arena.used;
    return ATTN_OK;
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
    w.queries = attn_i_source_rows(&way->sources, &way->sources.query, i);
    w.key_rows = attn_i_source_rows(&way->sources, &way->sources.key, i);
    w.value_rows = attn_i_source_rows(&way->sources, &way->sources.value, i);
    return w;
}

/* Where an item sums the gradients of its keys, or values: in place, or in scratch. Zeros first, unless the caller
 * wants them added in place. */
static attn_i_sum_rows begin_rows(const attn_i_tiles_backward *way, const attn_i_view *view, int in_place,
                                  const attn_i_tile_work *w, float *scratch)
{
    if (view->data == NULL) return (attn_i_sum_rows){NULL, 0};
    const int64_t width = padded(view->shape[3]);
    attn_i_sum_rows rows = {scratch, width};
    if (in_place) {
        rows.data = (float *)(void *)attn_i_view_at(view, w->b, w->key_head) + w->keys.first * view->stride[2];
        rows.stride = view->stride[2];
        if (way->g->accumulate) return rows;
    }
    for (int64_t j = 0; j < w->keys.end - w->keys.first; j++) {
        memset(rows.data + j * rows.stride, 0, (size_t)width * sizeof(float));
    }
    return rows;
}

static void end_rows(const attn_i_tiles_backward *way, const attn_i_view *view, int in_place, const attn_i_tile_work *w,
                     attn_i_sum_rows rows)
{
    const attn_i_kernels *kernels = way->p->kernels;
    if (view->data == NULL || in_place) return;
    for (int64_t j = w->keys.first; j < w->keys.end; j++) {
        float *to = (float *)(void *)attn_i_view_at(view, w->b, w->key_head) + j * view->stride[2];
        const float *from = rows.data + (j - w->keys.first) * rows.stride;
        if (way->g->accumulate) kernels->add_to(view->shape[3], from, to, view->stride[3]);
        if (!way->g->accumulate) kernels->scatter(view->shape[3], from, to, view->stride[3]);
    }
}

static int keys_are_finite(const attn_i_tiles_backward *way, const attn_i_tile_work *w)
{
    const int64_t depth = way->plan.tile.depth;
    for (int64_t j = w->keys.first; j < w->keys.end; j++) {
        if (!way->p->kernels->is_finite(depth, w->key_rows.data + j * w->key_rows.stride)) return 0;
    }
    return 1;
}

static void write_queries(const attn_i_tiles_backward *way, const attn_i_gradient_scratch *s, const attn_i_tile_work *w,
                          const float *lanes)
{
    float factor[ATTN_I_LANES];
    for (int l = 0; l < ATTN_I_LANES; l++) factor[l] = (float)way->plan.factor;
    attn_i_tile_write_lanes(&way->plan.tile, &s->tile, w, &way->g->d_query, 0, way->plan.tile.depth, lanes, factor,
                            way->g->accumulate);
}

static float *part_of(const attn_i_tiles_backward *way, int64_t item, int64_t tile)
{
    return way->d_queries + (item * way->tiles + tile) * way->plan.tile.depth * ATTN_I_LANES;
}

static void run_item(void *data, int64_t item)
{
    attn_i_tiles_backward *way = data;
    const int64_t number = attn_i_slot_take(&way->slots), i = item / way->splits, split = item % way->splits;
    const backward_slot *slot = &way->slot[number];
    const attn_i_gradient *g = way->g;
    attn_i_tile_work w = work_of(way, i, split, 0);
    const int finite = keys_are_finite(way, &w);
    const attn_i_sum_rows d_keys = begin_rows(way, &g->d_key, way->key_in_place, &w, slot->d_keys);
    const attn_i_sum_rows d_values =
        g->shared ? d_keys : begin_rows(way, &g->d_value, way->value_in_place, &w, slot->d_values);
    const attn_i_sum_rows none = {NULL, 0};
    for (int64_t tile = 0; tile < way->tiles; tile++) {
        w = work_of(way, i, split, tile);
        attn_i_tile_gradient(&way->plan, &slot->tile, &w, finite, d_keys, way->plan.dim > 0 ? d_values : none);
        if (!way->plan.wants_query) continue;
        if (way->splits == 1) {
            write_queries(way, &slot->tile, &w, slot->tile.d_query);
        } else {
            memcpy(part_of(way, item, tile), slot->tile.d_query,
                   (size_t)(way->plan.tile.depth * ATTN_I_LANES) * sizeof(float));
        }
    }
    end_rows(way, &g->d_key, way->key_in_place, &w, d_keys);
    if (!g->shared) end_rows(way, &g->d_value, way->value_in_place, &w, d_values);
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
        way->plan.tile.kernels->tile_add(way->plan.tile.depth, (attn_i_spans){0, ATTN_I_SPANS}, 1,
                                         part_of(way, i * way->splits + split, tile), sum);
    }
    write_queries(way, &way->slot[number].tile, &w, sum);
    attn_i_slot_release(&way->slots, number);
}

void attn_i_tiles_backward_run(attn_i_tiles_backward *way, void *scratch)
{
    const attn_i_problem *p = way->p;
    const attn_i_score *score = p->mechanism->score;
    attn_i_arena arena = {.base = scratch};
    score->layout(p, &arena, &way->sources.state);
    lay_out(way, &arena);
    score->load(p, &way->sources.state);
    for (int64_t first = 0; first < way->head_count; first += way->heads) {
        const int64_t heads = attn_i_min(way->heads, way->head_count - first);
        const int64_t per_score = 8 + (3 * way->plan.tile.depth + 2 * way->plan.dim) / ATTN_I_SPAN_LANES;
        const int64_t work = attn_i_multiply_most(attn_i_multiply_most(heads * way->head_rows, p->keys), per_score);
        attn_i_sources_prepare(&way->sources, first, heads);
        attn_i_parallel(p->engine->pool, heads * way->splits, work, run_item, way);
        if (way->splits > 1 && way->plan.wants_query) {
            attn_i_parallel(p->engine->pool, heads * way->tiles, work, merge_queries, way);
        }
    }
}
