/* SPDX-License-Identifier: BSD-3-Clause
 *
 * position.hpp: sinusoids, the slopes of ALiBi, rotary positions. Part of attn.hpp. */
#ifndef ATTN_POSITION_HPP
#define ATTN_POSITION_HPP

#include "attn.h"
#include "engine.hpp"
#include "status.hpp"
#include "tensor.hpp"

#include <cstdint>

namespace attn
{

enum class rope_layout : attn_rope_layout { interleaved = ATTN_ROPE_INTERLEAVED, halves = ATTN_ROPE_HALVES };

/* attn_rope_options. */
struct rope_options {
    rope_layout layout = {}; /* to be named; left out: refused */
    std::int64_t dimensions = 0;
    double base = 0;
    std::int64_t first = 0;
    const_tensor positions = {};
    bool inverse = false;
};

namespace detail
{

inline attn_rope_options lower(const rope_options &options) noexcept
{
    auto c = sized<attn_rope_options>();
    c.layout = static_cast<attn_rope_layout>(options.layout);
    c.dimensions = options.dimensions;
    c.base = options.base;
    c.first = options.first;
    c.positions = options.positions.get();
    c.inverse = options.inverse;
    return c;
}

} // namespace detail

/* Fills table [T, D] with the sinusoids of positions first and on. */
inline status try_position_sinusoidal(const tensor &table, std::int64_t first = 0, double base = 10000) noexcept
{
    return static_cast<status>(attn_position_sinusoidal(table.get(), first, base));
}

/* Fills slopes [H], for mechanism.set_alibi. */
inline status try_position_alibi_slopes(const tensor &slopes) noexcept
{
    return static_cast<status>(attn_position_alibi_slopes(slopes.get()));
}

/* Turns the rows of `from` by their positions, into `to`, which may be the same view. */
inline status try_rope(const engine &means, const rope_options &options, const const_tensor &from,
                       const tensor &to) noexcept
{
    const attn_rope_options c = detail::lower(options);
    return static_cast<status>(attn_rope(means.get(), &c, from.get(), to.get()));
}

#if ATTN_THROWS
inline void position_sinusoidal(const tensor &table, std::int64_t first = 0, double base = 10000)
{
    detail::check(try_position_sinusoidal(table, first, base));
}

inline void position_alibi_slopes(const tensor &slopes)
{
    detail::check(try_position_alibi_slopes(slopes));
}

inline void rope(const engine &means, const rope_options &options, const const_tensor &from, const tensor &to)
{
    detail::check(try_rope(means, options, from, to));
}
#endif

} // namespace attn

#endif
