/* SPDX-License-Identifier: BSD-3-Clause
 *
 * position/rope.c: rotary positions (Su 2021, section 3.4). An item of work is a block of positions and some of the
 * heads that share them: cosines and sines are made once for all of these heads, in scratch of the thread that has the
 * item. */
#include "position/rope.h"

#include "call/scratch.h"
#include "handles/engine.h"
#include "handles/status.h"
#include "handles/structs.h"
#include "position/position.h"
#include "runtime/size.h"

#include <inttypes.h>
#include <string.h>

enum {
    TABLE = 1024,    /* pairs in an item's table: of several positions, or a part of one's */
    PADDING = 16,    /* what the kernels count angles by */
    LEAST_HEADS = 8, /* of an item: for fewer, its table is too dear */
    MANY_ITEMS = 32
};

static int64_t padded(int64_t pairs)
{
    return attn_i_divide_up(pairs, PADDING) * PADDING;
}

static int64_t position_of(const attn_i_rotation *r, int64_t sequence, int64_t t)
{
    const attn_i_view *p = &r->positions;
    if (p->data == NULL) return r->first + t;
    return attn_i_view_integer(p, p->data + (sequence * p->stride[2] + t * p->stride[3]) * p->size);
}

/* ------------------------------------------------------------------------------------------------ checking */

attn_status attn_i_rope_positions(const attn_tensor *tensor, const char *name, int64_t batch, int64_t length,
                                  int64_t first, int64_t end, attn_i_view *view)
{
    const int64_t all[4] = {1, 1, batch, length};
    attn_status status = attn_i_tensor_check_integers(tensor, name, 2, view);
    if (status == ATTN_OK) status = attn_i_view_broadcast(view, name, "[1, 1, B, T]", all);
    if (status != ATTN_OK) return status;
    const int64_t sequences = view->stride[2] == 0 ? attn_i_min(batch, 1) : batch;
    if (view->stride[3] == 0) end = attn_i_min(end, first + 1); /* those that may differ */
    for (int64_t b = 0; b < sequences && status == ATTN_OK; b++) {
        for (int64_t t = first; t < end && status == ATTN_OK; t++) {
            const int64_t position = attn_i_view_integer(view, attn_i_view_element(view, 0, 0, b, t));
            status = attn_i_position_check(name, position, position);
        }
    }
    return status;
}

static attn_status check_positions(attn_i_rotation *r, const attn_rope_options *options)
{
    const int64_t batch = r->from.shape[0], length = r->from.shape[2];
    if (options->positions == NULL) return attn_i_position_check_from(r->first, length);
    attn_status status =
        attn_i_rope_positions(options->positions, "positions", batch, length, 0, length, &r->positions);
    if (status != ATTN_OK || r->first == 0) return status;
    return attn_i_fail(ATTN_ERR_ARGUMENT, "first is %" PRId64 ", but there are positions", r->first);
}

static double base_of(const attn_rope_options *options)
{
    return options->base == 0 ? 10000 : options->base;
}

attn_status attn_i_rope_check(const attn_rope_options *options, int64_t most, const char *rows)
{
    const int64_t n = options->dimensions != 0 ? options->dimensions : most;
    if (options->layout == 0) {
        return attn_i_fail(
            ATTN_ERR_ARGUMENT,
            "layout is not set, but has no default: ATTN_ROPE_HALVES or ATTN_ROPE_INTERLEAVED is needed");
    }
    if (options->layout != ATTN_ROPE_INTERLEAVED && options->layout != ATTN_ROPE_HALVES) {
        return attn_i_fail(ATTN_ERR_ARGUMENT, "layout is %" PRId32 ", which is none", options->layout);
    }
    if (n < 0 || n > most || (n != most && n % 2 != 0)) {
        return attn_i_fail(ATTN_ERR_ARGUMENT,
                           "dimensions is %" PRId64 ", but an even number up to the %" PRId64 " of %s is needed",
                           options->dimensions, most, rows);
    }
    if (n % 2 != 0) {
        return attn_i_fail(ATTN_ERR_SHAPE, "%s has a last dimension of %" PRId64 ", but pairs are turned", rows, most);
    }
    if (options->inverse != 0 && options->inverse != 1) {
        return attn_i_fail(ATTN_ERR_ARGUMENT, "inverse is %" PRId32 ", but must be 0 or 1", options->inverse);
    }
    if (options->reserved != 0) return attn_i_fail(ATTN_ERR_ARGUMENT, "reserved is not 0");
    return attn_i_position_check_base(base_of(options));
}

void attn_i_rotation_options(attn_i_rotation *r, const attn_rope_options *options)
{
    r->layout = options->layout;
    r->pairs = (options->dimensions != 0 ? options->dimensions : r->from.shape[3]) / 2;
    r->sign = options->inverse ? -1 : 1;
    r->base = base_of(options);
}

static attn_status check_options(attn_i_rotation *r, const attn_rope_options *options)
{
    attn_status status = attn_i_rope_check(options, r->from.shape[3], "from");
    if (status != ATTN_OK) return status;
    attn_i_rotation_options(r, options);
    r->first = options->first;
    return check_positions(r, options);
}

static int same_view(const attn_i_view *a, const attn_i_view *b)
{
    return a->data == b->data && memcmp(a->stride, b->stride, sizeof a->stride) == 0;
}

static attn_status check_tensors(attn_i_rotation *r, const attn_tensor *from, const attn_tensor *to)
{
    attn_status status = attn_i_tensor_check_number(from, "from", 4, &r->from);
    if (status == ATTN_OK) status = attn_i_tensor_check_like(to, "to", 4, from->dtype, "from", &r->to);
    if (status == ATTN_OK) status = attn_i_view_has_shape(&r->to, "to", "[B, H, T, D]", r->from.shape);
    return status == ATTN_OK ? attn_i_view_is_output(&r->to, "to") : status;
}

static attn_status check_overlap(attn_i_rotation *r)
{
    const attn_i_named_view list[] = {{"", "to", &r->to}, {"", "positions", &r->positions}, {"", "from", &r->from}};
    r->in_place = same_view(&r->from, &r->to);
    return attn_i_views_apart(list, 1, r->in_place ? 2 : 3);
}

static attn_status check(const attn_engine *engine, const attn_rope_options *given, const attn_tensor *from,
                         const attn_tensor *to, attn_i_rotation *r)
{
    attn_rope_options options;
    if (engine == NULL) return attn_i_fail(ATTN_ERR_ARGUMENT, "engine is NULL");
    if (given == NULL) return attn_i_fail(ATTN_ERR_ARGUMENT, "options is NULL, but a layout is needed");
    attn_status status =
        attn_i_struct_read(&options, sizeof options, sizeof options, given, given->struct_size, "attn_rope_options");
    if (status == ATTN_OK) status = check_tensors(r, from, to);
    if (status == ATTN_OK) status = check_options(r, &options);
    if (status == ATTN_OK) status = check_overlap(r);
    if (status == ATTN_OK) r->storage = attn_i_storage_of(engine, from->dtype);
    return status;
}

/* ----------------------------------------------------------------------------------------------- computing */

/* How the work is cut: by shape alone. */
static void cut(attn_i_rotation *r)
{
    const int64_t batch = r->from.shape[0], heads = r->from.shape[1], length = r->from.shape[2];
    const int own = r->positions.data != NULL && r->positions.stride[2] != 0;
    r->sequences = own ? batch : 1;
    r->shared = own ? heads : batch * heads;
    r->width = attn_i_min(padded(r->pairs), TABLE);
    r->rows = attn_i_min(TABLE / r->width, length);
    r->blocks = attn_i_divide_up(length, r->rows);
    const int64_t groups = attn_i_clamp(MANY_ITEMS / (r->sequences * r->blocks), 1, r->shared);
    r->heads = attn_i_max(attn_i_divide_up(r->shared, groups), attn_i_min(r->shared, LEAST_HEADS));
    r->groups = attn_i_divide_up(r->shared, r->heads);
}

/* The row of head `head` of those that share a sequence's positions. */
static char *row_of(const attn_i_rotation *r, const attn_i_view *view, int64_t sequence, int64_t head, int64_t t)
{
    const int64_t heads = view->shape[1];
    const int64_t b = r->sequences > 1 ? sequence : head / heads, h = r->sequences > 1 ? head : head % heads;
    return attn_i_view_at(view, b, h) + t * view->stride[2] * view->size;
}

static int is_narrow(const attn_i_rotation *r)
{
    return attn_i_is_narrow(&r->storage, &r->from);
}

/* Some pairs of a row: of each one element is a step from the last pair's, the other `apart` behind it. */
static void turn_row(const attn_i_rotation *r, const char *from, char *to, const char *cosines, const char *sines,
                     int64_t first, int64_t count)
{
    const int64_t size = r->from.size, x = r->from.stride[3], y = r->to.stride[3];
    const int halves = r->layout == ATTN_ROPE_HALVES;
    const int64_t step = halves ? 1 : 2, apart = halves ? r->pairs : 1;
    r->storage.kernels->turn(count, cosines, sines, from + first * step * x * size, step * x, apart * x,
                             to + first * step * y * size, step * y, apart * y);
}

/* The same where numbers have 16 bits, by way of `turned`, where pairs lie as in a row that has no others. */
static void turn_narrow_row(const attn_i_rotation *r, const char *from, char *to, const char *cosines,
                            const char *sines, int64_t first, int64_t count, char *turned)
{
    const attn_i_storage *s = &r->storage;
    const int64_t size = r->from.size, x = r->from.stride[3], y = r->to.stride[3];
    const int halves = r->layout == ATTN_ROPE_HALVES;
    const int64_t runs = halves ? 2 : 1, n = halves ? count : 2 * count, step = halves ? 1 : 2;
    for (int64_t run = 0; run < runs; run++) {
        const int64_t at = first * step + run * r->pairs;
        attn_i_elements_load(s, size, n, from + at * x * size, x, turned + run * n * s->size);
    }
    s->kernels->turn(count, cosines, sines, turned, step, halves ? n : 1, turned, step, halves ? n : 1);
    for (int64_t run = 0; run < runs; run++) {
        const int64_t at = first * step + run * r->pairs;
        attn_i_elements_store(s, size, n, turned + run * n * s->size, to + at * y * size, y);
    }
}

/* What is not rotated. */
static void copy_rest(const attn_i_rotation *r, const char *from, char *to)
{
    const int64_t n = 2 * r->pairs, size = r->from.size, x = r->from.stride[3], y = r->to.stride[3];
    if (r->in_place || n == r->from.shape[3]) return;
    if (is_narrow(r)) {
        for (int64_t k = n; k < r->from.shape[3]; k++) memcpy(to + k * y * size, from + k * x * size, (size_t)size);
    } else {
        r->storage.kernels->move(r->from.shape[3] - n, from + n * x * size, x, to + n * y * size, y);
    }
}

static void run_item(void *data, int64_t item)
{
    const attn_i_rotation *r = data;
    const int64_t size = r->storage.size, group = item % r->groups, block = item / r->groups % r->blocks;
    const int64_t sequence = item / r->groups / r->blocks;
    const int64_t t = block * r->rows, rows = attn_i_min(r->from.shape[2] - t, r->rows);
    const int64_t head = group * r->heads, heads = attn_i_min(r->shared - head, r->heads);
    const int64_t slot = attn_i_slot_take(&r->slots), table = r->rows * r->width * size;
    char *cosines = r->tables + 2 * slot * table, *sines = cosines + table;
    char *turned = attn_i_moved(r->turned, slot * 2 * r->width * size);
    for (int64_t first = 0; first < r->pairs; first += r->width) {
        const int64_t count = attn_i_min(r->pairs - first, r->width);
        for (int64_t i = 0; i < rows; i++) {
            const int64_t at = i * r->width * size;
            r->storage.kernels->angles(padded(count), r->sign * (double)position_of(r, sequence, t + i),
                                       r->frequencies + first, cosines + at, sines + at);
        }
        for (int64_t h = head; h < head + heads; h++) {
            for (int64_t i = 0; i < rows; i++) {
                const char *from = row_of(r, &r->from, sequence, h, t + i);
                char *to = row_of(r, &r->to, sequence, h, t + i);
                const char *c = cosines + i * r->width * size, *s = sines + i * r->width * size;
                if (turned == NULL) turn_row(r, from, to, c, s, first, count);
                if (turned != NULL) turn_narrow_row(r, from, to, c, s, first, count, turned);
                if (first == 0) copy_rest(r, from, to);
            }
        }
    }
    attn_i_slot_release(&r->slots, slot);
}

static int64_t item_count(const attn_i_rotation *r)
{
    return r->sequences * r->blocks * r->groups;
}

void attn_i_rotation_layout(attn_i_rotation *r, attn_i_arena *arena)
{
    cut(r);
    const int64_t slots = attn_i_clamp(item_count(r), 1, r->engine->threads);
    r->frequencies = attn_i_carve(arena, padded(r->pairs), sizeof *r->frequencies);
    r->slots = attn_i_slots_layout(arena, slots);
    r->tables = attn_i_carve_matrix(arena, 2 * slots, r->rows * r->width, r->storage.size);
    r->turned = NULL;
    if (is_narrow(r)) r->turned = attn_i_carve_matrix(arena, slots, 2 * r->width, r->storage.size);
}

void attn_i_rotation_run(attn_i_rotation *r)
{
    for (int64_t i = 0; i < padded(r->pairs); i++) {
        r->frequencies[i] = i < r->pairs ? attn_i_frequency(r->base, i, 2 * r->pairs) : 0;
    }
    const int64_t *n = r->from.shape;
    attn_i_parallel(r->engine->pool, item_count(r), n[0] * n[1] * n[2] * n[3] / 2, run_item, r);
}

static void run(void *data, void *scratch)
{
    attn_i_rotation *r = data;
    attn_i_arena arena = {.base = scratch};
    attn_i_rotation_layout(r, &arena);
    attn_i_rotation_run(r);
}

static attn_status rotate(attn_engine *engine, const attn_rope_options *options, const attn_tensor *from,
                          const attn_tensor *to)
{
    attn_i_rotation r = {.engine = engine};
    attn_i_arena arena = {.base = NULL};
    attn_i_call call = {.engine = engine, .run = run, .data = &r};
    attn_status status = check(engine, options, from, to, &r);
    if (status != ATTN_OK || attn_i_view_is_empty(&r.to)) return status;
    attn_i_rotation_layout(&r, &arena);
    status = attn_i_scratch_measured(&arena, &call.scratch);
    return status == ATTN_OK ? attn_i_call_run(&call) : status;
}

attn_status attn_rope(attn_engine *engine, const attn_rope_options *options, const attn_tensor *from,
                      const attn_tensor *to)
{
    attn_status status = rotate(engine, options, from, to);
    return status == ATTN_OK ? ATTN_OK : attn_i_fail_in("attn_rope", status);
}
