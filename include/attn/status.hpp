/* SPDX-License-Identifier: BSD-3-Clause
 *
 * status.hpp: how calls fail in C++: statuses, results, the exception; and what the library says of itself. Part of
 * attn.hpp. */
#ifndef ATTN_STATUS_HPP
#define ATTN_STATUS_HPP

#include "attn.h"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <utility>

#if defined(__cpp_exceptions) && !defined(ATTN_NO_EXCEPTIONS)
#define ATTN_THROWS 1
#include <stdexcept>
#else
#define ATTN_THROWS 0
#endif

namespace attn
{

enum class [[nodiscard]] status : attn_status{ok = ATTN_OK,
                                              argument = ATTN_ERR_ARGUMENT,
                                              struct_size = ATTN_ERR_STRUCT_SIZE,
                                              shape = ATTN_ERR_SHAPE,
                                              dtype = ATTN_ERR_DTYPE,
                                              overlap = ATTN_ERR_OVERLAP,
                                              overflow = ATTN_ERR_OVERFLOW,
                                              parameter = ATTN_ERR_PARAMETER,
                                              buffer = ATTN_ERR_BUFFER,
                                              nomem = ATTN_ERR_NOMEM,
                                              backend = ATTN_ERR_BACKEND,
                                              unsupported = ATTN_ERR_UNSUPPORTED};

/* "ATTN_ERR_SHAPE: ranks or dimensions do not fit together". A static string. */
inline const char *status_string(status code) noexcept
{
    return attn_status_string(static_cast<attn_status>(code));
}

/* This thread's last failure, in words; valid until its next one. */
inline const char *last_error() noexcept
{
    return attn_last_error();
}

/* The version of the library that is loaded, as "major.minor.patch". */
inline const char *version() noexcept
{
    return attn_version();
}

inline std::int32_t abi_version() noexcept
{
    return attn_abi_version();
}

#if ATTN_THROWS
/* A call that failed: its status, and in what() the library's sentence. */
class ATTN_API error : public std::runtime_error
{
  public:
    explicit error(attn::status code) : std::runtime_error(attn_last_error()), code_(code) {}

    error(attn::status code, const char *sentence) : std::runtime_error(sentence), code_(code) {}

    attn::status status() const noexcept
    {
        return code_;
    }

  private:
    attn::status code_;
};
#endif

namespace detail
{

#if ATTN_THROWS
[[noreturn]] inline void fail(status code)
{
    throw error(code);
}

inline void check(status code)
{
    if (code != status::ok) fail(code);
}
#endif

/* A sentence of the library's to keep, on any thread: a copy. */
class sentence
{
  public:
    sentence() noexcept = default;

    explicit sentence(const char *text) noexcept
    {
        const std::size_t bytes = std::strlen(text) + 1;
        text_ = static_cast<char *>(std::malloc(bytes));
        if (text_ != nullptr) std::memcpy(text_, text, bytes);
    }

    sentence(const sentence &other) noexcept : sentence()
    {
        if (other.text_ != nullptr) *this = sentence(other.text_);
    }

    sentence(sentence &&other) noexcept : text_(std::exchange(other.text_, nullptr)) {}

    sentence &operator=(sentence other) noexcept
    {
        std::swap(text_, other.text_);
        return *this;
    }

    ~sentence()
    {
        std::free(text_);
    }

    /* NULL where there is none, or was no memory for it. */
    const char *get() const noexcept
    {
        return text_;
    }

  private:
    char *text_ = nullptr;
};

} // namespace detail

/* A value, or the status and the sentence of the call that could not make it, which go with it to other threads. */
template <class T> class [[nodiscard]] result
{
  public:
    result(T value) noexcept : value_(std::move(value)), code_(attn::status::ok) {}

    /* Of a call that has just failed on this thread. */
    result(attn::status failure) noexcept : code_(failure), sentence_(attn_last_error()) {}

    explicit operator bool() const noexcept
    {
        return value_.has_value();
    }

    attn::status status() const noexcept
    {
        return code_;
    }

    /* Why there is no value, in words. */
    const char *what() const noexcept
    {
        return sentence_.get() != nullptr ? sentence_.get() : status_string(code_);
    }

    /* The value, which must be there. */
    T &operator*() &noexcept
    {
        return *value_;
    }

    const T &operator*() const &noexcept
    {
        return *value_;
    }

    T &&operator*() &&noexcept
    {
        return *std::move(value_);
    }

    T *operator->() noexcept
    {
        return &*value_;
    }

    const T *operator->() const noexcept
    {
        return &*value_;
    }

#if ATTN_THROWS
    /* The value, or an exception. */
    T &value() &
    {
        check();
        return *value_;
    }

    T value() &&
    {
        check();
        return *std::move(value_);
    }
#endif

  private:
#if ATTN_THROWS
    void check() const
    {
        if (code_ != attn::status::ok) throw error(code_, what());
    }
#endif

    std::optional<T> value_;
    attn::status code_;
    detail::sentence sentence_;
};

namespace detail
{

/* An argument struct of attn.h as its _INIT macro makes it: zero is the default of all but the size. */
template <class Args> Args sized() noexcept
{
    Args args{};
    args.struct_size = static_cast<std::uint32_t>(sizeof(Args));
    return args;
}

/* What a C function returned and where it wrote, as a result. By reference: it is read after the call is made. */
template <class T, class From> result<T> made(attn_status code, const From &from) noexcept
{
    if (code != ATTN_OK) return static_cast<status>(code);
    return T(from);
}

} // namespace detail

/* The value of a constant of attn.h, or the size of a struct, as the loaded library has it: attn_constant. */
inline result<std::int64_t> try_constant(const char *name) noexcept
{
    std::int64_t value = 0;
    return detail::made<std::int64_t>(attn_constant(name, &value), value);
}

#if ATTN_THROWS
inline std::int64_t constant(const char *name)
{
    return try_constant(name).value();
}
#endif

} // namespace attn

#endif
