/* SPDX-License-Identifier: BSD-3-Clause
 *
 * tiles_way.c: the forward pass by fused tiles: how the work is cut into passes, what is prepared for them, and where
 * their results come together. Work is cut by shape alone. */
#include "tiles_way.h"

#include "runtime/size.h"
#include "status.h"
#include "tile_output.h"

#include <math.h>
#include <string.h>

enum {
    CHUNK_ELEMENTS = 1 << 22, /* of prepared and copied queries, keys and values, unless one key head has more */
    FEW_PASSES = 16,          /* below, the keys of a tile of queries are split */
    LEAST_SPLIT_KEYS = 512,
    MOST_SPLITS = 64,
    FEW_SPLIT_KEYS = 1024, /* of a key head with few queries, about */
    WORK_OF_SCORE = 4,     /* beside its products, as attn_i_parallel counts; of which so many are one operation: */
    VECTOR_ELEMENTS = 16
};

/* ---------------------------------------------------------------------------------------------- layout */

static void cut(attn_i_tiles *r)
{
    const attn_i_problem *p = r->p;
    r->head_count = p->batch * p->key_heads;
    r->head_rows = p->group * p->queries;
    r->tiles = attn_i_divide_up(r->head_rows, ATTN_I_LANES);
    r->tile_rows = attn_i_divide_up(attn_i_divide_up(r->head_rows, r->tiles), ATTN_I_SPAN_LANES) * ATTN_I_SPAN_LANES;
    r->tiles = attn_i_divide_up(r->head_rows, r->tile_rows);

    const int64_t per_head = attn_i_sources_copied(&r->sources);
    r->heads = per_head > 0 ? attn_i_clamp(CHUNK_ELEMENTS / per_head, 1, r->head_count) : r->head_count;

    const int64_t passes = r->heads * r->tiles;
    r->splits = 1;
    if (r->few) {
        r->splits = attn_i_clamp(p->keys / FEW_SPLIT_KEYS, 1, MOST_SPLITS);
    } else if (passes < FEW_PASSES && !r->plan.writes_scores) {
        r->splits = attn_i_clamp(p->keys / LEAST_SPLIT_KEYS, 1, attn_i_min(2 * FEW_PASSES / passes, MOST_SPLITS));
    }
    r->split_keys = attn_i_divide_up(attn_i_divide_up(p->keys, r->splits), ATTN_I_TILE_KEYS) * ATTN_I_TILE_KEYS;
    r->slot_count = attn_i_clamp(passes * r->splits, 1, p->engine->threads);
}

static int64_t context_dim(const attn_i_tiles *r)
{
    return r->p->context.data != NULL ? r->p->value_dim : 0;
}

static void lay_out_lanes(attn_i_tiles *r, attn_i_arena *arena)
{
    r->slots = attn_i_slots_layout(arena, r->slot_count);
    r->slot = attn_i_carve(arena, r->slot_count, sizeof *r->slot);
    for (int64_t i = 0; i < r->slot_count; i++) {
        const attn_i_tile_scratch s = attn_i_tile_scratch_layout(&r->plan, arena);
        if (arena->base != NULL) r->slot[i] = s;
    }
    r->plan.mask = attn_i_mask_map_layout(r->p, r->tile_rows, r->tiles, arena);
    const int64_t parts = r->splits == 1 ? 0 : r->heads * r->tiles * r->splits;
    r->lanes = attn_i_carve(arena, parts, sizeof *r->lanes);
    r->contexts = attn_i_carve_matrix(arena, parts * ATTN_I_LANES, context_dim(r), r->p->size);
}

static void lay_out_rows(attn_i_tiles *r, attn_i_arena *arena)
{
    r->slots = attn_i_slots_layout(arena, r->slot_count);
    r->row_slot = attn_i_carve(arena, r->slot_count, sizeof *r->row_slot);
    for (int64_t i = 0; i < r->slot_count; i++) {
        const attn_i_row_scratch s = attn_i_row_scratch_layout(&r->plan, arena);
        if (arena->base != NULL) r->row_slot[i] = s;
    }
    int64_t parts = 0;
    if (!attn_i_multiply(r->heads, r->splits, &parts)) arena->overflow = 1;
    r->row_parts = attn_i_carve(arena, parts, sizeof *r->row_parts);
    r->contexts = attn_i_carve_matrix(arena, parts * r->head_rows, context_dim(r), r->p->size);
    for (int64_t i = 0; i < parts && arena->base != NULL; i++) {
        r->row_parts[i].context = r->contexts + i * r->head_rows * context_dim(r);
    }
}

static void lay_out(attn_i_tiles *r, attn_i_arena *arena)
{
    attn_i_sources_layout(&r->sources, r->heads, arena);
    if (r->few) {
        lay_out_rows(r, arena);
    } else {
        lay_out_lanes(r, arena);
    }
}

/* With no queries there is nothing to write. */
static int is_empty(const attn_i_problem *p)
{
    return p->batch == 0 || p->queries == 0;
}

int attn_i_tiles_takes(const attn_i_problem *problem, attn_i_tiles *r)
{
    *r = (attn_i_tiles){.p = problem, .sources.p = problem};
    return attn_i_tile_plan_make(problem, &r->plan);
}

attn_status attn_i_tiles_scratch(attn_i_tiles *r, int64_t *bytes)
{
    attn_i_arena arena = {.base = NULL};
    if (!is_empty(r->p)) {
        r->plan.state = &r->sources.state;
        r->few = attn_i_row_pass_suits(&r->plan);
        r->sources.state.own_products = r->p->engine->own_products;
        r->p->mechanism->score->layout(r->p, &arena, &r->sources.state);
        attn_i_sources_find(&r->sources, !r->few); /* few queries convert what they read, a block at a time */
        cut(r);
        lay_out(r, &arena);
    }
    if (arena.overflow) {
        return attn_i_fail(ATTN_ERR_OVERFLOW, "the scratch for these shapes cannot be addressed");
    }
    *bytes = arena.used;
    return ATTN_OK;
}

/* ---------------------------------------------------------------------------------------------- passes */

/* Passes are counted key head by key head; in each, from the last tile of queries to the first, since later queries see
 * more keys when causal, and the longest should not be the last to begin. */
static attn_i_tile_work work_of(const attn_i_tiles *r, int64_t pass)
{
    const attn_i_problem *p = r->p;
    const int64_t split = pass % r->splits, tile = r->tiles - 1 - pass / r->splits % r->tiles;
    const int64_t i = pass / r->splits / r->tiles, head = r->sources.first_head + i;
    attn_i_tile_work w = {.b = head / p->key_heads, .key_head = head % p->key_heads};
    w.first_row = tile * r->tile_rows;
    w.rows = attn_i_min(r->tile_rows, r->head_rows - w.first_row);
    w.keys.first = attn_i_min(split * r->split_keys, p->keys);
    w.keys.end = attn_i_min(w.keys.first + r->split_keys, p->keys);
    w.queries = attn_i_source_rows(&r->sources, &r->sources.query, i);
    w.key_rows = attn_i_source_rows(&r->sources, &r->sources.key, i);
    w.value_rows = attn_i_source_rows(&r->sources, &r->sources.value, i);
    return w;
}

static int64_t context_elements(const attn_i_tiles *r)
{
    return context_dim(r) * ATTN_I_LANES;
}

static void compute_rows(void *data, int64_t pass)
{
    attn_i_tiles *r = data;
    const int64_t slot = attn_i_slot_take(&r->slots);
    const attn_i_tile_work w = work_of(r, pass);
    attn_i_row_pass(&r->plan, &r->row_slot[slot], &w, &r->row_parts[pass]);
    if (r->splits == 1) attn_i_row_finish_parts(&r->plan, &w, &r->row_parts[pass], 1);
    attn_i_slot_release(&r->slots, slot);
}

static void merge_rows(void *data, int64_t i)
{
    attn_i_tiles *r = data;
    const attn_i_tile_work w = work_of(r, i * r->splits);
    attn_i_row_finish_parts(&r->plan, &w, &r->row_parts[i * r->splits], r->splits);
}

/* While a head's tiles of queries are computed, the keys and values of the next one are brought near, if both fit. */
static void find_next(const attn_i_tiles *r, int64_t pass, attn_i_tile_work *w)
{
    enum { FITS = 1 << 17 };
    const int64_t share = r->tiles * r->splits, i = pass / share + 1, part = pass % share, keys = r->p->keys;
    if (i >= r->passes / share || keys * (r->plan.depth + context_dim(r)) > FITS) return;
    const int64_t first = keys * part / share;
    w->next_rows = keys * (part + 1) / share - first;
    const attn_i_rows key = attn_i_source_rows(&r->sources, &r->sources.key, i);
    w->next[0] = (attn_i_rows){key.data + first * key.stride, key.stride};
    w->next_width[0] = r->plan.depth;
    if (context_dim(r) == 0) return;
    const attn_i_rows value = attn_i_source_rows(&r->sources, &r->sources.value, i);
    w->next[1] = (attn_i_rows){value.data + first * value.stride, value.stride};
    w->next_width[1] = context_dim(r);
}

static void compute_pass(void *data, int64_t pass)
{
    attn_i_tiles *r = data;
    const int64_t slot = attn_i_slot_take(&r->slots);
    attn_i_tile_work w = work_of(r, pass);
    const attn_i_tile_scratch *s = &r->slot[slot];
    find_next(r, pass, &w);
    if (pass + 1 < r->passes) {
        const attn_i_tile_work next = work_of(r, pass + 1);
        attn_i_tile_fetch(&r->plan, &next);
    }
    attn_i_tile_pass(&r->plan, s, &w);
    if (r->splits == 1) {
        attn_i_tile_finish(&r->plan, s, &w);
    } else {
        r->lanes[pass] = *s->lanes;
        memcpy(r->contexts + pass * context_elements(r), s->context, (size_t)context_elements(r) * sizeof(float));
    }
    attn_i_slot_release(&r->slots, slot);
}

/* Brings the parts of one tile of queries together, in the order of their keys. */
static void merge_splits(void *data, int64_t tile)
{
    attn_i_tiles *r = data;
    const int64_t slot = attn_i_slot_take(&r->slots), first = tile * r->splits, elements = context_elements(r);
    const attn_i_tile_work w = work_of(r, first);
    const attn_i_tile_scratch *s = &r->slot[slot];
    for (int l = 0; l < ATTN_I_LANES; l++) {
        float most = -INFINITY;
        for (int64_t i = 0; i < r->splits; i++) {
            const attn_i_lanes *part = &r->lanes[first + i];
            if (part->sum[l] != 0 && !(part->reference[l] <= most)) most = part->reference[l];
        }
        s->lanes->reference[l] = most;
        s->lanes->sum[l] = 0;
    }
    memset(s->context, 0, (size_t)elements * sizeof(float));
    for (int64_t i = 0; i < r->splits; i++) {
        attn_i_lanes *part = &r->lanes[first + i];
        float *context = r->contexts + (first + i) * elements, factor[ATTN_I_LANES];
        for (int l = 0; l < ATTN_I_LANES; l++) {
            factor[l] = part->sum[l] == 0 ? 0 : exp2f(part->reference[l] - s->lanes->reference[l]);
            s->lanes->sum[l] += part->sum[l] * factor[l];
        }
        r->plan.kernels->tile_multiply(elements / ATTN_I_LANES, factor, context);
        r->plan.kernels->tile_add(elements / ATTN_I_LANES, (attn_i_spans){0, ATTN_I_SPANS}, 1, context, s->context);
    }
    attn_i_tile_finish(&r->plan, s, &w);
    attn_i_slot_release(&r->slots, slot);
}

void attn_i_tiles_run(attn_i_tiles *r, void *scratch)
{
    const attn_i_problem *p = r->p;
    const attn_i_score *score = p->mechanism->score;
    attn_i_arena arena = {.base = scratch};
    if (is_empty(p)) return;
    score->layout(p, &arena, &r->sources.state);
    lay_out(r, &arena);
    score->load(p, &r->sources.state);
    attn_i_mask_map_load(p, &r->plan.mask);
    for (int64_t first = 0; first < r->head_count; first += r->heads) {
        const int64_t heads = attn_i_min(r->heads, r->head_count - first), tiles = heads * r->tiles;
        const int64_t work =
            heads * r->head_rows * p->keys * (WORK_OF_SCORE + (r->plan.depth + p->value_dim) / VECTOR_ELEMENTS);
        attn_i_sources_prepare(&r->sources, first, heads);
        r->passes = tiles * r->splits;
        attn_i_parallel(p->engine->pool, r->passes, work, r->few ? compute_rows : compute_pass, r);
        if (r->splits > 1) attn_i_parallel(p->engine->pool, tiles, work, r->few ? merge_rows : merge_splits, r);
    }
}
