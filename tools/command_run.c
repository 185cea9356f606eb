/* SPDX-License-Identifier: BSD-3-Clause
 *
 * command_run.c: attn run computes attention over .npy files.
 */
#include "command.h"
#include "fail.h"
#include "gradients.h"
#include "mechanism.h"
#include "npy.h"
#include "options.h"
#include "output.h"
#include "request.h"
#include "rotary.h"

#include <attn/attn.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static const option_word aligns[] = {
    {"top-left", ATTN_ALIGN_TOP_LEFT}, {"bottom-right", ATTN_ALIGN_BOTTOM_RIGHT}, {NULL, 0}};
static const option_word ways[] = {
    {"automatic", ATTN_WAY_AUTOMATIC}, {"blas", ATTN_WAY_BLAS}, {"tiles", ATTN_WAY_TILES}, {NULL, 0}};
static const option_word locals[] = {{"monotonic", ATTN_LOCAL_MONOTONIC},
                                     {"predictive", ATTN_LOCAL_PREDICTIVE},
                                     {"predictive-floor", ATTN_LOCAL_PREDICTIVE_FLOOR},
                                     {NULL, 0}};

/* What one call works on. */
typedef struct call {
    attn_tensor tensors[TENSORS];
    FILE *streams[TENSORS];
    attn_tensor turned_key; /* where the keys are the values */
    rotary rotary;
    attn_forward_args args;
} call;

static attn_engine *create_engine(const request *r)
{
    attn_engine_options engine_options = ATTN_ENGINE_OPTIONS_INIT;
    if (r->given[THREADS] != NULL) {
        int64_t threads = options_integer("--threads", r->given[THREADS]);
        if (threads < 0 || threads > INT32_MAX) fail("--threads is out of range: %s", r->given[THREADS]);
        engine_options.threads = (int32_t)threads;
    }
    if (r->given[WAY] != NULL) engine_options.way = options_word("--way", r->given[WAY], ways);
    attn_engine *engine;
    require(attn_engine_create(&engine_options, &engine));
    return engine;
}

static void set_window(attn_mechanism *mechanism, const char *text, attn_align align)
{
    char *left = copy_string(text);
    char *comma = strchr(left, ',');
    if (comma == NULL) fail("--window takes LEFT,RIGHT, not '%s'", text);
    *comma = '\0';
    require(attn_mechanism_set_window(mechanism, options_integer("--window", left),
                                      options_integer("--window", comma + 1), align));
    free(left);
}

static locality locality_of(const request *r)
{
    locality l = {ATTN_LOCAL_NONE, 0};
    if (r->given[LOCAL] == NULL) return l;
    l.local = options_word("--local", r->given[LOCAL], locals);
    l.half_width = options_integer("--half-width", r->given[HALF_WIDTH]);
    return l;
}

static void set_modifiers(attn_mechanism *mechanism, const request *r, const attn_tensor *slopes,
                          const attn_tensor *table)
{
    if (r->given[SCALE] != NULL) {
        require(attn_mechanism_set_scale(mechanism, options_number("--scale", r->given[SCALE])));
    }
    if (r->given[SOFTCAP] != NULL) {
        require(attn_mechanism_set_softcap(mechanism, options_number("--softcap", r->given[SOFTCAP])));
    }
    if (r->given[TEMPERATURE] != NULL) {
        require(attn_mechanism_set_temperature(mechanism, options_number("--temperature", r->given[TEMPERATURE])));
    }
    if (r->given[HARDMAX] != NULL) require(attn_mechanism_set_normaliser(mechanism, ATTN_HARDMAX));
    if (r->given[CAUSAL] != NULL) {
        require(attn_mechanism_set_causal(mechanism, options_word("--causal", r->given[CAUSAL], aligns)));
    }
    if (r->given[ALIGN] == NULL) return;
    attn_align align = options_word("--align", r->given[ALIGN], aligns);
    if (r->given[WINDOW] != NULL) set_window(mechanism, r->given[WINDOW], align);
    if (slopes != NULL) require(attn_mechanism_set_alibi(mechanism, slopes, align));
    if (table != NULL) {
        int64_t most = options_integer("--max-distance", r->given[MAX_DISTANCE]);
        require(attn_mechanism_set_relative_bias(mechanism, table, r->relative, most, align));
    }
}

/* Makes an output: the shape of the query with columns in place of the last dimension, or, for the log-sum-exp,
 * without it (one number stays where there is no other dimension). file NULL: it is computed, but not written. */
static void make_output(call *c, int output, int64_t columns, const char *file)
{
    const attn_tensor *query = &c->tensors[QUERY];
    int64_t shape[4];
    memcpy(shape, query->shape, sizeof shape);
    int32_t ndim = query->ndim;
    if (output != LOGSUMEXP) {
        shape[ndim - 1] = columns;
    } else if (ndim > 1) {
        --ndim;
    } else {
        shape[0] = 1;
    }
    c->streams[output] = file != NULL ? output_open(file) : NULL;
    c->tensors[output] = npy_create(query->dtype, ndim, shape);
}

/* NULL for what was neither read nor made. */
static const attn_tensor *tensor_or_null(const call *c, int which)
{
    return c->tensors[which].dtype != 0 ? &c->tensors[which] : NULL;
}

/* Whether an output is computed: one that is written, and what gradients follow from. */
static bool is_made(const request *r, int output)
{
    if (r->given[output] != NULL) return true;
    return (output == CONTEXT && r->given[D_CONTEXT] != NULL) || (output == LOGSUMEXP && r->given[GRAD_OUT] != NULL);
}

static void read_dropout(const request *r, attn_forward_args *args)
{
    if (r->given[DROPOUT] != NULL) args->dropout = options_number("--dropout", r->given[DROPOUT]);
    if (r->given[SEED] != NULL) args->dropout_seed = options_unsigned("--seed", r->given[SEED]);
    if (r->given[OFFSET] != NULL) args->dropout_offset = options_unsigned("--offset", r->given[OFFSET]);
}

static void prepare(call *c, const request *r)
{
    for (int i = 0; i < INPUTS; ++i) {
        if (r->given[i] != NULL) c->tensors[i] = npy_read(r->given[i]);
    }
    const attn_tensor *query = &c->tensors[QUERY];
    if (query->dtype != ATTN_F32 && query->dtype != ATTN_F64) {
        fail("%s holds whole numbers; the query is f4 or f8", r->given[QUERY]);
    }
    const attn_tensor *key = tensor_or_null(c, KEY), *value = tensor_or_null(c, VALUE);
    const attn_tensor *keyed = key != NULL ? key : value, *valued = value != NULL ? value : key;
    if (keyed == NULL) fail("attn run needs --key FILE, or --value FILE where the score reads no key");
    int64_t keys = keyed->ndim > 1 ? keyed->shape[keyed->ndim - 2] : 1;
    for (int i = INPUTS; i < TENSORS; ++i) {
        if (is_made(r, i)) make_output(c, i, i == CONTEXT ? valued->shape[valued->ndim - 1] : keys, r->given[i]);
    }
    c->args = (attn_forward_args)ATTN_FORWARD_ARGS_INIT;
    c->args.scores_stage = r->scores_stage;
    c->args.query = query;
    c->args.key = key;
    c->args.value = value;
    c->args.mask = tensor_or_null(c, MASK);
    c->args.bias = tensor_or_null(c, BIAS);
    c->args.key_lengths = tensor_or_null(c, LENGTHS);
    if (r->given[QUERY_START] != NULL) c->args.query_start = options_integer("--query-start", r->given[QUERY_START]);
    read_dropout(r, &c->args);
    c->args.context = tensor_or_null(c, CONTEXT);
    c->args.weights = tensor_or_null(c, WEIGHTS);
    c->args.scores = tensor_or_null(c, SCORES);
    c->args.logsumexp = tensor_or_null(c, LOGSUMEXP);
}

/* Queries turn in place; so do keys, unless they are the values, which do not turn. */
static void turn(call *c, const request *r, attn_engine *engine)
{
    if (r->given[ROPE] == NULL) return;
    c->rotary = rotary_create(r->given[ROPE], r->given[ROPE_DIMENSIONS], r->given[ROPE_BASE], c->args.query_start);
    const attn_tensor *key = c->args.key;
    rotary_turn(engine, &c->rotary.query, c->args.query, c->args.query);
    if (c->args.value == NULL) {
        c->turned_key = npy_create(key->dtype, key->ndim, key->shape);
        c->args.key = &c->turned_key;
        c->args.value = key;
    }
    rotary_turn(engine, &c->rotary.key, key, c->args.key);
}

static gradients open_gradients(const call *c, const request *r, const attn_mechanism *mechanism)
{
    const gradients_of of = {.forward = &c->args,
                             .alibi = tensor_or_null(c, ALIBI),
                             .relative = tensor_or_null(c, RELATIVE),
                             .value_is_key = c->args.key == &c->turned_key};
    gradients all = gradients_open(r->given[GRAD_OUT], mechanism, &of);
    all.args.d_context = tensor_or_null(c, D_CONTEXT);
    all.args.d_weights = tensor_or_null(c, D_WEIGHTS);
    all.args.d_logsumexp = tensor_or_null(c, D_LOGSUMEXP);
    return all;
}

static void execute(int argc, char **argv)
{
    request r = request_parse(argc, argv);
    attn_engine *engine = create_engine(&r);
    call c = {0};
    gradients all = {0};
    prepare(&c, &r);
    locality local = locality_of(&r);
    attn_mechanism *mechanism = mechanism_create(engine, r.given[SCORE], &local, c.args.query, c.args.key, &r.params);
    set_modifiers(mechanism, &r, tensor_or_null(&c, ALIBI), tensor_or_null(&c, RELATIVE));
    turn(&c, &r, engine);
    if (r.given[GRAD_OUT] != NULL) all = open_gradients(&c, &r, mechanism);
    require(attn_forward(mechanism, &c.args));
    for (int i = INPUTS; i < TENSORS; ++i) {
        if (c.streams[i] != NULL) npy_write(c.streams[i], &c.tensors[i]);
    }
    if (r.given[GRAD_OUT] != NULL) {
        gradients_write(&all, engine, mechanism, r.given[ROPE] != NULL ? &c.rotary : NULL);
    }
    output_commit();
    attn_mechanism_destroy(mechanism);
    attn_engine_destroy(engine);
    for (int i = 0; i < TENSORS; ++i) free(c.tensors[i].data);
    free(c.turned_key.data);
    gradients_free(&all);
    parameters_free(&r.params);
}

const command command_run = {
    .name = "run",
    .summary = "compute attention over NumPy files",
    .help =
        "usage: attn run --score NAME --query FILE --key FILE [OPTION ...]\n"
        "\n"
        "FILE is a .npy file of f4, f8, bool, i4 or i8 and rank 1 to 4; '-' is standard input or output, once each.\n"
        "\n"
        "  --score NAME          dot, scaled-dot, general, additive, concat or location\n"
        "  --query FILE          [B, Hq, Tq, Dq]; leading dimensions may be left out here and below\n"
        "  --key FILE            [B, Hk, Tk, Dk]\n"
        "  --value FILE          [B, Hk, Tk, Dv]; without it the keys are the values\n"
        "  --param NAME=FILE     a parameter of the score: W, U, v, b, g; additive is what its parameters say\n"
        "  --rope LAYOUT         turn queries and keys by their positions first: interleaved or halves\n"
        "  --rope-dimensions N   so many of each, the first ones; all without it\n"
        "  --rope-base X         10000 without it\n"
        "\n"
        "  --scale X             multiply the scores\n"
        "  --softcap X           then bend them: X tanh(e / X)\n"
        "  --bias FILE           then add to them: broadcasts to [B, Hq, Tq, Tk]\n"
        "  --alibi FILE          and add -slope |position - j|: the slopes [Hq]\n"
        "  --relative KIND=FILE  and add a bias of the distance, from a table [Hq, n] or [1, n]: clipped, t5, "
        "t5-causal\n"
        "  --max-distance N      of --relative: the greatest distance that is told from others\n"
        "  --mask FILE           bool, true may be seen: broadcasts to [B, Hq, Tq, Tk]\n"
        "  --lengths FILE        i4 or i8 [B]: the valid keys of each sequence\n"
        "  --causal ALIGN        a query sees keys up to its position: top-left (query i stands at the query start\n"
        "                        + i) or bottom-right (the last query stands at the last valid key)\n"
        "  --window LEFT,RIGHT   and so many before and after its position; -1 is unbounded\n"
        "  --align ALIGN         what a position is for --window, --alibi and --relative; that of --causal without it\n"
        "  --query-start N       the position of the first query, but for bottom-right; 0 without it\n"
        "  --local KIND          monotonic, predictive or predictive-floor (with --param W_p=FILE, v_p=FILE)\n"
        "  --half-width N        of --local: a query sees so many keys on either side\n"
        "  --temperature X       softmax of e / X\n"
        "  --hardmax             1 on the highest score instead\n"
        "  --dropout X           drop weights with this probability\n"
        "  --seed N, --offset N  which ones; 0 without them\n"
        "\n"
        "  --context FILE        outputs, all written or none; the context goes to standard output if none is named\n"
        "  --weights FILE\n"
        "  --scores STAGE=FILE   the scores: raw, capped, masked or weights\n"
        "  --logsumexp FILE\n"
        "\n"
        "  --d-context FILE      gradients of a loss, by outputs: what flows in\n"
        "  --d-weights FILE\n"
        "  --d-logsumexp FILE\n"
        "  --grad-out DIR        then those by every input go to DIR/d_query.npy, d_key, d_value, d_bias, d_alibi,\n"
        "                        d_relative, and d_NAME for each parameter\n"
        "\n"
        "  --threads N           0, one for each CPU, without it\n"
        "  --way WAY             automatic, blas or tiles\n",
    .execute = execute,
};
