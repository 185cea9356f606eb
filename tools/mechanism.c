/* SPDX-License-Identifier: BSD-3-Clause
 *
 * mechanism.c: from "additive" and W=w.npy to a mechanism that is ready to run.
 */
#include "mechanism.h"

#include "fail.h"
#include "modifiers.h"
#include "tensor.h"

#include <stdio.h>

enum { DOT, SCALED_DOT, GENERAL, ADDITIVE, CONCAT, LOCATION };

static const option_word scores[] = {{"dot", DOT},
                                     {"scaled-dot", SCALED_DOT},
                                     {"general", GENERAL},
                                     {"additive", ADDITIVE},
                                     {"concat", CONCAT},
                                     {"location", LOCATION},
                                     {NULL, 0}};

const request_option mechanism_options[] = {{.name = "score"}, {.name = "param"}, {.name = NULL}};

static uint32_t additive_flags(const parameters *list)
{
    uint32_t flags = 0;
    if (parameters_find(list, "b") != NULL) flags |= ATTN_ADDITIVE_BIAS;
    if (parameters_find(list, "g") != NULL) flags |= ATTN_ADDITIVE_NORMALISED;
    if (parameters_find(list, "W") == NULL) flags |= ATTN_ADDITIVE_QUERY_PROJECTED;
    if (parameters_find(list, "U") == NULL) flags |= ATTN_ADDITIVE_KEY_PROJECTED;
    return flags;
}

static attn_mechanism *create(attn_engine *engine, const request *r, int64_t query_dim, int64_t key_dim)
{
    const char *score = request_get(r, "score");
    int32_t kind = options_word("--score", score, scores);
    if (key_dim < 0 && kind != LOCATION) fail("--score %s needs --key FILE", score);
    char subject[64];
    (void)snprintf(subject, sizeof subject, "--score %s", score);
    attn_mechanism *mechanism = NULL;
    switch (kind) {
    case DOT:
        require(attn_mechanism_create_dot(engine, &mechanism));
        break;
    case SCALED_DOT:
        require(attn_mechanism_create_scaled_dot(engine, &mechanism));
        break;
    case GENERAL:
        require(attn_mechanism_create_general(engine, query_dim, key_dim, &mechanism));
        break;
    case ADDITIVE: {
        int64_t hidden_dim = tensor_last_dimension(parameters_need(&r->params, "v", subject));
        require(attn_mechanism_create_additive(engine, query_dim, key_dim, hidden_dim, additive_flags(&r->params),
                                               &mechanism));
        break;
    }
    case CONCAT: {
        int64_t hidden_dim = tensor_last_dimension(parameters_need(&r->params, "v", subject));
        require(attn_mechanism_create_concat(engine, query_dim, key_dim, hidden_dim, &mechanism));
        break;
    }
    default: {
        int64_t most_keys = parameters_need(&r->params, "W", subject)->shape[0];
        require(attn_mechanism_create_location(engine, query_dim, most_keys, &mechanism));
        break;
    }
    }
    return mechanism;
}

attn_mechanism *mechanism_create(attn_engine *engine, request *r, int64_t query_dim, int64_t key_dim)
{
    attn_mechanism *mechanism = create(engine, r, query_dim, key_dim);
    modifiers_set(mechanism, r, query_dim);
    for (size_t i = 0; i < r->params.count; ++i) {
        const parameter *one = &r->params.items[i];
        if (!one->taken) require(attn_mechanism_bind_param(mechanism, one->name, &one->tensor));
    }
    return mechanism;
}

static attn_status param_info(const void *mechanism, int32_t index, attn_param_info *info)
{
    return attn_mechanism_param_info(mechanism, index, info);
}

const attn_tensor **mechanism_add_gradients(results *all, const char *directory, const request *r,
                                            const attn_mechanism *mechanism)
{
    int32_t count;
    require(attn_mechanism_param_count(mechanism, &count));
    return results_add_params(all, directory, &r->params, param_info, mechanism, count);
}
