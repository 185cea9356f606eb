/* SPDX-License-Identifier: BSD-3-Clause
 *
 * serving_bench.c: what a server's layouts cost beside calls that need none of them: ragged batches beside equal and
 * padded ones, pages beside rows that lie together, a shared prefix that is read once beside one that is read for each,
 * latent memories and merging beside what the machine can do. Each line compares calls of one process, in turns.
 *
 *     serving_bench [--threads N] [--bf16] [CASE...] */
#define _GNU_SOURCE
#include "limits.h"
#include "statistics.h"

#include <attn/attn.h>

#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ROUNDS = 7 };
static const double least_seconds = 0.08;

static attn_engine *engine;
static int threads = 1;
static attn_dtype dtype = ATTN_F32;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void must(attn_status status)
{
    if (status == ATTN_OK) return;
    fprintf(stderr, "serving_bench: %s\n", attn_last_error());
    exit(1);
}

static void *take(size_t bytes)
{
    void *memory = aligned_alloc(64, (bytes + 127) / 64 * 64);
    if (memory == NULL) {
        fprintf(stderr, "serving_bench: no memory for %zu bytes\n", bytes);
        exit(1);
    }
    return memset(memory, 0, bytes);
}

/* ---------------------------------------------------------------------------------------------- tensors */

static int64_t size_of(attn_dtype of)
{
    return of == ATTN_F32 || of == ATTN_I32 ? 4 : of == ATTN_BF16 ? 2 : 8;
}

static uint64_t next_random(void)
{
    static uint64_t state = 1;
    state = state * 6364136223846793005u + 1442695040888963407u;
    return state >> 33;
}

/* About normal numbers: sums of four even ones. */
static attn_tensor numbers(attn_dtype of, int64_t s0, int64_t s1, int64_t s2, int64_t s3)
{
    const int64_t shape[4] = {s0, s1, s2, s3}, count = s0 * s1 * s2 * s3;
    attn_tensor t;
    must(attn_tensor_init(&t, take((size_t)(count * size_of(of))), of, 4, shape));
    for (int64_t i = 0; i < count; i++) {
        float x = -2;
        for (int k = 0; k < 4; k++) x += (float)next_random() * 0x1p-31f;
        x *= 1.7f;
        uint32_t bits;
        memcpy(&bits, &x, sizeof bits);
        if (of == ATTN_F32) ((float *)t.data)[i] = x;
        if (of == ATTN_BF16) ((uint16_t *)t.data)[i] = (uint16_t)(bits >> 16);
    }
    return t;
}

static attn_tensor integers(const int32_t *data, int64_t count)
{
    attn_tensor t;
    must(attn_tensor_init(&t, (void *)(uintptr_t)data, ATTN_I32, 1, &count));
    return t;
}

/* Positions in the middle: [1, T, H, D] in memory, as servers pack their tokens. */
static attn_tensor packed(int64_t heads, int64_t rows, int64_t dim)
{
    attn_tensor t = numbers(dtype, 1, heads, rows, dim);
    t.stride[1] = dim;
    t.stride[2] = heads * dim;
    return t;
}

static attn_tensor padded(int64_t batch, int64_t heads, int64_t rows, int64_t dim)
{
    attn_tensor t = numbers(dtype, batch, heads, rows, dim);
    t.stride[1] = dim;
    t.stride[2] = heads * dim;
    t.stride[0] = rows * heads * dim;
    return t;
}

/* ---------------------------------------------------------------------------------------------- entrants */

enum { MOST_CALLS = 3 };

/* One of several ways to the same: up to three calls of the library, one after the other. */
typedef struct entrant {
    const char *name;
    attn_mechanism *mechanism;
    attn_plan *plan[MOST_CALLS];
    const attn_backward_args *backward;
    const attn_merge_args *merge;
    double seconds[ROUNDS];
} entrant;

static attn_mechanism *rule(bool causal)
{
    attn_mechanism *m;
    must(attn_mechanism_create_scaled_dot(engine, &m));
    if (causal) must(attn_mechanism_set_causal(m, ATTN_ALIGN_BOTTOM_RIGHT));
    return m;
}

static entrant planned(const char *name, bool causal, const attn_forward_args *args)
{
    entrant e = {.name = name, .mechanism = rule(causal)};
    must(attn_plan_create(e.mechanism, args, &e.plan[0]));
    return e;
}

static void call(const entrant *e)
{
    for (int i = 0; i < MOST_CALLS && e->plan[i] != NULL; i++) must(attn_plan_run(e->plan[i], NULL));
    if (e->backward != NULL) must(attn_backward(e->mechanism, e->backward));
    if (e->merge != NULL) must(attn_merge(engine, e->merge));
}

static double timed(const entrant *e)
{
    const double start = now();
    int count = 0;
    do {
        call(e);
        count++;
    } while (now() - start < least_seconds);
    return (now() - start) / count;
}

static void measure(entrant *entrants, int count)
{
    for (int r = -1; r < ROUNDS; r++) {
        for (int i = 0; i < count; i++) entrants[i].seconds[r < 0 ? 0 : r] = timed(&entrants[i]);
    }
}

/* How fast the first is beside the others. */
static void report(const char *title, const entrant *entrants, int count)
{
    printf("%-22s %-12s %9.3f ms", title, entrants[0].name, 1e3 * attn_bench_median(entrants[0].seconds, ROUNDS));
    for (int i = 1; i < count; i++) {
        const attn_bench_interval speed = attn_bench_ratio(entrants[i].seconds, entrants[0].seconds, ROUNDS);
        printf("   %.2f (%.2f to %.2f) of %s, %.3f ms", speed.median, speed.low, speed.high, entrants[i].name,
               1e3 * attn_bench_median(entrants[i].seconds, ROUNDS));
    }
    printf("\n");
    fflush(stdout);
}

static attn_tensor *keep(attn_tensor t)
{
    attn_tensor *kept = take(sizeof *kept);
    *kept = t;
    return kept;
}

/* ---------------------------------------------------------------------------------------------- ragged */

enum { SEQUENCES = 64, LONGEST = 512, HEADS = 12, DIM = 64 };

static attn_forward_args call_over(attn_tensor *query, attn_tensor *key, attn_tensor *value, attn_tensor *context)
{
    attn_forward_args args = ATTN_FORWARD_ARGS_INIT;
    args.query = query;
    args.key = key;
    args.value = value;
    args.context = context;
    return args;
}

static const attn_backward_args *backward_of(const attn_forward_args *forward, const attn_tensor *like)
{
    attn_backward_args *b = take(sizeof *b);
    attn_tensor *made[4];
    for (int i = 0; i < 4; i++) {
        made[i] = keep(*like);
        made[i]->data =
            take((size_t)(like->shape[0] * like->shape[1] * like->shape[2] * like->shape[3]) * (size_t)size_of(dtype));
    }
    memcpy(made[3]->data, like->data,
           (size_t)(like->shape[0] * like->shape[1] * like->shape[2] * like->shape[3]) * (size_t)size_of(dtype));
    *b = (attn_backward_args)ATTN_BACKWARD_ARGS_INIT;
    b->forward = forward;
    b->d_query = made[0];
    b->d_key = made[1];
    b->d_value = made[2];
    b->d_context = made[3];
    return b;
}

static void ragged(void)
{
    static int32_t offsets[SEQUENCES + 1], lengths[SEQUENCES];
    double work = 0;
    for (int b = 0; b < SEQUENCES; b++) {
        lengths[b] = 1 + (int32_t)(next_random() % LONGEST);
        offsets[b + 1] = offsets[b] + lengths[b];
        work += (double)lengths[b] * lengths[b];
    }
    const int64_t equal = (int64_t)lround(sqrt(work / SEQUENCES)), rows[3] = {offsets[SEQUENCES], equal, LONGEST};
    const attn_tensor *places = keep(integers(offsets, SEQUENCES + 1)), *of_padded = keep(integers(lengths, SEQUENCES));
    static const char *const names[3] = {"ragged", "equal", "padded"};
    static attn_forward_args args[3];
    entrant forward[3], backward[3];
    for (int i = 0; i < 3; i++) {
        attn_tensor *t[5];
        for (int k = 0; k < 4; k++) {
            t[k] = keep(i == 0 ? packed(HEADS, rows[0], DIM) : padded(SEQUENCES, HEADS, rows[i], DIM));
        }
        t[4] = keep(numbers(ATTN_F32, t[0]->shape[0], HEADS, rows[i], 1));
        t[4]->ndim = 3;
        args[i] = call_over(t[0], t[1], t[2], t[3]);
        if (i == 0) args[i].query_offsets = args[i].key_offsets = places;
        if (i == 2) args[i].key_lengths = of_padded;
        forward[i] = planned(names[i], false, &args[i]);
        args[i].logsumexp = t[4];
        must(attn_forward(forward[i].mechanism, &args[i]));
        backward[i] = (entrant){.name = names[i], .mechanism = forward[i].mechanism};
        backward[i].backward = backward_of(&args[i], t[3]);
    }
    measure(forward, 3);
    report("ragged", forward, 3);
    measure(backward, 3);
    report("ragged, backward", backward, 3);
}

/* ------------------------------------------------------------------------------------------------ pages */

enum { PAGE = 16, KEY_HEADS = 8, QUERY_HEADS = 32, LLAMA_DIM = 128 };

/* Numbers 0 .. count - 1 in any order. */
static int32_t *shuffled(int64_t count)
{
    int32_t *order = take((size_t)count * sizeof *order);
    for (int64_t i = 0; i < count; i++) order[i] = (int32_t)i;
    for (int64_t i = count - 1; i > 0; i--) {
        const int64_t k = (int64_t)(next_random() % (uint64_t)(i + 1));
        const int32_t other = order[i];
        order[i] = order[k];
        order[k] = other;
    }
    return order;
}

static attn_tensor table_of(int32_t *pages, int64_t batch, int64_t most)
{
    attn_tensor t;
    const int64_t shape[2] = {batch, most};
    must(attn_tensor_init(&t, pages, ATTN_I32, 2, shape));
    return t;
}

/* Pages of 16, in any order, with their heads outermost and with their positions, each beside rows that lie so. */
static void paged_beside_contiguous(const char *title, bool causal, int64_t batch, int64_t queries, int64_t keys)
{
    int32_t *lengths = take((size_t)batch * sizeof *lengths);
    const int64_t most = keys / PAGE;
    for (int64_t b = 0; b < batch; b++) lengths[b] = (int32_t)keys;
    attn_tensor *query = keep(numbers(dtype, batch, QUERY_HEADS, queries, LLAMA_DIM));
    attn_tensor *context = keep(numbers(dtype, batch, QUERY_HEADS, queries, LLAMA_DIM));
    attn_tensor *key = keep(numbers(dtype, batch, KEY_HEADS, keys, LLAMA_DIM));
    attn_tensor *value = keep(numbers(dtype, batch, KEY_HEADS, keys, LLAMA_DIM));
    attn_tensor *key_pages = keep(numbers(dtype, batch * most, KEY_HEADS, PAGE, LLAMA_DIM));
    attn_tensor *value_pages = keep(numbers(dtype, batch * most, KEY_HEADS, PAGE, LLAMA_DIM));
    attn_forward_args together = call_over(query, key, value, context);
    attn_forward_args in_pages = call_over(query, key_pages, value_pages, context), outer = in_pages;
    const attn_tensor table = table_of(shuffled(batch * most), batch, most), of_keys = integers(lengths, batch);
    in_pages.page_table = outer.page_table = &table;
    in_pages.key_lengths = outer.key_lengths = &of_keys;
    attn_tensor by_positions[2] = {*key_pages, *value_pages}; /* [N, page, heads, D] */
    for (int i = 0; i < 2; i++) {
        by_positions[i].stride[1] = LLAMA_DIM;
        by_positions[i].stride[2] = KEY_HEADS * LLAMA_DIM;
    }
    outer.key = &by_positions[0];
    outer.value = &by_positions[1];
    attn_tensor in_rows[2] = {*key, *value}; /* [B, T, heads, D] */
    for (int i = 0; i < 2; i++) {
        in_rows[i].stride[1] = LLAMA_DIM;
        in_rows[i].stride[2] = KEY_HEADS * LLAMA_DIM;
    }
    attn_forward_args rows = call_over(query, &in_rows[0], &in_rows[1], context);
    char second[40];
    entrant e[4] = {planned("pages", causal, &in_pages), planned("rows of heads", causal, &together),
                    planned("pages", causal, &outer), planned("rows of positions", causal, &rows)};
    measure(e, 4);
    report(title, e, 2);
    snprintf(second, sizeof second, "%s, [page, H]", title);
    report(second, e + 2, 2);
}

static void pages(void)
{
    paged_beside_contiguous("pages, decode", false, 16, 1, 2048);
    paged_beside_contiguous("pages, prefill", true, 1, 1024, 1024);
    paged_beside_contiguous("pages, 8 queries", true, 4, 8, 2048);
}

/* Rows that the library keeps, in pages and by sequences, of several layers, one after the other: so many megabytes
 * that none of them are near when they are read again. */
static void memories(void)
{
    enum { BATCH = 4, KEYS = 2048, LAYERS = MOST_CALLS };
    attn_tensor *query = keep(numbers(dtype, BATCH, QUERY_HEADS, 1, LLAMA_DIM));
    attn_tensor *context = keep(numbers(dtype, BATCH, QUERY_HEADS, 1, LLAMA_DIM));
    attn_tensor *rows = keep(numbers(dtype, BATCH, KEY_HEADS, PAGE, LLAMA_DIM));
    static attn_memory *memory[2][LAYERS];
    entrant e[2] = {{.name = "memory in pages", .mechanism = rule(false)},
                    {.name = "memory", .mechanism = rule(false)}};
    attn_memory_options options = ATTN_MEMORY_OPTIONS_INIT;
    options.dtype = dtype;
    options.batch = BATCH;
    options.key_heads = KEY_HEADS;
    options.key_dim = options.value_dim = LLAMA_DIM;
    options.capacity = KEYS;
    for (int i = 0; i < 2; i++) {
        options.page = i == 0 ? PAGE : 0;
        for (int layer = 0; layer < LAYERS; layer++) {
            must(attn_memory_create(e[i].mechanism, &options, &memory[i][layer]));
            for (int n = 0; n < KEYS; n += PAGE) must(attn_memory_append(memory[i][layer], rows, rows, NULL));
            attn_forward_args args = call_over(query, NULL, NULL, context);
            args.memory = memory[i][layer];
            must(attn_plan_create(e[i].mechanism, &args, &e[i].plan[layer]));
        }
    }
    measure(e, 2);
    report("memories, decode", e, 2);
}

/* A batch of one step: 15 sequences with one query, one with 512. */
static void mixed(void)
{
    enum { BATCH = 16, KEYS = 2048, CHUNK = 512, MOST = KEYS / PAGE, ROWS = BATCH - 1 + CHUNK };
    static int32_t offsets[BATCH + 1], lengths[BATCH];
    for (int b = 0; b < BATCH; b++) {
        lengths[b] = b < BATCH - 1 ? KEYS : CHUNK;
        offsets[b + 1] = b < BATCH - 1 ? b + 1 : ROWS;
    }
    attn_tensor *query = keep(packed(QUERY_HEADS, ROWS, LLAMA_DIM)),
                *context = keep(packed(QUERY_HEADS, ROWS, LLAMA_DIM));
    attn_tensor *key = keep(numbers(dtype, BATCH * MOST, KEY_HEADS, PAGE, LLAMA_DIM));
    attn_tensor *value = keep(numbers(dtype, BATCH * MOST, KEY_HEADS, PAGE, LLAMA_DIM));
    const attn_tensor table = table_of(shuffled(BATCH * MOST), BATCH, MOST), of_keys = integers(lengths, BATCH);
    const attn_tensor places = integers(offsets, BATCH + 1);
    attn_forward_args args = call_over(query, key, value, context);
    args.page_table = &table;
    args.key_lengths = &of_keys;
    args.query_offsets = &places;
    entrant e = planned("all at once", true, &args);
    measure(&e, 1);
    report("mixed batch", &e, 1);
}

/* 32 sequences over one prefix of 4096: read once for all, as a call does by itself; by hand, by a call whose one
 * sequence has all queries, another over what is their own, and a merge; and for each of them, as where the first page
 * of each is another. */
static void prefix(void)
{
    enum { BATCH = 32, PREFIX = 4096, OWN = PAGE, FEW = PREFIX / PAGE, MOST = FEW + 1 };
    static int32_t entries[BATCH * MOST], apart[BATCH * MOST], own[BATCH], all[BATCH], offsets[BATCH + 1],
        whole[2] = {0, BATCH};
    static int32_t prefix_length = PREFIX;
    for (int b = 0; b < BATCH; b++) {
        for (int k = 0; k < FEW; k++) entries[b * MOST + k] = k;
        entries[b * MOST + FEW] = FEW + b;
        memcpy(apart + b * MOST, entries + b * MOST, MOST * sizeof *apart);
        apart[b * MOST] = FEW + BATCH + b;
        own[b] = OWN;
        all[b] = PREFIX + OWN;
        offsets[b + 1] = b + 1;
    }
    attn_tensor *query = keep(packed(QUERY_HEADS, BATCH, LLAMA_DIM)), *context[3], *lse[2];
    for (int i = 0; i < 3; i++) context[i] = keep(packed(QUERY_HEADS, BATCH, LLAMA_DIM));
    for (int i = 0; i < 2; i++) {
        lse[i] = keep(numbers(ATTN_F32, 1, QUERY_HEADS, BATCH, 1));
        lse[i]->ndim = 3;
    }
    attn_tensor *key = keep(numbers(dtype, FEW + 2 * BATCH, KEY_HEADS, PAGE, LLAMA_DIM));
    attn_tensor *value = keep(numbers(dtype, FEW + 2 * BATCH, KEY_HEADS, PAGE, LLAMA_DIM));
    const attn_tensor table = table_of(entries, BATCH, MOST), of_alone = table_of(apart, BATCH, MOST),
                      of_all = integers(all, BATCH);
    attn_tensor own_table = table, prefix_table = table_of(entries, 1, FEW);
    own_table.data = entries + FEW;
    own_table.shape[1] = 1;
    const attn_tensor of_own = integers(own, BATCH), of_prefix = integers(&prefix_length, 1);
    const attn_tensor places = integers(offsets, BATCH + 1), one = integers(whole, 2);
    attn_forward_args each = call_over(query, key, value, context[0]), shared = each, rest = each;
    each.page_table = &table;
    each.key_lengths = &of_all;
    each.query_offsets = &places;
    attn_forward_args alone = each;
    alone.page_table = &of_alone;
    shared.page_table = &prefix_table;
    shared.key_lengths = &of_prefix;
    shared.query_offsets = &one;
    shared.context = context[1];
    shared.logsumexp = lse[0];
    rest.page_table = &own_table;
    rest.key_lengths = &of_own;
    rest.query_offsets = &places;
    rest.context = context[2];
    rest.logsumexp = lse[1];
    const attn_tensor *contexts[2] = {context[1], context[2]}, *logsumexps[2] = {lse[0], lse[1]};
    attn_merge_args merge = ATTN_MERGE_ARGS_INIT;
    merge.parts = 2;
    merge.contexts = contexts;
    merge.logsumexps = logsumexps;
    merge.context = context[1];
    entrant e[3] = {planned("read once", false, &each), planned("parts and merge", false, &shared),
                    planned("read for each", false, &alone)};
    must(attn_plan_create(e[1].mechanism, &rest, &e[1].plan[1]));
    e[1].merge = &merge;
    measure(e, 3);
    report("shared prefix", e, 3);
}

/* DeepSeek's latent memory: one key head of 576 numbers, of which the first 512 are the value; 128 query heads. */
static void latent(void)
{
    enum { LATENT_HEADS = 128, KEY = 576, VALUE = 512, KEYS = 4096 };
    attn_tensor *query = keep(numbers(dtype, 1, LATENT_HEADS, 1, KEY)), *key = keep(numbers(dtype, 1, 1, KEYS, KEY));
    attn_tensor *context = keep(numbers(dtype, 1, LATENT_HEADS, 1, VALUE)), *value = keep(*key);
    value->shape[3] = VALUE;
    const attn_forward_args args = call_over(query, key, value, context);
    entrant e = planned("decode", false, &args);
    measure(&e, 1);
    report("latent memory", &e, 1);
    const double seconds = attn_bench_median(e.seconds, ROUNDS), peak = attn_bench_fma_peak(threads, 0.1) * 1e9;
    const double flops = 2.0 * LATENT_HEADS * KEYS * (KEY + VALUE);
    printf("%-22s %.1f GFLOP/s, %.0f %% of the float32 peak\n", "", flops / seconds / 1e9,
           100 * flops / seconds / peak);
}

static void merge(void)
{
    enum { ROWS = 4096, MOST_PARTS = 8 };
    const attn_tensor *contexts[MOST_PARTS], *logsumexps[MOST_PARTS];
    for (int i = 0; i < MOST_PARTS; i++) {
        contexts[i] = keep(numbers(dtype, 1, QUERY_HEADS, ROWS, LLAMA_DIM));
        attn_tensor *lse = keep(numbers(ATTN_F32, 1, QUERY_HEADS, ROWS, 1));
        lse->ndim = 3;
        logsumexps[i] = lse;
    }
    const attn_tensor *context = keep(numbers(dtype, 1, QUERY_HEADS, ROWS, LLAMA_DIM));
    for (int parts = 2; parts <= MOST_PARTS; parts *= 2) {
        char title[32];
        attn_merge_args args = ATTN_MERGE_ARGS_INIT;
        args.parts = parts;
        args.contexts = contexts;
        args.logsumexps = logsumexps;
        args.context = context;
        entrant e = {.name = "merge", .merge = &args};
        measure(&e, 1);
        snprintf(title, sizeof title, "%d parts", parts);
        report(title, &e, 1);
        const double bytes = (double)(parts + 1) * QUERY_HEADS * ROWS * LLAMA_DIM * (double)size_of(dtype);
        const double seconds = attn_bench_median(e.seconds, ROUNDS);
        const double stream = attn_bench_stream_read(threads, (size_t)256 << 20, 0.1) * 1e9;
        printf("%-22s %.1f GB/s read and written, %.0f %% of reading alone\n", "", bytes / seconds / 1e9,
               100 * bytes / seconds / stream);
    }
}

static const struct {
    const char *name;
    void (*run)(void);
} cases[] = {{"ragged", ragged}, {"pages", pages},   {"memories", memories}, {"mixed", mixed},
             {"prefix", prefix}, {"latent", latent}, {"merge", merge}};

int main(int argc, char **argv)
{
    int first = 1;
    for (; first < argc && argv[first][0] == '-'; first++) {
        if (strcmp(argv[first], "--bf16") == 0) {
            dtype = ATTN_BF16;
        } else if (strcmp(argv[first], "--threads") == 0 && first + 1 < argc && strtol(argv[first + 1], NULL, 10) > 0) {
            threads = (int)strtol(argv[++first], NULL, 10);
        } else {
            fprintf(stderr, "serving_bench: \"%s\" is no option; there are --threads N and --bf16\n", argv[first]);
            return 2;
        }
    }
    attn_engine_options options = ATTN_ENGINE_OPTIONS_INIT;
    options.threads = threads;
    must(attn_engine_create(&options, &engine));
    char text[4096];
    size_t bytes = sizeof text;
    must(attn_engine_describe(engine, text, &bytes));
    printf("%s\n%d thread%s, %s, medians of %d rounds, speeds with 95 %% intervals\n", text, threads,
           threads == 1 ? "" : "s", dtype == ATTN_F32 ? "float32" : "bfloat16", ROUNDS);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bool wanted = first == argc;
        for (int a = first; a < argc; a++) wanted |= strcmp(argv[a], cases[i].name) == 0;
        if (wanted) cases[i].run();
    }
    return 0;
}
