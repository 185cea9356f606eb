/* SPDX-License-Identifier: BSD-3-Clause
 *
 * attentional.c: output = tanh(W_c [context; query] + b_c).
 */
#include "attentional.h"

#include "fail.h"

#include <string.h>

const request_option attentional_options[] = {
    {.name = "output"}, {.name = "d-output", .needs = "grad-out"}, {.name = NULL}};

attentional attentional_read(request *r)
{
    attentional step = {.args = ATTN_ATTENTIONAL_ARGS_INIT};
    step.args.weight = parameters_take(&r->params, "W_c");
    step.args.bias = parameters_take(&r->params, "b_c");
    step.wanted = step.args.weight != NULL;
    bool flows_in = request_get(r, "d-output") != NULL;
    if (!step.wanted) {
        const char *without = flows_in                           ? "--d-output"
                              : request_get(r, "output") != NULL ? "--output"
                              : step.args.bias != NULL           ? "--param b_c"
                                                                 : NULL;
        if (without != NULL) fail("%s needs --param W_c=FILE, from which the output is made", without);
        return step;
    }
    if (!flows_in && request_get(r, "grad-out") != NULL) fail("--grad-out with --param W_c needs --d-output FILE");
    if (!flows_in && request_get(r, "output") == NULL) fail("--param W_c makes an output: it needs --output FILE");
    return step;
}

void attentional_add(attentional *step, results *all, const request *r, const attn_tensor *query,
                     const attn_tensor *context)
{
    if (!step->wanted) return;
    int64_t shape[4];
    memcpy(shape, query->shape, sizeof shape);
    shape[query->ndim - 1] = step->args.weight->shape[0];
    step->args.query = query;
    step->args.context = context;
    step->args.output = results_add(all, request_get(r, "output"), query->dtype, query->ndim, shape);
}

void attentional_add_gradients(attentional *step, results *all, const char *directory, request *r)
{
    if (!step->wanted) return;
    step->args.d_output = request_tensor(r, "d-output");
    step->args.d_weight = results_add_gradient(all, directory, "W_c", step->args.weight);
    step->args.d_bias = results_add_gradient(all, directory, "b_c", step->args.bias);
    step->args.d_context = results_add_gradient(all, NULL, NULL, step->args.context);
    step->args.d_query = results_add_gradient(all, NULL, NULL, step->args.query);
}

void attentional_forward(const attentional *step, attn_engine *engine)
{
    if (step->wanted) require(attn_attentional_forward(engine, &step->args));
}

void attentional_backward(const attentional *step, attn_engine *engine)
{
    if (step->wanted) require(attn_attentional_backward(engine, &step->args));
}
