/* SPDX-License-Identifier: BSD-3-Clause
 *
 * run.h: the calls of attn run, each in a file of its own.
 */
#ifndef ATTN_TOOLS_RUN_H
#define ATTN_TOOLS_RUN_H

#include "request.h"

extern const run_call run_attention, run_layer, run_decomposable;

/* What attn run --help says of them. */
extern const char run_attention_help[], run_attention_outputs_help[], run_layer_help[], run_decomposable_help[];

/* How to compute, threads and way, and what files are, which every call has. */
extern const request_option run_engine_options[], run_file_options[];

#endif
