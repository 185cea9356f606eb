/* SPDX-License-Identifier: BSD-3-Clause
 *
 * run_attention.c: attn run without more: a mechanism on queries, keys and values, what Luong's decoder makes of the
 * context, and the gradients of both.
 */
#include "attentional.h"
#include "fail.h"
#include "incremental.h"
#include "inner_gradients.h"
#include "mechanism.h"
#include "modifiers.h"
#include "ragged.h"
#include "results.h"
#include "rotary.h"
#include "rows.h"
#include "run.h"
#include "tensor.h"

#include <stdlib.h>
#include <string.h>

static const request_option attention_options[] = {{.name = "query"},
                                                   {.name = "key"},
                                                   {.name = "value"},
                                                   {.name = "key-scales", .needs = "key"},
                                                   {.name = "value-scales", .needs = "value"},
                                                   {.name = "context"},
                                                   {.name = "d-context", .needs = "grad-out"},
                                                   {.name = NULL}};
static const char *const outputs[] = {"context", "output",    "weights",  "scores",   "logsumexp",
                                      "entropy", "strongest", "key-sums", "grad-out", NULL};
static const char *const flows[] = {"d-context", "d-output", "d-weights", "d-logsumexp", NULL};

/* What one call works on. */
typedef struct call {
    request *r;
    attn_engine *engine;
    attn_mechanism *mechanism;
    const attn_tensor *query, *key, *value; /* as they came; no key, or no value, but not neither */
    const char *directory;                  /* of gradients, or NULL */
    rotary rotary;
    attentional step;
    attn_forward_args args;
    attn_weights_stats stats;
    attn_backward_args backward;
    const attn_tensor **d_params;
    results results;
} call;

static void read_inputs(call *c)
{
    c->args = (attn_forward_args)ATTN_FORWARD_ARGS_INIT;
    c->args.query = c->query = request_tensor(c->r, "query");
    c->args.key = c->key = request_tensor(c->r, "key");
    c->args.value = c->value = request_tensor(c->r, "value");
    c->args.key_scales = request_tensor(c->r, "key-scales");
    c->args.value_scales = request_tensor(c->r, "value-scales");
    tensor_check_real(c->query, request_get(c->r, "query"));
    modifiers_fill(c->r, &c->args);
    ragged_fill(c->r, &c->args);
}

/* Outputs have the shape of the query with another last dimension. */
static void add_outputs(call *c, const attn_tensor *keyed, const attn_tensor *valued)
{
    int64_t shape[4], sums[4], rows = keyed->ndim > 1 ? keyed->shape[keyed->ndim - 2] : 1;
    memcpy(shape, c->query->shape, sizeof shape);
    int64_t *last = &shape[c->query->ndim - 1];
    const char *context = request_get(c->r, "context");
    *last = tensor_last_dimension(valued);
    if (context != NULL || c->step.wanted || request_get(c->r, "d-context") != NULL) {
        c->args.context = results_add(&c->results, context, c->query->dtype, c->query->ndim, shape);
    }
    *last = ragged_columns(&c->args, rows);
    attentional_add(&c->step, &c->results, c->r, c->query, c->args.context);
    const int32_t sums_ndim = ragged_sums(&c->args, c->query->ndim, shape, rows, sums);
    rows_add(&c->results, c->r, &c->args, &c->stats, c->query->dtype, c->query->ndim, shape, sums_ndim, sums,
             c->directory != NULL);
    ragged_clear(&c->args);
}

/* The turned copies take the places of query and key; values do not turn, also where they are the keys. */
static void turn(call *c)
{
    if (!c->rotary.turns) return;
    c->args.query = results_add(&c->results, NULL, c->query->dtype, c->query->ndim, c->query->shape);
    c->args.key = results_add(&c->results, NULL, c->key->dtype, c->key->ndim, c->key->shape);
    if (c->value == NULL) c->args.value = c->key;
    rotary_turn(c->engine, &c->rotary.query, c->query, c->args.query);
    rotary_turn(c->engine, &c->rotary.key, c->key, c->args.key);
}

/* Keys that were turned are values as they came: their gradient has two parts. */
static bool is_parted(const call *c)
{
    return c->value == NULL && c->rotary.turns;
}

static void add_gradients(call *c)
{
    results *all = &c->results;
    const char *directory = c->directory;
    c->backward = (attn_backward_args)ATTN_BACKWARD_ARGS_INIT;
    c->backward.forward = &c->args;
    c->backward.d_context = request_tensor(c->r, "d-context");
    c->backward.d_query = results_add_gradient(all, directory, "query", c->query);
    c->backward.d_key = results_add_gradient(all, directory, "key", c->key);
    c->backward.d_value = results_add_gradient(all, is_parted(c) ? NULL : directory, "value", c->args.value);
    inner_gradients inner = inner_gradients_add(all, directory, c->r, &c->args, c->mechanism);
    c->backward.d_weights = inner.d_weights;
    c->backward.d_logsumexp = inner.d_logsumexp;
    c->backward.d_bias = inner.d_bias;
    c->backward.d_alibi = inner.d_alibi;
    c->backward.d_relative = inner.d_relative;
    c->backward.d_sinks = inner.d_sinks;
    c->backward.d_params = c->d_params = inner.d_params;
    if (c->args.query_offsets != NULL || c->args.key_offsets != NULL) ragged_clear_gradients(&c->backward);
    attentional_add_gradients(&c->step, all, directory, c->r);
}

/* The forward calls have been made. What the step passes back joins the caller's gradient by the context. */
static void differentiate(call *c)
{
    const attn_tensor *d_context = c->backward.d_context;
    if (c->step.wanted) {
        size_t unused; /* what is asked is whether d_context has the right shape */
        if (d_context != NULL) require(attn_backward_workspace(c->mechanism, &c->backward, &unused));
        attentional_backward(&c->step, c->engine);
        if (d_context != NULL) tensor_add(d_context, c->step.args.d_context);
        c->backward.d_context = c->step.args.d_context;
    }
    require(attn_backward(c->mechanism, &c->backward));
    if (c->rotary.turns) {
        rotary_turn_back(c->engine, &c->rotary.query, c->backward.d_query);
        rotary_turn_back(c->engine, &c->rotary.key, c->backward.d_key);
    }
    if (is_parted(c)) tensor_add(c->backward.d_value, c->backward.d_key);
    if (c->step.wanted) tensor_add(c->step.args.d_query, c->backward.d_query);
}

static void run(request *r, attn_engine *engine)
{
    call c = {.r = r, .engine = engine};
    (void)request_need(r, "score", "NAME");
    (void)request_need(r, "query", "FILE");
    c.directory = results_directory(r, flows, "--d-context, --d-output, --d-weights or --d-logsumexp");
    incremental way = incremental_read(r);
    c.rotary = rotary_create(r);
    if (!request_any(r, outputs)) {
        request_to_standard_output(r, parameters_find(&r->params, "W_c") != NULL ? "output" : "context");
    }
    c.step = attentional_read(r);
    read_inputs(&c);
    c.mechanism =
        mechanism_create(engine, r, tensor_last_dimension(c.query), c.key != NULL ? tensor_last_dimension(c.key) : -1);
    if (c.key == NULL && c.value == NULL) {
        fail("attn run needs --key FILE, or --value FILE where the score reads no key");
    }
    add_outputs(&c, c.key != NULL ? c.key : c.value, c.value != NULL ? c.value : c.key);
    turn(&c);
    if (c.directory != NULL) add_gradients(&c);
    incremental_forward(&way, c.mechanism, &c.args);
    attentional_forward(&c.step, engine);
    if (c.directory != NULL) differentiate(&c);
    results_write(&c.results);
    attn_mechanism_destroy(c.mechanism);
    results_free(&c.results);
    free(c.d_params);
}

static const request_option *const options[] = {mechanism_options,  modifiers_options,   ragged_options,
                                                rotary_options,     incremental_options, attentional_options,
                                                rows_options,       attention_options,   inner_gradients_options,
                                                run_engine_options, run_file_options,    NULL};
const run_call run_attention = {.options = options, .run = run};

const char run_attention_help[] =
    "  --score NAME          dot, scaled-dot, general, additive, concat or location\n"
    "  --query FILE          [B, Hq, Tq, Dq]; leading dimensions may be left out here and below\n"
    "  --key FILE            [B, Hk, Tk, Dk]\n"
    "  --value FILE          [B, Hk, Tk, Dv]; without it the keys are the values\n"
    "  --key-scales FILE     f4 [B, Hk, Tk], where keys are of i1: what each of them is to be multiplied by\n"
    "  --value-scales FILE   likewise\n"
    "  --param NAME=FILE     a parameter of the score: W, U, v, b, g; additive is what its parameters say\n"
    "  --rope LAYOUT         turn queries and keys by their positions first: interleaved or halves\n"
    "  --rope-dimensions N   so many of each, the first ones; all without it\n"
    "  --rope-base X         10000 without it\n"
    "\n"
    "  --scale X             multiply the scores\n"
    "  --softcap X           then bend them: X tanh(e / X)\n"
    "  --bias FILE           then add to them: broadcasts to [B, Hq, Tq, Tk]\n"
    "  --alibi FILE          and add -slope |position - j|: the slopes [Hq]\n"
    "  --relative KIND=FILE  and add a bias of the distance, from a table [Hq, n] or [1, n]: clipped, t5, t5-causal\n"
    "  --max-distance N      of --relative: the greatest distance that is told from others\n"
    "  --mask FILE           bool, true may be seen: broadcasts to [B, Hq, Tq, Tk]\n"
    "  --lengths FILE        i4 or i8 [B]: the valid keys of each sequence\n"
    "  --mask-align bottom-right  the mask is of the last keys of each sequence, [B, Hq, Tq, n]; others may be seen\n"
    "  --query-offsets FILE  i4 or i8 [B + 1]: sequence b has these rows of the queries, [1, Hq, all of them, Dq];\n"
    "  --key-offsets FILE    and of the keys and values. Either, or both\n"
    "  --page-table FILE     i4 or i8 [B, most]: keys and values are pages, [N, Hk, page, D], and these are each\n"
    "                        sequence's in order, with --lengths; no gradients\n"
    "  --page-offsets FILE   i4 or i8 [B + 1]: the table is [all], and these entries are sequence b's\n"
    "  --causal ALIGN        a query sees keys up to its position: top-left (query i stands at the query start\n"
    "                        + i) or bottom-right (the last query stands at the last valid key)\n"
    "  --window LEFT,RIGHT   and so many before and after its position; -1 is unbounded\n"
    "  --align ALIGN         what a position is for --window, --alibi and --relative; that of --causal without it\n"
    "  --query-start N       the position of the first query, but for bottom-right; 0 without it\n"
    "  --local KIND          monotonic, predictive or predictive-floor (with --param W_p=FILE, v_p=FILE)\n"
    "  --half-width N        of --local: a query sees so many keys on either side\n"
    "  --temperature X       softmax of e / X\n"
    "  --sinks FILE          a score for each head beside those of its keys, which has no value: [Hq]\n"
    "  --hardmax             1 on the highest score instead\n"
    "  --precision NAME      exact, the same on every CPU, or fast: a CPU that can multiplies bfloat16 and i1 as they\n"
    "                        are kept; attn info says what this one does\n"
    "  --dropout X           drop weights with this probability\n"
    "  --seed N, --offset N  which ones; 0 without them\n"
    "  --incremental         the queries one by one over a memory, which grows with them where they are causal:\n"
    "                        the same numbers, as a decoder has them\n"
    "  --memory-dtype NAME   of --incremental: what the memory keeps keys and values in, float32, float64, float16,\n"
    "                        bfloat16 or int8, the last with a scale for each; as the query is without it\n"
    "  --page N              of --incremental: in pages of N\n"
    "\n";
const char run_attention_outputs_help[] =
    "  --context FILE        outputs; the context goes to standard output if none is named\n"
    "  --weights FILE\n"
    "  --scores STAGE=FILE   the scores: raw, capped, masked or weights\n"
    "  --logsumexp FILE\n"
    "  --entropy FILE        what the weights are like: the entropy of each query's,\n"
    "  --strongest FILE      the key that it weighs most, i8 (-1: it sees none),\n"
    "  --key-sums FILE       and what each key gets of all queries\n"
    "  --output FILE         tanh(W_c [context; query] + b_c), with --param W_c=FILE, and b_c or not: what Luong's\n"
    "                        decoder makes of the context, which goes to standard output instead\n"
    "\n"
    "  --d-context FILE      gradients of a loss, by outputs: what flows in\n"
    "  --d-output FILE\n"
    "  --d-weights FILE\n"
    "  --d-logsumexp FILE\n"
    "  --grad-out DIR        then those by every input go to DIR/d_query.npy, d_key, d_value, d_bias, d_alibi,\n"
    "                        d_relative, d_sinks, and d_NAME for each parameter\n";
