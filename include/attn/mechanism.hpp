/* SPDX-License-Identifier: BSD-3-Clause
 *
 * mechanism.hpp: attn::mechanism, the rule: a score, its parameters, its modifiers. Part of attn.hpp. */
#ifndef ATTN_MECHANISM_HPP
#define ATTN_MECHANISM_HPP

#include "attn.h"
#include "engine.hpp"
#include "status.hpp"
#include "tensor.hpp"

#include <cstdint>

namespace attn
{

/* The scores: what a mechanism is made of. Formulas and sources are at attn_mechanism_create_... */

struct dot {
    attn_status create(attn_engine *engine, attn_mechanism **made) const noexcept
    {
        return attn_mechanism_create_dot(engine, made);
    }
};

struct scaled_dot {
    attn_status create(attn_engine *engine, attn_mechanism **made) const noexcept
    {
        return attn_mechanism_create_scaled_dot(engine, made);
    }
};

struct general {
    std::int64_t query_dim = 0;
    std::int64_t key_dim = 0;

    attn_status create(attn_engine *engine, attn_mechanism **made) const noexcept
    {
        return attn_mechanism_create_general(engine, query_dim, key_dim, made);
    }
};

struct additive {
    std::int64_t query_dim = 0;
    std::int64_t key_dim = 0;
    std::int64_t hidden_dim = 0;
    bool bias = false;
    bool normalised = false;
    bool query_projected = false;
    bool key_projected = false;

    attn_status create(attn_engine *engine, attn_mechanism **made) const noexcept
    {
        const std::uint32_t flags = (bias ? std::uint32_t{ATTN_ADDITIVE_BIAS} : 0u) |
                                    (normalised ? std::uint32_t{ATTN_ADDITIVE_NORMALISED} : 0u) |
                                    (query_projected ? std::uint32_t{ATTN_ADDITIVE_QUERY_PROJECTED} : 0u) |
                                    (key_projected ? std::uint32_t{ATTN_ADDITIVE_KEY_PROJECTED} : 0u);
        return attn_mechanism_create_additive(engine, query_dim, key_dim, hidden_dim, flags, made);
    }
};

struct concat {
    std::int64_t query_dim = 0;
    std::int64_t key_dim = 0;
    std::int64_t hidden_dim = 0;

    attn_status create(attn_engine *engine, attn_mechanism **made) const noexcept
    {
        return attn_mechanism_create_concat(engine, query_dim, key_dim, hidden_dim, made);
    }
};

struct location {
    std::int64_t query_dim = 0;
    std::int64_t max_keys = 0;

    attn_status create(attn_engine *engine, attn_mechanism **made) const noexcept
    {
        return attn_mechanism_create_location(engine, query_dim, max_keys, made);
    }
};

enum class normaliser : attn_normaliser { softmax = ATTN_SOFTMAX, hardmax = ATTN_HARDMAX };

enum class precision : attn_precision { exact = ATTN_PRECISION_EXACT, fast = ATTN_PRECISION_FAST };

enum class align : attn_align {
    none = ATTN_ALIGN_NONE,
    top_left = ATTN_ALIGN_TOP_LEFT,
    bottom_right = ATTN_ALIGN_BOTTOM_RIGHT
};

enum class relative : attn_relative {
    none = ATTN_RELATIVE_NONE,
    clipped = ATTN_RELATIVE_CLIPPED,
    t5 = ATTN_RELATIVE_T5,
    t5_causal = ATTN_RELATIVE_T5_CAUSAL
};

enum class local : attn_local {
    none = ATTN_LOCAL_NONE,
    monotonic = ATTN_LOCAL_MONOTONIC,
    predictive = ATTN_LOCAL_PREDICTIVE,
    predictive_floor = ATTN_LOCAL_PREDICTIVE_FLOOR
};

/* What a mechanism or a layer tells of one of its parameters. */
struct param_info {
    const char *name = nullptr; /* static */
    dims shape;
    std::int64_t elements = 0;
    bool bound = false;
};

namespace detail
{

template <class Call> result<param_info> told_param(const Call &call) noexcept
{
    auto c = sized<attn_param_info>();
    const attn_status code = call(&c);
    if (code != ATTN_OK) return static_cast<status>(code);
    return param_info{c.name, {c.shape, c.ndim}, c.elements, c.bound != 0};
}

} // namespace detail

/* attn_mechanism. What is bound to it is borrowed; set functions return the mechanism, for the next. */
class mechanism : public detail::handle<attn_mechanism, attn_mechanism_destroy>
{
  public:
    /* Takes over a handle of attn.h; nullptr: an empty one, to be assigned to. */
    explicit mechanism(attn_mechanism *adopted) noexcept : handle(adopted) {}

    /* Of one of the scores above, for example attn::additive{query_dim, key_dim, hidden_dim}. */
    template <class Score> static result<mechanism> try_create(const engine &means, const Score &score) noexcept
    {
        return detail::told<mechanism, attn_mechanism *>(
            [&](attn_mechanism **made) { return score.create(means.get(), made); });
    }

    /* "dot", "scaled-dot", ...; NULL for an empty handle. */
    const char *name() const noexcept
    {
        return attn_mechanism_name(get());
    }

    result<std::int32_t> try_param_count() const noexcept
    {
        return detail::told<std::int32_t>(
            [&](std::int32_t *count) { return attn_mechanism_param_count(get(), count); });
    }

    result<std::int64_t> try_param_total() const noexcept
    {
        return detail::told<std::int64_t>(
            [&](std::int64_t *total) { return attn_mechanism_param_total(get(), total); });
    }

    result<attn::param_info> try_param_info(std::int32_t index) const noexcept
    {
        return detail::told_param([&](attn_param_info *info) { return attn_mechanism_param_info(get(), index, info); });
    }

    /* {}: unbinds. */
    status try_bind_param(const char *param, const const_tensor &values) noexcept
    {
        return static_cast<status>(attn_mechanism_bind_param(get(), param, values.get()));
    }

    status try_set_scale(double scale) noexcept
    {
        return static_cast<status>(attn_mechanism_set_scale(get(), scale));
    }

    status try_set_softcap(double cap) noexcept
    {
        return static_cast<status>(attn_mechanism_set_softcap(get(), cap));
    }

    status try_set_temperature(double tau) noexcept
    {
        return static_cast<status>(attn_mechanism_set_temperature(get(), tau));
    }

    status try_set_normaliser(attn::normaliser choice) noexcept
    {
        return static_cast<status>(attn_mechanism_set_normaliser(get(), static_cast<attn_normaliser>(choice)));
    }

    status try_set_precision(attn::precision choice) noexcept
    {
        return static_cast<status>(attn_mechanism_set_precision(get(), static_cast<attn_precision>(choice)));
    }

    status try_set_causal(attn::align align) noexcept
    {
        return static_cast<status>(attn_mechanism_set_causal(get(), static_cast<attn_align>(align)));
    }

    /* -1 is unbounded. */
    status try_set_window(std::int64_t left, std::int64_t right, attn::align align) noexcept
    {
        return static_cast<status>(attn_mechanism_set_window(get(), left, right, static_cast<attn_align>(align)));
    }

    status try_set_relative_bias(const const_tensor &table, attn::relative kind, std::int64_t max_distance,
                                 attn::align align) noexcept
    {
        return static_cast<status>(attn_mechanism_set_relative_bias(
            get(), table.get(), static_cast<attn_relative>(kind), max_distance, static_cast<attn_align>(align)));
    }

    status try_set_local(attn::local kind, std::int64_t half_width, std::int64_t query_dim = 0,
                         std::int64_t hidden_dim = 0) noexcept
    {
        return static_cast<status>(
            attn_mechanism_set_local(get(), static_cast<attn_local>(kind), half_width, query_dim, hidden_dim));
    }

    status try_set_alibi(const const_tensor &slopes, attn::align align) noexcept
    {
        return static_cast<status>(attn_mechanism_set_alibi(get(), slopes.get(), static_cast<attn_align>(align)));
    }

    /* Without a tensor they are taken away. */
    status try_set_sinks(const const_tensor &sinks) noexcept
    {
        return static_cast<status>(attn_mechanism_set_sinks(get(), sinks.get()));
    }

#if ATTN_THROWS
    template <class Score>
    mechanism(const engine &means, const Score &score) : mechanism(try_create(means, score).value())
    {
    }

    std::int32_t param_count() const
    {
        return try_param_count().value();
    }

    std::int64_t param_total() const
    {
        return try_param_total().value();
    }

    attn::param_info param_info(std::int32_t index) const
    {
        return try_param_info(index).value();
    }

    mechanism &bind_param(const char *param, const const_tensor &values)
    {
        return checked(try_bind_param(param, values));
    }

    mechanism &set_scale(double scale)
    {
        return checked(try_set_scale(scale));
    }

    mechanism &set_softcap(double cap)
    {
        return checked(try_set_softcap(cap));
    }

    mechanism &set_temperature(double tau)
    {
        return checked(try_set_temperature(tau));
    }

    mechanism &set_normaliser(attn::normaliser choice)
    {
        return checked(try_set_normaliser(choice));
    }

    mechanism &set_precision(attn::precision choice)
    {
        return checked(try_set_precision(choice));
    }

    mechanism &set_causal(attn::align align)
    {
        return checked(try_set_causal(align));
    }

    mechanism &set_window(std::int64_t left, std::int64_t right, attn::align align)
    {
        return checked(try_set_window(left, right, align));
    }

    mechanism &set_relative_bias(const const_tensor &table, attn::relative kind, std::int64_t max_distance,
                                 attn::align align)
    {
        return checked(try_set_relative_bias(table, kind, max_distance, align));
    }

    mechanism &set_local(attn::local kind, std::int64_t half_width, std::int64_t query_dim = 0,
                         std::int64_t hidden_dim = 0)
    {
        return checked(try_set_local(kind, half_width, query_dim, hidden_dim));
    }

    mechanism &set_alibi(const const_tensor &slopes, attn::align align)
    {
        return checked(try_set_alibi(slopes, align));
    }

    mechanism &set_sinks(const const_tensor &sinks)
    {
        return checked(try_set_sinks(sinks));
    }

  private:
    mechanism &checked(status code)
    {
        detail::check(code);
        return *this;
    }
#endif
};

} // namespace attn

#endif
