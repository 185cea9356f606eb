/* SPDX-License-Identifier: BSD-3-Clause
 *
 * memory.hpp: attn::memory, keys and values made ready for many queries. Part of attn.hpp. */
#ifndef ATTN_MEMORY_HPP
#define ATTN_MEMORY_HPP

#include "attn.h"
#include "engine.hpp"
#include "mechanism.hpp"
#include "position.hpp"
#include "status.hpp"
#include "tensor.hpp"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace attn
{

/* attn_memory_options. */
struct memory_options {
    attn::dtype dtype = attn::dtype::f32; /* what keys and values are kept in */
    std::int64_t batch = 1;
    std::int64_t key_heads = 1;
    std::int64_t key_dim = 0;
    std::int64_t value_dim = 0;
    std::int64_t capacity = 0;
    bool fixed = false;      /* the capacity does not grow */
    bool keys_alone = false; /* the keys are the values */
    std::optional<rope_options> rope = {};
    std::int64_t page = 0; /* positions of a page, of a pool that forks share; 0: each sequence lies by itself */
};

/* How many pages there are in a memory's pool, its forks' among them, and how many of these nobody has. */
struct page_counts {
    std::int64_t count = 0;
    std::int64_t unused = 0;
};

/* attn_memory. It keeps the mechanism that it is made for alive, and what is bound to that stays borrowed. */
class memory : public detail::handle<attn_memory, attn_memory_destroy>
{
  public:
    /* Takes over a handle of attn.h; nullptr: an empty one, to be assigned to. */
    explicit memory(attn_memory *adopted) noexcept : handle(adopted) {}

    static result<memory> try_create(const mechanism &rule, const memory_options &options) noexcept
    {
        auto c = detail::sized<attn_memory_options>();
        auto rope = detail::sized<attn_rope_options>();
        if (options.rope) rope = detail::lower(*options.rope);
        c.flags = (options.fixed ? std::uint32_t{ATTN_MEMORY_FIXED} : 0u) |
                  (options.keys_alone ? std::uint32_t{ATTN_MEMORY_KEYS_ALONE} : 0u);
        c.dtype = static_cast<attn_dtype>(options.dtype);
        c.batch = options.batch;
        c.key_heads = options.key_heads;
        c.key_dim = options.key_dim;
        c.value_dim = options.value_dim;
        c.capacity = options.capacity;
        c.rope = options.rope ? &rope : nullptr;
        c.page = options.page;
        return detail::told<memory, attn_memory *>(
            [&](attn_memory **made) { return attn_memory_create(rule.get(), &c, made); });
    }

    /* key [B, Hk, n, Dk], value [B, Hk, n, Dv]; counts [B]: how many of each sequence, where not all n. */
    status try_append(const const_tensor &key, const const_tensor &value = {}, const const_tensor &counts = {}) noexcept
    {
        return static_cast<status>(attn_memory_append(get(), key.get(), value.get(), counts.get()));
    }

    /* The same of a ragged batch: sequence b gets rows offsets[b] .. offsets[b + 1] - 1 of key [1, Hk, rows, Dk] and
     * value. They are three, or, of a memory of keys alone, key, {} and offsets. */
    status try_append_ragged(const const_tensor &key, const const_tensor &value, const const_tensor &offsets) noexcept
    {
        return static_cast<status>(attn_memory_append_ragged(get(), key.get(), value.get(), offsets.get()));
    }

    status try_truncate(const const_tensor &lengths) noexcept
    {
        return static_cast<status>(attn_memory_truncate(get(), lengths.get()));
    }

    /* Truncates to lengths [B], but for chosen positions, which then follow: of these entries offsets[b] .. offsets[b +
     * 1] - 1 are sequence b's. */
    status try_keep(const const_tensor &lengths, const const_tensor &positions, const const_tensor &offsets) noexcept
    {
        return static_cast<status>(attn_memory_keep(get(), lengths.get(), positions.get(), offsets.get()));
    }

    /* rows [any B]: whose copy each sequence becomes; -1: it is new and empty. */
    status try_reorder(const const_tensor &rows) noexcept
    {
        return static_cast<status>(attn_memory_reorder(get(), rows.get()));
    }

    result<memory> try_fork() const noexcept
    {
        return detail::told<memory, attn_memory *>([&](attn_memory **made) { return attn_memory_fork(get(), made); });
    }

    result<std::int64_t> try_batch() const noexcept
    {
        return detail::told<std::int64_t>(
            [&](std::int64_t *batch) { return attn_memory_lengths(get(), batch, nullptr, 0); });
    }

    /* The lengths of the sequences into lengths [count], count being at least the batch. */
    status try_lengths(std::int64_t *lengths, std::int64_t count) const noexcept
    {
        std::int64_t batch = 0;
        return static_cast<status>(attn_memory_lengths(get(), &batch, lengths, count));
    }

    result<page_counts> try_pages() const noexcept
    {
        return detail::told<page_counts>(
            [&](page_counts *pages) { return attn_memory_pages(get(), &pages->count, &pages->unused); });
    }

#if ATTN_THROWS
    memory(const mechanism &rule, const memory_options &options) : memory(try_create(rule, options).value()) {}

    void append(const const_tensor &key, const const_tensor &value = {}, const const_tensor &counts = {})
    {
        detail::check(try_append(key, value, counts));
    }

    void append_ragged(const const_tensor &key, const const_tensor &value, const const_tensor &offsets)
    {
        detail::check(try_append_ragged(key, value, offsets));
    }

    void truncate(const const_tensor &lengths)
    {
        detail::check(try_truncate(lengths));
    }

    void keep(const const_tensor &lengths, const const_tensor &positions, const const_tensor &offsets)
    {
        detail::check(try_keep(lengths, positions, offsets));
    }

    void reorder(const const_tensor &rows)
    {
        detail::check(try_reorder(rows));
    }

    memory fork() const
    {
        return try_fork().value();
    }

    std::int64_t batch() const
    {
        return try_batch().value();
    }

    std::vector<std::int64_t> lengths() const
    {
        std::vector<std::int64_t> all(static_cast<std::size_t>(batch()));
        detail::check(try_lengths(all.data(), static_cast<std::int64_t>(all.size())));
        return all;
    }

    page_counts pages() const
    {
        return try_pages().value();
    }
#endif
};

namespace detail
{

/* A memory that was moved from is refused as NULL is, and not taken for one that was left out. */
inline attn_status refuse_memory() noexcept
{
    return attn_memory_lengths(nullptr, nullptr, nullptr, 0);
}

inline attn_status check_there(const memory *given) noexcept
{
    return given == nullptr || *given ? ATTN_OK : refuse_memory();
}

} // namespace detail

} // namespace attn

#endif
