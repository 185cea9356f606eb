/* SPDX-License-Identifier: BSD-3-Clause
 *
 * inner_gradients.c: options --d-weights and --d-logsumexp, files d_bias.npy, d_alibi.npy, d_relative.npy, d_sinks.npy
 * and those of the mechanism's parameters.
 */
#include "inner_gradients.h"

#include "mechanism.h"

const request_option inner_gradients_options[] = {{.name = "d-weights", .needs = "grad-out"},
                                                  {.name = "d-logsumexp", .needs = "grad-out"},
                                                  {.name = "grad-out"},
                                                  {.name = NULL}};

inner_gradients inner_gradients_add(results *all, const char *directory, request *r, const attn_forward_args *args,
                                    const attn_mechanism *mechanism)
{
    return (inner_gradients){
        .d_weights = request_tensor(r, "d-weights"),
        .d_logsumexp = request_tensor(r, "d-logsumexp"),
        .d_bias = results_add_gradient(all, directory, "bias", args->bias),
        .d_alibi = results_add_gradient(all, directory, "alibi", request_tensor(r, "alibi")),
        .d_relative = results_add_gradient(all, directory, "relative", request_tensor(r, "relative")),
        .d_sinks = results_add_gradient(all, directory, "sinks", request_tensor(r, "sinks")),
        .d_params = mechanism_add_gradients(all, directory, r, mechanism),
    };
}
