/* SPDX-License-Identifier: BSD-3-Clause
 *
 * score/projected_tanh.c: the score v^T tanh(q' + k') of projected queries and keys, with the bias already in q'. */
#include "score/projected_tanh.h"

#include "runtime/size.h"

#include <math.h>
#include <string.h>

/* Keys that one work item scores against all the block's queries: few enough to stay in the cache meanwhile. */
enum { KEYS_PER_ITEM = 16 };

/* What one tanh costs, in the elementary operations that attn_i_parallel counts. */
enum { TANH_WORK = 8 };

/* A, in whole spans of lanes. */
static int64_t padded(const attn_i_problem *p)
{
    return attn_i_divide_up(p->mechanism->hidden_dim, ATTN_I_SPAN_LANES) * ATTN_I_SPAN_LANES;
}

void attn_i_projected_tanh_layout(const attn_i_problem *p, attn_i_arena *arena, attn_i_score_state *state,
                                  attn_i_matrix w, attn_i_matrix u)
{
    const int64_t hidden = p->mechanism->hidden_dim;
    if (w.data != NULL) state->queries = attn_i_score_query_map(p, arena, state, attn_i_matrix_transpose(w));
    if (u.data != NULL) state->keys = attn_i_score_key_map(p, arena, state, attn_i_matrix_transpose(u));
    state->v = attn_i_carve(arena, padded(p), p->size);
    if (attn_i_mechanism_param(p->mechanism, "b") != NULL) state->b = attn_i_carve(arena, hidden, p->size);
}

static double get(const attn_i_problem *p, const void *v, int64_t a)
{
    return p->dtype == ATTN_F32 ? (double)((const float *)v)[a] : ((const double *)v)[a];
}

/* v becomes g v / |v|. Divided by its greatest element first, v's squares neither overflow nor vanish. */
static void normalise(const attn_i_problem *p, void *v, double g)
{
    const int64_t hidden = p->mechanism->hidden_dim;
    double most = 0, squares = 0;
    for (int64_t a = 0; a < hidden; a++) {
        const double magnitude = fabs(get(p, v, a));
        if (magnitude > most) most = magnitude; /* with fmax, GCC 12 for aarch64 crashes on this loop */
    }
    for (int64_t a = 0; a < hidden; a++) squares += (get(p, v, a) / most) * (get(p, v, a) / most);
    for (int64_t a = 0; a < hidden; a++) {
        const double x = get(p, v, a) / most * (g / sqrt(squares));
        if (p->dtype == ATTN_F32) ((float *)v)[a] = (float)x;
        if (p->dtype == ATTN_F64) ((double *)v)[a] = x;
    }
}

void attn_i_projected_tanh_load(const attn_i_problem *p, attn_i_score_state *state)
{
    const attn_i_kernels *kernels = p->kernels;
    const int64_t hidden = p->mechanism->hidden_dim;
    attn_i_matrix v = attn_i_score_param(p, "v"), b = attn_i_score_param(p, "b"), g = attn_i_score_param(p, "g");
    attn_i_projection_load(p, &state->queries);
    attn_i_projection_load(p, &state->keys);
    memset(state->v, 0, (size_t)(padded(p) * p->size));
    kernels->gather(hidden, v.data, v.column_stride, state->v);
    if (b.data != NULL) kernels->gather(hidden, b.data, b.column_stride, state->b);
    if (g.data != NULL) normalise(p, state->v, get(p, g.data, 0));
}

void attn_i_projected_tanh_queries(const attn_i_problem *p, const attn_i_score_state *state, attn_i_matrix from,
                                   attn_i_matrix to)
{
    const int has_map = attn_i_mechanism_param(p->mechanism, "W") != NULL;
    if (!has_map) attn_i_matrix_copy(from, to, p->kernels, p->size);
    if (has_map) attn_i_project(p, &state->queries, from, to);
    for (int64_t i = 0; state->b != NULL && i < to.rows; i++) {
        p->kernels->add_bias(to.columns, state->b, 1, to.data + i * to.row_stride * p->size);
    }
}

/* One job over all blocks: items are counted through the blocks, each block being its keys / KEYS_PER_ITEM items. */
typedef struct tanh_job {
    const attn_i_problem *problem;
    const attn_i_score_state *state;
    const attn_i_score_block *blocks;
} tanh_job;

static int64_t items_of(const attn_i_score_block *block)
{
    return attn_i_divide_up(block->scores.columns, KEYS_PER_ITEM);
}

static void score_item(void *data, int64_t item)
{
    const tanh_job *job = data;
    const attn_i_problem *p = job->problem;
    const attn_i_score_block *block = job->blocks;
    for (; item >= items_of(block); block++) item -= items_of(block);
    int64_t first = item * KEYS_PER_ITEM, count = attn_i_min(KEYS_PER_ITEM, block->scores.columns - first);
    attn_i_matrix keys = attn_i_matrix_rows(block->keys, first, count, p->size);
    attn_i_matrix scores = attn_i_matrix_columns(block->scores, first, count, p->size);
    for (int64_t i = 0; i < scores.rows; i++) {
        p->kernels->tanh_scores(p->mechanism->hidden_dim, job->state->v,
                                block->queries.data + i * block->queries.row_stride * p->size, count, keys.data,
                                keys.row_stride, scores.data + i * scores.row_stride * p->size);
    }
}

void attn_i_projected_tanh_scores(const attn_i_problem *p, const attn_i_score_state *state,
                                  const attn_i_score_block *blocks, int64_t count)
{
    int64_t items = 0, scores = 0;
    for (int64_t i = 0; i < count; i++) {
        items += items_of(&blocks[i]);
        scores += blocks[i].scores.rows * blocks[i].scores.columns;
    }
    tanh_job job = {p, state, blocks};
    attn_i_parallel(p->engine->pool, items, scores * p->mechanism->hidden_dim * TANH_WORK, score_item, &job);
}

/* ------------------------------------------------------------------------------------------ the fused way */

/* Converted, a key is exp(2 x) in `padded` elements, and after it the greatest |x|; exp(2 x) - 1 if no |x| is past
 * ATTN_I_FACTORED_NEAR, so that the digits of small ones are kept; or x itself, and infinity, if some |x| is too large.
 */
enum { AFTER = ATTN_I_SPAN_LANES };

/* Beyond, a sum of fractions might overflow. */
static const float most_weight = 1024;

/* A pass' queries: where they came from, and after this struct room for a row each of exp(2 x), as many of exp(2 x) -
 * 1, and room for a key. */
typedef struct tanh_queries {
    const float *from[ATTN_I_LANES];
    float most; /* |x| of all of them; infinity: not converted */
    float unused[ATTN_I_SPAN_LANES - 1];
} tanh_queries;

static int64_t key_elements(const attn_i_problem *p)
{
    return padded(p) + AFTER;
}

static int64_t query_elements(const attn_i_problem *p)
{
    return (int64_t)(sizeof(tanh_queries) / sizeof(float)) + (2 * ATTN_I_LANES + 1) * padded(p);
}

static float *rows_after(const float *queries)
{
    return (float *)(void *)((char *)(void *)queries + sizeof(tanh_queries));
}

/* Rows of exp(2 x), or of these less one, in the order of the lanes. */
static attn_i_rows converted_queries(const attn_i_problem *p, const float *queries, int near)
{
    return (attn_i_rows){rows_after(queries) + (near ? ATTN_I_LANES * padded(p) : 0), padded(p)};
}

static int is_near(const attn_i_problem *p, const float *key)
{
    return key[padded(p)] <= ATTN_I_FACTORED_NEAR;
}

static void fill_past_hidden(const attn_i_problem *p, float x, float *row)
{
    for (int64_t a = p->mechanism->hidden_dim; a < padded(p); a++) row[a] = x;
}

static void convert_key(const attn_i_problem *p, const float *from, float *to)
{
    const int64_t hidden = p->mechanism->hidden_dim;
    float most = p->engine->tile_kernels->double_exponentials_less_one(hidden, from, to);
    const int near = most != INFINITY;
    if (!near) most = p->engine->tile_kernels->double_exponentials(hidden, from, to, NULL);
    if (most == INFINITY && to != from) memcpy(to, from, (size_t)hidden * sizeof *to);
    fill_past_hidden(p, near ? 0 : 1, to);
    to[padded(p)] = most;
}

static void convert_queries(const attn_i_problem *p, const attn_i_score_state *state, int64_t count,
                            const float *const *from, float *to)
{
    tanh_queries *head = (tanh_queries *)(void *)to;
    const float *v = state->v;
    head->most = 0;
    for (int64_t a = 0; a < p->mechanism->hidden_dim; a++) {
        if (!(fabsf(v[a]) <= most_weight)) head->most = INFINITY;
    }
    for (int64_t i = 0; i < count; i++) {
        float *row = rows_after(to) + i * padded(p), *less_one = row + ATTN_I_LANES * padded(p);
        const int64_t hidden = p->mechanism->hidden_dim;
        const float most = p->engine->tile_kernels->double_exponentials(hidden, from[i], row, less_one);
        head->from[i] = from[i];
        fill_past_hidden(p, 1, row);
        fill_past_hidden(p, 0, less_one);
        if (most > head->most) head->most = most;
    }
}

static void restore_key(const attn_i_problem *p, const float *from, float *to)
{
    const int converted = from[padded(p)] != INFINITY, near = is_near(p, from);
    for (int64_t a = 0; a < p->mechanism->hidden_dim; a++) {
        to[a] = !converted ? from[a] : (near ? log1pf(from[a]) : logf(from[a])) / 2;
    }
}

/* The key as it was before it was converted. */
static const float *unconverted(const attn_i_problem *p, const float *queries, const float *key)
{
    if (key[padded(p)] == INFINITY) return key;
    float *x = rows_after(queries) + 2 * ATTN_I_LANES * padded(p);
    restore_key(p, key, x);
    return x;
}

static void score_directly(const attn_i_problem *p, const attn_i_score_state *state, const float *queries, int64_t rows,
                           const float *key, float *to)
{
    const tanh_queries *head = (const tanh_queries *)(const void *)queries;
    const float *x = unconverted(p, queries, key);
    for (int64_t i = 0; i < rows; i++) {
        p->kernels->tanh_scores(p->mechanism->hidden_dim, state->v, head->from[i], 1, x, 0, to + i);
    }
}

/* How many fractions may share a denominator: neither its product nor the numerator's, in which there are as many
 * weights, may overflow, and 4 most_weight exp(80) is 2^127.4. 0: none, it takes the tanh itself. */
static int sharing_for(float most)
{
    return most <= 10 ? 4 : most <= 20 ? 2 : most <= 40 ? 1 : 0;
}

/* How many of the keys from the first on, at most count, share and were converted alike, and in `sharing` how. */
static int64_t sharing_alike(const attn_i_problem *p, const float *queries, attn_i_rows keys, int64_t count,
                             int *sharing)
{
    const float most = ((const tanh_queries *)(const void *)queries)->most;
    int64_t n = 1;
    *sharing = sharing_for(most + keys.data[padded(p)]);
    for (; n < count; n++) {
        const float *key = keys.data + n * keys.stride;
        if (sharing_for(most + key[padded(p)]) != *sharing || is_near(p, key) != is_near(p, keys.data)) break;
    }
    return n;
}

static void lane_scores(const attn_i_problem *p, const attn_i_score_state *state, const float *queries, int64_t rows,
                        attn_i_rows keys, int64_t count, float *tile)
{
    const int64_t end = attn_i_divide_up(rows, ATTN_I_SPAN_LANES) * ATTN_I_SPAN_LANES;
    for (int64_t j = 0; j < count; j++) { /* lanes of no query */
        for (int64_t l = rows; l < end; l++) tile[j * ATTN_I_LANES + l] = 0;
    }
    for (int64_t j = 0, n; j < count; j += n) {
        int sharing;
        const attn_i_rows key = attn_i_rows_from(keys, j);
        float *to = tile + j * ATTN_I_LANES;
        n = sharing_alike(p, queries, key, count - j, &sharing);
        if (sharing > 0) {
            const int near = is_near(p, key.data);
            p->engine->tile_kernels->factored_tanh(padded(p), sharing, near, state->v,
                                                   converted_queries(p, queries, near), rows, key, n, to);
            continue;
        }
        for (int64_t i = 0; i < n; i++) {
            score_directly(p, state, queries, rows, key.data + i * key.stride, to + i * ATTN_I_LANES);
        }
    }
}

static void gradients_directly(const attn_i_problem *p, const attn_i_score_state *state, const float *queries,
                               int64_t first, int64_t rows, const float *key, const float *d_scores,
                               attn_i_sum_rows d_queries, float *d_key, float *own)
{
    const tanh_queries *head = (const tanh_queries *)(const void *)queries;
    const float *x = unconverted(p, queries, key);
    for (int64_t i = first; i < first + rows; i++) {
        p->kernels->tanh_gradients(p->mechanism->hidden_dim, state->v, head->from[i], 1, x, 0, d_scores + i,
                                   d_queries.data + i * d_queries.stride, d_key, 0, own);
    }
}

static void lane_gradients(const attn_i_problem *p, const attn_i_score_state *state, const float *queries,
                           int64_t first, int64_t rows, attn_i_rows keys, int64_t count, const float *d_scores,
                           attn_i_sum_rows d_queries, attn_i_sum_rows d_keys, float *own)
{
    for (int64_t j = 0, n; j < count; j += n) {
        int sharing;
        const attn_i_rows key = attn_i_rows_from(keys, j);
        const float *d = d_scores + j * ATTN_I_LANES;
        float *d_key = d_keys.data + j * d_keys.stride;
        n = sharing_alike(p, queries, key, count - j, &sharing);
        if (sharing > 0) {
            const int near = is_near(p, key.data);
            const attn_i_rows some = attn_i_rows_from(converted_queries(p, queries, near), first);
            p->engine->tile_kernels->factored_tanh_gradients(padded(p), near, state->v, some, rows, key, n, d + first,
                                                             d_queries.data + first * d_queries.stride,
                                                             d_queries.stride, d_key, d_keys.stride, own);
            continue;
        }
        for (int64_t i = 0; i < n; i++) {
            gradients_directly(p, state, queries, first, rows, key.data + i * key.stride, d + i * ATTN_I_LANES,
                               d_queries, d_key + i * d_keys.stride, own);
        }
    }
}

static void add_own(const attn_i_problem *p, const float *own, attn_i_score_sums *sums)
{
    for (int64_t a = 0; a < p->mechanism->hidden_dim; a++) sums->v[a] += (double)own[a];
}

const attn_i_lane_score attn_i_projected_tanh_lanes = {
    .key_elements = key_elements,
    .query_elements = query_elements,
    .convert_key = convert_key,
    .restore_key = restore_key,
    .convert_queries = convert_queries,
    .scores = lane_scores,
    .own_elements = padded,
    .gradients = lane_gradients,
    .add_own = add_own,
};
