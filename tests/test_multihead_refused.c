/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test_multihead_refused.c: calls of attn_multihead_ functions that are wrong. Each starts from arguments with which
 * the call succeeds and changes one thing; it must be refused with this status and a sentence that has these words, and
 * leave everything as it was.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "multihead_scene.h"

static const struct setup base = {"refused",
                                  ATTN_MULTIHEAD_BIAS,
                                  GIVES_KEY | GIVES_VALUE,
                                  2,
                                  3,
                                  4,
                                  4,
                                  2,
                                  {6, 5, 7},
                                  3,
                                  2,
                                  6,
                                  LAYER_GENERAL,
                                  LAYER_MASK | LAYER_LENGTHS | LAYER_BIAS,
                                  LAYOUT_PLAIN};

/* ------------------------------------------------------------------------------------------- creation */

struct creation {
    const char *words;
    attn_status status;
    void (*change)(attn_multihead_options *o);
};

#define CHANGE(name, statement)                                                                                        \
    static void name(attn_multihead_options *o)                                                                        \
    {                                                                                                                  \
        statement;                                                                                                     \
    }
CHANGE(no_heads, o->query_heads = 0)
CHANGE(negative_heads, o->key_heads = -1)
CHANGE(uneven_groups, o->key_heads = 3)
CHANGE(no_query_dim, o->query_dim = 0)
CHANGE(negative_dim, o->value_dim = -5)
CHANGE(negative_output, o->output_dim = -1)
CHANGE(other_head_dim, o->head_dim = 4)
CHANGE(uneven_heads, (o->head_dim = 0, o->query_dim = 7))
CHANGE(unknown_flag, o->flags = 4)
CHANGE(packed_of_unequal, o->flags = ATTN_MULTIHEAD_PACKED)
CHANGE(short_struct, o->struct_size = 8)
CHANGE(many_heads, (o->query_heads = INT64_C(1) << 40))
CHANGE(wide_heads, (o->query_heads = 1 << 20, o->key_heads = 1, o->value_head_dim = 1 << 20))
CHANGE(wide_input, o->query_dim = INT64_MAX)

/* Of a rotation that cannot be, of heads of 3. */
static attn_rope_options rope;
CHANGE(rope_of_odd, (o->rope = &rope))
CHANGE(rope_without_layout, (rope.layout = 0, o->rope = &rope))
CHANGE(rope_too_wide, (rope.dimensions = 4, o->rope = &rope))
CHANGE(rope_short, (rope.struct_size = 8, o->rope = &rope))
CHANGE(rope_base, (rope.dimensions = 2, rope.base = -1.0, o->rope = &rope))

static void a_layer_that_cannot_be_is_refused(void **state)
{
    static const struct creation table[] = {
        {"query_heads is 0", ATTN_ERR_ARGUMENT, no_heads},
        {"key_heads is -1", ATTN_ERR_ARGUMENT, negative_heads},
        {"key_heads is 3, which does not divide query_heads, 4", ATTN_ERR_SHAPE, uneven_groups},
        {"query_dim is 0", ATTN_ERR_ARGUMENT, no_query_dim},
        {"value_dim is -5", ATTN_ERR_ARGUMENT, negative_dim},
        {"output_dim is -1", ATTN_ERR_ARGUMENT, negative_output},
        {"head_dim is 4, but the general mechanism was made for queries of 3", ATTN_ERR_SHAPE, other_head_dim},
        {"does not go into 4 whole heads", ATTN_ERR_SHAPE, uneven_heads},
        {"flags is 0x4", ATTN_ERR_ARGUMENT, unknown_flag},
        {"packed", ATTN_ERR_SHAPE, packed_of_unequal},
        {"struct_size", ATTN_ERR_STRUCT_SIZE, short_struct},
        {"query_heads", ATTN_ERR_OVERFLOW, many_heads},
        {"heads of 3 and 1048576", ATTN_ERR_OVERFLOW, wide_heads},
        {"query_dim", ATTN_ERR_OVERFLOW, wide_input},
        {"a head has a last dimension of 3", ATTN_ERR_SHAPE, rope_of_odd},
        {"layout is not set", ATTN_ERR_ARGUMENT, rope_without_layout},
        {"up to the 3 of a head", ATTN_ERR_ARGUMENT, rope_too_wide},
        {"attn_rope_options", ATTN_ERR_STRUCT_SIZE, rope_short},
        {"base is -1", ATTN_ERR_ARGUMENT, rope_base},
    };
    attn_mechanism *mechanism;
    (void)state;
    MUST(attn_mechanism_create_general(engine, 3, 3, &mechanism));
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        attn_multihead_options o = ATTN_MULTIHEAD_OPTIONS_INIT;
        attn_multihead *none = (attn_multihead *)(void *)&o;
        o.query_heads = 4, o.key_heads = 2, o.query_dim = 6, o.key_dim = 5, o.value_dim = 7, o.head_dim = 3;
        rope = (attn_rope_options)ATTN_ROPE_OPTIONS_INIT;
        rope.layout = ATTN_ROPE_HALVES;
        table[i].change(&o);
        const attn_status status = attn_multihead_create(mechanism, &o, &none);
        if (status != table[i].status || !strstr(attn_last_error(), table[i].words) ||
            strncmp(attn_last_error(), "attn_multihead_create: ", 23) != 0) {
            fail_msg("%s: got %s: %s", table[i].words, attn_status_string(status), attn_last_error());
        }
        assert_ptr_equal(none, (void *)&o);
    }
    attn_multihead_options o = ATTN_MULTIHEAD_OPTIONS_INIT;
    attn_multihead *made = NULL;
    o.query_heads = 2, o.query_dim = 6;
    assert_int_equal(attn_multihead_create(NULL, &o, &made), ATTN_ERR_ARGUMENT);
    assert_int_equal(attn_multihead_create(mechanism, NULL, &made), ATTN_ERR_ARGUMENT);
    assert_int_equal(attn_multihead_create(mechanism, &o, NULL), ATTN_ERR_ARGUMENT);
    assert_null(made);
    MUST(attn_multihead_create(mechanism, &o, &made));
    attn_multihead_destroy(made);
    attn_mechanism_destroy(mechanism);
}

/* ------------------------------------------------------------------------------------------ parameters */

static void parameters_have_names_and_shapes(void **state)
{
    static const char *const separate[] = {"W_q", "W_k", "W_v", "W_o", "b_q", "b_k", "b_v", "b_o"};
    static const char *const packed[] = {"W_qkv", "W_o", "b_qkv", "b_o"};
    static const int64_t rows[] = {12, 6, 4, 6}, columns[] = {6, 5, 7, 8};
    struct layer l;
    int32_t count = 0;
    attn_param_info info = ATTN_PARAM_INFO_INIT;
    attn_tensor wrong = {NULL, ATTN_F32, 2, {12, 7}, {7, 1}};
    float one = 0;
    (void)state;
    wrong.data = &one;
    layer_create(&l, engine, &base, ATTN_F32, 1);
    assert_int_equal(l.param_count, 8);
    for (int i = 0; i < 8; i++) {
        MUST(attn_multihead_param_info(l.multihead, i, &info));
        assert_string_equal(info.name, separate[i]);
        assert_int_equal(info.ndim, i < 4 ? 2 : 1);
        assert_int_equal(info.shape[0], rows[i % 4]);
        assert_int_equal(info.shape[1], i < 4 ? columns[i] : 1);
        assert_int_equal(info.elements, info.shape[0] * info.shape[1]);
        assert_true(info.bound);
    }
    assert_int_equal(attn_multihead_param_info(l.multihead, 8, &info), ATTN_ERR_ARGUMENT);
    assert_int_equal(attn_multihead_param_info(l.multihead, -1, &info), ATTN_ERR_ARGUMENT);
    assert_int_equal(attn_multihead_param_info(NULL, 0, &info), ATTN_ERR_ARGUMENT);
    assert_int_equal(attn_multihead_param_info(l.multihead, 0, NULL), ATTN_ERR_ARGUMENT);
    assert_int_equal(attn_multihead_param_count(NULL, &count), ATTN_ERR_ARGUMENT);
    assert_int_equal(attn_multihead_param_count(l.multihead, NULL), ATTN_ERR_ARGUMENT);
    assert_int_equal(attn_multihead_bind_param(NULL, "W_q", NULL), ATTN_ERR_ARGUMENT);
    assert_int_equal(attn_multihead_bind_param(l.multihead, NULL, NULL), ATTN_ERR_ARGUMENT);
    assert_int_equal(attn_multihead_bind_param(l.multihead, "W_qkv", NULL), ATTN_ERR_PARAMETER);
    assert_int_equal(attn_multihead_bind_param(l.multihead, "W_q", &wrong), ATTN_ERR_SHAPE);
    assert_non_null(strstr(attn_last_error(), "attn_multihead_bind_param: W_q has shape [12, 7]"));
    layer_destroy(&l);
    struct setup setup = base;
    setup.flags |= ATTN_MULTIHEAD_PACKED;
    setup.dim[1] = setup.dim[2] = 6;
    layer_create(&l, engine, &setup, ATTN_F32, 1);
    assert_int_equal(l.param_count, 4);
    for (int i = 0; i < 4; i++) {
        MUST(attn_multihead_param_info(l.multihead, i, &info));
        assert_string_equal(info.name, packed[i]);
        assert_int_equal(info.shape[0], i % 2 ? 6 : 22);
    }
    layer_destroy(&l);
}

/* --------------------------------------------------------------------------------------------- calls */

struct call {
    struct layer l;
    attn_tensor other; /* for a change to point to */
    unsigned char *workspace;
    attn_memory *memory;
};

struct refusal {
    const char *words;
    attn_status status;
    void (*change)(struct call *c);
};

#undef CHANGE
#define CHANGE(name, statement)                                                                                        \
    static void name(struct call *c)                                                                                   \
    {                                                                                                                  \
        statement;                                                                                                     \
    }
#define OTHER(slot, of, statement) (c->other = (of).tensor, statement, slot = &c->other)

CHANGE(args_size, c->l.args.struct_size = 12)
CHANGE(args_reserved, c->l.args.attend_only = 1)
CHANGE(query_missing, c->l.args.query = NULL)
CHANGE(key_missing, c->l.args.key = NULL)
CHANGE(value_missing, c->l.args.value = NULL)
CHANGE(query_of_integers, OTHER(c->l.args.query, c->l.input[0], c->other.dtype = ATTN_I32))
CHANGE(key_of_doubles, OTHER(c->l.args.key, c->l.input[1], c->other.dtype = ATTN_F64))
CHANGE(query_too_narrow, OTHER(c->l.args.query, c->l.input[0], c->other.shape[2] = 5))
CHANGE(query_of_four, OTHER(c->l.args.query, c->l.input[0], c->other.ndim = 4))
CHANGE(key_batch, OTHER(c->l.args.key, c->l.input[1], c->other.shape[0] = 1))
CHANGE(value_length, OTHER(c->l.args.value, c->l.input[2], c->other.shape[1] = 3))
CHANGE(value_without_data, OTHER(c->l.args.value, c->l.input[2], c->other.data = NULL))
CHANGE(unbound, MUST(attn_multihead_bind_param(c->l.multihead, "b_v", NULL)))
CHANGE(unbound_inside, MUST(attn_mechanism_bind_param(c->l.mechanism, "W", NULL)))
CHANGE(attention_size, c->l.attention.struct_size = 4)
CHANGE(attention_query, c->l.attention.query = c->l.args.query)
CHANGE(attention_context, c->l.attention.context = c->l.args.output)
CHANGE(query_offsets_of_batch, c->l.attention.query_offsets = &c->l.lengths.tensor)
CHANGE(key_offsets_of_batch, c->l.attention.key_offsets = &c->l.lengths.tensor)
CHANGE(positions_unturned, c->l.args.positions = &c->l.lengths.tensor)
CHANGE(key_positions_unturned, c->l.args.key_positions = &c->l.lengths.tensor)
CHANGE(attention_page_table, c->l.attention.page_table = &c->l.lengths.tensor)
CHANGE(attention_page_offsets, c->l.attention.page_offsets = &c->l.lengths.tensor)
CHANGE(attention_mask_align, c->l.attention.mask_align = ATTN_ALIGN_TOP_LEFT)
CHANGE(attention_reserved, c->l.attention.reserved = 1)
CHANGE(query_beyond_count,
       OTHER(c->l.args.query, c->l.input[0], (c->other.shape[1] = INT64_C(1) << 60, c->other.stride[1] = 0)))
CHANGE(mask_shape, OTHER(c->l.attention.mask, c->l.mask, c->other.shape[3] = 3))
CHANGE(long_keys, array_set(&c->l.lengths, 1, 5))
CHANGE(bias_dtype, OTHER(c->l.attention.bias, c->l.bias, c->other.dtype = ATTN_I32))
CHANGE(far_start, c->l.attention.query_start = INT64_MAX)
CHANGE(saved_small, (c->l.args.saved = c->workspace, c->l.args.saved_size = 100))

CHANGE(output_missing, c->l.args.output = NULL)
CHANGE(output_shape, OTHER(c->l.args.output, c->l.output, c->other.shape[2] = 5))
CHANGE(output_dtype, OTHER(c->l.args.output, c->l.output, c->other.dtype = ATTN_F64))
CHANGE(output_on_itself, OTHER(c->l.args.output, c->l.output, c->other.stride[1] = 0))
CHANGE(output_is_query, OTHER(c->l.args.output, c->l.output, c->other.data = c->l.input[0].tensor.data))
CHANGE(output_is_weight, OTHER(c->l.args.output, c->l.output, c->other.data = c->l.param[3].tensor.data))
CHANGE(output_is_bias, OTHER(c->l.args.output, c->l.output, c->other.data = c->l.bias.tensor.data))
CHANGE(output_is_rule, OTHER(c->l.args.output, c->l.output, c->other.data = c->l.rule[0].tensor.data))
CHANGE(weights_are_output, OTHER(c->l.attention.weights, c->l.weights, c->other.data = c->l.output.tensor.data))
CHANGE(weights_are_value, OTHER(c->l.attention.weights, c->l.weights, c->other.data = c->l.input[2].tensor.data))
CHANGE(weights_shape, OTHER(c->l.attention.weights, c->l.weights, c->other.shape[1] = 2))
CHANGE(saved_is_output, (c->l.args.saved = c->l.output.tensor.data, c->l.args.saved_size = 1 << 20))
CHANGE(saved_is_query, (c->l.args.saved = c->l.input[0].tensor.data, c->l.args.saved_size = 1 << 20))
CHANGE(workspace_is_output, (c->l.args.workspace = c->l.output.tensor.data, c->l.args.workspace_size = 1 << 20))
CHANGE(workspace_is_key, (c->l.args.workspace = c->l.input[1].tensor.data, c->l.args.workspace_size = 1 << 20))
CHANGE(workspace_is_saved, (c->l.args.workspace = c->l.args.saved = c->workspace,
                            c->l.args.workspace_size = c->l.args.saved_size = 1 << 20))
CHANGE(workspace_small, (c->l.args.workspace = c->workspace, c->l.args.workspace_size = 10))

CHANGE(backward_size, c->l.backward.struct_size = 12)
CHANGE(forward_missing, c->l.backward.forward = NULL)
CHANGE(accumulate_twice, c->l.backward.accumulate = 2)
CHANGE(no_flow, c->l.backward.d_output = c->l.backward.d_weights = c->l.backward.d_logsumexp = NULL)
CHANGE(flow_shape, OTHER(c->l.backward.d_output, c->l.d_output, c->other.shape[1] = 2))
CHANGE(flow_dtype, OTHER(c->l.backward.d_output, c->l.d_output, c->other.dtype = ATTN_F64))
CHANGE(weights_flow_shape, OTHER(c->l.backward.d_weights, c->l.d_weights, c->other.shape[3] = 3))
CHANGE(logsumexp_flow_shape, OTHER(c->l.backward.d_logsumexp, c->l.d_logsumexp, c->other.shape[2] = 2))
CHANGE(d_alibi_without_alibi, c->l.backward.d_alibi = &c->l.gradient[0].tensor)
CHANGE(d_relative_without_table, c->l.backward.d_relative = &c->l.gradient[0].tensor)
CHANGE(d_key_shape, OTHER(c->l.backward.d_key, c->l.gradient[1], c->other.shape[2] = 4))
CHANGE(d_value_on_itself, OTHER(c->l.backward.d_value, c->l.gradient[2], c->other.stride[0] = 1))
CHANGE(d_bias_without_bias, c->l.attention.bias = NULL)
CHANGE(d_weight_shape, OTHER(c->l.d_params[0], c->l.gradient[GRADIENT_PARAM], c->other.shape[0] = 11))
CHANGE(d_rule_shape, OTHER(c->l.d_rule[0], c->l.gradient[GRADIENT_RULE], c->other.shape[0] = 2))
CHANGE(d_query_is_query, OTHER(c->l.backward.d_query, c->l.gradient[0], c->other.data = c->l.input[0].tensor.data))
CHANGE(d_query_is_flow, OTHER(c->l.backward.d_query, c->l.gradient[0], c->other.data = c->l.d_output.tensor.data))
CHANGE(d_query_is_d_key, OTHER(c->l.backward.d_query, c->l.gradient[0], c->other.data = c->l.gradient[1].tensor.data))
CHANGE(d_weight_is_weight,
       OTHER(c->l.d_params[1], c->l.gradient[GRADIENT_PARAM + 1], c->other.data = c->l.param[1].tensor.data))
CHANGE(d_weight_is_d_rule, OTHER(c->l.d_params[1], c->l.gradient[GRADIENT_PARAM + 1],
                                 c->other.data = c->l.gradient[GRADIENT_RULE].tensor.data))
CHANGE(d_bias_is_saved, (c->l.args.saved = c->l.gradient[GRADIENT_BIAS].tensor.data, c->l.args.saved_size = 1 << 20))
CHANGE(back_workspace_is_d_value,
       (c->l.backward.workspace = c->l.gradient[2].tensor.data, c->l.backward.workspace_size = 1 << 20))
CHANGE(back_workspace_is_saved, (c->l.backward.workspace = c->l.args.saved = c->workspace,
                                 c->l.backward.workspace_size = c->l.args.saved_size = 1 << 20))
CHANGE(back_workspace_small, (c->l.backward.workspace = c->workspace, c->l.backward.workspace_size = 10))
CHANGE(hardmax, MUST(attn_mechanism_set_normaliser(c->l.mechanism, ATTN_HARDMAX)))

/* Of another type, where any has room. */
#define RETYPED(slot, of, type) OTHER(slot, of, (c->other.dtype = (type), c->other.data = c->workspace + (1 << 19)))

static void bind_retyped(struct call *c, int i, attn_dtype dtype)
{
    attn_tensor other = i < 0 ? c->l.rule[0].tensor : c->l.param[i].tensor;
    other.dtype = dtype;
    other.data = c->workspace + (1 << 19);
    if (i < 0) MUST(attn_mechanism_bind_param(c->l.mechanism, "W", &other));
    if (i >= 0) MUST(attn_multihead_bind_param(c->l.multihead, c->l.param_name[i], &other));
}

static void give_memory(struct call *c)
{
    attn_memory_options options = ATTN_MEMORY_OPTIONS_INIT;
    options.dtype = ATTN_BF16;
    options.batch = c->l.s.batch;
    options.key_heads = c->l.s.key_heads;
    options.key_dim = c->l.s.head_dim;
    options.value_dim = c->l.s.value_head_dim;
    MUST(attn_memory_create(c->l.mechanism, &options, &c->memory));
    c->l.args.memory = c->memory;
}

CHANGE(weight_of_halves, bind_retyped(c, 1, ATTN_F16))
CHANGE(rule_of_halves, bind_retyped(c, -1, ATTN_BF16))
CHANGE(key_of_others, RETYPED(c->l.args.key, c->l.input[1], ATTN_BF16))
CHANGE(key_of_floats, RETYPED(c->l.args.key, c->l.input[1], ATTN_F32))
CHANGE(bias_of_floats, RETYPED(c->l.attention.bias, c->l.bias, ATTN_F32))
CHANGE(weight_of_others, bind_retyped(c, 1, ATTN_BF16))
CHANGE(weight_of_doubles, bind_retyped(c, 1, ATTN_F64))
CHANGE(rule_of_others, bind_retyped(c, -1, ATTN_BF16))
CHANGE(output_of_floats, RETYPED(c->l.args.output, c->l.output, ATTN_F32))
CHANGE(weights_of_halves, RETYPED(c->l.attention.weights, c->l.weights, ATTN_F16))
CHANGE(memory_of_others, give_memory(c))
CHANGE(flow_of_floats, RETYPED(c->l.backward.d_output, c->l.d_output, ATTN_F32))
CHANGE(weights_flow_of_halves, RETYPED(c->l.backward.d_weights, c->l.d_weights, ATTN_F16))
CHANGE(d_query_of_floats, RETYPED(c->l.backward.d_query, c->l.gradient[0], ATTN_F32))
CHANGE(d_bias_of_floats, RETYPED(c->l.backward.d_bias, c->l.gradient[GRADIENT_BIAS], ATTN_F32))
CHANGE(d_weight_of_others, RETYPED(c->l.d_params[1], c->l.gradient[GRADIENT_PARAM + 1], ATTN_BF16))
CHANGE(d_rule_of_doubles, RETYPED(c->l.d_rule[0], c->l.gradient[GRADIENT_RULE], ATTN_F64))

/* In both calls, of float32; and of float16; then in one of them. */
static const struct refusal types[] = {
    {"parameter W_k is ATTN_F16, but query is ATTN_F32", ATTN_ERR_DTYPE, weight_of_halves},
    {"parameter W is ATTN_BF16, but query is ATTN_F32", ATTN_ERR_DTYPE, rule_of_halves},
};
static const struct refusal narrow_types[] = {
    {"key is ATTN_BF16, but query is ATTN_F16", ATTN_ERR_DTYPE, key_of_others},
    {"key is ATTN_F32, but query is ATTN_F16", ATTN_ERR_DTYPE, key_of_floats},
    {"bias is ATTN_F32, but query is ATTN_F16", ATTN_ERR_DTYPE, bias_of_floats},
    {"parameter W_k is ATTN_BF16, but query is ATTN_F16", ATTN_ERR_DTYPE, weight_of_others},
    {"parameter W_k is ATTN_F64, but query is ATTN_F16", ATTN_ERR_DTYPE, weight_of_doubles},
    {"parameter W is ATTN_BF16, but query is ATTN_F16", ATTN_ERR_DTYPE, rule_of_others},
};
static const struct refusal narrow_forwards[] = {
    {"output is ATTN_F32, but query is ATTN_F16", ATTN_ERR_DTYPE, output_of_floats},
    {"weights is ATTN_F16, but what query is computed in is ATTN_F32", ATTN_ERR_DTYPE, weights_of_halves},
    {"memory is ATTN_BF16, but query is ATTN_F16", ATTN_ERR_DTYPE, memory_of_others},
};
static const struct refusal narrow_backwards[] = {
    {"d_output is ATTN_F32, but query is ATTN_F16", ATTN_ERR_DTYPE, flow_of_floats},
    {"d_weights is ATTN_F16, but what query is computed in is ATTN_F32", ATTN_ERR_DTYPE, weights_flow_of_halves},
    {"d_query is ATTN_F32, but query is ATTN_F16", ATTN_ERR_DTYPE, d_query_of_floats},
    {"d_bias is ATTN_F32, but query is ATTN_F16", ATTN_ERR_DTYPE, d_bias_of_floats},
    {"d_W_k is ATTN_BF16, but query is ATTN_F16", ATTN_ERR_DTYPE, d_weight_of_others},
    {"d_W is ATTN_F64, but query is ATTN_F16", ATTN_ERR_DTYPE, d_rule_of_doubles},
};

/* In both calls. */
static const struct refusal inputs[] = {
    {"struct_size is 12", ATTN_ERR_STRUCT_SIZE, args_size},
    {"attend_only is 1", ATTN_ERR_ARGUMENT, args_reserved},
    {"query is NULL", ATTN_ERR_ARGUMENT, query_missing},
    {"key is NULL and query stands for it, but key_dim is 5 and query_dim is 6", ATTN_ERR_SHAPE, key_missing},
    {"value is NULL and key stands for it", ATTN_ERR_SHAPE, value_missing},
    {"query is ATTN_I32", ATTN_ERR_DTYPE, query_of_integers},
    {"key is ATTN_F64, but query is ATTN_F32", ATTN_ERR_DTYPE, key_of_doubles},
    {"query has dimension 5, but the layer's query_dim is 6", ATTN_ERR_SHAPE, query_too_narrow},
    {"query has 4 dimensions", ATTN_ERR_SHAPE, query_of_four},
    {"key has batch 1, but query has 2", ATTN_ERR_SHAPE, key_batch},
    {"value has length 3, but there are 4 keys", ATTN_ERR_SHAPE, value_length},
    {"value has elements, but its data is NULL", ATTN_ERR_ARGUMENT, value_without_data},
    {"parameter b_v of multihead is not bound", ATTN_ERR_PARAMETER, unbound},
    {"parameter W of general is not bound", ATTN_ERR_PARAMETER, unbound_inside},
    {"attention: struct_size", ATTN_ERR_STRUCT_SIZE, attention_size},
    {"attention->query is not NULL", ATTN_ERR_ARGUMENT, attention_query},
    {"attention->context is not NULL", ATTN_ERR_ARGUMENT, attention_context},
    {"query has batch 2, but with attention->query_offsets it must be 1", ATTN_ERR_SHAPE, query_offsets_of_batch},
    {"key has batch 2, but with attention->key_offsets it must be 1", ATTN_ERR_SHAPE, key_offsets_of_batch},
    {"there are positions, but the layer was made without rope", ATTN_ERR_ARGUMENT, positions_unturned},
    {"there are key_positions, but the layer was made without rope", ATTN_ERR_ARGUMENT, key_positions_unturned},
    {"attention->page_table is not NULL", ATTN_ERR_UNSUPPORTED, attention_page_table},
    {"attention->page_offsets is not NULL", ATTN_ERR_UNSUPPORTED, attention_page_offsets},
    {"mask_align is 1", ATTN_ERR_ARGUMENT, attention_mask_align},
    {"reserved is 1", ATTN_ERR_ARGUMENT, attention_reserved},
    {"cannot be counted", ATTN_ERR_OVERFLOW, query_beyond_count},
    {"mask has shape", ATTN_ERR_SHAPE, mask_shape},
    {"key_lengths[1] is 5", ATTN_ERR_ARGUMENT, long_keys},
    {"bias is ATTN_I32", ATTN_ERR_DTYPE, bias_dtype},
    {"query_start", ATTN_ERR_ARGUMENT, far_start},
    {"saved_size is 100", ATTN_ERR_BUFFER, saved_small},
};

static const struct refusal forwards[] = {
    {"output is NULL", ATTN_ERR_ARGUMENT, output_missing},
    {"output has shape", ATTN_ERR_SHAPE, output_shape},
    {"output is ATTN_F64", ATTN_ERR_DTYPE, output_dtype},
    {"output is an output, but", ATTN_ERR_OVERLAP, output_on_itself},
    /* Whom an output meets first may depend on where the heap has put its neighbours. */
    {"output shares memory", ATTN_ERR_OVERLAP, output_is_query},
    {"output shares memory", ATTN_ERR_OVERLAP, output_is_weight},
    {"output shares memory", ATTN_ERR_OVERLAP, output_is_bias},
    {"output shares memory", ATTN_ERR_OVERLAP, output_is_rule},
    {"output shares memory", ATTN_ERR_OVERLAP, weights_are_output},
    {"weights shares memory", ATTN_ERR_OVERLAP, weights_are_value},
    {"weights has shape", ATTN_ERR_SHAPE, weights_shape},
    {"shares memory with", ATTN_ERR_OVERLAP, saved_is_output},
    {"shares memory with", ATTN_ERR_OVERLAP, saved_is_query},
    {"workspace shares memory with", ATTN_ERR_OVERLAP, workspace_is_output},
    {"workspace shares memory with", ATTN_ERR_OVERLAP, workspace_is_key},
    {"workspace shares memory with", ATTN_ERR_OVERLAP, workspace_is_saved},
    {"workspace_size is 10", ATTN_ERR_BUFFER, workspace_small},
};

static const struct refusal backwards[] = {
    {"struct_size is 12", ATTN_ERR_STRUCT_SIZE, backward_size},
    {"forward is NULL", ATTN_ERR_ARGUMENT, forward_missing},
    {"accumulate is 2", ATTN_ERR_ARGUMENT, accumulate_twice},
    {"d_output, d_weights and d_logsumexp are all NULL", ATTN_ERR_ARGUMENT, no_flow},
    {"d_output has shape", ATTN_ERR_SHAPE, flow_shape},
    {"d_output is ATTN_F64", ATTN_ERR_DTYPE, flow_dtype},
    {"d_weights has shape", ATTN_ERR_SHAPE, weights_flow_shape},
    {"d_logsumexp has shape", ATTN_ERR_SHAPE, logsumexp_flow_shape},
    {"d_alibi is wanted, but", ATTN_ERR_ARGUMENT, d_alibi_without_alibi},
    {"d_relative is wanted, but", ATTN_ERR_ARGUMENT, d_relative_without_table},
    {"d_key has shape", ATTN_ERR_SHAPE, d_key_shape},
    {"d_value is an output, but", ATTN_ERR_OVERLAP, d_value_on_itself},
    {"d_bias is wanted, but there is no attention->bias", ATTN_ERR_ARGUMENT, d_bias_without_bias},
    {"d_W_q has shape", ATTN_ERR_SHAPE, d_weight_shape},
    {"d_W has shape", ATTN_ERR_SHAPE, d_rule_shape},
    {"d_query shares memory", ATTN_ERR_OVERLAP, d_query_is_query},
    {"d_query shares memory", ATTN_ERR_OVERLAP, d_query_is_flow},
    {"d_query shares memory", ATTN_ERR_OVERLAP, d_query_is_d_key},
    {"d_W_k shares memory", ATTN_ERR_OVERLAP, d_weight_is_weight},
    {"d_W_k shares memory", ATTN_ERR_OVERLAP, d_weight_is_d_rule},
    {"shares memory with saved", ATTN_ERR_OVERLAP, d_bias_is_saved},
    {"workspace shares memory with", ATTN_ERR_OVERLAP, back_workspace_is_d_value},
    {"workspace shares memory with", ATTN_ERR_OVERLAP, back_workspace_is_saved},
    {"workspace_size is 10", ATTN_ERR_BUFFER, back_workspace_small},
    {"hardmax has no gradient", ATTN_ERR_UNSUPPORTED, hardmax},
};

static void assert_untouched(const struct call *c, const char *words)
{
    for (int64_t i = 0; i < array_count(&c->l.output); i++) {
        if (array_get(&c->l.output, i) != 7.0) fail_msg("%s: the output is touched", words);
    }
    for (int g = 0; g < GRADIENTS; g++) {
        for (int64_t i = 0; c->l.gradient[g].memory && i < array_count(&c->l.gradient[g]); i++) {
            if (array_get(&c->l.gradient[g], i) != 7.0) fail_msg("%s: a gradient is touched", words);
        }
    }
    for (int64_t i = 0; i < array_count(&c->l.weights); i++) assert_true(array_get(&c->l.weights, i) == 7.0);
}

/* Also by the function that tells the workspace, unless that is what is wrong. */
static void refuse(const struct refusal *r, attn_dtype dtype, bool backward)
{
    static const char *const where[] = {"attn_multihead_forward: ", "attn_multihead_backward: "};
    const bool of_workspace = strstr(r->words, "workspace") != NULL;
    struct call c;
    size_t bytes = 77;
    layer_create(&c.l, engine, &base, dtype, 2);
    c.memory = NULL;
    c.workspace = must_allocate(1 << 20);
    array_fill(&c.l.output, 7.0);
    array_fill(&c.l.weights, 7.0);
    layer_fill_gradients(&c.l, 7.0);
    r->change(&c);
    const attn_multihead_args args = c.l.args;
    const attn_multihead_backward_args back = c.l.backward;
    attn_status status = backward ? attn_multihead_backward(c.l.multihead, &c.l.backward)
                                  : attn_multihead_forward(c.l.multihead, &c.l.args);
    if (status != r->status || !strstr(attn_last_error(), r->words) ||
        strncmp(attn_last_error(), where[backward], strlen(where[backward])) != 0) {
        fail_msg("%s: got %s: %s", r->words, attn_status_string(status), attn_last_error());
    }
    if (!of_workspace) {
        status = backward ? attn_multihead_backward_workspace(c.l.multihead, &c.l.backward, &bytes)
                          : attn_multihead_workspace(c.l.multihead, &c.l.args, &bytes);
        assert_int_equal(status, r->status);
        assert_int_equal(bytes, 77);
    }
    assert_memory_equal(&args, &c.l.args, sizeof args);
    assert_memory_equal(&back, &c.l.backward, sizeof back);
    assert_untouched(&c, r->words);
    attn_memory_destroy(c.memory);
    layer_destroy(&c.l);
    free(c.workspace);
}

#define REFUSE(refusals, dtype, backward)                                                                              \
    for (size_t i = 0; i < sizeof(refusals) / sizeof *(refusals); i++) refuse(&(refusals)[i], dtype, backward)

static void a_wrong_call_is_refused_and_writes_nothing(void **state)
{
    (void)state;
    REFUSE(inputs, ATTN_F32, false);
    REFUSE(inputs, ATTN_F32, true);
    REFUSE(forwards, ATTN_F32, false);
    REFUSE(backwards, ATTN_F32, true);
}

static void types_that_do_not_go_together_are_refused(void **state)
{
    (void)state;
    REFUSE(types, ATTN_F32, false);
    REFUSE(types, ATTN_F32, true);
    REFUSE(narrow_types, ATTN_F16, false);
    REFUSE(narrow_types, ATTN_F16, true);
    REFUSE(narrow_forwards, ATTN_F16, false);
    REFUSE(narrow_backwards, ATTN_F16, true);
}

static void gradients_of_inputs_that_are_not_given_are_refused(void **state)
{
    struct setup setup = base;
    struct layer l;
    (void)state;
    setup.gives = 0;
    setup.keys = setup.queries;
    setup.dim[1] = setup.dim[2] = setup.dim[0];
    layer_create(&l, engine, &setup, ATTN_F64, 3);
    l.backward.d_key = l.backward.d_query;
    assert_int_equal(attn_multihead_backward(l.multihead, &l.backward), ATTN_ERR_ARGUMENT);
    assert_non_null(strstr(attn_last_error(), "d_key is wanted, but forward->key is NULL: d_query has its part"));
    l.backward.d_key = NULL;
    l.backward.d_value = l.backward.d_query;
    assert_int_equal(attn_multihead_backward(l.multihead, &l.backward), ATTN_ERR_ARGUMENT);
    layer_destroy(&l);
}

/* Rows that lie on each other are many without taking room; what they are projected to is not. */
static void rows_that_cannot_be_addressed_are_refused(void **state)
{
    struct setup setup = base;
    (void)state;
    setup.modifiers = 0;
    setup.batch = 1;
    for (int i = 0; i < 2; i++) {
        struct layer l;
        size_t bytes = 77;
        layer_create(&l, engine, &setup, i ? ATTN_F64 : ATTN_F32, 5);
        attn_tensor *const rows[] = {&l.input[0].tensor, &l.d_output.tensor};
        for (int k = 0; k < 2; k++) rows[k]->shape[1] = INT64_C(1) << 57, rows[k]->stride[1] = 0;
        l.backward.d_query = l.backward.d_weights = l.backward.d_logsumexp = NULL;
        assert_int_equal(attn_multihead_backward_workspace(l.multihead, &l.backward, &bytes), ATTN_ERR_OVERFLOW);
        assert_non_null(strstr(attn_last_error(), "the rows of these shapes cannot be addressed"));
        assert_int_equal(attn_multihead_saved(l.multihead, &l.args, &bytes), ATTN_ERR_OVERFLOW);
        assert_int_equal(bytes, 77);
        for (int k = 0; k < 2; k++) rows[k]->shape[1] = 0; /* so that they are destroyed */
        layer_destroy(&l);
    }
}

static void null_handles_and_results_are_refused(void **state)
{
    struct layer l;
    size_t bytes = 77;
    (void)state;
    layer_create(&l, engine, &base, ATTN_F32, 4);
    assert_int_equal(attn_multihead_forward(NULL, &l.args), ATTN_ERR_ARGUMENT);
    assert_int_equal(attn_multihead_forward(l.multihead, NULL), ATTN_ERR_ARGUMENT);
    assert_int_equal(attn_multihead_workspace(NULL, &l.args, &bytes), ATTN_ERR_ARGUMENT);
    assert_int_equal(attn_multihead_workspace(l.multihead, NULL, &bytes), ATTN_ERR_ARGUMENT);
    assert_int_equal(attn_multihead_workspace(l.multihead, &l.args, NULL), ATTN_ERR_ARGUMENT);
    assert_int_equal(attn_multihead_saved(NULL, &l.args, &bytes), ATTN_ERR_ARGUMENT);
    assert_int_equal(attn_multihead_saved(l.multihead, NULL, &bytes), ATTN_ERR_ARGUMENT);
    assert_int_equal(attn_multihead_saved(l.multihead, &l.args, NULL), ATTN_ERR_ARGUMENT);
    assert_int_equal(attn_multihead_backward(NULL, &l.backward), ATTN_ERR_ARGUMENT);
    assert_int_equal(attn_multihead_backward(l.multihead, NULL), ATTN_ERR_ARGUMENT);
    assert_int_equal(attn_multihead_backward_workspace(NULL, &l.backward, &bytes), ATTN_ERR_ARGUMENT);
    assert_int_equal(attn_multihead_backward_workspace(l.multihead, NULL, &bytes), ATTN_ERR_ARGUMENT);
    assert_int_equal(attn_multihead_backward_workspace(l.multihead, &l.backward, NULL), ATTN_ERR_ARGUMENT);
    assert_int_equal(bytes, 77);
    layer_destroy(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_layer_that_cannot_be_is_refused),
        cmocka_unit_test(parameters_have_names_and_shapes),
        cmocka_unit_test(a_wrong_call_is_refused_and_writes_nothing),
        cmocka_unit_test(types_that_do_not_go_together_are_refused),
        cmocka_unit_test(gradients_of_inputs_that_are_not_given_are_refused),
        cmocka_unit_test(rows_that_cannot_be_addressed_are_refused),
        cmocka_unit_test(null_handles_and_results_are_refused),
    };
    return cmocka_run_group_tests_name("multihead_refused", tests, engine_setup, engine_teardown);
}
