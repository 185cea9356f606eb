/* SPDX-License-Identifier: BSD-3-Clause
 *
 * rotary.c: the options of attn run --rope, and what it does with them.
 */
#include "rotary.h"

#include "fail.h"
#include "options.h"

#include <stddef.h>

static const option_word layouts[] = {{"interleaved", ATTN_ROPE_INTERLEAVED}, {"halves", ATTN_ROPE_HALVES}, {NULL, 0}};

rotary rotary_create(const char *layout, const char *dimensions, const char *base, int64_t query_start)
{
    rotary r = {ATTN_ROPE_OPTIONS_INIT, ATTN_ROPE_OPTIONS_INIT};
    r.key.layout = options_word("--rope", layout, layouts);
    if (dimensions != NULL) {
        r.key.dimensions = options_integer("--rope-dimensions", dimensions);
        if (r.key.dimensions < 1) fail("--rope-dimensions counts the dimensions that are turned, not %s", dimensions);
    }
    if (base != NULL) {
        r.key.base = options_number("--rope-base", base);
        if (!(r.key.base > 0)) fail("--rope-base is above 0, not %s", base);
    }
    r.query = r.key;
    r.query.first = query_start;
    return r;
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
