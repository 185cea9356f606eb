/* SPDX-License-Identifier: BSD-3-Clause
 *
 * mechanism.c: from "additive" and W=w.npy to a mechanism that is ready to run.
 */
#include "mechanism.h"

#include "fail.h"
#include "npy.h"
#include "options.h"

#include <stdlib.h>
#include <string.h>

enum { DOT, SCALED_DOT, GENERAL, ADDITIVE, CONCAT, LOCATION };

static const option_word scores[] = {{"dot", DOT},
                                     {"scaled-dot", SCALED_DOT},
                                     {"general", GENERAL},
                                     {"additive", ADDITIVE},
                                     {"concat", CONCAT},
                                     {"location", LOCATION},
                                     {NULL, 0}};

static const attn_tensor *find(const parameters *list, const char *name)
{
    for (size_t i = 0; i < list->count; ++i) {
        if (strcmp(list->items[i].name, name) == 0) return &list->items[i].tensor;
    }
    return NULL;
}

static const attn_tensor *need(const parameters *list, const char *name, const char *option, const char *word)
{
    const attn_tensor *tensor = find(list, name);
    if (tensor == NULL) fail("%s %s needs --param %s=FILE", option, word, name);
    return tensor;
}

static int64_t last_dimension(const attn_tensor *tensor)
{
    return tensor->shape[tensor->ndim - 1];
}

void parameters_add(parameters *list, const char *argument)
{
    const char *equals = strchr(argument, '=');
    if (equals == NULL || equals == argument || equals[1] == '\0') {
        fail("--param takes NAME=FILE, not '%s'", argument);
    }
    char *name = copy_string(argument);
    name[equals - argument] = '\0';
    if (find(list, name) != NULL) fail("--param %s is given twice", name);
    list->items = reallocate(list->items, list->count + 1, sizeof *list->items);
    list->items[list->count++] = (parameter){.name = name, .tensor = npy_read(equals + 1)};
}

void parameters_free(parameters *list)
{
    for (size_t i = 0; i < list->count; ++i) {
        free(list->items[i].name);
        free(list->items[i].tensor.data);
    }
    free(list->items);
    *list = (parameters){0};
}

static uint32_t additive_flags(const parameters *list)
{
    uint32_t flags = 0;
    if (find(list, "b") != NULL) flags |= ATTN_ADDITIVE_BIAS;
    if (find(list, "g") != NULL) flags |= ATTN_ADDITIVE_NORMALISED;
    if (find(list, "W") == NULL) flags |= ATTN_ADDITIVE_QUERY_PROJECTED;
    if (find(list, "U") == NULL) flags |= ATTN_ADDITIVE_KEY_PROJECTED;
    return flags;
}

static void make_local(attn_mechanism *mechanism, const locality *local, const attn_tensor *query,
                       const parameters *list)
{
    if (local->local == ATTN_LOCAL_NONE) return;
    int64_t query_dim = 0, hidden_dim = 0;
    if (local->local != ATTN_LOCAL_MONOTONIC) {
        query_dim = last_dimension(query);
        hidden_dim = last_dimension(need(list, "v_p", "--local", "predictive"));
        (void)need(list, "W_p", "--local", "predictive");
    }
    require(attn_mechanism_set_local(mechanism, local->local, local->half_width, query_dim, hidden_dim));
}

attn_mechanism *mechanism_create(attn_engine *engine, const char *score, const locality *local,
                                 const attn_tensor *query, const attn_tensor *key, const parameters *list)
{
    int32_t kind = options_word("--score", score, scores);
    if (key == NULL && kind != LOCATION) fail("--score %s needs --key FILE", score);
    int64_t query_dim = last_dimension(query), key_dim = key != NULL ? last_dimension(key) : 0;
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
    case ADDITIVE:
        require(attn_mechanism_create_additive(engine, query_dim, key_dim,
                                               last_dimension(need(list, "v", "--score", score)), additive_flags(list),
                                               &mechanism));
        break;
    case CONCAT:
        require(attn_mechanism_create_concat(engine, query_dim, key_dim,
                                             last_dimension(need(list, "v", "--score", score)), &mechanism));
        break;
    default:
        require(
            attn_mechanism_create_location(engine, query_dim, need(list, "W", "--score", score)->shape[0], &mechanism));
        break;
    }
    make_local(mechanism, local, query, list);
    for (size_t i = 0; i < list->count; ++i) {
        require(attn_mechanism_bind_param(mechanism, list->items[i].name, &list->items[i].tensor));
    }
    return mechanism;
}
