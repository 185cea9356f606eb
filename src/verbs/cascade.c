/* SPDX-License-Identifier: BSD-3-Clause
 *
 * verbs/cascade.c: sequences in pages that begin with the same ones. Which of them become a group:
 *
 * Whole pages alone are shared, that all queries of the group see all of. Attention of r rows (the queries of a key
 * head's group of heads) over n numbers of keys and values costs about n (4 ceil(r / 64) + ceil(r / 16)): they are read
 * for each tile of 64 rows, and multiplied in spans of 16. A group saves the difference between its sequences' costs
 * over the prefix and that of all their rows; it costs, for each row, two contexts that are written, read and joined
 * besides, and another call for each sequence and for the prefix. Groups are those that save most beyond twice what
 * they cost, and at least an eighth of what the prefix takes: of prompts whose rows fill tiles there is nothing to be
 * saved. */
#include "verbs/cascade.h"

#include "call/pages.h"
#include "call/ragged.h"
#include "handles/lengths.h"
#include "runtime/size.h"
#include "verbs/join.h"

#include <string.h>

enum { WINDOW = ATTN_I_CASCADE_WINDOW };

/* The rule's numbers: in multiplications of a span, which of a prefix are in its tiles; of each row, and of its context
 * each number, and of each call. */
enum { TILE_ROWS = 64, SPAN_ROWS = 16, OF_TILE = 4, OF_ROW = 800, OF_NUMBER = 8, OF_CALL = 15000 };
enum { TIMES_COST = 2, LEAST_PART = 8 };

/* ---------------------------------------------------------------------------------------------- groups */

/* 1 if parts of the keys can be joined to what the call wants. */
static int is_joined_exactly(const attn_i_problem *p)
{
    const attn_i_modifiers *m = p->modifiers;
    if (p->weights.data != NULL || p->scores.data != NULL || p->stats.wanted || p->dropout.keep != 0) return 0;
    if (p->bias.data != NULL || (p->mask.data != NULL && p->mask_columns == 0)) return 0;
    if (m->alibi != ATTN_ALIGN_NONE || m->relative != ATTN_RELATIVE_NONE || m->window != ATTN_ALIGN_NONE) return 0;
    if (m->local != ATTN_LOCAL_NONE || m->normaliser != ATTN_SOFTMAX) return 0;
    if (m->causal != ATTN_ALIGN_NONE && m->causal != ATTN_ALIGN_BOTTOM_RIGHT) return 0;
    return p->mechanism->rule->reads_keys;
}

/* 1 if queries of sequences that follow each other lie evenly, as those of one would. */
static int is_even(const attn_i_problem *p)
{
    const attn_i_view *q = &p->query;
    return p->offsets.queries.data != NULL || p->queries == 1 || q->stride[0] == p->queries * q->stride[2];
}

/* How many pages of sequence b can be of a prefix: those that are full, and that all of its queries see all of. */
static int64_t pages_before_rest(const attn_i_problem *p, const attn_i_pages *own, int64_t b)
{
    const int64_t queries = attn_i_ragged_queries(p, b), length = attn_i_integer(&p->lengths, b);
    int64_t rest = queries > 0 ? p->mask_columns : 0;
    if (p->modifiers->causal != ATTN_ALIGN_NONE) rest = attn_i_max(rest, queries);
    return attn_i_clamp((length - rest) / own->rows, 0, own->table.shape[3]);
}

static int64_t count_same(const attn_i_view *a, const attn_i_view *b, int64_t most)
{
    int64_t k = 0;
    if (a->stride[3] == 1 && memcmp(a->data, b->data, (size_t)(most * a->size)) == 0) return most; /* as it often is */
    while (k < most && attn_i_integer(a, k) == attn_i_integer(b, k)) k++;
    return k;
}

/* Of the sequences of a window: their queries, what a number of keys costs each, and how many pages each shares with
 * the next. */
typedef struct candidates {
    int64_t first, count;
    int64_t queries[WINDOW], shared[WINDOW];
    double cost[WINDOW];
} candidates;

static double cost_of(const attn_i_problem *p, int64_t queries)
{
    const int64_t rows = p->group * queries;
    return (double)(OF_TILE * attn_i_divide_up(rows, TILE_ROWS) + attn_i_divide_up(rows, SPAN_ROWS));
}

static void look(const attn_i_problem *p, candidates *c)
{
    attn_i_pages before = {.rows = 1};
    int64_t most_before = 0;
    for (int64_t i = 0; i < c->count; i++) {
        const int64_t b = c->first + i;
        attn_i_pages own = p->pages;
        attn_i_pages_slice(&own, b);
        const int64_t most = pages_before_rest(p, &own, b);
        c->queries[i] = attn_i_ragged_queries(p, b);
        c->cost[i] = cost_of(p, c->queries[i]);
        c->shared[i] = 0;
        if (i > 0) c->shared[i - 1] = count_same(&before.table, &own.table, attn_i_min(most, most_before));
        before = own;
        most_before = most;
    }
}

/* What it is worth that `count` sequences with so many queries, and such a cost, are a group. */
static double worth(const attn_i_problem *p, int64_t count, int64_t queries, int64_t pages, double cost)
{
    const double saved = cost - cost_of(p, queries), rows = (double)queries * (double)p->query_heads;
    const double numbers = (double)p->key_heads * (double)(pages * p->pages.rows) * (double)(p->key_dim + p->value_dim);
    const double of_rows = rows * (OF_ROW + OF_NUMBER * (double)p->value_dim);
    if (saved * LEAST_PART < cost) return 0;
    return saved * numbers - TIMES_COST * (of_rows + OF_CALL * (double)(count + 1));
}

/* The best groups of the first n candidates, for each n: what they are worth, and of the last one the first sequence
 * and the pages; or the last sequence is in none. */
typedef struct choice {
    double worth;
    int64_t first, pages;
} choice;

static void choose(const attn_i_problem *p, const candidates *c, choice *best)
{
    best[0] = (choice){.worth = 0};
    for (int64_t n = 1; n <= c->count; n++) {
        int64_t queries = c->queries[n - 1], pages = INT64_MAX;
        double cost = c->cost[n - 1];
        best[n] = (choice){best[n - 1].worth, n - 1, 0};
        for (int64_t i = n - 2; i >= 0; i--) {
            pages = attn_i_min(pages, c->shared[i]);
            queries += c->queries[i];
            cost += c->cost[i];
            if (pages == 0) break;
            const double all = best[i].worth + worth(p, n - i, queries, pages, cost);
            if (all > best[n].worth) best[n] = (choice){all, i, pages};
        }
    }
}

void attn_i_cascade_find(const attn_i_problem *p, int64_t first, attn_i_cascade_window *w)
{
    candidates c = {.first = first, .count = attn_i_min(p->batch - first, WINDOW)};
    choice best[WINDOW + 1];
    w->first = first;
    w->count = 0;
    look(p, &c);
    choose(p, &c, best);
    for (int64_t n = c.count; n > 0; n = best[n].first) w->count += best[n].pages > 0;
    for (int64_t n = c.count, k = w->count; n > 0; n = best[n].first) {
        if (best[n].pages == 0) continue;
        attn_i_cascade_group *g = &w->group[--k];
        *g = (attn_i_cascade_group){first + best[n].first, n - best[n].first, best[n].pages, 0, 0};
        for (int64_t i = best[n].first; i < n; i++) g->queries += c.queries[i];
    }
}

void attn_i_cascade_begin(attn_i_cascade *c, const attn_i_problem *p)
{
    c->p = p;
    c->of = NULL;
    c->groups = c->queries = 0;
    if (p->pages.table.data == NULL || !attn_i_problem_is_wanted(p) || !is_joined_exactly(p) || !is_even(p)) return;
    c->modifiers = *p->modifiers;
    c->modifiers.causal = ATTN_ALIGN_NONE; /* all see all of it */
    c->modifiers.sinks.data = NULL;        /* which count once, with the rest */
    for (int64_t first = 0; first < p->batch; first += WINDOW) {
        attn_i_cascade_find(p, first, &c->window);
        c->groups += c->window.count;
        for (int k = 0; k < c->window.count; k++) c->queries += c->window.group[k].queries;
    }
}

attn_i_cascade_group attn_i_cascade_of(attn_i_cascade *c, int64_t b)
{
    attn_i_cascade_window *w = &c->window;
    if (c->of != NULL) return c->of[b];
    if (w->first != b - b % WINDOW) attn_i_cascade_find(c->p, b - b % WINDOW, w);
    for (int k = 0; k < w->count; k++) {
        if (b >= w->group[k].first && b < w->group[k].first + w->group[k].count) return w->group[k];
    }
    return (attn_i_cascade_group){.count = 0};
}

/* --------------------------------------------------------------------------------------------- scratch */

static int64_t context_dim(const attn_i_problem *p)
{
    return p->context.data != NULL ? p->value_dim : 0;
}

void attn_i_cascade_layout(attn_i_cascade *c, attn_i_arena *arena)
{
    const attn_i_problem *p = c->p;
    int64_t rows = 0;
    if (c->groups == 0) return;
    if (!attn_i_multiply(c->queries, p->query_heads, &rows)) arena->overflow = 1;
    c->of = attn_i_carve(arena, p->batch, sizeof *c->of);
    c->contexts = attn_i_carve_matrix(arena, rows, context_dim(p), p->size);
    c->logsumexps = attn_i_carve(arena, rows, sizeof *c->logsumexps);
}

void attn_i_cascade_load(attn_i_cascade *c)
{
    int64_t queries = 0;
    for (int64_t first = 0; first < c->p->batch; first += WINDOW) {
        attn_i_cascade_find(c->p, first, &c->window);
        const int64_t end = attn_i_min(first + WINDOW, c->p->batch);
        for (int64_t b = first; b < end; b++) c->of[b] = (attn_i_cascade_group){.count = 0};
        for (int k = 0; k < c->window.count; k++) {
            attn_i_cascade_group *g = &c->window.group[k];
            g->first_query = queries;
            queries += g->queries;
            for (int64_t i = 0; i < g->count; i++) c->of[g->first + i] = *g;
        }
    }
}

/* Results over some keys, from query `first` on, where there is room for them; while there is none, somewhere. */
static void set_results(const attn_i_problem *p, char *contexts, double *logsumexps, int64_t first,
                        attn_i_problem *slice)
{
    static _Alignas(ATTN_I_ALIGNMENT) char nowhere[ATTN_I_ALIGNMENT];
    const int64_t heads = p->query_heads, dim = context_dim(p), queries = slice->queries;
    const int64_t row = first * heads;
    slice->is_part = 1;
    slice->logsumexp = (attn_i_view){.data = logsumexps != NULL ? (char *)(logsumexps + row) : nowhere,
                                     .shape = {1, 1, heads, queries},
                                     .stride = {0, 0, 1, heads},
                                     .dtype = ATTN_F64,
                                     .size = (int64_t)sizeof(double)};
    slice->context = (attn_i_view){
        .shape = {1, heads, queries, dim}, .stride = {0, dim, heads * dim, 1}, .dtype = p->dtype, .size = p->size};
    if (p->context.data != NULL) slice->context.data = contexts != NULL ? contexts + row * dim * p->size : nowhere;
}

/* ------------------------------------------------------------------------------------------------ parts */

void attn_i_cascade_prefix(attn_i_cascade *c, const attn_i_problem *computed, int64_t b, int alone,
                           attn_i_problem *slice)
{
    const attn_i_cascade_group g = attn_i_cascade_of(c, b);
    attn_i_ragged_slice_shared(computed, g.first, g.count, g.pages, alone, slice);
    slice->modifiers = &c->modifiers;
    set_results(c->p, c->contexts, c->logsumexps, g.first_query, slice);
}

void attn_i_cascade_rest(attn_i_cascade *c, const attn_i_problem *computed, int64_t b, int alone, attn_i_arena *arena,
                         attn_i_problem *slice)
{
    const attn_i_problem *p = c->p;
    attn_i_ragged_slice(computed, b, alone, slice);
    attn_i_ragged_skip_pages(slice, attn_i_cascade_of(c, b).pages);
    const int64_t rows = slice->queries * p->query_heads; /* all of which a tensor has */
    char *contexts = attn_i_carve_matrix(arena, rows, context_dim(p), p->size);
    set_results(p, contexts, attn_i_carve(arena, rows, sizeof(double)), 0, slice);
}

static attn_tensor tensor_of(const attn_i_view *view, int first)
{
    attn_tensor t = {.data = view->data, .dtype = view->dtype, .ndim = 4 - first};
    for (int d = first; d < 4; d++) t.shape[d - first] = view->shape[d], t.stride[d - first] = view->stride[d];
    return t;
}

/* The sequence's own queries of those of the prefix: those of the group's sequences before it come first. */
static int64_t first_query_of(const attn_i_cascade *c, const attn_i_cascade_group *g, int64_t b)
{
    int64_t first = g->first_query;
    for (int64_t i = g->first; i < b; i++) first += attn_i_ragged_queries(c->p, i);
    return first;
}

void attn_i_cascade_join(attn_i_cascade *c, const attn_i_problem *computed, int64_t b, const attn_i_problem *rest)
{
    const attn_i_cascade_group g = attn_i_cascade_of(c, b);
    attn_i_problem whole, prefix = *rest;
    if (rest->queries == 0) return;
    attn_i_ragged_slice(computed, b, rest->alone, &whole);
    set_results(c->p, c->contexts, c->logsumexps, first_query_of(c, &g, b), &prefix);
    const attn_tensor contexts[2] = {tensor_of(&prefix.context, 0), tensor_of(&rest->context, 0)};
    const attn_tensor logsumexps[2] = {tensor_of(&prefix.logsumexp, 1), tensor_of(&rest->logsumexp, 1)};
    const attn_tensor *const all[2] = {&contexts[0], &contexts[1]}, *const sums[2] = {&logsumexps[0], &logsumexps[1]};
    attn_i_join join = {.engine = c->p->engine,
                        .parts = 2,
                        .contexts = all,
                        .logsumexps = sums,
                        .context = whole.context,
                        .logsumexp = whole.logsumexp};
    if (whole.context.data == NULL) join.context = rest->context; /* whose shape it has, of no columns */
    attn_i_join_run(&join);
}

/* ------------------------------------------------------------------------------------------------- work */

double attn_i_cascade_prefix_work(attn_i_cascade *c, int64_t b)
{
    const attn_i_cascade_group g = attn_i_cascade_of(c, b);
    if (g.count == 0 || g.first != b) return 0;
    return attn_i_ragged_work_of(c->p, g.queries, g.pages * c->p->pages.rows);
}

double attn_i_cascade_rest_work(attn_i_cascade *c, int64_t b)
{
    const attn_i_cascade_group g = attn_i_cascade_of(c, b);
    if (g.count == 0) return attn_i_ragged_work(c->p, b);
    const int64_t rest = attn_i_integer(&c->p->lengths, b) - g.pages * c->p->pages.rows;
    return attn_i_ragged_work_of(c->p, attn_i_ragged_queries(c->p, b), rest);
}
