/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test_stored_gradients.c: gradients of parameters with 16 bits a number are sums over all items of a call, kept in
 * float32 until the last is in: one rounding from those in float64, where sums that are rounded item by item are many
 * roundings off.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "support.h"

enum { ITEMS = 400, MOST_SUMS = 8 };

static const attn_dtype narrow[] = {ATTN_F16, ATTN_BF16};

/* Items first .. first + count - 1 of a tensor. */
static attn_tensor part(const struct array *array, int64_t first, int64_t count)
{
    attn_tensor tensor = array->tensor;
    const int64_t size = tensor.dtype == ATTN_F64 ? 8 : tensor.dtype == ATTN_F32 ? 4 : 2;
    tensor.data = (char *)tensor.data + first * tensor.stride[0] * size;
    tensor.shape[0] = count;
    return tensor;
}

/* Numbers that both types of 16 bits hold: -1 to 1, or what is near 1. */
static void fill(struct array *array, struct rng *rng, bool positive)
{
    for (int64_t i = 0; i < array_count(array); i++) {
        array_set(array, i, (double)(positive ? rng_integer(rng, 48, 64) : rng_integer(rng, -64, 64)) / 64);
    }
}

static void create(struct array *array, attn_dtype dtype, int32_t ndim, const int64_t *shape)
{
    array_create(array, dtype, ndim, shape, LAYOUT_PLAIN, NULL);
}

/* ------------------------------------------------------------------------------------------------ calls */

/* What computes gradients of `count` parameters from some of the items, and adds them to what is there; everything in
 * one type. */
struct net {
    int count;
    struct array param[MOST_SUMS], sum[MOST_SUMS], tensor[8];
    const char *names[MOST_SUMS];
    attn_mechanism *mechanism;
    attn_multihead *multihead;
};

typedef void make_fn(struct net *net, attn_dtype dtype);
typedef void add_fn(struct net *net, int64_t first, int64_t count);

static void create_param(struct net *net, attn_dtype dtype, const char *name, int32_t ndim, const int64_t *shape,
                         struct rng *rng)
{
    create(&net->param[net->count], dtype, ndim, shape);
    create(&net->sum[net->count], dtype, ndim, shape);
    fill(&net->param[net->count], rng, false);
    array_fill(&net->sum[net->count], 0.0);
    net->names[net->count++] = name;
}

static void destroy(struct net *net)
{
    attn_multihead_destroy(net->multihead);
    attn_mechanism_destroy(net->mechanism);
    for (int i = 0; i < MOST_SUMS; i++) array_destroy(&net->param[i]), array_destroy(&net->sum[i]);
    for (int i = 0; i < 8; i++) array_destroy(&net->tensor[i]);
}

enum { QUERY, KEY, VALUE, FLOW, CONTEXT, LOGSUMEXP };

/* The loss looks at the log-sum-exp: a context would be read as it was rounded. */
static void make_additive(struct net *net, attn_dtype dtype)
{
    const int64_t query[4] = {ITEMS, 1, 2, 6}, key[4] = {ITEMS, 1, 5, 6};
    struct rng rng = {1};
    *net = (struct net){.count = 0};
    MUST(attn_mechanism_create_additive(engine, 6, 6, 4, ATTN_ADDITIVE_BIAS, &net->mechanism));
    create_param(net, dtype, "W", 2, (int64_t[]){4, 6}, &rng);
    create_param(net, dtype, "U", 2, (int64_t[]){4, 6}, &rng);
    create_param(net, dtype, "v", 1, (int64_t[]){4}, &rng);
    create_param(net, dtype, "b", 1, (int64_t[]){4}, &rng);
    for (int i = 0; i < net->count; i++) {
        MUST(attn_mechanism_bind_param(net->mechanism, net->names[i], &net->param[i].tensor));
    }
    create(&net->tensor[QUERY], dtype, 4, query);
    create(&net->tensor[KEY], dtype, 4, key);
    create(&net->tensor[FLOW], dtype_computed(dtype), 3, query);
    create(&net->tensor[LOGSUMEXP], ATTN_F64, 3, query);
    fill(&net->tensor[QUERY], &rng, false);
    fill(&net->tensor[KEY], &rng, false);
    fill(&net->tensor[FLOW], &rng, true);
}

static void add_additive(struct net *net, int64_t first, int64_t count)
{
    const attn_tensor query = part(&net->tensor[QUERY], first, count), key = part(&net->tensor[KEY], first, count);
    const attn_tensor flow = part(&net->tensor[FLOW], first, count), all = part(&net->tensor[LOGSUMEXP], first, count);
    const attn_tensor *sums[MOST_SUMS];
    attn_forward_args forward = ATTN_FORWARD_ARGS_INIT;
    attn_backward_args args = ATTN_BACKWARD_ARGS_INIT;
    for (int i = 0; i < net->count; i++) sums[i] = &net->sum[i].tensor;
    forward.query = &query, forward.key = &key, forward.logsumexp = &all;
    args.forward = &forward, args.d_logsumexp = &flow, args.d_params = sums, args.accumulate = 1;
    MUST(attn_forward(net->mechanism, &forward));
    MUST(attn_backward(net->mechanism, &args));
}

static void make_layer(struct net *net, attn_dtype dtype)
{
    const int64_t shape[3] = {ITEMS, 3, 4};
    attn_multihead_options options = ATTN_MULTIHEAD_OPTIONS_INIT;
    int32_t count;
    struct rng rng = {2};
    *net = (struct net){.count = 0};
    options.query_heads = 2, options.query_dim = 4, options.flags = ATTN_MULTIHEAD_BIAS;
    MUST(attn_mechanism_create_scaled_dot(engine, &net->mechanism));
    MUST(attn_multihead_create(net->mechanism, &options, &net->multihead));
    MUST(attn_multihead_param_count(net->multihead, &count));
    for (int32_t i = 0; i < count; i++) {
        attn_param_info info = ATTN_PARAM_INFO_INIT;
        MUST(attn_multihead_param_info(net->multihead, i, &info));
        create_param(net, dtype, info.name, info.ndim, info.shape, &rng);
        MUST(attn_multihead_bind_param(net->multihead, info.name, &net->param[i].tensor));
    }
    create(&net->tensor[QUERY], dtype, 3, shape);
    create(&net->tensor[FLOW], dtype, 3, shape);
    fill(&net->tensor[QUERY], &rng, false);
    fill(&net->tensor[FLOW], &rng, true);
}

static void add_layer(struct net *net, int64_t first, int64_t count)
{
    const attn_tensor query = part(&net->tensor[QUERY], first, count), flow = part(&net->tensor[FLOW], first, count);
    const attn_tensor *sums[MOST_SUMS];
    attn_multihead_args forward = ATTN_MULTIHEAD_ARGS_INIT;
    attn_multihead_backward_args args = ATTN_MULTIHEAD_BACKWARD_ARGS_INIT;
    for (int i = 0; i < net->count; i++) sums[i] = &net->sum[i].tensor;
    forward.query = &query;
    args.forward = &forward, args.d_output = &flow, args.d_params = sums, args.accumulate = 1;
    MUST(attn_multihead_backward(net->multihead, &args));
}

static void make_step(struct net *net, attn_dtype dtype)
{
    struct rng rng = {3};
    *net = (struct net){.count = 0};
    create_param(net, dtype, "weight", 2, (int64_t[]){3, 9}, &rng);
    create_param(net, dtype, "bias", 1, (int64_t[]){3}, &rng);
    for (int i = QUERY; i <= CONTEXT; i++) {
        create(&net->tensor[i], dtype, 2, (int64_t[]){ITEMS, i == CONTEXT ? 4 : i == QUERY ? 5 : 3});
        fill(&net->tensor[i], &rng, i == FLOW);
    }
}

/* The output of forward is VALUE. */
static void add_step(struct net *net, int64_t first, int64_t count)
{
    attn_tensor t[CONTEXT + 1];
    attn_attentional_args args = ATTN_ATTENTIONAL_ARGS_INIT;
    for (int i = 0; i <= CONTEXT; i++) t[i] = part(&net->tensor[i], first, count);
    args.weight = &net->param[0].tensor, args.bias = &net->param[1].tensor;
    args.query = &t[QUERY], args.context = &t[CONTEXT], args.output = &t[VALUE], args.d_output = &t[FLOW];
    args.d_weight = &net->sum[0].tensor, args.d_bias = &net->sum[1].tensor;
    args.accumulate = 1;
    MUST(attn_attentional_backward(engine, &args));
}

/* ------------------------------------------------------------------------------------------------ sums */

/* What float32 may have lost, of sums of so many products, beside the one rounding. */
static const double slack = 2e-4;

static void compare_sums(const struct net *exact, const struct net *at_once, const struct net *by_item,
                         attn_dtype dtype)
{
    for (int i = 0; i < exact->count; i++) {
        double off_at_once = 0.0, off_by_item = 0.0, size = 0.0;
        for (int64_t k = 0; k < array_count(&exact->sum[i]); k++) {
            const double want = array_get(&exact->sum[i], k), got = array_get(&at_once->sum[i], k);
            const double most = dtype_half_step(dtype, got) + slack;
            if (!(fabs(got - want) <= most)) {
                fail_msg("%s %s[%d] is %.9g, but %.9g wanted", dtype_name(dtype), exact->names[i], (int)k, got, want);
            }
            size += fabs(want);
            off_at_once += fabs(got - want);
            off_by_item += fabs(array_get(&by_item->sum[i], k) - want);
        }
        if (size > 0.1 && !(off_by_item > 5 * off_at_once)) { /* that of b_k is 0 */
            fail_msg("%s %s is off by %g, by items by no more than %g", dtype_name(dtype), exact->names[i], off_at_once,
                     off_by_item);
        }
    }
}

static void check(make_fn *make, add_fn *add)
{
    for (int n = 0; n < 2; n++) {
        struct net exact, at_once, by_item;
        make(&exact, ATTN_F64);
        make(&at_once, narrow[n]);
        make(&by_item, narrow[n]);
        add(&exact, 0, ITEMS);
        add(&at_once, 0, ITEMS);
        for (int64_t i = 0; i < ITEMS; i++) add(&by_item, i, 1);
        compare_sums(&exact, &at_once, &by_item, narrow[n]);
        destroy(&exact), destroy(&at_once), destroy(&by_item);
    }
}

static void a_mechanism_s_parameters_have_sums_of_one_rounding(void **state)
{
    (void)state;
    check(make_additive, add_additive);
}

static void a_layer_s_parameters_have_sums_of_one_rounding(void **state)
{
    (void)state;
    check(make_layer, add_layer);
}

static void a_step_s_parameters_have_sums_of_one_rounding(void **state)
{
    (void)state;
    check(make_step, add_step);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_mechanism_s_parameters_have_sums_of_one_rounding),
        cmocka_unit_test(a_layer_s_parameters_have_sums_of_one_rounding),
        cmocka_unit_test(a_step_s_parameters_have_sums_of_one_rounding),
    };
    return cmocka_run_group_tests_name("stored_gradients", tests, engine_setup, engine_teardown);
}
