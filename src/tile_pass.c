/* SPDX-License-Identifier: BSD-3-Clause
 *
 * tile_pass.c: one tile of queries against its keys. A tile of keys is cut into pieces: runs of keys that are seen by
 * the same spans of lanes, so that what nobody sees is not computed. Where a score follows from its product alone, and
 * from where query and key stand, weights are made block by block with the products, relative to a reference that a
 * first look at a few keys gives; otherwise, or where a score has outgrown the reference, the scores are written to the
 * tile and passed over. */
#include "tile_pass.h"

#include "runtime/size.h"
#include "tile_output.h"

#include <math.h>
#include <string.h>

enum {
    PIECE_KEYS = 16, /* of a tile that not all lanes see alike */
    LOOK_KEYS = 32,  /* whose scores give a reference, where all lanes see the tile whole */
    MOST_PIECES = ATTN_I_TILE_KEYS / PIECE_KEYS,
    ROOM_BEFORE_MOVE = 16 /* exponents that a score may exceed the reference by before it is moved */
};

/* Keys first .. first + count - 1 of the tile, and the spans of lanes that see any of them. */
typedef struct piece {
    int64_t first, count;
    attn_i_spans spans;
    int edges; /* some lane does not see all */
} piece;

typedef struct pass {
    const attn_i_tile_plan *plan;
    const attn_i_problem *p;
    const attn_i_tile_kernels *kernels;
    const attn_i_tile_scratch *s;
    const attn_i_tile_work *w;
    attn_i_lanes *lanes;
    attn_i_fetch *fetch;
    int64_t query[ATTN_I_LANES], head[ATTN_I_LANES]; /* that each lane is */
    attn_i_sight sight;                              /* of the queries */
    attn_i_span common;                              /* what all lanes see */
    float slope[ATTN_I_LANES];                       /* ALiBi's, of exponents if these are folded */
    float base[ATTN_I_LANES];                        /* the greatest exponent that was seen, less ALiBi's part */
    attn_i_spans all;                                /* spans with rows */
    int referenced; /* every lane has a reference that weights made with products can do with */
    int clean;      /* values that are not finite are kept apart */
    int late;       /* the context is left to attn_i_tile_finish */
    /* The tile at hand. */
    attn_i_span keys;
    float distance[ATTN_I_LANES]; /* of its first key from where the lane stands, for ALiBi */
    float top[ATTN_I_LANES];      /* the greatest that ALiBi adds to a key that the lane sees */
    int edges; /* some lane does not see all of it, and first_key and end_key say what each does see */
    piece pieces[MOST_PIECES];
    int count;
} pass;

/* ---------------------------------------------------------------------------------------- what is looked at */

static int64_t query_of(const pass *t, int64_t lane)
{
    return t->query[lane];
}

static int64_t head_of(const pass *t, int64_t lane)
{
    return t->head[lane];
}

/* Which query and head each lane is, counted on from the first. */
static void name_lanes(pass *t)
{
    int64_t query = t->w->first_row / t->p->group, member = t->w->first_row % t->p->group;
    for (int64_t l = 0; l < t->w->rows; l++) {
        t->query[l] = query;
        t->head[l] = t->w->key_head * t->p->group + member;
        if (++member < t->p->group) continue;
        member = 0;
        query++;
    }
}

static attn_i_span intersect(attn_i_span a, attn_i_span b)
{
    const attn_i_span both = {attn_i_max(a.first, b.first), attn_i_min(a.end, b.end)};
    return both.first < both.end ? both : (attn_i_span){0, 0};
}

/* What a lane sees of the pass's keys. */
static attn_i_span seen_by(const pass *t, int64_t lane)
{
    return intersect(attn_i_sees(t->sight, query_of(t, lane)), t->w->keys);
}

/* What all lanes see, and the run of keys that any of them sees. Both ends of what a query sees move forward with it,
 * hence the first lane and the last one tell. */
static attn_i_span look(pass *t)
{
    int64_t first = 0, last = t->w->rows - 1;
    t->sight = attn_i_sight_of(t->p, t->w->b);
    t->common = intersect(seen_by(t, first), seen_by(t, last));
    attn_i_span any = seen_by(t, first), end = seen_by(t, last);
    while (any.first == any.end && first < last) any = seen_by(t, ++first);
    while (end.first == end.end && first < last) end = seen_by(t, --last);
    any.end = end.end;
    return any;
}

/* What the lanes of a span see of the tile at hand, by position in it: keys that all of them see, and a run that holds
 * all keys that any sees. */
typedef struct outlook {
    int32_t all_first, all_end, any_first, any_end;
} outlook;

/* Lanes count keys from the tile's first. */
static void set_edges(pass *t, outlook spans[ATTN_I_SPANS])
{
    const int32_t n = (int32_t)(t->keys.end - t->keys.first);
    for (int s = 0; s < ATTN_I_SPANS; s++) spans[s] = (outlook){0, n, n, 0};
    for (int64_t l = 0; l < ATTN_I_LANES; l++) {
        outlook *span = &spans[l / ATTN_I_SPAN_LANES];
        const attn_i_span one = l < t->w->rows ? seen_by(t, l) : (attn_i_span){0, 0};
        const int32_t first = (int32_t)attn_i_clamp(one.first - t->keys.first, 0, n);
        const int32_t end = (int32_t)attn_i_clamp(one.end - t->keys.first, 0, n);
        t->lanes->first_key[l] = first;
        t->lanes->end_key[l] = end;
        if (l >= t->w->rows) continue;
        if (first > span->all_first) span->all_first = first;
        if (end < span->all_end) span->all_end = end;
        if (first >= end) continue;
        if (first < span->any_first) span->any_first = first;
        if (end > span->any_end) span->any_end = end;
    }
}

static void add_piece(pass *t, int64_t first, int64_t count, attn_i_spans spans, int edges)
{
    piece *last = t->count > 0 ? &t->pieces[t->count - 1] : NULL;
    if (last != NULL && last->first + last->count == first && last->edges == edges &&
        last->spans.first == spans.first && last->spans.end == spans.end) {
        last->count += count;
    } else {
        t->pieces[t->count++] = (piece){first, count, spans, edges};
    }
}

static int meets(const outlook *span, int64_t first, int64_t count)
{
    return span->any_first < first + count && span->any_end > first;
}

static void cut_tile(pass *t)
{
    const int64_t n = t->keys.end - t->keys.first;
    t->edges = t->keys.first < t->common.first || t->keys.end > t->common.end;
    t->count = 0;
    outlook seen[ATTN_I_SPANS];
    if (t->edges) set_edges(t, seen);
    if (!t->edges || t->plan->writes_scores) {
        add_piece(t, 0, n, t->all, t->edges);
        return;
    }
    for (int64_t first = 0; first < n; first += PIECE_KEYS) {
        const int64_t count = attn_i_min(n - first, PIECE_KEYS);
        attn_i_spans spans = t->all;
        while (spans.first < spans.end && !meets(&seen[spans.first], first, count)) spans.first++;
        while (spans.end > spans.first && !meets(&seen[spans.end - 1], first, count)) spans.end--;
        int not_all = 0;
        for (int s = spans.first; s < spans.end; s++) {
            not_all |= seen[s].all_first > first || seen[s].all_end < first + count;
        }
        if (spans.first < spans.end) add_piece(t, first, count, spans, not_all);
    }
}

static attn_i_rows rows_from(attn_i_rows rows, int64_t first)
{
    return (attn_i_rows){rows.data + first * rows.stride, rows.stride};
}

/* Elements of the context that the pass makes. */
static int64_t context_dim(const pass *t)
{
    return t->p->context.data != NULL && !t->late ? t->p->value_dim : 0;
}

/* 1 if all lanes meet all keys in one tile. */
static int can_be_late(pass *t, attn_i_span keys)
{
    if (!t->plan->wide || keys.first == keys.end) return 0;
    t->keys = keys;
    cut_tile(t);
    const piece *one = &t->pieces[0];
    if (t->count != 1 || one->count != keys.end - keys.first) return 0;
    return one->spans.first == t->all.first && one->spans.end == t->all.end;
}

static void load_queries(pass *t)
{
    const attn_i_view *query = &t->p->query;
    const float *rows[ATTN_I_LANES];
    for (int64_t l = 0; l < t->w->rows; l++) {
        rows[l] = t->w->queries.data != NULL ? t->w->queries.data + (t->w->first_row + l) * t->w->queries.stride
                                             : (const float *)(void *)attn_i_view_at(query, t->w->b, head_of(t, l)) +
                                                   query_of(t, l) * query->stride[2];
    }
    if (t->plan->lanes != NULL) {
        t->plan->lanes->convert_queries(t->p, t->plan->state, t->w->rows, rows, t->s->queries);
        return;
    }
    t->kernels->to_lanes(t->w->rows, t->plan->depth, rows, t->plan->folded ? (float)t->plan->factor : 1, t->s->queries);
}

/* ------------------------------------------------------------------------------------------------- ALiBi */

static void load_slopes(pass *t)
{
    const attn_i_view *slopes = &t->p->modifiers->slopes;
    for (int64_t l = 0; l < ATTN_I_LANES; l++) {
        t->slope[l] = t->distance[l] = t->top[l] = 0;
        if (l >= t->w->rows || t->p->modifiers->alibi == ATTN_ALIGN_NONE) continue;
        const float own = ((const float *)(void *)slopes->data)[head_of(t, l) * slopes->stride[3]];
        t->slope[l] = t->plan->folded ? (float)(own * t->plan->unit) : own;
    }
}

/* For the tile at hand. */
static void measure_distances(pass *t)
{
    const float n = (float)(t->keys.end - t->keys.first);
    const int64_t start = t->keys.first - attn_i_position(t->p, t->p->modifiers->alibi, t->w->b, 0);
    for (int64_t l = 0; l < t->w->rows; l++) {
        const float nearest = (float)(start - query_of(t, l)), first = t->edges ? (float)t->lanes->first_key[l] : 0;
        const float last = (t->edges ? (float)t->lanes->end_key[l] : n) - 1;
        t->distance[l] = nearest;
        const float near = nearest + first > 0 ? nearest + first : nearest + last < 0 ? -(nearest + last) : 0;
        const float far = fmaxf(fabsf(nearest + first), fabsf(nearest + last));
        t->top[l] = -t->slope[l] * (t->slope[l] < 0 ? far : near);
    }
}

/* To keys first .. first + count - 1 of the tile. */
static void add_alibi(pass *t, int64_t first, int64_t count, attn_i_spans spans)
{
    float distance[ATTN_I_LANES];
    for (int l = 0; l < ATTN_I_LANES; l++) distance[l] = t->distance[l] + (float)first;
    t->kernels->tile_alibi(count, spans, t->slope, distance, t->s->tile + first * ATTN_I_LANES);
}

/* ---------------------------------------------------------------------------------------------- references */

/* Moves the references to the greatest scores where these outgrow them, or where there is none yet. */
static void move_references(pass *t, const float *most)
{
    float factor[ATTN_I_LANES];
    int moved = 0;
    for (int l = 0; l < ATTN_I_LANES; l++) {
        float *reference = &t->lanes->reference[l];
        factor[l] = 1;
        if (most[l] == -INFINITY || most[l] <= *reference + ROOM_BEFORE_MOVE) continue;
        const float to = ceilf(most[l]);
        if (*reference != -INFINITY) {
            factor[l] = exp2f(*reference - to);
            t->lanes->sum[l] *= factor[l];
            moved = 1;
        }
        *reference = to;
        t->referenced = 0;
    }
    if (moved) t->kernels->tile_multiply(context_dim(t), factor, t->s->context);
}

/* 1 if the lane sees any of the first keys of the tile. */
static int sees_any(const pass *t, int64_t lane, int64_t count)
{
    return !t->edges || t->lanes->first_key[lane] < attn_i_min(t->lanes->end_key[lane], count);
}

static int has_reference(const pass *t, int64_t lane)
{
    return fabsf(t->lanes->reference[lane]) <= ATTN_I_FAR;
}

/* From folded products to exponents. */
static void cap_folded(pass *t, int64_t count, attn_i_spans spans, float *tile)
{
    if (t->plan->cap == 0) return;
    t->kernels->tile_softcap(count, spans, 1, tile);
    t->kernels->tile_scale(count, spans, t->plan->cap, tile);
}

/* With ALiBi what is to be expected of a lane's scores moves from tile to tile. */
static void follow_alibi(pass *t)
{
    float most[ATTN_I_LANES];
    const int64_t all = t->keys.end - t->keys.first;
    for (int64_t l = 0; l < ATTN_I_LANES; l++) {
        const int expects = l < t->w->rows && t->base[l] != -INFINITY && sees_any(t, l, all);
        most[l] = expects ? t->base[l] + t->top[l] : -INFINITY;
    }
    move_references(t, most);
}

/* 1 if each lane that sees any key of the tile has a reference, be it that a look at the first keys gives it one. The
 * scores of the keys that were looked at, all of them in the first piece, are in the tile then. */
static int find_references(pass *t, int64_t *looked)
{
    const int64_t all = t->keys.end - t->keys.first, count = attn_i_min(t->edges ? PIECE_KEYS : LOOK_KEYS, all);
    int missing = 0;
    *looked = 0;
    if (t->referenced) return 1;
    for (int64_t l = 0; l < t->w->rows; l++) {
        if (has_reference(t, l) || !sees_any(t, l, all)) continue;
        missing = 1;
        if (t->lanes->reference[l] != -INFINITY || !sees_any(t, l, count)) return 0;
    }
    if (missing) {
        float most[ATTN_I_LANES];
        for (int l = 0; l < ATTN_I_LANES; l++) most[l] = -INFINITY;
        t->kernels->products(t->plan->depth, t->s->queries, rows_from(t->w->key_rows, t->keys.first), count, t->all,
                             t->s->tile, ATTN_I_LANES, 0);
        cap_folded(t, count, t->all, t->s->tile);
        if (t->pieces[0].edges) t->kernels->tile_edges(count, t->all, t->lanes, 0, t->s->tile);
        t->kernels->tile_maximum(count, t->all, t->s->tile, most);
        for (int64_t l = 0; l < t->w->rows; l++) {
            if (has_reference(t, l) || !sees_any(t, l, all)) continue;
            t->base[l] = most[l];
            most[l] += t->top[l];
            if (!(fabsf(most[l]) <= ATTN_I_FAR)) return 0;
            t->lanes->reference[l] = ceilf(most[l]);
        }
        *looked = count;
    }
    t->referenced = 1;
    for (int64_t l = 0; l < t->w->rows; l++) t->referenced &= has_reference(t, l);
    return 1;
}

/* ---------------------------------------------------------------------------------------------- one tile */

/* The weights of all pieces, made as the products are. 0: it has to be done the other way. */
static int weights_with_products(pass *t)
{
    const int alibi = t->p->modifiers->alibi != ATTN_ALIGN_NONE;
    const attn_i_exponent exponent = {t->plan->cap, alibi ? t->slope : NULL, t->distance};
    int64_t looked;
    if (!t->plan->plain) return 0;
    if (alibi) follow_alibi(t);
    if (!find_references(t, &looked)) return 0;
    /* Lanes that see nothing yet have no reference; any number will do. */
    attn_i_lanes *lanes = t->lanes, some;
    if (!t->referenced) {
        some = *t->lanes;
        lanes = &some;
        for (int l = 0; l < ATTN_I_LANES; l++) {
            if (!has_reference(t, l)) some.reference[l] = 0;
        }
    }
    if (looked > 0 && alibi) add_alibi(t, 0, looked, t->pieces[0].spans);
    if (looked > 0) t->kernels->tile_exponentials(looked, t->pieces[0].spans, lanes->reference, t->s->tile);
    int good = 1;
    for (int i = 0; i < t->count && good; i++) {
        const piece *one = &t->pieces[i];
        const int64_t first = attn_i_max(one->first, looked), count = one->first + one->count - first;
        if (count == 0) continue;
        good = t->kernels->weights(t->plan->depth, t->s->queries, rows_from(t->w->key_rows, t->keys.first + first),
                                   count, one->spans, &exponent, lanes, first, one->edges, t->fetch,
                                   t->s->tile + first * ATTN_I_LANES);
    }
    return good;
}

/* The rows of the bias for the tile's keys, in lanes. */
static void load_bias(pass *t)
{
    const attn_i_view *bias = &t->p->bias;
    const int64_t n = t->keys.end - t->keys.first;
    const float *rows[ATTN_I_LANES];
    for (int64_t l = 0; l < t->w->rows; l++) {
        rows[l] = (const float *)(void *)attn_i_view_at(bias, t->w->b, head_of(t, l)) +
                  query_of(t, l) * bias->stride[2] + t->keys.first * bias->stride[3];
        if (bias->stride[3] == 1) continue;
        float *copy = t->s->rows + l * ATTN_I_TILE_KEYS;
        t->p->kernels->gather(n, rows[l], bias->stride[3], copy);
        rows[l] = copy;
    }
    t->kernels->to_lanes(t->w->rows, n, rows, 1, t->s->bias);
}

/* What the mask shows of the tile; where that is something, its ones and zeros in lanes. */
static attn_i_shows load_mask(pass *t)
{
    const attn_i_view *mask = &t->p->mask;
    const int64_t n = t->keys.end - t->keys.first;
    const uint8_t *from[ATTN_I_LANES];
    const float *rows[ATTN_I_LANES];
    int64_t ones = 0, of_row = 0;
    if (mask->data == NULL) return ATTN_I_EVERYTHING;
    if (t->plan->mask.shows != NULL) {
        const attn_i_shows known = attn_i_mask_map_at(&t->plan->mask, t->w->b, t->w->first_row, t->keys.first);
        if (known == ATTN_I_EVERYTHING || (known == ATTN_I_NOTHING && !t->plan->writes_scores)) return known;
    }
    for (int64_t l = 0; l < t->w->rows; l++) {
        from[l] = (const uint8_t *)attn_i_view_at(mask, t->w->b, head_of(t, l)) + query_of(t, l) * mask->stride[2] +
                  t->keys.first * mask->stride[3];
        if (mask->stride[3] == 1) __builtin_prefetch(from[l] + ATTN_I_TILE_KEYS); /* for the next tile */
        if (l == 0 || from[l] != from[l - 1]) of_row = t->kernels->mask_count(n, from[l], mask->stride[3]);
        ones += of_row;
    }
    if (ones == 0 && !t->plan->writes_scores) return ATTN_I_NOTHING;
    if (ones == n * t->w->rows) return ATTN_I_EVERYTHING;
    for (int64_t l = 0; l < t->w->rows; l++) {
        float *to = t->s->rows + l * ATTN_I_TILE_KEYS;
        rows[l] = l > 0 && from[l] == from[l - 1] ? rows[l - 1] : to;
        if (rows[l] == to) t->kernels->mask_row(n, from[l], mask->stride[3], to);
    }
    t->kernels->to_lanes(t->w->rows, n, rows, 1, t->s->mask);
    return ATTN_I_SOMETHING;
}

/* The scores of a piece, modified, as exponents. */
static void score_piece(pass *t, const piece *one, attn_i_shows mask)
{
    const attn_i_tile_kernels *k = t->kernels;
    const attn_i_tile_plan *plan = t->plan;
    const attn_i_modifiers *m = t->p->modifiers;
    const int64_t n = one->count, start = one->first * ATTN_I_LANES;
    const attn_i_rows keys = rows_from(t->w->key_rows, t->keys.first + one->first);
    float *tile = t->s->tile + start;

    if (plan->lanes != NULL) {
        plan->lanes->scores(t->p, plan->state, t->s->queries, t->w->rows, keys, n, tile);
    } else {
        k->products(plan->depth, t->s->queries, keys, n, one->spans, tile, ATTN_I_LANES, 0);
    }
    if (plan->folded) cap_folded(t, n, one->spans, tile);
    if (!plan->folded && t->p->scale != 1) k->tile_scale(n, one->spans, (float)t->p->scale, tile);
    attn_i_tile_write(plan, t->s, t->w, t->keys, ATTN_SCORES_RAW);
    if (!plan->folded && m->softcap != 0) k->tile_softcap(n, one->spans, (float)m->softcap, tile);
    attn_i_tile_write(plan, t->s, t->w, t->keys, ATTN_SCORES_CAPPED);
    if (t->p->bias.data != NULL) {
        k->tile_add(n, one->spans, plan->folded ? (float)plan->unit : 1, t->s->bias + start, tile);
    }
    if (m->alibi != ATTN_ALIGN_NONE) add_alibi(t, one->first, n, one->spans);
    if (one->edges) k->tile_edges(n, one->spans, t->lanes, one->first, tile);
    if (mask == ATTN_I_SOMETHING) k->tile_mask(n, one->spans, t->s->mask + start, tile);
    attn_i_tile_write(plan, t->s, t->w, t->keys, ATTN_SCORES_MASKED);
    if (!plan->folded) k->tile_scale(n, one->spans, (float)plan->unit, tile);
    attn_i_tile_write(plan, t->s, t->w, t->keys, ATTN_SCORES_WEIGHTS);
}

static void weights_by_passes(pass *t, attn_i_shows mask)
{
    float most[ATTN_I_LANES], reference[ATTN_I_LANES];
    for (int l = 0; l < ATTN_I_LANES; l++) most[l] = -INFINITY;
    if (t->p->bias.data != NULL) load_bias(t);
    for (int i = 0; i < t->count; i++) {
        score_piece(t, &t->pieces[i], mask);
        for (int64_t j = 0; j < t->pieces[i].count; j += ATTN_I_BLOCK_ROWS) attn_i_fetch_step(t->fetch);
        t->kernels->tile_maximum(t->pieces[i].count, t->pieces[i].spans, t->s->tile + t->pieces[i].first * ATTN_I_LANES,
                                 most);
    }
    move_references(t, most);
    for (int l = 0; l < ATTN_I_LANES; l++) t->base[l] = fmaxf(t->base[l], most[l] - t->top[l]);
    for (int l = 0; l < ATTN_I_LANES; l++) {
        reference[l] = t->lanes->reference[l] == -INFINITY ? 0 : t->lanes->reference[l];
    }
    for (int i = 0; i < t->count; i++) {
        t->kernels->tile_exponentials(t->pieces[i].count, t->pieces[i].spans, reference,
                                      t->s->tile + t->pieces[i].first * ATTN_I_LANES);
    }
}

/* Weights times values of a piece, the values being kept from whoever does not see them: what is not finite is left out
 * of the products and then added lane by lane. */
static void add_context_cleaned(pass *t, const piece *one, const float *weights, attn_i_rows values, int64_t dim)
{
    unsigned char finite[ATTN_I_TILE_KEYS], hidden[ATTN_I_LANES];
    const attn_i_rows cleaned = {t->s->values, attn_i_max(dim, 1)};
    for (int64_t j = 0; j < one->count; j++) {
        finite[j] = (unsigned char)t->p->kernels->gather_finite(dim, values.data + j * values.stride, 1,
                                                                t->s->values + j * cleaned.stride, 1);
    }
    t->kernels->context(one->count, weights, cleaned, dim, one->spans, t->s->context, t->lanes->sum);
    for (int64_t j = 0; j < one->count; j++) {
        if (finite[j]) continue;
        attn_i_tile_find_hidden(t->plan, t->s, t->w, t->keys.first + one->first + j, hidden);
        for (int l = one->spans.first * ATTN_I_SPAN_LANES; l < one->spans.end * ATTN_I_SPAN_LANES; l++) {
            const float weight = weights[j * ATTN_I_LANES + l];
            if (weight == 0 || hidden[l]) continue;
            for (int64_t d = 0; d < dim; d++) {
                const float value = values.data[j * values.stride + d];
                if (!isfinite(value)) t->s->context[d * ATTN_I_LANES + l] += weight * value;
            }
        }
    }
}

static void add_context(pass *t)
{
    const int64_t dim = context_dim(t);
    if (t->late) {
        t->lanes->late_first = t->keys.first;
        t->lanes->late_end = t->keys.end;
    }
    for (int i = 0; i < t->count; i++) {
        const piece *one = &t->pieces[i];
        const float *weights = t->s->tile + one->first * ATTN_I_LANES;
        const attn_i_rows values = rows_from(t->w->value_rows, t->keys.first + one->first);
        if (t->clean) {
            add_context_cleaned(t, one, weights, values, dim);
        } else {
            t->kernels->context(one->count, weights, values, dim, one->spans, t->s->context, t->lanes->sum);
        }
    }
}

/* ---------------------------------------------------------------------------------------------- all tiles */

static void begin(pass *t, int late)
{
    t->late = late;
    t->lanes->late_first = t->lanes->late_end = 0;
    t->referenced = 0;
    for (int l = 0; l < ATTN_I_LANES; l++) {
        t->lanes->reference[l] = l < t->w->rows ? -INFINITY : 0;
        t->base[l] = -INFINITY;
        t->lanes->sum[l] = 0;
    }
    memset(t->s->context, 0, (size_t)(context_dim(t) * ATTN_I_LANES) * sizeof(float));
}

static void run(pass *t, attn_i_span keys)
{
    begin(t, can_be_late(t, keys));
    for (int64_t first = keys.first; first < keys.end; first = t->keys.end) {
        /* Tiles begin at multiples of their size, so that a mask's blocks are whole in them. */
        t->keys.first = first;
        t->keys.end = attn_i_min((first / ATTN_I_TILE_KEYS + 1) * ATTN_I_TILE_KEYS, keys.end);
        cut_tile(t);
        if (t->p->modifiers->alibi != ATTN_ALIGN_NONE) measure_distances(t);
        const attn_i_shows mask = load_mask(t);
        if (mask == ATTN_I_NOTHING) {
            if (t->late) begin(t, 0);
            continue;
        }
        if (mask == ATTN_I_SOMETHING || !weights_with_products(t)) weights_by_passes(t, mask);
        add_context(t);
    }
}

/* 1 if some lane's context is not finite though its weights are numbers: a value that is not, perhaps of a key that the
 * lane does not see. */
static int is_poisoned(const pass *t)
{
    const int64_t dim = context_dim(t);
    if (t->p->kernels->is_finite(dim * ATTN_I_LANES, t->s->context)) return 0;
    for (int64_t l = 0; l < t->w->rows; l++) {
        if (!isfinite(t->lanes->sum[l])) continue;
        for (int64_t d = 0; d < dim; d++) {
            if (!isfinite(t->s->context[d * ATTN_I_LANES + l])) return 1;
        }
    }
    return 0;
}

void attn_i_tile_pass(const attn_i_tile_plan *plan, const attn_i_tile_scratch *scratch, const attn_i_tile_work *work,
                      attn_i_fetch *fetch)
{
    pass t = {.plan = plan, .p = plan->p, .kernels = plan->kernels, .s = scratch, .w = work, .lanes = scratch->lanes};
    t.fetch = fetch;
    t.all = (attn_i_spans){0, (int)attn_i_divide_up(work->rows, ATTN_I_SPAN_LANES)};
    name_lanes(&t);
    attn_i_span keys = look(&t);
    if (plan->writes_scores) keys = work->keys;
    attn_i_fetch_begin(fetch, (keys.end - keys.first - LOOK_KEYS) / ATTN_I_BLOCK_ROWS);
    load_queries(&t);
    if (plan->p->modifiers->alibi != ATTN_ALIGN_NONE) load_slopes(&t);
    run(&t, keys);
    if (!is_poisoned(&t)) return;
    t.clean = 1;
    run(&t, keys);
}
