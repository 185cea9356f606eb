/* SPDX-License-Identifier: BSD-3-Clause
 *
 * tiles/pass.c: one tile of queries against its keys. Where a score follows from its product alone, and
 * from where query and key stand, weights are made block by block with the products, relative to a reference that a
 * first look at a few keys gives; otherwise, or where a score has outgrown the reference, the scores are written to the
 * tile and passed over. */
#include "tiles/pass.h"

#include "call/storage.h"
#include "runtime/size.h"
#include "tiles/lanes.h"
#include "tiles/output.h"
#include "tiles/scores.h"
#include "tiles/view.h"

#include <math.h>
#include <string.h>

/* Whose scores give a reference, where all lanes see the tile whole. */
enum { LOOK_KEYS = 32 };

typedef attn_i_tile_piece piece;

/* Where the rows of the next tile are, in pages. */
typedef struct next_pages {
    const char *keys[ATTN_I_FETCHED_PAGES], *values[ATTN_I_FETCHED_PAGES];
} next_pages;

typedef struct pass {
    attn_i_tile_view v;
    attn_i_fetch *fetch;
    attn_i_fetch next; /* what it is where the next tile's keys and values are not near */
    next_pages *next_pages;
    float base[ATTN_I_LANES]; /* the greatest exponent that was seen, less ALiBi's part */
    int referenced;           /* every lane has a reference that weights made with products can do with */
    int clean;                /* values that are not finite are kept apart */
    int late;                 /* the context is left to attn_i_tile_finish */
    int preset;               /* references are what they should have been before */
    int by_passes;            /* no weights are made with products */
    int seen;                 /* some lane saw some key */
} pass;

/* Elements of the context that the pass makes, and rows of lanes that they take. */
static int64_t context_dim(const pass *t)
{
    return t->v.p->context.data != NULL && !t->late && !t->v.plan->sums_only ? t->v.p->value_dim : 0;
}

static int64_t context_rows(const pass *t)
{
    return t->late || t->v.plan->sums_only ? 0 : attn_i_tile_context_rows(t->v.plan);
}

/* 1 if all lanes meet all keys in one tile. */
static int can_be_late(pass *t, attn_i_span keys)
{
    if (!t->v.plan->wide || keys.first == keys.end) return 0;
    t->v.keys = keys;
    attn_i_tile_view_take(&t->v);
    const piece *one = &t->v.pieces[0];
    if (t->v.count != 1 || one->count != keys.end - keys.first) return 0;
    return one->spans.first == t->v.all.first && one->spans.end == t->v.all.end;
}

/* ---------------------------------------------------------------------------------------------- references */

/* Moves the references to the greatest scores where these outgrow them, or where there is none yet. */
static void move_references(pass *t, const float *most)
{
    if (attn_i_lanes_move(t->v.kernels, t->v.lanes, most, context_rows(t), t->v.s->context)) t->referenced = 0;
}

/* 1 if the lane sees any of the first keys of the tile. */
static int sees_any(const pass *t, int64_t lane, int64_t count)
{
    return !t->v.edges || t->v.lanes->first_key[lane] < attn_i_min(t->v.lanes->end_key[lane], count);
}

static int has_reference(const pass *t, int64_t lane)
{
    return fabsf(t->v.lanes->reference[lane]) <= ATTN_I_FAR;
}

/* With ALiBi what is to be expected of a lane's scores moves from tile to tile. */
static void follow_alibi(pass *t)
{
    float most[ATTN_I_LANES];
    const int64_t all = t->v.keys.end - t->v.keys.first;
    for (int64_t l = 0; l < ATTN_I_LANES; l++) {
        const int expects = l < t->v.w->rows && t->base[l] != -INFINITY && sees_any(t, l, all);
        most[l] = expects ? t->base[l] + t->v.top[l] : -INFINITY;
    }
    move_references(t, most);
}

/* 1 if each lane that sees any key of the tile has a reference, be it that a look at the first keys gives it one. The
 * scores of the keys that were looked at, all of them in the first piece, are in the tile then. */
static int find_references(pass *t, int64_t *looked)
{
    const int64_t all = t->v.keys.end - t->v.keys.first,
                  count = attn_i_min(t->v.edges ? ATTN_I_PIECE_KEYS : LOOK_KEYS, all);
    int missing = 0;
    *looked = 0;
    if (t->referenced) return 1;
    for (int64_t l = 0; l < t->v.w->rows; l++) {
        if (has_reference(t, l) || !sees_any(t, l, all)) continue;
        missing = 1;
        if (t->v.lanes->reference[l] != -INFINITY || !sees_any(t, l, count)) return 0;
    }
    if (missing) {
        float most[ATTN_I_LANES];
        for (int l = 0; l < ATTN_I_LANES; l++) most[l] = -INFINITY;
        t->v.plan->arithmetic->products(t->v.plan->depth, t->v.s->queries, t->v.near_keys, 0, count, t->v.all,
                                        t->v.s->tile);
        attn_i_tile_cap_folded(t->v.plan, count, t->v.all, t->v.s->tile);
        if (t->v.pieces[0].edges) t->v.kernels->tile_edges(count, t->v.all, t->v.lanes, 0, t->v.s->tile);
        t->v.kernels->tile_maximum(count, t->v.all, t->v.s->tile, most);
        for (int64_t l = 0; l < t->v.w->rows; l++) {
            if (has_reference(t, l) || !sees_any(t, l, all)) continue;
            t->base[l] = most[l];
            most[l] += t->v.top[l];
            if (!(fabsf(most[l]) <= ATTN_I_FAR)) return 0;
            t->v.lanes->reference[l] = ceilf(most[l]);
        }
        *looked = count;
    }
    t->referenced = 1;
    for (int64_t l = 0; l < t->v.w->rows; l++) t->referenced &= has_reference(t, l);
    return 1;
}

/* ---------------------------------------------------------------------------------------------- one tile */

/* The weights of all pieces, made as the products are. 0: it has to be done the other way. */
static int weights_with_products(pass *t)
{
    const int alibi = t->v.p->modifiers->alibi != ATTN_ALIGN_NONE;
    const attn_i_exponent exponent = {t->v.plan->cap, alibi ? t->v.slope : NULL, t->v.distance};
    int64_t looked;
    if (!t->v.plan->plain) return 0;
    if (alibi) follow_alibi(t);
    if (!find_references(t, &looked)) return 0;
    /* Lanes that see nothing yet have no reference; any number will do. */
    attn_i_lanes *lanes = t->v.lanes, some;
    if (!t->referenced) {
        some = *t->v.lanes;
        lanes = &some;
        for (int l = 0; l < ATTN_I_LANES; l++) {
            if (!has_reference(t, l)) some.reference[l] = 0;
        }
    }
    if (looked > 0 && alibi) attn_i_tile_view_add_alibi(&t->v, 0, looked, t->v.pieces[0].spans);
    if (looked > 0) t->v.kernels->tile_exponentials(looked, t->v.pieces[0].spans, lanes->reference, t->v.s->tile);
    int good = 1;
    for (int i = 0; i < t->v.count && good; i++) {
        const piece *one = &t->v.pieces[i];
        const int64_t first = attn_i_max(one->first, looked), count = one->first + one->count - first;
        if (count == 0) continue;
        good =
            t->v.plan->arithmetic->weights(t->v.plan->depth, t->v.s->queries, t->v.near_keys, first, count, one->spans,
                                           &exponent, lanes, one->edges, t->fetch, t->v.s->tile + first * ATTN_I_LANES);
    }
    return good;
}

/* ---------------------------------------------------------------------------------------------- stats */

/* The greatest scores of the tile, which is still of scores, where they are greater than any before. */
static void find_strongest(pass *t, const float *most)
{
    const double unit = t->v.plan->great != 0 ? t->v.plan->great : 1;
    attn_i_row_stats *stats = t->v.s->stats;
    int32_t at[ATTN_I_LANES] = {0};
    int any = 0;
    for (int64_t l = 0; l < t->v.w->rows; l++) any |= (double)most[l] * unit > stats[l].greatest;
    for (int i = t->v.count - 1; i >= 0 && any; i--) { /* the first piece that has it is the last word */
        const piece *one = &t->v.pieces[i];
        t->v.kernels->tile_find(one->count, one->spans, most, (int32_t)one->first,
                                t->v.s->tile + one->first * ATTN_I_LANES, at);
    }
    for (int64_t l = 0; l < t->v.w->rows && any; l++) {
        if (!((double)most[l] * unit > stats[l].greatest)) continue;
        stats[l].greatest = (double)most[l] * unit;
        stats[l].strongest = t->v.keys.first + at[l];
    }
}

/* Exponents of a piece become weights, of which the sums go to those of the rows. */
static void measure(pass *t, const piece *one, const float *reference, float *tile)
{
    const attn_i_lanes *lanes = t->v.lanes;
    const double unit = t->v.plan->great != 0 ? t->v.plan->great : 1;
    float sum[ATTN_I_LANES] = {0}, moment[ATTN_I_LANES] = {0};
    t->v.kernels->tile_measure(one->count, one->spans, reference, tile, sum, moment);
    for (int64_t l = 0; l < t->v.w->rows; l++) {
        attn_i_row_stats_add(&t->v.s->stats[l], (double)lanes->reference[l] * unit,
                             t->v.plan->great != 0 ? (double)lanes->room[l] : 0, sum[l], moment[l]);
    }
}

/* ---------------------------------------------------------------------------------------------- by passes */

static void to_weights(pass *t, const piece *one, const float *reference, float *tile)
{
    if (t->v.plan->measures) {
        measure(t, one, reference, tile);
    } else {
        t->v.kernels->tile_exponentials(one->count, one->spans, reference, tile);
    }
}

static void weights_by_passes(pass *t, attn_i_shows mask)
{
    float most[ATTN_I_LANES], reference[ATTN_I_LANES];
    for (int l = 0; l < ATTN_I_LANES; l++) most[l] = -INFINITY;
    if (t->v.plan->biased) attn_i_tile_view_bias(&t->v);
    for (int i = 0; i < t->v.count; i++) {
        attn_i_tile_scores(&t->v, &t->v.pieces[i], mask, NULL);
        for (int64_t j = 0; j < t->v.pieces[i].count; j += ATTN_I_BLOCK_ROWS) attn_i_fetch_step(t->fetch);
        t->v.kernels->tile_maximum(t->v.pieces[i].count, t->v.pieces[i].spans,
                                   t->v.s->tile + t->v.pieces[i].first * ATTN_I_LANES, most);
    }
    if (t->v.plan->measures) find_strongest(t, most);
    if (t->v.plan->great != 0) {
        attn_i_lanes_move_great(t->v.kernels, t->v.lanes, t->v.plan->great, most, context_rows(t), t->v.s->context);
    } else {
        move_references(t, most);
    }
    for (int l = 0; l < ATTN_I_LANES; l++) t->base[l] = fmaxf(t->base[l], most[l] - t->v.top[l]);
    for (int l = 0; l < ATTN_I_LANES; l++) {
        reference[l] = t->v.lanes->reference[l] == -INFINITY ? 0 : t->v.lanes->reference[l];
    }
    for (int i = 0; i < t->v.count; i++) {
        const piece *one = &t->v.pieces[i];
        float *tile = t->v.s->tile + one->first * ATTN_I_LANES;
        if (t->v.plan->great == 0) {
            to_weights(t, one, reference, tile);
        } else {
            attn_i_tile_take_off(t->v.plan->great, one->count, one->spans, reference, tile);
            to_weights(t, one, t->v.lanes->room, tile);
        }
    }
}

/* A value as it is, in float32. */
static const float *value_at(const pass *t, int64_t key, int64_t dim)
{
    return attn_i_kept_near(&t->v.w->value_rows, key, 1, dim, t->v.s->one_value).data;
}

/* Weights times values of a piece, the values being kept from whoever does not see them: what is not finite is left out
 * of the products and added lane by lane. */
static void add_context_cleaned(pass *t, const piece *one, float *weights, int64_t dim, float *sum)
{
    const attn_i_tile_arithmetic *a = t->v.plan->arithmetic;
    const attn_i_rows cleaned = {t->v.s->values, attn_i_max(dim, 1)};
    unsigned char hidden[ATTN_I_LANES];
    for (int64_t j = 0; j < one->count; j++) {
        const int64_t key = t->v.keys.first + one->first + j;
        const float *value = value_at(t, key, dim);
        if (t->v.p->kernels->gather_finite(dim, value, 1, t->v.s->values + j * cleaned.stride, 1)) continue;
        attn_i_tile_find_hidden(t->v.plan, t->v.s, t->v.w, key, hidden);
        for (int l = one->spans.first * ATTN_I_SPAN_LANES; l < one->spans.end * ATTN_I_SPAN_LANES; l++) {
            const float weight = weights[j * ATTN_I_LANES + l];
            if (weight == 0 || hidden[l]) continue;
            for (int64_t d = 0; d < dim; d++) {
                if (!isfinite(value[d])) t->v.s->context[d * ATTN_I_LANES + l] += weight * value[d];
            }
        }
    }
    const attn_i_stored_rows near = a->load_floats(one->count, cleaned, dim, t->v.s->near_values);
    a->context(one->count, weights, near, 0, dim, one->spans, t->v.s->context, sum);
}

static void add_context(pass *t)
{
    const int64_t dim = context_dim(t);
    if (t->late) {
        t->v.lanes->late_first = t->v.keys.first;
        t->v.lanes->late_end = t->v.keys.end;
    }
    for (int i = 0; i < t->v.count; i++) {
        const piece *one = &t->v.pieces[i];
        const int64_t from = dim > 0 ? one->first : 0; /* of sums alone there may be no values */
        const attn_i_tile_arithmetic *a = t->v.plan->arithmetic;
        float *weights = t->v.s->tile + one->first * ATTN_I_LANES;
        float *sum = t->v.lanes->sum, unused[ATTN_I_LANES] = {0};
        if (t->v.p->dropout.keep != 0) { /* the sum is of all weights */
            a->context(one->count, weights, t->v.near_values, from, 0, one->spans, t->v.s->context, sum);
            attn_i_tile_view_drop(&t->v, one, t->v.s->tile);
            sum = unused;
        }
        if (t->clean) {
            add_context_cleaned(t, one, weights, dim, sum);
        } else {
            a->context(one->count, weights, t->v.near_values, from, dim, one->spans, t->v.s->context, sum);
        }
    }
}

/* ---------------------------------------------------------------------------------------------- all tiles */

static void begin(pass *t, int late)
{
    t->late = late;
    t->v.lanes->late_first = t->v.lanes->late_end = 0;
    t->referenced = t->seen = 0;
    for (int l = 0; l < ATTN_I_LANES; l++) {
        if (!t->preset) {
            t->v.lanes->reference[l] = l < t->v.w->rows ? -INFINITY : 0;
            t->v.lanes->room[l] = 0;
        }
        t->base[l] = -INFINITY;
        t->v.lanes->sum[l] = 0;
    }
    memset(t->v.s->context, 0, (size_t)(context_rows(t) * ATTN_I_LANES) * sizeof(float));
    if (t->v.plan->measures) attn_i_row_stats_begin(t->v.s->stats, ATTN_I_LANES);
}

/* The keys and values of the tile after this one, up to `end`, are asked for while this one is computed. */
static void fetch_next(pass *t, int64_t end)
{
    const int64_t first = t->v.keys.end, now = first - t->v.keys.first, n = attn_i_min(end - first, ATTN_I_TILE_KEYS);
    t->next = (attn_i_fetch){.count = 0};
    attn_i_kept_fetch(&t->v.w->key_rows, first, n, t->v.plan->depth, t->next_pages->keys, &t->next);
    attn_i_kept_fetch(&t->v.w->value_rows, first, n, context_dim(t), t->next_pages->values, &t->next);
    attn_i_fetch_begin(&t->next, now / ATTN_I_BLOCK_ROWS);
    t->fetch = &t->next;
}

static void run(pass *t, attn_i_span keys)
{
    begin(t, can_be_late(t, keys));
    for (int64_t first = keys.first; first < keys.end; first = t->v.keys.end) {
        /* Tiles begin at multiples of their size, so that a mask's blocks are whole in them. */
        t->v.keys.first = first;
        t->v.keys.end = attn_i_min((first / ATTN_I_TILE_KEYS + 1) * ATTN_I_TILE_KEYS, keys.end);
        attn_i_tile_view_take(&t->v);
        const attn_i_shows mask = attn_i_tile_view_mask(&t->v);
        if (mask == ATTN_I_NOTHING) {
            if (t->late) begin(t, 0);
            continue;
        }
        t->seen = 1;
        if (t->v.w->reads_memory) fetch_next(t, keys.end);
        attn_i_tile_view_near(&t->v);
        if (t->by_passes || mask == ATTN_I_SOMETHING || !weights_with_products(t)) weights_by_passes(t, mask);
        add_context(t);
    }
}

/* 1 if some lane's reference lies so far above its scores that the least that a weight is held at counts beside the
 * sum: ALiBi's part was added to it, and the key that had the greatest product was a distant one. */
static int is_held(const pass *t, attn_i_span keys)
{
    const float least = (float)(keys.end - keys.first) * 0x1p-38f; /* 2^-ROOM for each key is 2^-26 of it */
    for (int64_t l = 0; l < t->v.w->rows; l++) {
        if (t->v.lanes->sum[l] > 0 && t->v.lanes->sum[l] < least) return 1;
    }
    return 0;
}

/* 1 if some lane's context is not finite though its weights are numbers: a value that is not, perhaps of a key that the
 * lane does not see. */
static int is_poisoned(const pass *t)
{
    const int64_t dim = context_dim(t);
    if (t->v.p->kernels->is_finite(dim * ATTN_I_LANES, t->v.s->context)) return 0;
    for (int64_t l = 0; l < t->v.w->rows; l++) {
        if (!isfinite(t->v.lanes->sum[l])) continue;
        for (int64_t d = 0; d < dim; d++) {
            if (!isfinite(t->v.s->context[d * ATTN_I_LANES + l])) return 1;
        }
    }
    return 0;
}

/* 1 if some of these biases is finite, or all are none. */
static int any_finite(const pass *t, int64_t lane, int64_t first, int64_t n)
{
    const attn_i_view *bias = &t->v.p->bias;
    if (bias->data == NULL) return 1;
    float row[ATTN_I_TILE_KEYS];
    const char *biases =
        attn_i_view_element(bias, t->v.w->b, attn_i_tile_head(&t->v, lane), attn_i_tile_query(&t->v, lane), first);
    attn_i_elements_widen(t->v.p->engine, bias, biases, n, row);
    return t->v.kernels->row_maximum(n, row) != -INFINITY;
}

/* 1 if the lane may see some key whose score is not minus infinity by a bias. */
static int may_see(const pass *t, int64_t lane)
{
    const attn_i_problem *p = t->v.p;
    const attn_i_span sees = attn_i_sees(t->v.sight, attn_i_tile_query(&t->v, lane));
    const int64_t start = attn_i_max(sees.first, t->v.w->keys.first), end = attn_i_min(sees.end, t->v.w->keys.end);
    for (int64_t first = start, n; first < end; first += n) {
        n = attn_i_min(end - first, ATTN_I_TILE_KEYS);
        if (!any_finite(t, lane, first, n)) continue;
        if (p->mask.data == NULL) return 1;
        const attn_i_mask_row mask =
            attn_i_mask_row_of(p, t->v.w->b, attn_i_tile_head(&t->v, lane), attn_i_tile_query(&t->v, lane),
                               (attn_i_span){first, first + n});
        const int64_t masked = mask.keys.end - mask.keys.first;
        if (masked < n || t->v.kernels->mask_count(masked, mask.shows, mask.stride) > 0) return 1;
    }
    return 0;
}

/* 1 if some lane's scores became infinite as exponents: its sum is no number then, or it is 0 though it sees keys. */
static int has_lost_scores(const pass *t)
{
    for (int64_t l = 0; l < t->v.w->rows; l++) {
        const float sum = t->v.lanes->sum[l];
        if (!isfinite(sum) || (sum == 0 && may_see(t, l))) return 1;
    }
    return 0;
}

/* To the sums, so that a context is no greater than the values that it is made of, and so as finite as they are. */
static void preset_references(pass *t)
{
    attn_i_lanes *lanes = t->v.lanes;
    t->preset = 1;
    for (int64_t l = 0; l < t->v.w->rows; l++) {
        float *to = t->v.plan->great == 0 ? lanes->reference : lanes->room;
        to[l] += attn_i_room_for_sum(lanes->sum[l]);
    }
}

static void tell_exponents(const pass *t)
{
    attn_i_lanes *lanes = t->v.lanes;
    const double unit = t->v.plan->great != 0 ? t->v.plan->great : 1;
    lanes->great = t->v.plan->great;
    for (int l = 0; l < ATTN_I_LANES; l++) {
        lanes->exponent[l] = (double)lanes->reference[l] * unit + (double)lanes->room[l];
    }
}

/* 1 if some reference is past what another whole number can be added to. */
static int any_far(const pass *t)
{
    int far = 0;
    for (int64_t l = 0; l < t->v.w->rows; l++) far |= fabsf(t->v.lanes->reference[l]) > ATTN_I_FAR;
    return far;
}

static void run_great(pass *t, attn_i_span keys, attn_i_tile_plan *great)
{
    *great = attn_i_tile_plan_great(t->v.plan);
    attn_i_tile_view_begin(&t->v, great, t->v.s, t->v.w);
    attn_i_tile_load_queries(&t->v);
    run(t, keys);
}

/* What floats could not hold is run again by other means, which `great` may have to hold. */
static void run_what_failed(pass *t, attn_i_span keys, attn_i_tile_plan *great)
{
    if (is_held(t, keys)) {
        t->by_passes = 1;
        run(t, keys);
    }
    if (t->v.plan->great == 0 && has_lost_scores(t)) run_great(t, keys, great);
    if (is_poisoned(t)) { /* what is hidden is kept apart, which changes no bit of the rest; */
        t->clean = 1;
        run(t, keys);
    }
    if (t->clean && is_poisoned(t)) { /* then the values may be too great */
        if (t->v.plan->great == 0 && any_far(t)) run_great(t, keys, great);
        preset_references(t);
        run(t, keys);
    }
}

void attn_i_tile_pass(const attn_i_tile_plan *plan, const attn_i_tile_scratch *scratch, const attn_i_tile_work *work,
                      attn_i_fetch *fetch)
{
    next_pages pages; /* not zeros, which take a while to write */
    pass t = {.fetch = fetch, .next_pages = &pages};
    attn_i_span keys = attn_i_tile_view_begin(&t.v, plan, scratch, work);
    if (plan->writes_scores) keys = work->keys;
    attn_i_fetch_begin(fetch, (keys.end - keys.first - LOOK_KEYS) / ATTN_I_BLOCK_ROWS);
    attn_i_tile_load_queries(&t.v);
    run(&t, keys);
    attn_i_tile_plan great;
    if (t.seen) run_what_failed(&t, keys, &great);
    tell_exponents(&t);
}
