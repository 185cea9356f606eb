/* SPDX-License-Identifier: BSD-3-Clause
 *
 * layers/attentional/check.c: checks the arguments of an attentional step. Whatever can be wrong is found here, before
 * anything is computed or written. */
#include "handles/status.h"
#include "handles/structs.h"
#include "layers/attentional/attentional.h"
#include "runtime/size.h"

#include <inttypes.h>

/* A tensor of this dtype and shape; view->data stays NULL where there is none. */
static attn_status check_tensor(attn_dtype dtype, const attn_tensor *tensor, const char *name, int32_t most_dims,
                                const char *layout, const int64_t *shape, attn_i_view *view)
{
    if (tensor == NULL) return ATTN_OK;
    attn_status status = attn_i_tensor_check_like(tensor, name, most_dims, dtype, "query", view);
    return status == ATTN_OK ? attn_i_view_has_shape(view, name, layout, shape) : status;
}

static attn_status check_output(attn_dtype dtype, const attn_tensor *tensor, const char *name, int32_t most_dims,
                                const char *layout, const int64_t *shape, attn_i_view *view)
{
    attn_status status = check_tensor(dtype, tensor, name, most_dims, layout, shape, view);
    return status == ATTN_OK && tensor != NULL ? attn_i_view_is_output(view, name) : status;
}

/* What a parameter, or a gradient of one, is to be of: it may have what is computed in, too. */
static attn_dtype param_dtype(const attn_i_step *s, const attn_tensor *param)
{
    return param != NULL && param->dtype == s->dtype ? s->dtype : s->given;
}

static attn_status check_given(const attn_attentional_args *args, int backward)
{
    const struct {
        const char *name;
        const attn_tensor *tensor;
    } needed[] = {{"query", args->query},
                  {"context", args->context},
                  {"weight", args->weight},
                  {"output", args->output},
                  {"d_output", args->d_output}};
    for (size_t i = 0; i < sizeof needed / sizeof *needed - !backward; i++) {
        if (needed[i].tensor == NULL) return attn_i_fail(ATTN_ERR_ARGUMENT, "%s is NULL", needed[i].name);
    }
    if (!backward) return ATTN_OK;
    if (args->accumulate != 0 && args->accumulate != 1) {
        return attn_i_fail(ATTN_ERR_ARGUMENT, "accumulate is %" PRId32 ", but must be 0 or 1", args->accumulate);
    }
    if (args->d_weight == NULL && args->d_bias == NULL && args->d_context == NULL && args->d_query == NULL) {
        return attn_i_fail(ATTN_ERR_ARGUMENT, "d_weight, d_bias, d_context and d_query are all NULL");
    }
    if (args->d_bias != NULL && args->bias == NULL) {
        return attn_i_fail(ATTN_ERR_ARGUMENT, "d_bias is not NULL, but bias is");
    }
    return ATTN_OK;
}

/* Counts that the BLAS, and loops, run over. */
static attn_status check_counts(attn_i_step *s)
{
    const int64_t *shape = s->query.shape;
    const struct {
        const char *name;
        int64_t dim;
    } dims[] = {{"context", s->context_dim}, {"query", s->query_dim}, {"weight", s->output_dim}};
    if (!attn_i_multiply(shape[0], shape[1], &s->rows) || !attn_i_multiply(s->rows, shape[2], &s->rows)) {
        char text[ATTN_I_SHAPE_TEXT];
        return attn_i_fail(ATTN_ERR_OVERFLOW, "the rows of query, %s, cannot be counted",
                           attn_i_shape_text(3, shape, text));
    }
    for (size_t i = 0; i < sizeof dims / sizeof *dims; i++) {
        if (dims[i].dim <= ATTN_I_BLAS_LIMIT / 2) continue;
        return attn_i_fail(ATTN_ERR_OVERFLOW, "%s has a dimension of %" PRId64 ", more than a BLAS can count",
                           dims[i].name, dims[i].dim);
    }
    return ATTN_OK;
}

static attn_status check_shapes(attn_i_step *s, const attn_attentional_args *args)
{
    static const char weight_layout[] = "[1, 1, H, Dv + Dq]", bias_layout[] = "[1, 1, 1, H]";
    attn_status status = attn_i_tensor_check_number(args->query, "query", 4, &s->query);
    if (status != ATTN_OK) return status;
    s->given = args->query->dtype;
    s->dtype = attn_i_dtype_computed(s->given);
    s->size = attn_i_dtype_size(s->dtype);
    s->query_dim = s->query.shape[3];
    status = attn_i_tensor_check_like(args->context, "context", 4, s->given, "query", &s->context);
    if (status == ATTN_OK) {
        status = attn_i_tensor_check_like(args->weight, "weight", 2, param_dtype(s, args->weight), "query", &s->weight);
    }
    if (status != ATTN_OK) return status;
    s->context_dim = s->context.shape[3];
    s->output_dim = s->weight.shape[2];
    status = check_counts(s);
    if (status != ATTN_OK) return status;

    const int64_t *of = s->query.shape, context[4] = {of[0], of[1], of[2], s->context_dim};
    const int64_t output[4] = {of[0], of[1], of[2], s->output_dim}, bias[4] = {1, 1, 1, s->output_dim};
    const int64_t weight[4] = {1, 1, s->output_dim, s->context_dim + s->query_dim};
    status = attn_i_view_has_shape(&s->context, "context", "[.., T, Dv]", context);
    if (status == ATTN_OK) status = attn_i_view_has_shape(&s->weight, "weight", weight_layout, weight);
    if (status == ATTN_OK) {
        status = check_tensor(param_dtype(s, args->bias), args->bias, "bias", 1, bias_layout, bias, &s->bias);
    }
    if (status == ATTN_OK) status = check_tensor(s->given, args->output, "output", 4, "[.., T, H]", output, &s->output);
    if (status != ATTN_OK) return status;
    if (!s->backward) return attn_i_view_is_output(&s->output, "output");

    status = check_tensor(s->given, args->d_output, "d_output", 4, "[.., T, H]", output, &s->d_output);
    if (status == ATTN_OK) {
        status = check_output(param_dtype(s, args->d_weight), args->d_weight, "d_weight", 2, weight_layout, weight,
                              &s->d_weight);
    }
    if (status == ATTN_OK) {
        status = check_output(param_dtype(s, args->d_bias), args->d_bias, "d_bias", 1, bias_layout, bias, &s->d_bias);
    }
    if (status == ATTN_OK) {
        status = check_output(s->given, args->d_context, "d_context", 4, "[.., T, Dv]", context, &s->d_context);
    }
    if (status == ATTN_OK) {
        status = check_output(s->given, args->d_query, "d_query", 4, "[.., T, Dq]", of, &s->d_query);
    }
    return status;
}

/* The gradients of backward lie apart from all, the output of forward from what it reads. */
static attn_status check_overlap(const attn_i_step *s)
{
    const attn_i_named_view list[] = {{"", "d_weight", &s->d_weight},   {"", "d_bias", &s->d_bias},
                                      {"", "d_context", &s->d_context}, {"", "d_query", &s->d_query},
                                      {"", "output", &s->output},       {"", "weight", &s->weight},
                                      {"", "bias", &s->bias},           {"", "context", &s->context},
                                      {"", "query", &s->query},         {"", "d_output", &s->d_output}};
    const int gradients = 4, count = sizeof list / sizeof *list;
    return s->backward ? attn_i_views_apart(list, gradients, count)
                       : attn_i_views_apart(list + gradients, 1, count - gradients);
}

attn_status attn_i_step_check(attn_engine *engine, const attn_attentional_args *given, int backward, attn_i_step *s)
{
    attn_attentional_args args;
    if (engine == NULL) return attn_i_fail(ATTN_ERR_ARGUMENT, "engine is NULL");
    if (given == NULL) return attn_i_fail(ATTN_ERR_ARGUMENT, "args is NULL");
    attn_status status =
        attn_i_struct_read(&args, sizeof args, sizeof args, given, given->struct_size, "attn_attentional_args");
    *s = (attn_i_step){.engine = engine, .backward = backward};
    if (status == ATTN_OK) status = check_given(&args, backward);
    if (status == ATTN_OK) status = check_shapes(s, &args);
    if (status == ATTN_OK) status = check_overlap(s);
    if (status != ATTN_OK) return status;
    s->accumulate = args.accumulate;
    s->kernels = attn_i_engine_kernels(engine, s->dtype);
    s->storage = attn_i_storage_of(engine, s->given);
    return ATTN_OK;
}
