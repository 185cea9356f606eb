/* SPDX-License-Identifier: BSD-3-Clause
 *
 * multihead.hpp: attn::multihead, projections around a mechanism. Part of attn.hpp. */
#ifndef ATTN_MULTIHEAD_HPP
#define ATTN_MULTIHEAD_HPP

#include "attn.h"
#include "backward.hpp"
#include "engine.hpp"
#include "forward.hpp"
#include "mechanism.hpp"
#include "memory.hpp"
#include "position.hpp"
#include "status.hpp"
#include "tensor.hpp"

#include <cstddef>
#include <cstdint>
#include <optional>

namespace attn
{

/* attn_multihead_options. */
struct multihead_options {
    std::int64_t query_heads = 0;
    std::int64_t key_heads = 0; /* 0 is a default from here on, see attn.h */
    std::int64_t query_dim = 0;
    std::int64_t key_dim = 0;
    std::int64_t value_dim = 0;
    std::int64_t head_dim = 0;
    std::int64_t value_head_dim = 0;
    std::int64_t output_dim = 0;
    bool bias = false;
    bool packed = false;
    std::optional<rope_options> rope = {}; /* projected queries and keys are turned by their positions */
};

/* attn_multihead_args. */
struct multihead_args {
    const_tensor query = {};     /* x [B, Tq, query_dim] */
    const_tensor key = {};       /* y [B, Tk, key_dim]; left out: the queries */
    const_tensor value = {};     /* z [B, Tk, value_dim]; left out: the keys */
    forward_args attention = {}; /* mask, bias, key_lengths, offsets, query_start, and the outputs of the heads but the
                                    context */
    tensor output = {};          /* out [B, Tq, output_dim] */
    buffer saved = {};           /* for backward, of saved(); or left out */
    attn::memory *memory = {};   /* keys and values of the heads that there are already; appended to */
    bool attend_only = false;    /* with a memory: nothing is appended */
    buffer workspace = {};       /* scratch, of workspace(); left out: the engine's */
    const_tensor positions = {}; /* of x's rows where the layer turns: [B, Tq], or [Tq], of a ragged batch [rows] */
    const_tensor key_positions = {}; /* likewise of y's; left out in self-attention, where they are the same */
};

/* attn_multihead_backward_args, but for the forward call's, which are an argument of their own. */
struct multihead_backward_args {
    const_tensor d_output = {};    /* in [B, Tq, output_dim] */
    const_tensor d_weights = {};   /* in [B, Hq, Tq, Tk] */
    const_tensor d_logsumexp = {}; /* in [B, Hq, Tq] */
    tensor d_query = {};           /* out, of all that x stands for; left out: not wanted. So all that follow */
    tensor d_key = {};
    tensor d_value = {};
    tensor d_bias = {};                      /* of attention.bias */
    tensor d_alibi = {};                     /* of the mechanism's slopes, */
    tensor d_relative = {};                  /* of its relative biases, */
    tensor d_sinks = {};                     /* and of its sinks; not beside d_weights */
    param_gradients d_params = {};           /* of the layer's parameters, */
    param_gradients d_mechanism_params = {}; /* and of the mechanism's */
    bool accumulate = false;                 /* gradients are added to what is there */
    buffer workspace = {};                   /* scratch, of backward_workspace() */
};

namespace detail
{

/* A call of a layer for attn.h, which points into itself and into the arguments. */
struct multihead_call {
    attn_status there; /* whether the memories are that were given */
    attn_weights_stats stats;
    attn_forward_args attention;
    attn_multihead_args args = sized<attn_multihead_args>();

    explicit multihead_call(const multihead_args &given) noexcept
        : there(check_there(given.memory)), stats(lower(given.attention.stats)),
          attention(lower(given.attention, stats))
    {
        if (there == ATTN_OK) there = check_there(given.attention.memory);
        args.attend_only = given.attend_only;
        args.query = given.query.get();
        args.key = given.key.get();
        args.value = given.value.get();
        args.attention = &attention;
        args.output = given.output.get();
        args.saved = given.saved.data;
        args.saved_size = given.saved.size;
        args.workspace = given.workspace.data;
        args.workspace_size = given.workspace.size;
        args.memory = given.memory != nullptr ? given.memory->get() : nullptr;
        args.positions = given.positions.get();
        args.key_positions = given.key_positions.get();
    }

    multihead_call(const multihead_call &) = delete;
    multihead_call &operator=(const multihead_call &) = delete;
};

struct multihead_backward_call {
    multihead_call forward;
    param_pointers params, mechanism_params;
    attn_multihead_backward_args args = sized<attn_multihead_backward_args>();

    multihead_backward_call(const multihead_args &inputs, const multihead_backward_args &gradients) noexcept
        : forward(inputs), params(gradients.d_params), mechanism_params(gradients.d_mechanism_params)
    {
        lay_gradients(args, gradients);
        args.forward = &forward.args;
        args.d_output = gradients.d_output.get();
        args.d_params = params.get();
        args.d_mechanism_params = mechanism_params.get();
    }
};

} // namespace detail

/* attn_multihead. It keeps the mechanism that it is made around alive, and what is bound to that stays borrowed. */
class multihead : public detail::handle<attn_multihead, attn_multihead_destroy>
{
  public:
    /* Takes over a handle of attn.h; nullptr: an empty one, to be assigned to. */
    explicit multihead(attn_multihead *adopted) noexcept : handle(adopted) {}

    static result<multihead> try_create(const mechanism &rule, const multihead_options &options) noexcept
    {
        auto c = detail::sized<attn_multihead_options>();
        auto rope = detail::sized<attn_rope_options>();
        if (options.rope) rope = detail::lower(*options.rope);
        c.flags = (options.bias ? std::uint32_t{ATTN_MULTIHEAD_BIAS} : 0u) |
                  (options.packed ? std::uint32_t{ATTN_MULTIHEAD_PACKED} : 0u);
        c.query_heads = options.query_heads;
        c.key_heads = options.key_heads;
        c.query_dim = options.query_dim;
        c.key_dim = options.key_dim;
        c.value_dim = options.value_dim;
        c.head_dim = options.head_dim;
        c.value_head_dim = options.value_head_dim;
        c.output_dim = options.output_dim;
        c.rope = options.rope ? &rope : nullptr;
        return detail::told<multihead, attn_multihead *>(
            [&](attn_multihead **made) { return attn_multihead_create(rule.get(), &c, made); });
    }

    result<std::int32_t> try_param_count() const noexcept
    {
        return detail::told<std::int32_t>(
            [&](std::int32_t *count) { return attn_multihead_param_count(get(), count); });
    }

    result<attn::param_info> try_param_info(std::int32_t index) const noexcept
    {
        return detail::told_param([&](attn_param_info *info) { return attn_multihead_param_info(get(), index, info); });
    }

    /* {}: unbinds. */
    status try_bind_param(const char *name, const const_tensor &values) noexcept
    {
        return static_cast<status>(attn_multihead_bind_param(get(), name, values.get()));
    }

    status try_forward(const multihead_args &args) const noexcept
    {
        const detail::multihead_call call(args);
        return static_cast<status>(call.there == ATTN_OK ? attn_multihead_forward(get(), &call.args) : call.there);
    }

    /* inputs: the arguments of the forward call as they were. */
    status try_backward(const multihead_args &inputs, const multihead_backward_args &gradients) const noexcept
    {
        const detail::multihead_backward_call call(inputs, gradients);
        const attn_status there = call.forward.there;
        return static_cast<status>(there == ATTN_OK ? attn_multihead_backward(get(), &call.args) : there);
    }

    /* Bytes: of args.workspace, of args.saved, of gradients.workspace. */
    result<std::size_t> try_workspace(const multihead_args &args) const noexcept
    {
        const detail::multihead_call call(args);
        return detail::told_where<std::size_t>(
            call.there, [&](std::size_t *bytes) { return attn_multihead_workspace(get(), &call.args, bytes); });
    }

    result<std::size_t> try_saved(const multihead_args &args) const noexcept
    {
        const detail::multihead_call call(args);
        return detail::told_where<std::size_t>(
            call.there, [&](std::size_t *bytes) { return attn_multihead_saved(get(), &call.args, bytes); });
    }

    result<std::size_t> try_backward_workspace(const multihead_args &inputs,
                                               const multihead_backward_args &gradients) const noexcept
    {
        const detail::multihead_backward_call call(inputs, gradients);
        return detail::told_where<std::size_t>(call.forward.there, [&](std::size_t *bytes) {
            return attn_multihead_backward_workspace(get(), &call.args, bytes);
        });
    }

#if ATTN_THROWS
    multihead(const mechanism &rule, const multihead_options &options) : multihead(try_create(rule, options).value()) {}

    std::int32_t param_count() const
    {
        return try_param_count().value();
    }

    attn::param_info param_info(std::int32_t index) const
    {
        return try_param_info(index).value();
    }

    multihead &bind_param(const char *name, const const_tensor &values)
    {
        detail::check(try_bind_param(name, values));
        return *this;
    }

    void forward(const multihead_args &args) const
    {
        detail::check(try_forward(args));
    }

    void backward(const multihead_args &inputs, const multihead_backward_args &gradients) const
    {
        detail::check(try_backward(inputs, gradients));
    }

    std::size_t workspace(const multihead_args &args) const
    {
        return try_workspace(args).value();
    }

    std::size_t saved(const multihead_args &args) const
    {
        return try_saved(args).value();
    }

    std::size_t backward_workspace(const multihead_args &inputs, const multihead_backward_args &gradients) const
    {
        return try_backward_workspace(inputs, gradients).value();
    }
#endif
};

} // namespace attn

#endif
