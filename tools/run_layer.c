/* SPDX-License-Identifier: BSD-3-Clause
 *
 * run_layer.c: attn run --heads: projections around a mechanism, and their gradients. How wide heads are is for the
 * parameters to say.
 */
#include "fail.h"
#include "incremental.h"
#include "inner_gradients.h"
#include "layer_params.h"
#include "mechanism.h"
#include "modifiers.h"
#include "results.h"
#include "rows.h"
#include "run.h"
#include "tensor.h"

#include <stdlib.h>
#include <string.h>

static const request_option layer_options[] = {{.name = "query"},
                                               {.name = "key"},
                                               {.name = "value", .needs = "key"},
                                               {.name = "output"},
                                               {.name = "d-output", .needs = "grad-out"},
                                               {.name = NULL}};
static const char *const outputs[] = {"output",    "weights",  "scores",   "logsumexp", "entropy",
                                      "strongest", "key-sums", "grad-out", NULL};
static const char *const flows[] = {"d-output", "d-weights", "d-logsumexp", NULL};

/* What one call works on. */
typedef struct call {
    request *r;
    attn_mechanism *mechanism;
    attn_multihead *layer;
    attn_multihead_options shape;
    attn_forward_args attention;
    attn_weights_stats stats;
    attn_multihead_args args;
    attn_multihead_backward_args backward;
    const attn_tensor **d_params, **d_mechanism_params;
    results results;
} call;

static void read_inputs(call *c)
{
    c->args = (attn_multihead_args)ATTN_MULTIHEAD_ARGS_INIT;
    c->attention = (attn_forward_args)ATTN_FORWARD_ARGS_INIT;
    c->args.query = request_tensor(c->r, "query");
    c->args.key = request_tensor(c->r, "key");
    c->args.value = request_tensor(c->r, "value");
    c->args.attention = &c->attention;
    tensor_check_real(c->args.query, request_get(c->r, "query"));
    if (c->args.query->ndim > 3) fail("--heads takes a query [B, Tq, Dx], of rank 3 at most");
    modifiers_fill(c->r, &c->attention);
}

static void create_layer(call *c, attn_engine *engine)
{
    const attn_tensor *query = c->args.query, *key = c->args.key != NULL ? c->args.key : query;
    const attn_tensor *value = c->args.value != NULL ? c->args.value : key;
    c->shape = layer_params_take(c->r);
    c->shape.query_dim = tensor_last_dimension(query);
    c->shape.key_dim = tensor_last_dimension(key);
    c->shape.value_dim = tensor_last_dimension(value);
    c->mechanism = mechanism_create(engine, c->r, c->shape.head_dim, c->shape.head_dim);
    require(attn_multihead_create(c->mechanism, &c->shape, &c->layer));
    layer_params_bind(c->r, c->layer);
}

/* Rows of heads have a dimension more than the query, and one for queries even where that is a single one. */
static void add_outputs(call *c)
{
    const attn_tensor *query = c->args.query, *keyed = c->args.key != NULL ? c->args.key : query;
    int64_t shape[4], heads[4];
    memcpy(shape, query->shape, sizeof shape);
    shape[query->ndim - 1] = c->shape.output_dim;
    c->args.output = results_add(&c->results, request_get(c->r, "output"), query->dtype, query->ndim, shape);

    int32_t ndim = query->ndim > 1 ? query->ndim + 1 : 3;
    heads[0] = query->shape[0]; /* the batch, where there is one */
    heads[ndim - 3] = c->shape.query_heads;
    heads[ndim - 2] = query->ndim > 1 ? query->shape[query->ndim - 2] : 1;
    heads[ndim - 1] = keyed->ndim > 1 ? keyed->shape[keyed->ndim - 2] : 1;
    rows_add(&c->results, c->r, &c->attention, &c->stats, query->dtype, ndim, heads, 0, NULL, false);
}

static void add_gradients(call *c, const char *directory)
{
    results *all = &c->results;
    attn_multihead_backward_args *b = &c->backward;
    *b = (attn_multihead_backward_args)ATTN_MULTIHEAD_BACKWARD_ARGS_INIT;
    b->forward = &c->args;
    b->d_output = request_tensor(c->r, "d-output");
    b->d_query = results_add_gradient(all, directory, "query", c->args.query);
    b->d_key = results_add_gradient(all, directory, "key", c->args.key);
    b->d_value = results_add_gradient(all, directory, "value", c->args.value);
    b->d_params = c->d_params = layer_params_add_gradients(all, directory, c->r, c->layer);
    inner_gradients inner = inner_gradients_add(all, directory, c->r, &c->attention, c->mechanism);
    b->d_weights = inner.d_weights;
    b->d_logsumexp = inner.d_logsumexp;
    b->d_bias = inner.d_bias;
    b->d_alibi = inner.d_alibi;
    b->d_relative = inner.d_relative;
    b->d_sinks = inner.d_sinks;
    b->d_mechanism_params = c->d_mechanism_params = inner.d_params;
    require(attn_multihead_saved(c->layer, &c->args, &c->args.saved_size));
    c->args.saved = allocate(c->args.saved_size, 1);
}

static void run(request *r, attn_engine *engine)
{
    call c = {.r = r};
    (void)request_need(r, "score", "NAME");
    (void)request_need(r, "query", "FILE");
    const char *directory = results_directory(r, flows, "--d-output, --d-weights or --d-logsumexp");
    incremental way = incremental_read(r);
    if (!request_any(r, outputs)) request_to_standard_output(r, "output");
    read_inputs(&c);
    create_layer(&c, engine);
    add_outputs(&c);
    if (directory != NULL) add_gradients(&c, directory);
    incremental_layer(&way, c.layer, c.mechanism, &c.shape, &c.args);
    if (directory != NULL) require(attn_multihead_backward(c.layer, &c.backward));
    results_write(&c.results);
    attn_multihead_destroy(c.layer);
    attn_mechanism_destroy(c.mechanism);
    results_free(&c.results);
    free(c.args.saved);
    free(c.d_params);
    free(c.d_mechanism_params);
}

static const request_option *const options[] = {
    mechanism_options, modifiers_options,       incremental_options, rows_options,     layer_params_options,
    layer_options,     inner_gradients_options, run_engine_options,  run_file_options, NULL};
const run_call run_layer = {.selector = "heads", .options = options, .run = run};

const char run_layer_help[] =
    "\n"
    "A layer of heads around it, with the same options but --rope, --context and --d-context:\n"
    "  --heads N             so many of queries; how wide they are is what the parameters say\n"
    "  --key-heads N         so many of keys and values, which divides it; as many without it\n"
    "  --query FILE          [B, Tq, Dx]; leading dimensions may be left out\n"
    "  --key FILE            [B, Tk, Dy]; without it the queries are the keys, too\n"
    "  --value FILE          [B, Tk, Dz]; without it the keys are the values\n"
    "  --param NAME=FILE     W_q, W_k, W_v, W_o, each [outputs, inputs]; or W_qkv and W_o; and biases b_q, b_k, b_v,\n"
    "                        b_o, or b_qkv and b_o, or none\n"
    "  --output FILE         [B, Tq, Do]; goes to standard output if no output is named\n"
    "  --d-output FILE       gradients of a loss that flow in; those by every input go to --grad-out\n";
