/* SPDX-License-Identifier: BSD-3-Clause
 *
 * command_run.c: attn run computes attention over .npy files.
 */
#include "command.h"
#include "fail.h"
#include "mechanism.h"
#include "npy.h"
#include "options.h"
#include "output.h"

#include <attn/attn.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Options that are given once at most. The tensors come first, inputs before outputs: each is the file of one. */
enum {
    QUERY,
    KEY,
    VALUE,
    MASK,
    BIAS,
    LENGTHS,
    ALIBI,
    INPUTS,
    CONTEXT = INPUTS,
    WEIGHTS,
    SCORES,
    LOGSUMEXP,
    TENSORS,
    SCORE = TENSORS,
    SCALE,
    SOFTCAP,
    CAUSAL,
    WINDOW,
    ALIGN,
    QUERY_START,
    TEMPERATURE,
    HARDMAX,
    THREADS,
    WAY,
    ONCE,
    PARAM = ONCE, /* may be repeated */
    HELP,
    OPTIONS
};

static const struct option options[OPTIONS + 1] = {
    [QUERY] = {"query", required_argument, NULL, OPTION_FIRST + QUERY},
    [KEY] = {"key", required_argument, NULL, OPTION_FIRST + KEY},
    [VALUE] = {"value", required_argument, NULL, OPTION_FIRST + VALUE},
    [MASK] = {"mask", required_argument, NULL, OPTION_FIRST + MASK},
    [BIAS] = {"bias", required_argument, NULL, OPTION_FIRST + BIAS},
    [LENGTHS] = {"lengths", required_argument, NULL, OPTION_FIRST + LENGTHS},
    [ALIBI] = {"alibi", required_argument, NULL, OPTION_FIRST + ALIBI},
    [CONTEXT] = {"context", required_argument, NULL, OPTION_FIRST + CONTEXT},
    [WEIGHTS] = {"weights", required_argument, NULL, OPTION_FIRST + WEIGHTS},
    [SCORES] = {"scores", required_argument, NULL, OPTION_FIRST + SCORES},
    [LOGSUMEXP] = {"logsumexp", required_argument, NULL, OPTION_FIRST + LOGSUMEXP},
    [SCORE] = {"score", required_argument, NULL, OPTION_FIRST + SCORE},
    [SCALE] = {"scale", required_argument, NULL, OPTION_FIRST + SCALE},
    [SOFTCAP] = {"softcap", required_argument, NULL, OPTION_FIRST + SOFTCAP},
    [CAUSAL] = {"causal", required_argument, NULL, OPTION_FIRST + CAUSAL},
    [WINDOW] = {"window", required_argument, NULL, OPTION_FIRST + WINDOW},
    [ALIGN] = {"align", required_argument, NULL, OPTION_FIRST + ALIGN},
    [QUERY_START] = {"query-start", required_argument, NULL, OPTION_FIRST + QUERY_START},
    [TEMPERATURE] = {"temperature", required_argument, NULL, OPTION_FIRST + TEMPERATURE},
    [HARDMAX] = {"hardmax", no_argument, NULL, OPTION_FIRST + HARDMAX},
    [THREADS] = {"threads", required_argument, NULL, OPTION_FIRST + THREADS},
    [WAY] = {"way", required_argument, NULL, OPTION_FIRST + WAY},
    [PARAM] = {"param", required_argument, NULL, OPTION_FIRST + PARAM},
    [HELP] = {"help", no_argument, NULL, OPTION_HELP},
    [OPTIONS] = {NULL, 0, NULL, 0},
};

static const option_word aligns[] = {
    {"top-left", ATTN_ALIGN_TOP_LEFT}, {"bottom-right", ATTN_ALIGN_BOTTOM_RIGHT}, {NULL, 0}};
static const option_word ways[] = {
    {"automatic", ATTN_WAY_AUTOMATIC}, {"blas", ATTN_WAY_BLAS}, {"tiles", ATTN_WAY_TILES}, {NULL, 0}};
static const option_word stages[] = {{"raw", ATTN_SCORES_RAW},
                                     {"capped", ATTN_SCORES_CAPPED},
                                     {"masked", ATTN_SCORES_MASKED},
                                     {"weights", ATTN_SCORES_WEIGHTS},
                                     {NULL, 0}};

/* The command line. An option that was not given is NULL, and the library's default stays; one without a value is
 * "". */
typedef struct request {
    const char *given[ONCE];
    attn_scores_stage scores_stage;
    parameters params;
} request;

/* What one call works on. */
typedef struct call {
    attn_tensor tensors[TENSORS];
    FILE *streams[TENSORS];
    attn_forward_args args;
} call;

/* Takes STAGE=FILE apart: the file alone stays given. */
static void split_scores(request *r)
{
    const char *argument = r->given[SCORES], *equals = strchr(argument, '=');
    if (equals == NULL || equals[1] == '\0') fail("--scores takes STAGE=FILE, not '%s'", argument);
    char *stage = copy_string(argument);
    stage[equals - argument] = '\0';
    r->scores_stage = options_word("--scores", stage, stages);
    free(stage);
    r->given[SCORES] = equals + 1;
}

static request parse(int argc, char **argv)
{
    request r = {0};
    for (int option; (option = options_next(&command_run, argc, argv, ":h", options)) != -1;) {
        int which = option - OPTION_FIRST;
        if (which == PARAM) {
            parameters_add(&r.params, optarg);
        } else {
            options_set_once(&r.given[which], optarg != NULL ? optarg : "", options[which].name);
        }
    }
    options_operands(argc, argv, 0, "nothing");
    if (r.given[SCORE] == NULL) fail("attn run needs --score NAME (attn run --help says more)");
    if (r.given[QUERY] == NULL) fail("attn run needs --query FILE (attn run --help says more)");
    if (r.given[SCORES] != NULL) split_scores(&r);
    if (r.given[ALIGN] == NULL) r.given[ALIGN] = r.given[CAUSAL];
    bool measured = r.given[WINDOW] != NULL || r.given[ALIBI] != NULL;
    if (measured && r.given[ALIGN] == NULL) fail("--window and --alibi need --align top-left or bottom-right");
    if (!measured && r.given[ALIGN] != r.given[CAUSAL]) fail("--align is for --window and --alibi, and none is given");
    bool any_output = false;
    for (int i = INPUTS; i < TENSORS; ++i) any_output = any_output || r.given[i] != NULL;
    if (!any_output) {
        if (isatty(STDOUT_FILENO)) fail("a .npy file does not belong on a terminal; give --context FILE or redirect");
        r.given[CONTEXT] = "-";
    }
    return r;
}

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

static void set_modifiers(attn_mechanism *mechanism, const request *r, const attn_tensor *slopes)
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
}

/* Makes an output: the shape of the query with columns in place of the last dimension, or, for the log-sum-exp,
 * without it (one number stays where there is no other dimension). */
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
    c->streams[output] = output_open(file);
    c->tensors[output] = npy_create(query->dtype, ndim, shape);
}

static const attn_tensor *tensor_or_null(const call *c, const request *r, int which)
{
    return r->given[which] != NULL ? &c->tensors[which] : NULL;
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
    const attn_tensor *key = tensor_or_null(c, r, KEY), *value = tensor_or_null(c, r, VALUE);
    const attn_tensor *keyed = key != NULL ? key : value, *valued = value != NULL ? value : key;
    if (keyed == NULL) fail("attn run needs --key FILE, or --value FILE where the score reads no key");
    int64_t keys = keyed->ndim > 1 ? keyed->shape[keyed->ndim - 2] : 1;
    for (int i = INPUTS; i < TENSORS; ++i) {
        if (r->given[i] != NULL) make_output(c, i, i == CONTEXT ? valued->shape[valued->ndim - 1] : keys, r->given[i]);
    }
    c->args = (attn_forward_args)ATTN_FORWARD_ARGS_INIT;
    c->args.scores_stage = r->scores_stage;
    c->args.query = query;
    c->args.key = key;
    c->args.value = value;
    c->args.mask = tensor_or_null(c, r, MASK);
    c->args.bias = tensor_or_null(c, r, BIAS);
    c->args.key_lengths = tensor_or_null(c, r, LENGTHS);
    if (r->given[QUERY_START] != NULL) c->args.query_start = options_integer("--query-start", r->given[QUERY_START]);
    c->args.context = tensor_or_null(c, r, CONTEXT);
    c->args.weights = tensor_or_null(c, r, WEIGHTS);
    c->args.scores = tensor_or_null(c, r, SCORES);
    c->args.logsumexp = tensor_or_null(c, r, LOGSUMEXP);
}

static void execute(int argc, char **argv)
{
    request r = parse(argc, argv);
    attn_engine *engine = create_engine(&r);
    call c = {0};
    prepare(&c, &r);
    attn_mechanism *mechanism = mechanism_create(engine, r.given[SCORE], c.args.query, c.args.key, &r.params);
    set_modifiers(mechanism, &r, tensor_or_null(&c, &r, ALIBI));
    require(attn_forward(mechanism, &c.args));
    for (int i = INPUTS; i < TENSORS; ++i) {
        if (r.given[i] != NULL) npy_write(c.streams[i], &c.tensors[i]);
    }
    output_commit();
    attn_mechanism_destroy(mechanism);
    attn_engine_destroy(engine);
    for (int i = 0; i < TENSORS; ++i) free(c.tensors[i].data);
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
        "\n"
        "  --scale X             multiply the scores\n"
        "  --softcap X           then bend them: X tanh(e / X)\n"
        "  --bias FILE           then add to them: broadcasts to [B, Hq, Tq, Tk]\n"
        "  --alibi FILE          and add -slope |position - j|: the slopes [Hq]\n"
        "  --mask FILE           bool, true may be seen: broadcasts to [B, Hq, Tq, Tk]\n"
        "  --lengths FILE        i4 or i8 [B]: the valid keys of each sequence\n"
        "  --causal ALIGN        a query sees keys up to its position: top-left (query i stands at the query start\n"
        "                        + i) or bottom-right (the last query stands at the last valid key)\n"
        "  --window LEFT,RIGHT   and so many before and after its position; -1 is unbounded\n"
        "  --align ALIGN         what a position is for --window and --alibi; that of --causal without it\n"
        "  --query-start N       the position of the first query for top-left; 0 without it\n"
        "  --temperature X       softmax of e / X\n"
        "  --hardmax             1 on the highest score instead\n"
        "\n"
        "  --context FILE        outputs, all written or none; the context goes to standard output if none is named\n"
        "  --weights FILE\n"
        "  --scores STAGE=FILE   the scores: raw, capped, masked or weights\n"
        "  --logsumexp FILE\n"
        "\n"
        "  --threads N           0, one for each CPU, without it\n"
        "  --way WAY             automatic, blas or tiles\n",
    .execute = execute,
};
