/* SPDX-License-Identifier: BSD-3-Clause
 *
 * request.c: which options attn run has, and which of them go together.
 */
#include "request.h"

#include "command.h"
#include "fail.h"
#include "options.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct option options[OPTIONS + 1] = {
    [QUERY] = {"query", required_argument, NULL, OPTION_FIRST + QUERY},
    [KEY] = {"key", required_argument, NULL, OPTION_FIRST + KEY},
    [VALUE] = {"value", required_argument, NULL, OPTION_FIRST + VALUE},
    [MASK] = {"mask", required_argument, NULL, OPTION_FIRST + MASK},
    [BIAS] = {"bias", required_argument, NULL, OPTION_FIRST + BIAS},
    [LENGTHS] = {"lengths", required_argument, NULL, OPTION_FIRST + LENGTHS},
    [ALIBI] = {"alibi", required_argument, NULL, OPTION_FIRST + ALIBI},
    [RELATIVE] = {"relative", required_argument, NULL, OPTION_FIRST + RELATIVE},
    [D_CONTEXT] = {"d-context", required_argument, NULL, OPTION_FIRST + D_CONTEXT},
    [D_WEIGHTS] = {"d-weights", required_argument, NULL, OPTION_FIRST + D_WEIGHTS},
    [D_LOGSUMEXP] = {"d-logsumexp", required_argument, NULL, OPTION_FIRST + D_LOGSUMEXP},
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
    [MAX_DISTANCE] = {"max-distance", required_argument, NULL, OPTION_FIRST + MAX_DISTANCE},
    [LOCAL] = {"local", required_argument, NULL, OPTION_FIRST + LOCAL},
    [HALF_WIDTH] = {"half-width", required_argument, NULL, OPTION_FIRST + HALF_WIDTH},
    [ROPE] = {"rope", required_argument, NULL, OPTION_FIRST + ROPE},
    [ROPE_DIMENSIONS] = {"rope-dimensions", required_argument, NULL, OPTION_FIRST + ROPE_DIMENSIONS},
    [ROPE_BASE] = {"rope-base", required_argument, NULL, OPTION_FIRST + ROPE_BASE},
    [TEMPERATURE] = {"temperature", required_argument, NULL, OPTION_FIRST + TEMPERATURE},
    [HARDMAX] = {"hardmax", no_argument, NULL, OPTION_FIRST + HARDMAX},
    [DROPOUT] = {"dropout", required_argument, NULL, OPTION_FIRST + DROPOUT},
    [SEED] = {"seed", required_argument, NULL, OPTION_FIRST + SEED},
    [OFFSET] = {"offset", required_argument, NULL, OPTION_FIRST + OFFSET},
    [GRAD_OUT] = {"grad-out", required_argument, NULL, OPTION_FIRST + GRAD_OUT},
    [THREADS] = {"threads", required_argument, NULL, OPTION_FIRST + THREADS},
    [WAY] = {"way", required_argument, NULL, OPTION_FIRST + WAY},
    [PARAM] = {"param", required_argument, NULL, OPTION_FIRST + PARAM},
    [HELP] = {"help", no_argument, NULL, OPTION_HELP},
    [OPTIONS] = {NULL, 0, NULL, 0},
};

static const option_word stages[] = {{"raw", ATTN_SCORES_RAW},
                                     {"capped", ATTN_SCORES_CAPPED},
                                     {"masked", ATTN_SCORES_MASKED},
                                     {"weights", ATTN_SCORES_WEIGHTS},
                                     {NULL, 0}};
static const option_word relatives[] = {
    {"clipped", ATTN_RELATIVE_CLIPPED}, {"t5", ATTN_RELATIVE_T5}, {"t5-causal", ATTN_RELATIVE_T5_CAUSAL}, {NULL, 0}};

/* Options that mean nothing without another. */
static const struct {
    int option, needs;
} companions[] = {{RELATIVE, MAX_DISTANCE}, {MAX_DISTANCE, RELATIVE}, {LOCAL, HALF_WIDTH},   {HALF_WIDTH, LOCAL},
                  {ROPE_DIMENSIONS, ROPE},  {ROPE_BASE, ROPE},        {ROPE, KEY},           {SEED, DROPOUT},
                  {OFFSET, DROPOUT},        {D_CONTEXT, GRAD_OUT},    {D_WEIGHTS, GRAD_OUT}, {D_LOGSUMEXP, GRAD_OUT}};

/* Takes WORD=FILE apart: the file alone stays given. Returns what the word means. */
static int32_t split(request *r, int which, const char *form, const option_word *words)
{
    char option[32];
    (void)snprintf(option, sizeof option, "--%s", options[which].name);
    const char *argument = r->given[which], *equals = strchr(argument, '=');
    if (equals == NULL || equals[1] == '\0') fail("%s takes %s, not '%s'", option, form, argument);
    char *word = copy_string(argument);
    word[equals - argument] = '\0';
    int32_t value = options_word(option, word, words);
    free(word);
    r->given[which] = equals + 1;
    return value;
}

static bool any_given(const request *r, int first, int end)
{
    bool any = false;
    for (int i = first; i < end; ++i) any = any || r->given[i] != NULL;
    return any;
}

static void check_companions(const request *r)
{
    for (size_t i = 0; i < sizeof companions / sizeof companions[0]; ++i) {
        if (r->given[companions[i].option] == NULL || r->given[companions[i].needs] != NULL) continue;
        fail("--%s needs --%s", options[companions[i].option].name, options[companions[i].needs].name);
    }
    if (r->given[GRAD_OUT] != NULL && r->given[GRAD_OUT][0] == '\0') fail("--grad-out does not name a directory");
    if (r->given[GRAD_OUT] != NULL && !any_given(r, D_CONTEXT, D_LOGSUMEXP + 1)) {
        fail("--grad-out needs --d-context, --d-weights or --d-logsumexp");
    }
}

/* What a position is: the word of --align, and that of --causal without it. */
static void check_alignment(request *r)
{
    if (r->given[ALIGN] == NULL) r->given[ALIGN] = r->given[CAUSAL];
    bool measured = r->given[WINDOW] != NULL || r->given[ALIBI] != NULL || r->given[RELATIVE] != NULL;
    if (measured && r->given[ALIGN] == NULL) {
        fail("--window, --alibi and --relative need --align top-left or bottom-right");
    }
    if (!measured && r->given[ALIGN] != r->given[CAUSAL]) {
        fail("--align is for --window, --alibi and --relative, and none is given");
    }
    bool bottom_right = (r->given[ALIGN] != NULL && strcmp(r->given[ALIGN], "bottom-right") == 0) ||
                        (r->given[CAUSAL] != NULL && strcmp(r->given[CAUSAL], "bottom-right") == 0);
    if (bottom_right && r->given[ROPE] != NULL) {
        fail("--rope counts from --query-start: it goes with top-left, not with bottom-right");
    }
}

request request_parse(int argc, char **argv)
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
    if (r.given[SCORES] != NULL) r.scores_stage = split(&r, SCORES, "STAGE=FILE", stages);
    if (r.given[RELATIVE] != NULL) r.relative = split(&r, RELATIVE, "KIND=FILE", relatives);
    check_companions(&r);
    check_alignment(&r);
    if (r.given[GRAD_OUT] == NULL && !any_given(&r, INPUTS, TENSORS)) {
        if (isatty(STDOUT_FILENO)) fail("a .npy file does not belong on a terminal; give --context FILE or redirect");
        r.given[CONTEXT] = "-";
    }
    return r;
}
