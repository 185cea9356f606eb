/* SPDX-License-Identifier: BSD-3-Clause
 *
 * request.h: the command line of attn run, read and checked as far as it can be without its files.
 */
#ifndef ATTN_TOOLS_REQUEST_H
#define ATTN_TOOLS_REQUEST_H

#include "mechanism.h"

#include <attn/attn.h>

/* Options that are given once at most. The tensors come first, inputs before outputs: each is the file of one. */
enum {
    QUERY,
    KEY,
    VALUE,
    MASK,
    BIAS,
    LENGTHS,
    ALIBI,
    RELATIVE,
    D_CONTEXT,
    D_WEIGHTS,
    D_LOGSUMEXP,
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
    MAX_DISTANCE,
    LOCAL,
    HALF_WIDTH,
    ROPE,
    ROPE_DIMENSIONS,
    ROPE_BASE,
    TEMPERATURE,
    HARDMAX,
    DROPOUT,
    SEED,
    OFFSET,
    GRAD_OUT,
    THREADS,
    WAY,
    ONCE,
    PARAM = ONCE, /* may be repeated */
    HELP,
    OPTIONS
};

/* The command line. An option that was not given is NULL, and the library's default stays; one without a value is
 * "". */
typedef struct request {
    const char *given[ONCE];
    attn_scores_stage scores_stage;
    attn_relative relative;
    parameters params;
} request;

request request_parse(int argc, char **argv);

#endif
