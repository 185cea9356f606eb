/* SPDX-License-Identifier: BSD-3-Clause
 *
 * incremental.c: before each query the keys up to its position are appended, when causal hides the others from it all
 * the same; a row of every output is written at a time.
 */
#include "incremental.h"

#include "fail.h"
#include "modifiers.h"
#include "npy.h"
#include "tensor.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const request_option incremental_options[] = {{.name = "incremental", .flag = true},
                                              {.name = "memory-dtype", .needs = "incremental"},
                                              {.name = "page", .needs = "incremental"},
                                              {.name = NULL}};
/* i8 is another type to NumPy, and to the files of this command. */
static const option_word dtypes[] = {{"float32", ATTN_F32},   {"float64", ATTN_F64}, {"float16", ATTN_F16},
                                     {"bfloat16", ATTN_BF16}, {"int8", ATTN_I8},     {NULL, 0}};

static void check(const request *r, positions p)
{
    static const char *const never[] = {"grad-out", "dropout", "key-scales", "value-scales", NULL};
    for (size_t i = 0; never[i] != NULL; ++i) {
        if (request_get(r, never[i]) != NULL) fail("--%s does not go with --incremental", never[i]);
    }
    bool grows = p.causal != ATTN_ALIGN_NONE;
    if (!grows && p.measured == ATTN_ALIGN_BOTTOM_RIGHT) {
        fail("--incremental without --causal has all keys from the beginning: positions are top-left");
    }
    if (grows && p.measured != ATTN_ALIGN_NONE && p.measured != p.causal) {
        fail("--incremental needs the same word in --align and --causal");
    }
    const char *local = request_get(r, "local");
    if (!grows || local == NULL) return;
    if (strncmp(local, "predictive", strlen("predictive")) == 0) {
        fail("--local %s looks at the number of keys, which grows with --incremental and --causal", local);
    }
    if (p.causal == ATTN_ALIGN_BOTTOM_RIGHT) {
        fail("--incremental with --local monotonic goes with --causal top-left, not bottom-right");
    }
}

incremental incremental_read(const request *r)
{
    incremental way = {.wanted = request_get(r, "incremental") != NULL};
    if (!way.wanted) return way;
    positions p = modifiers_positions(r);
    check(r, p);
    (void)request_word(r, "memory-dtype", dtypes, &way.kept);
    if (request_integer(r, "page", &way.page) && way.page < 1) fail("--page needs at least 1 position");
    way.causal = p.causal;
    return way;
}

/* -------------------------------------------------------------------------------------------------- steps */

/* How far the queries are. */
typedef struct walk {
    attn_align causal;
    int64_t query_start, queries, keys, batch;
    const attn_tensor *key_lengths; /* or NULL */
    int64_t *have;                  /* keys that each sequence has in the memory */
} walk;

static int64_t valid_keys(const walk *w, int64_t b)
{
    if (w->key_lengths == NULL) return w->keys;
    attn_tensor lengths = tensor_raised(w->key_lengths, 4);
    int64_t at = b * lengths.stride[3];
    return lengths.dtype == ATTN_I32 ? ((const int32_t *)lengths.data)[at] : ((const int64_t *)lengths.data)[at];
}

/* The keys of sequence b that are in the memory when query i comes. */
static int64_t keys_at(const walk *w, int64_t b, int64_t i)
{
    int64_t valid = valid_keys(w, b), seen = valid;
    if (w->causal == ATTN_ALIGN_TOP_LEFT) seen = w->query_start + i + 1;
    if (w->causal == ATTN_ALIGN_BOTTOM_RIGHT) seen = valid - w->queries + i + 1;
    return seen < 0 ? 0 : seen < valid ? seen : valid;
}

static walk start_walk(const incremental *way, const attn_forward_args *args, int64_t batch, int64_t queries,
                       int64_t keys)
{
    walk w = {.causal = way->causal,
              .query_start = args->query_start,
              .queries = queries,
              .keys = keys,
              .batch = batch,
              .key_lengths = args->key_lengths};
    w.have = allocate((size_t)batch, sizeof *w.have);
    memset(w.have, 0, (size_t)batch * sizeof *w.have);
    if (way->causal != ATTN_ALIGN_NONE && args->scores != NULL && args->scores_stage < ATTN_SCORES_MASKED) {
        fail("--incremental with --causal has no raw or capped scores of keys that are yet to come");
    }
    /* Of keys that are not in the memory yet. */
    if (args->weights != NULL) tensor_fill(args->weights, 0);
    if (args->scores != NULL) tensor_fill(args->scores, args->scores_stage == ATTN_SCORES_MASKED ? -INFINITY : 0);
    if (args->stats != NULL && args->stats->key_sums != NULL) tensor_fill(args->stats->key_sums, 0);
    return w;
}

/* The views of one query. */
typedef struct step {
    attn_tensor query, context, mask, bias, weights, scores, logsumexp, entropy, strongest;
    attn_tensor key_sums, whole_key_sums; /* what this query adds, and to what; data NULL: not wanted */
    attn_weights_stats stats;
    attn_forward_args args;
} step;

/* Row i of [.., Tq, Tk], the first columns of it; dimensions of 1 are for all. */
static const attn_tensor *row_of(const attn_tensor *whole, int64_t i, int64_t columns, bool broadcasts,
                                 attn_tensor *view)
{
    if (whole == NULL) return NULL;
    *view = tensor_raised(whole, 4);
    if (!broadcasts || view->shape[2] > 1) *view = tensor_part(view, 2, i, 1);
    if (!broadcasts || view->shape[3] > 1) *view = tensor_part(view, 3, 0, columns);
    return view;
}

/* Number i of [.., Tq]. */
static const attn_tensor *number_of(const attn_tensor *whole, int64_t i, attn_tensor *view)
{
    if (whole == NULL) return NULL;
    *view = tensor_raised(whole, 3);
    *view = tensor_part(view, 2, i, 1);
    return view;
}

/* Numbers of queries are written in their places, those of keys are added up. */
static void enter_stats(step *s, const attn_weights_stats *whole, int64_t i, int64_t columns)
{
    s->stats = *whole;
    s->stats.entropy = number_of(whole->entropy, i, &s->entropy);
    s->stats.strongest = number_of(whole->strongest, i, &s->strongest);
    s->args.stats = &s->stats;
    if (whole->key_sums == NULL) return;
    s->whole_key_sums = tensor_raised(whole->key_sums, 3);
    s->whole_key_sums = tensor_part(&s->whole_key_sums, 2, 0, columns);
    s->key_sums = npy_create(whole->key_sums->dtype, 3, s->whole_key_sums.shape);
    s->stats.key_sums = &s->key_sums;
}

static void leave_step(step *s)
{
    if (s->key_sums.data == NULL) return;
    tensor_add(&s->key_sums, &s->whole_key_sums);
    free(s->key_sums.data);
}

/* What plain attention and that of a layer have in common. */
static void enter_step(step *s, const walk *w, const attn_forward_args *whole, int64_t i, int64_t columns)
{
    s->args = *whole;
    s->key_sums.data = NULL;
    if (whole->stats != NULL) enter_stats(s, whole->stats, i, columns);
    s->args.key_lengths = NULL;
    if (w->causal != ATTN_ALIGN_BOTTOM_RIGHT) s->args.query_start += i;
    s->args.mask = columns > 0 ? row_of(whole->mask, i, columns, true, &s->mask) : NULL;
    s->args.bias = columns > 0 ? row_of(whole->bias, i, columns, true, &s->bias) : NULL;
    s->args.weights = row_of(whole->weights, i, columns, false, &s->weights);
    s->args.scores = row_of(whole->scores, i, columns, false, &s->scores);
    s->args.logsumexp = number_of(whole->logsumexp, i, &s->logsumexp);
}

/* -------------------------------------------------------------------------------------------------- plain */

/* any is one of key and value, of which the other may be NULL. */
static attn_memory *create_memory(const incremental *way, const attn_mechanism *mechanism, const attn_tensor *any,
                                  const attn_tensor *key, const attn_tensor *value)
{
    attn_memory_options options = ATTN_MEMORY_OPTIONS_INIT;
    options.flags = value == NULL ? ATTN_MEMORY_KEYS_ALONE : 0;
    options.dtype = way->kept != 0 ? way->kept : any->dtype;
    options.batch = any->shape[0];
    options.key_heads = any->shape[1];
    options.key_dim = key != NULL ? key->shape[3] : 0;
    options.value_dim = value != NULL ? value->shape[3] : 0;
    options.page = way->page;
    attn_memory *memory;
    require(attn_memory_create(mechanism, &options, &memory));
    return memory;
}

/* Appends to each sequence what query i may see and the memory has not; returns the greatest length. */
static int64_t append(walk *w, attn_memory *memory, const attn_tensor *key, const attn_tensor *value, int64_t i)
{
    int64_t longest = 0, *counts = allocate((size_t)w->batch, sizeof *counts);
    attn_tensor given, keys, values;
    require(attn_tensor_init(&given, counts, ATTN_I64, 1, &w->batch));
    memset(counts, 0, (size_t)w->batch * sizeof *counts);
    for (int64_t b = 0; b < w->batch; ++b) {
        int64_t length = keys_at(w, b, i), more = length - w->have[b];
        if (length > longest) longest = length;
        if (more == 0) continue;
        /* Lengths differ, and so do the places of what comes next: one sequence at a time. */
        counts[b] = more;
        if (key != NULL) keys = tensor_part(key, 2, w->have[b], more);
        if (value != NULL) values = tensor_part(value, 2, w->have[b], more);
        require(attn_memory_append(memory, key != NULL ? &keys : NULL, value != NULL ? &values : NULL, &given));
        counts[b] = 0;
        w->have[b] = length;
    }
    free(counts);
    return longest;
}

void incremental_forward(const incremental *way, const attn_mechanism *mechanism, const attn_forward_args *whole)
{
    if (!way->wanted) {
        require(attn_forward(mechanism, whole));
        return;
    }
    size_t unused; /* what is asked is whether all fits together */
    require(attn_forward_workspace(mechanism, whole, &unused));
    bool reads_keys = strcmp(attn_mechanism_name(mechanism), "location") != 0;
    const attn_tensor *key = reads_keys || whole->value == NULL ? whole->key : NULL, *value = whole->value;
    attn_tensor keys = tensor_raised(key != NULL ? key : value, 4),
                values = tensor_raised(value != NULL ? value : key, 4);
    attn_tensor queries = tensor_raised(whole->query, 4);
    if (key != NULL) key = &keys;
    if (value != NULL) value = &values;
    attn_memory *memory = create_memory(way, mechanism, &keys, key, value);
    walk w = start_walk(way, whole, queries.shape[0], queries.shape[2], keys.shape[2]);
    for (int64_t i = 0; i < w.queries; ++i) {
        step s;
        enter_step(&s, &w, whole, i, append(&w, memory, key, value, i));
        s.query = tensor_part(&queries, 2, i, 1);
        s.args.query = &s.query;
        s.args.key = s.args.value = NULL;
        s.args.memory = memory;
        if (whole->context != NULL) {
            s.context = tensor_raised(whole->context, 4);
            s.context = tensor_part(&s.context, 2, i, 1);
            s.args.context = &s.context;
        }
        require(attn_forward(mechanism, &s.args));
        leave_step(&s);
    }
    attn_memory_destroy(memory);
    free(w.have);
}

/* -------------------------------------------------------------------------------------------------- layer */

void incremental_layer(const incremental *way, const attn_multihead *layer, const attn_mechanism *mechanism,
                       const attn_multihead_options *shape, const attn_multihead_args *whole)
{
    if (!way->wanted) {
        require(attn_multihead_forward(layer, whole));
        return;
    }
    if (whole->attention->key_lengths != NULL) fail("--lengths does not go with --heads and --incremental");
    size_t unused; /* as above */
    require(attn_multihead_workspace(layer, whole, &unused));
    attn_tensor x = tensor_raised(whole->query, 3), y = whole->key != NULL ? tensor_raised(whole->key, 3) : x;
    attn_tensor z = whole->value != NULL ? tensor_raised(whole->value, 3) : y, output = tensor_raised(whole->output, 3);
    attn_memory_options options = ATTN_MEMORY_OPTIONS_INIT;
    options.dtype = way->kept != 0 ? way->kept : x.dtype;
    options.batch = x.shape[0];
    options.key_heads = shape->key_heads;
    options.key_dim = shape->head_dim;
    options.value_dim = shape->value_head_dim;
    options.page = way->page;
    attn_memory *memory;
    require(attn_memory_create(mechanism, &options, &memory));
    walk w = start_walk(way, whole->attention, x.shape[0], x.shape[1], y.shape[1]);
    int64_t have = 0;
    for (int64_t i = 0; i < w.queries; ++i) {
        step s;
        int64_t length = keys_at(&w, 0, i);
        enter_step(&s, &w, whole->attention, i, length);
        attn_multihead_args args = *whole;
        attn_tensor query = tensor_part(&x, 1, i, 1), row = tensor_part(&output, 1, i, 1);
        attn_tensor key = tensor_part(&y, 1, have, length - have), value = tensor_part(&z, 1, have, length - have);
        args.query = &query;
        args.key = length > have ? &key : NULL;
        args.value = length > have ? &value : NULL;
        args.attention = &s.args;
        args.output = &row;
        args.memory = memory;
        args.attend_only = length == have;
        require(attn_multihead_forward(layer, &args));
        leave_step(&s);
        have = length;
    }
    attn_memory_destroy(memory);
    free(w.have);
}
