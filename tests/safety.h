/* SPDX-License-Identifier: BSD-3-Clause
 *
 * safety.h: what test_safety.c calls the library with: every tensor and the workspace in pages of its own, against a
 * page that nobody may touch, and inputs that can only be read.
 */
#ifndef ATTN_TESTS_SAFETY_H
#define ATTN_TESTS_SAFETY_H

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "support.h"

/* ------------------------------------------------------------------------------------------------- pages */

enum place { AT_START, AT_END, PLACES };
enum layout { DENSE, PADDED_ROWS, REVERSED, TRANSPOSED, LAYOUTS };
enum { FILL = 0xA5, MOST_BLOCKS = 24 };

/* Bytes against the guard page before them or behind them. */
struct block {
    unsigned char *pages, *data;
    size_t room, bytes;
};

static struct block block_create(size_t bytes, enum place place)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE), room = (bytes + page - 1) / page * page;
    unsigned char *map = mmap(NULL, room + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED || (room > 0 && mprotect(map + page, room, PROT_READ | PROT_WRITE) != 0)) abort();
    memset(map + page, FILL, room);
    return (struct block){map + page, map + page + (place == AT_END ? room - bytes : 0), room, bytes};
}

static void block_destroy(struct block *block)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    munmap(block->pages - page, block->room + 2 * page);
}

/* What of its pages is not the block still holds what it was filled with. */
static bool surroundings_intact(const struct block *block)
{
    for (const unsigned char *p = block->pages; p < block->pages + block->room; p++) {
        if ((p < block->data || p >= block->data + block->bytes) && *p != FILL) return false;
    }
    return true;
}

/* ---------------------------------------------------------------------------------------------- problems */

enum kind { DOT, SCALED_DOT, GENERAL, ADDITIVE, ADDITIVE_ALL, ADDITIVE_PROJECTED, CONCAT, LOCATION, KINDS };

struct sizes {
    int64_t batch, query_heads, key_heads, queries, keys, dim, value_dim;
};

/* Beyond 2^16 operations in every step, so that the engine's threads take part. */
static const struct sizes large = {2, 4, 2, 96, 130, 16, 8};

struct problem {
    attn_mechanism *mechanism;
    struct block blocks[MOST_BLOCKS];
    int count, inputs; /* blocks in all; the inputs come first, the four outputs next */
    attn_tensor query, key, value, mask, bias, lengths, context, weights, scores, logsumexp;
    attn_forward_args args;
};

static attn_status mechanism_create(attn_engine *on, enum kind kind, int64_t d, int64_t keys, attn_mechanism **m)
{
    static const uint32_t flags[] = {0, ATTN_ADDITIVE_BIAS | ATTN_ADDITIVE_NORMALISED,
                                     ATTN_ADDITIVE_QUERY_PROJECTED | ATTN_ADDITIVE_KEY_PROJECTED};
    if (kind == DOT) return attn_mechanism_create_dot(on, m);
    if (kind == SCALED_DOT) return attn_mechanism_create_scaled_dot(on, m);
    if (kind == GENERAL) return attn_mechanism_create_general(on, d, d, m);
    if (kind == CONCAT) return attn_mechanism_create_concat(on, d, d, d, m);
    if (kind == LOCATION) return attn_mechanism_create_location(on, d, keys, m);
    return attn_mechanism_create_additive(on, d, d, d, flags[kind - ADDITIVE], m);
}

/* A tensor in pages of its own, filled with normal numbers: lengths and mask with ones. */
static attn_tensor tensor_create(struct problem *p, attn_dtype dtype, enum layout layout, enum place place,
                                 int32_t ndim, int64_t a, int64_t b, int64_t c, int64_t d, struct rng *rng)
{
    const int64_t shape[4] = {a, b, c, d};
    attn_tensor t = {.dtype = dtype, .ndim = ndim};
    int64_t step = 1, size = dtype == ATTN_BOOL ? 1 : dtype == ATTN_F32 ? 4 : 8, extent = 1, first = 0;
    for (int32_t i = 0; i < ndim; i++) { /* from the innermost dimension in memory */
        int32_t to = ndim - 1 - i;
        if (layout == TRANSPOSED && ndim > 1 && i < 2) to = ndim - 2 + i;
        t.shape[to] = shape[4 - ndim + to];
        t.stride[to] = i == 0 && layout == REVERSED ? (step = 2) : step;
        step *= t.shape[to];
        if (i == 0 && layout == PADDED_ROWS) step += 3;
        extent += (t.shape[to] - 1) * t.stride[to];
        if (layout != REVERSED) continue;
        first += (t.shape[to] - 1) * t.stride[to];
        t.stride[to] = -t.stride[to];
    }
    struct block block = block_create((size_t)(extent * size), place);
    p->blocks[p->count++] = block;
    t.data = block.data + first * size;
    for (int64_t i = 0; rng != NULL && i < extent; i++) {
        const double number = rng_normal(rng);
        if (dtype == ATTN_F32) ((float *)(void *)block.data)[i] = (float)number;
        if (dtype == ATTN_F64) ((double *)(void *)block.data)[i] = number;
        if (dtype == ATTN_I64) ((int64_t *)(void *)block.data)[i] = 1;
        if (dtype == ATTN_BOOL) block.data[i] = 1;
    }
    return t;
}

static void problem_create(struct problem *p, attn_engine *on, enum kind kind, attn_dtype dtype, const struct sizes *n,
                           enum layout layout, enum place place)
{
    struct rng rng = {5};
    int32_t params;
    size_t workspace;
    memset(p, 0, sizeof *p);
    MUST(mechanism_create(on, kind, n->dim, n->keys, &p->mechanism));
    MUST(attn_mechanism_param_count(p->mechanism, &params));
    for (int32_t i = 0; i < params; i++) {
        attn_param_info info = ATTN_PARAM_INFO_INIT;
        MUST(attn_mechanism_param_info(p->mechanism, i, &info));
        const int64_t rows = info.ndim == 1 ? 1 : info.shape[0], columns = info.shape[info.ndim - 1];
        attn_tensor t = tensor_create(p, dtype, layout, place, info.ndim, 1, 1, rows, columns, &rng);
        MUST(attn_mechanism_bind_param(p->mechanism, info.name, &t));
    }
    attn_tensor slopes = tensor_create(p, dtype, layout, place, 1, 1, 1, 1, n->query_heads, &rng);
    MUST(attn_mechanism_set_alibi(p->mechanism, &slopes, ATTN_ALIGN_TOP_LEFT));
    MUST(attn_mechanism_set_softcap(p->mechanism, 20));
    const int64_t b = n->batch, hq = n->query_heads, hk = n->key_heads, tq = n->queries, tk = n->keys;
    p->query = tensor_create(p, dtype, layout, place, 4, b, hq, tq, n->dim, &rng);
    p->key = tensor_create(p, dtype, layout, place, 4, b, hk, tk, n->dim, &rng);
    p->value = tensor_create(p, dtype, layout, place, 4, b, hk, tk, n->value_dim, &rng);
    p->mask = tensor_create(p, ATTN_BOOL, layout, place, 4, b, hq, tq, tk, &rng);
    p->bias = tensor_create(p, dtype, layout, place, 4, 1, hq, 1, tk, &rng);
    p->lengths = tensor_create(p, ATTN_I64, layout, place, 1, 1, 1, 1, b, &rng);
    *(int64_t *)p->lengths.data = tk;
    p->inputs = p->count;
    p->context = tensor_create(p, dtype, layout, place, 4, b, hq, tq, n->value_dim, NULL);
    p->weights = tensor_create(p, dtype, layout, place, 4, b, hq, tq, tk, NULL);
    p->scores = tensor_create(p, dtype, layout, place, 4, b, hq, tq, tk, NULL);
    p->logsumexp = tensor_create(p, dtype, layout, place, 3, 1, b, hq, tq, NULL);
    p->args = (attn_forward_args)ATTN_FORWARD_ARGS_INIT;
    p->args.query = &p->query, p->args.key = &p->key, p->args.value = &p->value;
    p->args.mask = &p->mask, p->args.bias = &p->bias, p->args.key_lengths = &p->lengths;
    p->args.context = &p->context, p->args.weights = &p->weights;
    p->args.scores = &p->scores, p->args.logsumexp = &p->logsumexp;
    MUST(attn_forward_workspace(p->mechanism, &p->args, &workspace));
    p->blocks[p->count++] = block_create(workspace, place);
    p->args.workspace = p->blocks[p->count - 1].data;
    p->args.workspace_size = workspace;
    for (int i = 0; i < p->inputs; i++) mprotect(p->blocks[i].pages, p->blocks[i].room, PROT_READ);
}

static void problem_destroy(struct problem *p)
{
    attn_mechanism_destroy(p->mechanism);
    for (int i = 0; i < p->count; i++) block_destroy(&p->blocks[i]);
}

static bool same_outputs(const struct problem *a, const struct problem *b)
{
    bool same = true;
    for (int i = 0; i < 4; i++) {
        const struct block *x = &a->blocks[a->inputs + i], *y = &b->blocks[b->inputs + i];
        same = same && x->bytes == y->bytes && memcmp(x->data, y->data, x->bytes) == 0;
    }
    return same;
}

static void forget_outputs(struct problem *p)
{
    for (int i = 0; i < 4; i++) memset(p->blocks[p->inputs + i].data, FILL, p->blocks[p->inputs + i].bytes);
}

static attn_engine *engine_of(int32_t threads)
{
    attn_engine_options options = ATTN_ENGINE_OPTIONS_INIT;
    attn_engine *made = NULL;
    options.threads = threads;
    MUST(attn_engine_create(&options, &made));
    return made;
}

#endif
