/* SPDX-License-Identifier: BSD-3-Clause
 *
 * runtime/memory.c: the allocator of an engine, and the arena that a call's scratch is carved from. */
#define _DEFAULT_SOURCE
#include "runtime/memory.h"

#include "runtime/size.h"

#include <stdlib.h>
#ifdef __linux__
#include <sys/mman.h>
#include <unistd.h>
#endif

static void *default_allocate(void *data, size_t bytes, size_t alignment)
{
    (void)data;
    void *pointer = NULL;
    return posix_memalign(&pointer, alignment, bytes) == 0 ? pointer : NULL;
}

static void default_release(void *data, void *pointer, size_t bytes)
{
    (void)data, (void)bytes;
    free(pointer);
}

attn_i_allocator attn_i_allocator_default(void)
{
    return (attn_i_allocator){default_allocate, default_release, NULL};
}

void *attn_i_allocate(const attn_i_allocator *allocator, size_t bytes)
{
    return allocator->allocate(allocator->data, bytes, ATTN_I_ALIGNMENT);
}

/* A huge page, and the least of what grows in one place that is worth some: before its first rows come, it takes at
 * most a quarter more than its small pages would. */
enum { HUGE_PAGE = 2 << 20, LEAST_GROWING = 4 * HUGE_PAGE };

void *attn_i_allocate_rows(const attn_i_allocator *allocator, size_t bytes, int64_t places)
{
#ifdef MADV_HUGEPAGE
    /* Where small pages are larger, so are huge ones, by far. */
    if (allocator->allocate == default_allocate && bytes / LEAST_GROWING >= (size_t)places &&
        sysconf(_SC_PAGESIZE) == 4096) {
        void *rows = default_allocate(NULL, bytes, HUGE_PAGE);
        if (rows != NULL) madvise(rows, bytes / HUGE_PAGE * HUGE_PAGE, MADV_HUGEPAGE); /* which may be as it likes */
        if (rows != NULL) return rows;
    }
#endif
    (void)places;
    return attn_i_allocate(allocator, bytes);
}

void attn_i_release(const attn_i_allocator *allocator, void *pointer, size_t bytes)
{
    if (pointer != NULL) allocator->release(allocator->data, pointer, bytes);
}

void *attn_i_carve(attn_i_arena *arena, int64_t count, int64_t size)
{
    int64_t bytes;
    if (arena->overflow || !attn_i_multiply(count, size, &bytes) || !attn_i_add(bytes, ATTN_I_ALIGNMENT - 1, &bytes)) {
        arena->overflow = 1;
        return NULL;
    }
    bytes -= bytes % ATTN_I_ALIGNMENT;
    int64_t start = arena->used;
    if (!attn_i_add(start, bytes, &arena->used)) {
        arena->overflow = 1;
        return NULL;
    }
    return arena->base == NULL ? NULL : arena->base + start;
}

void *attn_i_carve_matrix(attn_i_arena *arena, int64_t rows, int64_t columns, int64_t size)
{
    int64_t count;
    if (!attn_i_multiply(rows, columns, &count)) {
        arena->overflow = 1;
        return NULL;
    }
    return attn_i_carve(arena, count, size);
}
