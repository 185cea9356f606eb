/* SPDX-License-Identifier: BSD-3-Clause
 *
 * score/projection.c: rows times a matrix of parameters. Our own way goes by slabs of the map's depth: each is packed
 * into panels of ATTN_I_LANES columns; a piece of the rows is copied to the second-level cache, since rows that are a
 * power of two apart would push each other out of it, and multiplied with one panel after the other. */
#include "score/projection.h"

#include "runtime/blas.h"
#include "runtime/size.h"

#include <string.h>

enum {
    SLAB = 512,       /* of the map's depth */
    ITEM_ROWS = 192,  /* of an item of work, and */
    ITEM_PANELS = 16, /* its panels, of which there are fewer where items would be few */
    MANY_ITEMS = 12,
    BLOCK_ROWS = 6,
    FEW_ROWS = 8,     /* for which the map is read where it lies */
    FEW_COLUMNS = 64, /* of an item then */
    PART_ROWS = 16    /* of a piece whose columns are contiguous: what is turned over at a time */
};

/* What a product costs, as attn_i_parallel counts work: so many of them are one operation. */
enum { VECTOR_ELEMENTS = 16 };

typedef struct job {
    const attn_i_problem *p;
    const attn_i_projection *projection;
    attn_i_matrix from, to;
    const char *row;       /* added to each of `to` in the end, or NULL */
    int accumulate;        /* the first slab too */
    int64_t first, depth;  /* the slab at hand */
    int64_t group, groups; /* panels of an item, and how many such there are */
} job;

static int64_t panels_of(int64_t columns)
{
    return attn_i_divide_up(columns, ATTN_I_LANES);
}

static void lay_out_packed(const attn_i_problem *p, attn_i_arena *arena, attn_i_matrix map,
                           attn_i_projection *projection)
{
    const int64_t slab = attn_i_min(map.rows, SLAB);
    projection->packed = attn_i_carve_matrix(arena, panels_of(map.columns) * ATTN_I_LANES, slab, p->size);
    projection->slots = attn_i_slots_layout(arena, attn_i_problem_threads(p));
    projection->pieces = attn_i_carve_matrix(arena, attn_i_problem_threads(p) * ITEM_ROWS, slab, p->size);
}

attn_i_projection attn_i_projection_layout(const attn_i_problem *p, attn_i_arena *arena, attn_i_matrix map,
                                           int64_t rows, int own)
{
    attn_i_projection projection = {.map = attn_i_operand_layout(arena, map, 0, p->size), .own = own};
    if (own && rows > FEW_ROWS) lay_out_packed(p, arena, map, &projection);
    return projection;
}

/* The BLAS reads a copy that has been cleared of what is not finite; our own way clears what it packs. */
attn_i_projection attn_i_projection_layout_sum(const attn_i_problem *p, attn_i_arena *arena, attn_i_matrix map,
                                               int finite, int own)
{
    attn_i_projection projection = {.map = attn_i_operand_layout(arena, map, 1, p->size), .own = own, .finite = finite};
    if (own) {
        lay_out_packed(p, arena, map, &projection);
    } else if (finite && !projection.map.copied) {
        void *copy = attn_i_carve_matrix(arena, map.rows, map.columns, p->size);
        projection.map.use = attn_i_matrix_dense(copy, map.rows, map.columns);
        projection.map.copied = 1;
    }
    return projection;
}

typedef struct load_job {
    const attn_i_problem *p;
    const attn_i_operand *map;
} load_job;

static void load_finite(void *data, int64_t i)
{
    const load_job *load = data;
    const attn_i_matrix from = load->map->source, to = load->map->use;
    load->p->kernels->gather_finite(from.columns, from.data + i * from.row_stride * load->p->size, from.column_stride,
                                    to.data + i * to.row_stride * load->p->size, to.column_stride);
}

void attn_i_projection_load(const attn_i_problem *p, const attn_i_projection *projection)
{
    const attn_i_operand *map = &projection->map;
    load_job load = {p, map};
    if (!projection->finite || projection->own) {
        attn_i_operand_load(map, p->kernels, p->size);
    } else {
        attn_i_parallel(p->engine->pool, map->use.rows, map->use.rows * map->use.columns, load_finite, &load);
    }
}

static const float *at(attn_i_matrix m, int64_t row, int64_t column)
{
    const int64_t elements = row * m.row_stride + column * m.column_stride;
    return (const float *)(void *)attn_i_moved(m.data, elements * (int64_t)sizeof(float));
}

/* Packs a panel of the slab: element d of column l at [d LANES + l]; zeros past the last column. */
static void pack(void *data, int64_t panel)
{
    const job *j = data;
    const attn_i_matrix map = j->projection->map.use;
    const int64_t column = panel * ATTN_I_LANES, count = attn_i_min(map.columns - column, ATTN_I_LANES);
    float *to = j->projection->packed + column * j->depth;
    if (map.column_stride != 1 && map.columns > 1) { /* columns are contiguous */
        const float *columns[ATTN_I_LANES];
        for (int64_t l = 0; l < count; l++) columns[l] = at(map, j->first, column + l);
        j->p->engine->tile_kernels->to_lanes(count, j->depth, columns, 1, to);
        return;
    }
    for (int64_t d = 0; d < j->depth; d++) {
        if (j->projection->finite) {
            j->p->kernels->gather_finite(count, at(map, j->first + d, column), 1, to + d * ATTN_I_LANES, 1);
        } else {
            memcpy(to + d * ATTN_I_LANES, at(map, j->first + d, column), (size_t)count * sizeof *to);
        }
        memset(to + d * ATTN_I_LANES + count, 0, (size_t)(ATTN_I_LANES - count) * sizeof *to);
    }
}

static int accumulates(const job *j)
{
    return j->accumulate || j->first > 0;
}

/* A panel that is not full goes by way of a tile. */
static void multiply_part(const job *j, attn_i_rows rows, int64_t count, const float *lanes, int64_t columns, float *to)
{
    const attn_i_spans spans = {0, (int)attn_i_divide_up(columns, ATTN_I_SPAN_LANES)};
    const int accumulate = accumulates(j);
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

/* Columns of the row that is added to rows of the result. */
static void add_row(const job *j, int64_t column, int64_t columns, float *to, int64_t count)
{
    const char *row = j->row + column * j->p->size;
    for (int64_t i = 0; i < count; i++) j->p->kernels->add_bias(columns, row, 1, to + i * j->to.row_stride);
}

/* Rows row .. row + count - 1 of the slab. */
static void copy_piece(const job *j, int64_t row, int64_t count, float *piece)
{
    if (j->depth == 0) return; /* of rows without elements, which need not be anywhere */
    if (j->from.column_stride == 1 || j->from.columns == 1) {
        for (int64_t i = 0; i < count; i++) {
            memcpy(piece + i * j->depth, at(j->from, row + i, j->first), (size_t)j->depth * sizeof *piece);
        }
        return;
    }
    float part[PART_ROWS * ATTN_I_LANES];
    for (int64_t d = 0, n; d < j->depth; d += n) {
        n = attn_i_min(j->depth - d, ATTN_I_LANES);
        for (int64_t i = 0, rows; i < count; i += rows) {
            const float *columns[ATTN_I_LANES];
            rows = attn_i_min(count - i, PART_ROWS);
            for (int64_t l = 0; l < n; l++) columns[l] = at(j->from, row + i, j->first + d + l);
            j->p->engine->tile_kernels->to_lanes(n, rows, columns, 1, part);
            for (int64_t r = 0; r < rows; r++) {
                memcpy(piece + (i + r) * j->depth + d, part + r * ATTN_I_LANES, (size_t)n * sizeof *piece);
            }
        }
    }
}

static void multiply(void *data, int64_t item)
{
    const job *j = data;
    const int64_t row = item / j->groups * ITEM_ROWS, first_panel = item % j->groups * j->group;
    const int64_t count = attn_i_min(j->from.rows - row, ITEM_ROWS);
    const int64_t end_panel = attn_i_min(first_panel + j->group, panels_of(j->to.columns));
    const int last = j->row != NULL && j->first + j->depth == j->from.columns;
    const int64_t slot = attn_i_slot_take(&j->projection->slots);
    float *piece = j->projection->pieces + slot * ITEM_ROWS * j->depth;
    copy_piece(j, row, count, piece);
    const attn_i_rows rows = {piece, j->depth};
    for (int64_t panel = first_panel; panel < end_panel; panel++) {
        const int64_t column = panel * ATTN_I_LANES, columns = j->to.columns - column;
        const float *lanes = j->projection->packed + column * j->depth;
        float *to = (float *)(void *)j->to.data + row * j->to.row_stride + column;
        if (columns < ATTN_I_LANES) {
            multiply_part(j, rows, count, lanes, columns, to);
        } else {
            j->p->engine->tile_kernels->products(j->depth, lanes, rows, count, (attn_i_spans){0, ATTN_I_SPANS}, to,
                                                 j->to.row_stride, accumulates(j));
        }
        if (last) add_row(j, column, attn_i_min(columns, ATTN_I_LANES), to, count);
    }
    attn_i_slot_release(&j->projection->slots, slot);
}

/* Few rows: the map is read once, where it lies. */
static void multiply_few(void *data, int64_t item)
{
    const job *j = data;
    const attn_i_stored_kernels *kernels = attn_i_engine_stored_kernels(j->p->engine, ATTN_F32);
    const attn_i_matrix map = j->projection->map.use;
    const int64_t column = item * FEW_COLUMNS, count = attn_i_min(map.columns - column, FEW_COLUMNS);
    const attn_i_rows rows = {at(j->from, 0, 0), j->from.row_stride};
    float *to = (float *)(void *)j->to.data + column;
    float sums[FEW_ROWS * FEW_COLUMNS] = {0};
    if (map.column_stride != 1 && map.columns > 1) {
        const attn_i_stored_rows columns = {at(map, 0, column), map.column_stride, 0};
        kernels->rows.products(map.rows, rows, j->from.rows, &columns, count, sums, count);
    } else {
        const attn_i_stored_rows map_rows = {at(map, 0, column), map.row_stride, 0};
        kernels->rows.context(map.rows, rows, j->from.rows, &map_rows, count, sums);
    }
    for (int64_t i = 0; i < j->from.rows; i++) {
        if (j->accumulate) j->p->kernels->add_to(count, sums + i * count, to + i * j->to.row_stride, 1);
        if (!j->accumulate) memcpy(to + i * j->to.row_stride, sums + i * count, (size_t)count * sizeof *to);
    }
    if (j->row != NULL) add_row(j, column, count, to, j->from.rows);
}

/* By the BLAS: the product is there already. */
static void add_row_to_item(void *data, int64_t item)
{
    const job *j = data;
    const int64_t row = item * ITEM_ROWS, count = attn_i_min(j->to.rows - row, ITEM_ROWS);
    for (int64_t i = row; i < row + count; i++) {
        j->p->kernels->add_bias(j->to.columns, j->row, 1, j->to.data + i * j->to.row_stride * j->p->size);
    }
}

static void project_by_blas(job *j)
{
    attn_i_blas_multiply(j->p->dtype, j->from, j->projection->map.use, j->to, j->accumulate);
    if (j->row == NULL) return;
    attn_i_parallel(j->p->engine->pool, attn_i_divide_up(j->to.rows, ITEM_ROWS), j->to.rows * j->to.columns,
                    add_row_to_item, j);
}

static void project_few(job *j)
{
    const attn_i_matrix map = j->projection->map.use;
    const int64_t work = j->from.rows * map.rows * map.columns / VECTOR_ELEMENTS;
    attn_i_parallel(j->p->engine->pool, attn_i_divide_up(map.columns, FEW_COLUMNS), work, multiply_few, j);
}

static void project_packed(job *j)
{
    attn_i_pool *pool = j->p->engine->pool;
    const attn_i_matrix map = j->projection->map.use;
    const int64_t pieces = attn_i_divide_up(j->from.rows, ITEM_ROWS), panels = panels_of(map.columns);
    j->group = attn_i_clamp(pieces * panels / MANY_ITEMS, 1, ITEM_PANELS);
    j->groups = attn_i_divide_up(panels, j->group);
    for (; j->first == 0 || j->first < map.rows; j->first += SLAB) {
        j->depth = attn_i_min(map.rows - j->first, SLAB);
        attn_i_parallel(pool, panels, map.columns * j->depth, pack, j);
        attn_i_parallel(pool, pieces * j->groups, j->from.rows * map.columns * j->depth / VECTOR_ELEMENTS, multiply, j);
    }
}

void attn_i_project_onto(const attn_i_problem *p, const attn_i_projection *projection, attn_i_matrix from,
                         attn_i_matrix to, const void *row, int accumulate)
{
    job j = {.p = p, .projection = projection, .from = from, .to = to, .row = row, .accumulate = accumulate};
    if (!projection->own) {
        project_by_blas(&j);
    } else if (projection->packed == NULL) {
        project_few(&j);
    } else {
        project_packed(&j);
    }
}

void attn_i_project(const attn_i_problem *p, const attn_i_projection *projection, attn_i_matrix from, attn_i_matrix to)
{
    attn_i_project_onto(p, projection, from, to, NULL, 0);
}
