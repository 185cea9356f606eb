/* SPDX-License-Identifier: BSD-3-Clause
 *
 * every_call.c: every function that computes, once. */
#include "every_call.h"

#include <math.h>
#include <string.h>

#include "backward_scene.h"
#include "multihead_scene.h"

static void begin(const struct every_call *around, const char *name)
{
    if (around->before != NULL) around->before(name);
}

static void end(const struct every_call *around, const char *name)
{
    if (around->after != NULL) around->after(name);
}

static struct array filled(attn_dtype dtype, int32_t ndim, int64_t a, int64_t b, int64_t c, int64_t d)
{
    const int64_t shape[4] = {a, b, c, d};
    struct rng rng = {(uint64_t)(a + 3 * b + 7 * c + 13 * d)};
    struct array array;
    array_create(&array, dtype, ndim, shape, LAYOUT_PLAIN, NULL);
    array_fill_normal(&array, &rng, 1);
    return array;
}

/* ------------------------------------------------------------------------------------------- attention */

static const struct scene_shape shapes[] = {{2, 4, 2, 70, 133, 20}, {2, 2, 2, 3, 333, 17}, {1, 4, 1, 1, 2100, 24},
                                            {3, 2, 1, 17, 5, 3},    {1, 1, 1, 65, 1, 1},   {1, 2, 2, 33, 64, 130}};
enum { SHAPES = sizeof shapes / sizeof *shapes, SCORES = TWIN_LOCATION + 1 };

/* All outputs at once, then context and log-sum-exp alone, which goes other ways. */
static void forward(const struct every_call *around, struct scene *s, const struct scene_shape *n)
{
    struct array context = filled(s->dtype, 4, n->batch, n->query_heads, n->queries, s->twin.value_dim);
    struct array weights = filled(s->dtype, 4, n->batch, n->query_heads, n->queries, n->keys);
    struct array scores = filled(s->dtype, 4, n->batch, n->query_heads, n->queries, n->keys);
    struct array logsumexp = filled(s->dtype, 3, n->batch, n->query_heads, n->queries, 0);
    attn_forward_args args = s->args;
    args.context = &context.tensor;
    args.logsumexp = &logsumexp.tensor;
    begin(around, "attn_forward");
    MUST(attn_forward(s->mechanism, &args));
    end(around, "attn_forward");
    args.weights = &weights.tensor;
    begin(around, "attn_forward with weights");
    MUST(attn_forward(s->mechanism, &args));
    end(around, "attn_forward with weights");
    args.scores = &scores.tensor;
    const int first = s->modifiers & HAS_LOCAL ? ATTN_SCORES_MASKED : ATTN_SCORES_RAW; /* it makes no others */
    for (int stage = first; stage <= ATTN_SCORES_WEIGHTS; stage++) {
        args.scores_stage = (attn_scores_stage)stage;
        begin(around, "attn_forward with scores");
        MUST(attn_forward(s->mechanism, &args));
        end(around, "attn_forward with scores");
    }
    array_destroy(&context);
    array_destroy(&weights);
    array_destroy(&scores);
    array_destroy(&logsumexp);
}

static void backward(const struct every_call *around, struct scene *s)
{
    for (unsigned flows = 1; flows <= ALL_FLOWS; flows += flows == 1 ? ALL_FLOWS - 1 : 1) {
        struct backward b;
        backward_create(&b, s, flows);
        backward_want(&b, backward_has(s));
        begin(around, "attn_backward");
        MUST(attn_backward(s->mechanism, &b.args));
        end(around, "attn_backward");
        backward_destroy(&b);
    }
}

static void attention(const struct every_call *around, attn_dtype dtype)
{
    static const unsigned modifiers[] = {0,
                                         HAS_CAUSAL,
                                         HAS_MASK | HAS_BIAS,
                                         HAS_LENGTHS | HAS_WINDOW,
                                         HAS_SOFTCAP | HAS_ALIBI | HAS_SCALE,
                                         HAS_LOCAL,
                                         HAS_RELATIVE | HAS_TEMPERATURE,
                                         HAS_DROPOUT,
                                         HAS_HARDMAX};
    enum { MODIFIERS = sizeof modifiers / sizeof *modifiers };
    for (int k = 0; k < SCORES * SHAPES * MODIFIERS; k++) {
        const int score = k / SHAPES / MODIFIERS, which = k % MODIFIERS;
        if (score > 1 && (which + k / MODIFIERS) % 5 != 0) continue; /* of what differs in the score alone a share */
        struct scene s = {.score = (enum twin_score)score,
                          .dtype = dtype,
                          .rng = {(uint64_t)k},
                          .modifiers = modifiers[which],
                          .layout = LAYOUT_PLAIN,
                          .without_twin = true};
        const struct scene_shape *n = &shapes[k / MODIFIERS % SHAPES];
        scene_create(&s, n);
        forward(around, &s, n);
        if (!(s.modifiers & HAS_HARDMAX)) backward(around, &s);
        scene_destroy(&s);
    }
}

/* ------------------------------------------------------------------------------------------- the others */

static void layer(const struct every_call *around, attn_dtype dtype)
{
    static const struct setup setups[] = {
        {"self", ATTN_MULTIHEAD_BIAS, 0, 2, 70, 70, 4, 2, {20, 20, 20}, 10, 6, 30, LAYER_SCALED_DOT, LAYER_CAUSAL, 0},
        {"cross", 0, GIVES_KEY | GIVES_VALUE, 2, 33, 70, 4, 4, {20, 21, 22}, 5, 6, 17, LAYER_ADDITIVE, LAYER_MASK, 0},
        {"few", ATTN_MULTIHEAD_BIAS, GIVES_KEY, 1, 1, 130, 2, 1, {40, 40, 40}, 20, 20, 40, LAYER_GENERAL, 0, 0}};
    for (size_t k = 0; k < sizeof setups / sizeof *setups; k++) {
        struct layer l;
        layer_create(&l, engine, &setups[k], dtype, k);
        begin(around, "attn_multihead_forward");
        layer_forward(&l);
        end(around, "attn_multihead_forward");
        begin(around, "attn_multihead_backward");
        layer_backward(&l);
        end(around, "attn_multihead_backward");
        layer_destroy(&l);
    }
}

static void rope(const struct every_call *around, attn_dtype dtype)
{
    struct array from = filled(dtype, 4, 2, 3, 700, 66), to = filled(dtype, 4, 2, 3, 700, 66);
    for (int k = 0; k < 2; k++) {
        attn_rope_options options = ATTN_ROPE_OPTIONS_INIT;
        options.layout = k == 0 ? ATTN_ROPE_INTERLEAVED : ATTN_ROPE_HALVES;
        begin(around, "attn_rope");
        MUST(attn_rope(engine, &options, &from.tensor, &to.tensor));
        end(around, "attn_rope");
    }
    array_destroy(&from);
    array_destroy(&to);
}

static void memory(const struct every_call *around, attn_dtype dtype)
{
    for (int kind = RULE_SCALED_DOT; kind <= RULE_ADDITIVE; kind++) {
        enum { DIM = 20, HIDDEN = 33, KEYS = 301 };
        attn_mechanism *mechanism;
        attn_memory *cache;
        struct array w = filled(dtype, 2, HIDDEN, DIM, 0, 0), u = filled(dtype, 2, HIDDEN, DIM, 1, 0);
        struct array v = filled(dtype, 1, HIDDEN, 0, 0, 0), square = filled(dtype, 2, DIM, DIM, 0, 0);
        struct array key = filled(dtype, 4, 2, 2, KEYS, DIM), value = filled(dtype, 4, 2, 2, KEYS, DIM);
        struct array query = filled(dtype, 4, 2, 4, 3, DIM), context = filled(dtype, 4, 2, 4, 3, DIM);
        if (kind == RULE_SCALED_DOT) MUST(attn_mechanism_create_scaled_dot(engine, &mechanism));
        if (kind == RULE_GENERAL) {
            MUST(attn_mechanism_create_general(engine, DIM, DIM, &mechanism));
            MUST(attn_mechanism_bind_param(mechanism, "W", &square.tensor));
        }
        if (kind == RULE_ADDITIVE) {
            MUST(attn_mechanism_create_additive(engine, DIM, DIM, HIDDEN, 0, &mechanism));
            MUST(attn_mechanism_bind_param(mechanism, "W", &w.tensor));
            MUST(attn_mechanism_bind_param(mechanism, "U", &u.tensor));
            MUST(attn_mechanism_bind_param(mechanism, "v", &v.tensor));
        }
        attn_rope_options turned = ATTN_ROPE_OPTIONS_INIT;
        attn_memory_options options = ATTN_MEMORY_OPTIONS_INIT;
        turned.layout = ATTN_ROPE_INTERLEAVED;
        options.dtype = dtype;
        options.batch = options.key_heads = 2;
        options.key_dim = options.value_dim = DIM;
        options.rope = kind == RULE_SCALED_DOT ? &turned : NULL;
        MUST(attn_memory_create(mechanism, &options, &cache));
        begin(around, "attn_memory_append");
        MUST(attn_memory_append(cache, &key.tensor, &value.tensor, NULL));
        MUST(attn_memory_append(cache, &key.tensor, &value.tensor, NULL));
        end(around, "attn_memory_append");
        attn_forward_args args = ATTN_FORWARD_ARGS_INIT;
        args.query = &query.tensor;
        args.memory = cache;
        args.context = &context.tensor;
        begin(around, "attn_forward with a memory");
        MUST(attn_forward(mechanism, &args));
        end(around, "attn_forward with a memory");
        if (kind != RULE_SCALED_DOT) {
            int64_t lengths[2] = {300, 7}, positions[3] = {301, 400, 8}, offsets[3] = {0, 2, 3};
            const attn_tensor first = {lengths, ATTN_I64, 1, {2}, {1}}, chosen = {positions, ATTN_I64, 1, {3}, {1}};
            const attn_tensor from = {offsets, ATTN_I64, 1, {3}, {1}};
            begin(around, "attn_memory_keep");
            MUST(attn_memory_keep(cache, &first, &chosen, &from));
            end(around, "attn_memory_keep");
        }
        attn_memory_destroy(cache);
        attn_mechanism_destroy(mechanism);
        struct array *const all[] = {&w, &u, &v, &square, &key, &value, &query, &context};
        for (size_t i = 0; i < sizeof all / sizeof *all; i++) array_destroy(all[i]);
    }
}

/* Sequences that are dealt out to threads, and one that all of them compute; without keys, and without queries. */
static void sequences(const struct every_call *around, attn_dtype dtype)
{
    enum { MANY = 12, HQ = 4, HK = 2, DIM = 40, HIDDEN = 33, ROWS = 700, PAGE = 16, PAGES = 64, MOST = 44 };
    for (int kind = RULE_SCALED_DOT; kind <= RULE_ADDITIVE; kind++) {
        struct array w = filled(dtype, 2, HIDDEN, DIM, 0, 0), u = filled(dtype, 2, HIDDEN, DIM, 1, 0);
        struct array v = filled(dtype, 1, HIDDEN, 0, 0, 0), square = filled(dtype, 2, DIM, DIM, 0, 0);
        struct array query = filled(dtype, 4, 1, HQ, ROWS, DIM), context = filled(dtype, 4, 1, HQ, ROWS, DIM);
        struct array key = filled(dtype, 4, 1, HK, ROWS, DIM), value = filled(dtype, 4, 1, HK, ROWS, DIM);
        struct array key_pages = filled(dtype, 4, PAGES, HK, PAGE, DIM);
        struct array value_pages = filled(dtype, 4, PAGES, HK, PAGE, DIM);
        struct array logsumexp = filled(dtype, 3, 1, HQ, ROWS, 0), d_query = filled(dtype, 4, 1, HQ, ROWS, DIM);
        struct array d_key = filled(dtype, 4, 1, HK, ROWS, DIM), d_value = filled(dtype, 4, 1, HK, ROWS, DIM);
        int64_t places[2][MANY + 1] = {{0}}, lengths[MANY], pages[MANY * MOST];
        for (int64_t b = 0; b < MANY; b++) {
            places[0][b + 1] = places[0][b] + (b == 3 ? 0 : b == 4 ? 300 : 30);
            places[1][b + 1] = places[1][b] + (b == 2 ? 0 : b == 4 ? 300 : 30);
            lengths[b] = places[1][b + 1] - places[1][b];
        }
        for (int64_t k = 0; k < MANY * MOST; k++) pages[k] = 7 * k % PAGES;
        attn_tensor offsets[2], of_keys, table;
        MUST(attn_tensor_init(&offsets[0], places[0], ATTN_I64, 1, (const int64_t[]){MANY + 1}));
        MUST(attn_tensor_init(&offsets[1], places[1], ATTN_I64, 1, (const int64_t[]){MANY + 1}));
        MUST(attn_tensor_init(&of_keys, lengths, ATTN_I64, 1, (const int64_t[]){MANY}));
        MUST(attn_tensor_init(&table, pages, ATTN_I64, 2, (const int64_t[]){MANY, MOST}));
        attn_mechanism *mechanism;
        if (kind == RULE_SCALED_DOT) MUST(attn_mechanism_create_scaled_dot(engine, &mechanism));
        if (kind == RULE_GENERAL) {
            MUST(attn_mechanism_create_general(engine, DIM, DIM, &mechanism));
            MUST(attn_mechanism_bind_param(mechanism, "W", &square.tensor));
        }
        if (kind == RULE_ADDITIVE) {
            MUST(attn_mechanism_create_additive(engine, DIM, DIM, HIDDEN, 0, &mechanism));
            MUST(attn_mechanism_bind_param(mechanism, "W", &w.tensor));
            MUST(attn_mechanism_bind_param(mechanism, "U", &u.tensor));
            MUST(attn_mechanism_bind_param(mechanism, "v", &v.tensor));
        }
        MUST(attn_mechanism_set_causal(mechanism, ATTN_ALIGN_BOTTOM_RIGHT));
        attn_forward_args args = ATTN_FORWARD_ARGS_INIT;
        args.query = &query.tensor, args.key = &key.tensor, args.value = &value.tensor;
        args.query_offsets = &offsets[0], args.key_offsets = &offsets[1];
        args.context = &context.tensor, args.logsumexp = &logsumexp.tensor;
        begin(around, "attn_forward of ragged batches");
        MUST(attn_forward(mechanism, &args));
        end(around, "attn_forward of ragged batches");
        attn_backward_args back = ATTN_BACKWARD_ARGS_INIT;
        back.forward = &args;
        back.d_context = &query.tensor;
        back.d_query = &d_query.tensor, back.d_key = &d_key.tensor, back.d_value = &d_value.tensor;
        begin(around, "attn_backward of ragged batches");
        MUST(attn_backward(mechanism, &back));
        end(around, "attn_backward of ragged batches");
        args.key = &key_pages.tensor, args.value = &value_pages.tensor, args.key_offsets = NULL;
        args.key_lengths = &of_keys, args.page_table = &table;
        begin(around, "attn_forward with pages");
        MUST(attn_forward(mechanism, &args));
        end(around, "attn_forward with pages");
        attn_mechanism_destroy(mechanism);
        struct array *const all[] = {&w,     &u,         &v,           &square,    &query,   &context, &key,
                                     &value, &key_pages, &value_pages, &logsumexp, &d_query, &d_key,   &d_value};
        for (size_t i = 0; i < sizeof all / sizeof *all; i++) array_destroy(all[i]);
    }
}

static void decomposable(const struct every_call *around, attn_dtype dtype)
{
    enum { TA = 70, TB = 133, D = 20, DA = 7, DB = 18 };
    struct array f = filled(dtype, 4, 3, 1, TA, D), g = filled(dtype, 4, 3, 1, TB, D);
    struct array a = filled(dtype, 4, 3, 1, TA, DA), b = filled(dtype, 4, 3, 1, TB, DB);
    struct array beta = filled(dtype, 4, 3, 1, TA, DB), alpha = filled(dtype, 4, 3, 1, TB, DA);
    struct array a_logsumexp = filled(dtype, 3, 3, 1, TA, 0), b_logsumexp = filled(dtype, 3, 3, 1, TB, 0);
    struct array d_beta = filled(dtype, 4, 3, 1, TA, DB), d_alpha = filled(dtype, 4, 3, 1, TB, DA);
    struct array d_f = filled(dtype, 4, 3, 1, TA, D), d_g = filled(dtype, 4, 3, 1, TB, D);
    struct array d_a = filled(dtype, 4, 3, 1, TA, DA), d_b = filled(dtype, 4, 3, 1, TB, DB);
    const int64_t batch = 3, lengths[2][3] = {{TA, 33, 0}, {5, TB, 7}};
    attn_tensor of_a, of_b;
    MUST(attn_tensor_init(&of_a, (void *)lengths[0], ATTN_I64, 1, &batch));
    MUST(attn_tensor_init(&of_b, (void *)lengths[1], ATTN_I64, 1, &batch));
    attn_decomposable_args args = ATTN_DECOMPOSABLE_ARGS_INIT;
    args.f = &f.tensor, args.g = &g.tensor, args.a = &a.tensor, args.b = &b.tensor;
    args.a_lengths = &of_a, args.b_lengths = &of_b;
    args.beta = &beta.tensor, args.alpha = &alpha.tensor;
    args.a_logsumexp = &a_logsumexp.tensor, args.b_logsumexp = &b_logsumexp.tensor;
    args.d_beta = &d_beta.tensor, args.d_alpha = &d_alpha.tensor;
    args.d_f = &d_f.tensor, args.d_g = &d_g.tensor, args.d_a = &d_a.tensor, args.d_b = &d_b.tensor;
    begin(around, "attn_decomposable_forward");
    MUST(attn_decomposable_forward(engine, &args));
    end(around, "attn_decomposable_forward");
    begin(around, "attn_decomposable_backward");
    MUST(attn_decomposable_backward(engine, &args));
    end(around, "attn_decomposable_backward");
    struct array *const all[] = {&f,           &g,      &a,       &b,   &beta, &alpha, &a_logsumexp,
                                 &b_logsumexp, &d_beta, &d_alpha, &d_f, &d_g,  &d_a,   &d_b};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) array_destroy(all[i]);
}

static void attentional(const struct every_call *around, attn_dtype dtype)
{
    enum { T = 301, DV = 20, DQ = 33, H = 50 };
    struct array weight = filled(dtype, 2, H, DV + DQ, 0, 0), bias = filled(dtype, 1, H, 0, 0, 0);
    struct array context = filled(dtype, 3, 5, T, DV, 0), query = filled(dtype, 3, 5, T, DQ, 0);
    struct array output = filled(dtype, 3, 5, T, H, 0), d_output = filled(dtype, 3, 5, T, H, 1);
    struct array d_weight = filled(dtype, 2, H, DV + DQ, 0, 0), d_bias = filled(dtype, 1, H, 0, 0, 0);
    struct array d_context = filled(dtype, 3, 5, T, DV, 0), d_query = filled(dtype, 3, 5, T, DQ, 0);
    attn_attentional_args args = ATTN_ATTENTIONAL_ARGS_INIT;
    args.weight = &weight.tensor, args.bias = &bias.tensor;
    args.context = &context.tensor, args.query = &query.tensor;
    args.output = &output.tensor, args.d_output = &d_output.tensor;
    args.d_weight = &d_weight.tensor, args.d_bias = &d_bias.tensor;
    args.d_context = &d_context.tensor, args.d_query = &d_query.tensor;
    begin(around, "attn_attentional_forward");
    MUST(attn_attentional_forward(engine, &args));
    end(around, "attn_attentional_forward");
    begin(around, "attn_attentional_backward");
    MUST(attn_attentional_backward(engine, &args));
    end(around, "attn_attentional_backward");
    struct array *const all[] = {&weight,   &bias,     &context, &query,     &output,
                                 &d_output, &d_weight, &d_bias,  &d_context, &d_query};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) array_destroy(all[i]);
}

static void positions(const struct every_call *around, attn_dtype dtype)
{
    struct array table = filled(dtype, 2, 70, 33, 0, 0), slopes = filled(dtype, 1, 12, 0, 0, 0);
    begin(around, "tables of positions");
    MUST(attn_position_sinusoidal(&table.tensor, 3, 10000));
    MUST(attn_position_alibi_slopes(&slopes.tensor));
    end(around, "tables of positions");
    array_destroy(&table);
    array_destroy(&slopes);
}

/* Three parts, of which some rows saw nothing; then into the first of them. */
static void merge(const struct every_call *around, attn_dtype dtype)
{
    enum { PARTS = 3, ROWS = 2 * 3 * 70 };
    struct array contexts[PARTS], logsumexps[PARTS];
    const attn_tensor *context_list[PARTS], *logsumexp_list[PARTS];
    struct array context = filled(dtype, 4, 2, 3, 70, 133), logsumexp = filled(dtype, 3, 2, 3, 70, 0);
    for (int k = 0; k < PARTS; k++) {
        contexts[k] = filled(dtype, 4, 2, 3, 70, 133);
        logsumexps[k] = filled(dtype, 3, 2, 3, 70, 0);
        for (int64_t r = 0; r < ROWS; r++) {
            if (r % 4 == k || r % 4 == 3) array_set(&logsumexps[k], r, -INFINITY);
        }
        context_list[k] = &contexts[k].tensor;
        logsumexp_list[k] = &logsumexps[k].tensor;
    }
    attn_merge_args args = ATTN_MERGE_ARGS_INIT;
    args.parts = PARTS, args.contexts = context_list, args.logsumexps = logsumexp_list;
    args.context = &context.tensor, args.logsumexp = &logsumexp.tensor;
    begin(around, "attn_merge");
    MUST(attn_merge(engine, &args));
    args.context = &contexts[0].tensor, args.logsumexp = &logsumexps[0].tensor;
    MUST(attn_merge(engine, &args));
    end(around, "attn_merge");
    for (int k = 0; k < PARTS; k++) array_destroy(&contexts[k]), array_destroy(&logsumexps[k]);
    array_destroy(&context);
    array_destroy(&logsumexp);
}

/* Into pages of the rows' type, and of another. */
static void pages(const struct every_call *around, attn_dtype dtype)
{
    enum { ROWS = 700, PAGE = 16, PAGES = 64, DIM = 40 };
    struct array rows = filled(dtype, 4, 1, 2, ROWS, DIM), same = filled(dtype, 4, PAGES, 2, PAGE, DIM);
    struct array other = filled(dtype == ATTN_F64 ? ATTN_F16 : ATTN_I8, 4, PAGES, 2, PAGE, DIM);
    struct array scales = filled(ATTN_F32, 3, PAGES, 2, PAGE, 0);
    int64_t slots[ROWS];
    for (int i = 0; i < ROWS; i++) slots[i] = i % 9 == 0 ? -1 : 37 * i % (PAGE * PAGES);
    const attn_tensor to = {slots, ATTN_I64, 1, {ROWS}, {1}};
    attn_pages_append_args args = ATTN_PAGES_APPEND_ARGS_INIT;
    args.slots = &to, args.key = args.value = &rows.tensor;
    args.key_pages = &same.tensor, args.value_pages = &other.tensor;
    args.value_scales = dtype == ATTN_F64 ? NULL : &scales.tensor;
    begin(around, "attn_pages_append");
    MUST(attn_pages_append(engine, &args));
    end(around, "attn_pages_append");
    struct array *const all[] = {&rows, &same, &other, &scales};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) array_destroy(all[i]);
}

void every_call_run(const struct every_call *around)
{
    static void (*const all[])(const struct every_call *, attn_dtype) = {
        rope, memory, layer, attention, sequences, merge, pages, decomposable, attentional, positions};
    for (size_t i = 0; i < sizeof all / sizeof *all * 2; i++) all[i / 2](around, i % 2 ? ATTN_F64 : ATTN_F32);
}
