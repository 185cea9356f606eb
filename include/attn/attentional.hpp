/* SPDX-License-Identifier: BSD-3-Clause
 *
 * attentional.hpp: Luong's attentional step, tanh(W_c [context; query] + bias), and its gradients. Part of attn.hpp. */
#ifndef ATTN_ATTENTIONAL_HPP
#define ATTN_ATTENTIONAL_HPP

#include "attn.h"
#include "engine.hpp"
#include "status.hpp"
#include "tensor.hpp"

namespace attn
{

/* The part of attn_attentional_args that both directions know. */
struct attentional_args {
    const_tensor weight = {};  /* W_c [H, Dv + Dq] */
    const_tensor bias = {};    /* [H], or left out */
    const_tensor context = {}; /* [.., T, Dv] */
    const_tensor query = {};   /* [.., T, Dq] */
    tensor output = {};        /* out of forward, in of backward [.., T, H] */
};

/* The part for backward. */
struct attentional_gradients {
    const_tensor d_output = {}; /* in [.., T, H] */
    tensor d_weight = {};       /* out; left out: not wanted. So all that follow */
    tensor d_bias = {};
    tensor d_context = {};
    tensor d_query = {};
    bool accumulate = false; /* gradients are added to what is there */
};

namespace detail
{

inline attn_attentional_args lower(const attentional_args &args, const attentional_gradients &gradients) noexcept
{
    auto c = sized<attn_attentional_args>();
    c.accumulate = gradients.accumulate;
    c.weight = args.weight.get();
    c.bias = args.bias.get();
    c.context = args.context.get();
    c.query = args.query.get();
    c.output = args.output.get();
    c.d_output = gradients.d_output.get();
    c.d_weight = gradients.d_weight.get();
    c.d_bias = gradients.d_bias.get();
    c.d_context = gradients.d_context.get();
    c.d_query = gradients.d_query.get();
    return c;
}

} // namespace detail

inline status try_attentional_forward(const engine &means, const attentional_args &args) noexcept
{
    const attn_attentional_args c = detail::lower(args, attentional_gradients{});
    return static_cast<status>(attn_attentional_forward(means.get(), &c));
}

inline status try_attentional_backward(const engine &means, const attentional_args &args,
                                       const attentional_gradients &gradients) noexcept
{
    const attn_attentional_args c = detail::lower(args, gradients);
    return static_cast<status>(attn_attentional_backward(means.get(), &c));
}

#if ATTN_THROWS
inline void attentional_forward(const engine &means, const attentional_args &args)
{
    detail::check(try_attentional_forward(means, args));
}

inline void attentional_backward(const engine &means, const attentional_args &args,
                                 const attentional_gradients &gradients)
{
    detail::check(try_attentional_backward(means, args, gradients));
}
#endif

} // namespace attn

#endif
