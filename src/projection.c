/* SPDX-License-Identifier: BSD-3-Clause
 *
 * projection.c: rows times a matrix of parameters. Our own way goes by slabs of the map's depth: each is packed into
 * panels of ATTN_I_LANES columns; a piece of the rows is copied to the second-level cache, since rows that are a power
 * of two apart would push each other out of it, and multiplied with one panel after the other. */
#include "projection.h"

#include "runtime/blas.h"
#include "runtime/size.h"

#include <string.h>

enum {
    SLAB = 512,       /* of the map's depth */
    ITEM_ROWS = 192,  /* of an item of work, and */
    ITEM_PANELS = 16, /* its panels, of which there are fewer where items would be few */
    MANY_ITEMS = 12,
    BLOCK_ROWS = 6,
    FEW_COLUMNS = 64 /* of an item, where rows are few */
};

/* What a product costs, as attn_i_parallel counts work: so many of them are one operation. */
enum { VECTOR_ELEMENTS = 16 };

typedef struct job {
    const attn_i_problem *p;
    const attn_i_projection *projection;
    attn_i_matrix from, to;
    int64_t first, depth;  /* the slab at hand */
    int64_t group, groups; /* panels of an item, and how many such there are */
} job;

static int64_t panels_of(int64_t columns)
{
    return attn_i_divide_up(columns, ATTN_I_LANES);
}

attn_i_projection attn_i_projection_layout(const attn_i_problem *p, attn_i_arena *arena, attn_i_matrix map,
                                           int64_t rows, int own)
{
    attn_i_projection projection = {.map = attn_i_operand_layout(arena, map, 0, p->size), .own = own};
    if (own && rows > ATTN_I_FEW) {
        const int64_t slab = attn_i_min(map.rows, SLAB);
        projection.packed = attn_i_carve_matrix(arena, panels_of(map.columns) * ATTN_I_LANES, slab, p->size);
        projection.slots = attn_i_slots_layout(arena, p->engine->threads);
        projection.pieces = attn_i_carve_matrix(arena, p->engine->threads * ITEM_ROWS, slab, p->size);
    }
    return projection;
}

void attn_i_projection_load(const attn_i_problem *p, const attn_i_projection *projection)
{
    attn_i_operand_load(&projection->map, p->kernels, p->size);
}

static const float *at(attn_i_matrix m, int64_t row, int64_t column)
{
    return (const float *)(const void *)m.data + row * m.row_stride + column * m.column_stride;
}

/* Packs a panel of the slab: element d of column l at [d LANES + l]; zeros past the last column. */
static void pack(void *data, int64_t panel)
{
    const job *j = data;
    const attn_i_matrix map = j->projection->map.use;
    const int64_t column = panel * ATTN_I_LANES, count = attn_i_min(map.columns - column, ATTN_I_LANES);
    float *to = j->projection->packed + column * j->depth;
    if (map.row_stride == 1 || map.rows == 1) { /* columns are contiguous */
        const float *columns[ATTN_I_LANES];
        for (int64_t l = 0; l < count; l++) columns[l] = at(map, j->first, column + l);
        j->p->engine->tile_kernels->to_lanes(count, j->depth, columns, 1, to);
        return;
    }
    for (int64_t d = 0; d < j->depth; d++) {
        memcpy(to + d * ATTN_I_LANES, at(map, j->first + d, column), (size_t)count * sizeof *to);
        memset(to + d * ATTN_I_LANES + count, 0, (size_t)(ATTN_I_LANES - count) * sizeof *to);
    }
}

/* A panel that is not full goes by way of a tile. */
static void multiply_part(const job *j, attn_i_rows rows, int64_t count, const float *lanes, int64_t columns, float *to)
{
    const attn_i_spans spans = {0, (int)attn_i_divide_up(columns, ATTN_I_SPAN_LANES)};
    const int accumulate = j->first > 0;
    float tile[BLOCK_ROWS * ATTN_I_LANES];
    for (int64_t i = 0, n; i < count; i += n) {
        n = attn_i_min(count - i, BLOCK_ROWS);
        const attn_i_rows some = {rows.data + i * rows.stride, rows.stride};
        for (int64_t r = 0; r < n && accumulate; r++) {
            memcpy(tile + r * ATTN_I_LANES, to + (i + r) * j->to.row_stride, (size_t)columns * sizeof *tile);
        }
        j->p->engine->tile_kernels->products(j->depth, lanes, some, n, spans, tile, ATTN_I_LANES, accumulate);
        for (int64_t r = 0; r < n; r++) {
            memcpy(to + (i + r) * j->to.row_stride, tile + r * ATTN_I_LANES, (size_t)columns * sizeof *tile);
        }
    }
}

static void multiply(void *data, int64_t item)
{
    const job *j = data;
    const int64_t row = item / j->groups * ITEM_ROWS, first_panel = item % j->groups * j->group;
    const int64_t count = attn_i_min(j->from.rows - row, ITEM_ROWS);
    const int64_t end_panel = attn_i_min(first_panel + j->group, panels_of(j->to.columns));
    const int64_t slot = attn_i_slot_take(&j->projection->slots);
    float *piece = j->projection->pieces + slot * ITEM_ROWS * j->depth;
    for (int64_t i = 0; i < count; i++) {
        memcpy(piece + i * j->depth, at(j->from, row + i, j->first), (size_t)j->depth * sizeof *piece);
    }
    const attn_i_rows rows = {piece, j->depth};
    for (int64_t panel = first_panel; panel < end_panel; panel++) {
        const int64_t column = panel * ATTN_I_LANES, columns = j->to.columns - column;
        const float *lanes = j->projection->packed + column * j->depth;
        float *to = (float *)(void *)j->to.data + row * j->to.row_stride + column;
        if (columns < ATTN_I_LANES) {
            multiply_part(j, rows, count, lanes, columns, to);
        } else {
            j->p->engine->tile_kernels->products(j->depth, lanes, rows, count, (attn_i_spans){0, ATTN_I_SPANS}, to,
                                                 j->to.row_stride, j->first > 0);
        }
    }
    attn_i_slot_release(&j->projection->slots, slot);
}

/* Few rows: the map is read once, where it lies. */
static void multiply_few(void *data, int64_t item)
{
    const job *j = data;
    const attn_i_tile_kernels *kernels = j->p->engine->tile_kernels;
    const attn_i_matrix map = j->projection->map.use;
    const int64_t column = item * FEW_COLUMNS, count = attn_i_min(map.columns - column, FEW_COLUMNS);
    const attn_i_rows rows = {at(j->from, 0, 0), j->from.row_stride};
    float *to = (float *)(void *)j->to.data + column;
    if (map.row_stride == 1 || map.rows == 1) {
        const attn_i_rows columns = {at(map, 0, column), map.column_stride};
        kernels->row_products(map.rows, rows, j->from.rows, columns, count, to, j->to.row_stride);
        return;
    }
    float sums[ATTN_I_FEW * FEW_COLUMNS] = {0};
    kernels->row_context(map.rows, rows, j->from.rows, (attn_i_rows){at(map, 0, column), map.row_stride}, count, sums);
    for (int64_t i = 0; i < j->from.rows; i++) {
        memcpy(to + i * j->to.row_stride, sums + i * count, (size_t)count * sizeof *to);
    }
}

void attn_i_project(const attn_i_problem *p, const attn_i_projection *projection, attn_i_matrix from, attn_i_matrix to)
{
    const attn_i_matrix map = projection->map.use;
    if (!projection->own) {
        attn_i_blas_multiply(p->dtype, from, map, to, 0);
        return;
    }
    attn_i_pool *pool = p->engine->pool;
    job j = {.p = p, .projection = projection, .from = from, .to = to};
    if (projection->packed == NULL) {
        const int64_t work = from.rows * map.rows * map.columns / VECTOR_ELEMENTS;
        attn_i_parallel(pool, attn_i_divide_up(map.columns, FEW_COLUMNS), work, multiply_few, &j);
        return;
    }
    const int64_t pieces = attn_i_divide_up(from.rows, ITEM_ROWS), panels = panels_of(map.columns);
    j.group = attn_i_clamp(pieces * panels / MANY_ITEMS, 1, ITEM_PANELS);
    j.groups = attn_i_divide_up(panels, j.group);
    for (; j.first < map.rows; j.first += SLAB) {
        j.depth = attn_i_min(map.rows - j.first, SLAB);
        attn_i_parallel(pool, panels, map.columns * j.depth, pack, &j);
        attn_i_parallel(pool, pieces * j.groups, from.rows * map.columns * j.depth / VECTOR_ELEMENTS, multiply, &j);
    }
}
