/* SPDX-License-Identifier: BSD-3-Clause
 *
 * tiles_way.c: the forward pass by fused tiles: how the work is cut into passes, what is prepared for them, and where
 * their results come together. Work is cut by shape alone. */
#include "tiles_way.h"

#include "operand.h"
#include "row_pass.h"
#include "runtime/blas.h"
#include "runtime/size.h"
#include "runtime/slots.h"
#include "score/score.h"
#include "status.h"
#include "tile_output.h"
#include "tile_pass.h"

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

/* The rows of key heads as passes read them: where they lie, or in a copy of the chunk's, which the score function may
 * make of them (`prepares`), be it from rows that had to be gathered first. */
typedef struct source {
    attn_i_matrix (*rows_of)(const attn_i_problem *p, const attn_i_score_state *state, int64_t head); /* NULL: gather */
    void (*prepares)(const attn_i_problem *p, const attn_i_score_state *state, attn_i_matrix from, attn_i_matrix to);
    void (*converts)(const attn_i_problem *p, const float *from, float *to); /* each row of the copy */
    int64_t rows, from_width, prepared_width;
    int64_t width; /* elements from one row of the copy to the next */
    int gathered, copied;
    float *raw, *copy;
} source;

typedef struct run {
    const attn_i_problem *p;
    attn_i_tile_plan plan;
    attn_i_score_state state;

    /* How the work is cut. */
    int64_t head_count, head_rows; /* key heads of all sequences; rows of each: group x queries */
    int64_t heads;                 /* of a chunk, at most */
    int64_t tile_rows, tiles;      /* tiles of queries per key head */
    int64_t split_keys, splits;    /* of each tile's keys */
    int64_t slot_count;
    int few; /* queries of a key head: rows rather than lanes */

    /* Scratch. */
    source query, key, value;
    attn_i_slots slots;
    attn_i_tile_scratch *slot;    /* of each slot */
    attn_i_row_scratch *row_slot; /* instead, where queries are few */
    attn_i_lanes *lanes;          /* of each pass, where keys are split */
    float *contexts;
    attn_i_row_part *row_parts; /* of each pass */

    int64_t first_head, chunk_heads, passes; /* the chunk at hand */
} run;

/* ---------------------------------------------------------------------------------------------- sources */

static attn_i_matrix key_rows(const attn_i_problem *p, const attn_i_score_state *state, int64_t head)
{
    (void)state;
    return attn_i_view_matrix(&p->key, head / p->key_heads, head % p->key_heads);
}

static attn_i_matrix value_rows(const attn_i_problem *p, const attn_i_score_state *state, int64_t head)
{
    (void)state;
    return attn_i_view_matrix(&p->value, head / p->key_heads, head % p->key_heads);
}

/* Without keys the columns of the queries' map play their part. */
static attn_i_matrix map_rows(const attn_i_problem *p, const attn_i_score_state *state, int64_t head)
{
    (void)head;
    attn_i_matrix m = attn_i_matrix_transpose(state->places.use);
    return attn_i_matrix_rows(m, 0, p->keys, p->size);
}

/* Row x is query x / group of head x % group: a matrix, if its rows are equally far apart. */
static attn_i_matrix query_rows(const attn_i_problem *p, const attn_i_score_state *state, int64_t head)
{
    (void)state;
    const attn_i_view *q = &p->query;
    const int64_t step = p->group > 1 ? q->stride[1] : q->stride[2];
    return (attn_i_matrix){attn_i_view_at(q, head / p->key_heads, head % p->key_heads * p->group),
                           p->group * p->queries, p->query_dim, step, q->stride[3]};
}

static int query_rows_are_even(const attn_i_problem *p)
{
    return p->group == 1 || p->queries == 1 || p->query.stride[2] == p->group * p->query.stride[1];
}

/* Row x of a head that is not even. */
static attn_i_matrix query_row(const attn_i_problem *p, int64_t head, int64_t x)
{
    const attn_i_view *q = &p->query;
    char *head_data = attn_i_view_at(q, head / p->key_heads, head % p->key_heads * p->group + x % p->group);
    return (attn_i_matrix){head_data + x / p->group * q->stride[2] * p->size, 1, p->query_dim, 0, q->stride[3]};
}

/* A source of rows that lie `matrix` (of any head) far apart. The score function takes rows that the
 * BLAS takes and that are contiguous. */
static source make_source(attn_i_matrix matrix, int even, int64_t width)
{
    source s = {
        .rows = matrix.rows, .from_width = matrix.columns, .prepared_width = width > 0 ? width : matrix.columns};
    s.width = s.prepared_width;
    s.copied = width > 0 || matrix.column_stride != 1;
    s.gathered =
        width > 0 && (!even || (matrix.column_stride != 1 && matrix.columns > 1) || !attn_i_blas_takes(matrix));
    return s;
}

static void find_sources(run *r)
{
    const attn_i_problem *p = r->p;
    const attn_i_score *score = p->mechanism->score;
    const int even = query_rows_are_even(p);
    r->query = make_source(query_rows(p, &r->state, 0), even, score->query_width(p));
    r->query.rows_of = even ? query_rows : NULL;
    r->query.prepares = score->query_width(p) > 0 ? score->prepare_queries : NULL;
    /* Uneven rows are read one by one where they lie, unless they are prepared. */
    r->key =
        make_source(score->reads_keys ? key_rows(p, &r->state, 0) : map_rows(p, &r->state, 0), 1, score->key_width(p));
    r->key.rows_of = score->reads_keys ? key_rows : map_rows;
    r->key.prepares = score->key_width(p) > 0 ? score->prepare_keys : NULL;
    if (score->lanes != NULL && !r->few) { /* few queries convert what they read, a block at a time */
        r->key.copied = 1;
        r->key.width = score->lanes->key_elements(p);
        r->key.converts = score->lanes->convert_key;
    }
    if (p->context.data != NULL) {
        r->value = make_source(value_rows(p, &r->state, 0), 1, 0);
        r->value.rows_of = value_rows;
    }
}

static void lay_out_source(source *s, int64_t heads, attn_i_arena *arena)
{
    int64_t rows;
    if (!s->copied) return;
    if (!attn_i_multiply(heads, s->rows, &rows)) arena->overflow = 1;
    if (arena->overflow) return;
    s->copy = attn_i_carve_matrix(arena, rows, s->width, (int64_t)sizeof(float));
    if (s->gathered) s->raw = attn_i_carve_matrix(arena, rows, s->from_width, (int64_t)sizeof(float));
}

/* The rows of a key head, one by one, to rows `width` apart. */
static void gather(const run *r, const source *s, int64_t head, float *to, int64_t width)
{
    attn_i_matrix from = {0};
    if (s->rows_of != NULL) from = s->rows_of(r->p, &r->state, head);
    for (int64_t x = 0; x < s->rows; x++) {
        const attn_i_matrix row =
            s->rows_of != NULL ? attn_i_matrix_rows(from, x, 1, r->p->size) : query_row(r->p, head, x);
        r->p->kernels->gather(row.columns, row.data, row.column_stride, to + x * width);
    }
}

/* The rows of the chunk's key head i, and of as many after it as lie in memory like one matrix. */
static attn_i_matrix joined_rows(const run *r, const source *s, int64_t i, int64_t *count)
{
    const int64_t size = r->p->size, first = r->first_head + i;
    attn_i_matrix joined = s->rows_of(r->p, &r->state, first), one = joined;
    *count = 1;
    if (i + 1 == r->chunk_heads) return one;
    const int64_t step = s->rows_of(r->p, &r->state, first + 1).data - one.data;
    if (s->rows == 1) joined.row_stride = step / size;
    if (step != s->rows * joined.row_stride * size || joined.row_stride < joined.columns) return one;
    while (i + *count < r->chunk_heads &&
           s->rows_of(r->p, &r->state, first + *count).data == one.data + *count * step) {
        ++*count;
    }
    joined.rows = *count * s->rows;
    if (attn_i_blas_takes(joined)) return joined;
    *count = 1;
    return one;
}

/* Rows that the score function prepares, by as few products as can be. */
static void prepare_rows(const run *r, const source *s)
{
    for (int64_t i = 0; i < r->chunk_heads && s->gathered; i++) {
        gather(r, s, r->first_head + i, s->raw + i * s->rows * s->from_width, s->from_width);
    }
    for (int64_t i = 0, count; i < r->chunk_heads; i += count) {
        attn_i_matrix from;
        if (s->gathered) {
            count = r->chunk_heads;
            from = attn_i_matrix_dense(s->raw, count * s->rows, s->from_width);
        } else {
            from = joined_rows(r, s, i, &count);
        }
        const attn_i_matrix to = {(char *)(s->copy + i * s->rows * s->width), from.rows, s->prepared_width, s->width,
                                  1};
        s->prepares(r->p, &r->state, from, to);
    }
}

typedef struct copy_job {
    const run *r;
    const source *s;
} copy_job;

/* Copies and converts the rows of one key head. */
static void copy_rows(void *data, int64_t i)
{
    const copy_job *job = data;
    const source *s = job->s;
    float *to = s->copy + i * s->rows * s->width;
    attn_i_rows from = {to, s->width};
    if (s->prepares == NULL) {
        attn_i_matrix rows = {0};
        if (s->converts != NULL) rows = s->rows_of(job->r->p, &job->r->state, job->r->first_head + i);
        if (rows.column_stride == 1) {
            from = (attn_i_rows){(const float *)(const void *)rows.data, rows.row_stride};
        } else {
            gather(job->r, s, job->r->first_head + i, to, s->width);
        }
    }
    for (int64_t x = 0; x < s->rows && s->converts != NULL; x++) {
        s->converts(job->r->p, from.data + x * from.stride, to + x * s->width);
    }
}

/* Makes the chunk's copies. */
static void prepare(const run *r, const source *s)
{
    if (!s->copied || s->rows == 0) return;
    if (s->prepares != NULL) prepare_rows(r, s);
    if (s->prepares != NULL && s->converts == NULL) return;
    copy_job job = {r, s};
    attn_i_parallel(r->p->engine->pool, r->chunk_heads, r->chunk_heads * s->rows * s->width, copy_rows, &job);
}

/* The rows of the chunk's key head i; data NULL where queries are to be read one by one. */
static attn_i_rows rows_for(const run *r, const source *s, int64_t i)
{
    if (s->copied) return (attn_i_rows){s->copy + i * s->rows * s->width, s->width};
    if (s->rows_of == NULL) return (attn_i_rows){NULL, 0};
    const attn_i_matrix m = s->rows_of(r->p, &r->state, r->first_head + i);
    return (attn_i_rows){(const float *)(const void *)m.data, m.row_stride};
}

/* ---------------------------------------------------------------------------------------------- layout */

static int64_t copied_elements(const source *s)
{
    return s->copied ? s->rows * (s->width + (s->gathered ? s->from_width : 0)) : 0;
}

static void cut(run *r)
{
    const attn_i_problem *p = r->p;
    r->head_count = p->batch * p->key_heads;
    r->head_rows = p->group * p->queries;
    r->tiles = attn_i_divide_up(r->head_rows, ATTN_I_LANES);
    r->tile_rows = attn_i_divide_up(attn_i_divide_up(r->head_rows, r->tiles), ATTN_I_SPAN_LANES) * ATTN_I_SPAN_LANES;
    r->tiles = attn_i_divide_up(r->head_rows, r->tile_rows);

    const int64_t per_head = copied_elements(&r->query) + copied_elements(&r->key) + copied_elements(&r->value);
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

static int64_t context_dim(const run *r)
{
    return r->p->context.data != NULL ? r->p->value_dim : 0;
}

static void lay_out_lanes(run *r, attn_i_arena *arena)
{
    r->slots = attn_i_slots_layout(arena, r->slot_count);
    r->slot = attn_i_carve(arena, r->slot_count, sizeof *r->slot);
    for (int64_t i = 0; i < r->slot_count; i++) {
        const attn_i_tile_scratch s = attn_i_tile_scratch_layout(&r->plan, arena);
        if (arena->base != NULL) r->slot[i] = s;
    }
    const int64_t parts = r->splits == 1 ? 0 : r->heads * r->tiles * r->splits;
    r->lanes = attn_i_carve(arena, parts, sizeof *r->lanes);
    r->contexts = attn_i_carve_matrix(arena, parts * ATTN_I_LANES, context_dim(r), r->p->size);
}

static void lay_out_rows(run *r, attn_i_arena *arena)
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

static void lay_out(run *r, attn_i_arena *arena)
{
    const attn_i_problem *p = r->p;
    attn_i_tile_plan_make(p, &r->plan);
    r->plan.state = &r->state;
    r->state.own_products = p->engine->own_products;
    p->mechanism->score->layout(p, arena, &r->state);
    r->few = attn_i_row_pass_suits(&r->plan);
    find_sources(r);
    cut(r);
    lay_out_source(&r->query, r->heads, arena);
    lay_out_source(&r->key, r->heads, arena);
    lay_out_source(&r->value, r->heads, arena);
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

int attn_i_tiles_way_takes(const attn_i_problem *problem)
{
    attn_i_tile_plan plan;
    return attn_i_tile_plan_make(problem, &plan);
}

attn_status attn_i_tiles_way_scratch(const attn_i_problem *problem, int64_t *bytes)
{
    run r = {.p = problem};
    attn_i_arena arena = {.base = NULL};
    if (!is_empty(problem)) lay_out(&r, &arena);
    if (arena.overflow) {
        return attn_i_fail(ATTN_ERR_OVERFLOW, "the scratch for these shapes cannot be addressed");
    }
    *bytes = arena.used;
    return ATTN_OK;
}

/* ---------------------------------------------------------------------------------------------- passes */

/* Passes are counted key head by key head; in each, from the last tile of queries to the first, since later queries see
 * more keys when causal, and the longest should not be the last to begin. */
static attn_i_tile_work work_of(const run *r, int64_t pass)
{
    const attn_i_problem *p = r->p;
    const int64_t split = pass % r->splits, tile = r->tiles - 1 - pass / r->splits % r->tiles;
    const int64_t i = pass / r->splits / r->tiles, head = r->first_head + i;
    attn_i_tile_work w = {.b = head / p->key_heads, .key_head = head % p->key_heads};
    w.first_row = tile * r->tile_rows;
    w.rows = attn_i_min(r->tile_rows, r->head_rows - w.first_row);
    w.keys.first = attn_i_min(split * r->split_keys, p->keys);
    w.keys.end = attn_i_min(w.keys.first + r->split_keys, p->keys);
    w.queries = rows_for(r, &r->query, i);
    w.key_rows = rows_for(r, &r->key, i);
    w.value_rows = rows_for(r, &r->value, i);
    return w;
}

static int64_t context_elements(const run *r)
{
    return context_dim(r) * ATTN_I_LANES;
}

static void compute_rows(void *data, int64_t pass)
{
    run *r = data;
    const int64_t slot = attn_i_slot_take(&r->slots);
    const attn_i_tile_work w = work_of(r, pass);
    attn_i_row_pass(&r->plan, &r->row_slot[slot], &w, &r->row_parts[pass]);
    if (r->splits == 1) attn_i_row_finish_parts(&r->plan, &w, &r->row_parts[pass], 1);
    attn_i_slot_release(&r->slots, slot);
}

static void merge_rows(void *data, int64_t i)
{
    run *r = data;
    const attn_i_tile_work w = work_of(r, i * r->splits);
    attn_i_row_finish_parts(&r->plan, &w, &r->row_parts[i * r->splits], r->splits);
}

static void compute_pass(void *data, int64_t pass)
{
    run *r = data;
    const int64_t slot = attn_i_slot_take(&r->slots);
    const attn_i_tile_work w = work_of(r, pass);
    const attn_i_tile_scratch *s = &r->slot[slot];
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
    run *r = data;
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

void attn_i_tiles_way_run(const attn_i_problem *problem, void *scratch)
{
    if (is_empty(problem)) return;
    run r = {.p = problem};
    attn_i_arena arena = {.base = scratch};
    lay_out(&r, &arena);
    problem->mechanism->score->load(problem, &r.state);
    for (r.first_head = 0; r.first_head < r.head_count; r.first_head += r.heads) {
        r.chunk_heads = attn_i_min(r.heads, r.head_count - r.first_head);
        prepare(&r, &r.query);
        prepare(&r, &r.key);
        prepare(&r, &r.value);
        const int64_t tiles = r.chunk_heads * r.tiles;
        const int64_t work = r.chunk_heads * r.head_rows * problem->keys *
                             (WORK_OF_SCORE + (r.plan.depth + problem->value_dim) / VECTOR_ELEMENTS);
        r.passes = tiles * r.splits;
        attn_i_parallel(problem->engine->pool, r.passes, work, r.few ? compute_rows : compute_pass, &r);
        if (r.splits > 1) attn_i_parallel(problem->engine->pool, tiles, work, r.few ? merge_rows : merge_splits, &r);
    }
}
