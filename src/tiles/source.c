/* SPDX-License-Identifier: BSD-3-Clause
 *
 * tiles/source.c: the rows of queries, keys and values as passes read them. */
#include "tiles/source.h"

#include "runtime/blas.h"
#include "runtime/size.h"

static attn_i_matrix key_rows(const attn_i_problem *p, const attn_i_score_state *state, int64_t head)
{
    (void)state;
    return attn_i_view_matrix(&p->key, attn_i_quotient(head, p->key_heads), attn_i_remainder(head, p->key_heads));
}

static attn_i_matrix value_rows(const attn_i_problem *p, const attn_i_score_state *state, int64_t head)
{
    (void)state;
    return attn_i_view_matrix(&p->value, attn_i_quotient(head, p->key_heads), attn_i_remainder(head, p->key_heads));
}

/* Values that nobody wants: no rows, somewhere. */
static attn_i_matrix no_rows(const attn_i_problem *p, const attn_i_score_state *state, int64_t head)
{
    static char nowhere;
    (void)p, (void)state, (void)head;
    return attn_i_matrix_dense(&nowhere, 0, 0);
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
    return (attn_i_matrix){
        attn_i_view_at(q, attn_i_quotient(head, p->key_heads), attn_i_remainder(head, p->key_heads) * p->group),
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
    char *head_data = attn_i_view_at(q, attn_i_quotient(head, p->key_heads),
                                     attn_i_remainder(head, p->key_heads) * p->group + x % p->group);
    return (attn_i_matrix){head_data + x / p->group * q->stride[2] * q->size, 1, p->query_dim, 0, q->stride[3]};
}

/* A source of rows of a type that lie `matrix` (of any head) far apart. The score function takes rows of float32 that
 * the BLAS takes and that are contiguous. It is made where it is to be: a copy would wait for what was just written. */
static void make_source(attn_i_source *s, const attn_i_problem *p, attn_i_matrix matrix, attn_dtype dtype, int even,
                        int64_t width)
{
    static const attn_i_view none = {.data = NULL};
    s->rows_of = NULL;
    s->prepares = NULL;
    s->converts = NULL;
    s->rows = matrix.rows;
    s->from_width = matrix.columns;
    s->width = s->prepared_width = width > 0 ? width : matrix.columns;
    s->copied = width > 0 || matrix.column_stride != 1;
    s->gathered = width > 0 && (!even || (matrix.column_stride != 1 && matrix.columns > 1) || dtype != ATTN_F32 ||
                                !attn_i_blas_takes(matrix));
    s->raw = s->copy = NULL;
    s->type = attn_i_engine_stored_kernels(p->engine, dtype);
    s->scales = &none;
    s->paged = NULL;
}

/* That of keys as the caller, or a memory, has them. */
static void make_keys(attn_i_source *s, const attn_i_problem *p, const attn_i_score_state *state, int64_t width)
{
    make_source(s, p, key_rows(p, state, 0), p->key.dtype, 1, width);
    s->rows_of = key_rows;
    s->scales = &p->key_scales;
    if (p->pages.table.data != NULL) s->paged = &p->key;
    s->gathered |= width > 0 && s->paged != NULL;
}

void attn_i_sources_find(attn_i_sources *sources, int converted)
{
    const attn_i_problem *p = sources->p;
    const attn_i_score *score = attn_i_score_of(p);
    const attn_i_score_state *state = &sources->state;
    attn_i_source *query = &sources->query, *key = &sources->key, *value = &sources->value;
    const int even = query_rows_are_even(p);
    make_source(query, p, query_rows(p, state, 0), p->query.dtype, even, score->query_width(p));
    query->rows_of = even ? query_rows : NULL;
    query->prepares = score->query_width(p) > 0 ? score->prepare_queries : NULL;
    /* Uneven rows are read one by one where they lie, unless they are prepared. */
    if (score->rule.reads_keys) {
        make_keys(key, p, state, score->key_width(p));
    } else {
        make_source(key, p, map_rows(p, state, 0), ATTN_F32, 1, score->key_width(p));
        key->rows_of = map_rows;
    }
    key->prepares = score->key_width(p) > 0 ? score->prepare_keys : NULL;
    if (p->ready != ATTN_I_RAW) { /* they are read where the memory has them */
        make_keys(key, p, state, 0);
        key->copied |= converted && key->paged != NULL; /* tiles would copy rows as wide as raw ones */
    } else if (score->lanes != NULL && converted) {
        key->copied = 1;
        key->width = score->lanes->key_elements(p);
        key->converts = score->lanes->convert_key;
    }
    if (p->context.data == NULL) {
        make_source(value, p, no_rows(p, state, 0), ATTN_F32, 1, 0);
        value->rows_of = no_rows;
    } else {
        make_source(value, p, value_rows(p, state, 0), p->value.dtype, 1, 0);
        value->rows_of = value_rows;
        value->scales = &p->value_scales;
        if (p->pages.table.data != NULL) value->paged = &p->value;
    }
}

void attn_i_sources_widen(attn_i_sources *sources, const attn_i_tile_arithmetic *arithmetic)
{
    attn_i_source *both[] = {&sources->key, &sources->value};
    for (int i = 0; i < 2; i++) {
        const attn_i_stored_kernels *type = both[i]->type;
        both[i]->copied |= !attn_i_is_float32(type) && type->size != arithmetic->size;
        both[i]->copied |= both[i]->paged != NULL && attn_i_is_float32(type);
    }
}

static void lay_out(attn_i_source *s, int64_t heads, attn_i_arena *arena)
{
    int64_t rows;
    if (!s->copied) return;
    if (!attn_i_multiply(heads, s->rows, &rows)) arena->overflow = 1;
    if (arena->overflow) return;
    s->copy = attn_i_carve_matrix(arena, rows, s->width, (int64_t)sizeof(float));
    if (s->gathered) s->raw = attn_i_carve_matrix(arena, rows, s->from_width, (int64_t)sizeof(float));
}

/* And its pages, if it has any. */
static void find_scales(const attn_i_sources *sources, const attn_i_source *s, int64_t head, attn_i_kept *kept)
{
    const attn_i_view *scales = s->scales;
    kept->scales = NULL;
    kept->pages = s->paged != NULL ? &sources->p->pages : NULL;
    if (s->paged != NULL) {
        kept->page_stride = s->paged->stride[0];
        kept->scale_page_stride = scales->stride[1];
    }
    if (scales->data == NULL) return;
    const int64_t b = head / sources->p->key_heads, h = head % sources->p->key_heads;
    kept->scales = (const float *)(const void *)attn_i_view_element(scales, 0, b, h, 0);
    kept->scale_stride = scales->stride[3];
}

/* The rows of a key head, one by one, to rows `width` apart. */
static void gather(const attn_i_sources *sources, const attn_i_source *s, int64_t head, float *to, int64_t width)
{
    attn_i_matrix from = {0};
    if (s->rows_of != NULL) from = s->rows_of(sources->p, &sources->state, head);
    attn_i_kept kept = {.data = from.data, .stride = from.row_stride};
    find_scales(sources, s, head, &kept);
    for (int64_t x = 0; x < s->rows; x++) {
        attn_i_matrix row =
            s->rows_of != NULL ? attn_i_matrix_rows(from, x, 1, s->type->size) : query_row(sources->p, head, x);
        if (kept.pages != NULL) row.data = from.data + attn_i_kept_place(&kept, x) * s->type->size;
        s->type->load(row.columns, row.data, row.column_stride, to + x * width);
        if (kept.scales == NULL) continue;
        const float scale = kept.scales[attn_i_kept_scale_place(&kept, x)];
        for (int64_t d = 0; d < row.columns; d++) to[x * width + d] *= scale;
    }
}

/* The rows of the chunk's key head i, and of as many after it as lie in memory like one matrix. */
static attn_i_matrix joined_rows(const attn_i_sources *sources, const attn_i_source *s, int64_t i, int64_t *count)
{
    const int64_t size = sources->p->size, first = sources->first_head + i;
    attn_i_matrix joined = s->rows_of(sources->p, &sources->state, first), one = joined;
    *count = 1;
    if (i + 1 == sources->chunk_heads) return one;
    const int64_t step = s->rows_of(sources->p, &sources->state, first + 1).data - one.data;
    if (s->rows == 1) joined.row_stride = step / size;
    if (step != s->rows * joined.row_stride * size || joined.row_stride < joined.columns) return one;
    while (i + *count < sources->chunk_heads &&
           s->rows_of(sources->p, &sources->state, first + *count).data == one.data + *count * step) {
        ++*count;
    }
    joined.rows = *count * s->rows;
    if (attn_i_blas_takes(joined)) return joined;
    *count = 1;
    return one;
}

/* Rows that the score function prepares, by as few products as can be. */
static void prepare_rows(const attn_i_sources *sources, const attn_i_source *s)
{
    for (int64_t i = 0; i < sources->chunk_heads && s->gathered; i++) {
        gather(sources, s, sources->first_head + i, s->raw + i * s->rows * s->from_width, s->from_width);
    }
    for (int64_t i = 0, count; i < sources->chunk_heads; i += count) {
        attn_i_matrix from;
        if (s->gathered) {
            count = sources->chunk_heads;
            from = attn_i_matrix_dense(s->raw, count * s->rows, s->from_width);
        } else {
            from = joined_rows(sources, s, i, &count);
        }
        const attn_i_matrix to = {(char *)(s->copy + i * s->rows * s->width), from.rows, s->prepared_width, s->width,
                                  1};
        s->prepares(sources->p, &sources->state, from, to);
    }
}

typedef struct copy_job {
    const attn_i_sources *sources;
    const attn_i_source *s;
} copy_job;

/* Copies and converts the rows of one key head. */
static void copy_rows(void *data, int64_t i)
{
    const copy_job *job = data;
    const attn_i_source *s = job->s;
    float *to = s->copy + i * s->rows * s->width;
    attn_i_rows from = {to, s->width};
    if (s->prepares == NULL) {
        attn_i_matrix rows = {0};
        if (s->converts != NULL) rows = s->rows_of(job->sources->p, &job->sources->state, job->sources->first_head + i);
        if (rows.column_stride == 1 && attn_i_is_float32(s->type) && s->paged == NULL) {
            from = (attn_i_rows){(const float *)(const void *)rows.data, rows.row_stride};
        } else {
            gather(job->sources, s, job->sources->first_head + i, to, s->width);
        }
    }
    for (int64_t x = 0; x < s->rows && s->converts != NULL; x++) {
        s->converts(job->sources->p, from.data + x * from.stride, to + x * s->width);
    }
}

static void prepare(const attn_i_sources *sources, const attn_i_source *s)
{
    if (!s->copied || s->rows == 0) return;
    if (s->prepares != NULL) prepare_rows(sources, s);
    if (s->prepares != NULL && s->converts == NULL) return;
    copy_job job = {sources, s};
    attn_i_parallel(sources->p->engine->pool, sources->chunk_heads, sources->chunk_heads * s->rows * s->width,
                    copy_rows, &job);
}

void attn_i_sources_layout(attn_i_sources *sources, int64_t heads, attn_i_arena *arena)
{
    lay_out(&sources->query, heads, arena);
    lay_out(&sources->key, heads, arena);
    lay_out(&sources->value, heads, arena);
}

static int64_t copied(const attn_i_source *s)
{
    return s->copied ? attn_i_multiply_most(s->rows, attn_i_add_most(s->width, s->gathered ? s->from_width : 0)) : 0;
}

int64_t attn_i_sources_copied(const attn_i_sources *sources)
{
    return attn_i_add_most(attn_i_add_most(copied(&sources->query), copied(&sources->key)), copied(&sources->value));
}

void attn_i_sources_prepare(attn_i_sources *sources, int64_t first_head, int64_t heads)
{
    sources->first_head = first_head;
    sources->chunk_heads = heads;
    prepare(sources, &sources->query);
    prepare(sources, &sources->key);
    prepare(sources, &sources->value);
}

attn_i_rows attn_i_source_queries(const attn_i_sources *sources, int64_t i)
{
    const attn_i_source *s = &sources->query;
    if (s->copied) return (attn_i_rows){s->copy + i * s->rows * s->width, s->width};
    if (s->rows_of == NULL || !attn_i_is_float32(s->type)) return (attn_i_rows){NULL, 0};
    const attn_i_matrix m = s->rows_of(sources->p, &sources->state, sources->first_head + i);
    return (attn_i_rows){(const float *)(const void *)m.data, m.row_stride};
}

void attn_i_source_kept(const attn_i_sources *sources, const attn_i_source *s, int64_t i, attn_i_kept *kept)
{
    const int64_t head = sources->first_head + i;
    kept->order.block = 0;
    if (s->copied) {
        kept->scales = NULL;
        kept->pages = NULL;
        kept->data = (const char *)(s->copy + i * s->rows * s->width);
        kept->stride = s->width;
        kept->type = attn_i_engine_stored_kernels(sources->p->engine, ATTN_F32);
        return;
    }
    const attn_i_matrix m = s->rows_of(sources->p, &sources->state, head);
    kept->data = m.data;
    kept->stride = m.row_stride;
    kept->type = s->type;
    find_scales(sources, s, head, kept);
}
