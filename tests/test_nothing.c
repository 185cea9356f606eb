/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test_nothing.c: calls in which there is nothing to compute come back at once, however great their other sizes are:
 * every entry point that takes tensors, with 2^40 sequences, heads, positions or dimensions of nothing. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "support.h"

#define MANY (INT64_C(1) << 40)

enum { SECONDS = 20 }; /* that all calls of a test may take together; they need milliseconds */

static const char *at; /* the call at hand */

static void too_long(int signal)
{
    (void)signal;
    fprintf(stderr, "%s does not come back\n", at);
    _exit(1);
}

static int begin(void **state)
{
    signal(SIGALRM, too_long);
    alarm(SECONDS);
    return engine_setup(state);
}

static int end(void **state)
{
    alarm(0);
    return engine_teardown(state);
}

/* A tensor of any shape: without data where it has no elements, else one number that all elements are. */
static float one = 1;
static double one_of_64 = 1;
static int32_t one_of_integers = 1;

static attn_tensor everywhere(attn_dtype dtype, int32_t ndim, int64_t a, int64_t b, int64_t c, int64_t d)
{
    const int64_t all[4] = {a, b, c, d};
    attn_tensor t = {.dtype = dtype, .ndim = ndim};
    int empty = 0;
    for (int32_t i = 0; i < ndim; i++) {
        t.shape[i] = all[i];
        empty |= all[i] == 0;
    }
    t.data = empty               ? NULL
             : dtype == ATTN_F64 ? (void *)&one_of_64
             : dtype == ATTN_F32 ? (void *)&one
                                 : &one_of_integers;
    return t;
}

static bool is_empty(const attn_tensor *t)
{
    return t->data == NULL;
}

/* ------------------------------------------------------------------------------------------- attention */

enum { DOT, CAUSAL, RELATIVE, ALIBI, PREDICTIVE, GENERAL, ADDITIVE, LOCATION, MECHANISMS };
static const char *const names[] = {"dot",        "causal",  "relative biases", "ALiBi",
                                    "predictive", "general", "additive",        "location"};
enum { DIM = 4, TABLE = 9, MOST_PARAMS = 4 };

struct scene {
    attn_mechanism *mechanism;
    struct array table, slopes, params[MOST_PARAMS], d_table, d_slopes, d_bias, d_params[MOST_PARAMS];
    int32_t count;
};

static void create_like(struct array *array, attn_dtype dtype, int32_t ndim, const int64_t *shape, double value)
{
    array_create(array, dtype, ndim, shape, LAYOUT_PLAIN, NULL);
    array_fill(array, value);
}

static void scene_create(struct scene *s, int kind, attn_dtype dtype, int64_t keys, double gradient)
{
    memset(s, 0, sizeof *s);
    attn_mechanism **m = &s->mechanism;
    if (kind <= PREDICTIVE) MUST(attn_mechanism_create_scaled_dot(engine, m));
    if (kind == GENERAL) MUST(attn_mechanism_create_general(engine, DIM, DIM, m));
    if (kind == ADDITIVE) MUST(attn_mechanism_create_additive(engine, DIM, DIM, 3, ATTN_ADDITIVE_BIAS, m));
    if (kind == LOCATION) MUST(attn_mechanism_create_location(engine, DIM, keys + 1, m));
    if (kind == CAUSAL) MUST(attn_mechanism_set_causal(*m, ATTN_ALIGN_BOTTOM_RIGHT));
    if (kind == PREDICTIVE) MUST(attn_mechanism_set_local(*m, ATTN_LOCAL_PREDICTIVE, 2, DIM, 3));
    const int64_t table[2] = {1, TABLE}, heads = 1;
    create_like(&s->table, dtype, 2, table, 0.5);
    create_like(&s->d_table, dtype, 2, table, gradient);
    create_like(&s->slopes, dtype, 1, &heads, 0.5);
    create_like(&s->d_slopes, dtype, 1, &heads, gradient);
    if (kind == RELATIVE) {
        MUST(attn_mechanism_set_relative_bias(*m, &s->table.tensor, ATTN_RELATIVE_CLIPPED, TABLE / 2,
                                              ATTN_ALIGN_BOTTOM_RIGHT));
    }
    if (kind == ALIBI) MUST(attn_mechanism_set_alibi(*m, &s->slopes.tensor, ATTN_ALIGN_BOTTOM_RIGHT));
    MUST(attn_mechanism_param_count(*m, &s->count));
    for (int32_t i = 0; i < s->count; i++) {
        attn_param_info info;
        memset(&info, 0, sizeof info);
        info.struct_size = sizeof info;
        MUST(attn_mechanism_param_info(*m, i, &info));
        create_like(&s->params[i], dtype, info.ndim, info.shape, 0.5);
        create_like(&s->d_params[i], dtype, info.ndim, info.shape, gradient);
        MUST(attn_mechanism_bind_param(*m, info.name, &s->params[i].tensor));
    }
}

static void scene_destroy(struct scene *s)
{
    attn_mechanism_destroy(s->mechanism);
    struct array *const all[] = {&s->table, &s->slopes, &s->d_table, &s->d_slopes};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) array_destroy(all[i]);
    for (int32_t i = 0; i < s->count; i++) {
        array_destroy(&s->params[i]);
        array_destroy(&s->d_params[i]);
    }
}

static void assert_all(const struct array *array, double value)
{
    for (int64_t i = 0; i < array_count(array); i++) assert_true(array_get(array, i) == value);
}

/* Sizes of calls whose outputs have no elements, or that nothing flows back through. */
static const struct sizes {
    int64_t batch, heads, queries, keys, value_dim;
} sizes[] = {{MANY, 1, 0, 5, DIM}, {MANY, 1, 0, 0, DIM},    {0, MANY, 7, 5, DIM},    {0, 1, MANY, 5, DIM},
             {1, MANY, 0, 5, DIM}, {MANY, 1, 3, 5, 0},      {MANY, 3, 0, 5, 0},      {1, 1, MANY, 5, 0},
             {0, 1, 3, MANY, DIM}, {MANY, 1, 0, MANY, DIM}, {MANY, MANY, 0, 5, DIM}, {1, 1, 0, MANY, 0},
             {1, 1, 1, MANY, 0}};
enum { SIZES = sizeof sizes / sizeof *sizes };

static bool has_queries(const struct sizes *n)
{
    return n->batch > 0 && n->queries > 0;
}

/* MANY x MANY sequences and heads cannot be counted: such a call is refused at once. */
static void must_or_overflow(attn_status status)
{
    if (status != ATTN_OK && status != ATTN_ERR_OVERFLOW) fail_msg("%s", attn_last_error());
}

static void attend_to_nothing(int kind, const struct sizes *n, attn_dtype dtype, int accumulate)
{
    struct scene s;
    const double before = 3;
    const int64_t heads = kind == ALIBI ? 1 : n->heads;
    const bool reads_keys = kind != LOCATION;
    if (kind == LOCATION && n->keys > 100) return; /* one of its parameters has that size */
    scene_create(&s, kind, dtype, n->keys, before);
    attn_tensor query = everywhere(dtype, 4, n->batch, heads, n->queries, DIM);
    attn_tensor key = everywhere(dtype, 4, n->batch, heads, n->keys, DIM);
    attn_tensor value = everywhere(dtype, 4, n->batch, heads, n->keys, n->value_dim);
    attn_tensor bias = everywhere(dtype, 4, 1, 1, 1, n->keys), mask = everywhere(ATTN_BOOL, 4, 1, 1, 1, n->keys);
    attn_tensor context = everywhere(dtype, 4, n->batch, heads, n->queries, n->value_dim);
    attn_tensor weights = everywhere(dtype, 4, n->batch, heads, n->queries, n->keys);
    attn_tensor logsumexp = everywhere(dtype, 3, n->batch, heads, n->queries, 0);
    double of_its_own = 1;
    if (!is_empty(&logsumexp)) logsumexp.data = &of_its_own;
    attn_forward_args args = ATTN_FORWARD_ARGS_INIT;
    args.query = &query;
    args.key = reads_keys ? &key : NULL;
    args.value = &value;
    args.mask = n->keys < 100 ? &mask : NULL;
    args.bias = n->keys < 100 ? &bias : NULL;
    args.context = &context;
    if (is_empty(&weights) && is_empty(&logsumexp)) {
        args.weights = &weights;
        args.logsumexp = &logsumexp;
    }
    size_t bytes = 1;
    at = names[kind];
    must_or_overflow(attn_forward(s.mechanism, &args));
    must_or_overflow(attn_forward_workspace(s.mechanism, &args, &bytes));
    if (!is_empty(&logsumexp) && n->batch * heads * n->queries > 1) { /* no other may lie in one place */
        scene_destroy(&s);
        return;
    }

    attn_tensor d_query = query, d_key = key, d_value = value;
    const int64_t bias_shape[4] = {1, 1, 1, n->keys < 100 ? n->keys : 0};
    create_like(&s.d_bias, dtype, 4, bias_shape, before);
    const attn_tensor *d_params[MOST_PARAMS];
    for (int32_t i = 0; i < s.count; i++) d_params[i] = &s.d_params[i].tensor;
    attn_backward_args back = ATTN_BACKWARD_ARGS_INIT;
    args.weights = NULL;
    args.logsumexp = &logsumexp;
    back.forward = &args;
    back.accumulate = accumulate;
    back.d_context = &context;
    back.d_weights = is_empty(&weights) ? &weights : NULL;
    back.d_query = is_empty(&d_query) ? &d_query : NULL;
    back.d_key = reads_keys && is_empty(&d_key) ? &d_key : NULL;
    back.d_value = is_empty(&d_value) ? &d_value : NULL;
    back.d_bias = n->keys < 100 ? &s.d_bias.tensor : NULL;
    back.d_relative = kind == RELATIVE ? &s.d_table.tensor : NULL;
    back.d_alibi = kind == ALIBI ? &s.d_slopes.tensor : NULL;
    back.d_params = d_params;
    const attn_status status = attn_backward(s.mechanism, &back);
    must_or_overflow(status);
    must_or_overflow(attn_backward_workspace(s.mechanism, &back, &bytes));
    if (status == ATTN_OK) {
        const double after = accumulate ? before : 0;
        if (back.d_bias != NULL) assert_all(&s.d_bias, after);
        if (kind == RELATIVE) assert_all(&s.d_table, after);
        if (kind == ALIBI) assert_all(&s.d_slopes, after);
        for (int32_t i = 0; i < s.count; i++) assert_all(&s.d_params[i], after);
    }
    array_destroy(&s.d_bias);
    scene_destroy(&s);
}

static void attention_to_nothing_takes_no_time(void **state)
{
    (void)state;
    for (int k = 0; k < MECHANISMS * SIZES * 4; k++) {
        attend_to_nothing(k / (SIZES * 4), &sizes[k / 4 % SIZES], k % 2 ? ATTN_F64 : ATTN_F32, k / 2 % 2);
    }
}

/* Scores are counted up to 2^60, be they computed or not. */
static void more_scores_than_can_be_counted_are_refused(void **state)
{
    static const struct {
        int64_t keys, most;
    } ends[] = {{0, INT64_C(1) << 60}, {1, INT64_C(1) << 60}, {2, INT64_C(1) << 59}, {MANY, INT64_C(1) << 20}};
    (void)state;
    struct scene s;
    at = "counts";
    scene_create(&s, DOT, ATTN_F32, 1, 0);
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        for (int past = 0; past < 2; past++) {
            attn_tensor query = everywhere(ATTN_F32, 4, 1, 1, ends[i].most + past, DIM);
            attn_tensor key = everywhere(ATTN_F32, 4, 1, 1, ends[i].keys, DIM);
            attn_tensor value = everywhere(ATTN_F32, 4, 1, 1, ends[i].keys, 0);
            attn_tensor context = everywhere(ATTN_F32, 4, 1, 1, ends[i].most + past, 0);
            attn_forward_args args = ATTN_FORWARD_ARGS_INIT;
            args.query = &query;
            args.key = &key;
            args.value = &value;
            args.context = &context;
            assert_int_equal(attn_forward(s.mechanism, &args), past ? ATTN_ERR_OVERFLOW : ATTN_OK);
        }
    }
    scene_destroy(&s);
}

/* How much room a call needs is told without going through what it would compute. */
static void a_workspace_of_any_number_of_sequences_is_told_at_once(void **state)
{
    (void)state;
    for (int k = 0; k < MECHANISMS * 2; k++) {
        struct scene s;
        const attn_dtype dtype = k % 2 ? ATTN_F64 : ATTN_F32;
        scene_create(&s, k / 2, dtype, 5, 0);
        attn_tensor query = everywhere(dtype, 4, MANY, 1, 1, DIM), context = query;
        attn_tensor key = everywhere(dtype, 4, MANY, 1, 5, DIM), length = everywhere(ATTN_I32, 1, MANY, 0, 0, 0);
        for (int d = 0; d < 4; d++) context.stride[d] = d == 3 ? 1 : DIM;
        context.data = (void *)(UINTPTR_MAX / 4 + 1); /* read by nobody */
        attn_forward_args args = ATTN_FORWARD_ARGS_INIT;
        args.query = &query;
        args.key = k / 2 != LOCATION ? &key : NULL;
        args.value = &key;
        args.key_lengths = &length;
        args.context = &context;
        size_t bytes;
        at = names[k / 2];
        MUST(attn_forward_workspace(s.mechanism, &args, &bytes));
        args.key_lengths = NULL;
        MUST(attn_forward_workspace(s.mechanism, &args, &bytes));
        scene_destroy(&s);
    }
}

/* Nor does it depend on what ALiBi's slopes are, of which there may be as many. */
static void a_workspace_is_told_without_reading_slopes(void **state)
{
    (void)state;
    attn_mechanism *mechanism;
    attn_tensor slopes = everywhere(ATTN_F32, 1, MANY, 0, 0, 0);
    slopes.data = (void *)(UINTPTR_MAX / 8 + 1); /* where nothing is */
    at = "ALiBi's slopes";
    MUST(attn_mechanism_create_scaled_dot(engine, &mechanism));
    MUST(attn_mechanism_set_alibi(mechanism, &slopes, ATTN_ALIGN_BOTTOM_RIGHT));
    attn_tensor query = everywhere(ATTN_F32, 4, 1, MANY, 1, DIM), key = everywhere(ATTN_F32, 4, 1, 1, 5, DIM);
    attn_tensor context = query, d_query, logsumexp = everywhere(ATTN_F32, 3, 1, MANY, 1, 0);
    for (int d = 0; d < 4; d++) context.stride[d] = d == 3 ? 1 : DIM;
    d_query = context;
    logsumexp.stride[1] = 1;
    context.data = (void *)(UINTPTR_MAX / 4 + 1);
    d_query.data = (void *)(UINTPTR_MAX / 16 * 12 + 16);
    logsumexp.data = (void *)(UINTPTR_MAX / 2 + 1);
    attn_forward_args args = ATTN_FORWARD_ARGS_INIT;
    args.query = &query;
    args.key = &key;
    args.value = &key;
    args.context = &context;
    args.logsumexp = &logsumexp;
    size_t bytes;
    MUST(attn_forward_workspace(mechanism, &args, &bytes));
    attn_backward_args back = ATTN_BACKWARD_ARGS_INIT;
    back.forward = &args;
    back.d_context = &query;
    back.d_query = &d_query;
    MUST(attn_backward_workspace(mechanism, &back, &bytes));
    attn_mechanism_destroy(mechanism);
}

/* ------------------------------------------------------------------------------------------- other calls */

static void a_layer_of_heads_without_queries_takes_no_time(void **state)
{
    (void)state;
    at = "a layer of heads";
    for (int k = 0; k < SIZES * 8; k++) {
        const struct sizes *n = &sizes[k / 8];
        const attn_dtype dtype = k % 2 ? ATTN_F64 : ATTN_F32;
        const bool self = k / 2 % 2 == 1;
        const int accumulate = k / 4 % 2;
        if (has_queries(n)) continue;
        attn_mechanism *mechanism;
        attn_multihead *layer;
        attn_multihead_options options = ATTN_MULTIHEAD_OPTIONS_INIT;
        struct array params[8], d_params[8];
        const attn_tensor *wanted[8];
        int32_t count;
        MUST(attn_mechanism_create_scaled_dot(engine, &mechanism));
        options.flags = ATTN_MULTIHEAD_BIAS;
        options.query_heads = 2;
        options.query_dim = DIM;
        MUST(attn_multihead_create(mechanism, &options, &layer));
        MUST(attn_multihead_param_count(layer, &count));
        for (int32_t i = 0; i < count; i++) {
            attn_param_info info;
            memset(&info, 0, sizeof info);
            info.struct_size = sizeof info;
            MUST(attn_multihead_param_info(layer, i, &info));
            create_like(&params[i], dtype, info.ndim, info.shape, 0.5);
            create_like(&d_params[i], dtype, info.ndim, info.shape, 3);
            wanted[i] = &d_params[i].tensor;
            MUST(attn_multihead_bind_param(layer, info.name, &params[i].tensor));
        }
        attn_tensor x = everywhere(dtype, 3, n->batch, n->queries, DIM, 0);
        attn_tensor y = everywhere(dtype, 3, n->batch, n->keys, DIM, 0), output = x;
        const int64_t keys = self ? n->queries : n->keys;
        attn_tensor weights = everywhere(dtype, 4, n->batch, 2, n->queries, keys);
        attn_tensor logsumexp = everywhere(dtype, 3, n->batch, 2, n->queries, 0);
        attn_forward_args attention = ATTN_FORWARD_ARGS_INIT;
        attention.weights = &weights;
        attention.logsumexp = &logsumexp;
        attn_multihead_args args = ATTN_MULTIHEAD_ARGS_INIT;
        args.query = &x;
        args.key = self ? NULL : &y;
        args.output = &output;
        args.attention = &attention;
        size_t bytes;
        must_or_overflow(attn_multihead_forward(layer, &args));
        must_or_overflow(attn_multihead_workspace(layer, &args, &bytes));
        must_or_overflow(attn_multihead_saved(layer, &args, &bytes));
        char saved[64];
        if (attn_multihead_saved(layer, &args, &bytes) == ATTN_OK && bytes <= sizeof saved) {
            args.saved = saved;
            args.saved_size = sizeof saved;
            must_or_overflow(attn_multihead_forward(layer, &args));
        }
        attn_multihead_backward_args back = ATTN_MULTIHEAD_BACKWARD_ARGS_INIT;
        attn_tensor d_x = x, d_y = y;
        back.forward = &args;
        back.accumulate = accumulate;
        back.d_output = &output;
        back.d_query = &d_x;
        back.d_key = !self && is_empty(&d_y) ? &d_y : NULL;
        back.d_params = wanted;
        const attn_status status = attn_multihead_backward(layer, &back);
        must_or_overflow(status);
        must_or_overflow(attn_multihead_backward_workspace(layer, &back, &bytes));
        for (int32_t i = 0; i < count; i++) {
            if (status == ATTN_OK) assert_all(&d_params[i], accumulate ? 3 : 0);
            array_destroy(&params[i]);
            array_destroy(&d_params[i]);
        }
        attn_multihead_destroy(layer);
        attn_mechanism_destroy(mechanism);
    }
}

static void decomposable_attention_of_nothing_takes_no_time(void **state)
{
    static const struct {
        int64_t batch, heads, a, b, a_dim, b_dim;
    } all[] = {{MANY, 1, 0, 0, DIM, DIM}, {1, MANY, 0, 0, DIM, DIM}, {MANY, 1, 3, 5, 0, 0}, {0, MANY, 3, 5, DIM, DIM},
               {1, 1, MANY, 5, 0, 0},     {MANY, 1, 0, 5, DIM, 0},   {1, 1, 5, MANY, 0, 0}, {MANY, 1, 5, 0, 0, DIM}};
    (void)state;
    at = "decomposable attention";
    for (size_t k = 0; k < sizeof all / sizeof *all * 2; k++) {
        const attn_dtype dtype = k % 2 ? ATTN_F64 : ATTN_F32;
        const int64_t batch = all[k / 2].batch, heads = all[k / 2].heads, ta = all[k / 2].a, tb = all[k / 2].b;
        const int64_t da = all[k / 2].a_dim, db = all[k / 2].b_dim;
        attn_tensor f = everywhere(dtype, 4, batch, heads, ta, DIM), g = everywhere(dtype, 4, batch, heads, tb, DIM);
        attn_tensor a = everywhere(dtype, 4, batch, heads, ta, da), b = everywhere(dtype, 4, batch, heads, tb, db);
        attn_tensor beta = everywhere(dtype, 4, batch, heads, ta, db),
                    alpha = everywhere(dtype, 4, batch, heads, tb, da);
        attn_tensor a_logsumexp = everywhere(dtype, 3, batch, heads, ta, 0);
        attn_tensor b_logsumexp = everywhere(dtype, 3, batch, heads, tb, 0), d_a = a, d_b = b, d_f = f, d_g = g;
        attn_decomposable_args args = ATTN_DECOMPOSABLE_ARGS_INIT;
        args.f = &f, args.g = &g, args.a = &a, args.b = &b;
        args.beta = is_empty(&beta) ? &beta : NULL;
        args.alpha = is_empty(&alpha) ? &alpha : NULL;
        if (args.beta != NULL || args.alpha != NULL) MUST(attn_decomposable_forward(engine, &args));
        args.beta = &beta, args.alpha = &alpha;
        args.a_logsumexp = &a_logsumexp, args.b_logsumexp = &b_logsumexp;
        args.d_beta = &beta, args.d_alpha = &alpha;
        args.d_a = is_empty(&d_a) ? &d_a : NULL;
        args.d_b = is_empty(&d_b) ? &d_b : NULL;
        args.d_f = is_empty(&d_f) ? &d_f : NULL;
        args.d_g = is_empty(&d_g) ? &d_g : NULL;
        MUST(attn_decomposable_backward(engine, &args));
    }
}

static void nothing_flows_back_through_alignments_of_no_dimensions(void **state)
{
    (void)state;
    at = "decomposable attention with a long sentence";
    const int64_t shape[4] = {1, 1, 2, DIM};
    struct array d_f;
    create_like(&d_f, ATTN_F32, 4, shape, 3);
    attn_tensor f = everywhere(ATTN_F32, 4, 1, 1, 2, DIM), g = everywhere(ATTN_F32, 4, 1, 1, MANY, DIM);
    attn_tensor a = f, b = everywhere(ATTN_F32, 4, 1, 1, MANY, 0), beta = everywhere(ATTN_F32, 4, 1, 1, 2, 0);
    attn_tensor logsumexp = everywhere(ATTN_F32, 3, 1, 1, 2, 0);
    attn_decomposable_args args = ATTN_DECOMPOSABLE_ARGS_INIT;
    args.f = &f, args.g = &g, args.a = &a, args.b = &b;
    args.beta = args.d_beta = &beta;
    args.a_logsumexp = &logsumexp;
    args.d_f = &d_f.tensor;
    MUST(attn_decomposable_backward(engine, &args));
    assert_all(&d_f, 0);
    array_destroy(&d_f);
}

static void attentional_steps_of_nothing_take_no_time(void **state)
{
    static const struct {
        int64_t a, b, rows, context, query, output;
    } all[] = {{MANY, 1, 0, DIM, DIM, DIM}, {MANY, MANY, 0, DIM, DIM, DIM}, {MANY, 1, 3, DIM, DIM, 0},
               {MANY, 1, 3, 0, 0, 0},       {1, 1, MANY, 0, 0, DIM},        {0, MANY, 3, DIM, DIM, DIM}};
    (void)state;
    at = "an attentional step";
    for (size_t k = 0; k < sizeof all / sizeof *all * 2; k++) {
        const attn_dtype dtype = k % 2 ? ATTN_F64 : ATTN_F32;
        const int64_t x = all[k / 2].a, y = all[k / 2].b, t = all[k / 2].rows, h = all[k / 2].output;
        const int64_t dv = all[k / 2].context, dq = all[k / 2].query, weight_shape[2] = {h, dv + dq};
        struct array weight, bias, d_weight, d_bias;
        create_like(&weight, dtype, 2, weight_shape, 0.5);
        create_like(&d_weight, dtype, 2, weight_shape, 3);
        create_like(&bias, dtype, 1, &h, 0.5);
        create_like(&d_bias, dtype, 1, &h, 3);
        attn_tensor context = everywhere(dtype, 4, x, y, t, dv), query = everywhere(dtype, 4, x, y, t, dq);
        attn_tensor output = everywhere(dtype, 4, x, y, t, h), d_context = context, d_query = query;
        attn_attentional_args args = ATTN_ATTENTIONAL_ARGS_INIT;
        args.weight = &weight.tensor;
        args.bias = &bias.tensor;
        args.context = &context;
        args.query = &query;
        args.output = &output;
        if (is_empty(&output)) must_or_overflow(attn_attentional_forward(engine, &args));
        args.d_output = &output;
        args.d_context = is_empty(&d_context) ? &d_context : NULL;
        args.d_query = is_empty(&d_query) ? &d_query : NULL;
        if (is_empty(&output)) args.d_weight = &d_weight.tensor;
        if (is_empty(&output)) args.d_bias = &d_bias.tensor;
        const attn_status status = attn_attentional_backward(engine, &args);
        must_or_overflow(status);
        if (status == ATTN_OK && is_empty(&output)) {
            assert_all(&d_weight, 0);
            assert_all(&d_bias, 0);
        }
        array_destroy(&weight);
        array_destroy(&d_weight);
        array_destroy(&bias);
        array_destroy(&d_bias);
    }
}

static void tables_of_nothing_take_no_time(void **state)
{
    (void)state;
    for (int k = 0; k < 2; k++) {
        const attn_dtype dtype = k == 0 ? ATTN_F32 : ATTN_F64;
        attn_tensor no_rows = everywhere(dtype, 2, 0, MANY, 0, 0), no_columns = everywhere(dtype, 2, MANY, 0, 0, 0);
        attn_tensor none = everywhere(dtype, 1, 0, 0, 0, 0);
        at = "attn_position_sinusoidal";
        MUST(attn_position_sinusoidal(&no_rows, 0, 10000));
        MUST(attn_position_sinusoidal(&no_columns, 0, 10000));
        MUST(attn_position_alibi_slopes(&none));
        at = "attn_rope";
        static const int64_t shapes[][4] = {{MANY, 1, 0, 8}, {MANY, 1, 3, 0}, {0, MANY, 3, 8},
                                            {1, MANY, 0, 8}, {1, 1, 0, MANY}, {MANY, MANY, 0, MANY}};
        for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
            const int64_t *n = shapes[i];
            attn_tensor from = everywhere(dtype, 4, n[0], n[1], n[2], n[3]), to = from;
            attn_tensor positions = everywhere(ATTN_I32, 2, n[0], n[2], 0, 0);
            attn_rope_options options = ATTN_ROPE_OPTIONS_INIT;
            options.layout = ATTN_ROPE_HALVES;
            MUST(attn_rope(engine, &options, &from, &to));
            options.positions = &positions;
            MUST(attn_rope(engine, &options, &from, &to));
        }
    }
}

static void nothing_is_merged_in_no_time(void **state)
{
    static const int64_t shapes[][4] = {{MANY, 1, 0, 8}, {MANY, 1, 3, 0}, {0, MANY, 3, 8},
                                        {1, MANY, 0, 8}, {1, 1, 0, MANY}, {MANY, MANY, 0, MANY}};
    static const attn_dtype dtypes[] = {ATTN_F32, ATTN_F64, ATTN_F16, ATTN_BF16};
    (void)state;
    at = "attn_merge";
    for (size_t i = 0; i < 4 * sizeof shapes / sizeof *shapes; i++) {
        const int64_t *n = shapes[i / 4];
        const attn_tensor context = everywhere(dtypes[i % 4], 4, n[0], n[1], n[2], n[3]);
        const attn_tensor logsumexp = everywhere(ATTN_F32, 3, n[0], n[1], n[2], 0);
        const attn_tensor *const contexts[2] = {&context, &context}, *const logsumexps[2] = {&logsumexp, &logsumexp};
        attn_merge_args args = ATTN_MERGE_ARGS_INIT;
        args.parts = 2, args.contexts = contexts, args.logsumexps = logsumexps;
        args.context = &context;
        args.logsumexp = is_empty(&logsumexp) ? &logsumexp : NULL;
        must_or_overflow(attn_merge(engine, &args));
    }
}

static void nothing_is_appended_to_pages_in_no_time(void **state)
{
    static const int64_t shapes[][5] = {{5, MANY, 2, 3, 0},
                                        {5, 0, 3, MANY, 8},
                                        {5, MANY, 2, MANY, 0},
                                        {0, 0, 2, MANY, 8},
                                        {5, MANY, MANY, 3, 0}}; /* n, N, Hk, page, Dk */
    static int64_t slots[5] = {0, 3, -1, 2, 1};
    (void)state;
    at = "attn_pages_append";
    for (size_t i = 0; i < 4 * sizeof shapes / sizeof *shapes; i++) {
        static const attn_dtype dtypes[] = {ATTN_F32, ATTN_F16, ATTN_BF16, ATTN_F64};
        const int64_t *n = shapes[i / 4];
        const attn_tensor pages = everywhere(dtypes[i % 4], 4, n[1], n[2], n[3], n[4]);
        const attn_tensor key = everywhere(ATTN_F32, 4, 1, n[2], n[0], n[4]), to = {slots, ATTN_I64, 1, {n[0]}, {1}};
        attn_pages_append_args args = ATTN_PAGES_APPEND_ARGS_INIT;
        args.slots = &to, args.key = &key, args.key_pages = &pages;
        const attn_status status = attn_pages_append(engine, &args);
        if (status != (n[0] > 0 && n[1] == 0 ? ATTN_ERR_ARGUMENT : ATTN_OK)) fail_msg("%s", attn_last_error());
    }
}

static void a_memory_is_given_and_asked_nothing_at_once(void **state)
{
    static const int kinds[] = {DOT, GENERAL, ADDITIVE}; /* keys as they come, prepared, converted */
    static const int64_t none_of_each[2] = {0, 0}, of_one[2] = {0, 1}, pair = 2;
    (void)state;
    at = "a memory";
    for (int k = 0; k < 6; k++) {
        const attn_dtype dtype = k % 2 ? ATTN_F64 : ATTN_F32;
        struct scene s;
        attn_memory *memory;
        attn_memory_options options = ATTN_MEMORY_OPTIONS_INIT;
        scene_create(&s, kinds[k / 2], dtype, 0, 0);
        options.dtype = dtype;
        options.batch = 2;
        options.key_dim = options.value_dim = DIM;
        MUST(attn_memory_create(s.mechanism, &options, &memory));
        attn_tensor zeros, some;
        MUST(attn_tensor_init(&zeros, (void *)none_of_each, ATTN_I64, 1, &pair));
        MUST(attn_tensor_init(&some, (void *)of_one, ATTN_I64, 1, &pair));
        attn_tensor none = everywhere(dtype, 4, 2, 1, 0, DIM), many = everywhere(dtype, 4, 2, 1, MANY, DIM);
        attn_tensor one_each = everywhere(dtype, 4, 2, 1, 1, DIM);
        MUST(attn_memory_append(memory, &none, &none, NULL));
        MUST(attn_memory_append(memory, &many, &many, &zeros)); /* of each sequence the first 0 */
        attn_tensor no_query = everywhere(dtype, 4, 2, MANY, 0, DIM), no_context = no_query;
        attn_forward_args args = ATTN_FORWARD_ARGS_INIT;
        args.query = &no_query;
        args.memory = memory;
        args.context = &no_context;
        MUST(attn_forward(s.mechanism, &args));

        struct array query, context;
        const int64_t shape[4] = {2, 1, 1, DIM};
        create_like(&query, dtype, 4, shape, 1);
        create_like(&context, dtype, 4, shape, 3);
        args.query = &query.tensor;
        args.context = &context.tensor;
        MUST(attn_forward(s.mechanism, &args)); /* of no keys */
        assert_all(&context, 0);
        MUST(attn_memory_append(memory, &one_each, &one_each, &some));
        MUST(attn_forward(s.mechanism, &args));
        assert_true(array_get(&context, 0) == 0 && array_get(&context, DIM) == 1);
        array_destroy(&query);
        array_destroy(&context);
        attn_memory_destroy(memory);
        scene_destroy(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(attention_to_nothing_takes_no_time, begin, end),
        cmocka_unit_test_setup_teardown(more_scores_than_can_be_counted_are_refused, begin, end),
        cmocka_unit_test_setup_teardown(a_workspace_of_any_number_of_sequences_is_told_at_once, begin, end),
        cmocka_unit_test_setup_teardown(a_workspace_is_told_without_reading_slopes, begin, end),
        cmocka_unit_test_setup_teardown(a_layer_of_heads_without_queries_takes_no_time, begin, end),
        cmocka_unit_test_setup_teardown(decomposable_attention_of_nothing_takes_no_time, begin, end),
        cmocka_unit_test_setup_teardown(nothing_flows_back_through_alignments_of_no_dimensions, begin, end),
        cmocka_unit_test_setup_teardown(attentional_steps_of_nothing_take_no_time, begin, end),
        cmocka_unit_test_setup_teardown(tables_of_nothing_take_no_time, begin, end),
        cmocka_unit_test_setup_teardown(nothing_is_merged_in_no_time, begin, end),
        cmocka_unit_test_setup_teardown(nothing_is_appended_to_pages_in_no_time, begin, end),
        cmocka_unit_test_setup_teardown(a_memory_is_given_and_asked_nothing_at_once, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
