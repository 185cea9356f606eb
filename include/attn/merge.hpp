/* SPDX-License-Identifier: BSD-3-Clause
 *
 * merge.hpp: the results of attention over parts of the keys, joined. Part of attn.hpp. */
#ifndef ATTN_MERGE_HPP
#define ATTN_MERGE_HPP

#include "attn.h"
#include "engine.hpp"
#include "status.hpp"
#include "tensor.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <vector>

namespace attn
{

/* attn_merge_args. The parts are as many as the longer of both lists has views: one that the other lacks is refused, as
 * one that was left out. */
struct merge_args {
    std::vector<const_tensor> contexts = {};   /* of each part [B, Hq, Tq, Dv] */
    std::vector<const_tensor> logsumexps = {}; /* of each part [B, Hq, Tq] */
    tensor context = {};                       /* out [B, Hq, Tq, Dv] */
    tensor logsumexp = {};                     /* out [B, Hq, Tq], or left out */
};

namespace detail
{

/* A call for attn.h, which points into itself and into the arguments. More parts than a few take memory. */
class merge_call
{
  public:
    explicit merge_call(const merge_args &given) noexcept
    {
        const std::size_t parts = std::max(given.contexts.size(), given.logsumexps.size());
        if (parts > few) more_.reset(new (std::nothrow) const attn_tensor *[2 * parts]);
        const attn_tensor **const pointers = parts > few ? more_.get() : few_.data();
        if (pointers == nullptr) return;
        for (std::size_t k = 0; k < parts; k++) {
            pointers[k] = k < given.contexts.size() ? given.contexts[k].get() : nullptr;
            pointers[parts + k] = k < given.logsumexps.size() ? given.logsumexps[k].get() : nullptr;
        }
        args_.parts = static_cast<std::int64_t>(parts);
        args_.contexts = pointers;
        args_.logsumexps = pointers + parts;
        args_.context = given.context.get();
        args_.logsumexp = given.logsumexp.get();
        there_ = true;
    }

    merge_call(const merge_call &) = delete;
    merge_call &operator=(const merge_call &) = delete;

    /* NULL: there was no memory. */
    const attn_merge_args *get() const noexcept
    {
        return there_ ? &args_ : nullptr;
    }

  private:
    static constexpr std::size_t few = 16;
    std::array<const attn_tensor *, 2 *few> few_ = {};
    std::unique_ptr<const attn_tensor *[]> more_;
    attn_merge_args args_ = sized<attn_merge_args>();
    bool there_ = false;
};

} // namespace detail

/* status::nomem where many parts need a list that there is no memory for; the sentence is of args being NULL then. */
inline status try_merge(const engine &means, const merge_args &args) noexcept
{
    const detail::merge_call call(args);
    const attn_status status = attn_merge(means.get(), call.get());
    return static_cast<attn::status>(call.get() == nullptr ? ATTN_ERR_NOMEM : status);
}

#if ATTN_THROWS
inline void merge(const engine &means, const merge_args &args)
{
    detail::check(try_merge(means, args));
}
#endif

} // namespace attn

#endif
