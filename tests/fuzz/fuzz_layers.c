/* SPDX-License-Identifier: BSD-3-Clause
 *
 * fuzz_layers.c: layers of heads (multihead_scene.h) of any shape, forward and backward, in workspaces, with what is
 * saved and without, failing, refused, of ragged batches, and decoding over a memory. What is left of an input is
 * another layer, of 16 bits, which no memory decodes.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "multihead_scene.h"

/* In epsilons of 1 + |want|, as in test_multihead.c. */
static const double forward_bound = 60.0, gradient_bound = 400.0, step_bound = 128.0;

enum { MOST_WORKSPACE = 1 << 18 };

/* ------------------------------------------------------------------------------------------------ setups */

static struct setup take_setup(struct bytes *b)
{
    static const enum layer_score scores[] = {LAYER_SCALED_DOT, LAYER_GENERAL, LAYER_ADDITIVE, LAYER_LOCATION};
    struct setup s = {.name = "fuzzed"};
    const unsigned first = take(b), modifiers = take(b), large = take(b);
    s.flags = first % 4;
    s.gives = (int)(first / 4 % 4);
    s.score = scores[first / 16 % 8 < 4 ? 0 : first / 16 % 4];
    s.modifiers = modifiers % 32;
    s.layout = modifiers / 32 % 2 == 0 ? LAYOUT_PLAIN : LAYOUT_OUTPUT;
    s.batch = 1 + take(b) % 3;
    s.queries = take_range(b, 1, large % 8 == 7 ? 40 : 8);
    s.keys = take_range(b, 1, large % 8 == 7 ? 70 : 12);
    s.key_heads = 1 + take(b) % 3;
    s.query_heads = s.key_heads * (1 + take(b) % 3);
    for (int i = 0; i < LAYER_INPUTS; i++) s.dim[i] = take_range(b, 1, large / 8 % 8 == 7 ? 70 : 12);
    s.head_dim = take_range(b, 1, large / 8 % 8 == 6 ? 40 : 8);
    s.value_head_dim = take_range(b, 1, large / 8 % 8 == 6 ? 40 : 8);
    s.output_dim = take_range(b, 1, 16);
    if (large % 8 == 7) s.batch = 1, s.key_heads = s.query_heads = 1 + take(b) % 2;
    /* What stands for another has its size. */
    if (!(s.gives & GIVES_KEY)) s.keys = s.queries, s.dim[1] = s.dim[0];
    if (!(s.gives & GIVES_VALUE)) s.dim[2] = s.dim[1];
    if (s.flags & ATTN_MULTIHEAD_PACKED) s.dim[1] = s.dim[2] = s.dim[0];
    static const unsigned turns[] = {0, LAYER_TURNED, LAYER_TURNED_IN_PART, LAYER_TURNED | LAYER_PLACED};
    s.modifiers |= turns[large / 64];
    if (large / 64 != 0) s.head_dim = (s.head_dim + 1) / 2 * 2;
    if (large / 64 == 2 && s.head_dim < 4) s.head_dim = 4;
    return s;
}

struct fuzzed {
    struct setup setup;
    attn_dtype dtype;
    uint64_t seed;
    bool weights, flow_weights, flow_logsumexp;
};

static void create(struct layer *l, const struct fuzzed *f, enum fuzz_engine on)
{
    layer_create(l, fuzz_engine(on), &f->setup, f->dtype, f->seed);
    array_fill(&l->output, NAN);
    array_fill(&l->weights, NAN);
    array_fill(&l->logsumexp, NAN);
    layer_fill_gradients(l, NAN);
    if (!f->weights) l->attention.weights = NULL;
    if (!f->flow_weights) l->backward.d_weights = NULL;
    if (!f->flow_logsumexp) l->backward.d_logsumexp = NULL;
}

static bool is_untouched(const struct array *array)
{
    for (int64_t i = array_count(array) - 1; i >= 0; i--) {
        if (!isnan(array_get(array, i))) return false;
    }
    return true;
}

/* --------------------------------------------------------------------------------------------- forward */

static void check_close(const struct array *got, const double *want, const double *magnitude, double bound,
                        const char *what, enum fuzz_engine on)
{
    const struct worst worst = compare(got, want, magnitude);
    CHECK(worst.ratio <= bound, "%s, %s[%d] is %.9g, wanted %.9g: %.3g times the unit", fuzz_engine_name(on), what,
          (int)worst.index, worst.got, worst.want, worst.ratio);
    CHECK(array_gaps_intact(got), "%s: written outside of %s", fuzz_engine_name(on), what);
}

static void check_same(const struct layer *got, const struct layer *want, const char *what)
{
    CHECK(array_same_bits(&got->output, &want->output, 0, array_count(&want->output)), "%s: other bits in the output",
          what);
    CHECK(array_same_bits(&got->logsumexp, &want->logsumexp, 0, array_count(&want->logsumexp)),
          "%s: other bits in the log-sum-exp", what);
    CHECK(array_same_bits(&got->weights, &want->weights, 0, array_count(&want->weights)), "%s: other bits in weights",
          what);
}

static void forward(struct layer *l)
{
    fuzz_count_allocations(-1);
    OK(attn_multihead_forward(l->multihead, &l->args));
    CHECK(fuzz_allocations().asked <= (l->args.workspace == NULL), "%d allocations", (int)fuzz_allocations().asked);
}

/* Roundings of a score, relative to the score, come through the exponential as they are: a score of 8 triples what the
 * weights carry beside it. */
static double sharpness(const struct layer *l)
{
    double most = 8.0;
    for (int64_t i = array_count(&l->logsumexp) - 1; i >= 0; i--) {
        const double one = fabs(array_get(&l->logsumexp, i));
        if (one > most && one < INFINITY) most = one;
    }
    return most / 8.0;
}

static void check_forward(struct layer *l, const struct fuzzed *f, enum fuzz_engine on)
{
    double *output, *weights;
    forward(l);
    fuzz_counted(COUNT_TWINS);
    layer_reference(l, &output, &weights);
    const double bound = forward_bound * sharpness(l);
    check_close(&l->output, output, NULL, bound, "output", on);
    if (f->weights) check_close(&l->weights, weights, NULL, bound, "weights", on);
    free(output), free(weights);
}

static void check_alike(const struct layer *want, const struct fuzzed *f, enum fuzz_engine on, unsigned choice)
{
    struct layer l;
    create(&l, f, fuzz_engine_alike(on, choice));
    forward(&l);
    check_same(&l, want, "other threads");
    layer_destroy(&l);
}

static void check_workspace(const struct layer *want, const struct fuzzed *f, enum fuzz_engine on, struct bytes *b)
{
    struct layer l;
    size_t needed = 0;
    create(&l, f, on);
    OK(attn_multihead_workspace(l.multihead, &l.args, &needed));
    if (needed <= MOST_WORKSPACE) {
        l.args.workspace = fuzz_block(b, needed);
        l.args.workspace_size = needed;
        forward(&l);
        check_same(&l, want, "in a workspace");
    }
    layer_destroy(&l);
}

static void check_refused(const struct layer *l, attn_status status, const char *what)
{
    CHECK(status != ATTN_OK, "%s was accepted", what);
    fuzz_check_sentence(status);
    CHECK(is_untouched(&l->output) && is_untouched(&l->weights) && is_untouched(&l->logsumexp), "%s has written", what);
    for (int g = 0; g < GRADIENTS; g++) {
        CHECK(l->gradient[g].memory == NULL || is_untouched(&l->gradient[g]), "%s has written a gradient", what);
    }
}

static void check_failures(const struct fuzzed *f, enum fuzz_engine on, struct bytes *b)
{
    struct layer l;
    const unsigned way = take(b);
    attn_tensor tensor;
    create(&l, f, on);
    switch (way % 12) {
    case 0:
        l.args.query = NULL;
        break;
    case 1:
        l.args.output = NULL;
        l.args.attention = NULL;
        break;
    case 2:
        l.args.struct_size--;
        break;
    case 3: /* of other dimensions than the layer's */
        tensor = l.input[0].tensor;
        tensor.shape[2]++;
        l.args.query = &tensor;
        break;
    case 4:
        tensor = l.output.tensor;
        tensor.shape[take(b) % 3]++;
        l.args.output = &tensor;
        break;
    case 5:
        tensor = l.input[0].tensor;
        tensor.dtype = f->dtype == ATTN_F32 ? ATTN_F64 : ATTN_F32;
        l.args.query = &tensor;
        break;
    case 6:
        tensor = l.output.tensor;
        tensor.data = l.input[0].tensor.data;
        l.args.output = &tensor;
        break;
    case 7:
        OK(attn_multihead_bind_param(l.multihead, "W_o", NULL));
        break;
    case 8:
        l.args.attend_only = 1;
        break;
    case 9:
        l.attention.query = &l.input[0].tensor;
        break;
    case 10:
        tensor = l.output.tensor;
        tensor.ndim = take(b) % 2 == 0 ? 0 : 5;
        l.args.output = &tensor;
        break;
    default:
        fuzz_count_allocations(0);
        break;
    }
    const attn_status status = attn_multihead_forward(l.multihead, &l.args);
    const bool without_memory = way % 12 == 11;
    if (!without_memory || fuzz_allocations().asked > 0) check_refused(&l, status, "a spoilt call");
    fuzz_count_allocations(-1);
    layer_destroy(&l);
}

/* -------------------------------------------------------------------------------------------- backward */

static void backward(struct layer *l)
{
    fuzz_count_allocations(-1);
    fuzz_counted(COUNT_GRADIENTS);
    OK(attn_multihead_backward(l->multihead, &l->backward));
    CHECK(fuzz_allocations().asked <= (l->backward.workspace == NULL), "%d allocations", (int)fuzz_allocations().asked);
}

static void check_same_gradients(const struct layer *got, const struct layer *want, const char *what)
{
    for (int g = 0; g < GRADIENTS; g++) {
        const struct array *of = &want->gradient[g];
        if (of->memory == NULL) continue;
        CHECK(array_same_bits(&got->gradient[g], of, 0, array_count(of)), "%s: other bits in %s", what,
              layer_gradient_name(want, g));
    }
}

static bool is_stored(attn_dtype dtype)
{
    return dtype_computed(dtype) != dtype;
}

/* Float32 and less beside float64, whose numbers are the same; or float64 beside itself on the other way. */
static void check_gradients(struct layer *l, const struct fuzzed *f, enum fuzz_engine on)
{
    struct layer twice;
    struct fuzzed wide = *f;
    wide.dtype = ATTN_F64;
    create(&twice, &wide, on == BLAS_ONE ? TILES_ONE : BLAS_ONE);
    if (is_stored(f->dtype)) layer_copy_numbers(&twice, l);
    backward(&twice);
    for (int g = 0; g < GRADIENTS; g++) {
        if (twice.gradient[g].memory == NULL) continue;
        double *want = array_read(&twice.gradient[g]), most = 1.0;
        const int64_t count = array_count(&twice.gradient[g]);
        double *magnitude = must_allocate((size_t)(count + 1) * sizeof *magnitude);
        for (int64_t k = 0; k < count; k++) most = fmax(most, fabs(want[k]));
        /* Terms of a slope's gradient are as great as the distances are, and have either sign. */
        if (g == GRADIENT_ALIBI) most *= (double)(f->setup.queries + f->setup.keys);
        for (int64_t k = 0; k < count; k++) magnitude[k] = most;
        check_close(&l->gradient[g], want, magnitude, gradient_bound, layer_gradient_name(l, g), on);
        free(want), free(magnitude);
    }
    layer_destroy(&twice);
}

static void check_backward(const struct fuzzed *f, enum fuzz_engine on, struct bytes *b)
{
    struct layer l, other;
    const unsigned checks = take(b);
    create(&l, f, on);
    backward(&l);
    check_gradients(&l, f, on);
    create(&other, f, checks & 1 ? fuzz_engine_alike(on, checks / 16) : on);
    if (checks & 2 && !f->weights) { /* what was saved by a call without weights has the same bits */
        layer_save(&other);
        forward(&other);
    }
    if (checks & 4) {
        size_t needed = 0;
        OK(attn_multihead_backward_workspace(other.multihead, &other.backward, &needed));
        if (needed <= MOST_WORKSPACE) {
            other.backward.workspace = fuzz_block(b, needed);
            other.backward.workspace_size = needed;
        }
    }
    backward(&other);
    check_same_gradients(&other, &l, "another call");
    if (checks & 8) {
        other.backward.workspace = NULL;
        other.backward.workspace_size = 0;
        layer_fill_gradients(&other, NAN);
        array_fill(&other.output, NAN);
        array_fill(&other.logsumexp, NAN);
        fuzz_count_allocations(0);
        const attn_status status = attn_multihead_backward(other.multihead, &other.backward);
        if (fuzz_allocations().asked > 0) check_refused(&other, status, "a call without memory");
        fuzz_count_allocations(-1);
    }
    if (checks & 128) {
        layer_fill_gradients(&other, 3.0);
        other.backward.accumulate = 1;
        backward(&other);
        for (int g = 0; g < GRADIENTS; g++) {
            if (l.gradient[g].memory == NULL) continue;
            const int64_t count = array_count(&l.gradient[g]);
            const attn_dtype dtype = l.gradient[g].tensor.dtype;
            double *want = array_read(&l.gradient[g]);
            double *magnitude = must_allocate((size_t)(count + 1) * sizeof *magnitude);
            for (int64_t k = 0; k < count; k++) { /* which was rounded, too */
                const double half = dtype_half_step(dtype, want[k]) / gradient_bound / dtype_epsilon(dtype);
                want[k] += 3.0;
                magnitude[k] = 1.0 + fabs(want[k]) + half;
            }
            check_close(&other.gradient[g], want, magnitude, gradient_bound, layer_gradient_name(&l, g), on);
            free(want), free(magnitude);
        }
    }
    layer_destroy(&other);
    layer_destroy(&l);
}

/* ---------------------------------------------------------------------------------------------- ragged */

static int64_t element_bytes(attn_dtype dtype)
{
    return dtype == ATTN_F64 ? 8 : dtype == ATTN_F32 ? 4 : 2;
}

/* Rows of [1, T, dim]. */
static attn_tensor some_rows(const struct array *array, int64_t first, int64_t count)
{
    attn_tensor t = array->tensor;
    t.data = (char *)t.data + first * t.stride[1] * element_bytes(t.dtype);
    t.shape[1] = count;
    return t;
}

/* Every sequence of a ragged batch gets what it gets alone, whatever is in rows that none has. */
static void check_ragged(struct fuzzed f, enum fuzz_engine on)
{
    enum { SEQUENCES = 4 };
    struct layer l;
    struct rng rng = {f.seed + 1};
    int64_t offsets[SEQUENCES + 1];
    const int64_t ends = SEQUENCES + 1;
    attn_tensor tensor;
    f.setup.gives = 0;
    f.setup.batch = 1;
    f.setup.keys = f.setup.queries;
    f.setup.dim[1] = f.setup.dim[2] = f.setup.dim[0];
    f.setup.modifiers &= LAYER_TURNED | LAYER_TURNED_IN_PART;
    f.weights = false;
    create(&l, &f, on);
    l.attention.logsumexp = NULL;
    for (int i = 0; i <= SEQUENCES; i++) offsets[i] = rng_integer(&rng, i == 0 ? 0 : offsets[i - 1], f.setup.queries);
    OK(attn_tensor_init(&tensor, offsets, ATTN_I64, 1, &ends));
    for (int64_t i = 0; i < array_count(&l.input[0]); i++) {
        const int64_t row = i / f.setup.dim[0];
        if (row < offsets[0] || row >= offsets[SEQUENCES]) array_set(&l.input[0], i, NAN);
    }
    l.attention.query_offsets = &tensor;
    forward(&l);
    double *ragged = array_read(&l.output);
    array_fill(&l.output, NAN);
    l.attention.query_offsets = NULL;
    for (int i = 0; i < SEQUENCES; i++) {
        const attn_tensor x = some_rows(&l.input[0], offsets[i], offsets[i + 1] - offsets[i]);
        const attn_tensor output = some_rows(&l.output, offsets[i], offsets[i + 1] - offsets[i]);
        l.args.query = &x, l.args.output = &output;
        forward(&l);
    }
    check_close(&l.output, ragged, NULL, step_bound, "ragged", on);
    free(ragged);
    layer_destroy(&l);
}

/* ---------------------------------------------------------------------------------------------- memory */

/* Self-attention step by step gives what it gives for all at once; a step that fails appends nothing. */
static void check_decoding(struct fuzzed f, enum fuzz_engine on, struct bytes *b)
{
    struct layer l;
    attn_memory *memory = NULL;
    attn_memory_options options = ATTN_MEMORY_OPTIONS_INIT;
    f.setup.gives = 0;
    f.setup.keys = f.setup.queries;
    f.setup.dim[1] = f.setup.dim[2] = f.setup.dim[0];
    f.setup.modifiers &= LAYER_TURNED | LAYER_TURNED_IN_PART;
    if (f.setup.score > LAYER_GENERAL) f.setup.score = LAYER_SCALED_DOT;
    create(&l, &f, on);
    OK(attn_mechanism_set_causal(l.mechanism, ATTN_ALIGN_BOTTOM_RIGHT));
    l.args.attention = NULL;
    forward(&l);
    double *whole = array_read(&l.output);
    options.dtype = f.dtype;
    options.batch = f.setup.batch;
    options.key_heads = f.setup.key_heads;
    options.key_dim = f.setup.head_dim;
    options.value_dim = f.setup.value_head_dim;
    options.capacity = take(b) % 8;
    options.page = (int64_t)(f.seed % 4);
    OK(attn_memory_create(l.mechanism, &options, &memory));
    array_fill(&l.output, NAN);
    l.args.memory = memory;
    for (int64_t at = 0; at < f.setup.queries;) {
        const int64_t left = f.setup.queries - at, count = 1 + take(b) % (left < 4 ? left : 4);
        const attn_tensor in = some_rows(&l.input[0], at, count), out = some_rows(&l.output, at, count);
        int64_t batch, lengths[3];
        l.args.query = &in;
        l.args.output = &out;
        attn_status status = ATTN_OK;
        for (int64_t k = take(b) % 4 == 3 ? 0 : -1;; k++) {
            fuzz_count_allocations(k);
            status = attn_multihead_forward(l.multihead, &l.args);
            const bool failed = k >= 0 && fuzz_allocations().asked > k;
            fuzz_count_allocations(-1);
            if (!failed) break;
            CHECK(status == ATTN_ERR_NOMEM, "%s without memory", attn_status_string(status));
            OK(attn_memory_lengths(memory, &batch, lengths, 3));
            CHECK(lengths[0] == at, "a failed step has appended");
            CHECK(isnan(array_get(&l.output, at * f.setup.output_dim)), "a failed step has written");
        }
        OK(status);
        OK(attn_memory_lengths(memory, &batch, lengths, 3));
        for (int64_t r = 0; r < batch; r++) CHECK(lengths[r] == at + count, "%d positions", (int)lengths[r]);
        at += count;
    }
    check_close(&l.output, whole, NULL, step_bound, "steps", on);
    free(whole);
    attn_memory_destroy(memory);
    layer_destroy(&l);
}

/* ----------------------------------------------------------------------------------------------- whole */

/* The layer of this type, or, of 0, of one that is taken. */
static void check_layer(struct bytes *b, attn_dtype dtype)
{
    struct layer l;
    struct fuzzed f = {.setup = take_setup(b)};
    const unsigned choice = take(b), check = take(b);
    const enum fuzz_engine on = choice % 2 == 0 ? TILES_ONE : BLAS_ONE;
    f.dtype = dtype != 0 ? dtype : choice / 2 % 4 == 3 ? ATTN_F64 : ATTN_F32;
    f.weights = choice / 8 % 2 == 0;
    f.flow_weights = choice / 16 % 4 == 3;
    f.flow_logsumexp = choice / 64 % 4 == 3;
    f.seed = rng_bits(&(struct rng){take_rng(b).state});

    create(&l, &f, on);
    check_forward(&l, &f, on);
    if (check % 8 == 0) check_alike(&l, &f, on, check / 64);
    if (check % 8 == 0 && check / 8 % 2 == 1) check_ragged(f, on);
    if (check % 8 == 1) check_workspace(&l, &f, on, b);
    layer_destroy(&l);
    if (check % 8 == 2) check_failures(&f, on, b);
    if (check % 8 == 3 && !is_stored(f.dtype)) check_decoding(f, on, b);
    if (check % 8 > 3) check_backward(&f, on, b);
}

void fuzz_one(struct bytes *b)
{
    check_layer(b, 0);
    const unsigned stored = take(b) % 4;
    if (stored != 0) check_layer(b, stored == 1 ? ATTN_BF16 : ATTN_F16);
}
