/* SPDX-License-Identifier: BSD-3-Clause
 *
 * rotary.c: the options of attn run --rope, and what it does with them.
 */
#include "rotary.h"

#include "fail.h"
#include "modifiers.h"

const request_option rotary_options[] = {{.name = "rope", .needs = "key"},
                                         {.name = "rope-dimensions", .needs = "rope"},
                                         {.name = "rope-base", .needs = "rope"},
                                         {.name = NULL}};

static const option_word layouts[] = {{"interleaved", ATTN_ROPE_INTERLEAVED}, {"halves", ATTN_ROPE_HALVES}, {NULL, 0}};

rotary rotary_create(const request *r)
{
    rotary turn = {false, ATTN_ROPE_OPTIONS_INIT, ATTN_ROPE_OPTIONS_INIT};
    turn.turns = request_word(r, "rope", layouts, &turn.key.layout);
    if (!turn.turns) return turn;
    positions p = modifiers_positions(r);
    if (p.causal == ATTN_ALIGN_BOTTOM_RIGHT || p.measured == ATTN_ALIGN_BOTTOM_RIGHT) {
        fail("--rope counts from --query-start: it goes with top-left, not with bottom-right");
    }
    if (request_integer(r, "rope-dimensions", &turn.key.dimensions) && turn.key.dimensions < 1) {
        fail("--rope-dimensions counts the dimensions that are turned, not %lld", (long long)turn.key.dimensions);
    }
    if (request_number(r, "rope-base", &turn.key.base) && !(turn.key.base > 0)) {
        fail("--rope-base is above 0, not %s", request_get(r, "rope-base"));
    }
    turn.query = turn.key;
    (void)request_integer(r, "query-start", &turn.query.first);
    return turn;
}

void rotary_turn(attn_engine *engine, const attn_rope_options *options, const attn_tensor *from, const attn_tensor *to)
{
    require(attn_rope(engine, options, from, to));
}

void rotary_turn_back(attn_engine *engine, const attn_rope_options *options, const attn_tensor *gradient)
{
    attn_rope_options back = *options;
    back.inverse = 1;
    require(attn_rope(engine, &back, gradient, gradient));
}
