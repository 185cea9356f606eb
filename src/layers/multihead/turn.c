/* SPDX-License-Identifier: BSD-3-Clause
 *
 * layers/multihead/turn.c: where the queries and keys of a layer stand, and their turning there. */
#include "handles/memory.h"
#include "handles/status.h"
#include "layers/multihead/call.h"
#include "position/position.h"
#include "position/rope.h"

#include <inttypes.h>

/* ------------------------------------------------------------------------------------------- positions */

static attn_status check_given(attn_i_multihead_extent *e, const attn_tensor *tensor, const char *name)
{
    const int64_t end = e->offsets.data != NULL ? e->first + e->count : e->length;
    return attn_i_rope_positions(tensor, name, e->batch, e->length, e->first, end, &e->positions);
}

/* Counted from attention->query_start. */
static attn_status check_counted(const attn_i_multihead_call *c)
{
    const int64_t start = c->attention.query_start;
    if (start <= ATTN_I_MOST_POSITIONS && start >= -ATTN_I_MOST_POSITIONS) {
        return attn_i_position_check_from(start, c->extent[ATTN_I_QUERY].length);
    }
    return attn_i_position_check("attention->query_start", start, start);
}

attn_status attn_i_multihead_check_positions(attn_i_multihead_call *c)
{
    const attn_tensor *given = c->args.positions, *keys = c->args.key_positions;
    const int self = c->source[ATTN_I_KEY] == ATTN_I_QUERY;
    if ((given != NULL || keys != NULL) && !c->m->turns) {
        return attn_i_fail(ATTN_ERR_ARGUMENT, "there are %s, but the layer was made without rope",
                           given != NULL ? "positions" : "key_positions");
    }
    if (keys != NULL && self) {
        return attn_i_fail(ATTN_ERR_ARGUMENT, "there are key_positions, but key is NULL: positions are the keys', too");
    }
    attn_status status = ATTN_OK;
    if (given != NULL) status = check_given(&c->extent[ATTN_I_QUERY], given, "positions");
    if (given == NULL && c->m->turns && (!self || c->args.attend_only)) status = check_counted(c);
    if (status == ATTN_OK && keys != NULL) status = check_given(&c->extent[ATTN_I_KEY], keys, "key_positions");
    if (self) c->extent[ATTN_I_KEY].positions = c->extent[ATTN_I_QUERY].positions;
    return status;
}

/* The position of the first row of sequence b, where they are counted: at a run its memory is as long as it will be. */
static int64_t begin_of(const attn_i_multihead_call *c, int part, int64_t b)
{
    const int self = c->source[ATTN_I_KEY] == ATTN_I_QUERY && !c->args.attend_only;
    if (part == ATTN_I_QUERY && !self) return c->attention.query_start;
    return c->memory == NULL ? 0 : c->memory->lengths[b] - attn_i_growth_rows(&c->growth, b);
}

/* Those of all rows of a part that sequences have. */
static void fill_positions(const attn_i_multihead_call *c, int part, int64_t *positions)
{
    const attn_i_multihead_extent *e = &c->extent[part];
    const attn_i_view *given = &e->positions;
    const attn_i_growth rows = {.offsets = e->offsets, .each = e->length};
    for (int64_t b = 0; b < c->batch; b++) {
        const int64_t first = attn_i_growth_first(&rows, b), batch = attn_i_growth_batch(&rows, b);
        const int64_t count = attn_i_growth_rows(&rows, b), begin = begin_of(c, part, b);
        for (int64_t i = 0; i < count; i++) {
            *positions++ = given->data == NULL
                               ? begin + i
                               : attn_i_view_integer(given, attn_i_view_element(given, 0, 0, batch, first + i));
        }
    }
}

/* --------------------------------------------------------------------------------------------- turning */

/* [1, heads, rows, head_dim]. */
static attn_i_view view_of(const attn_i_multihead_call *c, attn_i_matrix rows, int64_t heads)
{
    const int64_t dim = c->m->head_dim[ATTN_I_QUERY];
    return (attn_i_view){.data = rows.data,
                         .shape = {1, heads, rows.rows, dim},
                         .stride = {0, dim, rows.row_stride, 1},
                         .dtype = c->dtype,
                         .size = c->size};
}

static void turn(const attn_i_multihead_call *c, attn_i_multihead_scratch *scratch, int part, attn_i_matrix rows,
                 int64_t heads, int back)
{
    attn_i_arena stage = attn_i_multihead_begin(scratch);
    attn_i_rotation r = {.engine = c->m->engine, .storage = attn_i_storage_of(c->m->engine, c->dtype), .in_place = 1};
    if (rows.rows == 0) return;
    r.from = r.to = view_of(c, rows, heads);
    attn_i_rotation_options(&r, &c->m->rope);
    if (back) r.sign = -r.sign;
    int64_t *positions = attn_i_carve(&stage, rows.rows, sizeof *positions);
    attn_i_rotation_layout(&r, &stage);
    attn_i_multihead_end(scratch, &stage);
    if (stage.base == NULL) return;
    fill_positions(c, part, positions);
    r.positions = (attn_i_view){.data = (char *)positions,
                                .shape = {1, 1, 1, rows.rows},
                                .stride = {0, 0, 0, 1},
                                .dtype = ATTN_I64,
                                .size = (int64_t)sizeof *positions};
    attn_i_rotation_run(&r);
}

void attn_i_multihead_turn(const attn_i_multihead_call *c, attn_i_multihead_scratch *scratch,
                           const attn_i_multihead_rows *rows, int queries, int keys, int back)
{
    const attn_i_matrix q = attn_i_multihead_used(c, ATTN_I_QUERY, rows->part[ATTN_I_QUERY]);
    const attn_i_matrix k = attn_i_multihead_used(c, ATTN_I_KEY, rows->part[ATTN_I_KEY]);
    const int64_t query_heads = c->m->query_heads, key_heads = c->m->key_heads;
    if (!c->m->turns) return;
    const int together = queries && keys && c->source[ATTN_I_KEY] == ATTN_I_QUERY; /* they lie side by side */
    if (together) {
        turn(c, scratch, ATTN_I_QUERY, q, query_heads + key_heads, back);
        return;
    }
    if (queries) turn(c, scratch, ATTN_I_QUERY, q, query_heads, back);
    if (keys) turn(c, scratch, ATTN_I_KEY, k, key_heads, back);
}
