/* SPDX-License-Identifier: BSD-3-Clause
 *
 * decomposable.hpp: the attend stage of decomposable attention, both ways at once, and its gradients. Part of attn.hpp.
 */
#ifndef ATTN_DECOMPOSABLE_HPP
#define ATTN_DECOMPOSABLE_HPP

#include "attn.h"
#include "engine.hpp"
#include "status.hpp"
#include "tensor.hpp"

namespace attn
{

/* The part of attn_decomposable_args that both directions know. */
struct decomposable_args {
    const_tensor f = {};         /* F(a) [B, H, Ta, D] */
    const_tensor g = {};         /* F(b) [B, H, Tb, D] */
    const_tensor a = {};         /* [B, H, Ta, Da]; left out: f */
    const_tensor b = {};         /* [B, H, Tb, Db]; left out: g */
    const_tensor a_lengths = {}; /* [B], std::int32_t or std::int64_t */
    const_tensor b_lengths = {};
    tensor beta = {};        /* out of forward, in of backward [B, H, Ta, Db]. So all that follow */
    tensor alpha = {};       /* [B, H, Tb, Da] */
    tensor a_logsumexp = {}; /* [B, H, Ta] */
    tensor b_logsumexp = {}; /* [B, H, Tb] */
};

/* The part for backward. */
struct decomposable_gradients {
    const_tensor d_beta = {};  /* in [B, H, Ta, Db] */
    const_tensor d_alpha = {}; /* in [B, H, Tb, Da] */
    tensor d_f = {};           /* out; left out: not wanted. So all that follow */
    tensor d_g = {};
    tensor d_a = {};
    tensor d_b = {};
    bool accumulate = false; /* gradients are added to what is there */
};

namespace detail
{

inline attn_decomposable_args lower(const decomposable_args &args, const decomposable_gradients &gradients) noexcept
{
    auto c = sized<attn_decomposable_args>();
    c.accumulate = gradients.accumulate;
    c.f = args.f.get();
    c.g = args.g.get();
    c.a = args.a.get();
    c.b = args.b.get();
    c.a_lengths = args.a_lengths.get();
    c.b_lengths = args.b_lengths.get();
    c.beta = args.beta.get();
    c.alpha = args.alpha.get();
    c.a_logsumexp = args.a_logsumexp.get();
    c.b_logsumexp = args.b_logsumexp.get();
    c.d_beta = gradients.d_beta.get();
    c.d_alpha = gradients.d_alpha.get();
    c.d_f = gradients.d_f.get();
    c.d_g = gradients.d_g.get();
    c.d_a = gradients.d_a.get();
    c.d_b = gradients.d_b.get();
    return c;
}

} // namespace detail

inline status try_decomposable_forward(const engine &means, const decomposable_args &args) noexcept
{
    const attn_decomposable_args c = detail::lower(args, decomposable_gradients{});
    return static_cast<status>(attn_decomposable_forward(means.get(), &c));
}

inline status try_decomposable_backward(const engine &means, const decomposable_args &args,
                                        const decomposable_gradients &gradients) noexcept
{
    const attn_decomposable_args c = detail::lower(args, gradients);
    return static_cast<status>(attn_decomposable_backward(means.get(), &c));
}

#if ATTN_THROWS
inline void decomposable_forward(const engine &means, const decomposable_args &args)
{
    detail::check(try_decomposable_forward(means, args));
}

inline void decomposable_backward(const engine &means, const decomposable_args &args,
                                  const decomposable_gradients &gradients)
{
    detail::check(try_decomposable_backward(means, args, gradients));
}
#endif

} // namespace attn

#endif
