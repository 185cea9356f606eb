/* SPDX-License-Identifier: BSD-3-Clause
 *
 * layer_params.h: the parameters of a layer of heads, out of those that --param gave: W_q, W_k, W_v, or W_qkv in their
 * place; W_o; biases likewise.
 */
#ifndef ATTN_TOOLS_LAYER_PARAMS_H
#define ATTN_TOOLS_LAYER_PARAMS_H

#include "request.h"
#include "results.h"

#include <attn/attn.h>

/* --heads and --key-heads. */
extern const request_option layer_params_options[];

/* Takes them, and fails unless they are complete, and whole heads. Returns what they say: flags, heads, and all
 * dimensions but those of the inputs. */
attn_multihead_options layer_params_take(request *r);

/* Binds them. */
void layer_params_bind(const request *r, attn_multihead *layer);

/* Adds the gradients by them; returns these as the library wants them, for the caller to free. */
const attn_tensor **layer_params_add_gradients(results *all, const char *directory, const request *r,
                                               const attn_multihead *layer);

#endif
