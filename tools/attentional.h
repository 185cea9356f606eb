/* SPDX-License-Identifier: BSD-3-Clause
 *
 * attentional.h: Luong's attentional state, which attn run computes from context and query where --param W_c is given.
 */
#ifndef ATTN_TOOLS_ATTENTIONAL_H
#define ATTN_TOOLS_ATTENTIONAL_H

#include "request.h"
#include "results.h"

#include <attn/attn.h>
#include <stdbool.h>

extern const request_option attentional_options[];

typedef struct attentional {
    bool wanted; /* false: there is no W_c, and nothing below is looked at */
    attn_attentional_args args;
} attentional;

/* Takes W_c and b_c out of the parameters, and fails unless they and the options fit together. */
attentional attentional_read(request *r);

/* Adds the output. query and context are tensors that will be filled when it is computed. */
void attentional_add(attentional *step, results *all, const request *r, const attn_tensor *query,
                     const attn_tensor *context);

/* Adds the gradients: by W_c and b_c to files, by context and query to args for the caller to add to others. */
void attentional_add_gradients(attentional *step, results *all, const char *directory, request *r);

void attentional_forward(const attentional *step, attn_engine *engine);
void attentional_backward(const attentional *step, attn_engine *engine);

#endif
