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
const request_option run_file_options[] = {{.name = "u2-is-bf16", .flag = true}, {.name = NULL}};

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

static const char usage[] =
    "usage: attn run --score NAME --query FILE --key FILE [OPTION ...]\n"
    "       attn run --score NAME --heads N --query FILE --param W_q=FILE ... [OPTION ...]\n"
    "       attn run --decomposable --f FILE --g FILE [OPTION ...]\n"
    "\n"
    "FILE is a .npy file of f2, f4, f8, bfloat16 (V2), bool, i4 or i8 and rank 1 to 4; '-' is standard input or\n"
    "output, once each. Where queries are f2 or bfloat16, so are keys, values, bias, and what comes of them; weights,\n"
    "scores, log-sum-exp, stats, and parameters, slopes, tables and sinks are f4. Outputs are all written or none.\n"
    "\n";

static const char engine_help[] = "\n"
                                  "Of all:\n"
                                  "  --threads N           0, one for each CPU, without it\n"
                                  "  --way WAY             automatic, blas or tiles\n"
                                  "  --u2-is-bf16          files of u2 (uint16) hold the bits of bfloat16\n";

static const char *const help[] = {
    usage, run_attention_help, run_attention_outputs_help, run_layer_help, run_decomposable_help, engine_help, NULL};

const command command_run = {
    .name = "run",
    .summary = "compute attention over NumPy files",
    .help = help,
    .execute = execute,
};
