/* SPDX-License-Identifier: BSD-3-Clause
 *
 * call/relative.c: relative biases of one call. */
#include "call/relative.h"

#include "call/scratch.h"
#include "call/visible.h"
#include "runtime/size.h"

#include <math.h>

/* 1 if base^power is n, all being positive. */
static int is_power(int64_t n, int64_t base, int64_t power)
{
    int64_t product = 1;
    if (base == 1) return n == 1;
    for (; power > 0; power--) {
        if (!attn_i_multiply(product, base, &product) || product > n) return 0;
    }
    return product == n;
}

static int64_t common_divisor(int64_t a, int64_t b)
{
    while (b != 0) {
        const int64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a > 0 ? a : 1; /* so that it divides whatever came */
}

/* 1 if a^m is b^n, for positive numbers of which m and n share no factor: both are then powers of one number. */
static int are_equal_powers(int64_t a, int64_t m, int64_t b, int64_t n)
{
    const int64_t root = (int64_t)llround(pow((double)a, 1 / (double)n));
    return is_power(a, root, n) && is_power(b, root, m);
}

/* Distances between buckets / 2 and the greatest share the other buckets by their logarithms: distance d is k of them
 * on where (d / exact)^others has reached (most / exact)^k. Where the two are equal, rounded logarithms may say either;
 * that is asked of whole numbers. */
int64_t attn_i_relative_bucket(int64_t distance, int64_t buckets, int64_t most)
{
    const int64_t exact = buckets / 2, others = buckets - exact;
    if (distance < exact) return distance;
    if (distance >= most) return buckets - 1;
    const double steps = log((double)distance / (double)exact) / log((double)most / (double)exact) * (double)others;
    const int64_t nearest = (int64_t)llround(steps);
    if (nearest > 0 && fabs(steps - (double)nearest) < 1e-9 * (double)others) {
        const int64_t f = common_divisor(distance, exact), g = common_divisor(most, exact);
        const int64_t h = common_divisor(others, nearest), m = others / h, n = nearest / h;
        if (are_equal_powers(distance / f, m, most / g, n) && are_equal_powers(exact / f, m, exact / g, n)) {
            return attn_i_min(exact + nearest, buckets - 1);
        }
    }
    return attn_i_min(exact + (int64_t)steps, buckets - 1);
}

/* The column of a key that is `distance` ahead of the query. */
static int64_t column_of(const attn_i_modifiers *m, int64_t distance)
{
    const int64_t columns = m->table.shape[3];
    if (m->relative == ATTN_RELATIVE_CLIPPED) {
        return m->max_distance + attn_i_clamp(distance, -m->max_distance, m->max_distance);
    }
    if (m->relative == ATTN_RELATIVE_T5_CAUSAL) {
        return attn_i_relative_bucket(attn_i_max(-distance, 0), columns, m->max_distance);
    }
    const int64_t half = columns / 2;
    return (distance > 0 ? half : 0) +
           attn_i_relative_bucket(distance < 0 ? -distance : distance, half, m->max_distance);
}

static int64_t offset_of(const attn_i_problem *p, int64_t b)
{
    return attn_i_position(p, p->modifiers->relative_align, b, 0);
}

/* Sequences whose queries may stand elsewhere than those of the first. */
static int64_t places_of(const attn_i_problem *p)
{
    const int alike = p->lengths.data == NULL || p->lengths.stride[3] == 0;
    return alike ? attn_i_min(p->batch, 1) : p->batch;
}

static void lay_out(attn_i_problem *p, attn_i_arena *arena)
{
    attn_i_relative *r = &p->relative;
    int64_t least = INT64_MAX, most = INT64_MIN;
    *r = (attn_i_relative){.rows = NULL};
    if (!attn_i_relative_wanted(p)) return;
    for (int64_t b = 0, places = places_of(p); b < places; b++) {
        least = attn_i_min(least, offset_of(p, b));
        most = attn_i_max(most, offset_of(p, b));
    }
    r->first = -most - attn_i_max(p->queries - 1, 0);
    r->count = attn_i_max(p->keys - least - r->first, 1);
    r->rows = attn_i_carve_matrix(arena, p->modifiers->table.shape[2], r->count, p->size);
    r->columns = attn_i_carve(arena, r->count, sizeof *r->columns);
    if (p->dtype == ATTN_F32) r->diagonals = attn_i_carve_matrix(arena, p->query_heads, r->count, p->size);
}

attn_status attn_i_relative_scratch(attn_i_problem *p, int64_t *bytes, int64_t *scratch)
{
    attn_i_arena arena = {.base = NULL};
    lay_out(p, &arena);
    *bytes = arena.used;
    arena.overflow |= !attn_i_add(*scratch, arena.used, scratch);
    return attn_i_scratch_measured(&arena, NULL);
}

/* Rows of heads, from the last distance to the first, an element of each head of a group by turns. */
static void load_diagonals(const attn_i_problem *p)
{
    const attn_i_relative *r = &p->relative;
    for (int64_t h = 0; h < p->query_heads; h++) {
        const float *row =
            (const float *)(const void *)r->rows + (p->modifiers->table.shape[2] == 1 ? 0 : h) * r->count;
        float *to = r->diagonals + h / p->group * p->group * r->count + h % p->group;
        for (int64_t k = 0; k < r->count; k++) to[k * p->group] = row[r->count - 1 - k];
    }
}

void attn_i_relative_load(attn_i_problem *p, void *memory)
{
    const attn_i_relative *r = &p->relative;
    const attn_i_view *table = &p->modifiers->table;
    attn_i_arena arena = {.base = memory};
    lay_out(p, &arena);
    if (r->rows == NULL) return;
    for (int64_t k = 0; k < r->count; k++) r->columns[k] = (int32_t)column_of(p->modifiers, r->first + k);
    for (int64_t h = 0; h < table->shape[2]; h++) {
        const char *from = table->data + h * table->stride[2] * p->size;
        for (int64_t k = 0; k < r->count; k++) {
            const char *one = from + r->columns[k] * table->stride[3] * p->size;
            p->kernels->gather(1, one, 1, r->rows + (h * r->count + k) * p->size);
        }
    }
    if (p->dtype == ATTN_F32) load_diagonals(p);
}

const void *attn_i_relative_row(const attn_i_problem *p, int64_t b, int64_t h, int64_t i, int64_t first)
{
    const attn_i_relative *r = &p->relative;
    const int64_t head = p->modifiers->table.shape[2] == 1 ? 0 : h;
    return r->rows + (head * r->count + first - i - offset_of(p, b) - r->first) * p->size;
}

const int32_t *attn_i_relative_columns(const attn_i_problem *p, int64_t b, int64_t i, int64_t first)
{
    const attn_i_relative *r = &p->relative;
    return r->columns + (first - i - offset_of(p, b) - r->first);
}

const float *attn_i_relative_diagonals(const attn_i_problem *p, int64_t b, int64_t key_head, int64_t first_row,
                                       int64_t key)
{
    const attn_i_relative *r = &p->relative;
    const int64_t last = r->first + r->count - 1; /* distance, that the diagonals begin with */
    return r->diagonals + (key_head * r->count + last - (key - offset_of(p, b))) * p->group + first_row;
}
