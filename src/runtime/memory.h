/* SPDX-License-Identifier: BSD-3-Clause
 *
 * runtime/memory.h: the allocator of an engine, and the arena that a call's scratch is carved from. */
#ifndef ATTN_I_RUNTIME_MEMORY_H
#define ATTN_I_RUNTIME_MEMORY_H

#include "attn/attn.h"

enum { ATTN_I_ALIGNMENT = 64 };

typedef struct attn_i_allocator {
    attn_allocate_fn allocate;
    attn_release_fn release;
    void *data;
} attn_i_allocator;

/* The C library's. */
attn_i_allocator attn_i_allocator_default(void);

/* Both align to ATTN_I_ALIGNMENT; `release` takes NULL. */
void *attn_i_allocate(const attn_i_allocator *allocator, size_t bytes);
/* The same for rows that come to lie one behind the other, from so many places on, at least 1: where these are far
 * apart and the allocator is the C library's, Linux is asked for huge pages. Of these a place has at most one that is
 * not yet full, so that what a memory occupies is hardly more than its rows. */
void *attn_i_allocate_rows(const attn_i_allocator *allocator, size_t bytes, int64_t places);
void attn_i_release(const attn_i_allocator *allocator, void *pointer, size_t bytes);

/* Scratch is laid out by one function that runs twice: over an arena without memory, to measure, and over one with
 * memory, to carve; so the two cannot disagree. */
typedef struct attn_i_arena {
    unsigned char *base; /* NULL: measuring */
    int64_t used;        /* bytes so far */
    int overflow;        /* set when a size could not be held; `used` is then meaningless */
} attn_i_arena;

/* count elements of the given size, aligned. NULL while measuring. */
void *attn_i_carve(attn_i_arena *arena, int64_t count, int64_t size);
/* The same for rows x columns elements. */
void *attn_i_carve_matrix(attn_i_arena *arena, int64_t rows, int64_t columns, int64_t size);

#endif
