/* SPDX-License-Identifier: BSD-3-Clause
 *
 * modifiers.c: each modifier's options, and the function of the library that takes them.
 */
#include "modifiers.h"

#include "fail.h"
#include "tensor.h"

#include <stdlib.h>
#include <string.h>

const request_option modifiers_options[] = {{.name = "scale"},
                                            {.name = "softcap"},
                                            {.name = "bias"},
                                            {.name = "alibi"},
                                            {.name = "relative", .needs = "max-distance"},
                                            {.name = "max-distance", .needs = "relative"},
                                            {.name = "sinks"},
                                            {.name = "mask"},
                                            {.name = "mask-align", .needs = "mask"},
                                            {.name = "lengths"},
                                            {.name = "causal"},
                                            {.name = "window"},
                                            {.name = "align"},
                                            {.name = "query-start"},
                                            {.name = "local", .needs = "half-width"},
                                            {.name = "half-width", .needs = "local"},
                                            {.name = "temperature"},
                                            {.name = "hardmax", .flag = true},
                                            {.name = "precision"},
                                            {.name = "dropout"},
                                            {.name = "seed", .needs = "dropout"},
                                            {.name = "offset", .needs = "dropout"},
                                            {.name = NULL}};

static const option_word aligns[] = {
    {"top-left", ATTN_ALIGN_TOP_LEFT}, {"bottom-right", ATTN_ALIGN_BOTTOM_RIGHT}, {NULL, 0}};
static const option_word mask_aligns[] = {{"bottom-right", ATTN_ALIGN_BOTTOM_RIGHT}, {NULL, 0}};
static const option_word locals[] = {{"monotonic", ATTN_LOCAL_MONOTONIC},
                                     {"predictive", ATTN_LOCAL_PREDICTIVE},
                                     {"predictive-floor", ATTN_LOCAL_PREDICTIVE_FLOOR},
                                     {NULL, 0}};
static const option_word relatives[] = {
    {"clipped", ATTN_RELATIVE_CLIPPED}, {"t5", ATTN_RELATIVE_T5}, {"t5-causal", ATTN_RELATIVE_T5_CAUSAL}, {NULL, 0}};
static const option_word precisions[] = {{"exact", ATTN_PRECISION_EXACT}, {"fast", ATTN_PRECISION_FAST}, {NULL, 0}};

/* What measures from a position by the word of --align, and that of --causal without it. */
static const char *const measuring[] = {"window", "alibi", "relative", NULL};

positions modifiers_positions(const request *r)
{
    positions p = {ATTN_ALIGN_NONE, ATTN_ALIGN_NONE};
    (void)request_word(r, "causal", aligns, &p.causal);
    if (!request_any(r, measuring)) {
        if (request_get(r, "align") != NULL) {
            fail("--align is for --window, --alibi and --relative, and none is given");
        }
        return p;
    }
    p.measured = p.causal;
    (void)request_word(r, "align", aligns, &p.measured);
    if (p.measured == ATTN_ALIGN_NONE) {
        fail("--window, --alibi and --relative need --align top-left or bottom-right");
    }
    return p;
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

static void set_measured(attn_mechanism *mechanism, request *r, attn_align align)
{
    const char *window = request_get(r, "window");
    if (window != NULL) set_window(mechanism, window, align);
    const attn_tensor *slopes = request_tensor(r, "alibi");
    if (slopes != NULL) require(attn_mechanism_set_alibi(mechanism, slopes, align));
    attn_relative relative = ATTN_RELATIVE_NONE;
    if (!request_tagged(r, "relative", "KIND=FILE", relatives, &relative)) return;
    int64_t most = 0;
    (void)request_integer(r, "max-distance", &most);
    require(attn_mechanism_set_relative_bias(mechanism, request_tensor(r, "relative"), relative, most, align));
}

static void set_local(attn_mechanism *mechanism, const request *r, int64_t query_dim)
{
    attn_local local = ATTN_LOCAL_NONE;
    if (!request_word(r, "local", locals, &local)) return;
    int64_t half_width = 0, hidden_dim = 0;
    (void)request_integer(r, "half-width", &half_width);
    if (local != ATTN_LOCAL_MONOTONIC) {
        hidden_dim = tensor_last_dimension(parameters_need(&r->params, "v_p", "--local predictive"));
        (void)parameters_need(&r->params, "W_p", "--local predictive");
    }
    require(attn_mechanism_set_local(mechanism, local, half_width, local != ATTN_LOCAL_MONOTONIC ? query_dim : 0,
                                     hidden_dim));
}

void modifiers_set(attn_mechanism *mechanism, request *r, int64_t query_dim)
{
    double number;
    if (request_number(r, "scale", &number)) require(attn_mechanism_set_scale(mechanism, number));
    if (request_number(r, "softcap", &number)) require(attn_mechanism_set_softcap(mechanism, number));
    if (request_number(r, "temperature", &number)) require(attn_mechanism_set_temperature(mechanism, number));
    if (request_get(r, "hardmax") != NULL) require(attn_mechanism_set_normaliser(mechanism, ATTN_HARDMAX));
    attn_precision precision = ATTN_PRECISION_EXACT;
    if (request_word(r, "precision", precisions, &precision)) {
        require(attn_mechanism_set_precision(mechanism, precision));
    }
    const attn_tensor *sinks = request_tensor(r, "sinks");
    if (sinks != NULL) require(attn_mechanism_set_sinks(mechanism, sinks));
    positions p = modifiers_positions(r);
    if (p.causal != ATTN_ALIGN_NONE) require(attn_mechanism_set_causal(mechanism, p.causal));
    if (p.measured != ATTN_ALIGN_NONE) set_measured(mechanism, r, p.measured);
    set_local(mechanism, r, query_dim);
}

void modifiers_fill(request *r, attn_forward_args *args)
{
    args->mask = request_tensor(r, "mask");
    if (request_word(r, "mask-align", mask_aligns, &args->mask_align) && request_get(r, "incremental") != NULL) {
        fail("--mask-align does not go with --incremental");
    }
    args->bias = request_tensor(r, "bias");
    args->key_lengths = request_tensor(r, "lengths");
    (void)request_integer(r, "query-start", &args->query_start);
    (void)request_number(r, "dropout", &args->dropout);
    (void)request_unsigned(r, "seed", &args->dropout_seed);
    (void)request_unsigned(r, "offset", &args->dropout_offset);
}
