/* SPDX-License-Identifier: BSD-3-Clause
 *
 * gradients.h: what attn run --grad-out writes: a file for each gradient of a call.
 */
#ifndef ATTN_TOOLS_GRADIENTS_H
#define ATTN_TOOLS_GRADIENTS_H

#include "rotary.h"

#include <attn/attn.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

typedef struct gradient {
    attn_tensor tensor;
    FILE *stream; /* NULL: it is computed, but not written */
} gradient;

typedef struct gradients {
    attn_backward_args args;
    gradient *items; /* query first, then key, then value, where there are such */
    size_t count;
    const attn_tensor **params;
    bool value_is_key; /* keys that are turned are values as they come: the gradient of values is a part of theirs */
} gradients;

/* What gradients are of, beside what the forward call names; NULL where there is none. */
typedef struct gradients_of {
    const attn_forward_args *forward;
    const attn_tensor *alibi, *relative;
    bool value_is_key;
} gradients_of;

/* Opens the files d_query.npy, d_key.npy, d_value.npy, d_bias.npy, d_alibi.npy, d_relative.npy and d_NAME.npy for each
 * parameter NAME in the directory, as many as there are inputs. `of`'s forward call must outlive it. What flows in is
 * the caller's to set in args. */
gradients gradients_open(const char *directory, const attn_mechanism *mechanism, const gradients_of *of);

/* Computes them, the forward call having been made, and writes them; turned is NULL without rotary positions. */
void gradients_write(gradients *all, attn_engine *engine, const attn_mechanism *mechanism, const rotary *turned);

void gradients_free(gradients *all);

#endif
