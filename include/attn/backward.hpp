/* SPDX-License-Identifier: BSD-3-Clause
 *
 * backward.hpp: attn::backward, the gradients of a forward call. Part of attn.hpp. */
#ifndef ATTN_BACKWARD_HPP
#define ATTN_BACKWARD_HPP

#include "attn.h"
#include "forward.hpp"
#include "mechanism.hpp"
#include "status.hpp"
#include "tensor.hpp"

#include <array>
#include <cstddef>
#include <cstdint>

namespace attn
{

/* The gradients of parameters, in the order of param_info(); those that are left out are not wanted. A mechanism has at
 * most 6 parameters in this version, a layer 8. */
using param_gradients = std::array<tensor, 8>;

/* attn_backward_args, but for the forward call's, which are an argument of their own. */
struct backward_args {
    const_tensor d_context = {};   /* in [B, Hq, Tq, Dv] */
    const_tensor d_weights = {};   /* in [B, Hq, Tq, Tk] */
    const_tensor d_logsumexp = {}; /* in [B, Hq, Tq] */
    tensor d_query = {};           /* out; left out: not wanted. So all that follow */
    tensor d_key = {};
    tensor d_value = {};
    tensor d_bias = {};
    tensor d_alibi = {};           /* [Hq] */
    tensor d_relative = {};        /* as the table */
    tensor d_sinks = {};           /* [Hq]; not beside d_weights */
    param_gradients d_params = {}; /* for example d_params[0], of W */
    bool accumulate = false;       /* gradients are added to what is there */
    buffer workspace = {};         /* scratch, of backward_workspace(); left out: the engine's */
};

namespace detail
{

/* Gradients of parameters for attn.h: an array of pointers, as long as any mechanism or layer may want it to be. */
struct param_pointers {
    std::array<const attn_tensor *, 32> at = {};
    bool any = false;

    explicit param_pointers(const param_gradients &gradients) noexcept
    {
        for (std::size_t i = 0; i < gradients.size(); i++) {
            at[i] = gradients[i].get();
            any = any || at[i] != nullptr;
        }
    }

    const attn_tensor *const *get() const noexcept
    {
        return any ? at.data() : nullptr;
    }
};

/* What the gradients of a mechanism and of a layer have alike, for attn.h. */
template <class Args, class Gradients> void lay_gradients(Args &args, const Gradients &gradients) noexcept
{
    args.accumulate = gradients.accumulate;
    args.d_weights = gradients.d_weights.get();
    args.d_logsumexp = gradients.d_logsumexp.get();
    args.d_query = gradients.d_query.get();
    args.d_key = gradients.d_key.get();
    args.d_value = gradients.d_value.get();
    args.d_bias = gradients.d_bias.get();
    args.d_alibi = gradients.d_alibi.get();
    args.d_relative = gradients.d_relative.get();
    args.d_sinks = gradients.d_sinks.get();
    args.workspace = gradients.workspace.data;
    args.workspace_size = gradients.workspace.size;
}

/* A backward call for attn.h, which points into itself and into the arguments. */
struct backward_call {
    attn_forward_args forward;
    param_pointers params;
    attn_backward_args args = sized<attn_backward_args>();

    backward_call(const forward_args &inputs, const backward_args &gradients) noexcept
        : forward(lower(inputs)), params(gradients.d_params)
    {
        lay_gradients(args, gradients);
        args.forward = &forward;
        args.d_context = gradients.d_context.get();
        args.d_params = params.get();
    }

    backward_call(const backward_call &) = delete;
    backward_call &operator=(const backward_call &) = delete;
};

} // namespace detail

/* inputs: the arguments of the forward call as they were, with the context and logsumexp that it wrote. */
inline status try_backward(const mechanism &rule, const forward_args &inputs, const backward_args &gradients) noexcept
{
    const detail::backward_call call(inputs, gradients);
    const attn_status there = detail::check_there(inputs.memory);
    return static_cast<status>(there == ATTN_OK ? attn_backward(rule.get(), &call.args) : there);
}

/* The bytes of workspace that backward needs for these arguments. */
inline result<std::size_t> try_backward_workspace(const mechanism &rule, const forward_args &inputs,
                                                  const backward_args &gradients) noexcept
{
    const detail::backward_call call(inputs, gradients);
    return detail::told_where<std::size_t>(detail::check_there(inputs.memory), [&](std::size_t *bytes) {
        return attn_backward_workspace(rule.get(), &call.args, bytes);
    });
}

#if ATTN_THROWS
inline void backward(const mechanism &rule, const forward_args &inputs, const backward_args &gradients)
{
    detail::check(try_backward(rule, inputs, gradients));
}

inline std::size_t backward_workspace(const mechanism &rule, const forward_args &inputs, const backward_args &gradients)
{
    return try_backward_workspace(rule, inputs, gradients).value();
}
#endif

} // namespace attn

#endif
