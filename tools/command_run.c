/* SPDX-License-Identifier: BSD-3-Clause
 *
 * command_run.c: attn run calls the library on .npy files; which call it makes is for the options to say (run.h).
 */
#include "command.h"
#include "fail.h"
#include "output.h"
#include "run.h"

#include <attn/attn.h>
#include <stddef.h>

static const run_call *const calls[] = {&run_attention, &run_layer, &run_decomposable, NULL};

const request_option run_engine_options[] = {{.name = "threads"}, {.name = "way"}, {.name = NULL}};

static const option_word ways[] = {
    {"automatic", ATTN_WAY_AUTOMATIC}, {"blas", ATTN_WAY_BLAS}, {"tiles", ATTN_WAY_TILES}, {NULL, 0}};

static attn_engine *create_engine(const request *r)
{
    attn_engine_options options = ATTN_ENGINE_OPTIONS_INIT;
    int64_t threads = 0;
    (void)request_integer(r, "threads", &threads);
    if (threads < 0 || threads > INT32_MAX) fail("--threads is out of range: %s", request_get(r, "threads"));
    options.threads = (int32_t)threads;
    (void)request_word(r, "way", ways, &options.way);
    attn_engine *engine;
    require(attn_engine_create(&options, &engine));
    return engine;
}

static void execute(int argc, char **argv)
{
    request r = request_parse(argc, argv, calls);
    attn_engine *engine = create_engine(&r);
    r.call->run(&r, engine);
    output_commit();
    attn_engine_destroy(engine);
    request_free(&r);
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
        "  --heads N             a layer of heads around it: the query is [B, Tq, Dx], keys and values, if not the\n"
        "                        queries, likewise, with --param W_q=FILE, W_k, W_v, W_o, or W_qkv for the first "
        "three,\n"
        "                        and all biases b_q, ... or none; writes --output [B, Tq, Do] instead of the context\n"
        "  --key-heads N         heads of keys and values; as many as of queries without it\n"
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
        "  --output FILE         what Luong's decoder makes of it: tanh(W_c [context; query] + b_c), with\n"
        "                        --param W_c=FILE, and b_c if there is one; it then goes to standard output\n"
        "  --weights FILE\n"
        "  --scores STAGE=FILE   the scores: raw, capped, masked or weights\n"
        "  --logsumexp FILE\n"
        "\n"
        "  --d-context FILE      gradients of a loss, by outputs: what flows in\n"
        "  --d-output FILE\n"
        "  --d-weights FILE\n"
        "  --d-logsumexp FILE\n"
        "  --grad-out DIR        then those by every input go to DIR/d_query.npy, d_key, d_value, d_bias, d_alibi,\n"
        "                        d_relative, and d_NAME for each parameter\n"
        "\n"
        "  --decomposable        instead of all that: both alignments of two sentences (Parikh 2016), with\n"
        "  --f FILE, --g FILE    F(a) [B, H, Ta, D] and F(b) [B, H, Tb, D]\n"
        "  --a FILE, --b FILE    what is aligned; without them F(a) and F(b) are\n"
        "  --a-lengths FILE      i4 or i8 [B]: the valid rows of a; likewise --b-lengths\n"
        "  --beta FILE           outputs: what in b is aligned with each row of a, [B, H, Ta, Db],\n"
        "  --alpha FILE          and what in a with each row of b, [B, H, Tb, Da]\n"
        "  --a-logsumexp FILE    of each row of a, over b; and --b-logsumexp\n"
        "  --d-beta FILE         gradients that flow in, and --d-alpha; --grad-out gets d_f, d_g, d_a, d_b\n"
        "\n"
        "  --threads N           0, one for each CPU, without it\n"
        "  --way WAY             automatic, blas or tiles\n",
    .execute = execute,
};
