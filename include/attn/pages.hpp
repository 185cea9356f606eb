/* SPDX-License-Identifier: BSD-3-Clause
 *
 * pages.hpp: attn::pages_append, keys and values that are written into pages of the caller's. Part of attn.hpp. */
#ifndef ATTN_PAGES_HPP
#define ATTN_PAGES_HPP

#include "attn.h"
#include "engine.hpp"
#include "status.hpp"
#include "tensor.hpp"

namespace attn
{

/* attn_pages_append_args: what is left out has no part in the call. */
struct pages_append_args {
    const_tensor slots = {};  /* [n], std::int32_t or std::int64_t: row i goes to place slots[i] mod page of the page
                                 slots[i] / page; -1: nowhere */
    const_tensor key = {};    /* [1, Hk, n, Dk] */
    const_tensor value = {};  /* [1, Hk, n, Dv] */
    tensor key_pages = {};    /* out [N, Hk, page, Dk] */
    tensor value_pages = {};  /* out [N, Hk, page, Dv] */
    tensor key_scales = {};   /* out [N, Hk, page], float: of pages of std::int8_t, */
    tensor value_scales = {}; /* and likewise of values */
};

inline status try_pages_append(const engine &means, const pages_append_args &args) noexcept
{
    auto c = detail::sized<attn_pages_append_args>();
    c.slots = args.slots.get();
    c.key = args.key.get();
    c.value = args.value.get();
    c.key_pages = args.key_pages.get();
    c.value_pages = args.value_pages.get();
    c.key_scales = args.key_scales.get();
    c.value_scales = args.value_scales.get();
    return static_cast<status>(attn_pages_append(means.get(), &c));
}

#if ATTN_THROWS
inline void pages_append(const engine &means, const pages_append_args &args)
{
    detail::check(try_pages_append(means, args));
}
#endif

} // namespace attn

#endif
