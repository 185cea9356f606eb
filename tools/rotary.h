/* SPDX-License-Identifier: BSD-3-Clause
 *
 * rotary.h: queries and keys that are turned by their positions before they are scored, and their gradients, which are
 * turned back.
 */
#ifndef ATTN_TOOLS_ROTARY_H
#define ATTN_TOOLS_ROTARY_H

#include <attn/attn.h>

typedef struct rotary {
    attn_rope_options query, key;
} rotary;

/* Reads the options, layout being a word, dimensions and base numbers or NULL: all dimensions, base 10000. Keys count
 * from position 0, queries from query_start. */
rotary rotary_create(const char *layout, const char *dimensions, const char *base, int64_t query_start);

/* Turns from into to, which may be the same tensor. */
void rotary_turn(attn_engine *engine, const attn_rope_options *options, const attn_tensor *from, const attn_tensor *to);

/* Turns a gradient back, in place. */
void rotary_turn_back(attn_engine *engine, const attn_rope_options *options, const attn_tensor *gradient);

#endif
