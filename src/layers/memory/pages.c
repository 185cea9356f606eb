/* SPDX-License-Identifier: BSD-3-Clause
 *
 * layers/memory/pages.c: rows written into pages of the caller's, each to the slot that it is given. Slots are looked
 * up in a table of those before, so that none is written twice; an item of work is a block of rows, of all heads. */
#include "call/scratch.h"
#include "handles/lengths.h"
#include "handles/status.h"
#include "handles/structs.h"
#include "layers/memory/keep.h"
#include "runtime/parallel.h"
#include "runtime/size.h"

#include <inttypes.h>
#include <string.h>

enum { ITEM_ELEMENTS = 8192 }; /* unless one row has more */

/* Keys, or values; without data there are none. */
typedef struct stream {
    const char *name, *pages_name, *scales_name, *layout, *pages_layout;
    attn_i_view rows, pages; /* [1, Hk, n, D]; [N, Hk, page, D] */
    attn_i_view scales;      /* [N, Hk, page, 1] */
} stream;

/* One call. */
typedef struct append {
    attn_engine *engine;
    attn_pages_append_args args;
    attn_i_view slots;
    stream streams[2];
    int64_t count, heads, pages, page; /* rows that are given, heads of each, pages and the rows of one */
    int64_t block;                     /* rows of an item */
    int64_t *table;                    /* which row has a slot, by what it hashes to; -1: none yet */
    int64_t places;                    /* of the table, two to the `bits` */
    int bits;
    attn_status status; /* ATTN_ERR_ARGUMENT: a slot is there twice */
} append;

/* ------------------------------------------------------------------------------------------------ checking */

/* Keys without pages, or pages without keys. */
static attn_status check_given(const stream *s, const attn_tensor *rows, const attn_tensor *pages,
                               const attn_tensor *scales)
{
    if (rows == NULL && (pages != NULL || scales != NULL)) {
        return attn_i_fail(ATTN_ERR_ARGUMENT, "there is %s, but no %s", pages != NULL ? s->pages_name : s->scales_name,
                           s->name);
    }
    if (rows != NULL && pages == NULL) return attn_i_fail(ATTN_ERR_ARGUMENT, "%s is NULL", s->pages_name);
    return ATTN_OK;
}

static attn_status check_types(const stream *s, const attn_tensor *scales)
{
    const int has_integers = s->pages.dtype == ATTN_I8;
    if (!has_integers && attn_i_dtype_computed(s->pages.dtype) == 0) {
        return attn_i_fail(ATTN_ERR_DTYPE, "%s is %s, but ATTN_F32, _F64, _F16, _BF16 or _I8 can be kept",
                           s->pages_name, attn_i_dtype_name(s->pages.dtype));
    }
    if (has_integers && s->rows.dtype == ATTN_F64) {
        return attn_i_fail(ATTN_ERR_DTYPE,
                           "%s is ATTN_F64, but %s is ATTN_I8, which is made of ATTN_F32, _F16 or _BF16", s->name,
                           s->pages_name);
    }
    if (has_integers == (scales != NULL)) return ATTN_OK;
    if (has_integers) {
        return attn_i_fail(ATTN_ERR_ARGUMENT, "%s is ATTN_I8, but %s is NULL", s->pages_name, s->scales_name);
    }
    return attn_i_fail(ATTN_ERR_ARGUMENT, "there is %s, but %s is %s, not ATTN_I8", s->scales_name, s->pages_name,
                       attn_i_dtype_name(s->pages.dtype));
}

/* Its dimensions become those of the pages. */
static attn_status check_scales(stream *s, const attn_tensor *scales)
{
    attn_i_view *view = &s->scales;
    const int64_t *n = s->pages.shape, shape[4] = {1, n[0], n[1], n[2]};
    attn_status status = attn_i_real_output((attn_i_reals){ATTN_F32, "what integers are multiplied by"}, scales,
                                            s->scales_name, "[N, Hk, page]", shape, view);
    if (status != ATTN_OK || scales == NULL) return status;
    for (int d = 0; d < 4; d++) {
        view->shape[d] = d < 3 ? view->shape[d + 1] : 1;
        view->stride[d] = d < 3 ? view->stride[d + 1] : 0;
    }
    return ATTN_OK;
}

static attn_status check_stream(stream *s, const attn_tensor *rows, const attn_tensor *pages, const attn_tensor *scales)
{
    attn_status status = check_given(s, rows, pages, scales);
    if (status != ATTN_OK || rows == NULL) return status;
    status = attn_i_tensor_check_number(rows, s->name, 4, &s->rows);
    if (status == ATTN_OK) status = attn_i_tensor_check(pages, s->pages_name, 4, &s->pages);
    if (status == ATTN_OK && s->pages.shape[2] == 0) {
        status = attn_i_fail(ATTN_ERR_SHAPE, "%s has pages of 0 positions", s->pages_name);
    }
    if (status == ATTN_OK) status = check_types(s, scales);
    return status == ATTN_OK ? check_scales(s, scales) : status;
}

static const stream *first_stream(const append *a)
{
    return &a->streams[a->streams[0].rows.data == NULL];
}

/* Keys and values go together, and there are as many as slots. */
static attn_status check_shapes(append *a)
{
    const stream *first = first_stream(a);
    a->pages = first->pages.shape[0];
    a->heads = first->pages.shape[1];
    a->page = first->pages.shape[2];
    for (int i = 0; i < 2; i++) {
        const stream *s = &a->streams[i];
        const int64_t width = s->pages.shape[3];
        const int64_t rows[4] = {1, a->heads, a->count, width}, pages[4] = {a->pages, a->heads, a->page, width};
        if (s->rows.data == NULL) continue;
        attn_status status = attn_i_view_has_shape(&s->pages, s->pages_name, s->pages_layout, pages);
        if (status == ATTN_OK) status = attn_i_view_has_shape(&s->rows, s->name, s->layout, rows);
        if (status != ATTN_OK) return status;
        if (s->rows.dtype == first->rows.dtype) continue;
        return attn_i_fail(ATTN_ERR_DTYPE, "%s is %s, but %s is %s", s->name, attn_i_dtype_name(s->rows.dtype),
                           first->name, attn_i_dtype_name(first->rows.dtype));
    }
    return ATTN_OK;
}

/* Where a page begins and how far it reaches, in bytes; and how far it is to the next one. */
typedef struct reach {
    uintptr_t first;
    int64_t length, step;
} reach;

static reach reach_of(const attn_i_view *view)
{
    reach r = {(uintptr_t)view->data, view->size, view->stride[0] * view->size};
    if (r.step < 0) r.step = -r.step;
    for (int d = 1; d < 4; d++) {
        const int64_t bytes = (view->shape[d] - 1) * view->stride[d] * view->size;
        if (bytes < 0) r.first += (uintptr_t)bytes;
        r.length += bytes < 0 ? -bytes : bytes;
    }
    return r;
}

/* 1 if the pages of two outputs lie apart in what is a page of both, over and over. */
static int take_turns(const attn_i_view *a, const attn_i_view *b)
{
    const reach x = reach_of(a), y = reach_of(b);
    if (x.step == 0 || x.step != y.step) return 0;
    int64_t apart = (int64_t)(y.first - x.first) % x.step;
    if (apart < 0) apart += x.step;
    return x.length <= apart && y.length <= x.step - apart;
}

static attn_status check_overlap(const append *a)
{
    attn_i_named_view list[7];
    int count = 0;
    for (int i = 0; i < 2; i++) {
        const stream *s = &a->streams[i];
        const attn_status status = attn_i_view_is_output(&s->pages, s->pages_name);
        if (status != ATTN_OK) return status;
        count = attn_i_list_add(list, count, "", s->pages_name, &s->pages);
        count = attn_i_list_add(list, count, "", s->scales_name, &s->scales);
    }
    const int outputs = count;
    count = attn_i_list_add(list, count, "", "slots", &a->slots);
    for (int i = 0; i < 2; i++) count = attn_i_list_add(list, count, "", a->streams[i].name, &a->streams[i].rows);
    for (int i = 0; i < outputs; i++) {
        for (int j = i + 1; j < count; j++) {
            if (j < outputs && take_turns(list[i].view, list[j].view)) continue;
            const attn_i_named_view pair[2] = {list[i], list[j]};
            const attn_status status = attn_i_views_apart(pair, 1, 2);
            if (status != ATTN_OK) return status;
        }
    }
    return ATTN_OK;
}

static attn_status check(append *a, const attn_pages_append_args *given)
{
    attn_pages_append_args *args = &a->args;
    stream *key = &a->streams[0], *value = &a->streams[1];
    if (a->engine == NULL || given == NULL) {
        return attn_i_fail(ATTN_ERR_ARGUMENT, "%s is NULL", a->engine == NULL ? "engine" : "args");
    }
    attn_status status =
        attn_i_struct_read(args, sizeof *args, sizeof *args, given, given->struct_size, "attn_pages_append_args");
    if (status != ATTN_OK) return status;
    if (args->reserved != 0) return attn_i_fail(ATTN_ERR_ARGUMENT, "reserved is not 0");
    if (args->key == NULL && args->value == NULL) {
        return attn_i_fail(ATTN_ERR_ARGUMENT, "key is NULL, and so is value");
    }
    status = check_stream(key, args->key, args->key_pages, args->key_scales);
    if (status == ATTN_OK) status = check_stream(value, args->value, args->value_pages, args->value_scales);
    if (status != ATTN_OK) return status;
    status = attn_i_tensor_check(args->slots, "slots", 1, &a->slots);
    if (status != ATTN_OK) return status;
    a->count = a->slots.shape[3];
    status = check_shapes(a);
    if (status != ATTN_OK) return status;
    const int64_t places = attn_i_multiply_most(a->pages, a->page);
    status = attn_i_integers_check_from(args->slots, "slots", -1, places - 1, &a->slots);
    return status == ATTN_OK ? check_overlap(a) : status;
}

/* ----------------------------------------------------------------------------------------------- slots */

/* At least twice as many places as rows, and less than four times. */
static void lay_out(append *a, attn_i_arena *arena)
{
    a->bits = 1;
    while (a->bits < 62 && (INT64_C(1) << a->bits) / 2 < a->count) a->bits++;
    a->places = INT64_C(1) << a->bits;
    a->table = attn_i_carve(arena, a->places, sizeof *a->table);
}

/* Neighbours, and multiples of anything, are strewn (Knuth 1973, section 6.4). */
static int64_t place_of(const append *a, int64_t slot)
{
    return (int64_t)((uint64_t)slot * UINT64_C(0x9E3779B97F4A7C15) >> (64 - a->bits));
}

static attn_status find_twice(const append *a)
{
    memset(a->table, 0xFF, (size_t)a->places * sizeof *a->table);
    for (int64_t i = 0; i < a->count; i++) {
        const int64_t slot = attn_i_integer(&a->slots, i);
        if (slot < 0) continue;
        int64_t at = place_of(a, slot);
        for (; a->table[at] >= 0; at = (at + 1) % a->places) {
            if (attn_i_integer(&a->slots, a->table[at]) != slot) continue;
            return attn_i_fail(ATTN_ERR_ARGUMENT, "slots[%" PRId64 "] is %" PRId64 ", as slots[%" PRId64 "] is", i,
                               slot, a->table[at]);
        }
        a->table[at] = i;
    }
    return ATTN_OK;
}

/* --------------------------------------------------------------------------------------------- writing */

static void write_row(const append *a, const stream *s, int64_t i, int64_t slot)
{
    const int64_t page = slot / a->page, at = slot % a->page;
    for (int64_t h = 0; h < a->heads; h++) {
        const attn_i_given_row from = {s->rows.dtype, attn_i_view_element(&s->rows, 0, h, i, 0), s->rows.stride[3]};
        attn_i_kept_row to = {s->pages.dtype, attn_i_view_element(&s->pages, page, h, at, 0), s->pages.stride[3], NULL};
        if (s->scales.data != NULL) to.scale = (float *)(void *)attn_i_view_element(&s->scales, page, h, at, 0);
        attn_i_row_keep(a->engine, from, s->rows.shape[3], to);
    }
}

static void write_block(void *data, int64_t item)
{
    const append *a = data;
    const int64_t first = item * a->block, end = first + attn_i_min(a->block, a->count - first);
    for (int64_t i = first; i < end; i++) {
        const int64_t slot = attn_i_integer(&a->slots, i);
        for (int k = 0; k < 2 && slot >= 0; k++) {
            if (!attn_i_view_is_empty(&a->streams[k].pages)) write_row(a, &a->streams[k], i, slot);
        }
    }
}

static void run(void *data, void *scratch)
{
    append *a = data;
    attn_i_arena arena = {.base = scratch};
    lay_out(a, &arena);
    a->status = find_twice(a);
    if (a->status != ATTN_OK) return;
    const int64_t widths = attn_i_add_most(a->streams[0].rows.shape[3], a->streams[1].rows.shape[3]);
    const int64_t row = attn_i_max(attn_i_multiply_most(a->heads, widths), 1); /* elements */
    a->block = attn_i_clamp(ITEM_ELEMENTS / row, 1, a->count);
    attn_i_parallel(a->engine->pool, attn_i_divide_up(a->count, a->block), attn_i_multiply_most(a->count, row),
                    write_block, a);
}

static attn_status append_to(attn_engine *engine, const attn_pages_append_args *args)
{
    append a = {.engine = engine,
                .streams = {{.name = "key",
                             .pages_name = "key_pages",
                             .scales_name = "key_scales",
                             .layout = "[1, Hk, n, Dk]",
                             .pages_layout = "[N, Hk, page, Dk]"},
                            {.name = "value",
                             .pages_name = "value_pages",
                             .scales_name = "value_scales",
                             .layout = "[1, Hk, n, Dv]",
                             .pages_layout = "[N, Hk, page, Dv]"}}};
    attn_i_arena arena = {.base = NULL};
    attn_i_call call = {.engine = engine, .run = run, .data = &a};
    attn_status status = check(&a, args);
    if (status != ATTN_OK || a.count == 0) return status;
    if (a.slots.stride[3] == 0) a.count = attn_i_min(a.count, 2); /* of one slot for all two rows tell */
    lay_out(&a, &arena);
    status = attn_i_scratch_measured(&arena, &call.scratch);
    if (status == ATTN_OK) status = attn_i_call_run(&call);
    return status == ATTN_OK ? a.status : status;
}

attn_status attn_pages_append(attn_engine *engine, const attn_pages_append_args *args)
{
    attn_status status = append_to(engine, args);
    return status == ATTN_OK ? ATTN_OK : attn_i_fail_in("attn_pages_append", status);
}
