/* SPDX-License-Identifier: BSD-3-Clause
 *
 * pass.c: a chain of blocks, each at least twice the one before; after the first passes there is one that holds all. */
#include "model/pass.h"

#include "refuse.h"

#include <stdlib.h>
#include <string.h>

struct pass_block {
    pass_block *before;
    size_t size, used;
    unsigned char *bytes;
};

enum { BLOCK_LEAST = 1 << 20, LINE = 64 };

static void block_add(pass *p, size_t size)
{
    pass_block *block = allocate(1, sizeof *block);
    *block = (pass_block){p->block, size, 0, NULL};
    block->bytes = aligned_alloc(LINE, size);
    if (block->bytes == NULL) give_up("there is no memory for %zu bytes of a model's states", size);
    p->block = block;
}

static void block_drop(pass *p)
{
    pass_block *block = p->block;
    p->block = block->before;
    free(block->bytes);
    free(block);
}

unsigned char *pass_bytes(pass *p, size_t count)
{
    const size_t wanted = (count + LINE) / LINE * LINE; /* never 0, so that arrays have addresses of their own */
    if (p->block == NULL || p->block->size - p->block->used < wanted) {
        size_t size = p->block == NULL ? BLOCK_LEAST : 2 * p->block->size;
        while (size < wanted) size *= 2;
        block_add(p, size);
    }
    unsigned char *bytes = p->block->bytes + p->block->used;
    p->block->used += wanted;
    return bytes;
}

unsigned char *pass_scratch(pass *p, size_t count)
{
    if (p->scratch == NULL || p->scratch_size < count) p->scratch = pass_bytes(p, count), p->scratch_size = count;
    return p->scratch;
}

real *pass_reals(pass *p, size_t count)
{
    return (real *)(void *)pass_bytes(p, count * sizeof(real));
}

real *pass_zeros(pass *p, size_t count)
{
    return memset(pass_reals(p, count), 0, count * sizeof(real));
}

int *pass_ints(pass *p, size_t count)
{
    return (int *)(void *)pass_bytes(p, count * sizeof(int));
}

void pass_restart(pass *p)
{
    p->scratch = NULL;
    if (p->block == NULL) return;
    if (p->block->before != NULL) {
        size_t used = 0;
        for (const pass_block *block = p->block; block != NULL; block = block->before) used += block->used;
        while (p->block != NULL) block_drop(p);
        size_t size = BLOCK_LEAST;
        while (size < used) size += size / 4 / LINE * LINE;
        block_add(p, size);
    }
    p->block->used = 0;
}

void pass_free(pass *p)
{
    p->scratch = NULL;
    while (p->block != NULL) block_drop(p);
}
