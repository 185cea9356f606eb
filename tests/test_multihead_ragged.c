/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test_multihead_ragged.c: layers of heads over ragged batches. Each sequence gets what a call with it alone gives it,
 * forward and backward, and over memories, where chunks of any lengths give what the whole sequence gives at once;
 * rows that no sequence has are neither looked at nor written to.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support.h"

enum { E = 12, Y = 7, HQ = 4, HK = 2, D = 6, DV = 5, OUT = 9, MOST_PARAMS = 8, MOST_B = 6, ROWS = 24, KEY_ROWS = 30 };
enum { UNTOUCHED = 7 };

/* Offsets of four sequences, of which one is empty, and rows before and after them. */
static const int64_t offsets_of_queries[] = {2, 5, 5, 12, 13, -1}, offsets_of_keys[] = {1, 4, 11, 20, 26, -1};
static const int64_t no_rows[] = {3, 3, 3, -1}, no_sequences[] = {4, -1};

struct kind {
    const char *name;
    uint32_t flags;
    bool cross, turned;
    attn_align causal;
    bool query_offsets, key_offsets;
};

static const struct kind kinds[] = {
    {"self, packed, turned", ATTN_MULTIHEAD_BIAS | ATTN_MULTIHEAD_PACKED, false, true, ATTN_ALIGN_TOP_LEFT, true, true},
    {"self, separate", 0, false, false, ATTN_ALIGN_BOTTOM_RIGHT, true, true},
    {"cross, turned", ATTN_MULTIHEAD_BIAS, true, true, ATTN_ALIGN_NONE, true, true},
    {"cross, ragged queries", ATTN_MULTIHEAD_BIAS, true, false, ATTN_ALIGN_NONE, true, false},
    {"cross, ragged keys", 0, true, true, ATTN_ALIGN_BOTTOM_RIGHT, false, true},
};
enum { KINDS = sizeof kinds / sizeof *kinds };

static const attn_dtype dtypes[] = {ATTN_F32, ATTN_F64, ATTN_F16, ATTN_BF16};
enum { DTYPES = sizeof dtypes / sizeof *dtypes };

struct layer {
    attn_mechanism *mechanism;
    attn_multihead *layer;
    struct array params[MOST_PARAMS];
    int32_t count;
    attn_dtype dtype;
};

static void layer_create(struct layer *l, attn_engine *own, const struct kind *kind, attn_dtype dtype)
{
    struct rng rng = {kind->flags + 3};
    attn_multihead_options options = ATTN_MULTIHEAD_OPTIONS_INIT;
    attn_rope_options rope = ATTN_ROPE_OPTIONS_INIT;
    *l = (struct layer){.dtype = dtype};
    MUST(attn_mechanism_create_scaled_dot(own, &l->mechanism));
    MUST(attn_mechanism_set_causal(l->mechanism, kind->causal));
    rope.layout = ATTN_ROPE_INTERLEAVED;
    rope.base = 30.0;
    options.flags = kind->flags;
    options.query_heads = HQ, options.key_heads = HK;
    options.query_dim = E, options.key_dim = kind->cross ? Y : E;
    options.head_dim = D, options.value_head_dim = DV, options.output_dim = OUT;
    options.rope = kind->turned ? &rope : NULL;
    MUST(attn_multihead_create(l->mechanism, &options, &l->layer));
    MUST(attn_multihead_param_count(l->layer, &l->count));
    for (int32_t i = 0; i < l->count; i++) {
        attn_param_info info = ATTN_PARAM_INFO_INIT;
        MUST(attn_multihead_param_info(l->layer, i, &info));
        array_create(&l->params[i], dtype_computed(dtype), info.ndim, info.shape, LAYOUT_PLAIN, NULL);
        array_fill_normal(&l->params[i], &rng, 0.3);
        MUST(attn_multihead_bind_param(l->layer, info.name, &l->params[i].tensor));
    }
}

static void layer_destroy(struct layer *l)
{
    attn_multihead_destroy(l->layer);
    attn_mechanism_destroy(l->mechanism);
    for (int32_t i = 0; i < l->count; i++) array_destroy(&l->params[i]);
}

static struct array make(attn_dtype dtype, int64_t a, int64_t b, int64_t c)
{
    const int64_t shape[3] = {a, b, c};
    struct array array;
    array_create(&array, dtype, 3, shape, LAYOUT_PLAIN, NULL);
    return array;
}

static struct array offsets_array(const int64_t *from)
{
    struct array array;
    int64_t count = 0;
    while (from[count] >= 0) count++;
    array_create(&array, ATTN_I32, 1, &count, LAYOUT_PLAIN, NULL);
    for (int64_t i = 0; i < count; i++) array_set(&array, i, (double)from[i]);
    return array;
}

/* One side of a call: x and all that is like it, or y. */
struct side {
    bool ragged;
    int64_t batch, rows, length; /* of the tensors, [batch, length, dim]; sequences */
    struct array offsets;
};

static struct side side_create(bool ragged, const int64_t *offsets, int64_t rows, int64_t length)
{
    struct side s = {.ragged = ragged, .offsets = offsets_array(offsets)};
    s.rows = ragged ? rows : length;
    s.batch = ragged ? 1 : array_count(&s.offsets) - 1;
    s.length = length;
    return s;
}

static int64_t sequences_of(const struct side *s)
{
    return array_count(&s->offsets) - 1;
}

static int64_t first_row(const struct side *s, int64_t b)
{
    return s->ragged ? (int64_t)array_get(&s->offsets, b) : b * s->rows;
}

static int64_t row_count(const struct side *s, int64_t b)
{
    return s->ragged ? (int64_t)(array_get(&s->offsets, b + 1) - array_get(&s->offsets, b)) : s->rows;
}

static bool is_used(const struct side *s, int64_t row)
{
    return !s->ragged || (row >= first_row(s, 0) && row < first_row(s, sequences_of(s)));
}

/* Sequence b of a tensor of that side, as a batch of one. */
static attn_tensor sequence(const struct side *s, const struct array *of, int64_t b)
{
    attn_tensor t = of->tensor;
    t.data = (char *)t.data + first_row(s, b) * t.stride[1] *
                                  (int64_t)(of->tensor.dtype == ATTN_F64   ? 8
                                            : of->tensor.dtype == ATTN_F32 ? 4
                                                                           : 2);
    t.shape[0] = 1;
    t.shape[1] = row_count(s, b);
    return t;
}

/* Numbers where sequences have rows, NaN elsewhere. */
static void fill_rows(const struct side *s, struct array *array, uint64_t seed)
{
    struct rng rng = {seed};
    const int64_t dim = array->tensor.shape[2];
    for (int64_t i = 0; i < array_count(array); i++) {
        array_set(array, i, is_used(s, i / dim) ? rng_normal(&rng) : (double)NAN);
    }
}

static void assert_unused_untouched(const struct side *s, const struct array *array, const char *what)
{
    const int64_t dim = array->tensor.shape[2];
    for (int64_t i = 0; i < array_count(array); i++) {
        if (is_used(s, i / dim) || array_get(array, i) == UNTOUCHED) continue;
        fail_msg("%s: row %d, of no sequence, was written to", what, (int)(i / dim));
    }
}

struct scene {
    struct layer l;
    struct side x, y;
    bool cross;
    struct array input[2], output, d_output, d_input[2], d_params[MOST_PARAMS];
    const attn_tensor *slots[MOST_PARAMS];
    attn_forward_args attention;
    attn_multihead_args args;
    attn_multihead_backward_args back;
};

static void scene_create(struct scene *s, attn_engine *own, const struct kind *kind, attn_dtype dtype,
                         const int64_t *queries, const int64_t *keys)
{
    memset(s, 0, sizeof *s);
    layer_create(&s->l, own, kind, dtype);
    s->cross = kind->cross;
    s->x = side_create(kind->query_offsets, queries, ROWS, 3);
    s->y = kind->cross ? side_create(kind->key_offsets, keys, KEY_ROWS, 5)
                       : side_create(kind->query_offsets, queries, ROWS, 3);
    s->input[0] = make(dtype, s->x.batch, s->x.rows, E);
    s->input[1] = make(dtype, s->y.batch, s->y.rows, Y);
    s->output = make(dtype, s->x.batch, s->x.rows, OUT);
    s->d_output = make(dtype, s->x.batch, s->x.rows, OUT);
    s->d_input[0] = make(dtype, s->x.batch, s->x.rows, E);
    s->d_input[1] = make(dtype, s->y.batch, s->y.rows, Y);
    fill_rows(&s->x, &s->input[0], 1);
    fill_rows(&s->y, &s->input[1], 2);
    fill_rows(&s->x, &s->d_output, 3);
    array_fill(&s->output, UNTOUCHED);
    for (int i = 0; i < 2; i++) array_fill(&s->d_input[i], UNTOUCHED);
    for (int32_t i = 0; i < s->l.count; i++) {
        const attn_tensor *t = &s->l.params[i].tensor;
        array_create(&s->d_params[i], t->dtype, t->ndim, t->shape, LAYOUT_PLAIN, NULL);
        array_fill(&s->d_params[i], 0.0);
        s->slots[i] = &s->d_params[i].tensor;
    }
    s->attention = (attn_forward_args)ATTN_FORWARD_ARGS_INIT;
    if (s->x.ragged) s->attention.query_offsets = &s->x.offsets.tensor;
    if (s->cross && s->y.ragged) s->attention.key_offsets = &s->y.offsets.tensor;
    s->args = (attn_multihead_args)ATTN_MULTIHEAD_ARGS_INIT;
    s->args.query = &s->input[0].tensor;
    s->args.key = s->cross ? &s->input[1].tensor : NULL;
    s->args.output = &s->output.tensor;
    s->args.attention = &s->attention;
    s->back = (attn_multihead_backward_args)ATTN_MULTIHEAD_BACKWARD_ARGS_INIT;
    s->back.forward = &s->args;
    s->back.d_output = &s->d_output.tensor;
    s->back.d_query = &s->d_input[0].tensor;
    s->back.d_key = s->cross ? &s->d_input[1].tensor : NULL;
    s->back.d_params = s->slots;
}

static void scene_destroy(struct scene *s)
{
    enum { COUNT = 8 };
    struct array *const arrays[COUNT] = {&s->x.offsets, &s->y.offsets, &s->input[0],   &s->input[1],
                                         &s->output,    &s->d_output,  &s->d_input[0], &s->d_input[1]};
    for (int32_t i = 0; i < s->l.count; i++) array_destroy(&s->d_params[i]);
    for (int i = 0; i < COUNT; i++) array_destroy(arrays[i]);
    layer_destroy(&s->l);
}

/* Every sequence by a call of its own, the gradients of parameters added up. */
static void alone(struct scene *s)
{
    for (int64_t b = 0; b < sequences_of(&s->x); b++) {
        const attn_tensor x = sequence(&s->x, &s->input[0], b), y = sequence(&s->y, &s->input[1], b);
        const attn_tensor output = sequence(&s->x, &s->output, b), d_output = sequence(&s->x, &s->d_output, b);
        const attn_tensor d_x = sequence(&s->x, &s->d_input[0], b), d_y = sequence(&s->y, &s->d_input[1], b);
        attn_multihead_args args = s->args;
        attn_multihead_backward_args back = s->back;
        args.query = &x, args.key = s->cross ? &y : NULL, args.output = &output, args.attention = NULL;
        back.forward = &args, back.d_output = &d_output, back.accumulate = 0;
        back.d_query = &d_x, back.d_key = s->cross ? &d_y : NULL, back.d_params = NULL;
        MUST(attn_multihead_forward(s->l.layer, &args));
        MUST(attn_multihead_backward(s->l.layer, &back));
        back.accumulate = 1;
        back.d_query = back.d_key = NULL, back.d_params = s->slots;
        MUST(attn_multihead_backward(s->l.layer, &back));
    }
}

static void assert_like(const struct array *got, const struct array *want, double bound, const char *what)
{
    double *numbers = array_read(want);
    assert_close(got, numbers, NULL, bound, what);
    free(numbers);
}

static void assert_same_scene(const struct scene *got, const struct scene *want, const char *name)
{
    const double bound = 200.0;
    assert_like(&got->output, &want->output, bound, name);
    for (int i = 0; i < (got->cross ? 2 : 1); i++) assert_like(&got->d_input[i], &want->d_input[i], bound, name);
    for (int32_t i = 0; i < got->l.count; i++) assert_like(&got->d_params[i], &want->d_params[i], bound, name);
    assert_unused_untouched(&got->x, &got->output, name);
    assert_unused_untouched(&got->x, &got->d_input[0], name);
    assert_unused_untouched(&got->y, &got->d_input[1], name);
}

static void together(struct scene *s)
{
    MUST(attn_multihead_forward(s->l.layer, &s->args));
    MUST(attn_multihead_backward(s->l.layer, &s->back));
}

static void a_sequence_gets_what_a_call_with_it_alone_gives(void **state)
{
    (void)state;
    for (int k = 0; k < KINDS; k++) {
        for (int t = 0; t < DTYPES; t++) {
            struct scene got, want;
            scene_create(&got, engine, &kinds[k], dtypes[t], offsets_of_queries, offsets_of_keys);
            scene_create(&want, engine, &kinds[k], dtypes[t], offsets_of_queries, offsets_of_keys);
            together(&got);
            alone(&want);
            assert_same_scene(&got, &want, kinds[k].name);
            scene_destroy(&got);
            scene_destroy(&want);
        }
    }
}

static void batches_without_rows_are_batches(void **state)
{
    static const int64_t *const offsets[] = {no_rows, no_sequences};
    (void)state;
    for (int i = 0; i < 2; i++) {
        for (int k = 0; k < 3; k++) {
            struct scene got, want;
            scene_create(&got, engine, &kinds[k], ATTN_F32, offsets[i], offsets[i]);
            scene_create(&want, engine, &kinds[k], ATTN_F32, offsets[i], offsets[i]);
            together(&got);
            assert_same_scene(&got, &want, kinds[k].name); /* which has not been called */
            scene_destroy(&got);
            scene_destroy(&want);
        }
    }
}

/* Of keys that are ragged where queries are padded; there is nothing but sums to be written. */
static void where_there_are_no_queries_keys_may_be_ragged(void **state)
{
    const struct kind *kind = &kinds[KINDS - 1];
    const int64_t shape[3] = {1, HQ, KEY_ROWS};
    struct layer l;
    (void)state;
    layer_create(&l, engine, kind, ATTN_F32);
    struct array offsets = offsets_array(offsets_of_keys), sums;
    struct array x = make(ATTN_F32, 4, 0, E), y = make(ATTN_F32, 1, KEY_ROWS, Y), output = make(ATTN_F32, 4, 0, OUT);
    attn_multihead_args args = ATTN_MULTIHEAD_ARGS_INIT;
    attn_forward_args attention = ATTN_FORWARD_ARGS_INIT;
    attn_weights_stats stats = ATTN_WEIGHTS_STATS_INIT;
    array_create(&sums, ATTN_F32, 3, shape, LAYOUT_PLAIN, NULL);
    array_fill(&sums, UNTOUCHED);
    array_fill(&y, 1.0);
    args.query = &x.tensor, args.key = &y.tensor, args.output = &output.tensor, args.attention = &attention;
    attention.key_offsets = &offsets.tensor, attention.stats = &stats, stats.key_sums = &sums.tensor;
    MUST(attn_multihead_forward(l.layer, &args));
    for (int64_t i = 0; i < array_count(&sums); i++) {
        const int64_t row = i % KEY_ROWS;
        const bool is_used = row >= offsets_of_keys[0] && row < offsets_of_keys[4];
        assert_true(array_get(&sums, i) == (is_used ? 0 : UNTOUCHED));
    }
    array_destroy(&x), array_destroy(&y), array_destroy(&output), array_destroy(&sums), array_destroy(&offsets);
    layer_destroy(&l);
}

static void what_is_saved_serves_a_ragged_batch(void **state)
{
    (void)state;
    for (int k = 0; k < KINDS; k++) {
        struct scene got, want;
        scene_create(&got, engine, &kinds[k], ATTN_F32, offsets_of_queries, offsets_of_keys);
        scene_create(&want, engine, &kinds[k], ATTN_F32, offsets_of_queries, offsets_of_keys);
        MUST(attn_multihead_saved(got.l.layer, &got.args, &got.args.saved_size));
        void *saved = got.args.saved = must_allocate(got.args.saved_size);
        memset(saved, 0xFF, got.args.saved_size);
        together(&got);
        together(&want);
        assert_true(array_same_bits(&got.d_input[0], &want.d_input[0], 0, array_count(&got.d_input[0])));
        for (int32_t i = 0; i < got.l.count; i++) {
            assert_true(array_same_bits(&got.d_params[i], &want.d_params[i], 0, array_count(&got.d_params[i])));
        }
        free(saved);
        scene_destroy(&got);
        scene_destroy(&want);
    }
}

static void bits_are_the_same_for_any_number_of_threads(void **state)
{
    (void)state;
    for (int k = 0; k < KINDS; k++) {
        struct scene s[2];
        attn_engine *engines[2];
        for (int i = 0; i < 2; i++) {
            attn_engine_options options = ATTN_ENGINE_OPTIONS_INIT;
            options.threads = i ? 3 : 1;
            MUST(attn_engine_create(&options, &engines[i]));
            scene_create(&s[i], engines[i], &kinds[k], ATTN_F32, offsets_of_queries, offsets_of_keys);
            together(&s[i]);
        }
        assert_true(array_same_bits(&s[0].output, &s[1].output, 0, array_count(&s[0].output)));
        assert_true(array_same_bits(&s[0].d_input[0], &s[1].d_input[0], 0, array_count(&s[0].d_input[0])));
        for (int i = 0; i < 2; i++) {
            scene_destroy(&s[i]);
            attn_engine_destroy(engines[i]);
        }
    }
}

/* --------------------------------------------------------------------------------------------- memories */

static const struct kind decoder = {"decoder", ATTN_MULTIHEAD_PACKED, false, true, ATTN_ALIGN_BOTTOM_RIGHT, true, true};

static attn_memory *memory_create(const struct layer *l, int64_t batch, attn_dtype dtype, int64_t page, uint32_t flags,
                                  int64_t capacity)
{
    attn_memory_options options = ATTN_MEMORY_OPTIONS_INIT;
    attn_memory *memory;
    options.flags = flags;
    options.dtype = dtype;
    options.batch = batch;
    options.key_heads = HK;
    options.key_dim = D;
    options.value_dim = DV;
    options.capacity = capacity;
    options.page = page;
    MUST(attn_memory_create(l->mechanism, &options, &memory));
    return memory;
}

/* Three sequences, a step at a time of each as many rows as `steps` says: what comes out is what each one's whole
 * sequence gives. */
static void decode(attn_dtype dtype, int64_t page)
{
    enum { B = 3, STEPS = 4, T = 14 };
    static const int64_t steps[STEPS][B] = {{5, 0, 1}, {1, 9, 1}, {0, 0, 12}, {8, 1, 0}}, sums[B] = {14, 10, 14};
    struct layer l;
    struct array whole[B], want[B];
    int64_t at[B] = {0, 0, 0};
    layer_create(&l, engine, &decoder, dtype);
    for (int b = 0; b < B; b++) {
        struct rng rng = {(uint64_t)b + 5};
        attn_multihead_args args = ATTN_MULTIHEAD_ARGS_INIT;
        whole[b] = make(dtype, 1, sums[b], E);
        want[b] = make(dtype, 1, sums[b], OUT);
        array_fill_normal(&whole[b], &rng, 1.0);
        args.query = &whole[b].tensor;
        args.output = &want[b].tensor;
        MUST(attn_multihead_forward(l.layer, &args));
    }
    attn_memory *memory = memory_create(&l, B, dtype_computed(dtype), page, 0, 0);
    for (int step = 0; step < STEPS; step++) {
        const int64_t offsets[B + 2] = {2, 2 + steps[step][0], 2 + steps[step][0] + steps[step][1],
                                        2 + steps[step][0] + steps[step][1] + steps[step][2], -1};
        struct side side = side_create(true, offsets, offsets[B] + 3, 0);
        struct array x = make(dtype, 1, side.rows, E), output = make(dtype, 1, side.rows, OUT);
        attn_forward_args attention = ATTN_FORWARD_ARGS_INIT;
        attn_multihead_args args = ATTN_MULTIHEAD_ARGS_INIT;
        array_fill(&x, (double)NAN);
        array_fill(&output, UNTOUCHED);
        for (int b = 0; b < B; b++) {
            for (int64_t i = 0; i < steps[step][b] * E; i++) {
                array_set(&x, offsets[b] * E + i, array_get(&whole[b], at[b] * E + i));
            }
        }
        args.query = &x.tensor, args.output = &output.tensor, args.attention = &attention, args.memory = memory;
        attention.query_offsets = &side.offsets.tensor;
        MUST(attn_multihead_forward(l.layer, &args));
        assert_unused_untouched(&side, &output, "output");
        for (int b = 0; b < B; b++) {
            for (int64_t i = 0; i < steps[step][b] * OUT; i++) {
                const double is = array_get(&output, offsets[b] * OUT + i), was = array_get(&want[b], at[b] * OUT + i);
                if (fabs(is - was) <= 100.0 * dtype_epsilon(dtype) * (1.0 + fabs(was))) continue;
                fail_msg("%s, page %d, step %d, sequence %d: %.9g, not %.9g", dtype_name(dtype), (int)page, step, b, is,
                         was);
            }
            at[b] += steps[step][b];
        }
        array_destroy(&x), array_destroy(&output), array_destroy(&side.offsets);
    }
    attn_memory_destroy(memory);
    for (int b = 0; b < B; b++) array_destroy(&whole[b]), array_destroy(&want[b]);
    layer_destroy(&l);
}

static void chunks_of_any_lengths_give_what_the_whole_sequence_gives(void **state)
{
    (void)state;
    for (int t = 0; t < DTYPES; t++) {
        decode(dtypes[t], 0);
        decode(dtypes[t], 1);
        decode(dtypes[t], 4);
    }
}

/* A prompt and a tree of guesses: 3, then 4 or 5 in its place, then 6 after 5. What comes out at a guess is what its
 * branch as a sequence gives. */
static void a_tree_is_all_its_branches(void **state)
{
    enum { PROMPT = 3, GUESSES = 4, BRANCHES = 3 };
    static const bool sees[GUESSES][GUESSES] = {{1, 0, 0, 0}, {1, 1, 0, 0}, {1, 0, 1, 0}, {1, 0, 1, 1}};
    static const int depth[GUESSES] = {0, 1, 1, 2};
    static const struct {
        int count, rows[PROMPT + GUESSES];
    } branches[BRANCHES] = {{4, {0, 1, 2, 3}}, {5, {0, 1, 2, 3, 4}}, {6, {0, 1, 2, 3, 5, 6}}};
    static const int leaf[BRANCHES] = {0, 1, 3};
    struct kind kind = decoder;
    struct layer l, causal;
    struct rng rng = {9};
    (void)state;
    kind.causal = ATTN_ALIGN_NONE;
    layer_create(&l, engine, &kind, ATTN_F32);
    layer_create(&causal, engine, &decoder, ATTN_F32);
    struct array all = make(ATTN_F32, 1, PROMPT + GUESSES, E), output = make(ATTN_F32, 1, GUESSES, OUT), mask, placed;
    const int64_t square[2] = {GUESSES, GUESSES}, count = GUESSES;
    array_fill_normal(&all, &rng, 1.0);
    array_create(&mask, ATTN_BOOL, 2, square, LAYOUT_PLAIN, NULL);
    array_create(&placed, ATTN_I64, 1, &count, LAYOUT_PLAIN, NULL);
    for (int i = 0; i < GUESSES; i++) {
        array_set(&placed, i, PROMPT + depth[i]);
        for (int j = 0; j < GUESSES; j++) array_set(&mask, i * GUESSES + j, sees[i][j]);
    }
    attn_memory *memory = memory_create(&l, 1, ATTN_F32, 2, 0, 0);
    attn_multihead_args args = ATTN_MULTIHEAD_ARGS_INIT;
    attn_forward_args attention = ATTN_FORWARD_ARGS_INIT;
    attn_tensor prompt = all.tensor, guesses = all.tensor, nothing = output.tensor;
    prompt.shape[1] = PROMPT;
    guesses.shape[1] = GUESSES;
    guesses.data = (float *)guesses.data + PROMPT * guesses.stride[1];
    nothing.shape[1] = PROMPT;
    args.query = &prompt, args.output = &nothing, args.memory = memory;
    MUST(attn_multihead_forward(l.layer, &args));
    attention.mask = &mask.tensor;
    attention.mask_align = ATTN_ALIGN_BOTTOM_RIGHT;
    args.query = &guesses, args.output = &output.tensor, args.attention = &attention, args.positions = &placed.tensor;
    MUST(attn_multihead_forward(l.layer, &args));
    for (int k = 0; k < BRANCHES; k++) {
        struct array branch = make(ATTN_F32, 1, branches[k].count, E), want = make(ATTN_F32, 1, branches[k].count, OUT);
        attn_multihead_args plain = ATTN_MULTIHEAD_ARGS_INIT;
        for (int64_t i = 0; i < array_count(&branch); i++) {
            array_set(&branch, i, array_get(&all, branches[k].rows[i / E] * E + i % E));
        }
        plain.query = &branch.tensor, plain.output = &want.tensor;
        MUST(attn_multihead_forward(causal.layer, &plain));
        for (int64_t i = 0; i < OUT; i++) {
            const double is = array_get(&output, leaf[k] * OUT + i);
            assert_true(fabs(is - array_get(&want, (branches[k].count - 1) * OUT + i)) < 1e-5);
        }
        array_destroy(&branch), array_destroy(&want);
    }
    attn_memory_destroy(memory);
    array_destroy(&all), array_destroy(&output), array_destroy(&mask), array_destroy(&placed);
    layer_destroy(&l), layer_destroy(&causal);
}

/* A pool with room for one sequence more, but not for two. */
static void where_a_pool_is_full_nothing_is_appended(void **state)
{
    static const int64_t fit[] = {0, 4, 4, -1}, too_many[] = {0, 4, 8, -1};
    struct layer l;
    (void)state;
    layer_create(&l, engine, &decoder, ATTN_F32);
    attn_memory *memory = memory_create(&l, 2, ATTN_F32, 4, ATTN_MEMORY_FIXED, 2);
    struct array offsets[2] = {offsets_array(fit), offsets_array(too_many)};
    struct array x = make(ATTN_F32, 1, 8, E), output = make(ATTN_F32, 1, 8, OUT);
    attn_forward_args attention = ATTN_FORWARD_ARGS_INIT;
    attn_multihead_args args = ATTN_MULTIHEAD_ARGS_INIT;
    int64_t lengths[2];
    size_t bytes = 77;
    array_fill(&x, 1.0);
    array_fill(&output, UNTOUCHED);
    args.query = &x.tensor, args.output = &output.tensor, args.attention = &attention, args.memory = memory;
    attention.query_offsets = &offsets[0].tensor;
    MUST(attn_multihead_forward(l.layer, &args));
    array_fill(&output, UNTOUCHED);
    attention.query_offsets = &offsets[1].tensor;
    assert_int_equal(attn_multihead_forward(l.layer, &args), ATTN_ERR_BUFFER);
    assert_int_equal(attn_multihead_workspace(l.layer, &args, &bytes), ATTN_ERR_BUFFER);
    assert_int_equal(bytes, 77);
    for (int64_t i = 0; i < array_count(&output); i++) assert_true(array_get(&output, i) == UNTOUCHED);
    MUST(attn_memory_lengths(memory, NULL, lengths, 2));
    assert_int_equal(lengths[0], 4);
    assert_int_equal(lengths[1], 0);
    attn_memory_destroy(memory);
    array_destroy(&x), array_destroy(&output), array_destroy(&offsets[0]), array_destroy(&offsets[1]);
    layer_destroy(&l);
}

/* Without queries an attending call over pages has nothing to do, and does it. */
static void where_there_are_no_queries_a_memory_may_have_pages(void **state)
{
    struct layer l;
    (void)state;
    layer_create(&l, engine, &decoder, ATTN_F32);
    attn_memory *memory = memory_create(&l, 2, ATTN_F32, 4, 0, 0);
    struct array x = make(ATTN_F32, 2, 7, E), output = make(ATTN_F32, 2, 7, OUT);
    attn_multihead_args args = ATTN_MULTIHEAD_ARGS_INIT;
    array_fill(&x, 1.0);
    args.query = &x.tensor, args.output = &output.tensor, args.memory = memory;
    MUST(attn_multihead_forward(l.layer, &args));
    args.attend_only = 1;
    x.tensor.shape[1] = output.tensor.shape[1] = 0;
    MUST(attn_multihead_forward(l.layer, &args));
    attn_memory_destroy(memory);
    array_destroy(&x), array_destroy(&output);
    layer_destroy(&l);
}

/* With a workspace of just the size, whatever the memory's pages are then. */
static void a_workspace_of_the_size_that_was_told_is_enough(void **state)
{
    static const int64_t rows[] = {0, 3, 10, -1};
    struct layer l;
    (void)state;
    layer_create(&l, engine, &decoder, ATTN_F32);
    attn_memory *memory = memory_create(&l, 2, ATTN_F32, 4, 0, 0);
    struct array offsets = offsets_array(rows), x = make(ATTN_F32, 1, 10, E), output = make(ATTN_F32, 1, 10, OUT);
    attn_forward_args attention = ATTN_FORWARD_ARGS_INIT;
    attn_multihead_args args = ATTN_MULTIHEAD_ARGS_INIT;
    array_fill(&x, 1.0);
    args.query = &x.tensor, args.output = &output.tensor, args.attention = &attention, args.memory = memory;
    attention.query_offsets = &offsets.tensor;
    for (int step = 0; step < 5; step++) {
        MUST(attn_multihead_workspace(l.layer, &args, &args.workspace_size));
        args.workspace = must_allocate(args.workspace_size + 1);
        MUST(attn_multihead_forward(l.layer, &args));
        free(args.workspace);
        args.workspace = NULL;
    }
    attn_memory_destroy(memory);
    array_destroy(&x), array_destroy(&output), array_destroy(&offsets);
    layer_destroy(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sequence_gets_what_a_call_with_it_alone_gives),
        cmocka_unit_test(batches_without_rows_are_batches),
        cmocka_unit_test(where_there_are_no_queries_keys_may_be_ragged),
        cmocka_unit_test(where_there_are_no_queries_a_memory_may_have_pages),
        cmocka_unit_test(what_is_saved_serves_a_ragged_batch),
        cmocka_unit_test(bits_are_the_same_for_any_number_of_threads),
        cmocka_unit_test(chunks_of_any_lengths_give_what_the_whole_sequence_gives),
        cmocka_unit_test(a_tree_is_all_its_branches),
        cmocka_unit_test(where_a_pool_is_full_nothing_is_appended),
        cmocka_unit_test(a_workspace_of_the_size_that_was_told_is_enough),
    };
    return cmocka_run_group_tests(tests, engine_setup, engine_teardown);
}
