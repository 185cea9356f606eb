/* SPDX-License-Identifier: BSD-3-Clause
 *
 * tiles/forward.c: the forward pass by fused tiles: how the work is cut into passes, what is prepared for them, and
 * where their results come together. Work is cut by shape alone. */
#include "tiles/forward.h"

#include "call/scratch.h"
#include "call/sinks.h"
#include "call/stats.h"
#include "runtime/size.h"
#include "tiles/lanes.h"
#include "tiles/output.h"
#include "tiles/row_parts.h"

#include <math.h>
#include <string.h>

enum {
    CHUNK_ELEMENTS = 1 << 22, /* of prepared and copied queries, keys and values, unless one key head has more */
    FEW_PASSES = 16,          /* below, the keys of a tile of queries are split */
    LEAST_SPLIT_KEYS = 512,
    MOST_SPLITS = 64,
    FEW_SPLIT_KEYS = 1024, /* of a key head with few queries, about */
    FEW_TILES = 2,         /* of queries to a key head, whose keys and values are then not near */
    WORK_OF_SCORE = 4,     /* beside its products, as attn_i_parallel counts; of which so many are one operation: */
    VECTOR_ELEMENTS = 16
};

/* ---------------------------------------------------------------------------------------------- layout */

static int sums_keys(const attn_i_tiles *way)
{
    return way->p->stats.key_sums.data != NULL;
}

/* No bit depends on it, so it may be for the threads that there are: each is to have some items. Heads of a chunk are
 * of one sequence where there are pages. */
static int64_t together(const attn_i_tiles *way)
{
    enum { ITEMS = 4 };
    const int64_t threads = attn_i_problem_threads(way->p), heads = way->few ? attn_i_row_pass_heads(&way->plan) : 1;
    const int64_t items = attn_i_multiply_most(attn_i_divide_up(way->heads, heads), way->splits);
    return threads == 1 || items >= ITEMS * threads ? heads : 1;
}

static void cut(attn_i_tiles *way)
{
    const attn_i_problem *p = way->p;
    way->head_count = p->batch * p->key_heads;
    way->head_rows = p->group * p->queries;
    way->tiles = attn_i_divide_up(way->head_rows, ATTN_I_LANES);
    way->tile_rows =
        attn_i_divide_up(attn_i_divide_up(way->head_rows, way->tiles), ATTN_I_SPAN_LANES) * ATTN_I_SPAN_LANES;
    way->tiles = attn_i_divide_up(way->head_rows, way->tile_rows);

    int64_t per_head = attn_i_sources_copied(&way->sources);
    if (way->few && sums_keys(way)) {
        per_head = attn_i_add_most(per_head, attn_i_multiply_most(way->head_rows, p->keys));
    }
    way->heads = per_head > 0 ? attn_i_clamp(CHUNK_ELEMENTS / per_head, 1, way->head_count) : way->head_count;

    const int64_t passes = way->heads * way->tiles;
    way->splits = 1;
    if (way->few) {
        way->splits = attn_i_clamp(p->keys / FEW_SPLIT_KEYS, 1, MOST_SPLITS);
    } else if (passes < FEW_PASSES && !way->plan.writes_scores) {
        way->splits = attn_i_clamp(p->keys / LEAST_SPLIT_KEYS, 1, attn_i_min(2 * FEW_PASSES / passes, MOST_SPLITS));
    }
    way->split_keys = attn_i_divide_up(attn_i_divide_up(p->keys, way->splits), ATTN_I_TILE_KEYS) * ATTN_I_TILE_KEYS;
    way->slot_count = attn_i_clamp(attn_i_multiply_most(passes, way->splits), 1, attn_i_problem_threads(p));
    way->together = together(way);
    if (!sums_keys(way)) return;
    way->sum_keys = attn_i_min(p->keys, ATTN_I_SUMMED_TILES * ATTN_I_TILE_KEYS);
    if (attn_i_multiply_most(way->heads, p->keys / (ATTN_I_SUMMED_TILES * ATTN_I_TILE_KEYS)) < FEW_PASSES) {
        way->sum_keys = attn_i_min(p->keys, ATTN_I_TILE_KEYS);
    }
}

static int64_t context_dim(const attn_i_tiles *way)
{
    return way->p->context.data != NULL ? way->p->value_dim : 0;
}

static void lay_out_lane_stats(attn_i_tiles *way, int64_t parts, attn_i_arena *arena)
{
    way->stats = attn_i_carve(arena, parts * ATTN_I_LANES, sizeof *way->stats);
    if (!sums_keys(way)) return;
    way->norms = attn_i_carve(arena, way->heads * way->tiles * ATTN_I_LANES, sizeof *way->norms);
    way->is_great = attn_i_carve(arena, way->heads * way->tiles, sizeof *way->is_great);
    way->sums_slot = attn_i_carve(arena, way->slot_count, sizeof *way->sums_slot);
    for (int64_t i = 0; i < way->slot_count; i++) {
        const attn_i_key_sums_scratch s = attn_i_key_sums_scratch_layout(&way->plan, way->sum_keys, arena);
        if (arena->base != NULL) way->sums_slot[i] = s;
    }
}

static void lay_out_lanes(attn_i_tiles *way, attn_i_arena *arena)
{
    way->slots = attn_i_slots_layout(arena, way->slot_count);
    way->slot = attn_i_carve(arena, way->slot_count, sizeof *way->slot);
    for (int64_t i = 0; i < way->slot_count; i++) {
        const attn_i_tile_scratch s = attn_i_tile_scratch_layout(&way->plan, arena);
        if (arena->base != NULL) way->slot[i] = s;
    }
    way->plan.mask = attn_i_mask_map_layout(way->p, way->tile_rows, way->tiles, arena);
    const int64_t parts = way->splits == 1 ? 0 : way->heads * way->tiles * way->splits;
    way->lanes = attn_i_carve(arena, parts, sizeof *way->lanes);
    way->contexts =
        attn_i_carve_matrix(arena, parts * ATTN_I_LANES, attn_i_tile_context_rows(&way->plan), way->p->size);
    if (way->plan.measures) lay_out_lane_stats(way, parts, arena);
}

static void lay_out_row_stats(attn_i_tiles *way, int64_t parts, int64_t rows, attn_i_arena *arena)
{
    const int64_t kept = sums_keys(way) ? way->heads * way->head_rows : 0;
    way->stats = attn_i_carve(arena, rows, sizeof *way->stats);
    way->kept = attn_i_carve_matrix(arena, kept, way->p->keys, way->p->size);
    for (int64_t i = 0; i < parts && arena->base != NULL; i++) {
        attn_i_row_part *part = &way->row_parts[i];
        part->stats = way->stats + i * way->head_rows;
        part->kept = kept > 0 ? way->kept + i / way->splits * way->head_rows * way->p->keys : NULL;
    }
}

static void lay_out_rows(attn_i_tiles *way, attn_i_arena *arena)
{
    way->slots = attn_i_slots_layout(arena, way->slot_count);
    way->row_slot = attn_i_carve(arena, way->slot_count, sizeof *way->row_slot);
    for (int64_t i = 0; i < way->slot_count; i++) {
        const attn_i_row_scratch s = attn_i_row_scratch_layout(&way->plan, way->together, arena);
        if (arena->base != NULL) way->row_slot[i] = s;
    }
    int64_t parts = 0, rows = 0;
    if (!attn_i_multiply(way->heads, way->splits, &parts)) arena->overflow = 1;
    if (!attn_i_multiply(parts, way->head_rows, &rows)) arena->overflow = 1;
    way->row_parts = attn_i_carve(arena, parts, sizeof *way->row_parts);
    way->contexts = attn_i_carve_matrix(arena, rows, context_dim(way), way->p->size);
    for (int64_t i = 0; i < parts && arena->base != NULL; i++) {
        way->row_parts[i].context = way->contexts + i * way->head_rows * context_dim(way);
    }
    if (way->plan.measures) lay_out_row_stats(way, parts, rows, arena);
}

static void lay_out(attn_i_tiles *way, attn_i_arena *arena)
{
    attn_i_sources_layout(&way->sources, way->heads, arena);
    if (way->few) {
        lay_out_rows(way, arena);
    } else {
        lay_out_lanes(way, arena);
    }
}

int attn_i_tiles_takes(const attn_i_problem *problem, attn_i_tiles *way)
{
    way->p = way->sources.p = problem;
    way->sources.state = (attn_i_score_state){.v = NULL}; /* the rest is found, not cleared */
    return attn_i_tile_plan_make(problem, &way->plan);
}

/* 1 if there are so many tiles of queries to a key head that its keys and values had better be widened once for all. */
static int is_read_often(const attn_i_problem *p)
{
    enum { OFTEN = 4 };
    return attn_i_multiply_most(p->group, p->queries) > (OFTEN - 1) * ATTN_I_LANES;
}

/* Products of the call's own rows, as they are kept, if they may be and the CPU has a way with them. */
static void choose_arithmetic(attn_i_tiles *way)
{
    attn_i_sources *s = &way->sources;
    const attn_i_problem *p = way->p;
    const attn_i_fast_kernels *fast = attn_i_engine_fast_kernels(p->engine, p->key.dtype);
    if (p->modifiers->precision != ATTN_PRECISION_FAST || fast == NULL || way->plan.lanes != NULL) return;
    if (s->query.copied || s->key.copied || s->value.copied || p->dropout.keep != 0) return;
    const attn_i_stored_kernels *type = attn_i_engine_stored_kernels(p->engine, p->key.dtype);
    if (s->key.type != type || (p->context.data != NULL && s->value.type != type)) return;
    if (p->key.dtype != ATTN_I8 && s->query.type != type) return;
    if (way->few) {
        s->key.type = s->value.type = attn_i_engine_fast_stored_kernels(p->engine, p->key.dtype);
    } else if (fast->tile != NULL) {
        way->plan.arithmetic = fast->tile;
        way->plan.wide = 0;
    }
}

attn_status attn_i_tiles_scratch(attn_i_tiles *way, int64_t *bytes)
{
    attn_i_arena arena = {.base = NULL};
    way->plan.state = &way->sources.state;
    way->few = attn_i_row_pass_suits(&way->plan);
    way->sources.state.own_products = way->p->engine->own_products;
    attn_i_score_of(way->p)->layout(way->p, &arena, &way->sources.state);
    /* Few queries convert what they read, a block at a time. */
    attn_i_sources_find(&way->sources, !way->few);
    choose_arithmetic(way);
    if (!way->few && is_read_often(way->p)) attn_i_sources_widen(&way->sources, way->plan.arithmetic);
    way->plan.widens_queries = attn_i_source_is_widened(&way->sources.query);
    way->plan.widens_keys = attn_i_source_is_widened(&way->sources.key);
    way->plan.widens_values = attn_i_source_is_widened(&way->sources.value);
    cut(way);
    lay_out(way, &arena);
    return attn_i_scratch_measured(&arena, bytes);
}

/* ---------------------------------------------------------------------------------------------- passes */

/* Passes are counted key head by key head; in each, from the last tile of queries to the first, since later queries see
 * more keys when causal, and the longest should not be the last to begin. */
static attn_i_tile_work work_of(const attn_i_tiles *way, int64_t pass)
{
    const attn_i_problem *p = way->p;
    const int64_t of_head = attn_i_quotient(pass, way->splits), split = attn_i_remainder(pass, way->splits);
    const int64_t i = attn_i_quotient(of_head, way->tiles), head = way->sources.first_head + i;
    const int64_t tile = way->tiles - 1 - attn_i_remainder(of_head, way->tiles);
    attn_i_tile_work w;
    w.b = attn_i_quotient(head, p->key_heads);
    w.key_head = attn_i_remainder(head, p->key_heads);
    w.first_row = tile * way->tile_rows;
    w.rows = attn_i_min(way->tile_rows, way->head_rows - w.first_row);
    w.keys.first = attn_i_min(split * way->split_keys, p->keys);
    w.keys.end = attn_i_min(w.keys.first + way->split_keys, p->keys);
    w.queries = attn_i_source_queries(&way->sources, i);
    attn_i_source_kept(&way->sources, &way->sources.key, i, &w.key_rows);
    attn_i_source_kept(&way->sources, &way->sources.value, i, &w.value_rows);
    w.reads_memory = way->tiles <= FEW_TILES;
    return w;
}

static int64_t context_elements(const attn_i_tiles *way)
{
    return attn_i_tile_context_rows(&way->plan) * ATTN_I_LANES;
}

/* A part of the keys, of all of some key heads that go together. */
static void compute_rows(void *data, int64_t item)
{
    attn_i_tiles *way = data;
    const int64_t slot = attn_i_slot_take(&way->slots);
    const int64_t group = attn_i_quotient(item, way->splits), split = attn_i_remainder(item, way->splits);
    const int64_t first = group * way->together, heads = attn_i_min(way->together, way->passes / way->splits - first);
    attn_i_tile_work works[ATTN_I_HEADS_TOGETHER];
    attn_i_row_part *parts[ATTN_I_HEADS_TOGETHER];
    for (int64_t i = 0; i < heads; i++) {
        const int64_t pass = (first + i) * way->splits + split;
        works[i] = work_of(way, pass);
        parts[i] = &way->row_parts[pass];
    }
    attn_i_row_pass(&way->plan, &way->row_slot[slot], works, parts, heads);
    for (int64_t i = 0; i < heads && way->splits == 1; i++) {
        attn_i_row_finish_parts(&way->plan, &works[i], parts[i], 1);
    }
    attn_i_slot_release(&way->slots, slot);
}

static void merge_rows(void *data, int64_t i)
{
    attn_i_tiles *way = data;
    const attn_i_tile_work w = work_of(way, i * way->splits);
    attn_i_row_finish_parts(&way->plan, &w, &way->row_parts[i * way->splits], way->splits);
}

static int64_t lines_of(int64_t bytes)
{
    return attn_i_divide_up(bytes, ATTN_I_LINE);
}

/* The queries of a pass, where they are read as the caller has them. */
static void fetch_queries(const attn_i_tiles *way, const attn_i_tile_work *w, attn_i_fetch *fetch)
{
    const attn_i_problem *p = way->p;
    const attn_i_view *query = &p->query;
    const int64_t first = w->first_row / p->group;
    if (way->sources.query.copied) return;
    attn_i_fetched rows = {.first =
                               attn_i_view_at(query, w->b, w->key_head * p->group) + first * query->stride[2] * p->size,
                           .runs = p->group,
                           .run_stride = query->stride[1] * p->size,
                           .rows = attn_i_divide_up(w->rows, p->group),
                           .row_stride = query->stride[2] * p->size,
                           .lines = lines_of(p->query_dim * p->size)};
    attn_i_fetch_add(fetch, rows);
}

/* A share of the next head's keys or values, if they fit: they are brought near while this head's tiles of queries are
 * computed. */
static void fetch_share(const attn_i_tiles *way, int64_t pass, const attn_i_source *source, int64_t width,
                        attn_i_fetch *fetch)
{
    enum { FITS = 1 << 16 };
    const int64_t share = way->tiles * way->splits, i = pass / share + 1, part = pass % share, keys = way->p->keys;
    if (i >= way->passes / share || keys * width > FITS) return;
    attn_i_kept rows;
    attn_i_source_kept(&way->sources, source, i, &rows);
    const int64_t first = keys * part / share;
    if (rows.pages == NULL) attn_i_kept_fetch(&rows, first, keys * (part + 1) / share - first, width, NULL, fetch);
}

static attn_i_row_stats *stats_of(const attn_i_tiles *way, int64_t pass)
{
    return way->stats + pass * ATTN_I_LANES;
}

/* What the rows of a tile of queries, whose passes are through, say of their weights. */
static void finish_stats(attn_i_tiles *way, int64_t tile, const attn_i_row_stats *parts, int is_great)
{
    const attn_i_problem *p = way->p;
    const attn_i_tile_work w = work_of(way, tile * way->splits);
    if (sums_keys(way)) way->is_great[tile] = (unsigned char)is_great;
    for (int64_t l = 0; l < w.rows; l++) {
        const int64_t row = w.first_row + l;
        const attn_i_row_stats all = attn_i_row_stats_join(parts + l, ATTN_I_LANES, way->splits);
        attn_i_row_stats_write(p, w.b, w.key_head * p->group + row % p->group, row / p->group, &all);
        if (sums_keys(way))
            way->norms[tile * ATTN_I_LANES + l] =
                attn_i_row_stats_norm(&all, attn_i_sink_exponent(p, w.key_head * p->group + row % p->group));
    }
}

/* The sums of a run of keys of one key head, over all tiles of its queries, in their order. */
static void sum_keys(void *data, int64_t item)
{
    attn_i_tiles *way = data;
    const attn_i_problem *p = way->p;
    const int64_t slot = attn_i_slot_take(&way->slots), runs = attn_i_divide_up(p->keys, way->sum_keys);
    const attn_i_key_sums_scratch *own = &way->sums_slot[slot];
    const int64_t head = item / runs, first = item % runs * way->sum_keys;
    const attn_i_span keys = {first, attn_i_min(first + way->sum_keys, p->keys)};
    memset(own->sums, 0, (size_t)(p->group * way->sum_keys) * sizeof *own->sums);
    attn_i_tile_work w = {.b = 0};
    for (int64_t i = way->tiles - 1; i >= 0; i--) { /* they are counted from the last one */
        const int64_t tile = head * way->tiles + i;
        w = work_of(way, tile * way->splits);
        w.keys = keys;
        attn_i_tile_key_sums(&way->plan, &way->slot[slot], own, &w, way->norms + tile * ATTN_I_LANES,
                             way->is_great[tile], way->sum_keys);
    }
    for (int64_t i = 0; i < p->group; i++) {
        attn_i_stats_write_sums(p, w.b, w.key_head * p->group + i, first, keys.end - first,
                                own->sums + i * way->sum_keys);
    }
    attn_i_slot_release(&way->slots, slot);
}

static void compute_pass(void *data, int64_t pass)
{
    attn_i_tiles *way = data;
    const int64_t slot = attn_i_slot_take(&way->slots);
    const attn_i_tile_work w = work_of(way, pass);
    const attn_i_tile_scratch *s = &way->slot[slot];
    attn_i_fetch fetch = {.count = 0};
    if (pass + 1 < way->passes) {
        const attn_i_tile_work next = work_of(way, pass + 1);
        fetch_queries(way, &next, &fetch);
    }
    fetch_share(way, pass, &way->sources.key, way->plan.depth, &fetch);
    fetch_share(way, pass, &way->sources.value, context_dim(way), &fetch);
    attn_i_tile_pass(&way->plan, s, &w, &fetch);
    if (way->splits == 1) {
        attn_i_tile_finish(&way->plan, s, &w);
        if (way->plan.measures) finish_stats(way, pass, s->stats, s->lanes->great != 0);
    } else {
        if (way->plan.measures) memcpy(stats_of(way, pass), s->stats, ATTN_I_LANES * sizeof *s->stats);
        way->lanes[pass] = *s->lanes;
        memcpy(way->contexts + pass * context_elements(way), s->context, (size_t)context_elements(way) * sizeof(float));
    }
    attn_i_slot_release(&way->slots, slot);
}

/* Adds the parts up, each times a power of two: relative to `most` and, further, to `room`. */
static void add_parts(attn_i_tiles *way, const attn_i_tile_scratch *s, int64_t first, const double *most,
                      const float *room)
{
    const int64_t elements = context_elements(way);
    memset(s->context, 0, (size_t)elements * sizeof(float));
    memset(s->lanes->sum, 0, sizeof s->lanes->sum);
    for (int64_t i = 0; i < way->splits; i++) {
        attn_i_lanes *part = &way->lanes[first + i];
        float *context = way->contexts + (first + i) * elements, factor[ATTN_I_LANES];
        for (int l = 0; l < ATTN_I_LANES; l++) {
            factor[l] = part->sum[l] == 0 ? 0 : exp2f((float)(part->exponent[l] - most[l]) - room[l]);
            part->sum[l] *= factor[l];
            part->exponent[l] = most[l];
            s->lanes->sum[l] += part->sum[l];
            s->lanes->exponent[l] = most[l] + (double)room[l];
        }
        way->plan.kernels->tile_multiply(elements / ATTN_I_LANES, factor, context);
        way->plan.kernels->tile_add(elements / ATTN_I_LANES, (attn_i_spans){0, ATTN_I_SPANS}, 1, context, s->context);
    }
}

/* Brings the parts of one tile of queries together, in the order of their keys. */
static void merge_splits(void *data, int64_t tile)
{
    attn_i_tiles *way = data;
    const int64_t slot = attn_i_slot_take(&way->slots), first = tile * way->splits;
    const attn_i_tile_work w = work_of(way, first);
    const attn_i_tile_scratch *s = &way->slot[slot]; /* perhaps no pass has had it */
    *s->lanes = (attn_i_lanes){.late_first = 0, .late_end = 0};
    double most[ATTN_I_LANES];
    float room[ATTN_I_LANES] = {0};
    for (int l = 0; l < ATTN_I_LANES; l++) {
        most[l] = -INFINITY;
        for (int64_t i = 0; i < way->splits; i++) {
            const attn_i_lanes *part = &way->lanes[first + i];
            if (part->sum[l] != 0 && !(part->exponent[l] <= most[l])) most[l] = part->exponent[l];
        }
    }
    add_parts(way, s, first, most, room);
    if (!way->p->kernels->is_finite(context_elements(way), s->context)) { /* values so great that their sum is none */
        for (int l = 0; l < ATTN_I_LANES; l++) room[l] = attn_i_room_for_sum(s->lanes->sum[l]);
        add_parts(way, s, first, most, room);
    }
    attn_i_tile_finish(&way->plan, s, &w);
    if (way->plan.measures) {
        int is_great = 0;
        for (int64_t i = 0; i < way->splits; i++) is_great |= way->lanes[first + i].great != 0;
        finish_stats(way, tile, stats_of(way, first), is_great);
    }
    attn_i_slot_release(&way->slots, slot);
}

void attn_i_tiles_begin(attn_i_tiles *way, void *scratch)
{
    attn_i_arena arena = {.base = scratch};
    attn_i_score_of(way->p)->layout(way->p, &arena, &way->sources.state);
    lay_out(way, &arena);
    if (way->p->modifiers->alibi != ATTN_ALIGN_NONE) way->unread = way->plan;
}

void attn_i_tiles_run(attn_i_tiles *way)
{
    const attn_i_problem *p = way->p;
    if (p->modifiers->alibi != ATTN_ALIGN_NONE) way->plan = way->unread;
    attn_i_score_of(p)->load(p, &way->sources.state);
    attn_i_mask_map_load(p, &way->plan.mask);
    attn_i_tile_plan_read(&way->plan);
    for (int64_t first = 0; first < way->head_count; first += way->heads) {
        const int64_t heads = attn_i_min(way->heads, way->head_count - first), tiles = heads * way->tiles;
        const int64_t per_score = WORK_OF_SCORE + (way->plan.depth + context_dim(way)) / VECTOR_ELEMENTS;
        const int64_t work = attn_i_multiply_most(attn_i_multiply_most(heads * way->head_rows, p->keys), per_score);
        attn_i_sources_prepare(&way->sources, first, heads);
        way->passes = tiles * way->splits;
        const int64_t items = attn_i_divide_up(tiles, way->together) * way->splits;
        attn_i_parallel(p->engine->pool, items, work, way->few ? compute_rows : compute_pass, way);
        if (way->splits > 1) attn_i_parallel(p->engine->pool, tiles, work, way->few ? merge_rows : merge_splits, way);
        if (sums_keys(way) && !way->few && p->keys > 0) {
            attn_i_parallel(p->engine->pool, heads * attn_i_divide_up(p->keys, way->sum_keys), work, sum_keys, way);
        }
    }
}
