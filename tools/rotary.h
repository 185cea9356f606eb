/* SPDX-License-Identifier: BSD-3-Clause
 *
 * rotary.h: queries and keys that are turned by their positions before they are scored, and their gradients, which are
 * turned back.
 */
#ifndef ATTN_TOOLS_ROTARY_H
#define ATTN_TOOLS_ROTARY_H

#include "request.h"

#include <attn/attn.h>
#include <stdbool.h>

extern const request_option rotary_options[];

typedef struct rotary {
    bool turns; /* false: there is no --rope, and everything stays as it is */
    attn_rope_options query, key;
} rotary;

/* Reads the options. Keys count from position 0, queries from --query-start. */
rotary rotary_create(const request *r);

/* Turns from into to, which may be the same tensor. */
void rotary_turn(attn_engine *engine, const attn_rope_options *options, const attn_tensor *from, const attn_tensor *to);

/* Turns a gradient back, in place. */
void rotary_turn_back(attn_engine *engine, const attn_rope_options *options, const attn_tensor *gradient);

#endif
